"""The study's tables, made from records: measured beside published, empty cells with their why."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from ssn_lib.config import TrainingConfig, changes, preset
from ssn_lib.data.layouts import MVTEC_COUNTS
from ssn_lib.efficiency import Efficiency, Spread
from ssn_lib.env import device_name
from ssn_lib.runs import Outcome, Record

EMPTY = "–"
METRICS = ("I-AUROC", "AP-det", "P-AUROC", "AUPRO", "AP-loc", "seg-I-AUROC", "seg-AP-det")
PUBLISHED_BATCH = TrainingConfig().batch_size
NO_RECORD = "no record; `python -m ssn_lib run PRESET --dataset mvtec_ad --category …` makes one"
SWAP_PRESETS = ("baseline", "scenario_a", "scenario_b")
SWAP_COURSES = {name: preset(name).title for name in SWAP_PRESETS}  # by name in the logs
ABLATION_PRESETS = ("simplenet", "simplenet_upscaled", "simplenet_perlin", "scenario_a")
NOISE_PRESETS = ("scenario_a", "scenario_b", "scenario_b_relative")
NOISE_CATEGORIES = ("bottle", "carpet")  # on screw Scenario A itself was published at chance


@dataclass(frozen=True)
class Table:
    """A table with its title, what was measured how, and the reasons for its empty cells."""

    title: str
    frame: pd.DataFrame
    notes: tuple[str, ...]

    def to_markdown(self) -> str:
        """As a Markdown document."""
        notes = "".join(f"- {note}\n" for note in self.notes)
        return f"**{self.title}**\n\n{to_markdown(self.frame)}\n\n{notes}"

    def _repr_markdown_(self) -> str:
        """How Jupyter shows it."""
        return self.to_markdown()


@cache
def published() -> dict[str, Any]:
    """Every published figure the study is held against; see `published.json` for the sources."""
    return json.loads(files("ssn_lib").joinpath("published.json").read_text(encoding="utf-8"))


@cache
def published_logs() -> pd.DataFrame:
    """What the author's public notebook printed while its runs trained: one row an evaluation.

    Columns: run (a preset's name where there is one), category, epochs_done, loss, step (optimiser
    steps, batches of 32 on MVTec AD) and the seven metrics in percent. One seed, Tesla P100.
    """
    path = files("ssn_lib").joinpath("published_logs.csv")
    logs = pd.read_csv(io.StringIO(path.read_text(encoding="utf-8")), comment="#")
    images = logs["category"].map({name: counts[0] for name, counts in MVTEC_COUNTS.items()})
    return logs.assign(step=logs["epochs_done"] * np.ceil(images / PUBLISHED_BATCH))


def describe(records: Sequence[Record]) -> str:
    """Data, image size, epochs, seeds, weights and device of some records, in one line."""

    def joined(values: list[Any]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    seeds = sorted({record.config.seed for record in records})
    untrained = [record.config.preset for record in records if record.weights_source is None]
    text = (
        f"{joined([record.config.data.dataset for record in records])}, "
        f"{joined(['×'.join(map(str, record.config.data.image_size)) for record in records])} px, "
        f"{joined([record.epochs_done for record in records])} epochs, "
        f"{'seed' if len(seeds) == 1 else 'seeds'} {joined(seeds)}, "
        f"{joined([device_name(record.environment) for record in records])}"
    )
    if len(untrained) == len(records):
        return f"UNTRAINED backbone; {text}"
    if untrained:
        return f"UNTRAINED backbone: {joined(untrained)}; {text}"
    return text


def backbone_swap(outcomes: Sequence[Outcome]) -> Table:
    """The slides' table of Modification 1: published columns beside what was measured here."""
    rows = []
    columns = {
        "paper_v100": "paper, WRN50 (V100)",
        "baseline_wrn50_p100": "slides, WRN50 (P100)",
        "scenario_a_resnet18": "slides, A",
        "scenario_b_resnet18_nonlinear": "slides, B",
    }
    slides = published()["slides"]["table_backbone_swap"]
    for category, metrics in slides.items():
        for metric, values in metrics.items():
            row = {"category": category, "metric": metric}
            row |= {title: f"{values[key]:.1f}" for key, title in columns.items()}
            for name, title in zip(SWAP_PRESETS, ("WRN50", "A", "B"), strict=True):
                row[f"here, {title}"] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        "Backbone swap: accuracy in percent, published and measured here",
        pd.DataFrame(rows),
        _notes(outcomes, SWAP_PRESETS, list(slides)),
    )


