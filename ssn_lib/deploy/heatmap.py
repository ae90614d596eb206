"""An anomaly map over its image: the overlay beside the scores, and both small for the page."""

from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit

OVERLAY_OPACITY = 0.55
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 160, 75  # pixels of the longer side, JPEG's quality
SMALL_MAP_SIDE = 32
# In logits on both sides of the threshold. Beyond it, sigmoid(map − threshold), which colours the
# overlay, differs from 0 or 1 by less than a grey level.
MAP_SPREAD = 6.0


def heatmap(image: NDArray[np.uint8], anomaly_map: NDArray, threshold: float) -> NDArray[np.uint8]:
    """The map over the image, coloured by sigmoid(map − threshold), so images compare.

    Nothing is laid over it where that is below 1/4; the opacity is half of `OVERLAY_OPACITY` at
    the threshold, and all of it from 3/4 on.

    Args:
        image: (H, W, 3). anomaly_map: (H, W), raw logits. threshold: on it, in logits.

    Returns:
        (H, W, 3).
    """
    colour, opacity = np.split(laid_over(anomaly_map, threshold), [3], axis=-1)
    return ((1 - opacity) * image + opacity * colour * 255).round().astype(np.uint8)


def laid_over(anomaly_map: NDArray, threshold: float) -> NDArray[np.float64]:
    """What `heatmap` lays over an image.

    Args:
        anomaly_map: (...), raw logits. threshold: on it, in logits.

    Returns:
        (..., 4): red, green, blue and opacity, from 0 to 1.
    """
    strength = expit(anomaly_map - threshold)
    opacity = OVERLAY_OPACITY * np.clip(2 * strength - 0.5, 0, 1)
    return np.concatenate([colormaps["inferno"](strength)[..., :3], opacity[..., None]], axis=-1)


def thumbnail(image: NDArray[np.uint8]) -> str:
    """An image, (H, W, 3), as a data URI of a small JPEG; one that is small is not enlarged."""
    small, file = Image.fromarray(image), io.BytesIO()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BICUBIC)
    small.save(file, format="JPEG", quality=THUMBNAIL_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def map_range(threshold: float) -> tuple[float, float]:
    """What is 0 and what is 255 in the small maps of a run: the same for all its images, so that
    they compare.

    Args:
        threshold: the run's, on the map, in logits.
    """
    return threshold - MAP_SPREAD, threshold + MAP_SPREAD


def small_map(anomaly_map: NDArray, threshold: float) -> str:
    """A map as base64 of 32×32 uint8, row by row; see `map_range` for their scale.

    Each value is the highest of the pixels that it stands for: a small defect stays.

    Args:
        anomaly_map: (H, W), raw logits. threshold: on it, in logits.
    """
    import torch  # here: the page, which has its colours from this module, waits for no PyTorch
    from torch.nn.functional import adaptive_max_pool2d

    highest = adaptive_max_pool2d(torch.from_numpy(anomaly_map)[None, None], SMALL_MAP_SIDE)
    low, high = map_range(threshold)
    grey = ((highest - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)
    return base64.b64encode(grey.numpy().tobytes()).decode()
