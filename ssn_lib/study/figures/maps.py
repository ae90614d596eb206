"""Figures of maps, of noise and of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from ssn_lib.data.registry import images_title
from ssn_lib.runs.record import Outcome
from ssn_lib.study.figures.drawing import (
    SMALL,
    WIDTH,
    NotDrawn,
    headed,
    key,
    legend,
    subplots,
    swarm,
    trained,
    wrapped,
)
from ssn_lib.study.systems import colour, short, title

EDGE = [withStroke(linewidth=2.0, foreground="black")]  # so that a line is seen on any ground
TRUTH = {"color": "cyan", "ls": (0, (3, 1.5)), "lw": 1.0}
FOUND = {"color": "white", "ls": "-", "lw": 1.0}
MEETS = 0.5  # of the union: an outline that overlaps so much with a defect shows where it is


@dataclass(frozen=True)
class Panel:
    """One configuration's answer to one image.

    Attributes:
        title: of the configuration, with its training where these differ.
        anomaly_map: (H, W), as the network gives it.
        threshold: on the map.
        score, score_threshold: of the image.
    """

    title: str
    anomaly_map: NDArray
    threshold: float
    score: float
    score_threshold: float

    def overlap(self, mask: NDArray) -> float:
        """Intersection over union of what lies above the threshold with the defect (H, W)."""
        found, truth = self.anomaly_map > self.threshold, mask > 0.5
        return float((found & truth).sum() / max((found | truth).sum(), 1))


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

    @property
    def size(self) -> NDArray:
        """(h, w) root mean square over the channels, in spreads of the features."""
        return np.sqrt((self.first**2).mean(-1)) / self.features.std()

    @property
    def chance(self) -> NDArray:
        """(h, w) likewise, of what differs by draw: two draws that share nothing differ by √2 times
        their size."""
        return np.sqrt(((self.first - self.second) ** 2).mean(-1) / 2) / self.features.std()


def noise_maps(image: NDArray[np.uint8], sources: Sequence[NoiseMaps], caption: str) -> Figure:
    """Where a source puts how much noise on an image, and how much of it chance decides."""
    figure, grid = subplots(len(sources), 3, height=1.7 * len(sources) + 0.4, squeeze=False)
    for row, source in zip(grid, sources, strict=True):
        row[0].imshow(image)
        top = max(source.size.max(), source.chance.max(), 1e-9)
        for axes, shown in ((row[1], source.size), (row[2], source.chance)):
            drawn = axes.imshow(shown, cmap="viridis", vmin=0, vmax=top)
            figure.colorbar(drawn, ax=axes, shrink=0.85).ax.tick_params(labelsize=SMALL)
        row[0].set_ylabel(
            wrapped(source.title, 24), rotation=0, ha="right", va="center", size=SMALL
        )
        for axes in row:
            axes.set(xticks=[], yticks=[])
    for axes, told in zip(grid[0], ("image", "noise", "of it, by chance"), strict=True):
        axes.set_title(told, fontsize=SMALL + 1)
    shares = [(100 * one.chance.mean() / max(one.size.mean(), 1e-9), one.title) for one in sources]
    (least, low), (most, high) = min(shares), max(shares)
    between = f"{least:.0f} % ({low})" + (f" to {most:.0f} % ({high})" if len(shares) > 1 else "")
    return headed(
        figure,
        f"Chance decides {between} of the noise",
        "Noise on one training image: root mean square over channels, in spreads of the features; "
        f"by chance: what differs from draw to draw. {caption}",
    )


def maps_over_images(
    images: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray],
    answers: Sequence[Sequence[Panel]],
    caption: str,
) -> Figure:
    """Every system's map over each image, and below it the defect from near, with what lies above
    the map's threshold and the true defect outlined.

    Args:
        images: (H, W, 3). masks: (H, W), 1 = defect. answers: of every image, a panel a system.
    """
    group = 1 + len(answers[0])
    tall = masks[0].shape[0] / masks[0].shape[1]
    groups = max(1, (9 if tall > 1.5 else 6) // group)  # of an image and its maps, side by side
    columns = group * min(groups, len(images))
    bands = -(-len(images) // groups)
    side = min(WIDTH / columns, 2.4)
    lines = 1 + max(len(_told(panel, side).splitlines()) for panel in answers[0])
    figure, grid = subplots(
        2 * bands,
        columns,
        height=bands * (side * (tall + 1) + 0.14 * lines) + 0.55,
        squeeze=False,
        height_ratios=[tall, 1] * bands,
    )
    for axes in grid.flat:
        axes.set_axis_off()
    for which, (image, mask, panels) in enumerate(zip(images, masks, answers, strict=True)):
        band, place = divmod(which, groups)
        cells = grid[2 * band : 2 * band + 2, place * group : (place + 1) * group]
        box = _near(mask)
        _show(cells[:, 0], image, mask, box, None)
        cells[0, 0].set_title("image", fontsize=SMALL)
        for column, panel in zip(cells[:, 1:].T, panels, strict=True):
            _show(column, image, mask, box, panel)
            column[0].set_title(_told(panel, side), fontsize=SMALL)
    keys = [
        key("the true defect", path_effects=EDGE, **TRUTH),
        key("above the map's threshold", path_effects=EDGE, **FOUND),
        key("enlarged below", marker="s", mfc="none", mec="black", ls="none"),
        key(
            "colour: the map, each with its own range; above: image score and its limit", ls="none"
        ),
    ]
    legend(figure, [], keys)
    return headed(figure, _best_outline(masks, answers), caption)


def _told(panel: Panel, side: float) -> str:
    """What stands above a map that many inches wide."""
    name = wrapped(panel.title, max(int(side / 0.068), 8))
    decision = "defective" if panel.score > panel.score_threshold else "sound"
    score = f"{panel.score:.2f}, limit {panel.score_threshold:.2f}".replace("-", "−")
    return f"{name}\n{score}\n→ {decision}"


def _near(mask: NDArray) -> tuple[int, int, int]:
    """Left, top and side of a square around a mask's defect, within the image."""
    rows, columns = np.nonzero(mask > 0.5)
    height, width = mask.shape
    if not len(rows):
        return 0, 0, min(height, width)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    side = int(np.clip(1.6 * extent, min(height, width) / 5, min(height, width)))
    left, top = (
        int(np.clip((part.min() + part.max() - side) / 2, 0, whole - side))
        for part, whole in ((columns, width), (rows, height))
    )
    return left, top, side


