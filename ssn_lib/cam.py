"""Class activation maps: where a classifier that saw image labels alone finds the defect.

With A_k the 128 feature maps of the head and w_k the weights of its linear layer,

    M(i, j) = Σ_k w_k A_k(i, j)        s = pool(M) + bias.

With global average pooling (GAP) as the pool this is the published head: s = Σ_k w_k · mean(A_k) +
bias, because the mean and the sum over k commute. The maximum, which does not commute, is taken of
M itself, so that map and score agree there too.

Sources: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, eq. 1 and
2; the slides' Modification 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from ssn_lib.metrics import Metrics, pixel_metrics

CLS_CHANNELS = 128
MAP_QUANTILE = 0.999  # of defect-free training images' pixels: above it a pixel is suspect
PEAK_SHARE = 0.5  # a confident pixel lies above this share of the way from there to the peak
SURROUNDINGS = 5  # a pixel's surroundings are a square of that part of the image's shorter side


class CamHead(nn.Module):
    """Adapted features (B, C, h, w) to the activation map (B, 1, h, w) and score logits (B,).

    Args:
        channels: C.
        pooling: "mean", "max" or "mixed"; see `ModelConfig.cam_pooling`.
    """

    def __init__(self, channels: int, pooling: str):
        super().__init__()
        self.pooling = pooling
        self.conv = nn.Sequential(
            nn.Conv2d(channels, CLS_CHANNELS, kernel_size=5, padding=2),
            nn.BatchNorm2d(CLS_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(CLS_CHANNELS, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        cam = self.activation(self.conv(features))
        return cam, self.score(cam)

    def activation(self, hidden: Tensor) -> Tensor:
        """The convolution block's output (B, 128, h, w) to M (B, 1, h, w)."""
        return torch.einsum("bkhw,ok->bohw", hidden, self.fc.weight)

    def score(self, cam: Tensor) -> Tensor:
        """M (B, 1, h, w) to score logits (B,)."""
        return pool(cam, self.pooling) + self.fc.bias


def pool(cam: Tensor, pooling: str) -> Tensor:
    """A map (B, 1, h, w) to one number an image, (B,)."""
    if pooling == "mean":
        return cam.mean((1, 2, 3))
    if pooling == "max":
        return cam.amax((1, 2, 3))
    return (cam.mean((1, 2, 3)) + cam.amax((1, 2, 3))) / 2


def sigmoid_metrics(maps: Tensor, masks: Tensor) -> Metrics:
    """Localisation as published: of the float32 sigmoid of raw activations.

    From about 17 on a float32 sigmoid is exactly 1, so the strongest pixels, the defect's among
    them, tie. `saturated` is their share in percent.

    Args:
        maps: final maps (N, 1, H, W), raw. masks: (N, 1, H, W) 0/1.

    Returns:
        {"sigmoid-P-AUROC", "sigmoid-AUPRO", "sigmoid-AP-loc", "saturated"}.
    """
    squashed = torch.sigmoid(maps.float())
    result = Metrics({})
    result.add(pixel_metrics(squashed.numpy(), masks.numpy()), "sigmoid-")
    result["saturated"] = 100 * (squashed == 1).float().mean().item()
    return result


def over_flips(maps_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The mean of the maps of an image, its mirror images and itself turned round, turned back.

    Args:
        maps_of: images (N, 3, H, W) to maps (N, 1, H, W).
    """
    total = None
    for axes in ((), (-1,), (-2,), (-2, -1)):
        part = maps_of(images.flip(axes)).flip(axes)
        total = part if total is None else total + part
    return total / 4


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


def agreement(found: NDArray, truth: NDArray) -> dict[str, float]:
    """How well masks agree with drawn ones, all pixels together; both mark something.

    Args:
        found, truth: of one shape, 0/1.

    Returns:
        {"precision", "recall", "IoU"} in percent; IoU is intersection over union.
    """
    both = np.logical_and(found, truth).sum()
    parts = {"precision": found, "recall": truth, "IoU": np.logical_or(found, truth)}
    return {name: 100 * both / np.count_nonzero(part) for name, part in parts.items()}


def trace(region: NDArray[np.bool_], image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A suspect region to the pixels that set it apart, followed beyond its border.

    A class activation map says where a defect is, but is as coarse as its features; how wide the
    defect is, the image says. Otsu's threshold of the contrast inside the region tells the defect
    from the ground caught with it. From there the mask grows along neighbours, down to half of
    what that threshold lies above the image's median (hysteresis, as of Canny's edges).

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
