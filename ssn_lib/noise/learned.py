"""Noise from a network that learns it, and how it learns (Modification 2). Training only."""

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

    def rule(self, detector: list[nn.Parameter]) -> Adversary:
        """See `Source`."""
        return Adversary(self.config.generator, list(self.parameters()), detector)

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


class Adversary:
    """A generator against the detector: `GeneratorConfig.update`; see `UpdateRule`.

    The published rules run the backward pass once with each sign and clear too little or too late
    between them, so that gradients cancel. v1: only the generator's are cleared; the detector's are
    +g − g, and it never learns. v2, in its generator's batches: nothing is cleared; of the
    generator's objective only the magnitude's gradient is left, and the heads get none. The public
    code also counts its batches anew in every epoch.

    The cancellation is exact where the backward pass is deterministic, as it is on a CPU.
    """

    def __init__(
        self, config: GeneratorConfig, generator: list[nn.Parameter], detector: list[nn.Parameter]
    ):
        self.config, self.generator, self.detector = config, generator, detector
        # As in the public code: AdamW's default weight decay, and no schedule.
        self.optimiser = torch.optim.AdamW(generator, lr=config.lr)

    def backward_and_update(
        self, loss: Tensor, power: Tensor, batch: int, batch_of_training: int
    ) -> bool:
        """See `UpdateRule`."""
        update, detector, generator = self.config.update, self.detector, self.generator
        self.optimiser.zero_grad(set_to_none=True)
        objective = self.config.magnitude_weight * power - loss
        counted = batch_of_training if update == "alternating" else batch
        if counted % self.config.period:
            loss.backward(inputs=detector)
            return True
        if update == "alternating":
            objective.backward(inputs=generator)
        elif update == "simultaneous":
            loss.backward(inputs=detector, retain_graph=True)
            objective.backward(inputs=generator)
        else:  # as published: both passes reach everything
            loss.backward(inputs=detector + generator, retain_graph=True)
            if update == "v1_published":
                self.optimiser.zero_grad(set_to_none=True)
            objective.backward(inputs=detector + generator)
        self.optimiser.step()
        return update != "alternating"
