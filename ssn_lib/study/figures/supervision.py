"""The figures of Modifications 3 and 4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ssn_lib.data.samples import number_of_masks
from ssn_lib.metrics import image_metrics, roc_curve
from ssn_lib.runs.record import Outcome
from ssn_lib.study.captions import data_name
from ssn_lib.study.figures.drawing import (
    LINES,
    MARKERS,
    PALETTE,
    SMALL,
    NotDrawn,
    colours_of,
    headed,
    legend,
    listed,
    subplots,
    swarm,
    told_apart,
    wrapped,
)
from ssn_lib.study.profiles import STRIPS
from ssn_lib.study.published import peak, published_figures, published_log
from ssn_lib.study.records import values
from ssn_lib.study.supervision import LABEL_PRESETS, MIXED_PRESETS, PUBLISHED_MASKS, masks_runs
from ssn_lib.study.systems import colour, group, short, title
from ssn_lib.study.thresholds import YoudenThreshold

SCORES = (("score", "image score"), ("map_max", "map maximum"))
ROC_PRESETS = group("ROC")
PIXEL_PRESETS = group("pixel curves")
MAP_PRESETS = group("strip maps")
MASKED = "mixed_ssn"  # the system whose number of masks the curve goes along
# Without a mask, and not the curve's own system: single marks of raw maps beside it.
ALONE = tuple(n for n in MIXED_PRESETS if n in LABEL_PRESETS and n != "weak_ssn")
DECAY = ("I-AUROC", "P-AUROC", "AUPRO", "AP-loc")  # of the published GAP + CAM
SAME = 0.005  # of precision, within which two curves are drawn as one


def roc(scores: Sequence[tuple[Outcome, pd.DataFrame]], caption: str) -> Figure | NotDrawn:
    """ROC curves on the test images: left by the image score, with the published operating point of
    GAP + CAM, right by the maximum of the map.

    Args:
        scores: of each run, columns score, map_max and label.
    """
    if not scores:
        return NotDrawn("No scores: none of these runs was made, see the tables above.")
    figure, panels = subplots(1, 2, height=5.0, sharey=True)
    names, best = told_apart([outcome for outcome, _ in scores]), []
    for axes, (column, told) in zip(panels, SCORES, strict=True):
        areas = []
        for which, ((outcome, table), name) in enumerate(zip(scores, names, strict=True)):
            fpr, tpr, _ = roc_curve(table[column], table["label"])
            area = image_metrics(table[column], table["label"])["I-AUROC"]
            areas.append((area, short(outcome.preset)))
            axes.plot(
                100 * fpr, 100 * tpr, color=colour(outcome.preset), ls=LINES[which % len(LINES)],
                lw=1.8, label=wrapped(f"{area:.1f}  {name}", 50),
            )  # fmt: skip
        if column == "score":
            slides = published_figures()["slides"]["weak_ksdd2_gap_cam"]
            axes.plot(
                slides["FPR"], slides["TPR"], marker="*", ms=13, mfc="none", mec="black",
                ls="none", label="GAP + CAM's threshold, slides (KSDD2)",
            )  # fmt: skip
        axes.plot([0, 100], [0, 100], color="0.6", lw=1, ls=(0, (1, 3)), label="50.0  chance")
        axes.set(xlabel="false positive rate, %", xlim=(-1, 101), ylim=(-1, 102))
        axes.set_title(f"by the {told}; AUROC, %, before each name", fontsize=SMALL + 1)
        axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=SMALL, frameon=False,
            handlelength=3.5,
        )  # fmt: skip
        best.append((*max(areas), told))
    panels[0].set_ylabel("true positive rate, %")
    (first, one, by), (second, other, otherwise) = best
    return headed(
        figure,
        f"Of those drawn, by the {by} {one} is best (AUROC {first:.1f} %), by the {otherwise} "
        f"{other} ({second:.1f} %)",
        caption,
    )


def score_distributions(
    scores: Sequence[tuple[Outcome, pd.DataFrame]], chosen: Sequence[YoudenThreshold], caption: str
) -> Figure | NotDrawn:
    """Image scores of the first run's sound and defective test images, with the thresholds."""
    if not scores:
        return NotDrawn("No scores: the run was not made, see the tables above.")
    outcome, table = scores[0]
    name = short(outcome.preset)
    figure, axes = subplots(height=2.6)
    ends = [*table["score"], *(one.point.threshold for one in chosen)]
    room = 0.04 * (max(ends) - min(ends))
    axes.set(xlim=(min(ends) - room, max(ends) + room), ylim=(-0.5, 1.5))
    bad = table["label"] == 1
    swarm(axes, table[~bad]["score"].tolist(), 0, facecolors="none", edgecolors="0.25")
    swarm(axes, table[bad]["score"].tolist(), 1, color=colour(outcome.preset), marker="s")
    message = f"{name}'s image scores; no threshold was chosen"
    for style, one in zip(LINES[1:], chosen, strict=False):
        limit = one.point.threshold
        told = f"Youden's threshold {one.how}: {limit:.2f} (sigmoid {one.sigmoid:.3f})"
        axes.axvline(limit, color="black", ls=style, lw=1.4, label=told)
        called = table["score"] >= limit
        message = (
            f"At the threshold {one.how} {name} finds {(called & bad).sum()} of {bad.sum()} "
            f"defective images; false alarms: {(called & ~bad).sum()} of {(~bad).sum()}"
        )
    axes.set_yticks([0, 1], ["sound", "defective"])
    axes.set_xlabel("image score (logit); one point an image")
    axes.grid(visible=False, axis="y")
    legend(figure, [axes])
    return headed(figure, message, caption)


