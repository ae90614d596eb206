"""The size at which a user's own images are seen: in their own shape."""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ssn_lib.checks import nearest_side
from ssn_lib.data.decoding import displayed_size, in_threads
from ssn_lib.errors import InputError
from ssn_lib.storage import shown

SAME = 1.1  # shapes that differ by less are called the same
LONGEST = 2.0  # times the pixels that are wanted: no more, however long an image is


def in_shape(
    trained: Sequence[Path], tested: Sequence[Path], pixels_of: tuple[int, int]
) -> tuple[int, int]:
    """(height, width) with the commonest shape of the training images, about as many pixels as
    another size has, and sides that the backbone's layers divide.

    One warning says how many images are of another shape, and so are stretched. Only headers are
    read; a file that cannot be read is passed over here, and named when it is read for its pixels.

    Args:
        trained, tested: the images.
        pixels_of: (height, width); given back where no shape is known.
    """
    shapes = {path: shape for path, shape in _shapes([*trained, *tested]).items() if shape}
    usual = _commonest([shapes[path] for path in trained if path in shapes])
    if usual is None:
        return pixels_of
    area = pixels_of[0] * pixels_of[1]
    long = max(usual, 1 / usual)
    shorter = nearest_side((area / long) ** 0.5)
    longer = nearest_side(min(shorter * long, LONGEST * area / shorter))
    height, width = (longer, shorter) if usual > 1 else (shorter, longer)
    others = [path for path, shape in shapes.items() if _differ(shape, height / width)]
    if others:
        warnings.warn(
            f"{len(others)} of {len(shapes)} images are stretched to {height}×{width} pixels "
            f"(height×width), as their shape is another: {shown(others[0])}, for one; crop them "
            "alike, or train on each shape by itself",
            stacklevel=3,
        )
    return height, width


def is_stretched(path: Path, size: tuple[int, int]) -> bool:
    """Whether an image has another shape than that size (height, width), which it is resized to.
    One that cannot be read is not; whoever reads it says why.

    Args:
        path: of the image.
    """
    shape = _shape(path)
    return shape is not None and _differ(shape, size[0] / size[1])


def _shapes(paths: Sequence[Path]) -> dict[Path, float | None]:
    return dict(zip(paths, in_threads(_shape, paths), strict=True))


def _shape(path: Path) -> float | None:
    """Height over width, as the image is shown."""
    try:
        width, height = displayed_size(path)
    except InputError:
        return None
    return height / width


def _commonest(shapes: Sequence[float]) -> float | None:
    """The middle of those that most others are the same as; None of none."""
    if not shapes:
        return None
    ordered = sorted(shapes)

    def alike(shape: float) -> list[float]:
        return ordered[bisect_right(ordered, shape / SAME) : bisect_left(ordered, shape * SAME)]

    return median(max(map(alike, dict.fromkeys(ordered)), key=len))


def _differ(shape: float, other: float) -> bool:
    return not 1 / SAME < shape / other < SAME
