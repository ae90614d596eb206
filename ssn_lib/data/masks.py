"""Masks of defects: which pixels of a file are marked, and that at the size of a network's map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ssn_lib.data.decoding import (
    SEVERAL_PAGES,
    Picture,
    Remarks,
    as_rgb,
    decode,
    displayed_size,
    is_turned_within,
)
from ssn_lib.errors import InputError
from ssn_lib.storage import shown

# What is said of masks that are used all the same; see `Remarks`.
MARKS_NOTHING = "masks of defective images that mark nothing"
MARKS_ALL = "masks of defective images that mark every pixel (0 must mean sound)"
UNTURNED = (
    "masks without an orientation tag, of images with one: taken as drawn on the image as viewers "
    "show it"
)
JPEG_NOISE = 1 / 6  # of the highest value: what compression may leave beside a marked pixel


def read_whole_mask(
    path: Path, image_path: Path, remarks: Remarks | None = None
) -> NDArray[np.bool_]:
    """Where a mask file marks a defect, (H, W) of its own size, turned as viewers show it.

    A pixel is marked where
    - a palette image has another index than 0, whatever their colours;
    - alpha is above 0, if alpha varies and the colour does not;
    - else, any channel is not 0 (1, 8, 16 or 32 bits, floating point), and alpha neither if it
      varies. An alpha that is the same everywhere marks nothing.
    In a JPEG, values up to a sixth of the highest are taken for its compression's.

    Args:
        remarks: takes what is to be said of the file; None: nothing is said.

    Raises:
        InputError: naming the file, when it cannot be read or is not of its image's size.
    """
    picture = decode(path)
    if picture.pages > 1 and remarks is not None:
        remarks.add(SEVERAL_PAGES, path, f" ({picture.pages})")
    mask, image = picture.image.size, displayed_size(image_path)
    if mask != image:
        advice = "save the mask at its image's size"
        if mask == image[::-1]:
            advice = "turn the mask as its image is shown, and give it no orientation tag"
        raise InputError(
            f"mask {shown(path)} is {mask[1]}×{mask[0]} pixels (height×width), its image "
            f"{shown(image_path)} {image[1]}×{image[0]}: {advice}"
        )
    if remarks is not None and is_turned_within(image_path) and not is_turned_within(path):
        remarks.add(UNTURNED, path)
    return _marked(picture)


def shrunk(mask: NDArray[np.bool_], image_size: tuple[int, int]) -> Tensor:
    """A mask as (H, W) uint8, 1 where at least half of a pixel's area is marked.

    A mask that is too thin for that everywhere keeps every pixel it touches, so that no image loses
    its defect. Thin parts beside larger ones are lost.
    """
    height, width = image_size
    whole = Image.fromarray(255 * mask.astype(np.uint8))
    area = np.array(whole.resize((width, height), Image.Resampling.BOX))
    marked = area >= 128
    return torch.from_numpy((marked if marked.any() else area > 0).astype(np.uint8))


def remark_on(mask: NDArray[np.bool_], path: Path, remarks: Remarks) -> None:
    """Note a defective image's mask that marks nothing, or everything.

    Args:
        mask: (H, W).
        path: of its file.
        remarks: where it is noted.
    """
    if not mask.any():
        remarks.add(MARKS_NOTHING, path)
    elif mask.all():
        remarks.add(MARKS_ALL, path)


def is_black(path: Path) -> bool:
    """Whether a mask marks nothing.

    Raises:
        InputError: naming the file, when it cannot be read.
    """
    return not _marked(decode(path)).any()


def _marked(picture: Picture) -> NDArray[np.bool_]:
    """See `read_whole_mask`."""
    colours, alpha = _channels(picture)
    if picture.lossy:
        noise = JPEG_NOISE * max(channel.max() for channel in colours)
        coloured = np.logical_or.reduce([channel > noise for channel in colours])
    else:
        coloured = np.logical_or.reduce([channel != 0 for channel in colours])
    if alpha is None or alpha.min() == alpha.max():
        return coloured
    if all(channel.min() == channel.max() for channel in colours):
        return alpha > 0
    return coloured & (alpha > 0)


def _channels(picture: Picture) -> tuple[list[NDArray], NDArray | None]:
    """Colours, (H, W) each, a palette's indices for one, and alpha (H, W) if there is any."""
    image = picture.image
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):  # whose black is not 0
        image = as_rgb(image)
    colours = list(np.moveaxis(np.atleast_3d(np.asarray(image)), 2, 0))
    alpha = colours.pop() if image.getbands()[-1] in ("A", "a") else None
    if picture.deep is not None:
        colours = list(np.moveaxis(np.atleast_3d(picture.deep), 2, 0))
    return colours, alpha
