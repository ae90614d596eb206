"""Upscaled features as what they are: a linear map of the backbone's small outputs.

Upscaling and pooling act along rows and columns, a convolution's weights act on channels, and the
two commute. So a convolution of the upscaled features is

    out = Σ_l Σ_dy Σ_dx  S_dy A_l (L_l W_l,dy,dx) (S_dx B_l)ᵀ,

with L_l a layer's output, A_l and B_l its interpolation along rows and columns, W its weights and S
a shift with zeros: multiply channels at low resolution, then interpolate what comes out. The
features at full size are never built, and the arithmetic is several times less. Shared by training
(`training_step`) and by inference (`folded`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ssn_lib.fast.banded import Banded
from ssn_lib.models.supersimplenet import POOL

NOTHING = 1e-30  # added to an interpolation's weights, which are 0 or at least 1e-3


class Grid:
    """The interpolation from some layers' grids to that of the features.

    Args:
        sides: (h_l, w_l) of every layer, the finest first.
        scale: the features' grid (H, W) is `scale` × the first layer's.
        align_corners: of the bilinear upscaling.
        like: gives device and dtype.

    Attributes:
        axes: of rows, then of columns: every layer's interpolation, (H, h_l) or (W, w_l).
    """

    def __init__(
        self, sides: Sequence[tuple[int, int]], scale: int, align_corners: bool, like: Tensor
    ):
        self.size = (scale * sides[0][0], scale * sides[0][1])
        self.axes = [
            [upscaling_matrix(short, long, align_corners).to(like) for short in shorts]
            for shorts, long in zip(zip(*sides, strict=True), self.size, strict=True)
        ]
        self._shifted: dict[int, tuple[Tensor, list[Tensor]]] = {}
        self._banded: dict[int, Banded] = {}

    def shifted(self, taps: int) -> tuple[Tensor, list[Tensor]]:
        """For a kernel of that side: what `halves` and `convolve` multiply with.

        Returns:
            (H, K): S_dy A_l side by side, a column of ones for the bias, and a column of zeros
            where K would be odd, which matrix units for 16 bits do not take; per layer (W, w_l·dx):
            S_dx B_l side by side.
        """
        if taps not in self._shifted:
            rows, columns = ([_shifts(matrix, taps) for matrix in axis] for axis in self.axes)
            down = torch.cat([shifts.transpose(0, 1).flatten(1) for shifts in rows], dim=1)
            self._shifted[taps] = (
                F.pad(F.pad(down, (0, 1), value=1.0), (0, (down.shape[1] + 1) % 2)),
                [shifts.permute(1, 2, 0).flatten(1).contiguous() for shifts in columns],
            )
        return self._shifted[taps]

    def to_rows(self, half: Tensor, taps: int, out: Tensor | None = None) -> Tensor:
        """The interpolation along rows: the first of `shifted` times what `halves` gives.

        Args:
            half: (B, K, N).
            out: contiguous, (B, H, N): where to write the result.

        Returns:
            (B, H, N).
        """
        if not _in_blocks(half):
            down = self.shifted(taps)[0]
            return torch.bmm(down.expand(half.shape[0], -1, -1), half, out=out)
        if out is None:
            out = half.new_empty(len(half), self.size[0], half.shape[2])
        for image, place in zip(half, out, strict=True):
            self._in_bands(taps).times(image, place)
        return out

    def from_rows(self, rows: Tensor, taps: int) -> Tensor:
        """The transposed of `to_rows`, for gradients: (B, H, N) to (B, K, N)."""
        down = self.shifted(taps)[0]
        if not _in_blocks(rows):
            return torch.bmm(down.T.expand(len(rows), -1, -1), rows)
        half = rows.new_empty(len(rows), down.shape[1], rows.shape[2])
        for image, place in zip(rows, half, strict=True):
            self._in_bands(taps).transposed_times(image, place)
        return half

    def _in_bands(self, taps: int) -> Banded:
        if taps not in self._banded:
            self._banded[taps] = Banded(self.shifted(taps)[0])
        return self._banded[taps]

    def with_data(self, data: Tensor) -> Grid:
        """A copy whose matrices depend on the input, so that an exporter does not store them as
        constants: OpenVINO computes products with a constant left factor in 32 bits. The values
        are the same.

        Args:
            data: any tensor that is computed from the input; at most `NOTHING` of it is added.
        """
        nothing = data.flatten()[:1].clamp(0.0, NOTHING)
        copied = copy.copy(self)
        copied._shifted = {
            taps: (down + nothing, [across + nothing for across in columns])
            for taps, (down, columns) in self._shifted.items()
        }
        return copied


@lru_cache(maxsize=16)
def known_grid(
    sides: tuple[tuple[int, int], ...],
    scale: int,
    align_corners: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> Grid:
    """The `Grid` of these arguments, made once: a GPU would wait for matrices from the host.

    Args:
        sides, scale, align_corners: as in `Grid`.
        device, dtype: of its matrices.
    """
    return Grid(sides, scale, align_corners, torch.empty(0, device=device, dtype=dtype))


def upscaling_matrix(short: int, long: int, align_corners: bool) -> Tensor:
    """(long, short) float64: bilinear upscaling along one axis, then the 3-tap average.

    The average counts the zero padding, as in the public code: features fade towards the border.

    Args:
        short, long: the number of pixels before and after.
        align_corners: as in `torch.nn.functional.interpolate`.
    """
    basis = torch.eye(short, dtype=torch.float64)[None]
    upscaled = F.interpolate(basis, size=long, mode="linear", align_corners=align_corners)
    return F.avg_pool1d(upscaled, POOL, stride=1, padding=POOL // 2)[0].T.contiguous()


def pack(weight: Tensor, channels: Sequence[int]) -> list[Tensor]:
    """Weights (K, C, k, k) as `convolve` wants them: (dy, C_l, dx·K) for every layer."""
    return [
        part.permute(2, 1, 3, 0).flatten(2).contiguous() for part in weight.split(channels, dim=1)
    ]


def convolve(
    layers: Sequence[Tensor],
    weights: Sequence[Tensor],
    grid: Grid,
    bias: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Convolution, k odd, zero padding, of the features that the layers stand for.

    Args:
        layers: (B, h_l, w_l, C_l), channels last.
        weights: from `pack`.
        bias: (K,).
        out: contiguous, (B, H, W, K): where to write the result.

    Returns:
        (B, H, W, K).
    """
    half = halves(layers, weights, grid, bias)
    flat = None if out is None else out.view(len(out), grid.size[0], -1)
    flat = grid.to_rows(half.flatten(2), len(weights[0]), out=flat)
    return flat.view(half.shape[0], *grid.size, half.shape[-1])  # not len(): exported, it is any


