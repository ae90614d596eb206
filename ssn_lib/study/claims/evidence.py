"""What the rules look at, and how they ask for it.

A rule asks its `Evidence` for `Runs` or costs, takes its figures from them, and returns both:
`Finding(measured, verdict, why, rests_on=(…))`. What is evidence, when two means differ and how a
training ended are told in `study/README.md`, "How a claim is judged".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from ssn_lib.data.registry import images_title, source_of
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record, device_name
from ssn_lib.study import records as study_records
from ssn_lib.study.captions import describe
from ssn_lib.study.costs.records import HALF, Comparison, Efficiency
from ssn_lib.study.profiles import SCREW
from ssn_lib.study.records import is_whole, late
from ssn_lib.study.statistics import margin, mean
from ssn_lib.study.systems import LAST_EPOCHS, LEARNED_LOSS, ignorance_loss, short
from ssn_lib.study.tables.table import EMPTY
from ssn_lib.study.thresholds import YoudenThreshold

SATURATED_LOSS = 0.01 * ignorance_loss(True)
COLLAPSE = 1.1  # beyond so many times the loss of the start, or of answering 0, is no plateau
State = Literal["learned", "saturated", "collapsed", "stuck", "undecided", "mixed"]
Files = Sequence[tuple[Outcome, pd.DataFrame]]  # a file of a run's folder, with the run
Basis = Sequence["Runs | Efficiency"]  # what a finding rests on


class MissingError(Exception):
    """A rule's evidence is not there, or too weak.

    Attributes:
        why: what is missing.
        measured: what there is, in words.
        rests_on: what that was taken from.
    """

    def __init__(self, why: str, measured: str = EMPTY, rests_on: Basis = ()):
        super().__init__(why)
        self.why, self.measured, self.rests_on = why, measured, rests_on


@dataclass(frozen=True)
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
    """

    outcomes: Sequence[Outcome]
    histories: Files = ()
    comparison: Comparison | None = None
    costs: Sequence[Efficiency] = ()
    category: str = SCREW
    points: Sequence[YoudenThreshold] = ()
    courses: Files = ()
    scores: Files = ()
    curves: Files = ()

    @property
    def real(self) -> list[Outcome]:
        """The outcomes that are evidence."""
        return [outcome for outcome in self.outcomes if is_evidence(outcome)]

    @property
    def title(self) -> str:
        """The name of its category's images."""
        return images_title(self.category)

    def has(self, category: str) -> bool:
        """Whether anything was trained on real images of that category."""
        return any(outcome.category == category for outcome in self.real)

    def on(self, category: str) -> Evidence:
        """The same evidence, asked about that category."""
        return replace(self, category=category)

    def ran(self, name: str, category: str | None = None, changed: tuple[str, ...] = ()) -> bool:
        """Whether a preset was run on real images."""
        return bool(self._outcomes_of((name, category or self.category, changed)))

    def runs(self, name: str, category: str | None = None, changed: tuple[str, ...] = ()) -> Runs:
        """A preset's longest trainings on real images, one of each seed.

        Args:
            name: the preset.
            category: of the images; by default the evidence's own.
            changed: what was changed in the preset, as in `Outcome.changes`.

        Raises:
            MissingError: no such run on real images.
        """
        category = category or self.category
        longest = study_records.longest(self._outcomes_of((name, category, changed)))
        if not longest:
            raise _no_run(name, category, changed)
        return Runs(name, category, tuple(outcome.record for outcome in longest), self)

    def alike(
        self, *names: str | tuple[str, tuple[str, ...]], category: str | None = None
    ) -> tuple[Runs, ...]:
        """The runs of each of those presets that were trained for equally many epochs, as many as
        can be.

        Args:
            names: presets, or each with what was changed in it.
            category: of the images; by default the evidence's own.

        Raises:
            MissingError: one of them was not run on real images, or they have no length in common.
        """
        category = category or self.category
        configurations = [
            (name, category, ()) if isinstance(name, str) else (name[0], category, name[1])
            for name in names
        ]
        own = {one: self._outcomes_of(one) for one in configurations}
        for (name, _, changed), outcomes in own.items():
            if not outcomes:
                raise _no_run(name, category, changed)
        equal = study_records.alike(self.real, configurations)
        if not equal:
            epochs = {o.record.config.training.epochs for runs in own.values() for o in runs}
            lengths = ", ".join(map(str, sorted(epochs)))
            raise MissingError(f"trained for {lengths} epochs, with no number in common")
        narrowed = replace(self, outcomes=equal)
        return tuple(narrowed.runs(*configuration) for configuration in configurations)

    def costs_of(self, *names: str) -> tuple[Efficiency, ...]:
        """What these presets' inference costs, by the published operations; in float16, as
        published, where all of them were measured so.

        Raises:
            MissingError: one of them was not measured.
        """
        costs = {(cost.preset, cost.form): cost for cost in self.costs}
        for form in ("plain" + HALF, "plain"):
            if all((name, form) in costs for name in names):
                return tuple(costs[name, form] for name in names)
        absent = next(name for name in names if (name, "plain") not in costs)
        raise MissingError(f"the cost of {absent} was not measured; `make bench` does")

    def _outcomes_of(self, configuration: study_records.Configuration) -> list[Outcome]:
        return [o for o in self.real if study_records.configuration(o) == configuration]


@dataclass(frozen=True)
class Runs:
    """Trainings of one preset on real images of one category, equally long, one of each seed.

    Attributes:
        name: the preset.
        category: of the images.
        records: at least one.
        evidence: where the runs' files are.
    """

    name: str
    category: str
    records: tuple[Record, ...]
    evidence: Evidence

    @property
    def epochs(self) -> int:
        """As configured."""
        return self.records[0].config.training.epochs

    def values(self, metric: str) -> list[float]:
        """A metric, seed by seed; a diverged run has none."""
        values = [record.metrics.get(metric) for record in self.records]
        return [value for value in values if value is not None]

    def mean(self, metric: str) -> float:
        """A metric, mean of the seeds.

        Raises:
            MissingError: no run has that metric.
        """
        values = self.values(metric)
        if not values:
            diverged = all(record.status == "diverged" for record in self.records)
            why = "diverged" if diverged else f"has no {metric}"
            what = f"the training of {self.name} on {images_title(self.category)}"
            raise MissingError(f"{what} {why}", rests_on=(self,))
        return mean(values)

    def late_values(self, metric: str) -> list[float]:
        """A metric over the last epochs in which it was evaluated, seed by seed: figures that no
        single epoch makes. None at all unless all runs that completed kept a course as long."""
        means = [last.mean() for last in _last_values([self], metric) if len(last) > 1]
        return means if len(means) == len(self.values(metric)) else []

    def late_mean(self, metric: str) -> float | None:
        """The mean of `late_values`; None where there are none."""
        means = self.late_values(metric)
        return mean(means) if means else None

    def lead(self, other: Runs, metric: str) -> float:
        """How far these runs' mean lies above another's, in points: at the end or over the last
        epochs, whichever is less. At the end alone where not all kept a course that long.

        Raises:
            MissingError: as `mean`.
        """
        leads = [self.mean(metric) - other.mean(metric)]
        late, late_of_other = self.late_mean(metric), other.late_mean(metric)
        if late is not None and late_of_other is not None:
            leads.append(late - late_of_other)
        return min(leads)

    def margin(self, metric: str, other: Runs, regime: str | None = None) -> float:
        """`margin` between these and other runs."""
        return margin(metric, self.values(metric), other.values(metric), regime)

    def with_files(self, files: Files) -> list[tuple[Record, pd.DataFrame]]:
        """Each of these runs that has a file of that kind, with it.

        Raises:
            MissingError: none has.
        """
        by_id = {o.record.run_id: table for o, table in files if o.record is not None}
        pairs = [(r, by_id[r.run_id]) for r in self.records if r.run_id in by_id]
        if not pairs:
            why = f"the runs of {self.name} did not keep the file that this takes"
            raise MissingError(why, rests_on=(self,))
        return pairs

    def state(self) -> tuple[State, str]:
        """How these trainings ended, and that in words.

        Raises:
            MissingError: none kept its losses.
        """
        losses = [
            (record, history["loss"].tolist())
            for record, history in self.with_files(self.evidence.histories)
        ]
        states = {_state(*one) for one in losses}
        if len(losses) == 1:
            course = _course(*losses[0])
        elif len(states) > 1 or any(record.status == "diverged" for record, _ in losses):
            course = ", ".join(
                f"seed {record.config.seed}: {_course(record, loss)}" for record, loss in losses
            )
        else:
            course = _course(losses[0][0], [mean([loss[i] for _, loss in losses]) for i in (0, -1)])
        if len(states) == 1:
            return states.pop(), course
        return ("undecided" if "undecided" in states else "mixed"), course

    def late_collapses(self) -> str:
        """In how many of the last epochs a whole training stood where it would count as collapsed
        had it ended there, in words; empty where in none."""
        found = []
        for record, history in self.with_files(self.evidence.histories):
            if is_whole(record) and record.status != "diverged":
                late = history["loss"].tail(LAST_EPOCHS)
                above = late[late > COLLAPSE * max(history["loss"].iloc[0], ignorance_loss(True))]
                found.append((len(above), above.max()))
        count, highest = max(found, default=(0, 0.0))
        if not count:
            return ""
        return (
            f"in {count} of its last {LAST_EPOCHS} epochs it stands where it would count as "
            f"collapsed, with a loss of up to {highest:.3g}"
        )

    def noise_share(self) -> float:
        """The noise in percent of the features' spread at the end, mean of the seeds; one that
        diverged has no end, maybe not even an epoch.

        Raises:
            MissingError: no run kept it.
        """
        ended = [
            (record, table)
            for record, table in self.with_files(self.evidence.histories)
            if record.status != "diverged"
        ]
        if not ended:
            raise MissingError(f"all runs of {self.name} diverged", rests_on=(self,))
        last = [table.iloc[-1] for _, table in ended]
        return mean([100 * row["noise_rms"] / row["feature_std"] for row in last])


