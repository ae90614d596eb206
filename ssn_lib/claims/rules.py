"""The ledger: what the slides claim, and what the records say of it, by stated rules.

A claim is data and one rule; no verdict is typed by hand, and adding a claim is one more entry.

- Only records on real images with trained backbone weights are evidence.
- Two means differ when they are further apart than twice the standard error that a deviation
  between seeds gives them: the published deviation or 1 point, whichever is larger (`margin`).
  That is 5.5 points of I-AUROC for single runs on screw.
- A training has *learned* when its last loss lies 10 % below that of a network that answers 0
  everywhere, and *saturated* when it is not even 1 % of it: nothing is left to learn from. It has
  *collapsed* when it diverged or ended 10 % above both its start and that network's loss. Else it
  is undecided: too short.
- Too short a training, of fewer optimiser steps than published, refutes nothing (`judge`), unless
  what it does is claimed to be impossible (`Claim.notebook`); nor does it show that there is no
  difference (`whole_trainings`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import pandas as pd

from ssn_lib import tables
from ssn_lib.config import preset
from ssn_lib.data.layouts import MVTEC_COUNTS
from ssn_lib.efficiency import Comparison, Efficiency
from ssn_lib.env import device_name
from ssn_lib.losses import ignorance_loss
from ssn_lib.runs import Outcome, Record
from ssn_lib.supervision_tables import KSDD2, PUBLISHED_MASKS, Chosen

SCREW = "screw"
SATURATED_LOSS = 0.01 * ignorance_loss(True)
COLLAPSE = 1.1  # beyond so many times the loss of the start, or of answering 0, is no plateau
CHANCE = 0.05  # costs differ when a sign test finds less than this, shared among the costs tested
MIN_DEVIATION = 1.0  # points between seeds, where the published deviation is smaller
WHOLE = "`python -m ssn_lib study --profile long --only {} --data-root …` decides it"

State = Literal["learned", "saturated", "collapsed", "undecided"]
Verdict = Literal["reproduced", "not reproduced", "explained otherwise", "not measurable here"]


@dataclass
class Evidence:
    """What rules look at.

    Attributes:
        outcomes: runs asked for; those that are no evidence are passed over.
        histories: (outcome, history) of those that were made.
        comparison: of inference with and without learned noise, where it was measured.
        costs: of inference, where they were measured.
        category: of the runs that the claims are about, where a rule names no other.
        points: thresholds of GAP + CAM and what they do, where they were chosen.
        used: the sources of a rule's figures, as it asks for them; see `sources`.
    """

    outcomes: Sequence[Outcome]
    histories: Sequence[tuple[Outcome, pd.DataFrame]] = field(default_factory=list)
    comparison: Comparison | None = None
    costs: Sequence[Efficiency] = ()
    category: str = SCREW
    points: Sequence[Chosen] = ()
    used: list[Record | Efficiency] = field(default_factory=list, init=False)

    def values(
        self,
        name: str,
        metric: str,
        changed: tuple[str, ...] = (),
        category: str | None = None,
    ) -> list[float]:
        """A preset's metric, seed by seed; a diverged run has none."""
        real = [o for o in self.outcomes if is_evidence(o)]
        category = category or self.category
        self.used += tables.records_of(real, name, category, changed)
        return tables.values(real, name, category, metric, changed)

    def mean(self, name: str, metric: str, category: str | None = None) -> float:
        """Over the seeds.

        Raises:
            MissingError: no such record on real images.
        """
        known = self.values(name, metric, category=category)
        if not known:
            raise MissingError(f"no record of {name}, {category or self.category}, on real images")
        return mean(known)

    def margin(
        self,
        metric: str,
        first: str,
        second: str,
        category: str | None = None,
        strips: bool = False,
    ) -> float:
        """`margin` for as many seeds as two presets have that metric of."""
        seeds = [len(self.values(name, metric, category=category)) for name in (first, second)]
        return margin(metric, *seeds, strips=strips)

    def state(self, name: str, category: str | None = None) -> tuple[State, str]:
        """How a preset's trainings ended, all seeds together, and that in words."""
        category = category or self.category
        runs = [
            (outcome.record, history["loss"].tolist())
            for outcome, history in self.histories
            if (outcome.preset, outcome.category, outcome.changes) == (name, category, ())
            and is_evidence(outcome)
        ]
        if not runs:
            raise MissingError(f"no record of {name}, {category}, on real images")
        self.used += [record for record, _ in runs]
        diverged = [record for record, _ in runs if record.status == "diverged"]
        if diverged:
            return "collapsed", f"diverged in epoch {diverged[0].diverged_at}"
        first, last = (sum(loss[i] for _, loss in runs) / len(runs) for i in (0, -1))
        told = f"loss {first:.3g} → {last:.3g} in {runs[0][0].epochs_done} epochs"
        if last < SATURATED_LOSS:
            return "saturated", told
        if last < tables.LEARNED_LOSS:
            return "learned", told
        collapsed = last > COLLAPSE * max(first, ignorance_loss(True))
        return ("collapsed" if collapsed else "undecided"), told

    def noise_share(self, name: str, category: str) -> float:
        """A preset's noise in percent of its features' spread at the end, mean of the seeds.

        Raises:
            MissingError: no such record on real images.
        """
        shares = [
            100 * history["noise_rms"].iloc[-1] / history["feature_std"].iloc[-1]
            for outcome, history in self.histories
            if (outcome.preset, outcome.category, outcome.changes) == (name, category, ())
            and is_evidence(outcome)
        ]
        if not shares:
            raise MissingError(f"no record of {name}, {category}, on real images")
        return mean(shares)

    def cost(self, name: str) -> Efficiency:
        """What a preset's inference costs, by the published operations.

        Raises:
            MissingError: not measured.
        """
        for cost in self.costs:
            if (cost.preset, cost.form) == (name, "plain"):
                self.used.append(cost)
                return cost
        raise MissingError(f"the cost of {name} was not measured; `make bench` does")

    def sources(self) -> str:
        """What the figures were taken from: categories, data, epochs, seeds, device."""
        records = {r.run_id: r for r in self.used if isinstance(r, Record)}.values()
        parts = []
        if records:
            data = [record.config.data for record in records]
            categories = dict.fromkeys(d.category for d in data if d.dataset == "mvtec_ad")
            parts = [*categories, tables.describe(list(records))]
        costs = [cost.environment for cost in self.used if isinstance(cost, Efficiency)]
        if costs:
            parts.append(f"cost: {device_name(*costs)}")
        return ", ".join(parts) or tables.EMPTY


