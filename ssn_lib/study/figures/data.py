"""Figures of the data: good and defective images, the defects outlined, with their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssn_lib.study.figures.drawing import headed, subplots

OUTLINE = "#ff00c8"  # of defects: a colour that no part has
ZOOM = 0.6  # side of a strip's enlarged square, in widths of the strip, where the defect is smaller


@dataclass(frozen=True)
class Examples:
    """Some images of one category.

    Attributes:
        title: whose images they are.
        counts: numbers of images by split and class.
        images: (H, W, 3) uint8 each. masks: (H, W) each, 1 = defect.
        kinds: of defect, or "good".
    """

    title: str
    counts: Mapping[str, int]
    images: Sequence[NDArray[np.uint8]]
    masks: Sequence[NDArray]
    kinds: Sequence[str]

    @property
    def numbers(self) -> list[str]:
        """The counts in words: `train, good: 209`."""
        return [f"{name}: {number}" for name, number in self.counts.items()]


def plates(categories: Sequence[Examples], caption: str) -> Figure:
    """A row of images for each category; defects are outlined."""
    columns = max(len(category.images) for category in categories)
    figure, grid = subplots(
        len(categories),
        columns,
        height=2.0 * len(categories),
        width=1.75 * columns + 1.4,
        squeeze=False,
    )
    for row, category in zip(grid, categories, strict=True):
        for axes in row[len(category.images) :]:
            axes.axis("off")
        shown = zip(row, category.images, category.masks, category.kinds, strict=False)
        for axes, image, mask, kind in shown:
            _draw(axes, image, mask)
            axes.set_title(kind, fontsize=9)
        row[0].set_ylabel(
            "\n".join([category.title, *category.numbers]),
            fontsize=8.5,
            rotation=0,
            ha="right",
            va="center",
            labelpad=8,
        )
    return headed(figure, "What is good, what is defective", caption)


def strips(examples: Examples, caption: str) -> Figure:
    """Long narrow images side by side, the defects outlined, and below each its defect enlarged."""
    columns = len(examples.images)
    height, width = examples.masks[0].shape
    tall = 1.25 * height / width
    figure, grid = subplots(
        2,
        columns,
        height=tall + 1.25 + 0.6,
        width=1.3 * columns + 0.3,
        squeeze=False,
        gridspec_kw={"height_ratios": [tall, 1.25]},
    )
    shown = zip(grid.T, examples.images, examples.masks, examples.kinds, strict=True)
    for (whole, near), image, mask, kind in shown:
        _draw(whole, image, mask, width=0.6)
        whole.set_title(kind if kind == "good" else "defective", fontsize=9)
        if not mask.any():
            near.axis("off")
            continue
        rows, places = _around(mask)
        near.imshow(image[rows, places])
        near.set(xticks=[], yticks=[])
        near.set_xlabel("the defect", fontsize=8)
    message = f"What is good, what is defective: {examples.title}"
    return headed(figure, message, f"{'; '.join(examples.numbers)}. {caption}")


def _draw(axes: Axes, image: NDArray[np.uint8], mask: NDArray, width: float = 1.1) -> None:
    """An image with the outline of its defect, a line of that width."""
    axes.imshow(image)
    if mask.any():
        axes.contour(mask, levels=[0.5], colors=OUTLINE, linewidths=width)
    axes.set(xticks=[], yticks=[])


def _around(mask: NDArray) -> tuple[slice, slice]:
    """The rows and columns of a square around a defect, within the image as far as it goes."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    width = mask.shape[1]
    side = int(max(np.ptp(rows) + 1, np.ptp(columns) + 1, ZOOM * width))
    side = min(side, width)

    def about(found: NDArray, length: int) -> slice:
        start = int((found[0] + found[-1] + 1 - side) / 2)
        start = min(max(start, 0), max(length - side, 0))
        return slice(start, start + side)

    return about(rows, mask.shape[0]), about(columns, width)
