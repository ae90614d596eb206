"""The study's figures. Each returns a matplotlib Figure; line styles and markers tell apart what
colours do, so that they survive a black-and-white print."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import FuncFormatter, LogFormatter
from numpy.typing import NDArray

from ssn_lib import tables
from ssn_lib.config import preset
from ssn_lib.efficiency import Efficiency
from ssn_lib.env import device_name
from ssn_lib.peers import PEERS
from ssn_lib.runs import Outcome

PALETTE = sns.color_palette("colorblind")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
USEFUL_AUROC = 90


@dataclass(frozen=True)
class Picture:
    """A figure as it was saved: Jupyter shows it whatever matplotlib's backend is.

    Attributes:
        png: the file's bytes.
        alt: what it says, for who does not see it.
    """

    png: bytes
    alt: str

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        """How Jupyter shows it: the bytes, and the metadata of the image."""
        return self.png, {"alt": self.alt}

    def __repr__(self) -> str:
        return self.alt


@dataclass(frozen=True)
class Panel:
    """One configuration's answer to one image.

    Attributes:
        title: of the configuration.
        anomaly_map: (H, W), as the network gives it.
        threshold: on the map.
        score, score_threshold: of the image.
    """

    title: str
    anomaly_map: NDArray
    threshold: float
    score: float
    score_threshold: float


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
    presets = list(dict.fromkeys(cost.preset for cost in costs))
    for cost in costs:
        colour = PALETTE[presets.index(cost.preset)]
        style = {"color": colour, "edgecolor": "black"}
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
        label = f"{preset(cost.preset).title}, {cost.form}{memory}"
        if not placed:
            label += f"\n({cost.latency_ms.median:.0f} ms; accuracy not measured)"
        axes.scatter([], [], s=90, label=label, **style)
    for category, marker in zip(categories, MARKERS, strict=False):
        axes.scatter([], [], s=28, color="black", marker=marker, label=category)
    axes.axvline(tables.REAL_TIME_MS, color="0.3", ls="--", lw=1)
    axes.axhline(USEFUL_AUROC, color="0.3", ls=":", lw=1)
    axes.set_xscale("log")
    plain_numbers(axes.xaxis)
    right = max(cost.latency_ms.median for cost in costs) * 2
    axes.set_xlim(min(tables.REAL_TIME_MS / 2, *(c.latency_ms.median / 2 for c in costs)), right)
    axes.set_ylim(0, 108)
    axes.text(
        tables.REAL_TIME_MS * 1.03,
        2,
        f"{tables.REAL_TIME_MS} ms: the slides' real time",
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


def roofline(costs: Sequence[Efficiency]) -> Figure:
    """Measured latency against counted arithmetic, and the floor: that arithmetic at the rate of a
    large matrix product on this device."""
    costs = [cost for cost in costs if cost.peak_gflop_s]
    if not costs:
        return empty("No costs with this device's peak rate: `make bench` measures both.")
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
            form = tables.FORM_TITLES.get(cost.form, cost.form)
            title = f"{preset(cost.preset).title}, {form}"
        axes.errorbar(
            cost.gflop,
            latency.median,
            [[latency.median - latency.low], [latency.high - latency.median]],
            color=PALETTE[which % len(PALETTE)],
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


def empty(reason: str) -> Figure:
    """What stands for a figure that cannot be drawn: why."""
    figure, axes = subplots(figsize=(8, 1.6))
    axes.axis("off")
    axes.text(0.5, 0.5, wrapped(reason, 90), ha="center", va="center", fontsize=9)
    return figure


@dataclass(frozen=True)
class NoiseMaps:
    """Two draws of a source on one image.

    Attributes:
        title: of the source.
        first, second: (h, w, C) noise.
        features: (h, w, C) what it is added to.
    """

    title: str
    first: NDArray
    second: NDArray
    features: NDArray


def noise_maps(image: NDArray[np.uint8], sources: Sequence[NoiseMaps], caption: str) -> Figure:
    """Where a source puts how much noise on an image, and how much of it chance decides."""
    figure, grid = subplots(len(sources), 3, figsize=(8.6, 1.9 * len(sources) + 0.9), squeeze=False)
    for row, source in zip(grid, sources, strict=True):
        spread = source.features.std()
        size = np.sqrt((source.first**2).mean(-1)) / spread
        # Two draws that share nothing differ by √2 times their size.
        chance = np.sqrt(((source.first - source.second) ** 2).mean(-1) / 2) / spread
        row[0].imshow(image)
        top = max(size.max(), chance.max(), 1e-9)
        for axes, shown in ((row[1], size), (row[2], chance)):
            drawn = axes.imshow(shown, cmap="viridis", vmin=0, vmax=top)
            figure.colorbar(drawn, ax=axes, shrink=0.85).ax.tick_params(labelsize=7)
        row[0].set_ylabel(source.title, fontsize=8.5, rotation=0, ha="right", va="center")
        for axes in row:
            axes.set(xticks=[], yticks=[])
    titles = ("image", "noise, RMS over channels", "what differs by draw")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    figure.suptitle(
        f"Noise over one training image, in spreads of the features, all channels together\n"
        f"{wrapped(caption, 110)}",
        fontsize=9,
    )
    return figure


def panels(
    image: NDArray[np.uint8], mask: NDArray, answers: Sequence[Panel], heading: str, caption: str
) -> Figure:
    """One image under several configurations: image, ground truth, predicted mask, map, score.

    Args:
        image: (H, W, 3). mask: (H, W), 1 = defect.
    """
    figure, grid = subplots(
        len(answers), 4, figsize=(10.5, 2.45 * len(answers) + 0.9), squeeze=False
    )
    for row, answer in zip(grid, answers, strict=True):
        row[0].imshow(image)
        row[1].imshow(mask, cmap="gray", vmin=0, vmax=1)
        row[2].imshow(answer.anomaly_map > answer.threshold, cmap="gray", vmin=0, vmax=1)
        shown = row[3].imshow(answer.anomaly_map, cmap="inferno")
        bar = figure.colorbar(shown, ax=row[3], shrink=0.85)
        bar.ax.axhline(answer.threshold, color="black", lw=3)
        bar.ax.axhline(answer.threshold, color="white", lw=1.2)
        bar.ax.tick_params(labelsize=7)
        decision = "defective" if answer.score > answer.score_threshold else "good"
        row[0].set_ylabel(
            f"{wrapped(answer.title, 24)}\n\nscore {answer.score:.2f}\n"
            f"limit {answer.score_threshold:.2f}\n→ {decision}",
            fontsize=8.5,
            rotation=0,
            ha="right",
            va="center",
        )
        for axes in row:
            axes.set(xticks=[], yticks=[])
    titles = ("image", "ground truth", "predicted mask", "map (line: threshold)")
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=9)
    figure.suptitle(f"{heading}\n{wrapped(caption, 110)}", fontsize=9)
    return figure


def scores_by_defect(scores: Sequence[tuple[Outcome, pd.DataFrame]], caption: str) -> Figure:
    """Every test image's score, sound ones and each kind of defect in rows of their own, one panel
    a run; the dashed line is the run's own limit, which knows no test image.

    Args:
        scores: of each run, columns label, defect and score.
    """
    if not scores:
        return empty("No scores: none of these runs was made, see the tables above.")
    figure, grid = subplots(
        1, len(scores), figsize=(5.2 * len(scores), 4.0), sharey=True, squeeze=False
    )
    for axes, (outcome, table) in zip(grid[0], scores, strict=True):
        kinds = [*sorted(table[table["label"] == 1]["defect"].unique()), "good"]
        for row, kind in enumerate(kinds):
            part = table[table["defect"] == kind]["score"]
            # Spread evenly, not by chance, over the height of the row.
            heights = row + 0.3 * np.linspace(-1, 1, len(part)) if len(part) > 1 else [row]
            good = kind == "good"
            axes.scatter(
                part,
                heights,
                s=14,
                color=PALETTE[0 if good else 1],
                marker=MARKERS[0 if good else 1],
                facecolors="none" if good else None,
                linewidths=0.8,
            )
        limit = outcome.record.thresholds.score
        axes.axvline(limit, color="black", ls="--", lw=1.2)
        height, width = outcome.record.config.data.image_size
        title = (
            f"{preset(outcome.preset).title}\n{outcome.category}, {height}×{width} px, "
            f"{outcome.record.epochs_done} epochs; dashed: its limit, {limit:.3g}"
        )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("image score")
        axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(f"Scores by kind of defect\n{wrapped(caption, 110)}", fontsize=9)
    return figure


def subplots(*shape: int, figsize: tuple[float, float], **how: Any) -> tuple[Figure, Any]:
    """As `pyplot.subplots` does, without pyplot: no backend is loaded, and none stays open."""
    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(*shape, **how)


def alt_text(figure: Figure) -> str:
    """What a figure says in words: its heading, or else all that is written into its axes."""
    heading = figure.get_suptitle()
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    return "; ".join(" ".join(text.split()) for text in ([heading] if heading else written))


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis 20, not 2×10¹; between the decades only where there are few."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def legend(figure: Figure, row: Sequence[Axes]) -> None:
    """One legend below the figure for what any panel of the row shows."""
    unique = {}
    for axes in row:
        handles, labels = axes.get_legend_handles_labels()
        unique |= dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=3, fontsize=8)


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most that many characters."""
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))
