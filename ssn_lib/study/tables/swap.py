"""The tables of Modification 1: the backbone swap."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.overrides import changes
from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.record import Outcome, Record
from ssn_lib.study.captions import describe
from ssn_lib.study.published import (
    PUBLISHED_BATCH,
    SWAP_COURSES,
    published_figures,
    published_log,
)
from ssn_lib.study.records import categories_of
from ssn_lib.study.systems import (
    ABLATION_PRESETS,
    LEARNED_LOSS,
    NOISE_CATEGORIES,
    NOISE_PRESETS,
    SWAP_PRESETS,
    ignorance_loss,
    short,
    title,
)
from ssn_lib.study.tables.cells import METRICS, measured, notes, percent
from ssn_lib.study.tables.table import EMPTY, Table, frame_of, number


def backbone_swap(outcomes: Sequence[Outcome], which: str = "") -> Table:
    """The slides' table of Modification 1: published columns beside what was measured here.

    Args:
        which: of the trainings are shown, in words.
    """
    rows = []
    published = {
        "paper_v100": "paper, WRN50 (V100)",
        "baseline_wrn50_p100": "slides, WRN50 (P100)",
        "scenario_a_resnet18": f"slides, {short('scenario_a')}",
        "scenario_b_resnet18_nonlinear": f"slides, {short('scenario_b')}",
    }
    slides = published_figures()["slides"]["table_backbone_swap"]
    for category, metrics in slides.items():
        for metric, values in metrics.items():
            row = {"category": category, "metric": metric}
            row |= {said: number(values[key]) for key, said in published.items()}
            for name in SWAP_PRESETS:
                row[f"here, {short(name)}"] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        f"Backbone swap{which and f', {which}'}: accuracy in percent, published and measured here",
        frame_of(rows),
        notes(outcomes, SWAP_PRESETS, list(slides)),
    )


def published_start(records: Sequence[Record]) -> Table:
    """Runs at the published batch size beside the author's log of the same epochs; no rows if none.

    Shows whether this is the published training, also long before its 300 epochs are over.
    """
    rows, measured_here, logged = [], [], set()
    for record in sorted(records, key=_in_order):
        config = record.config
        log = published_log(config.preset, config.data.category)
        asked = config.training.batch_size == PUBLISHED_BATCH and not changes(config)
        asked &= config.data.image_size == PUBLISHED_SIZE
        if not asked or record.status != "completed" or log.empty:
            continue
        if config.data.dataset != "mvtec_ad" or config.weights != "imagenet":
            continue
        measured_here.append(record)
        done = record.epochs_done
        around = [log[log["epochs_done"] <= done].tail(1), log[log["epochs_done"] > done].head(1)]
        sides = [("published log", int(row["epochs_done"]), row) for row in pd.concat(around).iloc]
        sides.insert(1, ("here", done, record.metrics))
        for who, epochs, metrics in sides:
            row = {"category": config.data.category, "system": title(config.preset)}
            row |= {"run": who, "epochs": epochs}
            if who != "here":
                if tuple(row.values()) in logged:
                    continue  # it stands above, beside another run of the same length
                logged.add(tuple(row.values()))
            row["precision"] = config.training.precision if who == "here" else "float32"
            row |= {n: percent(metrics[n]) if n in metrics else EMPTY for n in METRICS}
            rows.append(row)
    if len({row["precision"] for row in rows}) <= 1:
        rows = [{name: cell for name, cell in row.items() if name != "precision"} for row in rows]
    note = "Published log: the author's public notebook, seed 42, Tesla P100, float32."
    if measured_here:
        note = f"Here: {describe(measured_here)}. {note}"
    return Table(
        "The published training and runs here after as many epochs: percent",
        frame_of(rows),
        (note,),
    )


def _in_order(record: Record) -> tuple[str, int, int]:
    """By category, then by system as in `PRESETS`, the longest first."""
    config = record.config
    return config.data.category, list(PRESETS).index(config.preset), -record.epochs_done


def published_leaving() -> Table:
    """When the published runs of Modification 1 began to learn, by their logs."""
    rows = []
    for category in ("bottle", "carpet", "screw"):
        row = {"category": category}
        for name, said in SWAP_COURSES.items():
            log = published_log(name, category)
            learned = log[log["loss"] < LEARNED_LOSS]["epochs_done"]
            row[said] = f"{learned.iloc[0]}" if len(learned) else "never in 300"
        rows.append(row)
    return Table(
        f"Epochs until the published training loss lies below {LEARNED_LOSS:.2f}",
        frame_of(rows),
        (
            f"{LEARNED_LOSS:.2f} is 10 % below {ignorance_loss(True):.3f}, the loss of a network "
            "that answers 0 for every pixel and image. The first of the evaluations kept here, "
            "every 4 to 20 epochs, that lies below: the loss got there up to 20 epochs earlier.",
        ),
    )


def ablation(outcomes: Sequence[Outcome]) -> Table:
    """From SimpleNet to SuperSimpleNet, step by step."""
    categories = categories_of(outcomes)
    rows = []
    for category in categories:
        for name in ABLATION_PRESETS:
            model, noise = preset(name).model, preset(name).training.noise
            row = {
                "category": category,
                "system": title(name),
                "feature grid": f"{model.upscale}× layer 2",
                "noise": "everywhere" if noise.mask == "half" else "Perlin masks",
                "score": "map maximum" if model.score == "map_max" else "classification head",
                "loss": "truncated L1" + (" + focal" if preset(name).training.focal else ""),
            }
            for metric in ("I-AUROC", "P-AUROC", "AUPRO", "AP-loc"):
                row[metric] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        "From SimpleNet to SuperSimpleNet: percent, ResNet18",
        frame_of(rows),
        notes(outcomes, ABLATION_PRESETS, categories),
    )


def scenario_b_noise(outcomes: Sequence[Outcome]) -> Table:
    """Why Scenario B fails: the same network with noise relative to its features' spread."""
    outcomes = [outcome for outcome in outcomes if outcome.category in NOISE_CATEGORIES]
    categories = categories_of(outcomes)
    rows = []
    for category in categories:
        for name in NOISE_PRESETS:
            noise = preset(name).training.noise
            unit = "× feature spread" if noise.std_unit == "feature" else "absolute"
            row = {
                "category": category,
                "system": title(name),
                "σ": f"{noise.std:g} {unit}",
            }
            for metric in ("I-AUROC", "seg-I-AUROC", "P-AUROC", "AUPRO", "AP-loc"):
                row[metric] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        "The same relative noise for both adaptors: percent",
        frame_of(rows),
        notes(outcomes, NOISE_PRESETS, categories),
    )
