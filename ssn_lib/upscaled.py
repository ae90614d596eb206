"""Upscaled features as what they are: a linear map of the backbone's small outputs.

Upscaling and pooling act along rows and columns, a convolution's weights act on channels, and the
two commute. So a convolution of the upscaled features is: multiply channels at low resolution, then
interpolate what comes out. The features at full size are never built, and the arithmetic is several
times less. Shared by training (`split`) and by folded inference.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

POOL = 3  # neighbourhood over which features are averaged


class Upscaled:
    """The features that `SuperSimpleNet.upscale` would build, kept at the backbone's resolution.

    Args:
        layers: stage outputs (B, C_l, h_l, w_l), the finest first.
        scale: the grid (H, W) is `scale` × the first layer's.
        align_corners: of the bilinear upscaling.
    """

    def __init__(self, layers: list[Tensor], scale: int, align_corners: bool):
        self.layers = [layer.permute(0, 2, 3, 1).contiguous() for layer in layers]
        height, width = layers[0].shape[-2:]
        self.size = (scale * height, scale * width)

        def matrix(short: int, long: int) -> Tensor:
            return upscaling_matrix(short, long, align_corners).to(layers[0])

        self.rows = [matrix(layer.shape[2], self.size[0]) for layer in layers]
        self.columns = [matrix(layer.shape[3], self.size[1]) for layer in layers]

    def __len__(self) -> int:
        return len(self.layers[0])

    def conv(self, weight: Tensor) -> Tensor:
        """Convolution of the features with (K, C, k, k), k odd, zero padding: (B, H, W, K)."""
        return _Convolution.apply(weight, self)


def upscaling_matrix(short: int, long: int, align_corners: bool) -> Tensor:
    """(long, short) float64: bilinear upscaling along one axis, then the 3-tap average.

    The average counts the zero padding, as in the public code: features fade towards the border.
    """
    basis = torch.eye(short, dtype=torch.float64)[None]
    upscaled = F.interpolate(basis, size=long, mode="linear", align_corners=align_corners)
    return F.avg_pool1d(upscaled, POOL, stride=1, padding=POOL // 2)[0].T.contiguous()


class _Convolution(torch.autograd.Function):
    """`Upscaled.conv`, differentiable in the weight (the backbone is frozen).

    out = Σ_l Σ_dy Σ_dx  S_dy A_l (L_l W_l,dy,dx) (S_dx B_l)ᵀ, where S shifts with zeros. A few
    images at a time: what is between the products then stays in a CPU's cache.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, features: Upscaled) -> Tensor:
        kernels, _, _, taps = weight.shape
        (height, width), count = features.size, len(features)
        out = weight.new_empty(count, height, width, kernels)
        parts = _parts(weight, features)
        for images in _chunks(out):
            n = images.stop - images.start
            rows = out[images].view(n * height, width, kernels)
            for position, (layer, w, down, across) in enumerate(parts):
                h, small = layer.shape[1:3]
                flat = layer[images].reshape(-1, layer.shape[-1])
                columns = None
                for tap, shifted in zip(w, down, strict=True):
                    product = (flat @ tap).view(n, h, -1)
                    shifted = shifted.expand(n, -1, -1)
                    if columns is None:
                        columns = torch.bmm(shifted, product)
                    else:
                        columns.baddbmm_(shifted, product)
                columns = columns.view(n * height, small * taps, kernels)
                rows.baddbmm_(across.expand(n * height, -1, -1), columns, beta=1 if position else 0)
        ctx.features, ctx.shape = features, weight.shape
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        features, kernels, taps = ctx.features, ctx.shape[0], ctx.shape[-1]
        height, width = features.size
        gradient = gradient.contiguous()
        parts = _parts(gradient.new_zeros(ctx.shape), features)
        for images in _chunks(gradient):
            n = images.stop - images.start
            rows = gradient[images].view(n * height, width, kernels)
            for layer, w, down, across in parts:
                h, small = layer.shape[1:3]
                flat = layer[images].reshape(-1, layer.shape[-1]).T
                columns = torch.bmm(across.T.expand(n * height, -1, -1), rows)
                columns = columns.view(n, height, small * taps * kernels)
                for tap, shifted in zip(w, down, strict=True):
                    product = torch.bmm(shifted.T.expand(n, -1, -1), columns)
                    tap.addmm_(flat, product.view(n * h * small, taps * kernels))
        weights = [
            w.view(taps, -1, taps, kernels).permute(3, 1, 0, 2)  # (dy, C_l, dx, K) → (K, C_l, …)
            for _, w, _, _ in parts
        ]
        return torch.cat(weights, dim=1), None


def _parts(weight: Tensor, features: Upscaled) -> list[tuple[Tensor, Tensor, list[Tensor], Tensor]]:
    """Per layer: its output, weights (dy, C_l, dx·K), S_dy A (dy, H, h) and (S_dx B) (W, w·dx)."""
    taps = weight.shape[-1]
    split = weight.split([layer.shape[-1] for layer in features.layers], dim=1)
    parts = []
    for layer, w, rows, columns in zip(
        features.layers, split, features.rows, features.columns, strict=True
    ):
        w = w.permute(2, 1, 3, 0).reshape(taps, w.shape[1], -1)
        across = _shifted(columns, taps).permute(1, 2, 0).reshape(len(columns), -1)
        parts.append((layer, w, _shifted(rows, taps).unbind(), across))
    return parts


def _shifted(matrix: Tensor, taps: int) -> Tensor:
    """(taps, long, short): row y of part d is row y + d − taps // 2, zero outside."""
    padded = F.pad(matrix, (0, 0, taps // 2, taps // 2))
    return torch.stack([padded[tap : tap + len(matrix)] for tap in range(taps)])


def _chunks(batch: Tensor) -> list[slice]:
    """One image at a time on a CPU, all at once elsewhere."""
    step = 1 if batch.device.type == "cpu" else len(batch)
    return [slice(start, min(start + step, len(batch))) for start in range(0, len(batch), step)]