def _state(record: Record, losses: Sequence[float]) -> State:
    """How one training ended, by the table in `study/README.md`."""
    if record.status == "diverged":  # maybe in the first epoch, without a loss
        return "collapsed"
    first, last = losses[0], losses[-1]
    if last > COLLAPSE * max(first, ignorance_loss(True)):
        return "collapsed"
    if last < SATURATED_LOSS:
        return "saturated"
    if last < LEARNED_LOSS:
        return "learned"
    return "stuck" if is_whole(record) else "undecided"


def _course(record: Record, losses: Sequence[float]) -> str:
    """From which loss a training went to which, in words."""
    if record.status == "diverged":
        return f"diverged in epoch {record.diverged_at}"
    return f"loss {losses[0]:.3g} → {losses[-1]:.3g} in {record.epochs_done} epochs"


def records_in(basis: Basis) -> list[Record]:
    """The runs among what a finding rests on, each once."""
    runs = [one for one in basis if isinstance(one, Runs)]
    return list({record.run_id: record for one in runs for record in one.records}.values())


def sources(basis: Basis) -> str:
    """What figures were taken from, in words: categories, data, epochs, seeds, device."""
    records = records_in(basis)
    parts = []
    if records:
        data = [record.config.data for record in records]
        categories = dict.fromkeys(
            d.category for d in data if source_of(d.dataset).category != "single"
        )
        parts = [*categories, describe(records)]
    costs = [cost.environment for cost in basis if isinstance(cost, Efficiency)]
    if costs:
        parts.append(f"cost: {device_name(*costs)}")
    return ", ".join(parts) or EMPTY


def swing(metric: str, basis: Basis) -> str:
    """How far a metric moved within the last epochs of those trainings, in words; empty where none
    is long enough or kept its course."""
    runs = [one for one in basis if isinstance(one, Runs)]
    moves = [last.max() - last.min() for last in _last_values(runs, metric) if len(last) > 1]
    if not moves:
        return ""
    return (
        f"; within the last {LAST_EPOCHS} epochs of one training here it moves by up to "
        f"{max(moves):.0f} points"
    )


def _last_values(basis: Sequence[Runs], metric: str) -> list[pd.Series]:
    """A metric in the last epochs of those trainings that kept a course."""
    return [
        late(course, metric, record)
        for runs in basis
        for record in runs.records
        for outcome, course in runs.evidence.courses
        if outcome.record is not None and outcome.record.run_id == record.run_id
    ]


def whole_trainings(measured: str, basis: Basis) -> None:
    """Too short a training refutes nothing, and shows no absence; `judge` sees to the former.

    Args:
        measured: the figures in words.
        basis: what they were taken from.

    Raises:
        MissingError: one of the runs saw fewer images than the published one, so had fewer epochs,
            and not because it diverged.
    """
    records = records_in(basis)
    ended_early = [r for r in records if r.status != "diverged" and not is_whole(r)]
    if not ended_early:
        return
    published = preset(ended_early[0].config.preset).training.epochs
    why = f"after {ended_early[0].epochs_done} epochs, published {published}"
    if len(ended_early) < len(records):  # the others were whole
        names = dict.fromkeys(short(record.config.preset) for record in ended_early)
        why = f"{' and '.join(names)}: {why}"
    raise MissingError(why, measured, basis)


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


def _no_run(name: str, category: str, changed: tuple[str, ...]) -> MissingError:
    settings = "".join(f" with {change}" for change in changed)
    return MissingError(f"no run of {name}{settings} on real images of {images_title(category)}")
