"""What the records show of `evolved`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ssn_lib.runs.record import Record
from ssn_lib.study import search
from ssn_lib.study.claims.evidence import SCREW, Evidence, MissingError
from ssn_lib.study.claims.supervision import SOUND
from ssn_lib.study.claims.swap import BOTTLE
from ssn_lib.study.published import PUBLISHED_SIZE, published_figures
from ssn_lib.study.readings.reading import Rule, pair
from ssn_lib.study.readings.swap import costs_of, speed

PEER = "PatchCore ResNet18"


def _against_a(category: str) -> Rule:
    """Both after their own whole trainings, each at its own size."""

    def rule(evidence: Evidence) -> str:
        told = []
        for metric in ("I-AUROC", "AUPRO"):
            found = pair(evidence, metric, "evolved", "scenario_a", category)
            told.append(f"{metric} {found.told[0]}, {found.step} {found.told[1]}")
        return (
            f"On {category} `evolved` against Scenario A, each by its own recipe and image size: "
            f"{'; '.join(told)}."
        )

    return rule


def _peer(evidence: Evidence) -> str:
    published = [published_figures()["peers_mvtec_ad_i_auroc"][PEER][SCREW]]
    found = pair(evidence, "I-AUROC", "evolved", published, SCREW)
    return (
        f"Its I-AUROC of {found.told[0]} on screw is {found.step} the published {found.told[1]} of "
        "PatchCore with the same backbone, which keeps a memory of features."
    )


def _size(records: Sequence[Record], evidence: Evidence) -> str:
    """At the others' size, so that what its own size gives is known."""
    small = _i_auroc(evidence, search.Made("evolved", image_size=PUBLISHED_SIZE), records)
    own = _i_auroc(evidence, search.Made("evolved"), records)
    if not small or not own:
        raise MissingError("`evolved` on screw at the published size")
    to_a = pair(evidence, "I-AUROC", small, "scenario_a", SCREW)
    to_own = pair(evidence, "I-AUROC", own, small)
    return (
        f"At {'×'.join(map(str, PUBLISHED_SIZE))}, Scenario A's size, it has {to_a.told[0]} on "
        f"screw, {to_a.step} Scenario A with {to_a.told[1]}; at its own size, {to_own.told[0]}, it "
        f"is {to_own.step} that."
    )


def _ingredients(records: Sequence[Record], evidence: Evidence) -> str:
    """Which change to the decoder's recipe costs more than seeds explain."""
    (_, recipe), *changes = search.INGREDIENTS
    own = _i_auroc(evidence, recipe, records)
    found = {
        title: values
        for title, made in changes
        if made.preset == recipe.preset and (values := _i_auroc(evidence, made, records))
    }
    if not own or not found:
        raise MissingError("the recipe without one ingredient at a time")
    pairs = {title: pair(evidence, "I-AUROC", values, own) for title, values in found.items()}
    felt = [f"{title} ({one.told[0]})" for title, one in pairs.items() if one.is_below]
    return (
        f"Of {len(pairs)} changes to its recipe, one at a time, {len(felt)} cost more I-AUROC on "
        f"screw than seeds explain{': ' if felt else ''}{'; '.join(felt)}."
    )


def _i_auroc(evidence: Evidence, made: search.Made, records: Sequence[Record]) -> list[float]:
    """Of a recipe's records of screw, seed by seed."""
    found = made.records(records, SCREW)
    evidence.used += found
    return [record.metrics["I-AUROC"] for record in found]


def _strips(evidence: Evidence) -> str:
    """Where another system that sees sound images alone may be better. Both scores are of the map's
    highest pixels, and so is the published deviation."""
    names = ("evolved", "simplenet")
    if not all(evidence.ran(name) for name in names):
        raise MissingError(f"`evolved` and SimpleNet on the strips of {evidence.title}")
    values = [evidence.values(name, "AP-det") for name in names]
    found = pair(evidence, "seg-AP-det", *values, regime=SOUND)
    return (
        f"On the strips of {evidence.title} it has an AP-det of {found.told[0]}, {found.step} "
        f"SimpleNet with {found.told[1]}, which sees sound images alone too."
    )


def _cost(evidence: Evidence) -> str:
    own, plain, folded = costs_of(
        evidence, ("evolved", "folded"), ("scenario_a", "plain"), ("scenario_a", "folded")
    )
    return (
        f"It has {own.parameters / 1e6:.2f} million parameters (Scenario A "
        f"{plain.parameters / 1e6:.2f}) and takes {own.latency_ms.median:.0f} ms for an image of "
        f"its own size: {speed(own, plain)} Scenario A as published, {speed(own, folded)} Scenario "
        "A folded."
    )


def rules(records: Sequence[Record]) -> tuple[Rule, ...]:
    """The rules; some of them look at runs of other sizes and recipes, among all `records`."""
    return (
        _against_a(SCREW),
        _against_a(BOTTLE),
        _peer,
        partial(_size, records),
        partial(_ingredients, records),
        _strips,
        _cost,
    )
