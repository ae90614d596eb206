"""Figures of trainings by epochs or images: here, as published, and one over the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study.figures.drawing import (
    GREY,
    LINES,
    MARKERS,
    SMALL,
    headed,
    key,
    legend,
    listed,
    plain_numbers,
    subplots,
    wrapped,
)
from ssn_lib.study.published import last_epochs, published_log, published_logs
from ssn_lib.study.records import Configuration, configuration
from ssn_lib.study.systems import LAST_EPOCHS, LEARNED, colour, ignorance_loss, short, title

Run = tuple[Outcome, pd.DataFrame]
COURSES = {
    "loss": "training loss",
    "I-AUROC": "I-AUROC, %\n(image score)",
    "seg-I-AUROC": "seg-I-AUROC, %\n(map maximum)",
    "AUPRO": "AUPRO, %",
}
COLUMNS = 4  # of categories, beside each other
SHOWN = ("loss", "I-AUROC", "seg-I-AUROC")  # of published runs


def training_curves(histories: Sequence[Run], caption: str) -> Figure:
    """Training loss by images seen: a column for each category, a row for each length of training;
    of more categories than `COLUMNS` in several rows.

    A run that diverged ends with a cross at its last whole epoch. On MVTec AD the published runs of
    the same presets stand in the row of their length (hollow markers).
    """
    categories = list(dict.fromkeys(outcome.category for outcome, _ in histories)) or ["none"]
    names = list(dict.fromkeys(outcome.preset for outcome, _ in histories))
    looks = {
        name: {"color": colour(name), "marker": MARKERS[which % len(MARKERS)]}
        for which, name in enumerate(names)
    }
    dashes = _dashes(outcome.seed for outcome, _ in histories)
    logs = _published(histories)
    lengths = sorted({_epochs(outcome) for outcome, _ in histories} | {n for n, *_ in logs})
    there = {(_epochs(o), o.category) for o, _ in histories} | {log[:2] for log in logs}
    pieces = [categories[i : i + COLUMNS] for i in range(0, len(categories), COLUMNS)]
    rows = [
        (length, piece)
        for length in lengths
        for piece in pieces
        if any((length, category) in there for category in piece)
    ]
    figure, grid = subplots(
        len(rows) or 1,
        len(pieces[0]),
        height=2.5 * (len(rows) or 1) + 1.0,
        sharey="row",
        squeeze=False,
    )
    for row, (length, piece) in zip(grid, rows, strict=False):
        for axes in row[len(piece) :]:
            axes.set_visible(False)
        for axes, category in zip(row, piece, strict=False):
            runs = [r for r in histories if (_epochs(r[0]), r[0].category) == (length, category)]
            for run in runs:
                _draw_loss(axes, *run, {"ls": dashes[run[0].seed]} | looks[run[0].preset])
            published = [p[2:] for p in logs if p[:2] == (length, category)]
            for name, log in published:
                style = looks[name] | {"mfc": "none", "lw": 0.8, "ms": 4.5}
                axes.plot(log["images"], log["loss"], ls=":", label=title(name), **style)
            shown = [*(outcome.preset for outcome, _ in runs), *(name for name, _ in published)]
            _knowing_nothing(axes, shown)
            axes.set_visible(bool(shown))
            axes.set(xscale="log", yscale="log", xlabel="training images seen")
            axes.set_title(f"{category}, {length} epochs", fontsize=SMALL + 1)
            for axis in (axes.xaxis, axes.yaxis):
                plain_numbers(axis)
    for row in grid:
        next((axes for axes in row if axes.get_visible()), row[0]).set_ylabel("training loss")
    keys = [key(f"seed {s}", ls=ls) for s, ls in dashes.items()] if len(dashes) > 1 else []
    if logs:
        keys.append(key("the author's run", ls=":", lw=0.8, marker="o", mfc="none", ms=4.5))
    legend(figure, grid.flat, keys)
    told = f"{caption}; the author's: one seed, batches of 32, Tesla P100" if logs else caption
    return headed(figure, _leaving(histories), told)


def _dashes(seeds: Iterable[int]) -> dict[int, Any]:
    """The line style of each seed."""
    return {seed: LINES[which % len(LINES)] for which, seed in enumerate(sorted(set(seeds)))}


def _epochs(outcome: Outcome) -> int:
    return outcome.record.config.training.epochs


def _published(histories: Sequence[Run]) -> list[tuple[int, str, str, pd.DataFrame]]:
    """Of the published runs of the same presets on MVTec AD: length, category, preset, log."""
    if not any(o.record.config.data.dataset == "mvtec_ad" for o, _ in histories):
        return []
    found = []
    for name in dict.fromkeys(outcome.preset for outcome, _ in histories):
        for category in dict.fromkeys(outcome.category for outcome, _ in histories):
            log = published_log(name, category)
            if len(log):
                found.append((int(log["epochs_done"].max()), category, name, log))
    return found


def _draw_loss(
    axes: Axes, outcome: Outcome, history: pd.DataFrame, style: Mapping[str, Any]
) -> None:
    images = history["epoch"] * outcome.record.images_per_epoch
    label = title(outcome.preset)
    axes.plot(
        images, history["loss"], lw=1.3, ms=4, markevery=0.2 if len(history) > 20 else 2,
        label=label, **style,
    )  # fmt: skip
    if outcome.record.status == "diverged":
        # No point, but a legend, when it was the first epoch.
        axes.plot(
            images.tail(1), history["loss"].tail(1), color="black", marker="x", ms=10, mew=2,
            ls="none", label=f"{label} diverged in epoch {outcome.record.diverged_at}",
        )  # fmt: skip


def _knowing_nothing(axes: Axes, presets: Sequence[str]) -> None:
    """The loss of a network that answers 0 everywhere, by the losses of these presets."""
    for focal in sorted({preset(name).training.focal for name in presets}):
        axes.axhline(
            ignorance_loss(focal),
            color="0.5",
            lw=1,
            ls="--" if focal else "-",
            zorder=0,
            label=f"knowing nothing: 0 everywhere ({'SSN' if focal else 'SimpleNet'})",
        )


def _leaving(histories: Sequence[Run]) -> str:
    """Which of the longest trainings get 10 % below the loss of knowing nothing, and after how
    long; of more than two systems where their losses end."""
    if not histories:
        return "No training was made"
    longest = max(_epochs(outcome) for outcome, _ in histories)
    ended = [run for run in histories if run[0].record.status != "diverged"]
    whole = [run for run in ended if _epochs(run[0]) == longest]
    if not whole:
        return f"No training of {longest} epochs came to its end: all diverged"
    if len({outcome.preset for outcome, _ in whole}) > 2:
        return f"After {longest} epochs {_last_losses(whole)}"
    left: dict[str, dict[str, int]] = {}
    for outcome, history in whole:
        nothing = ignorance_loss(preset(outcome.preset).training.focal)
        epochs = history[history["loss"] < LEARNED * nothing]["epoch"]
        known = left.setdefault(outcome.preset, {})
        if len(epochs):
            known[outcome.category] = min(epochs.iloc[0], known.get(outcome.category, longest))
    parts = []
    for name, known in left.items():
        when = [f"{epoch} epochs on {category}" for category, epoch in known.items()]
        how = f"after {listed(when)}" if known else f"never within {longest} epochs"
        parts.append(f"{short(name)} {how}")
    return f"The loss gets 10 % below that of knowing nothing: {'; '.join(parts)}"


def _last_losses(runs: Sequence[Run]) -> str:
    """The lowest and the highest last loss, and how many systems end below that of knowing nothing
    in each of their runs."""
    last = [(history["loss"].iloc[-1], outcome) for outcome, history in runs]
    (low, lowest), (high, highest) = (pick(last, key=lambda one: one[0]) for pick in (min, max))
    low, high = (
        np.format_float_positional(one, precision=3, fractional=False, trim="-")
        for one in (low, high)
    )
    below: dict[str, bool] = {}
    for loss, outcome in last:
        name = outcome.preset
        learned = loss < LEARNED * ignorance_loss(preset(name).training.focal)
        below[name] = below.get(name, True) and bool(learned)
    return (
        f"the loss lies between {low} ({short(lowest.preset)}) and {high} "
        f"({short(highest.preset)}); {sum(below.values())} of {len(below)} systems end 10 % or "
        "more below that of knowing nothing"
    )


def published_courses(runs: Mapping[str, str]) -> Figure:
    """Loss and image metrics of published runs over their epochs: a column a category for which all
    of the runs are known.

    Args:
        runs: name in `published.published_logs`, which is a preset's, to what the legend says.
    """
    logs = published_logs()
    known = logs[logs["run"].isin(runs)].groupby("category", sort=False)["run"].nunique()
    categories = list(known[known == len(runs)].index)
    figure, grid = subplots(
        len(SHOWN), len(categories), height=2.0 * len(SHOWN) + 1.0, sharex=True, sharey="row",
        squeeze=False,
    )  # fmt: skip
    for column, category in zip(grid.T, categories, strict=True):
        for axes, metric in zip(column, SHOWN, strict=True):
            for which, (name, told) in enumerate(runs.items()):
                look = {"color": colour(name), "ls": LINES[which], "marker": MARKERS[which]}
                look |= {"lw": 1.2, "mfc": "none", "ms": 3.5, "label": told}
                log = published_log(name, category)
                axes.plot(log["epochs_done"], log[metric], **look)
            _without_skill(axes, metric, list(runs))
        column[0].set_title(category, fontsize=SMALL + 1)
        column[-1].set_xlabel("epochs")
    for axes, metric in zip(grid[:, 0], SHOWN, strict=True):
        axes.set_ylabel(COURSES[metric])
    legend(figure, grid.flat)
    return headed(figure, _published_ends(runs, categories), _logged(categories))


def published_noise_courses(runs: Mapping[str, str], category: str) -> Figure:
    """Loss and image metrics of published runs on one category: a column a run, drawn in its colour
    over the others in grey.

    Args:
        runs: name in `published.published_logs`, a preset's and a β, to what stands above it.
    """
    figure, grid = subplots(
        len(SHOWN), len(runs), height=1.6 * len(SHOWN) + 0.6, sharex=True, sharey="row",
        squeeze=False,
    )  # fmt: skip
    presets = [name.partition(" ")[0] for name in runs]  # behind it stands a β
    logs = {name: published_log(name, category) for name in runs}
    for column, (name, told), own in zip(grid.T, runs.items(), presets, strict=True):
        for axes, metric in zip(column, SHOWN, strict=True):
            for log in logs.values():
                axes.plot(
                    log["epochs_done"], log[metric], color="0.82", lw=0.8, label="the other runs"
                )
            look = {"color": colour(own), "lw": 1.5, "marker": "o", "mfc": "none", "ms": 2.5}
            axes.plot(logs[name]["epochs_done"], logs[name][metric], **look)
            _without_skill(axes, metric, [own])
        column[0].set_title(told, fontsize=SMALL)
        column[-1].set_xlabel("epochs")
    for axes, metric in zip(grid[:, 0], SHOWN, strict=True):
        axes.set_ylabel(COURSES[metric])
    legend(figure, grid.flat)
    return headed(figure, _published_swing(runs, logs, category), _logged([category]))


def _without_skill(axes: Axes, metric: str, presets: Sequence[str]) -> None:
    """What a network has that knows nothing: the loss of 0 everywhere, or the AUROC of chance."""
    if metric == "loss":
        axes.set_yscale("log")
        _knowing_nothing(axes, presets)
        plain_numbers(axes.yaxis)
    else:
        axes.axhline(50, color="0.5", lw=1, ls=(0, (1, 3)), zorder=0, label="chance")


def _logged(categories: Sequence[str]) -> str:
    return (
        f"{listed(categories)}, MVTec AD, as the author logged them: seed 42, batches of 32, Tesla "
        "P100; evaluated every 4 epochs, some shown"
    )


def _published_ends(runs: Iterable[str], categories: Sequence[str]) -> str:
    """Whose loss never gets 10 % below that of knowing nothing, and the last I-AUROC of each where
    these are furthest apart."""
    last: dict[str, list[tuple[float, str]]] = {category: [] for category in categories}
    learned = set()
    for name in runs:
        nothing = ignorance_loss(preset(name).training.focal)
        for category in categories:
            log = published_log(name, category)
            last[category].append((log["I-AUROC"].iloc[-1], short(name)))
            if log["loss"].min() < LEARNED * nothing:
                learned.add(name)
    never = listed([short(name) for name in runs if name not in learned])
    where = max(last, key=lambda category: max(last[category])[0] - min(last[category])[0])
    ends = listed([f"{value:.1f} ({name})" for value, name in last[where]])
    told = f"the loss of {never} never gets 10 % below that of knowing nothing; " if never else ""
    return f"As published, {told}on {where} I-AUROC ends at {ends}"


def _published_swing(
    runs: Mapping[str, str], logs: Mapping[str, pd.DataFrame], category: str
) -> str:
    """The lowest and the highest last I-AUROC, and how far that of the latter moved before."""
    last = {name: log["I-AUROC"].iloc[-1] for name, log in logs.items()}
    low, high = min(last, key=last.__getitem__), max(last, key=last.__getitem__)
    late = last_epochs(logs[high], LAST_EPOCHS)["I-AUROC"]
    return (
        f"As published, I-AUROC on {category} ends between {last[low]:.1f} ({runs[low]}) and "
        f"{last[high]:.1f} ({runs[high]}), which moved by {late.max() - late.min():.0f} points in "
        f"its last {LAST_EPOCHS} epochs"
    )


def full_courses(
    runs: Sequence[tuple[Outcome, pd.DataFrame, pd.DataFrame]], caption: str
) -> Figure:
    """Runs of the published protocol here, over the published ones: loss and image metrics.

    One row for each preset and category, every seed a line; the published run has hollow markers.
    The loss is that of every epoch here and of some in the log.

    Args:
        runs: each with its `history.csv` and its `course.csv`.
    """
    order = list(PRESETS)
    kinds = sorted(
        dict.fromkeys(configuration(outcome) for outcome, *_ in runs),
        key=lambda kind: (order.index(kind[0]), *kind[1:]),
    )
    figure, grid = subplots(
        len(kinds), len(COURSES), height=1.2 * len(kinds) + 0.7,
        sharex=True, sharey="col", squeeze=False,
    )  # fmt: skip
    dashes = _dashes(outcome.seed for outcome, *_ in runs)
    for row, kind in zip(grid, kinds, strict=True):
        of_kind = [run for run in runs if configuration(run[0]) == kind]
        for axes, metric in zip(row, COURSES, strict=True):
            _course(axes, metric, kind, of_kind, dashes)
        row[0].set_ylabel(
            wrapped(", ".join((title(kind[0]), *kind[1:2], *kind[2])), 17),
            rotation=0, ha="right", va="center", size=SMALL,
        )  # fmt: skip
    for axes, told in zip(grid[0], COURSES.values(), strict=True):
        axes.set_title(told, fontsize=SMALL + 1)
    for axes in grid[-1]:
        axes.set_xlabel("epochs")
    legend(figure, grid.flat, [key(f"here, seed {s}", ls=ls) for s, ls in dashes.items()])
    return headed(figure, _agreement(runs), caption)


def _course(
    axes: Axes,
    metric: str,
    kind: Configuration,
    runs: Sequence[tuple],
    dashes: Mapping[int, Any],
) -> None:
    """One metric of one configuration, here and as published."""
    name, category, changes = kind
    for outcome, history, course in runs:
        rows = history if metric == "loss" else course
        axes.plot(rows["epoch"], rows[metric], color=colour(name), ls=dashes[outcome.seed], lw=1.4)
    log = published_log(name, category)
    if len(log) and not changes:
        axes.plot(
            log["epochs_done"], log[metric], color="black", ls=":", lw=0.7, marker="o",
            mfc="none", mew=0.7, ms=3, label="the author's log, seed 42",
        )  # fmt: skip
    if metric != "AUPRO":
        _without_skill(axes, metric, [name])


def _agreement(runs: Sequence[tuple[Outcome, pd.DataFrame, pd.DataFrame]]) -> str:
    """How far the last I-AUROC here is from that of the author's log: the least and the most."""
    apart = []
    for outcome, _, course in runs:
        log = published_log(outcome.preset, outcome.category)
        diverged = outcome.record.status == "diverged"
        if len(log) and len(course) and not outcome.changes and not diverged:
            last = course["I-AUROC"].iloc[-1] - log["I-AUROC"].iloc[-1]
            apart.append((abs(last), f"{short(outcome.preset)}, {outcome.category}"))
    if not apart:
        return "The published protocol, run here"
    (least, near), (most, far) = min(apart), max(apart)
    if len(apart) == 1:
        return f"The last I-AUROC drawn differs from the author's by {most:.1f} points ({far})"
    return (
        f"The last I-AUROC drawn differs from the author's by {least:.1f} ({near}) to {most:.1f} "
        f"points ({far})"
    )


