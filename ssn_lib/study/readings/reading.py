"""A reading: sentences made by rules from records, each with the trainings that it rests on.

A rule looks at the evidence that claims are judged by (`claims.evidence`) and gives one sentence.
What it has no records for it does not say: it raises `MissingError`, and the reading notes why.
Words that compare are chosen by number alone (`against`), so each sentence can come out otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ssn_lib.runs.record import Record, device_name
from ssn_lib.study.claims.evidence import MIN_DEVIATION, Evidence, MissingError
from ssn_lib.study.costs.records import Efficiency
from ssn_lib.study.tables.cells import of_seeds

FAR = 10.0  # points from which on a difference is called far
Step = Literal["far above", "above", "level with", "below", "far below"]
Rule = Callable[[Evidence], str]
NOTE = (
    "Above and below: two means are further apart than twice the standard error that the published "
    f"deviation between seeds, or {MIN_DEVIATION:g} point if that is more, gives them; far: by more "
    f"than {FAR:g} points too; level: neither. Metrics in percent."
)


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
        own = evidence.on(evidence.category)  # nothing of it is used yet
        try:
            sentence = rule(own)
        except MissingError as error:
            missing.append(error.why)
            continue
        rests_on = how(own.used)
        sentences.append(f"{sentence} *({rests_on})*" if rests_on else sentence)
    notes = [NOTE]
    if missing:
        notes.append(f"Not said, for want of records: {'; '.join(dict.fromkeys(missing))}.")
    return Reading(title, tuple(sentences), tuple(notes))


def how(used: Sequence[Record | Efficiency]) -> str:
    """The trainings and measurements that a sentence rests on: epochs, seeds, sizes, device."""
    records = list({one.run_id: one for one in used if isinstance(one, Record)}.values())
    costs = [one.environment for one in used if isinstance(one, Efficiency)]
    parts = []
    if records:
        epochs = sorted({record.epochs_done for record in records})
        seeds = sorted({record.config.seed for record in records})
        sizes = sorted({record.config.data.image_size for record in records})
        parts = [
            f"{' and '.join(map(str, epochs))} epochs",
            f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}",
            " and ".join("×".join(map(str, size)) for size in sizes) + " px",
        ]
    environments = [*(record.environment for record in records), *costs]
    return "; ".join([*parts, device_name(*environments)]) if environments else ""


def against(first: float, second: float, margin: float) -> Step:
    """How the first of two means stands to the second, by the margin and by `FAR`."""
    apart = first - second
    if abs(apart) <= margin:
        return "level with"
    if apart > 0:
        return "far above" if apart > FAR else "above"
    return "far below" if -apart > FAR else "below"


def is_above(first: float, second: float, margin: float) -> bool:
    """Whether the first of two means is above the second, far or not."""
    return first - second > margin


def value(evidence: Evidence, name: str, metric: str, category: str | None = None) -> str:
    """A preset's metric as text: one number, or mean ± deviation and the number of seeds.

    Raises:
        MissingError: no such run on real images.
    """
    evidence.mean(name, metric, category)  # which says so where there is none
    return str(of_seeds(evidence.values(name, metric, category=category)))
