"""The tables of `evolved`: against Scenario A, defect by defect, without one ingredient, and the
log of the search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ssn_lib.metrics import image_metrics
from ssn_lib.overrides import assignment, override
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record
from ssn_lib.study import search
from ssn_lib.study.captions import describe
from ssn_lib.study.commands import command_of, run_command
from ssn_lib.study.profiles import SCREW
from ssn_lib.study.published import published_figures
from ssn_lib.study.systems import group, short, title
from ssn_lib.study.tables.cells import measured, notes, of_records, of_seeds
from ssn_lib.study.tables.table import EMPTY, Table, frame_of, number

SYSTEMS = group("evolved")
CATEGORIES = ("screw", "bottle", "carpet")
SHOWN = ("I-AUROC", "seg-I-AUROC", "P-AUROC", "AUPRO", "AP-loc")
SOUND = "good"  # what stands for a defect's name where there is none
_OF_RECIPES = (SCREW, "bottle")  # what the recipe without an ingredient was run on
PEERS = ("PatchCore ResNet18", "MemSeg ResNet18", "EfficientAD-S")  # published


def against_scenario_a(outcomes: Sequence[Outcome]) -> Table:
    """Both systems on every category, and what is published of others."""
    known = {o.category for o in outcomes if o.preset in SYSTEMS}
    categories = [*(c for c in CATEGORIES if c in known), *sorted(known - set(CATEGORIES))]
    slides = published_figures()["slides"]["table_backbone_swap"]
    peers = published_figures()["peers_mvtec_ad_i_auroc"]
    rows = []
    for category in categories:
        said = {f"published, {name}": peers[name].get(category) for name in PEERS}
        if category in slides:
            a = slides[category]["I-AUROC"]["scenario_a_resnet18"]
            said = {"slides, Scenario A": a} | said
        rows += [
            {"category": category, "system": who, "I-AUROC": number(value)}
            for who, value in said.items()
            if value is not None
        ]
        for name in SYSTEMS:
            row = {"category": category, "system": f"here, {title(name)}"}
            row |= {metric: measured(outcomes, name, category, metric) for metric in SHOWN}
            row["imitated I-AUROC"] = EMPTY
            if preset(name).training.validation_fraction:
                row["imitated I-AUROC"] = measured(outcomes, name, category, "imitated-I-AUROC")
            rows.append(row)
    return Table(
        "Evolved against Scenario A: percent",
        frame_of(rows).fillna(EMPTY),
        (
            *_notes(outcomes, categories),
            "seg-I-AUROC: the map's maximum as the score. Imitated: defects drawn into the tenth "
            "of the training images that is held out. The search also looked at test images.",
            f"Published: {peers['source']}; one forward pass each, other resolutions and epochs.",
        ),
    )


def _notes(outcomes: Sequence[Outcome], categories: Sequence[str]) -> list[str]:
    """Each system's protocol on a line of its own: their sizes and epochs differ."""
    told = {n: notes([o for o in outcomes if o.preset == n], (n,), categories) for n in SYSTEMS}
    return [
        line.replace("Measured here:", f"{title(name)}, measured here:")
        for name, lines in told.items()
        for line in lines
    ]


def by_defect(scores: Sequence[tuple[Outcome, pd.DataFrame]], category: str) -> Table:
    """Each kind of defect against the sound test images, what the limit makes of it, and where the
    map is highest.

    Args:
        scores: of each run, columns label, defect, score and, in newer ones, on_defect.
    """
    own = [(o, table) for o, table in scores if o.category == category and o.preset in SYSTEMS]
    systems = [name for name in SYSTEMS if any(o.preset == name for o, _ in own)]
    counts = {kind: len(part) for _, table in own for kind, part in table.groupby("defect")}
    rows = []
    for kind in sorted(counts, key=lambda kind: (kind == SOUND, kind)):
        row = {"images": kind.replace("_", " "), "number": str(counts[kind])}
        for name in systems:
            runs = [(o, table) for o, table in own if o.preset == name]
            row[f"{short(name)}: I-AUROC"] = _mean([_auroc(table, kind) for _, table in runs])
            row[f"{short(name)}: over the limit"] = _mean(
                [_over(o, table, kind) for o, table in runs]
            )
            row[f"{short(name)}: peak on the defect"] = _mean(
                [_hits(table, kind) for _, table in runs]
            )
        rows.append(row)
    records = [outcome.record for outcome, _ in own]
    absent = [
        f"No scores of {short(name)} on {category}." for name in SYSTEMS if name not in systems
    ]
    return Table(
        f"Defect by defect, {category}: percent",
        frame_of(rows or [{"images": EMPTY}]),
        (
            *([f"Here: {describe(records)}."] if records else []),
            *absent,
            "I-AUROC: of the images with this defect and the sound ones. Over the limit: share of "
            "the images that the run's own limit calls defective, the 99th percentile of sound "
            "training images' scores (of those held out, where there are any). Peak on the "
            "defect: share of the images whose map has its maximum there.",
        ),
    )


