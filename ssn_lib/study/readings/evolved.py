"""What the records show of `evolved`."""

from __future__ import annotations

from functools import partial

from ssn_lib.runs.record import Record
from ssn_lib.study import search
from ssn_lib.study.claims.evidence import SCREW, Evidence, MissingError, margin, mean
from ssn_lib.study.claims.swap import BOTTLE
from ssn_lib.study.published import published_figures
from ssn_lib.study.readings.reading import Rule, against, is_above, value
from ssn_lib.study.readings.swap import speed

PEER = "PatchCore ResNet18"


def _against_a(category: str, metric: str) -> Rule:
    """Both after their own whole trainings, each at its own size."""

    def rule(evidence: Evidence) -> str:
        names = ("evolved", "scenario_a")
        means = [evidence.mean(name, metric, category) for name in names]
        step = against(*means, evidence.margin(metric, *names, category))
        first, second = (value(evidence, name, metric, category) for name in names)
        return (
            f"On {category} `evolved` has an {metric} of {first}, {step} Scenario A with {second}; "
            "each by its own recipe and image size."
        )

    return rule


def _peer(evidence: Evidence) -> str:
    found = evidence.mean("evolved", "I-AUROC", SCREW)
    published = published_figures()["peers_mvtec_ad_i_auroc"][PEER][SCREW]
    seeds = len(evidence.values("evolved", "I-AUROC", category=SCREW))
    step = against(found, published, margin("I-AUROC", seeds, 1))
    return (
        f"Its {found:.1f} on screw stands {step} the published {published:.1f} of PatchCore with the "
        "same backbone, which keeps a memory of features."
    )


def _size(records: list[Record], evidence: Evidence) -> str:
    """At the size of the others, so that what its own size gives is known."""
    made = search.Made("evolved", image_size=(256, 256))
    small, own = made.records(records, SCREW), search.Made("evolved").records(records, SCREW)
    if not small or not own:
        raise MissingError("`evolved` on screw at 256×256")
    evidence.used += [*small, *own]
    first, second = (mean([record.metrics["I-AUROC"] for record in of]) for of in (small, own))
    a = evidence.mean("scenario_a", "I-AUROC", SCREW)
    at_own = against(second, first, margin("I-AUROC", len(own), len(small)))
    at_small = against(first, a, margin("I-AUROC", len(small), 1))
    return (
        f"At 256×256, the others' size, it has {first:.1f} on screw, {at_small} Scenario A with "
        f"{a:.1f}; at its own size it is {at_own} that."
    )


def _ingredients(records: list[Record], evidence: Evidence) -> str:
    """Which change of the recipe costs most."""
    (_, recipe), *changed = search.INGREDIENTS
    own = recipe.records(records, SCREW)
    found = {title: made.records(records, SCREW) for title, made in changed}
    found = {title: of for title, of in found.items() if of}
    if not own or not found:
        raise MissingError("the recipe without one ingredient at a time")
    evidence.used += [record for of in (own, *found.values()) for record in of]
    whole = mean([record.metrics["I-AUROC"] for record in own])
    lost = {
        title: whole - mean([record.metrics["I-AUROC"] for record in of])
        for title, of in found.items()
    }
    worst = max(lost, key=lost.__getitem__)
    felt = [
        t for t, of in found.items() if is_above(lost[t], 0, margin("I-AUROC", len(own), len(of)))
    ]
    return (
        f"Of {len(found)} changes to the recipe, one at a time, {len(felt)} cost more I-AUROC on "
        f"screw than seeds explain; the most costs “{worst}”: {lost[worst]:.1f} points."
    )


def _strips(evidence: Evidence) -> str:
    """Where another system that sees sound images alone may be better."""
    strips = evidence.category
    means = [evidence.mean(name, "AP-det") for name in ("evolved", "simplenet")]
    wide = evidence.margin("AP-det", "evolved", "simplenet", regime="unsupervised")
    return (
        f"On the strips of {evidence.on(strips).title} it has an AP-det of {means[0]:.1f}, "
        f"{against(*means, wide)} SimpleNet with {means[1]:.1f}, which also sees sound images alone."
    )


def _cost(evidence: Evidence) -> str:
    known = {(cost.preset, cost.form): cost for cost in evidence.costs}
    kinds = [("evolved", "folded"), ("scenario_a", "plain"), ("scenario_a", "folded")]
    absent = [kind for kind in kinds if kind not in known]
    if absent:
        raise MissingError(f"the cost of {absent[0][0]} was not measured")
    own, plain, folded = (known[kind] for kind in kinds)
    evidence.used += [own, plain, folded]
    return (
        f"It has {own.parameters / 1e6:.2f} million parameters (Scenario A "
        f"{plain.parameters / 1e6:.2f}) and takes {own.latency_ms.median:.0f} ms for an image of "
        f"its own size: {speed(own, plain)} Scenario A as published, {speed(own, folded)} it folded."
    )


def rules(records: list[Record]) -> tuple[Rule, ...]:
    """The rules; some of them look at runs of other sizes and recipes, among all `records`."""
    return (
        _against_a(SCREW, "I-AUROC"),
        _against_a(SCREW, "AUPRO"),
        _against_a(BOTTLE, "AUPRO"),
        _peer,
        partial(_size, records),
        partial(_ingredients, records),
        _strips,
        _cost,
    )
