"""Figures of the network and of its cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ssn_lib.runs.record import Outcome, device_name
from ssn_lib.study import systems
from ssn_lib.study.costs.records import PEERS, Efficiency
from ssn_lib.study.figures.drawing import (
    MARKERS,
    PALETTE,
    NotDrawn,
    plain_numbers,
    subplots,
    wrapped,
)
from ssn_lib.study.systems import REAL_TIME_MS
from ssn_lib.study.tables.costs import FORM_TITLES

USEFUL_AUROC = 90


def architecture() -> Figure:
    """SuperSimpleNet as a diagram: what is frozen, trained, and present in training only."""
    figure, axes = subplots(figsize=(11, 4.4))
    axes.set(xlim=(0, 110), ylim=(0, 44))
    axes.axis("off")
    frozen, trained, training_only = PALETTE[7], PALETTE[0], PALETTE[1]

    def box(x: float, y: float, width: float, text: str, colour: tuple, style: str = "-") -> None:
        patch = FancyBboxPatch(
            (x, y), width, 9, boxstyle="round,pad=0.4", ec=colour, fc="white", lw=2, ls=style
        )
        axes.add_patch(patch)
        axes.text(x + width / 2, y + 4.5, text, ha="center", va="center", fontsize=8.5)

    def arrow(start: tuple[float, float], end: tuple[float, float], style: str = "-") -> None:
        axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, lw=1.3, ls=style)
        )

    box(1, 22, 9, "image\n(B, 3, H, W)", "black")
    box(15, 22, 14, "backbone\nlayers 2 and 3", frozen)
    box(34, 22, 14, "upscale ×2,\n3×3 average\n(B, C, H/4, W/4)", frozen)
    box(53, 33, 13, "adaptor\nA: 1×1 conv\nB: 3×3, BN, ReLU", trained)
    box(53, 3, 13, "noise in\nPerlin masks", training_only, "--")
    box(72, 33, 15, "segmentation head\n1×1 → 1024 → 1", trained)
    box(72, 16, 15, "classification head\n5×5 → 128, pooling", trained)
    box(93, 33, 15, "anomaly map\n(B, 1, H, W)", "black")
    box(93, 16, 15, "score\n(B,)", "black")
    arrow((10.6, 26.5), (14.4, 26.5))
    arrow((29.6, 26.5), (33.4, 26.5))
    arrow((48.6, 28), (52.4, 36))
    arrow((66.6, 37.5), (71.4, 37.5))
    arrow((48.6, 25.5), (71.4, 21))
    axes.text(58, 25.6, "plain features", ha="center", va="bottom", fontsize=7.5, rotation=-8)
    arrow((79.5, 32.4), (79.5, 25.6))
    axes.text(80.3, 29, "map, gradient stopped", ha="left", va="center", fontsize=7.5)
    arrow((87.6, 37.5), (92.4, 37.5))
    arrow((87.6, 20.5), (92.4, 20.5))
    arrow((66.6, 8), (75, 15.4), "--")
    arrow((61, 12.6), (69, 36.6), "--")
    for x, colour, style, text in (
        (1, frozen, "-", "frozen"),
        (17, trained, "-", "trained"),
        (33, training_only, "--", "training only"),
    ):
        axes.plot([x, x + 4], [2, 2], color=colour, ls=style, lw=2)
        axes.text(x + 5, 2, text, va="center", fontsize=8.5)
    axes.text(93, 2, "A, B: Scenarios; C: channels", va="center", fontsize=8)
    return figure


def bubble_chart(costs: Sequence[Efficiency], outcomes: Sequence[Outcome], caption: str) -> Figure:
    """Efficiency against accuracy: latency, I-AUROC (mean of the seeds), memory as area.

    The folded form of a network (hatched) has the accuracy of the plain one.
    """
    figure, axes = subplots(figsize=(11, 5.2))
    categories = sorted({outcome.category for outcome in outcomes})
    memories = [cost.memory_mb.median for cost in costs if cost.memory_mb]
    for cost in costs:
        style = {"color": systems.colour(cost.preset), "edgecolor": "black"}
        style |= {"alpha": 0.35} if cost.form == "plain" else {"alpha": 0.6, "hatch": "///"}
        memory = f", {cost.memory_mb.median:.0f} MB" if cost.memory_mb else ""
        area = 900 * cost.memory_mb.median / max(memories) if cost.memory_mb else 120
        placed = False
        for category, marker in zip(categories, MARKERS, strict=False):
            values = [
                outcome.record.metrics.get("I-AUROC")
                for outcome in outcomes
                if (outcome.preset, outcome.category) == (cost.preset, category)
                and outcome.record is not None
            ]
            known = [value for value in values if value is not None]
            if not known:
                continue
            placed = True
            point = (cost.latency_ms.median, float(np.mean(known)))
            axes.scatter(*point, s=area, marker="o", **style)
            axes.scatter(*point, s=28, color="black", marker=marker)
        label = f"{systems.title(cost.preset)}, {cost.form}{memory}"
        if not placed:
            label += f"\n({cost.latency_ms.median:.0f} ms; accuracy not measured)"
        axes.scatter([], [], s=90, label=label, **style)
    for category, marker in zip(categories, MARKERS, strict=False):
        axes.scatter([], [], s=28, color="black", marker=marker, label=category)
    axes.axvline(REAL_TIME_MS, color="0.3", ls="--", lw=1)
    axes.axhline(USEFUL_AUROC, color="0.3", ls=":", lw=1)
    axes.set_xscale("log")
    plain_numbers(axes.xaxis)
    right = max(cost.latency_ms.median for cost in costs) * 2
    axes.set_xlim(min(REAL_TIME_MS / 2, *(c.latency_ms.median / 2 for c in costs)), right)
    axes.set_ylim(0, 108)
    axes.text(
        REAL_TIME_MS * 1.03,
        2,
        f"{REAL_TIME_MS} ms: the slides' real time",
        fontsize=8,
    )
    axes.text(
        right * 0.98,
        USEFUL_AUROC - 1,
        f"{USEFUL_AUROC} %: this study's mark for useful",
        fontsize=8,
        ha="right",
        va="top",
    )
    device = device_name(*(cost.environment for cost in costs))
    axes.set(xlabel=f"latency of one image, ms (log scale): {device}", ylabel="I-AUROC, %")
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, labelspacing=1.1)
    figure.suptitle(
        f"Efficiency against accuracy (bubble area: memory)\n{wrapped(caption, 130)}", fontsize=9
    )
    return figure


def roofline(costs: Sequence[Efficiency]) -> Figure | NotDrawn:
    """Measured latency against counted arithmetic, and the floor: that arithmetic at the rate of a
    large matrix product on this device."""
    costs = [cost for cost in costs if cost.peak_gflop_s]
    if not costs:
        return NotDrawn("No costs with this device's peak rate: `make bench` measures both.")
    figure, axes = subplots(figsize=(10, 4.6))
    peak = max(cost.peak_gflop_s for cost in costs)
    span = np.array([0.5 * min(c.gflop for c in costs), 2 * max(c.gflop for c in costs)])
    axes.plot(span, 1e3 * span / peak, color="0.3", ls="--", label=f"floor: {peak:.0f} GFLOP/s")
    names = list(dict.fromkeys(cost.preset for cost in costs))
    for cost in costs:
        latency, floor = cost.latency_ms, 1e3 * cost.gflop / peak
        which, peer = names.index(cost.preset), cost.form == "peer"
        if peer:
            title = PEERS[cost.preset]
        else:
            form = FORM_TITLES.get(cost.form, cost.form)
            title = f"{systems.title(cost.preset)}, {form}"
        axes.errorbar(
            cost.gflop,
            latency.median,
            [[latency.median - latency.low], [latency.high - latency.median]],
            color="0.4" if peer else systems.colour(cost.preset),
            marker=("x", "+", "1", "2")[which % 4] if peer else MARKERS[which % len(MARKERS)],
            fillstyle={"plain": "none", "folded": "full", "onnx": "bottom"}.get(cost.form, "full"),
            ms=9,
            mew=1.5,
            capsize=3,
            ls="none",
            label=f"{title}: {latency.median / floor:.1f} × floor",
        )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="arithmetic of one image, GFLOP (log scale)",
        ylabel="latency, ms (log scale)",
    )
    for axis in (axes.xaxis, axes.yaxis):
        plain_numbers(axis)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8)
    device = device_name(*(cost.environment for cost in costs))
    figure.suptitle(f"Latency and arithmetic\n{wrapped(device, 130)}, float32", fontsize=9)
    return figure
