"""The heads on a duplicated batch, split into what both copies share and what noise adds.

In training every image is seen twice, and the copies differ only at the pixels that got noise. So
the shared part is computed once, from the backbone's small outputs (`fast.interpolation`), and the
noise's part only where there is noise. Loss and gradients are those of `training.step.plain`, which
builds the whole duplicated batch. On a processor this is always faster; on a GPU, it depends on the
model and the precision.
"""

from __future__ import annotations

import math
from functools import singledispatch
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssn_lib.fast.interpolation import Upscaled
from ssn_lib.models.heads import LEAKY_SLOPE, ClassificationHead, SegmentationHead
from ssn_lib.models.supersimplenet import AdaptedDetector, CamDetector, HeadsDetector, MapDetector
from ssn_lib.noise.perturbed import Logits
from ssn_lib.noise.source import Source

ROWS = 4096  # low-precision products on a CPU take a multiple of so many rows
CHUNK = 512  # pixels at a time on a CPU: what is between the operations then stays in its cache


class Affine(NamedTuple):
    """Features that are an affine map of upscaled ones, pixel by pixel; never built.

    Attributes:
        matrix, bias: (C, C') and (C,); both None for the identity, of which only `conv` and
            `pixels` may be called.
    """

    base: Upscaled
    matrix: Tensor | None = None
    bias: Tensor | None = None

    @property
    def pixels(self) -> int:
        """B·h·w."""
        return len(self.base) * math.prod(self.base.size)

    def conv(self, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolution with (K, C, k, k), (K,): (B, h, w, K), in the compute or weights' dtype."""
        if self.matrix is None:
            return self.base.conv(weight, bias)
        through = torch.einsum("kcyx,cd->kdyx", weight, self.matrix)
        if weight.shape[-1] == 1:
            return self.base.conv(through, bias + weight[:, :, 0, 0] @ self.bias)
        # A constant is less at the border, where the kernel reaches into the zero padding.
        kernel = torch.einsum("kcyx,c->kyx", weight, self.bias)[:, None]
        ones = kernel.new_ones(1, 1, *self.base.size)
        constant = F.conv2d(ones, kernel, bias, padding=weight.shape[-1] // 2)
        return self.base.conv(through) + constant[0].permute(1, 2, 0)

    def moments(self, pixels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the statistics of the features x, and of other rows y (M, C) at some pixels of
        (B·h·w), are made of: the mean of x over all pixels, Σ (x − mean)(x − mean)ᵀ over all, and
        Σ (x − mean) yᵀ over those."""
        dtype, compute_dtype = self.matrix.dtype, self.base.compute_dtype
        mean, scatter = self.base.moments(dtype)
        other = rows.new_zeros(self.pixels, rows.shape[1], dtype=compute_dtype)
        other = other.index_add(0, pixels, rows.to(compute_dtype))
        other = other.view(len(self.base), *self.base.size, -1)
        crossed = self.base.correlation(other, dtype) - torch.outer(mean, rows.sum(0))
        through = self.matrix
        return through @ mean + self.bias, through @ scatter @ through.T, through @ crossed

    def values(self) -> Tensor:
        """The features themselves, (B, h, w, C)."""
        return self.base.conv(self.matrix[:, :, None, None], self.bias).to(self.matrix.dtype)


class Dense(NamedTuple):
    """Features that had to be built.

    Attributes:
        features: (B, h, w, C).
        compute_dtype: as in `Upscaled`.
    """

    features: Tensor
    compute_dtype: torch.dtype

    @property
    def pixels(self) -> int:
        """As `Affine.pixels`."""
        return self.features[..., 0].numel()

    def conv(self, weight: Tensor, bias: Tensor) -> Tensor:
        """As `Affine.conv`."""
        features, weight = self.features.to(self.compute_dtype), weight.to(self.compute_dtype)
        if weight.shape[-1] == 1:
            return F.linear(features, weight[:, :, 0, 0], bias.to(self.compute_dtype))
        padding = weight.shape[-1] // 2
        out = F.conv2d(features.permute(0, 3, 1, 2), weight, padding=padding)
        return out.permute(0, 2, 3, 1) + bias

    def moments(self, pixels: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Affine.moments`."""
        mean = self.features.mean((0, 1, 2))
        away = self.features.flatten(0, 2) - mean
        there = away.index_select(0, pixels)
        dtype = self.compute_dtype
        return mean, _crossed(away, away, dtype), _crossed(there, rows, dtype)

    def values(self) -> Tensor:
        """As `Affine.values`."""
        return self.features


def adapt(adaptor: nn.Module, features: Upscaled) -> Affine | Dense:
    """What the adaptor makes of upscaled features."""
    if isinstance(adaptor, nn.Conv2d):
        return Affine(features, adaptor.weight[:, :, 0, 0], adaptor.bias)
    conv, normalise, activate = adaptor
    hidden = features.conv(conv.weight, conv.bias).to(conv.weight.dtype).permute(0, 3, 1, 2)
    return Dense(activate(normalise(hidden)).permute(0, 2, 3, 1), features.compute_dtype)


def split_form(
    model: AdaptedDetector,
    layers: list[Tensor],
    pixels: Tensor,
    source: Source,
    generator: torch.Generator,
    compute_dtype: torch.dtype,
) -> Logits:
    """As `training.step.plain`, by exact algebra; what lies between the products is float32.

    Args:
        model, layers, pixels, source, generator, compute_dtype: as in `training.step.plain`.
    """
    config = model.config
    features = Upscaled(layers, config.upscale, config.align_corners, compute_dtype)
    adapted = adapt(model.adaptor, features)
    noise = source(adapted.values, pixels, generator)
    map_logits, score = heads(model, features, adapted, pixels, noise.values)
    return Logits(map_logits, score, noise.power, adapted.values)


@singledispatch
def heads(
    model: AdaptedDetector,
    features: Upscaled,
    adapted: Affine | Dense,
    pixels: Tensor,
    noise: Tensor,
) -> tuple[Tensor, Tensor]:
    """Map and score logits of the duplicated, perturbed batch.

    Args:
        pixels: (M,) those that get noise, positions in (2B, h, w), flattened.
        noise: (M, C) what is added to their adapted and, alike, to their plain features.

    Returns:
        (2B, 1, h, w) and (2B,), as `model.heads` on the features with the noise added; of a class
        activation map, too.
    """
    raise NotImplementedError(type(model).__name__)


@heads.register
def _heads(
    model: HeadsDetector, features: Upscaled, adapted: Affine | Dense, pixels: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    map_logits = _segment(model.seg_head, adapted, pixels, noise, features)
    shown, seen = model.shown(Affine(features), adapted, map_logits)
    return map_logits, _classify(model.cls_head, shown, pixels, noise, features.compute_dtype, seen)


@heads.register
def _map(
    model: MapDetector, features: Upscaled, adapted: Affine | Dense, pixels: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    map_logits = _segment(model.seg_head, adapted, pixels, noise, features)
    return map_logits, map_logits.amax((1, 2, 3))


@heads.register
def _cam(
    model: CamDetector, features: Upscaled, adapted: Affine | Dense, pixels: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    conv, normalise, activate = model.cls_head.conv
    hidden = _hidden(conv, adapted, pixels, noise, features.compute_dtype)
    cam = model.cls_head.activation(activate(normalise(hidden.permute(0, 3, 1, 2))))
    return cam, model.cls_head.score(cam)


def _segment(
    head: SegmentationHead,
    adapted: Affine | Dense,
    noisy_pixels: Tensor,
    noise: Tensor,
    features: Upscaled,
) -> Tensor:
    """Map logits of the duplicated batch, (2B, 1, h, w).

    The first convolution is linear, so the mean and variance of what it gives follow from those of
    its input, which has fewer channels. BatchNorm is then a part of its weights, as in inference.
    """
    first, normalise, _, last = head
    compute_dtype = features.compute_dtype
    weight = first.weight[:, :, 0, 0]
    where = noisy_pixels % adapted.pixels
    if head.training:
        mean, covariance = _moments(adapted, where, noise, compute_dtype)
        mean, variance = weight @ mean + first.bias, ((weight @ covariance) * weight).sum(1)
        variance = variance.clamp(min=0)  # rounding may take a vanishing one below
        _track(normalise, mean, variance, 2 * adapted.pixels)
    else:
        mean, variance = normalise.running_mean, normalise.running_var
    scale = normalise.weight * torch.rsqrt(variance + normalise.eps)
    weight, bias = weight * scale[:, None], normalise.bias + scale * (first.bias - mean)
    shared = adapted.conv(weight[:, :, None, None], bias).flatten(0, 2)
    added = (_low(noise, compute_dtype) @ weight.T.to(compute_dtype))[: len(noise)]
    clean, noisy = _SegmentationTail.apply(shared, added, where, last.weight[0, :, 0, 0])
    map_logits = torch.cat((clean, clean)).index_copy(0, noisy_pixels, noisy)
    return map_logits.view(2 * len(features), 1, *features.size)


def _moments(
    adapted: Affine | Dense, where: Tensor, noise: Tensor, compute_dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Mean (C,) and covariance (C, C) of the adapted features of the duplicated batch, with noise
    (M, C) at pixels `where` of (B·h·w)."""
    mean, scatter, crossed = adapted.moments(where, noise)
    scatter = 2 * scatter + crossed + crossed.T + _crossed(noise, noise, compute_dtype)
    total = 2 * adapted.pixels
    shift = noise.sum(0) / total
    return mean + shift, scatter / total - torch.outer(shift, shift)


@torch.no_grad()
def _track(normalise: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics, as BatchNorm does in training."""
    normalise.num_batches_tracked += 1
    normalise.running_mean.lerp_(mean, normalise.momentum)
    normalise.running_var.lerp_(variance * (count / max(1, count - 1)), normalise.momentum)


def _classify(
    head: ClassificationHead,
    features: Affine | Dense,
    pixels: Tensor,
    noise: Tensor,
    compute_dtype: torch.dtype,
    map_logits: Tensor,
) -> Tensor:
    """Score logits of the duplicated batch, (2B,)."""
    conv, normalise, activate = head.conv
    hidden = _hidden(conv, features, pixels, noise, compute_dtype, map_logits)
    if not head.training:
        return head.score(activate(normalise(hidden.permute(0, 3, 1, 2))), map_logits)
    highest, average, mean, variance = _Pooled.apply(
        hidden, normalise.weight, normalise.bias, normalise.eps
    )
    _track(normalise, mean, variance, hidden[..., 0].numel())
    pooled = (highest, average, map_logits.amax((2, 3)), map_logits.mean((2, 3)))
    return head.fc(torch.cat(pooled, dim=1))[:, 0]


def _hidden(
    conv: nn.Conv2d,
    features: Affine | Dense,
    pixels: Tensor,
    noise: Tensor,
    compute_dtype: torch.dtype,
    map_logits: Tensor | None = None,
) -> Tensor:
    """Convolution of the duplicated batch's features and, behind them, its map logits (2B, 1, h, w)
    if any: (2B, h, w, K)."""
    channels = noise.shape[1]
    weight, on_map = conv.weight[:, :channels], conv.weight[:, channels:]
    shared = features.conv(weight, conv.bias)
    count, height, width, kernels = shared.shape
    if map_logits is None:
        hidden = noise.new_zeros(2 * count * height * width, kernels)
    else:  # a single channel: a product is several times faster than conv2d
        side = on_map.shape[-1]
        patches = F.unfold(map_logits, side, padding=side // 2).transpose(1, 2)
        hidden = patches.reshape(-1, side**2) @ on_map.flatten(1).T
    taps = weight.permute(2, 1, 3, 0).flatten(2)  # (dy, C, dx·K)
    hidden = _AddNoisy.apply(hidden, shared, noise, taps, pixels, compute_dtype)
    return hidden.view(2 * count, height, width, kernels)


def _crossed(first: Tensor, second: Tensor, compute_dtype: torch.dtype) -> Tensor:
    """Σ first secondᵀ over the rows of both, (C, K), computed in that dtype."""
    return (_low(first, compute_dtype).T @ _low(second, compute_dtype)).to(first.dtype)


def _low(rows: Tensor, compute_dtype: torch.dtype) -> Tensor:
    """Rows (M, C) in that dtype, on a CPU with rows of zeros up to a multiple of `ROWS`.

    oneDNN keeps what it prepares for every number of rows that it has seen, tens of megabytes each,
    and how many pixels get noise differs from step to step.
    """
    low = rows.to(compute_dtype)
    if compute_dtype == rows.dtype or not rows.is_cpu:
        return low
    return F.pad(low, (0, 0, 0, -len(low) % ROWS))


class _AddNoisy(torch.autograd.Function):
    """Adds, in place, to what is there what both copies share and a convolution of the noise."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        shared: Tensor,
        noise: Tensor,
        taps: Tensor,
        pixels: Tensor,
        compute_dtype: torch.dtype,
    ) -> Tensor:
        """(2B·h·w, K), no view; (B, h, w, K); (M, C) noise at `pixels` of the former; weights (dy,
        C, dx·K). Returns (2B·h·w, K)."""
        for copy in hidden.chunk(2):
            copy += shared.flatten(0, 2)
        noise, taps = noise.to(compute_dtype), taps.to(compute_dtype)
        for part, where in _pieces(noise, pixels):
            targets, outside = _targets(where, shared.shape, len(taps))
            for tap, target, out in zip(taps, targets, outside, strict=True):
                added = (part @ tap).to(hidden.dtype).view(-1, hidden.shape[1])
                hidden.index_add_(0, target, _erased(added, out))
        ctx.save_for_backward(noise, taps, pixels)
        ctx.shape, ctx.dtype = shared.shape, shared.dtype
        ctx.mark_dirty(hidden)
        return hidden

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        noise, taps, pixels = ctx.saved_tensors
        rows = gradient.contiguous().to(noise.dtype)
        on_taps = torch.zeros_like(taps, dtype=gradient.dtype)
        on_noise = gradient.new_zeros(noise.shape)
        for part, where, on_part in _pieces(noise, pixels, on_noise):
            targets, outside = _targets(where, ctx.shape, len(taps))
            for tap, on_tap, target, out in zip(taps, on_taps, targets, outside, strict=True):
                there = _erased(rows.index_select(0, target), out)
                there = there.view(len(part), tap.shape[1])
                on_tap += part.T @ there
                if ctx.needs_input_grad[2]:
                    on_part += there @ tap.T
        first, second = gradient.chunk(2)
        shared = (first + second).to(ctx.dtype).view(ctx.shape)
        return gradient, shared, on_noise, on_taps, None, None


def _erased(rows: Tensor, where: Tensor) -> Tensor:
    """The rows (M, K), those where the mask (M,) holds set to 0, in place.

    To find them is several times faster on a CPU than to look at every value; a GPU would have to
    be waited for.
    """
    if rows.is_cpu:
        return rows.index_fill_(0, where.nonzero()[:, 0], 0)
    return rows.masked_fill_(where[:, None], 0)


def _targets(pixels: Tensor, shape: torch.Size, taps: int) -> tuple[Tensor, Tensor]:
    """Where the taps of a kernel take each pixel of images of that shape, (…, h, w, K).

    Returns:
        (taps, len(pixels)·taps) both: row dy holds, for pixel after pixel, the targets of dx = 0,
        1, …, and 0 for those outside the image; and where these are.
    """
    height, width = shape[1:3]
    x, y, image = pixels % width, pixels // width % height, pixels // (width * height)
    offset = taps // 2 - torch.arange(taps, device=pixels.device)
    rows = (y + offset[:, None])[:, :, None]  # (dy, M, 1)
    columns = (x[:, None] + offset)[None]  # (1, M, dx)
    target = (image[:, None] * height + rows) * width + columns
    outside = (rows < 0) | (rows >= height) | (columns < 0) | (columns >= width)
    return target.masked_fill_(outside, 0).flatten(1), outside.flatten(1)


class _Pooled(torch.autograd.Function):
    """BatchNorm over the batch, ReLU, and each image's maximum and mean: one image at a time on a
    CPU, and nothing between them is kept."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, shift: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of (N, h, w, K): maxima and means, (N, K), and mean and variance of the batch, (K,)."""
        images, _, width, channels = hidden.shape
        total = hidden[..., 0].numel()
        # Mean and variance in one pass, about a value near the mean, so that nothing cancels.
        near = hidden[0].mean((0, 1))
        sums, squares = torch.zeros_like(near), torch.zeros_like(near)
        for (part,) in _pieces(hidden.view(-1, channels)):
            away = part - near
            sums += away.sum(0)
            squares += away.square_().sum(0)
        away = sums / total
        mean, variance = near + away, squares / total - away.square()
        scale = weight * torch.rsqrt(variance + eps)
        offset = shift - mean * scale
        # Of every image and channel: the maximum, how many pixels pass the ReLU, and their sum.
        highest, counts, sums = hidden.new_empty(3, images, channels)
        top = torch.empty_like(highest, dtype=torch.int64)
        one = hidden.new_ones(())
        for part, high, place, count, kept in _images(hidden, highest, top, counts, sums):
            z = torch.addcmul(offset, part, scale)
            # The maximum's place: its row, then its column. To look everywhere at once is slow.
            high[:], row = z.amax(2).max(1)
            line = z.gather(1, row[:, None, None].expand(-1, 1, width, -1))
            place[:] = row * width + line[:, 0].argmax(1)
            torch.sum(_passed(one.expand_as(z), z), (1, 2), out=count)
            torch.sum(_passed(part, z), (1, 2), out=kept)
        average = (scale * sums + offset * counts) / (total // images)
        ctx.save_for_backward(hidden, highest, top, counts, sums, mean, variance, weight, shift)
        ctx.eps, ctx.total = eps, total
        ctx.mark_non_differentiable(mean, variance)
        return highest.relu(), average, mean, variance

    @staticmethod
    def backward(
        ctx: Any, on_highest: Tensor, on_average: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, highest, top, counts, sums, mean, variance, weight, shift = ctx.saved_tensors
        inverse = torch.rsqrt(variance + ctx.eps)
        scale = weight * inverse
        offset = shift - mean * scale
        # ∂L/∂z is the same for all of an image's pixels that pass, and more for its maximum.
        on_highest = on_highest * (highest > 0)
        on_average = on_average * (len(hidden) / ctx.total)
        on_shift = (on_average * counts + on_highest).sum(0)
        at_top = hidden.flatten(1, 2).gather(1, top[:, None])[:, 0]
        moments = (on_average * sums + on_highest * at_top).sum(0)
        on_weight = (moments - mean * on_shift) * inverse
        # ∂L/∂h = scale · (∂L/∂z − (Σ ∂L/∂z + x̂ Σ ∂L/∂z x̂) / total)
        per_pixel = -scale * on_weight * inverse / ctx.total
        constant = -scale * on_shift / ctx.total - mean * per_pixel
        result = torch.empty_like(hidden)
        for part, piece, on_all in _images(hidden, result, scale * on_average):
            z = torch.addcmul(offset, part, scale)
            torch.addcmul(constant, part, per_pixel, out=piece)
            piece += _passed(on_all[:, None, None].expand_as(z), z)
        result.flatten(1, 2).scatter_add_(1, top[:, None], (scale * on_highest)[:, None])
        return result, on_weight, on_shift, None


def _passed(rows: Tensor, z: Tensor) -> Tensor:
    """The rows where z > 0, else 0. PyTorch's comparisons are several times slower on a CPU."""
    return torch.ops.aten.threshold_backward(rows, z, 0)


class _SegmentationTail(torch.autograd.Function):
    """LeakyReLU and the last 1×1 convolution; a pixel without noise is computed once."""

    @staticmethod
    def forward(
        ctx: Any, shared: Tensor, added: Tensor, where: Tensor, last: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(P, K) normalised values of the shared pixels, (M, K) what noise adds at pixels `where`.
        Returns logits (P,) and (M,)."""
        noisy = shared.index_select(0, where).add_(added)
        logits = []
        for rows in (shared, noisy):
            out = last.new_empty(len(rows))
            for part, piece in _pieces(rows, out):
                torch.mv(F.leaky_relu(part.to(last.dtype), LEAKY_SLOPE), last, out=piece)
            logits.append(out)
        ctx.save_for_backward(shared, noisy, where, last)
        return tuple(logits)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, Tensor]:
        shared, noisy, where, last = ctx.saved_tensors
        on_last, results = torch.zeros_like(last), []
        for rows, gradient in zip((shared, noisy), gradients, strict=True):
            result = torch.empty_like(rows)
            for part, g, piece in _pieces(rows, gradient.contiguous(), result):
                z, steep = part.to(last.dtype), torch.outer(g, last)
                on_last += g @ F.leaky_relu(z, LEAKY_SLOPE)
                piece.copy_(torch.ops.aten.leaky_relu_backward(steep, z, LEAKY_SLOPE, False))
            results.append(result)
        on_shared, on_added = results
        on_shared.index_add_(0, where, on_added)
        return on_shared, on_added, None, on_last


def _pieces(*tensors: Tensor) -> zip:
    """The tensors' rows, some at a time."""
    step = CHUNK if tensors[0].device.type == "cpu" else max(1, len(tensors[0]))
    return zip(*(tensor.split(step) for tensor in tensors), strict=True)


def _images(*tensors: Tensor) -> zip:
    """The tensors' images, one at a time on a CPU."""
    step = 1 if tensors[0].device.type == "cpu" else max(1, len(tensors[0]))
    return zip(*(tensor.split(step) for tensor in tensors), strict=True)
