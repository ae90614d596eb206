"""What every table is made of: its cells, its notes, its Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssn_lib.config import DataConfig, Resize, RunConfig, SupervisionConfig
from ssn_lib.data.registry import images_title, of_strips, source_of
from ssn_lib.overrides import changes
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record, device_name, usual_resize
from ssn_lib.study.costs.records import Spread
from ssn_lib.study.peers.records import PeerRecord
from ssn_lib.study.profiles import STRIPS
from ssn_lib.study.systems import LAST_EPOCHS, short
from ssn_lib.study.tables.table import EMPTY, Cell, deviating, interval, number

# What the tables of all metrics show. Of a record that lacks one, the cell is empty.
METRICS = ("I-AUROC", "AP-det", "P-AUROC", "AUPRO", "AP-loc", "seg-I-AUROC", "seg-AP-det")
OTHERS = 3  # systems of one protocol; more of them are called the others


def describe(records: Sequence[Record]) -> str:
    """Data, image size, training, seeds, weights and device of some records, in one line."""
    images = ", ".join(dict.fromkeys(_images(record.config.data) for record in records))
    untrained = [record.config.preset for record in records if record.weights_source is None]
    device = device_name(*(record.environment for record in records))
    text = f"{images}, {protocols(records)}; {device}"
    if len(untrained) == len(records):
        return f"UNTRAINED backbone; {text}"
    if untrained:
        return f"UNTRAINED backbone: {', '.join(dict.fromkeys(untrained))}; {text}"
    return text


def protocols(records: Sequence[Record]) -> str:
    """Image size, training and seeds of some records; where these differ, which system has which:
    `256×256 px, 10 epochs in batches of 8, seeds 42, 43 (Scenario A), seed 42 (the others)`."""
    seeds: dict[tuple[str, ...], dict[tuple[str, str], set[int]]] = {}
    for record in records:
        config = record.config
        own = seeds.setdefault(_protocol(record), {})
        own.setdefault((config.preset, config.data.category), set()).add(config.seed)
    systems: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for protocol, of in seeds.items():
        for system, known in of.items():
            told = f"{'seed' if len(known) == 1 else 'seeds'} {', '.join(map(str, sorted(known)))}"
            systems.setdefault((*protocol, told), []).append(system)
    kinds = list(zip(*systems, strict=True))
    common = ", ".join(kind[0] for kind in kinds if len(set(kind)) == 1)
    if len(systems) == 1:
        return common
    every = list(dict.fromkeys(system for of in systems.values() for system in of))
    most = max(systems, key=lambda one: len(systems[one]))
    if len(systems[most]) > OTHERS:
        systems[most] = systems.pop(most)  # the last, after those that are named
    else:
        most = ()
    parts = []
    for one, of in systems.items():
        own = [part for part, kind in zip(one, kinds, strict=True) if len(set(kind)) > 1]
        who = "the others" if one == most else "; ".join(_named(of, every))
        parts.append(f"{', '.join(own)} ({who})")
    return f"{common + ': ' if common else ''}{'; '.join(parts)}"


def _protocol(record: Record) -> tuple[str, str]:
    """Image size and training, in words."""
    training = record.config.training
    mixed = ", in mixed precision" if training.precision == "mixed" else ""
    data = record.config.data
    size = f"{'×'.join(map(str, data.image_size))} px"
    if data.resize != _usual_resize(record.config):
        size += f", {RESIZED[data.resize]}"
    return size, f"{training.epochs} epochs in batches of {training.batch_size}{mixed}"


RESIZED = {"antialiased": "resized with antialiasing", "plain": "resized without antialiasing"}


def _usual_resize(config: RunConfig) -> Resize:
    return usual_resize(config.preset, config.data.dataset)


def _named(some: Sequence[tuple[str, str]], every: Sequence[tuple[str, str]]) -> list[str]:
    """Systems by their short names; with the categories where only some of a system's are meant."""
    names = []
    for name in dict.fromkeys(name for name, _ in some):
        own = [category for one, category in some if one == name]
        whole = len(own) == sum(one == name for one, _ in every)
        on = "" if whole else f" on {' and '.join(map(images_title, own))}"
        names.append(short(name) + on)
    return names


def _images(data: DataConfig) -> str:
    """Whose images they are, by the data set's name for people."""
    source = source_of(data.dataset)
    foreign = source.counts and data.category not in source.counts  # laid out alike
    own = source.category == "single" or foreign
    return images_title(data.category) if own else source.title


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


def learns_from(supervision: SupervisionConfig) -> str:
    """What a training with that supervision must be given, in words."""
    if not supervision.labels:
        return "sound images"
    masks = supervision.masks
    if masks is None:
        return "labels and all masks"
    if masks == 0:
        return "labels"
    return (
        f"labels, {100 * masks:g} % masks" if isinstance(masks, float) else f"labels, {masks} masks"
    )


def command_of(config: RunConfig) -> str:
    """The command that makes a run of that configuration, without the data's root."""
    settings = "".join(f" --set {setting}" for setting in changes(config))
    return run_command(config, config.preset, config.data.category) + settings


def run_command(like: RunConfig | None, name: str, category: str, *, length: bool = True) -> str:
    """The command for a run of that preset and category.

    Args:
        like: a run that there is, on the same images.
        length: as long as that, and at its size; else by the preset's own protocol.
    """
    usual = STRIPS if category == STRIPS else "mvtec_ad"
    source = source_of(usual if like is None else like.data.dataset)
    command = f"python -m ssn_lib run {name} --dataset {source.name}"
    if source.category != "single":
        command += f" --category {category}"
    if like is not None and length:
        command += f" --epochs {like.training.epochs} --seed {like.seed}"
        command += f" --set training.batch_size={like.training.batch_size}"
        if like.training.precision != preset(like.preset).training.precision:
            command += f" --set training.precision={like.training.precision}"
        images = source.like(like.data.category)
        own = preset(like.preset).image_size if images.kind == "plates" else None  # as `run` does
        if like.data.image_size != (own or images.image_size):
            command += " --image-size {} {}".format(*like.data.image_size)
        if like.data.resize != _usual_resize(like):
            command += f" --resize {like.data.resize}"
    if like is not None and like.weights == "untrained":
        command += " --untrained"
    return command


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


def percent(value: float | None) -> str:
    """With one decimal."""
    return "undefined" if value is None else number(value)


def whose(dataset: str, category: str) -> str:
    """Whose images those of a data set's category are: "screw", "rendered screw", "KSDD2"."""
    title = images_title(category)
    if source_of(dataset).origin != "rendered":
        return title
    return f"rendered {'strips' if of_strips(dataset, category) else title}"


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


def categories_of(outcomes: Sequence[Outcome]) -> list[str]:
    """The categories of outcomes, each once."""
    return list(dict.fromkeys(outcome.category for outcome in outcomes))


def quartiles(spread: Spread, digits: int) -> str:
    """Median [quartiles]."""
    return interval(spread.median, spread.low, spread.high, f".{digits}f")


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
