"""What the records show of `evolved`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.runs.record import Record
from ssn_lib.study import search
from ssn_lib.study.claims.evidence import Evidence, MissingError, Runs
from ssn_lib.study.claims.supervision import SOUND
from ssn_lib.study.claims.swap import BOTTLE
from ssn_lib.study.peers.records import PeerRecord
from ssn_lib.study.profiles import SCREW
from ssn_lib.study.published import published_figures
from ssn_lib.study.readings.reading import Rule, Sentence, pair
from ssn_lib.study.readings.swap import costs_of, speed

PEER, MEASURED_PEER = "PatchCore ResNet18", "patchcore_random"


def _against_a(category: str) -> Rule:
    """Both after their own whole trainings, each at its own size."""

    def rule(evidence: Evidence) -> Sentence:
        both = evidence.runs("evolved", category), evidence.runs("scenario_a", category)
        told = []
        for metric in ("I-AUROC", "AUPRO"):
            found = pair(metric, *both)
            told.append(f"{metric} {found.told[0]}, {found.step} {found.told[1]}")
        return Sentence(
            f"On {category} `evolved` against Scenario A, each by its own recipe and image size: "
            f"{'; '.join(told)}.",
            both,
        )

    return rule


def _peer(evidence: Evidence) -> Sentence:
    runs = evidence.runs("evolved", SCREW)
    found = pair("I-AUROC", runs, [published_figures()["peers_mvtec_ad_i_auroc"][PEER][SCREW]])
    return Sentence(
        f"Its I-AUROC of {found.told[0]} on screw is {found.step} the published {found.told[1]} of "
        "PatchCore with the same backbone, which keeps a memory of features.",
        (runs,),
    )


def _measured_peer(peers: Sequence[PeerRecord], evidence: Evidence) -> Sentence:
    """What else could be used, on the same files and at the same size; the image score, then how
    well defects are outlined."""
    told, basis = [], []
    for category in (SCREW, BOTTLE):
        runs = evidence.runs("evolved", category)
        data = runs.records[0].config.data
        found = [
            one.metrics
            for one in peers
            if (one.config.name, one.config.good_images) == (MEASURED_PEER, None)
            and (one.config.dataset, one.config.category) == (data.dataset, category)
            and one.config.image_size == data.image_size
        ]
        if not found:
            raise MissingError(f"PatchCore on {category} at the size of `evolved`")
        pairs = {
            metric: pair(metric, runs, [one[metric] for one in found])
            for metric in ("I-AUROC", "AUPRO", "AP-loc")
        }
        figures = [f"{m} {one.told[0]}, {one.step} {one.told[1]}" for m, one in pairs.items()]
        told.append(f"on {category}, {'; '.join(figures)}")
        basis.append(runs)
    return Sentence(
        "Against PatchCore as measured here (anomalib's, of the same backbone, at the same size, "
        f"with a tenth of all features at random) it has, {'; and '.join(told)}.",
        basis,
    )


def _size(records: Sequence[Record], evidence: Evidence) -> Sentence:
    """At the others' size, so that what its own size gives is known."""
    small = _runs(evidence, search.Recipe("evolved", image_size=PUBLISHED_SIZE), records)
    own = _runs(evidence, search.Recipe("evolved"), records)
    if small is None or own is None:
        raise MissingError("`evolved` on screw at the published size")
    a = evidence.runs("scenario_a", SCREW)
    to_a, to_small = pair("I-AUROC", small, a), pair("I-AUROC", own, small)
    size = "×".join(map(str, PUBLISHED_SIZE))
    return Sentence(
        f"At {size}, Scenario A's size, it has {to_a.told[0]} on screw, {to_a.step} Scenario A "
        f"with {to_a.told[1]}. At its own size it has {to_small.told[0]}, {to_small.step} the "
        f"{to_small.told[1]} at {size}.",
        (small, own, a),
    )


def _ingredients(records: Sequence[Record], evidence: Evidence) -> Sentence:
    """Which change to the decoder's recipe costs more than seeds explain."""
    (_, recipe), *changes = search.INGREDIENTS
    own = _runs(evidence, recipe, records)
    found = {
        title: runs
        for title, made in changes
        if made.preset == recipe.preset and (runs := _runs(evidence, made, records))
    }
    if own is None or not found:
        raise MissingError("the recipe without an ingredient")
    pairs = {title: pair("I-AUROC", runs, own) for title, runs in found.items()}
    told = [f"{title}: {one.told[0]}, {one.step} it" for title, one in pairs.items()]
    return Sentence(
        f"One change to its recipe at a time, I-AUROC on screw against the recipe's "
        f"{next(iter(pairs.values())).told[1]} – {'; '.join(told)}.",
        (own, *found.values()),
    )


def _runs(evidence: Evidence, made: search.Recipe, records: Sequence[Record]) -> Runs | None:
    """A recipe's runs on screw; None where there are none."""
    found = made.records(records, SCREW)
    return Runs(made.preset, SCREW, tuple(found), evidence) if found else None


def _strips(evidence: Evidence) -> Sentence:
    """Where another system that sees sound images alone may be better. Both scores are of the map's
    highest pixels, and so is the published deviation."""
    both = evidence.runs("evolved"), evidence.runs("simplenet")
    found = pair("seg-AP-det", *(runs.values("AP-det") for runs in both), regime=SOUND)
    return Sentence(
        f"On the strips of {evidence.title} it has an AP-det of {found.told[0]}, {found.step} "
        f"SimpleNet with {found.told[1]}, which sees sound images alone too.",
        both,
    )


def _cost(evidence: Evidence) -> Sentence:
    own, plain, folded = costs = costs_of(
        evidence, ("evolved", "folded"), ("scenario_a", "plain"), ("scenario_a", "folded")
    )
    return Sentence(
        f"It has {own.parameters / 1e6:.2f} million parameters (Scenario A "
        f"{plain.parameters / 1e6:.2f}) and takes {own.latency_ms.median:.0f} ms for an image of "
        f"its own size: {speed(own, plain, evidence)} Scenario A as published, "
        f"{speed(own, folded, evidence)} Scenario A folded.",
        costs,
    )


def rules(records: Sequence[Record], peers: Sequence[PeerRecord]) -> tuple[Rule, ...]:
    """The rules; some of them look at runs of other sizes and recipes, among all `records`, or at
    other methods."""
    return (
        _against_a(SCREW),
        _against_a(BOTTLE),
        _peer,
        partial(_measured_peer, peers),
        partial(_size, records),
        partial(_ingredients, records),
        _strips,
        _cost,
    )
