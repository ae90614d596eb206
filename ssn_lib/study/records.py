"""The records of a folder, and which of them stand for a configuration: its longest trainings,
one of each seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.data.registry import of_strips, source_of
from ssn_lib.errors import InputError
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record, read_record, usual_resize
from ssn_lib.study.published import published_figures
from ssn_lib.study.systems import LAST_EPOCHS

# What the slides publish of a system, every record must have; more may be there.
REQUIRED = tuple(published_figures()["slides"]["table_noise_losses_screw"])
Configuration = tuple[str, str, tuple[str, ...]]  # preset, category, changes to the preset


def read_records(folder: Path) -> tuple[list[Record], list[str]]:
    """All records in a folder of runs or results, and why others that are there are not read.

    Of one category all have seen the same number of images, the official one if any record has, or
    else that of most: figures of a part of a data set do not stand beside those of the whole.
    """
    records, refused = {}, []
    for path in sorted(folder.glob("*/record.json")):
        found = _read(path, path.stat().st_mtime_ns)
        if isinstance(found, Record):
            records[path] = found
        else:
            refused.append(found)
    usual = _usual_counts(records.values())
    kept = []
    for path, record in records.items():
        here, others = _counts(record), usual[_images(record)]
        if here == others:
            kept.append(record)
            continue
        refused.append(
            f"{path}: made on {here[0]} training and {here[1]} test images, other records of "
            f"{record.config.data.category} here on {others[0]} and {others[1]}; keep them in "
            "different folders"
        )
    return kept, refused


def _images(record: Record) -> tuple[str, str]:
    return record.config.data.dataset, record.config.data.category


def _counts(record: Record) -> tuple[int, int]:
    return record.counts["train"], record.counts["test"]


def _usual_counts(records: Iterable[Record]) -> dict[tuple[str, str], tuple[int, int]]:
    """How many training and test images records of a data set's category have; see `read_records`.
    Of two numbers that are equally frequent, the larger."""
    found: dict[tuple[str, str], Counter[tuple[int, int]]] = {}
    for record in records:
        found.setdefault(_images(record), Counter())[_counts(record)] += 1
    usual = {}
    for (name, category), counts in found.items():
        official = source_of(name).counts.get(category)
        most = max(counts, key=lambda one: (counts[one], one))
        usual[name, category] = official if official in counts else most
    return usual


@cache
def _read(path: Path, changed_at: int) -> Record | str:
    """A record, or why it is not read. The study asks for its records again and again: each is
    read once, and anew when its file has changed.

    Args:
        changed_at: the file's time of modification, in nanoseconds.
    """
    try:
        record = read_record(path.parent)
        preset(record.config.preset)
    except InputError as error:
        return str(error)
    missing = [name for name in REQUIRED if name not in record.metrics]
    if record.status == "completed" and missing:
        return f"{path}: no {missing[0]}; run it again"
    return record


def configuration(outcome: Outcome) -> Configuration:
    """What was trained on what, whatever its seed and length."""
    return outcome.preset, outcome.category, outcome.changes


def has_usual_size(record: Record) -> bool:
    """Whether a run's images have the size that its preset takes of plates, or that of strips."""
    data = record.config.data
    usual = preset(record.config.preset).image_size or PUBLISHED_SIZE
    if of_strips(data.dataset, data.category):
        usual = source_of(data.dataset).like(data.category).image_size
    return data.image_size == usual


def longest(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Of each configuration the longest trainings, one of each seed.

    Of two ways of resizing the images the preset's own is taken, of several batch sizes the
    published one, of several runs of one seed the one that is most like the published. An outcome
    without a record stands for nothing and is left out.
    """
    lengths: dict[Configuration, dict[tuple, dict[int, Outcome]]] = {}
    for outcome in outcomes:
        if outcome.record is None:
            continue
        config = outcome.record.config
        batch, usual = config.training.batch_size, preset(outcome.preset).training.batch_size
        as_usual = config.data.resize == usual_resize(outcome.preset, config.data.dataset)
        length = config.training.epochs, as_usual, batch == usual, batch
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


def _likeness(record: Record) -> tuple[bool, bool, str]:
    """The higher, the more a run is like the published one of its preset; of those that are alike,
    the last one finished."""
    usual = preset(record.config.preset)
    return (
        record.config.weights == "imagenet",
        record.config.training.precision == usual.training.precision,
        record.finished,
    )


def late(course: pd.DataFrame, metric: str, record: Record) -> pd.Series:
    """A metric in the last `LAST_EPOCHS` epochs of a training longer than those; else nothing, nor
    of one that diverged."""
    over = record.epochs_done > LAST_EPOCHS and record.status != "diverged"
    if not over or metric not in course:
        return pd.Series(dtype=float)
    return course[course["epoch"] > record.epochs_done - LAST_EPOCHS][metric].dropna()


def is_whole(record: Record) -> bool:
    """Whether a training saw as many images as the published one: progress goes by images, so its
    epochs count, and not the size of its batches."""
    return record.epochs_done >= preset(record.config.preset).training.epochs


def values(
    outcomes: Sequence[Outcome],
    name: str,
    category: str,
    metric: str,
    changed: tuple[str, ...] = (),
) -> list[float]:
    """The metric, seed by seed, of the runs that have it."""
    found = [r.metrics.get(metric) for r in records_of(outcomes, name, category, changed)]
    return [value for value in found if value is not None]


def categories_of(outcomes: Sequence[Outcome]) -> list[str]:
    """The categories of outcomes, each once."""
    return list(dict.fromkeys(outcome.category for outcome in outcomes))


def records_of(
    outcomes: Sequence[Outcome], name: str, category: str, changed: tuple[str, ...]
) -> list[Record]:
    """Those of the outcomes; a run that was asked for twice counts once."""
    found = {
        outcome.record.run_id: outcome.record
        for outcome in outcomes
        if (outcome.preset, outcome.category, outcome.changes) == (name, category, changed)
        and outcome.record is not None
    }
    return list(found.values())
