"""What a finished run leaves, as types: all that tables, figures and claims read. No PyTorch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssn_lib.config import Resize, RunConfig, to_dict
from ssn_lib.data.registry import source_of
from ssn_lib.errors import InputError
from ssn_lib.metrics import Thresholds
from ssn_lib.overrides import changes, from_dict
from ssn_lib.presets import preset
from ssn_lib.storage import unreadable

_MARKS = re.compile(r"\((R|TM)\)| Processor\b| CPU\b")  # what a processor's name can do without


def device_name(*environments: dict[str, str | int | None]) -> str:
    """A short name for captions, such as "NVIDIA T4" or "CPU, 2 threads (Intel Xeon)"; of several
    environments each device once, processors with the same numbers of threads together."""
    names, threads = {}, {}
    for environment in environments:
        if environment["device"] == "cpu":
            processor = _MARKS.sub("", environment["processor"])
            threads.setdefault(processor, set()).add(environment["threads"])
        else:
            names[str(environment.get("gpu") or environment["device"])] = None
    alike = {}
    for processor, numbers in threads.items():
        alike.setdefault(tuple(sorted(numbers)), []).append(processor)
    for numbers, processors in alike.items():
        many = "thread" if numbers == (1,) else "threads"
        names[f"CPU, {' or '.join(map(str, numbers))} {many} ({' or '.join(processors)})"] = None
    return ", ".join(names)


SCHEMA = 1
MAPS = "maps.csv"
TEACHING = "teaching.csv"
COURSE = "course.csv"  # test metrics, every few epochs
REFERENCE = "reference_scores.csv"  # of the good images that the thresholds were chosen from


# What is kept of a run, beside its weights; the record last, so that it vouches for the others.
KEPT_FILES = (
    "history.csv",
    COURSE,
    "scores.csv",
    "held_out.csv",
    REFERENCE,
    TEACHING,
    "pixel_pr.csv",
    MAPS,
    "noise.csv",
    "record.json",
)


@dataclass(frozen=True)
class Record:
    """What a run leaves; the only thing tables and figures read.

    Attributes:
        status: "completed" or "diverged".
        metrics: percent; None where undefined, with the reason in `undefined`. Of what learned
            from labels also `flips-…`, of the mean map over mirrored images; of class activation
            maps `sigmoid-…` and `saturated` (`runs.artifacts.sigmoid_metrics`).
        thresholds: on raw logits, None for a diverged run.
        timings: seconds.
        weights_source: what the backbone was loaded from; None for an untrained one.
        backbone: the fingerprint of its weights; None in records of before it was taken.
        counts: images and defective images of both splits; `per_epoch`, trained on in an epoch,
            where that is another number than all of the first.
    """

    run_id: str
    config: RunConfig
    status: str
    metrics: dict[str, float | None]
    undefined: dict[str, str]
    thresholds: Thresholds | None
    epochs_done: int
    diverged_at: int | None
    selected_epoch: int | None
    timings: dict[str, float]
    environment: dict[str, Any]
    weights_source: str | None
    counts: dict[str, int]
    finished: str
    backbone: str | None = None

    @property
    def images_per_epoch(self) -> int:
        """Images that an epoch of its training goes through."""
        return self.counts.get("per_epoch", self.counts["train"])

    @property
    def training_s(self) -> float:
        """Seconds of the training: its epochs times their median, so that what stopped the machine
        for a while counts nothing."""
        return self.epochs_done * self.timings["epoch_median_s"]

    def to_json(self) -> dict[str, Any]:
        """As written to `record.json`, with schema version and content hash."""
        content = {"schema": SCHEMA} | asdict(self) | {"config": to_dict(self.config)}
        return content | {"content_hash": _content_hash(content)}


@dataclass(frozen=True)
class Outcome:
    """One asked-for run: its record, or why there is none.

    Attributes:
        changes: to the preset, as in `overrides.changes`.
    """

    preset: str
    category: str
    seed: int
    record: Record | None
    reason: str = ""
    changes: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Record) -> Outcome:
        """The outcome that a record is."""
        config = record.config
        return cls(
            config.preset, config.data.category, config.seed, record, changes=changes(config)
        )


def usual_resize(name: str, dataset: str) -> Resize:
    """How `run` resizes a data set's images for a preset, where nothing else is said: as published
    where something is reproduced; of a user's own, large images that would lose detail."""
    own = source_of(dataset).origin == "own"
    return "antialiased" if own else preset(name).resize