def pixel_curves(curves: Sequence[tuple[Outcome, pd.DataFrame]], caption: str) -> Figure | NotDrawn:
    """Precision against recall of the test pixels, raw and as published, with each curve's AP."""
    if not curves:
        return NotDrawn("No curves: none of these runs was made, see the tables above.")
    figure, axes = subplots(height=4.8)
    outcomes, lines = [outcome for outcome, _ in curves], []
    colours = colours_of([outcome.preset for outcome in outcomes])
    for (outcome, table), name, shade in zip(curves, told_apart(outcomes), colours, strict=True):
        parts = dict(tuple(table.groupby("map", sort=False)))
        for kind, part in parts.items():
            recall, precision = _stepped(part)
            told, metric = name, "AP-loc"
            if outcome.record.config.model.score == "cam":
                told += ", sigmoid as published" if kind == "sigmoid" else ", raw"
                metric = "sigmoid-AP-loc" if kind == "sigmoid" else metric
                if _alike(parts):
                    if kind == "sigmoid":
                        continue
                    told += " and sigmoid alike"
            area = outcome.record.metrics.get(metric)
            lines.append((area, short(outcome.preset)))
            axes.step(
                100 * recall, 100 * precision, where="pre", color=shade,
                ls=LINES[(len(lines) - 1) % len(LINES)], lw=1.6,
                label=f"{'–' if area is None else f'{area:.1f}'}  {told}",
            )  # fmt: skip
    axes.set(xlabel="recall of defective pixels, %", ylabel="precision, %")
    axes.set(xlim=(0, 101), ylim=(0, 102))
    legend(figure, [axes])
    known = [line for line in lines if line[0] is not None]
    message = "Precision and recall of the defective pixels"
    if known:
        (low, _), (high, best) = min(known), max(known)
        message = f"{best} finds the defective pixels best: AP-loc {high:.1f} %"
        message += f", the least of {len(known)} curves {low:.1f} %" if len(known) > 1 else ""
    return headed(figure, message, f"Before each name: AP-loc, %. {caption}")