def published_start(records: Sequence[Record]) -> Table:
    """Runs at the published batch size beside the author's log of the same epochs.

    Shows whether this is the published training, long before its 300 epochs are over.
    """
    logs, rows, measured_here = published_logs(), [], []
    for record in records:
        config = record.config
        log = logs[(logs["run"] == config.preset) & (logs["category"] == config.data.category)]
        if (
            config.training.batch_size != PUBLISHED_BATCH
            or config.data.dataset != "mvtec_ad"
            or changes(config)
            or log.empty
        ):
            continue
        measured_here.append(record)
        done = record.epochs_done
        around = [log[log["epochs_done"] <= done].tail(1), log[log["epochs_done"] > done].head(1)]
        sides = [("published log", int(row["epochs_done"]), row) for row in pd.concat(around).iloc]
        sides.insert(1, ("here", done, record.metrics))
        for who, epochs, metrics in sides:
            row = {"category": config.data.category, "system": config.preset}
            row |= {"run": who, "epochs": epochs}
            row |= {name: _percent(metrics[name]) for name in METRICS}
            rows.append(row)
    note = "Published log: the author's public notebook, seed 42, Tesla P100, float32."
    if measured_here:
        note = f"Here: {describe(measured_here)}, batch {PUBLISHED_BATCH}. {note}"
    return Table(
        "The published training, in its first epochs: percent", pd.DataFrame(rows), (note,)
    )


def ablation(outcomes: Sequence[Outcome]) -> Table:
    """From SimpleNet to SuperSimpleNet, one change a row."""
    categories = _categories(outcomes)
    rows = []
    for category in categories:
        for name in ABLATION_PRESETS:
            model, noise = preset(name).model, preset(name).training.noise
            row = {
                "category": category,
                "system": preset(name).title,
                "feature grid": f"{model.upscale}× layer 2",
                "noise": "everywhere" if noise.mask == "half" else "Perlin masks",
                "score": "map maximum" if model.score == "map_max" else "classification head",
            }
            for metric in ("I-AUROC", "P-AUROC", "AUPRO", "AP-loc"):
                row[metric] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        "From SimpleNet to SuperSimpleNet: percent, ResNet18",
        pd.DataFrame(rows),
        _notes(outcomes, ABLATION_PRESETS, categories),
    )


def scenario_b_noise(outcomes: Sequence[Outcome]) -> Table:
    """Why Scenario B fails: the same network with noise relative to its features' spread."""
    outcomes = [outcome for outcome in outcomes if outcome.category in NOISE_CATEGORIES]
    categories = _categories(outcomes)
    rows = []
    for category in categories:
        for name in NOISE_PRESETS:
            noise = preset(name).training.noise
            unit = "× feature spread" if noise.std_unit == "feature" else "absolute"
            row = {
                "category": category,
                "system": preset(name).title,
                "σ": f"{noise.std:g} {unit}",
            }
            for metric in ("I-AUROC", "seg-I-AUROC", "P-AUROC", "AUPRO", "AP-loc"):
                row[metric] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        "Scenario B with noise that its features can show: percent",
        pd.DataFrame(rows),
        _notes(outcomes, NOISE_PRESETS, categories),
    )


