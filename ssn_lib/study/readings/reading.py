"""A reading: sentences made by rules from records, each with the trainings that it rests on.

A rule looks at the evidence that claims are judged by (`claims.evidence`) and gives one sentence.
What it has no records for it does not say: it raises `MissingError`, and the reading notes why.
Words that compare are chosen by number alone (`Pair`), so each sentence can come out otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ssn_lib.presets import preset
from ssn_lib.runs.record import device_name
from ssn_lib.study.captions import protocols
from ssn_lib.study.claims.evidence import Basis, Evidence, MissingError, Runs, records_in
from ssn_lib.study.costs.records import Efficiency
from ssn_lib.study.records import is_whole
from ssn_lib.study.statistics import MIN_DEVIATION, deviation, margin, mean
from ssn_lib.study.tables.cells import of_seeds

FAR = 10.0  # points from which on a difference is called far
Step = Literal["far above", "above", "level with", "below", "far below"]
NOTE = (
    "Above and below: two means are further apart than twice their standard error, by the "
    "deviation between seeds that was published, the one measured here, or "
    f"{MIN_DEVIATION:g} point, whichever is largest; far: by more than {FAR:g} points too; level: "
    "neither. Metrics in percent."
)


@dataclass(frozen=True)
class Sentence:
    """One sentence, and the runs and costs that its figures were taken from."""

    text: str
    rests_on: Basis = ()


Rule = Callable[[Evidence], Sentence]


@dataclass(frozen=True)
class Reading:
    """What records show, in sentences.

    Attributes:
        title: what of.
        sentences: each whole, with what it rests on.
        notes: how the words are chosen, and what could not be said.
    """

    title: str
    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """As a Markdown document."""
        said = "".join(f"- {sentence}\n" for sentence in self.sentences)
        notes = "".join(f"\n*{note}*\n" for note in self.notes)
        return f"**{self.title}**\n\n{said}{notes}"

    def _repr_markdown_(self) -> str:
        """How Jupyter shows it."""
        return self.to_markdown()


def read(title: str, rules: Iterable[Rule], evidence: Evidence, lead: Sequence[str]) -> Reading:
    """The sentences of those rules, as far as there are records for them.

    Args:
        lead: sentences that stand before them.
    """
    sentences, missing = list(lead), []
    for rule in rules:
        try:
            sentence = rule(evidence)
        except MissingError as error:
            missing.append(error.why)
            continue
        rests_on = how(sentence.rests_on)
        sentences.append(f"{sentence.text} *({rests_on})*" if rests_on else sentence.text)
    notes = [NOTE]
    if missing:
        notes.append(f"Not said, for want of records: {'; '.join(dict.fromkeys(missing))}.")
    return Reading(title, tuple(sentences), tuple(notes))


def how(basis: Basis) -> str:
    """The trainings and measurements that a sentence rests on: epochs, seeds, sizes, device."""
    records = records_in(basis)
    costs = [one.environment for one in basis if isinstance(one, Efficiency)]
    parts = [protocols(records)] if records else []
    environments = [*(record.environment for record in records), *costs]
    return "; ".join([*parts, device_name(*environments)]) if environments else ""


def after(runs: Runs) -> str:
    """After how many epochs, and of how many where that is before the end of the protocol."""
    if all(map(is_whole, runs.records)):
        return f"after {runs.epochs} epochs"
    return f"after {runs.epochs} of {preset(runs.name).training.epochs} epochs"


@dataclass(frozen=True)
class Pair:
    """Two means of one metric.

    Attributes:
        first, second: percent.
        margin: how far they must be apart to differ.
        told: both as text, with the deviation and number of seeds where there are several.
    """

    first: float
    second: float
    margin: float
    told: tuple[str, str]

    @property
    def step(self) -> Step:
        """How the first stands to the second, by the margin and by `FAR`."""
        apart = self.first - self.second
        if abs(apart) <= self.margin:
            return "level with"
        if apart > 0:
            return "far above" if apart > FAR else "above"
        return "far below" if -apart > FAR else "below"

    @property
    def is_above(self) -> bool:
        """Whether the first is above the second, far or not."""
        return self.first - self.second > self.margin

    @property
    def is_below(self) -> bool:
        """Whether the first is below the second, far or not."""
        return self.second - self.first > self.margin


def pair(
    metric: str, first: Runs | Sequence[float], second: Runs | Sequence[float], regime: str = ""
) -> Pair:
    """Two presets' means of a metric, or those of values that are given, one of each seed.

    Args:
        metric: whose published deviation counts, too.
        regime: of the published deviation on KSDD2, such as "unsupervised"; else that on screw.

    Raises:
        MissingError: runs that do not have the metric.
    """
    both = [_values(metric, one) for one in (first, second)]
    told = tuple(str(of_seeds(values)) for values in both)
    return Pair(*map(mean, both), margin(metric, *both, regime or None), told)


def beside(metric: str, runs: Runs, constant: float) -> Pair:
    """A preset's mean beside a figure that has no deviation, such as chance."""
    known = _values(metric, runs)
    wide = 2 * deviation(metric, known) / math.sqrt(len(known))
    return Pair(mean(known), constant, wide, (str(of_seeds(known)), f"{constant:.1f}"))


def _values(metric: str, of: Runs | Sequence[float]) -> Sequence[float]:
    if not isinstance(of, Runs):
        return of
    of.mean(metric)  # which says so where there is none
    return of.values(metric)
