"""Where synthetic anomalies lie: Perlin masks. Training only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ssn_lib.config import NoiseConfig
from ssn_lib.errors import InputError

PERLIN_EXPONENTS = 6  # scales 2^0 … 2^5 per axis
EMPTY_PROBABILITY = 0.5


class Placement(NamedTuple):
    """Where a duplicated batch (both copies one after the other) gets synthetic anomalies.

    Attributes:
        pixels: (M,) the feature pixels that get noise: positions in (2B, h, w), flattened.
        masks: (2B, 1, h, w) float 0/1, real and synthetic defects.
        labels: (2B,) float 0/1.
    """

    pixels: Tensor
    masks: Tensor
    labels: Tensor


def perlin_masks(
    batch: int,
    size: tuple[int, int],
    threshold: float = 0.2,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Thresholded Perlin noise, each sample's mask empty with probability one half.

    Every sample draws its own scales (2^U{0..5}, per axis). The noise is made on the next power of
    two of `size` and resized bilinearly, as in the public code, which makes one mask after another.

    Args:
        batch: number of masks B.
        size: (h, w) of a mask.
        threshold: a pixel is 1 where the noise exceeds it.
        generator: sole source of randomness; the masks are made on its device.

    Returns:
        (B, 1, h, w) float32, 0/1.

    Raises:
        InputError: fewer masks than none, or a side without pixels.

    Source: Perlin 1985 with quintic fade; Zavrtanik et al., DSR, ECCV 2022; Rolih et al. 2024.
    """
    _check(batch, size)
    device = generator.device if generator is not None else torch.device("cpu")
    finest = 2 ** (PERLIN_EXPONENTS - 1)
    power = tuple(1 << max(1, (int(side) - 1).bit_length()) for side in size)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=device)

    # On a small grid a cell is one pixel or less: the noise is then zero, as in the public code.
    exponents = [
        torch.randint(PERLIN_EXPONENTS, (batch, 1), generator=generator, device=device)
        for _ in power
    ]
    angles = 2 * math.pi * draw(batch, finest + 1, finest + 1)
    empty = draw(batch) > EMPTY_PROBABILITY
    gradients = torch.stack((angles.cos(), angles.sin()))  # (2, B, 33, 33)

    # In cells, (B, H) and (B, W); powers of two, so exact. A coarse one uses a corner of the grid.
    rows = torch.arange(power[0], device=device) * 2.0 ** exponents[0] / power[0]
    columns = torch.arange(power[1], device=device) * 2.0 ** exponents[1] / power[1]
    top, left = rows.floor(), columns.floor()
    y, x = (rows - top)[:, :, None], (columns - left)[:, None, :]
    sample = torch.arange(batch, device=device)[:, None, None]

    def corner(down: int, right: int) -> Tensor:
        """The gradient at one corner of each pixel's cell, times the way from there: (B, H, W)."""
        i, j = (top.long() + down)[:, :, None], (left.long() + right)[:, None, :]
        return gradients[0, sample, i, j] * (y - down) + gradients[1, sample, i, j] * (x - right)

    upper = torch.lerp(corner(0, 0), corner(0, 1), _fade(x))
    lower = torch.lerp(corner(1, 0), corner(1, 1), _fade(x))
    noise = math.sqrt(2) * torch.lerp(upper, lower, _fade(y))
    noise = F.interpolate(noise[:, None], size=size, mode="bilinear", align_corners=False)
    return ((noise > threshold) & ~empty[:, None, None, None]).float()


def _check(batch: int, size: object) -> None:
    sides = list(size) if isinstance(size, Sequence) else []
    if batch < 0 or len(sides) != 2 or min(sides) < 1:
        raise InputError(
            f"perlin_masks: {batch} masks of {size}; must be 0 or more, of (height, width) pixels"
        )


def place(
    masks: Tensor, labels: Tensor, config: NoiseConfig, generator: torch.Generator
) -> Placement:
    """Choose the pixels that get noise in a batch that is about to be duplicated.

    Args:
        masks: (B, 1, h, w) 0/1, real defects: noise never lies on them.
        labels: (B,) 0/1.
        config: `mask` says where the noise lies.
        generator: sole source of randomness, on the masks' device.

    Source: Rolih et al., ICPR 2024, section 3.3; "half" masks: Liu et al., SimpleNet, CVPR 2023.
    """
    batch, _, height, width = masks.shape
    if config.mask == "perlin":
        where = perlin_masks(2 * batch, (height, width), config.perlin_threshold, generator)
    else:
        where = torch.ones((2 * batch, 1, height, width), device=masks.device)
        where[:batch] = 0
    masks, labels = torch.cat((masks, masks)).float(), torch.cat((labels, labels)).float()
    where = where * (1 - masks)
    synthetic = where.flatten(1).any(dim=1).float()
    return Placement(
        where.flatten().nonzero()[:, 0],
        torch.maximum(masks, where),
        torch.maximum(labels, synthetic),
    )


def _fade(t: Tensor) -> Tensor:
    return t**3 * (t * (t * 6 - 15) + 10)
