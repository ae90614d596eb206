"""What the records show of Modification 1."""

from __future__ import annotations

from ssn_lib.study.claims.evidence import Evidence, MissingError
from ssn_lib.study.claims.swap import BOTTLE, CARPET
from ssn_lib.study.costs.records import Efficiency, in_turns
from ssn_lib.study.profiles import SCREW
from ssn_lib.study.published import published_figures
from ssn_lib.study.readings.reading import Rule, Sentence, beside, pair

CHANCE_AUROC = 50.0  # of scores that say nothing
SAME_SPEED = 1.1  # a ratio of latencies up to which neither is called faster


def _kept(evidence: Evidence) -> Sentence:
    slides = published_figures()["slides"]["table_backbone_swap"][BOTTLE]
    runs = evidence.runs("scenario_a", BOTTLE)
    found = pair("I-AUROC", runs, [slides["I-AUROC"]["scenario_a_resnet18"]])
    return Sentence(
        f"On bottle Scenario A, with a ResNet18, has an I-AUROC of {found.told[0]}: {found.step} "
        f"the published {found.told[1]}.",
        (runs,),
    )


def _blind(evidence: Evidence) -> Sentence:
    """Its image score against chance, and against the maximum of the same network's map."""
    runs = evidence.runs("scenario_a", SCREW)
    chance = beside("I-AUROC", runs, CHANCE_AUROC)
    peak = pair("I-AUROC", runs.values("seg-I-AUROC"), runs)
    if chance.is_above:
        told = "better than chance"
        end = "the map tells more" if peak.is_above else "the map tells no more"
    else:
        told = "no better than chance"
        end = "the score fails, not the backbone" if peak.is_above else "neither sees the defects"
    return Sentence(
        f"On screw its image score has an I-AUROC of {chance.told[0]}, {told}; the maximum of the "
        f"same network's map has {peak.told[0]}: {end}.",
        (runs,),
    )


def _another(evidence: Evidence) -> Sentence:
    """The same backbone under another training."""
    both = evidence.runs("evolved", SCREW), evidence.runs("scenario_a", SCREW)
    found = pair("I-AUROC", *both)
    return Sentence(
        "With the same frozen ResNet18 `evolved`, which trains without noise and at its own size, "
        f"has {found.told[0]} on screw: {found.step} Scenario A.",
        both,
    )


def _scenario_b(evidence: Evidence) -> Sentence:
    both = evidence.alike("scenario_b", "scenario_a", category=BOTTLE)
    found = pair("I-AUROC", *both)
    return Sentence(
        f"Scenario B, with its non-linear adaptor, has {found.told[0]} on bottle, {found.step} "
        f"Scenario A with {found.told[1]}, trained as long.",
        both,
    )


def _same_noise(evidence: Evidence) -> Sentence:
    """Both adaptors with noise as large against their own features."""
    b, a, published = even = evidence.alike(
        "scenario_b_relative", "scenario_a_relative", "scenario_b", category=BOTTLE
    )
    to_a, gain = pair("I-AUROC", b, a), pair("I-AUROC", b, published)
    if not gain.is_above:
        end = "the size of the noise does not explain B"
    elif to_a.is_below:
        end = "larger noise helps B, and something else is missing too"
    else:
        end = "what B lacked is noise that it can see, and its adaptor does no harm"
    return Sentence(
        f"With noise of one size against the features' spread, B has {gain.told[0]} on bottle "
        f"(with the published noise {gain.told[1]}), {to_a.step} A with {to_a.told[1]}: {end}.",
        even,
    )


def _ancestor(evidence: Evidence) -> Sentence:
    """SimpleNet against Scenario A after equally short trainings."""
    told, basis = [], []
    for category in (BOTTLE, SCREW):
        both = evidence.alike("simplenet", "scenario_a", category=category)
        found = pair("I-AUROC", *both)
        # SimpleNet's score is its map's maximum: the same of Scenario A stands beside it.
        of_map = pair("I-AUROC", both[0], both[1].values("seg-I-AUROC"))
        told.append(
            f"{category} {found.told[0]}, {found.step} Scenario A with {found.told[1]} (by the "
            f"maximum of its map {of_map.told[1]}: {of_map.step} it)"
        )
        basis += both
    return Sentence(
        f"SimpleNet, the ancestor, after equally many epochs, I-AUROC: {'; '.join(told)}.", basis
    )


def _baseline(evidence: Evidence) -> Sentence:
    """ResNet18 against WideResNet50-2, wherever both were trained."""
    told, basis = [], []
    for category in (BOTTLE, CARPET, SCREW):
        if evidence.ran("baseline", category):
            both = evidence.alike("scenario_a", "baseline", category=category)
            found = pair("I-AUROC", *both)
            told.append(f"{category} {found.told[0]}, {found.step} {found.told[1]}")
            basis += both
    if not told:
        raise MissingError("no training of WideResNet50-2, so what the swap costs is not known")
    return Sentence(
        f"Scenario A against WideResNet50-2, trained as long, I-AUROC: {'; '.join(told)}.", basis
    )


def _faster(evidence: Evidence) -> Sentence:
    large, small, folded = costs = costs_of(
        evidence, ("baseline", "plain"), ("scenario_a", "plain"), ("scenario_a", "folded")
    )
    return Sentence(
        f"One image takes Scenario A {small.latency_ms.median:.0f} ms, "
        f"{speed(small, large, evidence)} the baseline. With its linear parts folded (`fuse`) it "
        f"takes {folded.latency_ms.median:.0f} ms, {speed(folded, small, evidence)} before.",
        costs,
    )


def costs_of(evidence: Evidence, *kinds: tuple[str, str]) -> list[Efficiency]:
    """The costs of those presets in those forms.

    Raises:
        MissingError: one of them was not measured.
    """
    known = {(cost.preset, cost.form): cost for cost in evidence.costs}
    for name, form in kinds:
        if (name, form) not in known:
            raise MissingError(f"the cost of {name}, {form}; `make bench` measures it")
    return [known[kind] for kind in kinds]


def speed(cost: Efficiency, reference: Efficiency, evidence: Evidence) -> str:
    """How fast an inference is against another, in words that a name follows; by what was measured
    in turns (`costs.records.in_turns`)."""
    first, second = (in_turns(one, evidence.costs).median for one in (reference, cost))
    ratio = first / second
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