def read_record(folder: str | Path) -> Record:
    """The record in a run's folder.

    Raises:
        InputError: none there, of another schema, or changed after it was written.
    """
    folder = Path(folder)
    path = folder / "record.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError
    except OSError as error:
        if isinstance(error, PermissionError) or not folder.exists():
            raise unreadable(folder, error) from None
        reason = "not a finished run"
        if (folder / "checkpoint.pt").is_file():
            reason += ", its training was interrupted: the same `run` command goes on with it"
        raise InputError(f"{folder}: no record.json; {reason}") from None
    except ValueError:
        raise InputError(f"{path}: not a record in JSON; remove it and run again") from None
    written, schema = content.pop("content_hash", None), content.get("schema")
    if schema != SCHEMA:
        raise InputError(
            f"{path}: schema {schema}, this version reads {SCHEMA}; remove the folder and run again"
        )
    if written != _content_hash(content):
        raise InputError(
            f"{path}: changed after it was written (its hash differs); remove the folder and run "
            "again"
        )
    del content["schema"]
    content["config"] = from_dict(RunConfig, content["config"])
    if content["thresholds"] is not None:
        content["thresholds"] = Thresholds(**content["thresholds"])
    return Record(**content)


def _content_hash(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


_KINDS = {  # of metrics, by how their names begin
    "imitated-": "defects drawn into good images: ",
    "flips-": "the mean map of four flips: ",
    "sigmoid-": "the map's sigmoid, as published: ",
}


def metrics_lines(metrics: dict[str, float | None], undefined: dict[str, str]) -> str:
    """The metrics of a record, a line for each kind, and why others are undefined.

    Args:
        metrics, undefined: as in `Record`.
    """
    kinds: dict[str, list[str]] = {}
    reasons: dict[str, list[str]] = {}
    for name, value in metrics.items():
        if value is None:
            reasons.setdefault(undefined[name], []).append(name)
            continue
        start = _kind(name)
        kinds.setdefault(start, []).append(f"{name.removeprefix(start)} {value:.1f}")
    lines = [f"{_KINDS.get(kind, '')}{'  '.join(parts)} (percent)" for kind, parts in kinds.items()]
    lines += [f"undefined: {', '.join(names)} ({why})" for why, names in reasons.items()]
    return "\n".join(lines)


def _kind(metric: str) -> str:
    return next((kind for kind in _KINDS if metric.startswith(kind)), "")


def mean_metrics(records: Sequence[Record]) -> dict[str, float | None]:
    """The mean of each metric over the records, None where one of them lacks it."""
    names = [n for n in dict.fromkeys(n for r in records for n in r.metrics) if not _kind(n)]
    columns = {name: [record.metrics.get(name) for record in records] for name in names}
    return {
        name: None if None in values else sum(values) / len(values)
        for name, values in columns.items()
    }


def by_category(records: Sequence[Record]) -> str:
    """A table of the records' metrics, a line for each category, and of their mean; what one of
    them lacks has none. Metrics of a kind of its own, such as `flips-…`, are left out."""
    means = mean_metrics(records)
    names = [*means]
    rows = [(r.config.data.category, [r.metrics.get(name) for name in names]) for r in records]
    rows.append((f"mean of {len(records)}", [*means.values()]))
    unit = "percent"
    first = max(len(unit), *(len(title) for title, _ in rows))
    lines = ["  ".join([unit.ljust(first), *names])]
    for title, values in rows:
        cells = ["–" if value is None else f"{value:.1f}" for value in values]
        padded = [cell.rjust(len(name)) for cell, name in zip(cells, names, strict=True)]
        lines.append("  ".join([title.ljust(first), *padded]))
    return "\n".join(lines)
