"""What the rules look at, and how they ask for it.

- Only records on real images with trained backbone weights are evidence.
- Of a configuration its longest trainings speak, one of each seed (`selection.longest`); trainings
  that are compared must be equally long (`Evidence.alike`).
- Two means differ when they are further apart than twice the standard error that a deviation
  between seeds gives them: the published deviation or 1 point, whichever is larger (`margin`).
  That is 5.5 points of I-AUROC for single runs on screw.
- One epoch's figure may be a draw: where trainings kept their course, what they differ in at the
  end they must also differ in over their last 100 epochs (`Evidence.late_mean`).
- A training has *learned* when its last loss lies 10 % below that of a network that answers 0
  everywhere, and *saturated* when it is not even 1 % of it: nothing is left to learn from. It has
  *collapsed* when it diverged or ended 10 % above both its start and that network's loss. Else it
  is *stuck* when it is whole (`tables.is_whole`), and undecided when it is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import pandas as pd

from ssn_lib.data.registry import images_title, source_of
from ssn_lib.runs.record import Outcome, Record, device_name
from ssn_lib.study import selection
from ssn_lib.study.costs.records import HALF, Comparison, Efficiency
from ssn_lib.study.published import published_figures
from ssn_lib.study.systems import LAST_EPOCHS, LEARNED_LOSS, ignorance_loss
from ssn_lib.study.tables.cells import describe, is_whole, late
from ssn_lib.study.tables.supervision import KSDD2, Chosen
from ssn_lib.study.tables.table import EMPTY

SCREW = "screw"
SATURATED_LOSS = 0.01 * ignorance_loss(True)
COLLAPSE = 1.1  # beyond so many times the loss of the start, or of answering 0, is no plateau
MIN_DEVIATION = 1.0  # points between seeds, where the published deviation is smaller
State = Literal["learned", "saturated", "collapsed", "stuck", "undecided"]
Files = Sequence[tuple[Outcome, pd.DataFrame]]  # a file of a run's folder, with the run


class MissingError(Exception):
    """A rule's evidence is not there, or too weak.

    Attributes:
        why: what is missing.
        measured: what there is, in words.
    """

    def __init__(self, why: str, measured: str = EMPTY):
        super().__init__(why)
        self.why, self.measured = why, measured


@dataclass
class Evidence:
    """What rules look at.

    Attributes:
        outcomes: runs of any length; those that are no evidence are passed over.
        histories, courses, scores, curves: `history.csv`, `course.csv`, `scores.csv` and
            `pixel_pr.csv` of those runs that have them.
        comparison: of inference with and without learned noise, where it was measured.
        costs: of inference, where they were measured.
        category: of the runs that the claims are about, where a rule names no other.
        points: thresholds of GAP + CAM and what they do, where they were chosen.
        used: the sources of a rule's figures, as it asks for them; see `sources`.
    """

    outcomes: Sequence[Outcome]
    histories: Files = ()
    comparison: Comparison | None = None
    costs: Sequence[Efficiency] = ()
    category: str = SCREW
    points: Sequence[Chosen] = ()
    courses: Files = ()
    scores: Files = ()
    curves: Files = ()
    used: list[Record | Efficiency] = field(default_factory=list, init=False)

    @property
    def real(self) -> list[Outcome]:
        """The outcomes that are evidence."""
        return [outcome for outcome in self.outcomes if is_evidence(outcome)]

    @property
    def title(self) -> str:
        """The name of its category's images."""
        return images_title(self.category)

    @property
    def epochs(self) -> int:
        """Of its longest training on real images; 0 without any."""
        return max((o.record.config.training.epochs for o in self.real), default=0)

    def has(self, category: str) -> bool:
        """Whether anything was trained on real images of that category."""
        return any(outcome.category == category for outcome in self.real)

    def on(self, category: str) -> Evidence:
        """The same evidence, asked about that category; nothing of it is used yet."""
        return replace(self, category=category)

    def alike(
        self, *names: str | tuple[str, tuple[str, ...]], category: str | None = None
    ) -> Evidence:
        """The runs of those presets that were trained for equally many epochs, as many as can be.

        Args:
            names: presets, or each with what was changed in it.

        Raises:
            MissingError: one of them was not run on real images, or they have no length in common.
        """
        category = category or self.category
        asked = [(name, ()) if isinstance(name, str) else name for name in names]
        for name, changed in asked:
            if not self.ran(name, category, changed):
                raise _no_run(name, category)
        wanted = [(name, category, changed) for name, changed in asked]
        found = selection.alike(self.real, wanted)
        if not found:
            own = [o for o in self.real if selection.configuration(o) in wanted]
            lengths = sorted({o.record.config.training.epochs for o in own})
            known = ", ".join(map(str, lengths))
            raise MissingError(f"trained for {known} epochs, with no number in common")
        narrowed = replace(self, outcomes=found)
        narrowed.used = self.used
        return narrowed

    def ran(self, name: str, category: str | None = None, changed: tuple[str, ...] = ()) -> bool:
        """Whether a preset was run on real images."""
        wanted = (name, category or self.category, changed)
        return any(selection.configuration(outcome) == wanted for outcome in self.real)

    def records(
        self, name: str, category: str | None = None, changed: tuple[str, ...] = ()
    ) -> list[Record]:
        """A preset's longest trainings on real images, one of each seed."""
        wanted = (name, category or self.category, changed)
        own = [outcome for outcome in self.real if selection.configuration(outcome) == wanted]
        found = [outcome.record for outcome in selection.longest(own)]
        self.used += found
        return found

    def values(
        self,
        name: str,
        metric: str,
        changed: tuple[str, ...] = (),
        category: str | None = None,
    ) -> list[float]:
        """A preset's metric, seed by seed; a diverged run has none."""
        found = [r.metrics.get(metric) for r in self.records(name, category, changed)]
        return [value for value in found if value is not None]

    def mean(self, name: str, metric: str, category: str | None = None) -> float:
        """Over the seeds.

        Raises:
            MissingError: no such run on real images.
        """
        known = self.values(name, metric, category=category)
        if not known:
            raise _no_run(name, category or self.category)
        return mean(known)

    def late_mean(self, name: str, metric: str, changed: tuple[str, ...] = ()) -> float | None:
        """Over the last epochs that a preset's trainings were evaluated in, and over the seeds: a
        figure that no single epoch makes. None unless all of them kept a course as long as that."""
        asked = self.records(name, changed=changed)
        means = [last.mean() for last in self._lates(asked, metric) if len(last) > 1]
        return mean(means) if means and len(means) == len(asked) else None

    def margin(
        self,
        metric: str,
        first: str,
        second: str,
        category: str | None = None,
        regime: str | None = None,
    ) -> float:
        """`margin` for as many seeds as two presets have that metric of."""
        seeds = [len(self.values(name, metric, category=category)) for name in (first, second)]
        return margin(metric, *seeds, regime=regime)

    def files(
        self, kept: Files, name: str, category: str | None = None
    ) -> list[tuple[Record, pd.DataFrame]]:
        """A preset's longest trainings, each with its file among those that were kept.

        Raises:
            MissingError: no such run on real images, or none with that file.
        """
        asked = {record.run_id: record for record in self.records(name, category)}
        if not asked:
            raise _no_run(name, category or self.category)
        found = {o.record.run_id: table for o, table in kept if o.record is not None}
        both = [(record, found[key]) for key, record in asked.items() if key in found]
        if not both:
            raise MissingError(f"the runs of {name} did not keep the file that this takes")
        return both

    def state(self, name: str, category: str | None = None) -> tuple[State, str]:
        """How a preset's trainings ended, all seeds together, and that in words.

        Raises:
            MissingError: no such run on real images.
        """
        runs = [
            (record, history["loss"].tolist())
            for record, history in self.files(self.histories, name, category)
        ]
        diverged = [record for record, _ in runs if record.status == "diverged"]
        if diverged:
            return "collapsed", f"diverged in epoch {diverged[0].diverged_at}"
        first, last = (mean([loss[i] for _, loss in runs]) for i in (0, -1))
        told = f"loss {first:.3g} → {last:.3g} in {runs[0][0].epochs_done} epochs"
        if last < SATURATED_LOSS:
            return "saturated", told
        if last < LEARNED_LOSS:
            return "learned", told
        if last > COLLAPSE * max(first, ignorance_loss(True)):
            return "collapsed", told
        return ("stuck" if all(is_whole(record) for record, _ in runs) else "undecided"), told

    def noise_share(self, name: str, category: str) -> float:
        """A preset's noise in percent of its features' spread at the end, mean of the seeds.

        Raises:
            MissingError: no such run on real images.
        """
        last = [table.iloc[-1] for _, table in self.files(self.histories, name, category)]
        return mean([100 * row["noise_rms"] / row["feature_std"] for row in last])

    def swing(self, metric: str) -> str:
        """How far a metric moved within the last epochs of the trainings used so far, in words;
        empty where none is long enough or kept its course."""
        used = [record for record in self.used if isinstance(record, Record)]
        moved = [last.max() - last.min() for last in self._lates(used, metric) if len(last) > 1]
        if not moved:
            return ""
        return (
            f"; within the last {LAST_EPOCHS} epochs of one training here it moves by up to "
            f"{max(moved):.0f} points"
        )

    def _lates(self, records: Sequence[Record], metric: str) -> list[pd.Series]:
        """A metric in the last epochs of those trainings that kept a course."""
        known = {o.record.run_id: course for o, course in self.courses if o.record is not None}
        asked = {record.run_id: record for record in records}
        return [late(known[key], metric, record) for key, record in asked.items() if key in known]

    def costs_of(self, *names: str) -> list[Efficiency]:
        """What these presets' inference costs, by the published operations; in float16, as
        published, where all of them were measured so.

        Raises:
            MissingError: one of them was not measured.
        """
        known = {(cost.preset, cost.form): cost for cost in self.costs}
        for form in ("plain" + HALF, "plain"):
            found = [known[name, form] for name in names if (name, form) in known]
            if len(found) == len(names):
                self.used += found
                return found
        absent = next(name for name in names if (name, "plain") not in known)
        raise MissingError(f"the cost of {absent} was not measured; `make bench` does")

    def sources(self) -> str:
        """What the figures were taken from: categories, data, epochs, seeds, device."""
        records = {r.run_id: r for r in self.used if isinstance(r, Record)}.values()
        parts = []
        if records:
            data = [record.config.data for record in records]
            categories = dict.fromkeys(
                d.category for d in data if source_of(d.dataset).category != "single"
            )
            parts = [*categories, describe(list(records))]
        costs = [cost.environment for cost in self.used if isinstance(cost, Efficiency)]
        if costs:
            parts.append(f"cost: {device_name(*costs)}")
        return ", ".join(parts) or EMPTY


