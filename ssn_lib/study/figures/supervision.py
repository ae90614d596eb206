"""The figures of Modifications 3 and 4."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssn_lib.data.samples import number_of_masks
from ssn_lib.metrics import image_metrics, roc_curve
from ssn_lib.runs.record import Outcome
from ssn_lib.study import systems
from ssn_lib.study.figures.drawing import (
    LINES,
    MARKERS,
    PALETTE,
    NotDrawn,
    colours_of,
    legend,
    plain_numbers,
    subplots,
    wrapped,
)
from ssn_lib.study.figures.maps import Panel
from ssn_lib.study.published import published_figures, published_log
from ssn_lib.study.tables.cells import values
from ssn_lib.study.tables.supervision import (
    KSDD2,
    LABEL_PRESETS,
    MIXED_PRESETS,
    PUBLISHED_MASKS,
    Chosen,
    data_name,
    masks_runs,
    named,
)

SCORES = (("score", "image score"), ("map_max", "map maximum"))
ROC_PRESETS = systems.group("ROC")
PIXEL_PRESETS = systems.group("pixel curves")
MAP_PRESETS = systems.group("strip maps")
# Without a mask, and not the curve's own system: single marks of raw maps beside it.
ALONE = tuple(n for n in MIXED_PRESETS if n in LABEL_PRESETS and n != "weak_ssn")


def roc(scores: Sequence[tuple[Outcome, pd.DataFrame]], caption: str) -> Figure | NotDrawn:
    """ROC curves on the test images: the image score and the maximum of the map, and the published
    operating point of GAP + CAM.

    Args:
        scores: of each run, columns score, map_max and label.
    """
    if not scores:
        return NotDrawn("No scores: none of these runs was made, see the tables above.")
    figure, axes = subplots(figsize=(8, 5.6))
    for which, (outcome, table) in enumerate(scores):
        for style, (column, title) in zip(LINES, SCORES, strict=False):
            fpr, tpr, _ = roc_curve(table[column], table["label"])
            auroc = image_metrics(table[column], table["label"])["I-AUROC"]
            label = f"{systems.title(outcome.preset)}, {title} ({auroc:.1f})"
            axes.plot(
                100 * fpr,
                100 * tpr,
                color=systems.colour(outcome.preset),
                ls=style,
                marker=MARKERS[which],
                markevery=0.15,
                ms=5,
                label=label,
            )
    slides = published_figures()["slides"]["weak_ksdd2_gap_cam"]
    axes.plot(
        slides["FPR"],
        slides["TPR"],
        marker="*",
        ms=13,
        mfc="none",
        mec="black",
        ls="none",
        label="slides' operating point (KSDD2)",
    )
    axes.plot([0, 100], [0, 100], color="0.6", lw=1, ls=":")
    axes.set(xlabel="false positive rate, %", ylabel="true positive rate, %")
    axes.set(xlim=(-1, 101), ylim=(-1, 102))
    axes.grid(alpha=0.3)
    legend(figure, [axes])
    figure.suptitle(f"ROC (area in %)\n{wrapped(caption, 100)}", fontsize=9)
    return figure


def score_distributions(
    scores: Sequence[tuple[Outcome, pd.DataFrame]], chosen: Sequence[Chosen], caption: str
) -> Figure | NotDrawn:
    """Image scores of the first run's sound and defective test images, with the thresholds."""
    if not scores:
        return NotDrawn("No scores: the run was not made, see the tables above.")
    table = scores[0][1]
    figure, axes = subplots(figsize=(8.5, 4.2))
    edges = np.histogram_bin_edges(table["score"], bins=40)
    for label, title, hatch in ((0, "sound", None), (1, "defective", "////")):
        part = table[table["label"] == label]["score"]
        axes.hist(
            part,
            bins=edges,
            color=PALETTE[label],
            alpha=0.55,
            hatch=hatch,
            edgecolor="black",
            linewidth=0.4,
            label=f"{title} ({len(part)})",
        )
    for style, one in zip(LINES[1:], chosen, strict=False):
        logit = one.point.threshold
        label = f"Youden's threshold {one.how}: {logit:.2f} (sigmoid {one.sigmoid:.3f})"
        axes.axvline(logit, color="black", ls=style, lw=1.4, label=label)
    axes.set(xlabel="image score (logit)", ylabel="test images (log scale)", yscale="log")
    axes.set_ylim(bottom=0.7)
    plain_numbers(axes.yaxis)
    legend(figure, [axes])
    figure.suptitle(f"Scores of GAP + CAM by class\n{wrapped(caption, 110)}", fontsize=9)
    return figure


def pixel_curves(curves: Sequence[tuple[Outcome, pd.DataFrame]], caption: str) -> Figure | NotDrawn:
    """Precision against recall of the test pixels, raw and as published."""
    if not curves:
        return NotDrawn("No curves: none of these runs was made, see the tables above.")
    figure, axes = subplots(figsize=(8, 5))
    colours = colours_of([outcome.preset for outcome, _ in curves])
    for which, (outcome, table) in enumerate(curves):
        for style, (kind, part) in zip(LINES, table.groupby("map", sort=False), strict=False):
            title = named(outcome)
            if outcome.record.config.model.score == "cam":
                title += ", sigmoid as published" if kind == "sigmoid" else ", raw"
            # The first point's precision holds from recall 0 on.
            recall = np.concatenate(([0.0], part["recall"]))
            precision = np.concatenate((part["precision"][:1], part["precision"]))
            axes.step(
                100 * recall,
                100 * precision,
                where="pre",
                color=colours[which],
                ls=style,
                marker=MARKERS[which % len(MARKERS)],
                markevery=0.12,
                ms=5,
                label=title,
            )
    axes.set(xlabel="recall of defective pixels, %", ylabel="precision, %")
    axes.set(xlim=(0, 101), ylim=(0, 102))
    axes.grid(alpha=0.3)
    legend(figure, [axes])
    figure.suptitle(f"Precision and recall of pixels\n{wrapped(caption, 100)}", fontsize=9)
    return figure


