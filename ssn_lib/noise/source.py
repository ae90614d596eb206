"""What every source of noise is: adapted features in, noise out. Training only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ssn_lib.config import NoiseConfig
from ssn_lib.fast.training_step import Affine, Dense


class Noise(NamedTuple):
    """What a source gives.

    Attributes:
        values: (M, C), for the pixels asked for.
        power: its mean square, over all pixels for a generator, else over those asked for.
    """

    values: Tensor
    power: Tensor


class Source(nn.Module):
    """Adapted features in, noise out; a source that learns is trained by `training`. This class
    itself, for trainings without noise, gives none.

    Args:
        config: which noise.
        channels: C of the features.
    """

    def __init__(self, config: NoiseConfig, channels: int):
        super().__init__()
        self.config, self.channels = config, channels

    def forward(self, adapted: Affine | Dense, pixels: Tensor, generator: torch.Generator) -> Noise:
        """Noise for some pixels of a duplicated batch.

        Args:
            adapted: features of the batch before it is duplicated, (B, h, w, C).
            pixels: (M,) positions in (2B, h, w), flattened.
            generator: sole source of randomness.
        """
        raise NotImplementedError

    @torch.no_grad()
    def std(self, adapted: Affine | Dense) -> float | Tensor:
        """σ of the Gaussian noise, in the features' units."""
        if self.config.std_unit == "absolute":
            return self.config.std
        return self.config.std * adapted.values().std()  # on its device, which need not wait


def mean_square(noise: Tensor) -> Tensor:
    """Of all values; 0 where there are none."""
    return noise.square().sum() / max(1, noise.numel())