def _stepped(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision; the first point's precision holds from recall 0 on."""
    recall = np.concatenate(([0.0], part["recall"]))
    return recall, np.concatenate((part["precision"][:1], part["precision"]))


def _alike(parts: dict[str, pd.DataFrame]) -> bool:
    """Whether all of a run's curves would be drawn over each other."""
    places = np.linspace(0, 1, 201)
    drawn = [np.interp(places, *_stepped(part)) for part in parts.values()]
    return len(drawn) > 1 and bool(np.ptp(drawn, axis=0).max() < SAME)


def published_decay(
    courses: Sequence[tuple[Outcome, pd.DataFrame]] = (), caption: str = ""
) -> Figure:
    """How the published GAP + CAM's localisation fell while its detection stayed, and beside it the
    first training here that kept its course.

    Args:
        courses: `course.csv` of trainings by the published protocol.
        caption: where they come from.
    """
    log = published_log("gap_cam", STRIPS)
    panels = {f"published: {data_name([], STRIPS)}, WideResNet50-2": log}
    message = f"GAP + CAM as published: {_decay(log)}"
    where = (
        f"Published: the author's public notebook, one seed, {log['epochs_done'].iloc[-1]:.0f} "
        "epochs; pixel metrics of the map's sigmoid"
    )
    for outcome, course in courses[:1]:
        own = course.rename(columns={"epoch": "epochs_done"})
        backbone = outcome.record.config.model.backbone.replace("resnet", "ResNet")
        panels[f"here: {data_name([outcome], outcome.category)}, {backbone}"] = own
        message += f"; here: {_decay(own)}"
        where += f". Here: {caption}; of the raw map"
    figure, drawn = subplots(1, len(panels), height=3.6, sharex=True, sharey=True, squeeze=False)
    shades = ("black", PALETTE[0], PALETTE[2], PALETTE[3])
    for axes, (name, table) in zip(drawn[0], panels.items(), strict=True):
        for metric, shade, line, marker in zip(DECAY, shades, LINES, MARKERS, strict=False):
            axes.plot(
                table["epochs_done"], table[metric], color=shade, ls=line, marker=marker,
                mfc="none", ms=4, lw=1.2, label=metric,
            )  # fmt: skip
        axes.set_title(name, fontsize=SMALL + 1)
        axes.set(xlabel="epochs", ylim=(0, 102))
    drawn[0][0].set_ylabel("%")
    legend(figure, drawn[0])
    return headed(figure, message, where)


def _decay(log: pd.DataFrame) -> str:
    """From its highest AP-loc to its end, in words."""
    best, epochs = peak(log, "AP-loc")
    then, last = log[log["epochs_done"] == epochs].iloc[0], log.iloc[-1]
    return (
        f"AP-loc goes from {best:.1f} after {epochs} epochs to {last['AP-loc']:.1f}, "
        f"I-AUROC from {then['I-AUROC']:.1f} to {last['I-AUROC']:.1f}"
    )


def masks_curve(
    outcomes: Sequence[Outcome], category: str, numbers: Sequence[float], caption: str
) -> Figure:
    """AP-loc and AP-det against the share of defective training images that have a mask."""
    figure, panels = subplots(1, 2, height=3.8, sharey=True)
    jims = published_figures()["supersimplenet_jims2025"][STRIPS]
    total = max(PUBLISHED_MASKS)
    without: dict[str, float] = {}  # AP-loc of what needs no mask
    learned: list[tuple[float, float]] = []
    for axes, metric in zip(panels, ("AP-loc", "AP-det"), strict=True):
        theirs = [jims[name][metric]["mean"] for name in PUBLISHED_MASKS.values()]
        axes.errorbar(
            [100 * masks / total for masks in PUBLISHED_MASKS], theirs,
            [jims[name][metric]["std"] for name in PUBLISHED_MASKS.values()],
            color=colour(MASKED), ls="--", lw=1.2, marker="s", mfc="none", capsize=3,
            label="published (± sd): SSN with that share of masks; KSDD2, WideResNet50-2, "
            "300 epochs",
        )  # fmt: skip
        points = _masked(outcomes, category, numbers, metric)
        if points:
            axes.plot(
                *zip(*points, strict=True), color=colour(MASKED), marker="o", lw=1.8,
                label=f"here: SSN with that share of masks; {data_name(outcomes, category)}",
            )  # fmt: skip
        for name, marker in zip(ALONE, MARKERS[1:], strict=False):
            known = values(outcomes, name, category, metric)
            if known:
                if metric == "AP-loc":
                    without[short(name)] = float(np.mean(known))
                axes.plot(
                    0, np.mean(known), color=colour(name), marker=marker, ms=8, ls="none",
                    clip_on=False, label=f"here, no mask: {title(name)}, raw map",
                )  # fmt: skip
        if metric == "AP-loc":
            learned = points
        axes.set(xlabel="defective training images with a mask, %", ylabel=f"{metric}, %")
        axes.set_ylim(0, 102)
        axes.tick_params(labelleft=True)
    legend(figure, panels)
    return headed(figure, _bought(learned, without), f"{caption}{_one_image(outcomes, category)}")


def _bought(learned: Sequence[tuple[float, float]], without: Mapping[str, float]) -> str:
    """AP-loc here without a mask, the best, and of SSN by the share of masks."""
    if not learned:
        return "No run here with masks"
    ends = dict([*learned[:2], learned[-1]])  # the fewest masks, the next more, the most
    told = (
        f"SSN has {listed([f'{value:.1f}' for value in ends.values()])} % with "
        f"{listed([f'{share:.0f}' for share in ends])} % of the defects masked"
    )
    if not without:
        return f"AP-loc here: {told}"
    best = max(without, key=without.__getitem__)
    return f"AP-loc here: {best} has {without[best]:.1f} % without a mask; {told}"


def _one_image(outcomes: Sequence[Outcome], category: str) -> str:
    """How much a single defective test image counts."""
    known = (o.record for o in outcomes if o.record is not None and o.category == category)
    number = next((record.counts.get("test_defective", 0) for record in known), 0)
    if not number:
        return ""
    return f"; {number} defective test images, each is {100 / number:.1f} points of recall"


def _masked(
    outcomes: Sequence[Outcome], category: str, numbers: Sequence[float], metric: str
) -> list[tuple[float, float]]:
    """Share of the masks in percent, and the mean of a metric, by rising share."""
    points = []
    for name, changed, _ in masks_runs(outcomes, category, numbers):
        known = values(outcomes, name, category, metric, changed)
        if known and name not in ALONE:
            record = next(
                o.record for o in outcomes if o.record and (o.preset, o.changes) == (name, changed)
            )
            defective = record.counts["train_defective"]
            masks = number_of_masks(record.config.training.supervision.masks, defective)
            points.append((100 * masks / defective, float(np.mean(known))))
    return sorted(points)
