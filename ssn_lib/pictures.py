"""Images, maps and masks side by side: what a notebook shows of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ssn_lib.errors import InputError

OUTLINES = ("#d7191c", "#00e5ff")  # of an image's first mask and its second
WIDTH, HEIGHT = 1.75, 2.0  # of a picture with its title, in inches


def picture_grid(
    pictures: Sequence[ArrayLike],
    titles: Sequence[str],
    *,
    outlines: Sequence[Sequence[ArrayLike]] | None = None,
    columns: int = 6,
    heading: str = "",
) -> Figure:
    """Pictures in rows, each below its title.

    Args:
        pictures: tensors or arrays. (3, H, W) of 0 to 255 is an image, (H, W) a map of numbers,
            drawn between its own lowest and highest value with a colour bar that says them.
        titles: one for each.
        outlines: for each picture up to two masks (H, W), drawn as a red and a light blue line
            around what is not 0.
        columns: pictures in a row.
        heading: above them all, what they show together.

    Raises:
        InputError: a picture of another shape, no pictures, or not a title for each.
    """
    arrays = [np.asarray(picture) for picture in pictures]
    masks = outlines if outlines is not None else [()] * len(arrays)
    if not arrays or len({len(arrays), len(titles), len(masks)}) > 1:
        raise InputError(
            f"{len(arrays)} pictures, {len(titles)} titles, {len(masks)} outlines: expected one "
            "title for each picture, and outlines for each or none"
        )
    columns = min(columns, len(arrays))
    rows = math.ceil(len(arrays) / columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    if heading:
        figure.suptitle(heading, fontsize=9)
    for place, (array, title, around) in enumerate(zip(arrays, titles, masks, strict=True), 1):
        axes = figure.add_subplot(rows, columns, place)
        if array.ndim == 3 and len(array) == 3:
            axes.imshow(array.transpose(1, 2, 0).astype(np.uint8))
        elif array.ndim == 2:
            drawn = axes.imshow(array, cmap="viridis")
            bar = figure.colorbar(drawn, ax=axes, location="bottom", shrink=0.9, aspect=14)
            bar.ax.tick_params(labelsize=6)
            bar.ax.locator_params(nbins=3)
        else:
            raise InputError(f"picture {array.shape}: expected (3, H, W) or (H, W)")
        for mask, colour in zip(around, OUTLINES, strict=False):
            marked = np.asarray(mask) != 0
            if marked.any() and not marked.all():
                axes.contour(marked, levels=[0.5], colors=colour, linewidths=1.2)
        axes.set_title(title, fontsize=8)
        axes.set_axis_off()
    return figure
