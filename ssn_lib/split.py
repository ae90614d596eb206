"""The heads on a duplicated batch, split into what both copies share and what noise adds.

In training every image is seen twice, and the copies differ only at the pixels that got noise. So
the shared part is computed once, from the backbone's small outputs (`upscaled`), and the noise's
part only where there is noise. Loss and gradients are those of `SuperSimpleNet.heads` on the whole
duplicated batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssn_lib.cam import CamHead
from ssn_lib.model import LEAKY_SLOPE, SegmentationHead, SuperSimpleNet
from ssn_lib.upscaled import Upscaled

ROWS = 4096  # low-precision products on a CPU take a multiple of so many rows
CHUNK = 512  # pixels at a time on a CPU: what is between the operations then stays in its cache


class Affine(NamedTuple):
    """Features that are an affine map of upscaled ones, pixel by pixel; never built.

    Attributes:
        matrix: (C, C'), None for the identity. bias: (C,), None for none.
    """

    base: Upscaled
    matrix: Tensor | None = None
    bias: Tensor | None = None

    def conv(self, weight: Tensor) -> tuple[Tensor, Tensor | float]:
        """Convolution with (K, C, k, k): (B, h, w, K), and what the bias adds to it for any image:
        (K,) when k is 1, else (h, w, K)."""
        if self.matrix is None:
            return self.base.conv(weight), 0.0
        out = self.base.conv(torch.einsum("kcyx,cd->kdyx", weight, self.matrix))
        if weight.shape[-1] == 1:
            return out, weight[:, :, 0, 0] @ self.bias
        # A constant is less at the border, where the kernel reaches into the zero padding.
        kernel = torch.einsum("kcyx,c->kyx", weight, self.bias)[:, None]
        ones = kernel.new_ones(1, 1, *self.base.size)
        return out, F.conv2d(ones, kernel, padding=weight.shape[-1] // 2)[0].permute(1, 2, 0)

    def values(self) -> Tensor:
        """The features themselves, (B, h, w, C)."""
        return self.base.conv(self.matrix[:, :, None, None]) + self.bias


class Dense(NamedTuple):
    """Features that had to be built.

    Attributes:
        features: (B, h, w, C).
        products: as of `Upscaled`.
    """

    features: Tensor
    products: torch.dtype

    def conv(self, weight: Tensor) -> tuple[Tensor, float]:
        """As `Affine.conv`."""
        if weight.shape[-1] == 1:
            return _times(self.features, weight[:, :, 0, 0].T, self.products), 0.0
        images = self.features.to(self.products).permute(0, 3, 1, 2)
        out = F.conv2d(images, weight.to(self.products), padding=weight.shape[-1] // 2)
        return out.to(weight.dtype).permute(0, 2, 3, 1), 0.0

    def values(self) -> Tensor:
        """As `Affine.values`."""
        return self.features


def adapt(adaptor: nn.Module, features: Upscaled) -> Affine | Dense:
    """What the adaptor makes of upscaled features."""
    if isinstance(adaptor, nn.Conv2d):
        return Affine(features, adaptor.weight[:, :, 0, 0], adaptor.bias)
    conv, normalise, activate = adaptor
    hidden = (features.conv(conv.weight) + conv.bias).permute(0, 3, 1, 2)
    return Dense(activate(normalise(hidden)).permute(0, 2, 3, 1), features.products)


def heads(
    model: SuperSimpleNet,
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
    if isinstance(model.cls_head, CamHead):
        hidden = _hidden(model.cls_head.conv, adapted, pixels, noise, features.products)
        cam = model.cls_head.activation(hidden)
        return cam, model.cls_head.score(cam)
    map_logits = _segment(model.seg_head, adapted, pixels, noise, features.products)
    map_logits = map_logits.view(2 * len(features), 1, *features.size)
    if model.cls_head is None:
        return map_logits, map_logits.amax((1, 2, 3))
    seen = map_logits.detach() if model.config.stop_map_gradient else map_logits
    shown = Affine(features) if model.config.score == "plain" else adapted
    hidden = _hidden(model.cls_head.conv, shown, pixels, noise, features.products, seen)
    return map_logits, model.cls_head.score(hidden, map_logits=seen)


def _segment(
    head: SegmentationHead,
    adapted: Affine | Dense,
    noisy_pixels: Tensor,
    noise: Tensor,
    products: torch.dtype,
) -> Tensor:
    """Map logits of every pixel of the duplicated batch, (2B·h·w,)."""
    first, normalise, activate, last = head
    shared, constant = adapted.conv(first.weight)
    shared = shared.reshape(-1, shared.shape[-1])
    pixels = len(shared)
    # How often a pixel occurs without noise in the two copies.
    copies = shared.new_full((pixels,), 2.0)
    where = noisy_pixels % pixels
    copies.index_add_(0, where, copies.new_full((len(where),), -1.0))
    added = _times(noise, first.weight[:, :, 0, 0].T, products)
    bias, out = first.bias + constant, last.weight[0, :, 0, 0]
    if head.training:
        clean, noisy, mean, variance = _SegmentationTail.apply(
            shared, added, where, copies, bias, normalise.weight, normalise.bias, out, normalise.eps
        )
        with torch.no_grad():
            normalise.num_batches_tracked += 1
            normalise.running_mean.lerp_(mean, normalise.momentum)
            unbiased = variance * (2 * pixels / max(1, 2 * pixels - 1))
            normalise.running_var.lerp_(unbiased, normalise.momentum)
    else:
        hidden = torch.cat((shared, shared[where] + added)) + bias
        hidden = normalise(hidden[:, :, None, None])[:, :, 0, 0]
        clean, noisy = (activate(hidden) @ out).split((pixels, len(where)))
    return torch.cat((clean, clean)).index_copy(0, noisy_pixels, noisy)


def _hidden(
    block: nn.Sequential,
    features: Affine | Dense,
    pixels: Tensor,
    noise: Tensor,
    products: torch.dtype,
    map_logits: Tensor | None = None,
) -> Tensor:
    """Convolution, BatchNorm and ReLU of the duplicated batch's features and, behind them, its map
    logits (2B, 1, h, w) if any: (2B, K, h, w)."""
    conv, normalise, activate = block
    channels = noise.shape[1]
    weight, on_map = conv.weight[:, :channels], conv.weight[:, channels:]
    shared, constant = features.conv(weight)
    count, height, width, kernels = shared.shape
    shared = (shared + (constant + conv.bias)).view(-1, kernels)
    # The spare row takes what a kernel throws over the image's border.
    hidden = torch.cat((shared, shared, shared.new_zeros(1, kernels)))
    targets = _targets(pixels, (2 * count, height, width), weight.shape[-1])
    taps = weight.permute(2, 1, 3, 0).flatten(2)  # (dy, C, dx·K)
    for tap, target in zip(taps.unbind(), targets, strict=True):
        hidden.index_add_(0, target, _times(noise, tap, products).view(-1, kernels))
    hidden = hidden[:-1]
    if map_logits is not None:  # a single channel: a product is several times faster than conv2d
        side = on_map.shape[-1]
        patches = F.unfold(map_logits, side, padding=side // 2).transpose(1, 2)
        hidden = torch.addmm(hidden, patches.reshape(-1, side**2), on_map.flatten(1).T)
    hidden = hidden.view(2 * count, height, width, kernels).permute(0, 3, 1, 2)
    return activate(normalise(hidden))


def _times(rows: Tensor, matrix: Tensor, products: torch.dtype) -> Tensor:
    """The product, computed in that dtype."""
    if products == rows.dtype:
        return rows @ matrix
    low = rows.to(products).flatten(0, -2)
    count = len(low)
    if rows.is_cpu:
        # oneDNN keeps what it prepares for every number of rows that it has seen, tens of megabytes
        # each; how many pixels get noise differs from step to step.
        low = F.pad(low, (0, 0, 0, -count % ROWS))
    product = (low @ matrix.to(products))[:count].to(rows.dtype)
    return product.view(*rows.shape[:-1], -1)


def _targets(pixels: Tensor, shape: tuple[int, int, int], taps: int) -> Tensor:
    """Where the taps of a kernel take each pixel: (taps, len(pixels)·taps); outside: the last + 1.

    Row dy holds, for pixel after pixel, the targets of dx = 0, 1, …
    """
    count, height, width = shape
    x, y, image = pixels % width, pixels // width % height, pixels // (width * height)
    offset = taps // 2 - torch.arange(taps, device=pixels.device)
    rows = (y + offset[:, None])[:, :, None]  # (dy, M, 1)
    columns = (x[:, None] + offset)[None]  # (1, M, dx)
    target = (image[:, None] * height + rows) * width + columns
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return target.where(inside, count * height * width).flatten(1)


class _SegmentationTail(torch.autograd.Function):
    """BatchNorm over the duplicated batch, LeakyReLU and the last 1×1 convolution.

    A pixel without noise is computed once and counted as often as it occurs. With z the normalised
    value and g the logit's gradient, ∂L/∂z = g · w · slope(z); BatchNorm's own gradient follows the
    usual formula with weighted means.
    """

    @staticmethod
    def forward(
        ctx: Any,
        shared: Tensor,
        added: Tensor,
        where: Tensor,
        copies: Tensor,
        bias: Tensor,
        weight: Tensor,
        shift: Tensor,
        last: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(P, K) hidden values of the shared pixels, (M, K) what noise adds at pixels `where`;
        `copies` (P,). Returns logits (P,) and (M,), and mean and variance (K,) of the batch."""
        noisy = shared.index_select(0, where).add_(added)
        ones = copies.new_ones(len(noisy))
        total = copies.sum() + len(noisy)
        # Mean and variance in one pass, about a value near the mean, so that nothing cancels.
        near = shared[:CHUNK].mean(0)
        sums, squares = torch.zeros_like(near), torch.zeros_like(near)
        for rows, counted in ((shared, copies), (noisy, ones)):
            for part, count in _pieces(rows, counted):
                away = part - near
                sums += count @ away
                squares += count @ away.square_()
        away = sums / total
        mean, variance = near + away, squares / total - away.square()
        scale = weight * torch.rsqrt(variance + eps)
        offset = shift - mean * scale
        logits = []
        for rows in (shared, noisy):
            out = rows.new_empty(len(rows))
            for part, piece in _pieces(rows, out):
                z = torch.addcmul(offset, part, scale)
                torch.mv(F.leaky_relu(z, LEAKY_SLOPE, inplace=True), last, out=piece)
            logits.append(out)
        ctx.save_for_backward(shared, noisy, where, copies, mean, variance, weight, shift, last)
        ctx.eps, ctx.total = eps, total
        mean = mean + bias  # which BatchNorm takes away: it is in the statistics only
        ctx.mark_non_differentiable(mean, variance)
        return *logits, mean, variance

    @staticmethod
    def backward(
        ctx: Any, on_shared: Tensor, on_noisy: Tensor, *_: Tensor
    ) -> tuple[Tensor | None, ...]:
        shared, noisy, where, copies, mean, variance, weight, shift, last = ctx.saved_tensors
        inverse = torch.rsqrt(variance + ctx.eps)
        scale = weight * inverse
        offset = shift - mean * scale
        both = (
            (shared, on_shared.contiguous(), copies),
            (noisy, on_noisy.contiguous(), copies.new_ones(len(noisy))),
        )

        # Two sums over all pixels suffice: of g · slope(z) and of g · slope(z) · x̂. The summands
        # are made again below: to keep them would take as much memory as the hidden values.
        slopes, moments = torch.zeros_like(last), torch.zeros_like(last)
        for rows, gradient, _ in both:
            for part, g in _pieces(rows, gradient):
                steep = _through_activation(part, g, scale, offset)
                slopes += steep.sum(0)
                moments += steep.mul_(part).sum(0)
        moments = (moments - mean * slopes) * inverse
        on_weight, on_shift = last * moments, last * slopes
        on_last = weight * moments + shift * slopes

        # ∂L/∂h = scale · (∂L/∂z − copies / total · (Σ ∂L/∂z + x̂ Σ ∂L/∂z x̂))
        per_pixel = -scale * on_weight * inverse / ctx.total
        constant = -scale * on_shift / ctx.total - mean * per_pixel
        outer = last * scale
        results = []
        for rows, gradient, counted in both:
            result = torch.empty_like(rows)
            for part, g, count, piece in _pieces(rows, gradient, counted, result):
                steep = _through_activation(part, g, scale, offset)
                share = torch.addcmul(constant, part, per_pixel).mul_(count[:, None])
                torch.addcmul(share, steep, outer, out=piece)
            results.append(result)
        on_rows, on_added = results
        on_rows.index_add_(0, where, on_added)
        return (
            on_rows,
            on_added,
            None,
            None,
            torch.zeros_like(mean),
            on_weight,
            on_shift,
            on_last,
            None,
        )


def _through_activation(hidden: Tensor, gradient: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """g · slope(z) of some pixels, (P, K), with z = scale · hidden + offset and g (P,)."""
    z = torch.addcmul(offset, hidden, scale)
    return torch.ops.aten.leaky_relu_backward(gradient[:, None].expand_as(z), z, LEAKY_SLOPE, False)


def _pieces(*tensors: Tensor) -> zip:
    """The tensors' rows, some at a time."""
    step = CHUNK if tensors[0].device.type == "cpu" else max(1, len(tensors[0]))
    return zip(*(tensor.split(step) for tensor in tensors), strict=True)
