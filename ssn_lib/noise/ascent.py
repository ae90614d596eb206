"""Noise by gradient ascent on the feature itself, without a network. Training only."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ssn_lib.config import NoiseConfig
from ssn_lib.models.heads import LEAKY_SLOPE, SegmentationHead
from ssn_lib.models.supersimplenet import AdaptedDetector
from ssn_lib.noise.source import Noise, Source, mean_square, register


@register("ascent")
class Ascent(Source):
    """Gaussian noise moved to where the segmentation head finds the feature normal.

    A few steps of fixed length along the gradient of the loss of an anomalous pixel, that is
    against the gradient of its logit; then its length is brought into the shell around the normal
    feature. See `AscentConfig` for the source.
    """

    def __init__(self, config: NoiseConfig, channels: int, head: SegmentationHead):
        super().__init__(config, channels)
        self._head = [head]  # in a list: it is not a part of this module

    @classmethod
    def of(cls, config: NoiseConfig, model: AdaptedDetector) -> Ascent:
        """See `Source`."""
        return cls(config, sum(model.backbone.channels), model.seg_head)

    @torch.no_grad()
    def forward(
        self, features: Callable[[], Tensor], pixels: Tensor, generator: torch.Generator
    ) -> Noise:
        """See `Source`."""
        adapted = features()
        settings, std = self.config.ascent, self.std(lambda: adapted)
        radius = std * math.sqrt(self.channels)
        rows = adapted.flatten(0, 2)
        normal = rows[pixels % len(rows)]
        noise = std * torch.randn(normal.shape, generator=generator, device=normal.device)
        noise = noise.to(normal.dtype)
        for _ in range(settings.steps):
            downhill = -_logit_gradient(self._head[0], normal + noise)
            noise += settings.step_size * radius * F.normalize(downhill)
        shortest, longest = (radius * bound for bound in settings.shell)
        length = noise.norm(dim=1, keepdim=True)
        noise *= length.clamp(shortest, longest) / length.clamp(min=torch.finfo(noise.dtype).tiny)
        return Noise(noise, mean_square(noise))


def _logit_gradient(head: SegmentationHead, rows: Tensor) -> Tensor:
    """(M, C): how the logit of each pixel changes with its features, by the running statistics."""
    first, normalise, _, last = head
    scale = normalise.weight * torch.rsqrt(normalise.running_var + normalise.eps)
    weight, out = scale[:, None] * first.weight[:, :, 0, 0], last.weight[0, :, 0, 0]
    bias = scale * (first.bias - normalise.running_mean) + normalise.bias
    hidden = F.linear(rows, weight, bias)
    return torch.where(hidden > 0, out, LEAKY_SLOPE * out) @ weight