def published_decay() -> Figure:
    """How the published GAP + CAM's localisation fell while its detection stayed."""
    log = published_log("gap_cam", KSDD2)
    figure, axes = subplots(figsize=(8, 4))
    for which, metric in enumerate(("I-AUROC", "P-AUROC", "AUPRO", "AP-loc")):
        axes.plot(
            log["epochs_done"],
            log[metric],
            color=PALETTE[which],
            ls=LINES[which],
            marker=MARKERS[which],
            ms=4,
            label=metric,
        )
    axes.set(xlabel="epochs", ylabel="%", ylim=(0, 102))
    axes.grid(alpha=0.3)
    legend(figure, [axes])
    figure.suptitle(
        "The published GAP + CAM over its training, by the author's public notebook\n"
        "KSDD2, WideResNet50-2, one seed; pixel metrics of the map's sigmoid",
        fontsize=9,
    )
    return figure


def masks_curve(
    outcomes: Sequence[Outcome], category: str, numbers: Sequence[float], caption: str
) -> Figure:
    """AP-loc and AP-det against the share of defective training images that have a mask."""
    figure, panels = subplots(1, 2, figsize=(10, 4.4))
    jims = published_figures()["supersimplenet_jims2025"][KSDD2]
    total = max(PUBLISHED_MASKS)
    for axes, metric in zip(panels, ("AP-loc", "AP-det"), strict=True):
        axes.errorbar(
            [100 * masks / total for masks in PUBLISHED_MASKS],
            [jims[name][metric]["mean"] for name in PUBLISHED_MASKS.values()],
            [jims[name][metric]["std"] for name in PUBLISHED_MASKS.values()],
            color="0.4",
            ls="--",
            marker="s",
            mfc="none",
            capsize=3,
            label="published: KSDD2, WideResNet50-2, 300 epochs (± sd)",
        )
        points = []
        for name, changed, _ in masks_runs(outcomes, category, numbers):
            known = values(outcomes, name, category, metric, changed)
            if known and name not in ALONE:
                record = next(
                    o.record
                    for o in outcomes
                    if o.record and (o.preset, o.changes) == (name, changed)
                )
                defective = record.counts["train_defective"]
                masks = number_of_masks(record.config.training.supervision.masks, defective)
                points.append((masks / defective, known))
        points.sort(key=lambda point: point[0])
        if points:
            axes.plot(
                [100 * share for share, _ in points],
                [np.mean(known) for _, known in points],
                color=systems.colour("mixed_ssn"),
                marker="o",
                label=f"here: {data_name(outcomes, category)}",
            )
        for name, marker in zip(ALONE, MARKERS[1:], strict=False):
            known = values(outcomes, name, category, metric)
            if known:
                axes.plot(
                    0,
                    np.mean(known),
                    color=systems.colour(name),
                    marker=marker,
                    ms=9,
                    mew=1.5,
                    mfc="none",
                    ls="none",
                    clip_on=False,
                    label=f"here: {systems.title(name)}",
                )
        axes.set(xlabel="defective training images with a mask, %", ylabel=f"{metric}, %")
        axes.set_ylim(0, 102)
        axes.grid(alpha=0.3)
    legend(figure, panels)
    figure.suptitle(f"What masks buy\n{wrapped(caption, 120)}", fontsize=9)
    return figure


def strips(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray],
    answers: Sequence[Sequence[Panel]],
    caption: str,
) -> Figure:
    """Long narrow images side by side: each with its mask and every system's map.

    Args:
        images: (H, W, 3). masks: (H, W). answers: of every image, one panel a system.
    """
    columns = 2 + len(answers[0])
    height, width = masks[0].shape
    figure, grid = subplots(
        len(images),
        columns,
        figsize=(1.25 * columns + 0.3, len(images) * (1.25 * height / width + 0.15) + 1.0),
        squeeze=False,
    )
    for row, image, mask, panels in zip(grid, images, masks, answers, strict=True):
        row[0].imshow(image)
        row[1].imshow(mask, cmap="gray", vmin=0, vmax=1)
        for axes, panel in zip(row[2:], panels, strict=True):
            axes.imshow(panel.anomaly_map, cmap="inferno")
            if panel.anomaly_map.min() < panel.threshold < panel.anomaly_map.max():
                axes.contour(
                    panel.anomaly_map,
                    levels=[panel.threshold],
                    colors="white",
                    linewidths=0.8,
                    linestyles="solid",
                )
        for axes in row:
            axes.set(xticks=[], yticks=[])
    for axes, title in zip(
        grid[0], ("image", "ground truth", *(panel.title for panel in answers[0])), strict=True
    ):
        axes.set_title(wrapped(title, 13), fontsize=8)
    figure.suptitle(wrapped(caption, 14 * columns), fontsize=8.5)
    return figure