def _show(
    pair: Sequence[Axes],
    image: NDArray,
    mask: NDArray,
    box: tuple[int, int, int],
    panel: Panel | None,
) -> None:
    """The whole image with a map over it, and from near without; outlines in both. Without a panel
    nothing is drawn over what is near."""
    left, top, side = box
    for axes in pair:
        axes.imshow(image)
        if panel is None and axes is pair[1]:
            continue
        axes.contour(mask, [0.5], colors=TRUTH["color"], linestyles=[TRUTH["ls"]],
                     linewidths=TRUTH["lw"]).set_path_effects(EDGE)  # fmt: skip
        if panel is not None:
            found = panel.anomaly_map
            if axes is pair[0]:
                axes.imshow(found, cmap="inferno", alpha=0.6)
            if found.min() < panel.threshold < found.max():
                # Dashes are matplotlib's own for levels below 0.
                axes.contour(found, [panel.threshold], colors=FOUND["color"], linestyles="-",
                             linewidths=FOUND["lw"]).set_path_effects(EDGE)  # fmt: skip
    if panel is None:
        frame = Rectangle((left - 0.5, top - 0.5), side, side, fc="none", ec="black", lw=0.8)
        pair[0].add_patch(frame)
    pair[1].set(xlim=(left - 0.5, left + side - 0.5), ylim=(top + side - 0.5, top - 0.5))


def _best_outline(masks: Sequence[NDArray], answers: Sequence[Sequence[Panel]]) -> str:
    """Whose outlines agree best with the defects of these images, and whose least."""
    agreed = [
        (fmean(one.overlap(mask) for one, mask in zip(own, masks, strict=True)), own[0].title)
        for own in zip(*answers, strict=True)
    ]
    (least, worst), (most, best) = min(agreed), max(agreed)
    if most == 0:
        return "What lies above the thresholds nowhere meets the defect"
    which = f"the defects of {len(masks)} images" if len(masks) > 1 else "this defect"
    if most < MEETS:
        # A wide outline of the whole defect and a narrow one of its ends may have one overlap, so
        # among such small ones nothing is ranked.
        share = f"{100 * least:.0f} to {100 * most:.0f}" if len(agreed) > 1 else f"{100 * most:.0f}"
        return f"Above the thresholds no outline meets {which} well: overlap {share} % of the union"
    told = f"{best} outlines {which} best: overlap {100 * most:.0f} %"
    return f"{told} of the union; {worst}: {100 * least:.0f} %" if len(agreed) > 1 else told


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
    figure, grid = subplots(1, len(scores), height=3.9, sharey=True, squeeze=False)
    for axes, (outcome, table) in zip(grid[0], scores, strict=True):
        kinds = [*sorted(table[table["label"] == 1]["defect"].unique()), "good"]
        limit = outcome.record.thresholds.score
        ends = [*table["score"], limit]
        room = 0.04 * (max(ends) - min(ends))
        axes.set_xlim(min(ends) - room, max(ends) + room)
        for row, kind in enumerate(kinds):
            look = {"facecolors": "none", "edgecolors": "0.25"} if kind == "good" else {}
            look |= {} if look else {"color": colour(outcome.preset), "marker": "s"}
            swarm(axes, table[table["defect"] == kind]["score"].tolist(), row, **look)
        axes.axvline(limit, color="black", ls="--", lw=1.2)
        told = f"{images_title(outcome.category)}, {trained(outcome.record)}"
        axes.set_title(f"{title(outcome.preset)}\n{told}", fontsize=SMALL + 1)
        axes.set_xlabel("image score")
        axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
        axes.grid(visible=False, axis="y")
    marks = {"ls": "none", "ms": 4}
    keys = [
        key("sound image", marker="o", mfc="none", **marks),
        key("defective image", marker="s", **marks),
        key("the system's own limit", ls="--", color="black", lw=1.2),
    ]
    legend(figure, [], keys)
    return headed(figure, _found(scores), caption)


def _found(scores: Sequence[tuple[Outcome, pd.DataFrame]]) -> str:
    """How many defective images each system finds at its own limit, with how many false alarms."""
    parts = []
    for outcome, table in scores:
        called = table["score"] > outcome.record.thresholds.score
        bad = table["label"] == 1
        parts.append(
            f"{short(outcome.preset)} {(called & bad).sum()} of {bad.sum()} defective and "
            f"{(called & ~bad).sum()} of {(~bad).sum()} sound images"
        )
    return f"Called defective, each by its own limit: {'; '.join(parts)}"
