"""Figures of maps, of noise and of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssn_lib.data.registry import images_title
from ssn_lib.runs.record import Outcome
from ssn_lib.study import systems
from ssn_lib.study.figures.drawing import MARKERS, PALETTE, NotDrawn, subplots, wrapped


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


def scores_by_defect(
    scores: Sequence[tuple[Outcome, pd.DataFrame]], caption: str
) -> Figure | NotDrawn:
    """Every test image's score, sound ones and each kind of defect in rows of their own, one panel
    a run; the dashed line is the run's own limit, which knows no test image.

    Args:
        scores: of each run, columns label, defect and score.
    """
    if not scores:
        return NotDrawn("No scores: none of these runs was made, see the tables above.")
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
            f"{systems.title(outcome.preset)}\n"
            f"{images_title(outcome.category)}, {height}×{width} px, "
            f"{outcome.record.epochs_done} epochs; dashed: its limit, {limit:.3g}"
        )
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("image score")
        axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
        axes.grid(alpha=0.3, axis="x")
    figure.suptitle(f"Scores by kind of defect\n{wrapped(caption, 110)}", fontsize=9)
    return figure
