"""Where the noise of synthetic anomalies comes from: three sources behind one interface.

Training only: none of this is part of the network that is kept and run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ssn_lib.config import GeneratorConfig, NoiseConfig
from ssn_lib.model import LEAKY_SLOPE, SegmentationHead, SuperSimpleNet
from ssn_lib.split import Affine, Dense, adapt
from ssn_lib.upscaled import Upscaled


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


class Gaussian(Source):
    """N(0, σ²), each pixel and copy on its own (Rolih et al., ICPR 2024)."""

    def forward(self, adapted: Affine | Dense, pixels: Tensor, generator: torch.Generator) -> Noise:
        """See `Source`."""
        shape = (len(pixels), self.channels)
        values = self.std(adapted) * torch.randn(shape, generator=generator, device=pixels.device)
        return Noise(values, _power(values))


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

    def forward(self, adapted: Affine | Dense, pixels: Tensor, generator: torch.Generator) -> Noise:
        """See `Source`."""
        everywhere = self.everywhere(adapted, generator)
        return Noise(everywhere.index_select(0, pixels % len(everywhere)), _power(everywhere))

    def everywhere(self, adapted: Affine | Dense, generator: torch.Generator) -> Tensor:
        """Noise of every pixel before the batch is duplicated, (B·h·w, C)."""
        rows = adapted.values().flatten(0, 2)
        if self.z_channels:
            z = torch.randn(
                (len(rows), self.z_channels), generator=generator, device=rows.device
            ).to(rows.dtype)
            rows = torch.cat((rows, z), dim=1)
        noise = self.layers(rows)
        return noise if self.beta is None else self.beta * torch.tanh(noise)


class Ascent(Source):
    """Gaussian noise moved to where the segmentation head finds the feature normal.

    A few steps of fixed length along the gradient of the loss of an anomalous pixel, that is
    against the gradient of its logit; then its length is brought into the shell around the normal
    feature. See `AscentConfig` for the source.
    """

    def __init__(self, config: NoiseConfig, channels: int, head: SegmentationHead):
        super().__init__(config, channels)
        self._head = [head]  # in a list: it is not a part of this module

    @torch.no_grad()
    def forward(self, adapted: Affine | Dense, pixels: Tensor, generator: torch.Generator) -> Noise:
        """See `Source`."""
        settings, std = self.config.ascent, self.std(adapted)
        radius = std * math.sqrt(self.channels)
        rows = adapted.values().flatten(0, 2)
        normal = rows[pixels % len(rows)]
        noise = std * torch.randn(normal.shape, generator=generator, device=normal.device)
        noise = noise.to(normal.dtype)
        for _ in range(settings.steps):
            downhill = -_logit_gradient(self._head[0], normal + noise)
            noise += settings.step_size * radius * nn.functional.normalize(downhill)
        shortest, longest = (radius * bound for bound in settings.shell)
        length = noise.norm(dim=1, keepdim=True)
        noise *= length.clamp(shortest, longest) / length.clamp(min=torch.finfo(noise.dtype).tiny)
        return Noise(noise, _power(noise))


def make_source(config: NoiseConfig, model: SuperSimpleNet, seed: int) -> Source:
    """The source that a configuration asks for; a generator's weights depend on `seed` alone."""
    channels = sum(model.backbone.channels)
    if config.source == "generator":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Generator(config, channels)
    if config.source == "none":
        return Source(config, channels)
    if config.source == "ascent":
        return Ascent(config, channels, model.seg_head)
    return Gaussian(config, channels)


@torch.no_grad()
def look(
    source: Source, model: SuperSimpleNet, images: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Noise over whole images, and the features it is added to.

    Args:
        images: normalised, (B, 3, H, W).

    Returns:
        Noise and adapted features, (B, h, w, C) each, on the CPU.
    """
    features = Upscaled(model.backbone(images), model.config.upscale, model.config.align_corners)
    adapted = adapt(model.adaptor, features)
    values = adapted.values()
    pixels = torch.arange(values[..., 0].numel(), device=values.device)
    return source(adapted, pixels, generator).values.view(values.shape).cpu(), values.cpu()


def _logit_gradient(head: SegmentationHead, rows: Tensor) -> Tensor:
    """(M, C): how the logit of each pixel changes with its features, by the running statistics."""
    first, normalise, _, last = head
    scale = normalise.weight * torch.rsqrt(normalise.running_var + normalise.eps)
    weight, out = scale[:, None] * first.weight[:, :, 0, 0], last.weight[0, :, 0, 0]
    bias = scale * (first.bias - normalise.running_mean) + normalise.bias
    hidden = nn.functional.linear(rows, weight, bias)
    return torch.where(hidden > 0, out, LEAKY_SLOPE * out) @ weight


def _power(noise: Tensor) -> Tensor:
    return noise.square().sum() / max(1, noise.numel())