def noise_courses(histories: Sequence[Run], profiles: Sequence[Run], caption: str) -> Figure:
    """What the noise became, against the spread of the features that it is added to.

    Left: its root mean square over the training. Right: of every channel at the end, sorted.
    """
    figure, (left, right) = subplots(1, 2, height=4.0)
    names = list(dict.fromkeys(outcome.preset for outcome, _ in histories))
    last = []
    for axes, shown in ((left, histories), (right, profiles)):
        for outcome, table in shown:
            which = names.index(outcome.preset)
            ratio = table["noise_rms"] / table["feature_std"].clip(lower=1e-12)
            if axes is left:
                place, marks = table["epoch"], 1
                last += [(value, short(outcome.preset)) for value in ratio.tail(1)]
            else:
                ratio = np.sort(ratio)
                place, marks = np.arange(1, len(ratio) + 1), 0.2
            axes.plot(
                place, ratio, color=colour(outcome.preset), lw=1.3, marker=MARKERS[which], ms=4,
                markevery=marks, label=title(outcome.preset),
            )  # fmt: skip
    left.set(xlabel="epoch", ylabel="noise (RMS) / spread of all channels")
    left.set_title("over the training, all channels together", fontsize=SMALL + 1)
    right.set(xlabel="channels, sorted", ylabel="noise (RMS) / spread of that channel")
    right.set_title("by channel, after the training", fontsize=SMALL + 1)
    for axes in (left, right):
        axes.set_yscale("log")
        axes.axhline(1, color=GREY, lw=1, ls="--", zorder=0, label="as large as the features vary")
        plain_numbers(axes.yaxis)
    left.xaxis.get_major_locator().set_params(integer=True)
    legend(figure, [left, right])
    message = "No noise was recorded"
    if last:
        (low, least), (high, most) = min(last), max(last)
        lengths = {len(table) for _, table in histories}
        said = f"After {lengths.pop()} epochs" if len(lengths) == 1 else "At the end of training"
        message = (
            f"{said} the noise is {low:.2g} ({least}) to {high:.2g} times ({most}) the "
            "features' spread"
        )
    return headed(figure, message, caption)
