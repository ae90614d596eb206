"""Defects imitated in sound images: to choose between recipes without a look at the test set.

Each image gets one to three, small, and where the image has structure rather than on an even
background. They are a yardstick, made alike for every recipe; nothing is trained on them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ssn_lib.data.images import ImageSet

RADII = (0.012, 0.07)  # of a defect, shortest and longest, in shorter sides of the image
MOST = 3  # defects in an image
VISIBLE = 6.0  # grey levels, smoothed: a pixel that differs by more is marked
BACKGROUND = 0.1  # share of the mean gradient that every place has
Image = NDArray[np.float64]  # (3, H, W), 0 to 255


def beside_defects(sound: ImageSet, seed: int) -> ImageSet:
    """Sound images and, behind them, the same with defects."""
    spoiled, masks = with_defects(sound.images, seed)
    # The path marks that there is a mask, which is in memory: see `Sample.mask`.
    defective = (replace(s, label=1, defect="imitated", mask=s.image) for s in sound.samples)
    return ImageSet.of(
        (*sound.samples, *defective),
        torch.cat((sound.images, spoiled)),
        torch.cat((torch.zeros_like(masks), masks)),
    )


def with_defects(images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Sound images (N, 3, H, W) uint8 with defects, and masks of these (N, 1, H, W) uint8.

    Kinds: a part that is bent, one from elsewhere or from another image, a stain, a scratch. Every
    mask marks something.
    """
    draw = np.random.default_rng(seed)
    spoiled, masks = torch.empty_like(images), torch.zeros_like(images[:, :1])
    for index, image in enumerate(images.numpy().astype(np.float64)):
        other = images[draw.integers(len(images))].numpy().astype(np.float64)
        visible = np.zeros(image.shape[1:], bool)
        while not visible.any():
            spoilt = image
            for _ in range(draw.integers(1, MOST + 1)):
                spoilt = _spoil(spoilt, other, draw)
            difference = np.abs(spoilt - image).max(axis=0)
            visible = ndimage.gaussian_filter(difference, 1.0) > VISIBLE
        spoiled[index] = torch.from_numpy(spoilt.round().astype(np.uint8))
        masks[index, 0] = torch.from_numpy(visible.astype(np.uint8))
    return spoiled, masks


def _spoil(image: Image, other: Image, draw: np.random.Generator) -> Image:
    """The image with one defect more."""
    shorter = min(image.shape[1:])
    radius = shorter * np.exp(draw.uniform(*np.log(RADII)))
    place = _place(image, draw)
    kind = draw.choice(("bent", "foreign", "stain", "scratch"))
    if kind == "bent":
        return _bent(image, place, radius, draw)
    if kind == "foreign":
        source = image if draw.random() < 0.5 else other
        away = np.subtract(place, _place(source, draw))
        put = np.roll(source, away, axis=(1, 2)) + draw.uniform(-20, 20)
        where = _blob(image.shape[1:], place, radius, draw)
    else:
        contrast = draw.choice((-1, 1)) * draw.uniform(15, 90)
        put = image + contrast * (1 + 0.3 * _smooth(image.shape[1:], 2.0, draw))
        if kind == "stain":
            where = _blob(image.shape[1:], place, radius, draw)
        else:
            where = _stroke(image.shape[1:], place, 2 * radius, draw)
    return (image + where * (put - image)).clip(0, 255)


def _bent(image: Image, place: tuple[int, int], radius: float, draw: np.random.Generator) -> Image:
    where = _blob(image.shape[1:], place, radius, draw)
    strength = draw.uniform(0.15, 0.6) * radius
    grid = np.indices(image.shape[1:])
    moved = [axis + strength * where * _smooth(axis.shape, radius / 2, draw) for axis in grid]
    return np.stack(
        [ndimage.map_coordinates(channel, moved, order=1, mode="reflect") for channel in image]
    )


def _place(image: Image, draw: np.random.Generator) -> tuple[int, int]:
    """Row and column of a pixel, the likelier the more the image changes around it."""
    change = ndimage.gaussian_gradient_magnitude(image.mean(axis=0), 2.0)
    change = ndimage.uniform_filter(change, 9)
    weights = (change + BACKGROUND * change.mean() + 1e-9).ravel()
    chosen = draw.choice(weights.size, p=weights / weights.sum())
    row, column = divmod(int(chosen), image.shape[2])
    return row, column


def _turned(
    shape: tuple[int, ...], place: tuple[int, int], draw: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """Coordinates along two axes through a place, at a random angle."""
    angle = draw.uniform(0, np.pi)
    rows, columns = np.indices(shape)
    y, x = rows - place[0], columns - place[1]
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _blob(
    shape: tuple[int, ...], place: tuple[int, int], radius: float, draw: np.random.Generator
) -> NDArray:
    """A soft, ragged ellipse, (H, W) from 0 to 1."""
    along, across = _turned(shape, place, draw)
    long, short = radius * draw.uniform(0.5, 2.0, 2)
    ragged = 0.25 * _smooth(shape, max(1.0, radius / 3), draw)
    return np.clip((1.2 - np.hypot(along / long, across / short) - ragged) / 0.4, 0, 1)


def _stroke(
    shape: tuple[int, ...], place: tuple[int, int], length: float, draw: np.random.Generator
) -> NDArray:
    """A thin bent line, (H, W) from 0 to 1."""
    along, across = _turned(shape, place, draw)
    across = across + draw.uniform(-1, 1) / max(length, 1.0) * along**2
    thin = np.clip(1.5 - np.abs(across) / draw.uniform(0.8, 3.5), 0, 1)
    return thin * (np.abs(along) < length)


def _smooth(shape: tuple[int, ...], sigma: float, draw: np.random.Generator) -> NDArray:
    """Smooth noise of mean 0 and deviation 1."""
    noise = ndimage.gaussian_filter(draw.standard_normal(shape), sigma, mode="wrap")
    return noise / max(noise.std(), 1e-9)
