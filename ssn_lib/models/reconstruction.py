"""Feature reconstruction: a decoder gives the backbone's features back, and fails on what is new.

All layers are squeezed through a bottleneck on half of the coarsest one's grid and rebuilt from it,
the coarsest first. Trained on sound images alone, the decoder learns what their features look like
given what is around them. With φ_l the output of layer l, φ̂_l what came back, both at one place of
its grid, and d_l the standard deviations of its channels over the training images,

    e_l = ‖φ_l − φ̂_l‖² / ‖d_l‖²        M = Σ_l e_l:

the error as a share of the layer's variance, and the map, its sum over the layers. No synthetic
anomalies, no noise.

Sources: the squared error of features, Shi et al., DFR: Deep Feature Reconstruction, Neurocomputing
424, 2021; the bottleneck in space and the rebuilding from coarse to fine, Deng and Li, Anomaly
Detection via Reverse Distillation, CVPR 2022. Differs from the latter: the squared error instead of
the cosine, and a decoder no larger than the adaptor and heads whose place it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_SHARE = 0.01  # of a layer's largest deviation; in the study's photographs all are larger


class Decoder(nn.Module):
    """Layers (B, C_l, h_l, w_l), the finest first, to the map M (B, 1, h_1, w_1).

    Args:
        channels: C_l.
        width: hidden channels at the coarsest layer; half as many at each finer one.
    """

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        self.standards = nn.ModuleList(StandardScaler(count) for count in channels)
        self.mix = convolution(sum(channels), width, kernel=1)
        self.squeeze = convolution(width, width, stride=2)
        widths = [width, *(width >> step for step in range(len(channels)))]
        # From the coarsest layer to the finest, as they are rebuilt.
        self.stages = nn.ModuleList(
            nn.Sequential(convolution(before, after), _Residual(after))
            for before, after in pairwise(widths)
        )
        self.outs = nn.ModuleList(
            nn.Conv2d(hidden, wanted, kernel_size=1)
            for hidden, wanted in zip(widths[1:], reversed(channels), strict=True)
        )

    def forward(self, layers: Sequence[Tensor]) -> Tensor:
        """See the class."""
        return sum_of(self.errors(layers))

    def errors(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """e_l of every layer, (B, 1, h_l, w_l)."""
        targets = [standard(layer) for standard, layer in zip(self.standards, layers, strict=True)]
        return [
            standard.squared(rebuilt.float() - layer)
            for standard, rebuilt, layer in zip(
                self.standards, self.rebuild(targets), targets, strict=True
            )
        ]

    def rebuild(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """Standardised layers to what is left of them behind the bottleneck, likewise."""
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

    def standardise(self, layers: Sequence[Tensor]) -> None:
        """Take over the channels' means and deviations from all training images' layers."""
        for standard, layer in zip(self.standards, layers, strict=True):
            standard.learn(layer)


def sum_of(errors: Sequence[Tensor]) -> Tensor:
    """The map M of the layers' errors (B, 1, h_l, w_l), on the finest one's grid."""
    total, *coarser = errors
    for error in coarser:
        total = total + F.interpolate(
            error, size=total.shape[-2:], mode="bilinear", align_corners=False
        )
    return total


def loss_of(errors: Sequence[Tensor]) -> Tensor:
    """Σ_l mean(e_l): of a decoder that knows nothing but the means, the number of layers."""
    return torch.stack([error.mean() for error in errors]).sum()


def top_mean(maps: Tensor, share: float) -> Tensor:
    """Final maps (B, 1, H, W) to scores (B,): the mean of the highest pixels, so that no single
    peak decides.

    Args:
        share: of the pixels; one of them at least.
    """
    flat = maps.flatten(1)
    return flat.topk(max(1, round(share * flat.shape[1])), dim=1).values.mean(1)


class StandardScaler(nn.Module):
    """(B, C, h, w) to the same with mean 0 and deviation 1 in every channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("std", torch.ones(channels, 1, 1))

    def forward(self, layer: Tensor) -> Tensor:
        """See the class."""
        return (layer - self.mean) / self.std

    def learn(self, layer: Tensor) -> None:
        """Take the statistics of (N, C, h, w).

        A deviation counts as `LEAST_SHARE` of the largest at least: even surfaces have channels
        that are always 0, and the first time that one is not, it would come in as thousands.
        """
        std, mean = torch.std_mean(layer, dim=(0, 2, 3), correction=0)
        self.mean.copy_(mean[:, None, None])
        self.std.copy_(std.clamp(min=LEAST_SHARE * std.max())[:, None, None])

    def squared(self, difference: Tensor) -> Tensor:
        """The squared length of a standardised difference in the layer's own units, (B, 1, h, w),
        as a share of its variance."""
        shares = self.std.square() / self.std.square().sum()
        return (shares * difference.square()).sum(1, keepdim=True)


class _Residual(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolutions = nn.Sequential(
            convolution(channels, channels),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, hidden: Tensor) -> Tensor:
        return F.relu(hidden + self.convolutions(hidden))


def convolution(before: int, after: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution, BatchNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )
