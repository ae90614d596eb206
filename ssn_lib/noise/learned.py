"""Noise from a network that learns it (Modification 2). Training only."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ssn_lib.config import GeneratorConfig, NoiseConfig
from ssn_lib.noise.source import Noise, Source, mean_square, register


@register("generator")
class Generator(Source):
    """A network from each pixel's adapted features (and random channels z) to its noise.

    The gradient runs through the noise into the adaptor as well: the public code detaches nothing.
    Both copies of an image get the same noise, each inside its own mask.

    Source: the slides' Modification 2; `GeneratorConfig` tells v1 from v2.
    """

    def __init__(self, config: NoiseConfig, channels: int):
        super().__init__(config, channels)
        settings: GeneratorConfig = config.generator
        self.beta, self.z_channels = settings.beta, settings.z_channels or 0
        half = channels // 2
        # The public code's 1×1 convolutions, on pixels as rows.
        self.layers = nn.Sequential(
            nn.Linear(channels + self.z_channels, half),
            nn.ReLU(inplace=True),
            nn.Linear(half, half),
            nn.ReLU(inplace=True),
            nn.Linear(half, channels),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_normal_(layer.weight)

    def forward(
        self, features: Callable[[], Tensor], pixels: Tensor, generator: torch.Generator
    ) -> Noise:
        """See `Source`."""
        everywhere = self.everywhere(features(), generator)
        return Noise(everywhere.index_select(0, pixels % len(everywhere)), mean_square(everywhere))

    def everywhere(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Noise of every pixel of adapted features (B, h, w, C), (B·h·w, C)."""
        rows = features.flatten(0, 2)
        if self.z_channels:
            z = torch.randn(
                (len(rows), self.z_channels), generator=generator, device=rows.device
            ).to(rows.dtype)
            rows = torch.cat((rows, z), dim=1)
        noise = self.layers(rows)
        return noise if self.beta is None else self.beta * torch.tanh(noise)
