"""What the records show of Modification 1."""

from __future__ import annotations

from ssn_lib.study.claims.evidence import SCREW, Evidence, MissingError, margin
from ssn_lib.study.claims.swap import BOTTLE, CARPET
from ssn_lib.study.costs.records import Efficiency
from ssn_lib.study.published import published_figures
from ssn_lib.study.readings.reading import Rule, against, is_above, value

CHANCE_AUROC = 50.0  # of scores that say nothing
SAME_SPEED = 1.1  # a ratio of latencies up to which neither is called faster


def _kept(evidence: Evidence) -> str:
    found = evidence.mean("scenario_a", "I-AUROC", BOTTLE)
    slides = published_figures()["slides"]["table_backbone_swap"][BOTTLE]
    published = slides["I-AUROC"]["scenario_a_resnet18"]
    seeds = len(evidence.values("scenario_a", "I-AUROC", category=BOTTLE))
    step = against(found, published, margin("I-AUROC", seeds, 1))
    return (
        f"On bottle Scenario A, with a ResNet18, has an I-AUROC of "
        f"{value(evidence, 'scenario_a', 'I-AUROC', BOTTLE)}: {step} the published {published:.1f}."
    )


def _blind(evidence: Evidence) -> str:
    """Its image score against chance, and against the maximum of the same network's map."""
    score, peak = (evidence.mean("scenario_a", m, SCREW) for m in ("I-AUROC", "seg-I-AUROC"))
    wide = evidence.margin("I-AUROC", "scenario_a", "scenario_a", SCREW)
    sees, better = is_above(score, CHANCE_AUROC, wide), is_above(peak, score, wide)
    told = "better than chance" if sees else "no better than chance"
    end = "the score fails, not the backbone" if better and not sees else ""
    end = end or ("the map tells no more than the score" if not better else "the map tells more")
    return (
        f"On screw its image score has an I-AUROC of "
        f"{value(evidence, 'scenario_a', 'I-AUROC', SCREW)}, {told}; the maximum of the same "
        f"network's map has {value(evidence, 'scenario_a', 'seg-I-AUROC', SCREW)}: {end}."
    )


def _another(evidence: Evidence) -> str:
    """The same backbone under another training."""
    means = [evidence.mean(name, "I-AUROC", SCREW) for name in ("evolved", "scenario_a")]
    wide = evidence.margin("I-AUROC", "evolved", "scenario_a", SCREW)
    step = against(*means, wide)
    return (
        "With the same frozen ResNet18 `evolved`, which trains without noise and at its own size, "
        f"has {value(evidence, 'evolved', 'I-AUROC', SCREW)} on screw: {step} Scenario A."
    )


def _scenario_b(evidence: Evidence) -> str:
    pair = evidence.alike("scenario_a", "scenario_b", category=BOTTLE)
    a, b = (pair.mean(name, "I-AUROC", BOTTLE) for name in ("scenario_a", "scenario_b"))
    step = against(b, a, pair.margin("I-AUROC", "scenario_b", "scenario_a", BOTTLE))
    return (
        f"Scenario B, with its non-linear adaptor, has {b:.1f} on bottle, {step} Scenario A with "
        f"{a:.1f}, trained as long."
    )


def _same_noise(evidence: Evidence) -> str:
    """Both adaptors with noise as large against their own features."""
    names = ("scenario_a_relative", "scenario_b_relative", "scenario_b")
    even = evidence.alike(*names, category=BOTTLE)
    a, b, before = (even.mean(name, "I-AUROC", BOTTLE) for name in names)
    step = against(b, a, even.margin("I-AUROC", *names[:2], BOTTLE))
    gains = is_above(b, before, even.margin("I-AUROC", "scenario_b_relative", "scenario_b", BOTTLE))
    if gains and step in ("above", "far above", "level with"):
        end = "what B lacked is noise that it can see, and its adaptor does no harm"
    elif gains:
        end = "larger noise helps B, and something else is missing too"
    else:
        end = "the size of the noise does not explain B"
    return (
        f"With noise of one size against the features' spread, B has {b:.1f} on bottle (with the "
        f"published noise {before:.1f}), {step} A with {a:.1f}: {end}."
    )


def _ancestor(evidence: Evidence) -> str:
    """SimpleNet against Scenario A after the same short training."""
    told = []
    for category in (BOTTLE, SCREW):
        even = evidence.alike("simplenet", "scenario_a", category=category)
        first, second = (
            even.mean(name, "I-AUROC", category) for name in ("simplenet", "scenario_a")
        )
        step = against(first, second, even.margin("I-AUROC", "simplenet", "scenario_a", category))
        told.append(f"{category} {first:.1f}, {step} Scenario A with {second:.1f}")
    return f"SimpleNet, the ancestor, after equally many epochs: {'; '.join(told)}."


def _baseline(evidence: Evidence) -> str:
    """WideResNet50-2 against ResNet18, wherever both were trained."""
    told = []
    for category in (BOTTLE, CARPET, SCREW):
        if not evidence.ran("baseline", category):
            continue
        even = evidence.alike("baseline", "scenario_a", category=category)
        first, second = (
            even.mean(name, "I-AUROC", category) for name in ("baseline", "scenario_a")
        )
        step = against(second, first, even.margin("I-AUROC", "scenario_a", "baseline", category))
        told.append(f"{category} {second:.1f}, {step} {first:.1f}")
    if not told:
        raise MissingError(
            "WideResNet50-2 was not trained here, so what the swap costs is not known"
        )
    return f"ResNet18 against WideResNet50-2, I-AUROC: {'; '.join(told)}."


def _faster(evidence: Evidence) -> str:
    known = {(cost.preset, cost.form): cost for cost in evidence.costs}
    kinds = [("baseline", "plain"), ("scenario_a", "plain"), ("scenario_a", "folded")]
    absent = [kind for kind in kinds if kind not in known]
    if absent:
        raise MissingError(f"the cost of {absent[0][0]} was not measured")
    large, small, folded = (known[kind] for kind in kinds)
    evidence.used += [large, small, folded]
    return (
        f"One image takes Scenario A {small.latency_ms.median:.0f} ms, {speed(small, large)} the "
        f"baseline; with its linear parts folded (`fuse`) {folded.latency_ms.median:.0f} ms, "
        f"{speed(folded, small)} before, with the same outputs."
    )


def speed(cost: Efficiency, reference: Efficiency) -> str:
    """How fast an inference is against another, in words that a name follows."""
    ratio = reference.latency_ms.median / cost.latency_ms.median
    if ratio > SAME_SPEED:
        return f"{ratio:.1f} times faster than"
    if ratio < 1 / SAME_SPEED:
        return f"{1 / ratio:.1f} times slower than"
    return "as fast as"


SWAP: tuple[Rule, ...] = (
    _kept,
    _blind,
    _another,
    _scenario_b,
    _same_noise,
    _ancestor,
    _faster,
    _baseline,
)
