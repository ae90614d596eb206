"""Figures of trainings by epochs or images: here, as published, and one over the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study import systems
from ssn_lib.study.figures.drawing import (
    LINES,
    MARKERS,
    PALETTE,
    colours_of,
    legend,
    plain_numbers,
    subplots,
    wrapped,
)
from ssn_lib.study.published import published_log, published_logs
from ssn_lib.study.selection import configuration
from ssn_lib.study.systems import ignorance_loss


def training_curves(
    histories: Sequence[tuple[Outcome, pd.DataFrame]], caption: str, log_loss: bool = False
) -> Figure:
    """Training loss by images seen, one panel a category, one line a run.

    A run that diverged ends with a cross at its last whole epoch. On MVTec AD the published runs of
    the same presets stand beside (hollow markers).
    """
    categories = list(dict.fromkeys(outcome.category for outcome, _ in histories)) or ["none"]
    real = any(o.record.config.data.dataset == "mvtec_ad" for o, _ in histories)
    names = list(dict.fromkeys(outcome.preset for outcome, _ in histories))
    width = max(8.0, 3.6 * len(categories))
    figure, all_axes = subplots(
        1, len(categories), figsize=(width, 4.3), sharey=True, squeeze=False
    )
    for axes, category in zip(all_axes[0], categories, strict=True):
        for outcome, history in histories:
            if outcome.category == category:
                images = outcome.record.images_per_epoch
                which = names.index(outcome.preset)
                axes.plot(
                    history["epoch"] * images,
                    history["loss"],
                    color=systems.colour(outcome.preset),
                    ls=LINES[which % len(LINES)],
                    marker=MARKERS[which % len(MARKERS)],
                    ms=3.5,
                    markevery=max(1, len(history) // 12),
                    label=systems.title(outcome.preset),
                )
                if outcome.record.status == "diverged":
                    end = history.tail(1)  # no point, but a legend, when it was the first epoch
                    axes.plot(
                        end["epoch"] * images,
                        end["loss"],
                        color="black",
                        marker="x",
                        ms=11,
                        mew=2.5,
                        ls="none",
                        label=f"{systems.title(outcome.preset)} diverged in epoch "
                        f"{outcome.record.diverged_at}",
                    )
        for name in names if real else ():
            log = published_log(name, category)
            if len(log):
                which = names.index(name)
                axes.plot(
                    log["images"],
                    log["loss"],
                    color=systems.colour(name),
                    ls=":",
                    lw=1,
                    marker=MARKERS[which % len(MARKERS)],
                    mfc="none",
                    ms=5,
                    label=f"{systems.title(name)}, published log",
                )
        for with_focal in sorted({o.record.config.training.focal for o, _ in histories}):
            axes.axhline(
                ignorance_loss(with_focal),
                color="0.5",
                lw=1,
                ls="--" if with_focal else "-",
                zorder=0,
                label=f"answering 0 everywhere ({'SSN' if with_focal else 'SimpleNet'})",
            )
        axes.set(title=category, xlabel="images seen (log scale)", xscale="log")
        plain_numbers(axes.xaxis)
        if log_loss:
            axes.set_yscale("log")
            plain_numbers(axes.yaxis)
        axes.grid(alpha=0.3)
    all_axes[0, 0].set_ylabel("training loss (mean of an epoch)")
    legend(figure, all_axes[0])
    filled = f"filled, here: {caption}"
    told = f"{filled}; hollow, published: 300 epochs in batches of 32" if real else caption
    figure.suptitle(f"Training curves\n{wrapped(told, 110)}", fontsize=9)
    return figure


def published_courses(runs: Mapping[str, str]) -> Figure:
    """Loss and image metrics of published runs over their 300 epochs.

    One column a category for which all of the runs are known; of a single category one row.

    Args:
        runs: name in `tables.published_logs` to what the legend says.
    """
    logs = published_logs()
    logs = logs[logs["run"].isin(runs)]
    known = logs.groupby("category", sort=False)["run"].nunique()
    categories = list(known[known == len(runs)].index)
    shown = {
        "loss": "training loss",
        "I-AUROC": "I-AUROC, % (image score)",
        "seg-I-AUROC": "seg-I-AUROC, % (map maximum)",
    }
    single = len(categories) == 1
    shape = (1, len(shown)) if single else (len(shown), len(categories))
    figure, grid = subplots(
        *shape,
        figsize=(3.7 * shape[1], 2.4 * shape[0] + (1.6 if single else 0.4)),
        sharex=True,
        sharey=False if single else "row",
        squeeze=False,
    )
    colours = colours_of([name.partition(" ")[0] for name in runs])  # behind it stands a β
    cells = [(metric, category) for metric in shown for category in categories]
    for axes, (metric, category) in zip(grid.flat, cells, strict=True):
        for which, (name, title) in enumerate(runs.items()):
            log = published_log(name, category)
            axes.plot(
                log["epochs_done"],
                log[metric],
                color=colours[which],
                ls=LINES[which % len(LINES)],
                marker=MARKERS[which],
                ms=4,
                label=title,
            )
        if metric == "loss":
            axes.axhline(
                ignorance_loss(True), color="0.5", ls="--", lw=1, label="answering 0 everywhere"
            )
            axes.set_yscale("log")
        if metric == "loss" and not single:
            axes.set_title(category, fontsize=9)
        if single or category == categories[0]:
            axes.set_ylabel(shown[metric], fontsize=8.5)
        axes.grid(alpha=0.3)
    for axes in grid[-1]:
        axes.set_xlabel("epochs")
    legend(figure, grid[0])
    figure.suptitle(
        f"Published runs{f' on {categories[0]}' if single else ''}, as the author logged them\n"
        "seed 42, batch 32, Tesla P100; evaluated every 4 epochs, some shown",
        fontsize=9,
    )
    return figure


def full_courses(
    runs: Sequence[tuple[Outcome, pd.DataFrame, pd.DataFrame]], caption: str
) -> Figure:
    """Runs of the published protocol here, over the published ones: loss and image metrics.

    One column for each preset and category, every seed a line; the published run has hollow
    markers. The loss is that of every epoch here and of some in the log.

    Args:
        runs: each with its `history.csv` and its `course.csv`.
    """
    order = list(PRESETS)
    kinds = sorted(
        dict.fromkeys(configuration(outcome) for outcome, *_ in runs),
        key=lambda kind: (order.index(kind[0]), *kind[1:]),
    )
    shown = {
        "loss": "training loss",
        "I-AUROC": "I-AUROC, %\n(image score)",
        "seg-I-AUROC": "seg-I-AUROC, %\n(map maximum)",
        "AUPRO": "AUPRO, %",
    }
    figure, grid = subplots(
        len(shown),
        len(kinds),
        figsize=(max(6.5, 3.4 * len(kinds)), 8.4),
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    for column, kind in zip(grid.T, kinds, strict=True):
        name, category, changes = kind
        log = published_log(name, category) if not changes else None
        for axes, metric in zip(column, shown, strict=True):
            of_kind = [run for run in runs if configuration(run[0]) == kind]
            for which, (outcome, history, course) in enumerate(of_kind):
                rows = history if metric == "loss" else course
                axes.plot(
                    rows["epoch"],
                    rows[metric],
                    color=PALETTE[which],
                    ls=LINES[which % len(LINES)],
                    lw=1.4,
                    label=f"here, seed {outcome.seed}",
                )
            if log is not None and len(log):
                axes.plot(
                    log["epochs_done"],
                    log[metric],
                    color="0.25",
                    ls=":",
                    lw=0.8,
                    marker="o",
                    mfc="none",
                    ms=4,
                    label="published log, seed 42",
                )
            if metric == "loss":
                axes.axhline(
                    ignorance_loss(preset(name).training.focal),
                    color="0.5",
                    ls="--",
                    lw=1,
                    label="answering 0 everywhere",
                )
                axes.set_yscale("log")
                plain_numbers(axes.yaxis)
            axes.grid(alpha=0.3)
        told = ", ".join((systems.title(name), category, *changes))
        column[0].set_title(wrapped(told, 34), fontsize=8.5)
        column[-1].set_xlabel("epochs")
    for axes, title in zip(grid[:, 0], shown.values(), strict=True):
        axes.set_ylabel(title, fontsize=8.5)
    legend(figure, grid[0])
    figure.suptitle(f"The published protocol, run here\n{wrapped(caption, 100)}", fontsize=9)
    return figure


def noise_courses(
    histories: Sequence[tuple[Outcome, pd.DataFrame]],
    profiles: Sequence[tuple[Outcome, pd.DataFrame]],
    caption: str,
) -> Figure:
    """What the noise became, against the spread of the features that it is added to.

    Left: its root mean square over the training. Right: of every channel at the end, sorted.
    """
    figure, (left, right) = subplots(1, 2, figsize=(11, 4.6))
    names = list(dict.fromkeys(outcome.preset for outcome, _ in histories))
    for axes, shown in ((left, histories), (right, profiles)):
        for outcome, table in shown:
            which = names.index(outcome.preset)
            style = {"color": systems.colour(outcome.preset), "ls": LINES[which % len(LINES)]}
            style["label"] = systems.title(outcome.preset)
            if axes is left:
                ratio = table["noise_rms"] / table["feature_std"]
                axes.plot(table["epoch"], ratio, marker=MARKERS[which], ms=4, **style)
            else:
                ratio = np.sort(table["noise_rms"] / table["feature_std"].clip(lower=1e-12))
                marks = {"marker": MARKERS[which], "ms": 4, "markevery": 0.1}
                axes.plot(np.arange(1, len(ratio) + 1), ratio, **marks, **style)
    left.set(xlabel="epoch", ylabel="noise (RMS) / spread of all channels together", yscale="log")
    left.set_title("over the training", fontsize=9)
    right.set(
        xlabel="channels, sorted", ylabel="noise (RMS) / spread of that channel", yscale="log"
    )
    right.set_title("by channel, after the training", fontsize=9)
    for axes in (left, right):
        plain_numbers(axes.yaxis)
        axes.grid(alpha=0.3)
    left.xaxis.get_major_locator().set_params(integer=True)
    legend(figure, [left, right])
    figure.suptitle(f"Noise against features\n{wrapped(caption, 120)}", fontsize=9)
    return figure
