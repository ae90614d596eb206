"""What every table is made of: its cells, its notes, its Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ssn_lib.config import RunConfig
from ssn_lib.data.registry import images_title
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record
from ssn_lib.study.captions import describe
from ssn_lib.study.commands import run_command
from ssn_lib.study.costs.records import Spread
from ssn_lib.study.peers.records import PeerRecord
from ssn_lib.study.records import records_of
from ssn_lib.study.tables.table import EMPTY, Cell, deviating, interval, number

# What the tables of all metrics show. Of a record that lacks one, the cell is empty.
METRICS = ("I-AUROC", "AP-det", "P-AUROC", "AUPRO", "AP-loc", "seg-I-AUROC", "seg-AP-det")


def measured(
    outcomes: Sequence[Outcome],
    name: str,
    category: str,
    metric: str,
    changed: tuple[str, ...] = (),
) -> str:
    """A cell: the metric over the seeds, "diverged", or empty.

    Args:
        changed: to the preset, as in `overrides.changes`.
    """
    records = records_of(outcomes, name, category, changed)
    asked = [record.metrics[metric] for record in records if metric in record.metrics]
    if asked and all(value is None for value in asked):
        return "undefined"
    return of_records(records, metric)


def of_seeds(values: Sequence[float]) -> str:
    """One value, or mean ± standard deviation of several; empty where there is none."""
    if not values:
        return EMPTY
    if len(values) == 1:
        return number(values[0])
    return deviating(float(np.mean(values)), float(np.std(values, ddof=1)), len(values))


def of_records(records: Sequence[Record | PeerRecord], metric: str) -> str:
    """As `of_seeds`, of the records that have that metric, one of each seed; with how many
    diverged, where some did."""
    known = [record.metrics.get(metric) for record in records]
    cell = of_seeds([value for value in known if value is not None])
    diverged = sum(isinstance(r, Record) and r.status == "diverged" for r in records)
    if not diverged:
        return cell
    if diverged == len(records):
        return "diverged"
    if not isinstance(cell, Cell):
        return cell
    return Cell(
        f"{cell}, {diverged} of {len(records)} diverged",
        **{name or "value": part for name, part in cell.numbers.items()},
    )


def percent(value: float | None) -> str:
    """With one decimal."""
    return "undefined" if value is None else number(value)


def notes(
    outcomes: Sequence[Outcome], presets: Sequence[str], categories: Sequence[str]
) -> tuple[str, ...]:
    """What a table of those presets and categories measured how, and why a cell is empty."""
    chosen = [
        o for o in outcomes if o.preset in presets and o.category in categories and not o.changes
    ]
    records = [outcome.record for outcome in chosen if outcome.record is not None]
    notes = []
    if records:
        one_seed = len({record.config.seed for record in records}) == 1
        spread = "one seed, so small differences say nothing" if one_seed else "mean ± sd of seeds"
        notes.append(f"Measured here: {describe(records)}; {spread}.")
    reasons: dict[str, list[str]] = {}
    for name in presets:
        for category in categories:
            asked = [o for o in chosen if (o.preset, o.category) == (name, category)]
            if not any(outcome.record for outcome in asked):
                where = categories[0] if len(categories) == 1 else "CATEGORY"
                like = _as_long(records, name)
                if like is not None or not records:
                    command = run_command(like, "PRESET", where)
                else:
                    command = run_command(records[0].config, name, where, length=False)
                reason = asked[0].reason if asked else f"no record; `{command}` makes it"
                reasons.setdefault(reason, []).append(f"{name} {images_title(category)}")
    notes += [f"{EMPTY} {', '.join(who)}: {why}." for why, who in reasons.items()]
    if not categories:
        notes.append(f"No record yet; `{run_command(None, 'PRESET', 'CATEGORY')}` makes one.")
    return tuple(notes)


def _as_long(records: Sequence[Record], name: str) -> RunConfig | None:
    """A run as long as one of that preset would be beside these; None where that is the preset's
    own length, which needs no words."""
    if preset(name).image_size:
        return None
    for config in (record.config for record in records):
        theirs, training = preset(config.preset), config.training
        if theirs.image_size:
            continue
        length = training.epochs, training.batch_size
        published = [
            (one.training.epochs, one.training.batch_size) for one in (theirs, preset(name))
        ]
        if length != published[0] or length == published[1]:  # a profile's, or that of both
            return config
    return None


def quartiles(spread: Spread, digits: int) -> str:
    """Median [quartiles]."""
    return interval(spread.median, spread.low, spread.high, f".{digits}f")
