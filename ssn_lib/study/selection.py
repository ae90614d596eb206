"""Which runs stand for a configuration: its longest trainings, one of each seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record

Configuration = tuple[str, str, tuple[str, ...]]  # preset, category, changes to the preset


def configuration(outcome: Outcome) -> Configuration:
    """What was trained on what, whatever its seed and length."""
    return outcome.preset, outcome.category, outcome.changes


def longest(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Of each configuration the longest trainings, one of each seed.

    Of several batch sizes the published one is taken, of several runs of one seed the one that is
    most like the published. An outcome without a record stands for nothing and is left out.
    """
    lengths: dict[Configuration, dict[tuple, dict[int, Outcome]]] = {}
    for outcome in outcomes:
        if outcome.record is None:
            continue
        training = outcome.record.config.training
        usual = preset(outcome.preset).training.batch_size
        length = training.epochs, training.batch_size == usual, training.batch_size
        seeds = lengths.setdefault(configuration(outcome), {}).setdefault(length, {})
        known = seeds.get(outcome.seed)
        if known is None or _likeness(outcome.record) > _likeness(known.record):
            seeds[outcome.seed] = outcome
    return [one for known in lengths.values() for one in known[max(known)].values()]


def alike(outcomes: Sequence[Outcome], wanted: Sequence[Configuration]) -> list[Outcome]:
    """The outcomes of those configurations that were trained for equally many epochs, as many as
    all of them have in common; none where they have none in common."""
    lengths = {one: set() for one in wanted}
    for outcome in outcomes:
        if outcome.record is not None and configuration(outcome) in lengths:
            lengths[configuration(outcome)].add(_epochs(outcome))
    common = set.intersection(*lengths.values()) if lengths else set()
    return [
        outcome
        for outcome in outcomes
        if common
        and outcome.record is not None
        and configuration(outcome) in lengths
        and _epochs(outcome) == max(common)
    ]


def _epochs(outcome: Outcome) -> int:
    return outcome.record.config.training.epochs


def _likeness(record: Record) -> tuple[bool, bool]:
    """The higher, the more a run is like the published one of its preset."""
    usual = preset(record.config.preset)
    return (
        record.config.training.precision == usual.training.precision,
        record.config.data.resize == usual.resize,
    )
