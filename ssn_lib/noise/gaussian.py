"""Gaussian noise, as published. Training only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ssn_lib.noise.source import Noise, Source, mean_square, register


@register("gaussian")
class Gaussian(Source):
    """N(0, σ²), each pixel and copy on its own (Rolih et al., ICPR 2024)."""

    def forward(
        self, features: Callable[[], Tensor], pixels: Tensor, generator: torch.Generator
    ) -> Noise:
        """See `Source`."""
        shape = (len(pixels), self.channels)
        values = self.std(features) * torch.randn(shape, generator=generator, device=pixels.device)
        return Noise(values, mean_square(values))
