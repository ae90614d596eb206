"""Where the noise of synthetic anomalies comes from: three sources behind one interface.

Training only: none of this is part of the network that is kept and run.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ssn_lib.config import NoiseConfig
from ssn_lib.fast.interpolation import Upscaled
from ssn_lib.fast.training_step import Affine, Dense, adapt
from ssn_lib.models.heads import LEAKY_SLOPE, SegmentationHead
from ssn_lib.models.supersimplenet import SuperSimpleNet
from ssn_lib.noise.learned import Generator
from ssn_lib.noise.source import Noise, Source, mean_square


class Gaussian(Source):
    """N(0, σ²), each pixel and copy on its own (Rolih et al., ICPR 2024)."""

    def forward(self, adapted: Affine | Dense, pixels: Tensor, generator: torch.Generator) -> Noise:
        """See `Source`."""
        shape = (len(pixels), self.channels)
        values = self.std(adapted) * torch.randn(shape, generator=generator, device=pixels.device)
        return Noise(values, mean_square(values))


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
        return Noise(noise, mean_square(noise))


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
