"""Reverse distillation: a decoder gives the backbone's features back, and fails where they are odd.

All layers are squeezed through a bottleneck on half of the coarsest one's grid and rebuilt from it,
the coarsest first. Trained on sound images alone, the decoder learns what their features look like
given what is around them. Of a defect it gives back something else, and the angle between the two
is the map:

    M(p) = Σ_l d_l(p),        d_l = 1 − ⟨f_l, g_l⟩ / (‖f_l‖ ‖g_l‖),

with f_l the features of layer l at a pixel, g_l what the decoder made of them, and d_l brought to
the grid of the finest layer. No synthetic anomalies, no noise.

Source: Deng and Li, Anomaly Detection via Reverse Distillation from One-Class Embedding, CVPR 2022,
eq. 1 to 4. Differs: the bottleneck is one convolution of pooled layers, and the decoder is about as
large as the adaptor and heads whose place it takes, in place of a mirrored ResNet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Decoder(nn.Module):
    """Layers (B, C_l, h_l, w_l), the finest first, to what they should have been, likewise.

    Args:
        channels: C_l.
        width: hidden channels at the coarsest layer; half as many at each finer one.
    """

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        self.mix = _convolution(sum(channels), width, kernel=1)
        self.squeeze = _convolution(width, width, stride=2)
        widths = [width, *(width >> step for step in range(len(channels)))]
        # From the coarsest layer to the finest, as they are rebuilt.
        self.stages = nn.ModuleList(
            nn.Sequential(_convolution(before, after), _Residual(after))
            for before, after in pairwise(widths)
        )
        self.outs = nn.ModuleList(
            nn.Conv2d(hidden, wanted, kernel_size=1)
            for hidden, wanted in zip(widths[1:], reversed(channels), strict=True)
        )

    def forward(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """See the class."""
        pooled = layers[0]
        for coarser in layers[1:]:
            while pooled.shape[-2:] != coarser.shape[-2:]:
                # Half the side, rounded up, as a stage of the backbone does it.
                pooled = F.avg_pool2d(pooled, 2, ceil_mode=True, count_include_pad=False)
            pooled = torch.cat((pooled, coarser), dim=1)
        hidden = self.squeeze(self.mix(pooled))
        rebuilt = []
        for layer, stage, out in zip(reversed(layers), self.stages, self.outs, strict=True):
            hidden = stage(F.interpolate(hidden, size=layer.shape[-2:], mode="nearest"))
            rebuilt.append(out(hidden))
        return rebuilt[::-1]


def discrepancy(layers: Sequence[Tensor], rebuilt: Sequence[Tensor]) -> Tensor:
    """The map M on the grid of the finest layer, (B, 1, h_1, w_1), from 0 to twice the layers."""
    total = torch.zeros_like(layers[0][:, :1])
    for layer, given in zip(layers, rebuilt, strict=True):
        angle = 1 - F.cosine_similarity(layer, given, dim=1)[:, None]
        total = total + F.interpolate(
            angle, size=total.shape[-2:], mode="bilinear", align_corners=False
        )
    return total


def distillation_loss(layers: Sequence[Tensor], rebuilt: Sequence[Tensor]) -> Tensor:
    """Mean over the images of Σ_l 1 − cos, each layer of an image taken as one long vector, so that
    pixels count by their length.

    Source: the paper takes the mean over pixels (eq. 2), its public code this.
    """
    cosines = [
        F.cosine_similarity(layer.flatten(1), given.flatten(1), dim=1)
        for layer, given in zip(layers, rebuilt, strict=True)
    ]
    return torch.stack([1 - cosine for cosine in cosines]).sum(0).mean()


class _Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            _convolution(channels, channels),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        return F.relu(hidden + self.convolutions(hidden))


def _convolution(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
