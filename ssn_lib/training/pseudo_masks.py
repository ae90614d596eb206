"""Masks made of the maps of a network that saw labels alone, for another one to learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

MAP_QUANTILE = 0.999  # of defect-free training images' pixels: above it a pixel is suspect
PEAK_SHARE = 0.5  # a confident pixel lies above this share of the way from there to the peak
SURROUNDINGS = 5  # a pixel's surroundings are a square of that part of the image's shorter side


def pseudo_masks(maps: Tensor, labels: Tensor) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Masks from confident activations, for images whose label alone is known.

    A pixel of a defective image is marked where its value lies above half of the way from the
    99.9th percentile of the defect-free images' pixels to the image's own peak. An image whose peak
    does not exceed that percentile gets no mask: the map has not found its defect.

    Args:
        maps: of training images, (N, 1, H, W) raw. labels: (N,) 0/1.

    Returns:
        Masks (N, 1, H, W) 0/1, and (N,) whether the image is a defective one that got one.
    """
    values, defective = maps.numpy(), labels.numpy() == 1
    suspect = np.quantile(values[~defective], MAP_QUANTILE)
    peaks = values.max(axis=(1, 2, 3))
    confident = defective & (peaks > suspect)
    limits = suspect + PEAK_SHARE * (peaks - suspect)
    masks = (values > limits[:, None, None, None]) & confident[:, None, None, None]
    return masks.astype(np.uint8), confident


def agreement(masks: NDArray, truth: NDArray) -> dict[str, float]:
    """How well masks agree with drawn ones, all pixels together; both mark something.

    Args:
        masks, truth: of one shape, 0/1.

    Returns:
        {"precision", "recall", "IoU"} in percent; IoU is intersection over union.
    """
    both = np.logical_and(masks, truth).sum()
    parts = {"precision": masks, "recall": truth, "IoU": np.logical_or(masks, truth)}
    return {name: 100 * both / np.count_nonzero(part) for name, part in parts.items()}


def trace(region: NDArray[np.bool_], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A suspect region to the pixels that set it apart, followed beyond its border.

    A class activation map says where a defect is, but is as coarse as its features; how wide the
    defect is, the image says. Otsu's threshold of the contrast inside the region tells the defect
    from the ground caught with it. From there the mask grows along neighbours, down to half of
    what that threshold lies above the image's median (hysteresis, as in Canny's edges).

    Defects that do not differ in colour from their surroundings are not traced by this.

    Args:
        region: (H, W). image: (3, H, W) RGB.

    Returns:
        (H, W); the region itself where no pixel in it stands out.
    """
    from skimage.filters import threshold_otsu  # tracing alone needs scikit-image

    contrasts = contrast(image)
    high = threshold_otsu(contrasts[region])
    low = (np.median(contrasts) + high) / 2
    pieces, _ = ndimage.label(contrasts > low, structure=np.ones((3, 3)))
    seeds = np.unique(pieces[region & (contrasts > high)])
    return np.isin(pieces, seeds[seeds > 0]) if seeds.any() else region


def contrast(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How far the colour of every pixel lies from the median of its surroundings, smoothed.

    Args:
        image: (3, H, W) RGB.

    Returns:
        (H, W), in grey levels.
    """
    from skimage.filters import rank

    side = max(3, min(image.shape[1:]) // SURROUNDINGS | 1)
    square = np.ones((side, side), dtype=bool)
    around = np.stack([rank.median(channel, square) for channel in image])
    difference = np.linalg.norm(image.astype(np.float64) - around, axis=0)
    return ndimage.gaussian_filter(difference, sigma=1)