@dataclass(frozen=True)
class Finding:
    """What a rule found: the figures in words, its verdict, and why."""

    measured: str
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Claim:
    """One checkable statement of the slides.

    Attributes:
        id: short and stable.
        text: what is claimed.
        published: the slides' figures for it.
        rule: the computation that checks it.
        notebook: the one whose whole trainings decide it; None where their length does not matter,
            since short ones can refute it too or none is looked at.
    """

    id: str
    text: str
    published: str
    rule: Callable[[Evidence], Finding]
    notebook: str | None


class MissingError(Exception):
    """A rule's evidence is not there, or too weak.

    Attributes:
        why: what is missing.
        measured: what there is, in words.
    """

    def __init__(self, why: str, measured: str = tables.EMPTY):
        super().__init__(why)
        self.why, self.measured = why, measured


def judge(claims: Sequence[Claim], evidence: Evidence) -> pd.DataFrame:
    """The verdict on each of those claims, a row each; too short a training refutes none."""
    rows = []
    for claim in claims:
        evidence.used.clear()
        try:
            finding = claim.rule(evidence)
            if finding.verdict == "not reproduced" and claim.notebook is not None:
                whole_trainings(evidence, finding.measured)
        except MissingError as missing:
            decides = "" if claim.notebook is None else f"; {WHOLE.format(claim.notebook)}"
            finding = Finding(missing.measured, "not measurable here", missing.why + decides)
        rows.append(
            {
                "claim": claim.text,
                "verdict": finding.verdict,
                "published": claim.published,
                "measured here": finding.measured,
                "why": finding.why,
                "evidence": evidence.sources(),
                "id": claim.id,
            }
        )
    return pd.DataFrame(rows)


def ledger(*judged: pd.DataFrame) -> tables.Table:
    """The ledger: verdicts on claims, by `judge`, and how they are come to."""
    frame = pd.concat(judged, ignore_index=True)
    counts = frame["verdict"].value_counts()
    found = ", ".join(f"{counts[name]} {name}" for name in get_args(Verdict) if name in counts)
    return tables.Table(
        "Published claims",
        frame,
        (
            f"{len(frame)} claims: {found}.",
            "Published: 300 epochs, one seed, Tesla P100. After `… --profile full`, the verdicts "
            "are in `runs/full/report.html`; after `make bench` on a GPU, `python -m ssn_lib "
            "report --add-runs runs` brings them here.",
            "Two means differ when they are further apart than twice their standard error; the "
            "deviation between seeds is taken to be the published one, or 1 point if that is more.",
            "Learned: the last loss lies 10 % below that of answering 0 everywhere; saturated: "
            "below 1 % of it; collapsed: diverged, or ended 10 % above both that and its start.",
            "What only too short trainings, of fewer optimiser steps than published, would refute "
            "is not measurable here.",
        ),
    )


def whole_trainings(evidence: Evidence, told: str) -> None:
    """Too short a training refutes nothing, and shows no absence; `judge` sees to the former.

    Raises:
        MissingError: a run that was looked at took fewer optimiser steps than the published ones,
            and not because it diverged.
    """
    for record in evidence.used:
        if not isinstance(record, Record) or record.status == "diverged":
            continue
        published = preset(record.config.preset).training
        # In a quarter of the batch size an epoch has four times as many steps.
        longer = published.batch_size / record.config.training.batch_size
        if record.epochs_done * longer < published.epochs:
            done = f"{record.epochs_done} epochs in batches of {record.config.training.batch_size}"
            of = f"{published.epochs} in batches of {published.batch_size}"
            raise MissingError(f"after {done}, published {of}", told)


def margin(metric: str, first: int, second: int, strips: bool = False) -> float:
    """How far two means of so many seeds must be apart to differ, in points; see the module.

    Args:
        strips: by the deviation on KSDD2 with labels alone, else by that on screw.
    """
    jims = tables.published()["supersimplenet_jims2025"]
    row = jims[KSDD2][PUBLISHED_MASKS[0]] if strips else jims["mvtec_ad"][SCREW]
    return 2 * max(row[metric]["std"], MIN_DEVIATION) * math.sqrt(1 / first + 1 / second)


def is_evidence(outcome: Outcome) -> bool:
    """Whether a run was made on real images, of MVTec AD on all of a category's, with trained
    backbone weights."""
    record: Record | None = outcome.record
    if record is None or record.config.weights != "imagenet":
        return False
    data = record.config.data
    if data.dataset == "mvtec_ad":  # other images in that layout are not its
        return record.counts["train"] == MVTEC_COUNTS.get(data.category, (0, 0))[0]
    return data.dataset != "demo"


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)
