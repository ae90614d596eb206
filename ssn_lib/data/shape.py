"""The size at which a user's own images are seen: in their own shape."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ssn_lib.config import IMAGE_STRIDE
from ssn_lib.data.decoding import displayed_size, in_threads
from ssn_lib.errors import InputError
from ssn_lib.storage import shown

SAME = 1.1  # shapes that differ by less are called the same


def in_shape(paths: Sequence[Path], pixels_of: tuple[int, int]) -> tuple[int, int]:
    """(height, width) with the shape of these images, about as many pixels as another size has,
    and sides that the backbone's layers divide.

    The shape is the median of their heights over their widths. One warning says how many are of
    another one, and so are stretched. Only headers are read; a file that cannot be read is passed
    over here, and named when it is read for its pixels.

    Args:
        paths: of the images.
        pixels_of: (height, width); given back where the shape is unknown or is that.
    """
    found = in_threads(_shape, paths)
    shapes = [(path, shape) for path, shape in zip(paths, found, strict=True) if shape]
    if not shapes:
        return pixels_of
    usual = median(shape for _, shape in shapes)
    area = pixels_of[0] * pixels_of[1]
    shorter = _side((area * min(usual, 1 / usual)) ** 0.5)
    longer = _side(area / shorter)
    size = (longer, shorter) if usual > 1 else (shorter, longer)
    others = [path for path, shape in shapes if _differ(shape, usual)]
    if others:
        number = f"{len(others)} images have" if len(others) > 1 else "1 image has"
        warnings.warn(
            f"{number} another shape than most and will be stretched to "
            f"{size[0]}×{size[1]} ({shown(others[0])}); cut them alike, or give --image-size",
            stacklevel=3,
        )
    return size


def is_stretched(path: Path, size: tuple[int, int]) -> bool:
    """Whether an image has another shape than that size (height, width), which it is resized to.
    One that cannot be read is not; whoever reads it says why.

    Args:
        path: of the image.
    """
    shape = _shape(path)
    return shape is not None and _differ(shape, size[0] / size[1])


def _differ(shape: float, other: float) -> bool:
    return not 1 / SAME < shape / other < SAME


def _shape(path: Path) -> float | None:
    """Height over width, as the image is shown."""
    try:
        width, height = displayed_size(path)
    except InputError:
        return None
    return height / width


def _side(length: float) -> int:
    return max(2 * IMAGE_STRIDE, round(length / IMAGE_STRIDE) * IMAGE_STRIDE)