def halves(
    layers: Sequence[Tensor], weights: Sequence[Tensor], grid: Grid, bias: Tensor | None = None
) -> Tensor:
    """`convolve` but for the interpolation along rows: (B, Σ_l dy·h_l and the bias, W, K).

    `Grid.to_rows` makes the convolution of it.

    Args:
        layers, weights, grid, bias: as in `convolve`.
    """
    taps, width = len(weights[0]), grid.size[1]
    kernels = weights[0].shape[-1] // taps
    down, columns = grid.shifted(taps)
    parts = []
    for layer, weight, across in zip(layers, weights, columns, strict=True):
        _, h, w, channels = layer.shape
        for tap in weight:
            product = (layer.reshape(-1, channels) @ tap).view(-1, w * taps, kernels)
            part = torch.bmm(across.expand(product.shape[0], -1, -1), product)
            parts.append(part.view(-1, h, width, kernels))
    last = parts[0].new_zeros(kernels) if bias is None else bias
    rest = down.shape[1] - taps * sum(layer.shape[1] for layer in layers)
    parts.append(last.expand(parts[0].shape[0], rest, width, -1))
    return torch.cat(parts, dim=1)


class Upscaled:
    """The features that `AdaptedDetector.upscale` would build, kept at the backbone's resolution.

    Args:
        layers: stage outputs (B, C_l, h_l, w_l), the finest first.
        scale, align_corners: see `Grid`.
        compute_dtype: of the matrix products; None for the layers' own.
    """

    def __init__(
        self,
        layers: Sequence[Tensor],
        scale: int,
        align_corners: bool,
        compute_dtype: torch.dtype | None = None,
    ):
        self.compute_dtype = compute_dtype or layers[0].dtype
        self.layers = [layer.to(self.compute_dtype) for layer in channels_last(layers)]
        sides = tuple((layer.shape[2], layer.shape[3]) for layer in layers)
        device, dtype = self.layers[0].device, self.layers[0].dtype
        self.grid = known_grid(sides, scale, align_corners, device, dtype)
        self.size = self.grid.size

    def __len__(self) -> int:
        return len(self.layers[0])

    @property
    def channels(self) -> list[int]:
        """C_l of every layer."""
        return [layer.shape[-1] for layer in self.layers]

    def conv(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Convolution of the features with (K, C, k, k) and (K,): (B, H, W, K), in the compute
        dtype. Differentiable in weight and bias; the backbone is frozen."""
        if bias is None:
            bias = weight.new_zeros(len(weight))
        return _Convolution.apply(weight, bias, self)

    def correlation(self, other: Tensor, dtype: torch.dtype) -> Tensor:
        """Σ f gᵀ over all pixels, (C, K), summed in `dtype`, with (B, H, W, K) other features g,
        which it is differentiable in."""
        return _Correlation.apply(other, dtype, self)

    @torch.no_grad()
    def moments(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Mean f̄ over all pixels, (C,), and Σ (f − f̄)(f − f̄)ᵀ, (C, C), computed in that dtype.

        Sums over the features' grid are weighted sums over a layer's own, and of two layers over
        the coarser one's: of f f'ᵀ they are Σ (A'ᵀA L BᵀB') L'ᵀ.
        """
        axes = [[matrix.to(dtype) for matrix in axis] for axis in self.grid.axes]
        layers = [layer.to(dtype) for layer in self.layers]
        pixels = len(self) * self.size[0] * self.size[1]
        weights = [torch.outer(*(m.sum(0) for m in pair)) for pair in zip(*axes, strict=True)]
        means = [
            weight.flatten() @ layer.flatten(1, 2).sum(0) / pixels
            for layer, weight in zip(layers, weights, strict=True)
        ]
        scatter = layers[0].new_zeros(sum(self.channels), sum(self.channels))
        blocks = [rows.split(self.channels, dim=1) for rows in scatter.split(self.channels)]
        for fine, layer in enumerate(layers):
            for coarse in range(fine, len(layers)):
                down, across = (axis[coarse].T @ axis[fine] for axis in axes)
                block = blocks[fine][coarse]
                for images in _chunks(layer):
                    rows = layer[images].flatten(0, 1)
                    rows = torch.bmm(across.expand(len(rows), -1, -1), rows)
                    rows = rows.view(-1, layer.shape[1], len(across) * layer.shape[3])
                    rows = torch.bmm(down.expand(len(rows), -1, -1), rows)
                    # The mean is taken away first: squares of what is left do not cancel.
                    rows = rows.view(-1, weights[coarse].numel(), layer.shape[3])
                    rows -= torch.outer(weights[coarse].flatten(), means[fine])
                    there = layers[coarse][images].flatten(0, 2)
                    block += rows.flatten(0, 1).T @ there
                if coarse > fine:
                    blocks[coarse][fine].copy_(block.T)
        return torch.cat(means), scatter


def channels_last(layers: Sequence[Tensor]) -> list[Tensor]:
    """(B, C_l, h_l, w_l) as (B, h_l, w_l, C_l)."""
    return [layer.permute(0, 2, 3, 1).contiguous() for layer in layers]


class _Convolution(torch.autograd.Function):
    """`Upscaled.conv`."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor, features: Upscaled) -> Tensor:
        ctx.features, ctx.taps, ctx.dtype = features, weight.shape[-1], weight.dtype
        return _convolution(features, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        return *_correlation(ctx.features, gradient, ctx.taps, ctx.dtype), None


class _Correlation(torch.autograd.Function):
    """`Upscaled.correlation`: a convolution's gradient, so its own gradient is a convolution."""

    @staticmethod
    def forward(ctx: Any, other: Tensor, dtype: torch.dtype, features: Upscaled) -> Tensor:
        ctx.features = features
        return _correlation(features, other, 1, dtype)[0][:, :, 0, 0].T

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _convolution(ctx.features, gradient.T[:, :, None, None], None), None, None


# Both work on a few images at a time: what lies between the products stays in a CPU's cache.


def _convolution(features: Upscaled, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`convolve`, in the compute dtype."""
    weights = pack(weight.to(features.compute_dtype), features.channels)
    bias = None if bias is None else bias.to(features.compute_dtype)
    out = weights[0].new_empty(len(features), *features.size, len(weight))
    for images in _chunks(out):
        layers = [layer[images] for layer in features.layers]
        convolve(layers, weights, features.grid, bias, out=out[images])
    return out


def _correlation(
    features: Upscaled, gradient: Tensor, taps: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Gradients of weight (K, C, taps, taps) and bias (K,) from the one of the convolution, (B, H,
    W, K): products of the features with it, summed in `dtype`."""
    width, kernels = features.size[1], gradient.shape[-1]
    gradient = gradient.to(features.compute_dtype).contiguous()
    columns = features.grid.shifted(taps)[1]
    weights = [
        gradient.new_zeros(taps, channels, taps * kernels, dtype=dtype)
        for channels in features.channels
    ]
    bias = gradient.new_zeros(kernels, dtype=dtype)
    for images in _chunks(gradient):
        rows = gradient[images].flatten(2)
        half = features.grid.from_rows(rows, taps)
        half, start = half.view(len(rows), -1, width, kernels), 0
        for layer, weight, across in zip(features.layers, weights, columns, strict=True):
            h, flat = layer.shape[1], layer[images].reshape(-1, layer.shape[-1]).T
            across = across.T.expand(len(rows) * h, -1, -1)
            for tap in weight:
                part = half[:, start : start + h].reshape(-1, width, kernels)
                tap += flat @ torch.bmm(across, part).view(-1, taps * kernels)
                start += h
        bias += half[:, start].sum((0, 1), dtype=dtype)
    unpacked = [weight.view(taps, -1, taps, kernels).permute(3, 1, 0, 2) for weight in weights]
    return torch.cat(unpacked, dim=1), bias


def _shifts(matrix: Tensor, taps: int) -> Tensor:
    """(taps, long, short): row y of part d is row y + d − taps // 2 of the matrix, zero outside."""
    padded = F.pad(matrix, (0, 0, taps // 2, taps // 2))
    return torch.stack([padded[tap : tap + len(matrix)] for tap in range(taps)])


def _in_blocks(rows: Tensor) -> bool:
    """Whether a product with these is made block by block (`banded`): of 16 bits, each run would
    round its sum; autograd, compilers and exporters want a single product."""
    if torch.compiler.is_compiling() or torch.compiler.is_exporting() or rows.requires_grad:
        return False
    return rows.is_cpu and rows.dtype in (torch.float32, torch.float64)


def _chunks(batch: Tensor) -> list[slice]:
    """One image at a time on a CPU, all at once elsewhere."""
    step = 1 if batch.device.type == "cpu" else len(batch)
    return [slice(start, min(start + step, len(batch))) for start in range(0, len(batch), step)]
