"""The input size for a user's own images: of the training images' commonest aspect ratio."""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ssn_lib.checks import nearest_side
from ssn_lib.data.decoding import displayed_size, in_threads
from ssn_lib.errors import InputError
from ssn_lib.storage import shown

SAME_RATIO = 1.1  # aspect ratios that differ by less are called the same
FAR_RATIO = 1.25  # from which on a size that others chose is remarked on; strips differ by 1.1
MOST_AREA = 2.0  # times the wanted number of pixels, at most, however elongated an image is


def in_shape(
    trained: Sequence[Path], tested: Sequence[Path], pixels_of: tuple[int, int]
) -> tuple[int, int]:
    """(height, width) with the commonest shape of the training images, about as many pixels as
    another size has, and sides that `check_image_size` allows.

    One warning says how many images are of another shape, and so are stretched. Only headers are
    read; a file that cannot be read is passed over here, and named when it is read for its pixels.

    Args:
        trained, tested: the images.
        pixels_of: (height, width); given back where no shape is known.
    """
    ratios = {path: one for path, one in _aspect_ratios([*trained, *tested]).items() if one}
    usual = _commonest([ratios[path] for path in trained if path in ratios])
    if usual is None:
        return pixels_of
    area = pixels_of[0] * pixels_of[1]
    long = max(usual, 1 / usual)
    shorter = nearest_side((area / long) ** 0.5)
    longer = nearest_side(min(shorter * long, MOST_AREA * area / shorter))
    height, width = (longer, shorter) if usual > 1 else (shorter, longer)
    others = [path for path, ratio in ratios.items() if _differ(ratio, height / width)]
    if others:
        warnings.warn(
            f"{len(others)} of {len(ratios)} images are stretched to {height}×{width} pixels "
            f"(height×width), as their shape is another: {shown(others[0])}, for one; crop them "
            "alike, or train on each shape by itself",
            stacklevel=3,
        )
    return height, width


def warn_of_stretched(paths: Sequence[Path], size: tuple[int, int]) -> None:
    """Say how many images are of quite another shape than the size that they are resized to.

    Args:
        paths: of the images, of which only headers are read.
        size: (height, width).
    """
    ratios = _aspect_ratios(paths)
    wanted = size[0] / size[1]
    others = [path for path, one in ratios.items() if one and _differ(one, wanted, FAR_RATIO)]
    if others:
        warnings.warn(
            f"{len(others)} of {len(paths)} images are stretched to {size[0]}×{size[1]} pixels "
            f"(height×width), as their shape is another: {shown(others[0])}, for one; give a size "
            "of their shape with --image-size HEIGHT WIDTH",
            stacklevel=3,
        )


def is_stretched(path: Path, size: tuple[int, int]) -> bool:
    """Whether an image has another shape than that size (height, width), which it is resized to.
    One that cannot be read is not; whoever reads it says why.

    Args:
        path: of the image.
    """
    return resized(path, size).stretched


class Resized(NamedTuple):
    """What becomes of an image that is brought to a size: whether it had another shape, and whether
    it had less than half of that size on both sides."""

    stretched: bool = False
    enlarged: bool = False


def resized(path: Path, size: tuple[int, int]) -> Resized:
    """What becomes of an image; of one that cannot be read nothing, whoever reads it says why.

    Args:
        path: of the image, of which only the header is read.
        size: (height, width).
    """
    try:
        width, height = displayed_size(path)
    except InputError:
        return Resized()
    stretched = _differ(height / width, size[0] / size[1])
    return Resized(stretched, 2 * height < size[0] and 2 * width < size[1])


def _aspect_ratios(paths: Sequence[Path]) -> dict[Path, float | None]:
    return dict(zip(paths, in_threads(_aspect_ratio, paths), strict=True))


def _aspect_ratio(path: Path) -> float | None:
    """Height over width, as the image is shown."""
    try:
        width, height = displayed_size(path)
    except InputError:
        return None
    return height / width


def _commonest(ratios: Sequence[float]) -> float | None:
    """The middle of those that most others are the same as; None of none."""
    if not ratios:
        return None
    ordered = sorted(ratios)

    def alike(ratio: float) -> list[float]:
        low, high = ratio / SAME_RATIO, ratio * SAME_RATIO
        return ordered[bisect_right(ordered, low) : bisect_left(ordered, high)]

    return median(max(map(alike, dict.fromkeys(ordered)), key=len))


def _differ(ratio: float, other: float, most: float = SAME_RATIO) -> bool:
    return not 1 / most < ratio / other < most