def _auroc(table: pd.DataFrame, kind: str) -> float:
    if kind == SOUND:
        return np.nan
    part = table[(table["label"] == 0) | (table["defect"] == kind)]
    return image_metrics(part["score"], part["label"])["I-AUROC"]


def _over(outcome: Outcome, table: pd.DataFrame, kind: str) -> float:
    scores = table[table["defect"] == kind]["score"]
    return 100 * (scores > outcome.record.thresholds.score).mean()


def _hits(table: pd.DataFrame, kind: str) -> float:
    if "on_defect" not in table:
        return np.nan
    return 100 * table[table["defect"] == kind]["on_defect"].astype(float).mean()


def _mean(values: Sequence[float]) -> str:
    return of_seeds([value for value in values if not np.isnan(value)])


def ingredients(records: Sequence[Record]) -> Table:
    """The recipe without an ingredient, and the recipes before it."""
    rows = []
    recipes = (*search.INGREDIENTS, *search.OF_SECOND, *search.OF_FIRST)
    for recipe, made in recipes:
        config = made.config("CATEGORY")
        row, precisions = {"recipe": recipe, "epochs": str(config.training.epochs)}, set()
        for category in _OF_RECIPES:
            found = made.records(records, category)
            precisions |= {record.config.training.precision for record in found}
            for metric in ("I-AUROC", "AUPRO", "AP-loc", "imitated-I-AUROC"):
                row[f"{category}: {metric}"] = of_records(found, metric)
        if len(precisions) == 1:
            config = override(config, (assignment("training.precision", *precisions),))
        rows.append(row | {"command": f"`{command_of(config)}`"})
    return Table(
        "The recipe changed, by one ingredient at first, and earlier recipes: percent",
        frame_of(rows),
        (
            _made_by(records, [made for _, made in recipes], _OF_RECIPES),
            f"CATEGORY: {' or '.join(_OF_RECIPES)}; add `--data-root`.",
            _EMPTY_CELLS,
        ),
    )


def log(records: Sequence[Record]) -> Table:
    """Everything that was tried, in order, with screw's figures."""
    rows = []
    for position, trial in enumerate(search.TRIALS, start=1):
        found = trial.recipe.records(records, SCREW) if trial.recipe else []
        row = {"": str(position), "idea": trial.idea}
        row |= {metric: of_records(found, metric) for metric in ("I-AUROC", "seg-I-AUROC", "AUPRO")}
        row["imitated I-AUROC"] = of_records(found, "imitated-I-AUROC")
        row["sketch"] = trial.sketch or EMPTY
        rows.append(row | {"what was learned": trial.lesson})
    sketches = sum(trial.recipe is None for trial in search.TRIALS)
    made = [trial.recipe for trial in search.TRIALS if trial.recipe]
    return Table(
        f"The search on {SCREW}, {len(search.TRIALS)} ideas: percent",
        frame_of(rows),
        (
            _made_by(records, made, (SCREW,)),
            f"Sketch: {sketches} ideas were tried outside the package; their figures are as noted "
            "then, of one seed on test images (screw's, where no other is named), and have no "
            "record.",
            _EMPTY_CELLS,
        ),
    )


_EMPTY_CELLS = f"{EMPTY}: no such record, or the run left no such metric."


def _made_by(
    records: Sequence[Record], asked: Sequence[search.Recipe], categories: Sequence[str]
) -> str:
    """What all of them have in common, or how to make one."""
    found = [
        r for made in asked for category in categories for r in made.records(records, category)
    ]
    if not found:
        return f"No record yet; `{run_command(None, 'evolved', SCREW)}` makes one."
    return f"Measured here: {describe(found)}."