def efficiency(measurements: Sequence[Efficiency]) -> Table:
    """The slides' efficiency table: published on a P100 beside measured on this device."""
    slides = published()["slides"]["table_efficiency"]
    keys = {"baseline": "baseline_wrn50", "scenario_a": "scenario_a", "scenario_b": "scenario_b"}
    rows = []
    for cost in measurements:
        theirs = slides[keys[cost.preset]] if cost.form == "plain" else None

        def said(key: str, digits: int, theirs: dict[str, float] | None = theirs) -> str:
            return f"{theirs[key]:.{digits}f}" if theirs else EMPTY

        rows.append(
            {
                "system": preset(cost.preset).title,
                "form": cost.form,
                "parameters, M (slides)": said("parameters_M", 1),
                "parameters, M": f"{cost.parameters / 1e6:.2f}",
                "GFLOP an image": f"{cost.gflop:.1f}",
                "latency, ms (slides, P100)": said("latency_ms", 2),
                "latency, ms": _spread(cost.latency_ms, 1),
                "× faster than plain": EMPTY if theirs else _spread(cost.speedup, 2),
                "images/s (slides, P100)": said("throughput_img_s", 1),
                "images/s": _spread(cost.throughput_img_s, 1),
                "memory, MB (slides, P100)": said("gpu_memory_mb", 1),
                "memory, MB": _spread(cost.memory_mb, 0) if cost.memory_mb else EMPTY,
            }
        )
    device = device_name(measurements[0].environment)
    on_cpu = measurements[0].environment["device"] == "cpu"
    how = (
        "peak resident memory of a fresh process minus what it held before the network was built"
        if on_cpu
        else "peak memory reserved by PyTorch, as the published code counts"
    )
    notes = [
        f"Measured on {device}, float32, 256×256, PyTorch {measurements[0].environment['torch']}: "
        "median [quartiles]; latency of one image and throughput in batches of 16, host to host.",
        "plain: the published operations one by one; folded: the same outputs by `fuse`, measured "
        "in turns with it.",
        f"Memory: what inference on one image adds, weights included: {how}.",
        "GFLOP: a multiplication and an addition count as two.",
        "Published figures: Tesla P100, float16. Only ratios within one device compare.",
    ]
    if measurements[0].memory_allocated_mb is not None:
        allocated = ", ".join(
            f"{cost.preset} {cost.form} {cost.memory_allocated_mb:.0f}" for cost in measurements
        )
        notes.append(f"Peak memory allocated, MB: {allocated}.")
    return Table("Cost of inference, published and measured here", pd.DataFrame(rows), tuple(notes))


def measured(
    outcomes: Sequence[Outcome],
    name: str,
    category: str,
    metric: str,
    changed: tuple[str, ...] = (),
) -> str:
    """A cell: the metric over the seeds, "diverged", or empty.

    Args:
        changed: to the preset, as of `config.changes`.
    """
    records = [
        outcome.record
        for outcome in outcomes
        if (outcome.preset, outcome.category, outcome.changes) == (name, category, changed)
        and outcome.record is not None
    ]
    if not records:
        return EMPTY
    values = [record.metrics.get(metric) for record in records]
    known = [value for value in values if value is not None]
    if not known:
        diverged = all(record.status == "diverged" for record in records)
        return "diverged" if diverged else "undefined"
    if len(known) == 1:
        return f"{known[0]:.1f}"
    return f"{np.mean(known):.1f} ± {np.std(known, ddof=1):.1f} (n={len(known)})"


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f}"


def to_markdown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table."""
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    lines += [[str(value).replace("|", "\\|") for value in row] for row in frame.to_numpy()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _notes(
    outcomes: Sequence[Outcome], presets: Sequence[str], categories: Sequence[str]
) -> tuple[str, ...]:
    """What a table of those presets and categories measured how, and why a cell is empty."""
    chosen = [o for o in outcomes if o.preset in presets and o.category in categories]
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
                reason = asked[0].reason if asked else NO_RECORD
                reasons.setdefault(reason, []).append(f"{name} {category}")
    notes += [f"{EMPTY} {', '.join(who)}: {why}." for why, who in reasons.items()]
    return tuple(notes)


def _categories(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(outcome.category for outcome in outcomes))


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} [{spread.low:.{digits}f}–{spread.high:.{digits}f}]"