def margin(metric: str, first: int, second: int, regime: str | None = None) -> float:
    """How far two means of so many seeds must be apart to differ, in points; see the module.

    Args:
        regime: by the deviation on KSDD2 in that regime of the published table, such as "weak
            (0 masks)"; else by that on screw.
    """
    jims = published_figures()["supersimplenet_jims2025"]
    row = jims[KSDD2][regime] if regime else jims["mvtec_ad"][SCREW]
    return margin_of(row[metric]["std"], first, second)


def margin_of(deviation: float, first: int, second: int) -> float:
    """As `margin`, by that deviation between seeds."""
    return 2 * max(deviation, MIN_DEVIATION) * math.sqrt(1 / first + 1 / second)


def is_evidence(outcome: Outcome) -> bool:
    """Whether a run was made on real images, on all of a category where it is known how many there
    are, with trained backbone weights."""
    record: Record | None = outcome.record
    if record is None or record.config.weights != "imagenet":
        return False
    data = record.config.data
    source = source_of(data.dataset)
    if source.counts:  # other images in that layout are not its
        return record.counts["train"] == source.counts.get(data.category, (0, 0))[0]
    return source.origin != "rendered"


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)


def _no_run(name: str, category: str) -> MissingError:
    return MissingError(f"no run of {name} on real images of {images_title(category)}")
