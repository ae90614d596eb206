"""The same detector with much less arithmetic: exact algebra for inference.

In eval mode everything between a backbone layer's output and the heads' non-linearities is linear:
upscaling, pooling, the 1×1 adaptor, the heads' first convolutions and BatchNorm. It is folded into
one set of weights that acts at the backbone's resolution, and only what comes out is interpolated
(`upscaled`). The final upscaling and blur, linear and separable too, become one product a side.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ssn_lib import machine
from ssn_lib.fast.interpolation import Grid, channels_last, convolve, halves, pack
from ssn_lib.models.cam import pool
from ssn_lib.models.heads import LEAKY_SLOPE
from ssn_lib.models.reconstruction import top_mean
from ssn_lib.models.supersimplenet import BLUR_SIGMA, Prediction, SuperSimpleNet, blur

COLUMNS = 8  # of the segmentation head's grid, computed at a time


def fuse(model: SuperSimpleNet) -> FusedNet:
    """A network for inference with the same outputs as `model` in eval mode.

    It is a copy: the model is left as it is, and training it on does not change the copy. Scenario
    B's adaptor is not linear, so only what precedes and what follows it is folded; of a decoder,
    its BatchNorm.

    Under `torch.autocast`, too, the weights are folded as precisely as they are, and only the
    backbone (and a decoder) computes in autocast's precision.
    """
    with machine.without_autocast(next(model.parameters()).device):
        fused = FusedNet(model).requires_grad_(False).eval()
    return fused.to(memory_format=torch.channels_last)


class FusedNet(nn.Module):
    """See `fuse`. Normalised images (B, 3, H, W) to `Prediction`, as `SuperSimpleNet`."""

    def __init__(self, model: SuperSimpleNet):
        super().__init__()
        self.config = model.config
        channels = list(model.backbone.channels)
        self.backbone = _without_batchnorm(copy.deepcopy(model.backbone))
        self._geometries: dict[tuple, _Geometry] = {}
        self.decoder = None
        if model.decoder is not None:
            self.decoder = _without_batchnorm(copy.deepcopy(model.decoder))
            return

        linear = isinstance(model.adaptor, nn.Conv2d)
        if linear:
            matrix, shift = model.adaptor.weight[:, :, 0, 0], model.adaptor.bias
        self.adaptor = None
        if not linear:
            adaptor = fuse_conv_bn_eval(*model.adaptor[:2])
            self.adaptor = _Upscaling(adaptor.weight, adaptor.bias, channels)

        self.seg: nn.Module | None = None
        if model.seg_head is not None:
            first, normalise, _, last = model.seg_head
            first = fuse_conv_bn_eval(first, normalise)
            self.seg = first
            if linear:
                bias = first.bias + first.weight[:, :, 0, 0] @ shift
                self.seg = _Upscaling(_through(first.weight, matrix), bias, channels)
            self.seg_last = nn.Parameter(last.weight[0, :, 0, 0].detach().clone())

        self.pooling = getattr(model.cls_head, "pooling", None)
        self.score = None
        if model.cls_head is not None:
            conv = fuse_conv_bn_eval(*model.cls_head.conv[:2])
            weight, beside = conv.weight[:, : sum(channels)], conv.weight[:, sum(channels) :]
            self.with_ones = False
            if model.config.score == "plain":
                self.cls: nn.Module = _Upscaling(weight, conv.bias, channels)
            elif linear:
                self.cls = _Upscaling(_through(weight, matrix), conv.bias, channels)
                # Where the kernel lies within the image, the adaptor's bias is a constant: it is
                # given as a channel of ones, beside the map if there is one.
                self.with_ones = True
                ones = torch.einsum("kcyx,c->kyx", weight, shift)[:, None]
                beside = torch.cat((beside, ones), dim=1)
            else:
                self.cls = nn.Conv2d(weight.shape[1], len(weight), weight.shape[2:], padding="same")
                self.cls.weight, self.cls.bias = nn.Parameter(weight.clone()), conv.bias
            self.beside = nn.Parameter(beside.detach().clone())
            self.score = copy.deepcopy(model.cls_head.fc)

    def forward(self, images: Tensor) -> Prediction:
        """See the class."""
        images = images.contiguous(memory_format=torch.channels_last)
        outputs = self.backbone(images)
        errors = None if self.decoder is None else self.decoder(outputs)
        with machine.without_autocast(images.device):
            return self._predict(images, outputs, errors)

    def _predict(self, images: Tensor, outputs: list[Tensor], errors: Tensor | None) -> Prediction:
        """What follows the backbone and, if there is one, the decoder, in the weights' dtype."""
        dtype = next(self.parameters()).dtype
        layers = [layer.to(dtype) for layer in channels_last(outputs)]
        geometry = self._geometry(images, layers)
        if errors is not None:
            final = geometry.rows @ errors.to(dtype) @ geometry.columns.T
            return Prediction(final, top_mean(final))
        if images.device.type != "cpu" or torch.compiler.is_exporting():
            return Prediction(*self._heads(layers, geometry))
        # One image at a time: what lies between the products stays in the processor's cache.
        parts = zip(*(layer.split(1) for layer in layers), strict=True)
        results = [self._heads(list(part), geometry) for part in parts]
        return Prediction(*(torch.cat(part) for part in zip(*results, strict=True)))

    def _heads(self, layers: list[Tensor], geometry: _Geometry) -> tuple[Tensor, Tensor]:
        """Final map (n, 1, H, W) and score (n,)."""
        grid = geometry.grid
        adapted = None if self.adaptor is None else self.adaptor(layers, grid).relu_()
        if self.seg is None:
            hidden = self._classify(layers, adapted, grid, [])
            cam = (hidden @ self.score.weight[0]).unflatten(1, (1, *grid.size))
            final = geometry.rows @ cam @ geometry.columns.T
            return final, pool(cam, self.pooling) + self.score.bias
        if adapted is None:
            map_logits = self._segment(layers, grid)
        else:
            hidden = F.linear(adapted, self.seg.weight[:, :, 0, 0], self.seg.bias)
            map_logits = F.leaky_relu_(hidden, LEAKY_SLOPE) @ self.seg_last  # (n, h, w)
        final = geometry.rows @ map_logits @ geometry.columns.T
        if self.score is None:
            return final[:, None], final.amax((1, 2))
        hidden = self._classify(layers, adapted, grid, [map_logits[:, None]])
        flat = map_logits.flatten(1)
        pooled = (hidden.amax(1), hidden.mean(1), flat.amax(1, True), flat.mean(1, True))
        return final[:, None], self.score(torch.cat(pooled, dim=1))[:, 0]

    def _classify(
        self, layers: list[Tensor], adapted: Tensor | None, grid: Grid, seen: list[Tensor]
    ) -> Tensor:
        """The classification head's hidden values (n, h·w, K), with what it sees beside features,
        (n, 1, h, w) each."""
        if isinstance(self.cls, _Upscaling):
            hidden = self.cls(layers, grid)
        else:
            hidden = self.cls(adapted.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        hidden = hidden.flatten(1, 2)
        if self.with_ones:
            seen = [*seen, hidden.new_ones(hidden.shape[0], 1, *grid.size)]
        if seen:
            padding = self.beside.shape[-1] // 2
            beside = F.conv2d(torch.cat(seen, dim=1), self.beside, padding=padding)
            hidden = hidden + beside.flatten(2).transpose(1, 2)
        return hidden.relu_()

    def _segment(self, layers: list[Tensor], grid: Grid) -> Tensor:
        """Map logits (n, h, w). Some columns at a time: the hidden values stay in the cache."""
        half = halves(layers, list(self.seg.weights), grid, self.seg.bias)
        down = grid.shifted(1)[0]
        parts = []
        for part in half.split(COLUMNS, dim=2):
            hidden = (down @ part.flatten(2)).unflatten(2, (-1, half.shape[-1]))
            parts.append(F.leaky_relu_(hidden, LEAKY_SLOPE) @ self.seg_last)
        return torch.cat(parts, dim=2)

    def _geometry(self, images: Tensor, layers: list[Tensor]) -> _Geometry:
        """The interpolations for images of that size, made once."""
        key = (images.shape[-2:], layers[0].device, layers[0].dtype)
        if key not in self._geometries:
            sides = [(layer.shape[1], layer.shape[2]) for layer in layers]
            grid = Grid(sides, self.config.upscale, self.config.align_corners, layers[0])
            ends = [
                _final_matrix(short, long).to(layers[0])
                for short, long in zip(grid.size, images.shape[-2:], strict=True)
            ]
            self._geometries[key] = _Geometry(grid, *ends)
        return self._geometries[key]


class _Geometry(NamedTuple):
    """Interpolations for one image size: up to the features, and from their grid to the image."""

    grid: Grid
    rows: Tensor
    columns: Tensor


class _Upscaling(nn.Module):
    """A convolution of the upscaled features: weight (K, C, k, k), bias (K,)."""

    def __init__(self, weight: Tensor, bias: Tensor, channels: list[int]):
        super().__init__()
        parts = pack(weight.detach(), channels)
        self.weights = nn.ParameterList([nn.Parameter(part) for part in parts])
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, layers: list[Tensor], grid: Grid) -> Tensor:
        """Layers (B, h_l, w_l, C_l) to (B, H, W, K)."""
        return convolve(layers, list(self.weights), grid, self.bias)


def _through(weight: Tensor, matrix: Tensor) -> Tensor:
    """A convolution (K, C, k, k) of what a matrix (C, C') makes of the features, as one."""
    return torch.einsum("kcyx,cd->kdyx", weight, matrix)


def _final_matrix(short: int, long: int) -> Tensor:
    """(long, short) float64: upscaling and blur of the map along one side."""
    basis = torch.eye(short, dtype=torch.float64).view(short, 1, short, 1)
    upscaled = F.interpolate(basis, size=(long, 1), mode="bilinear", align_corners=False)
    return blur(upscaled, BLUR_SIGMA, axes=(2,))[:, 0, :, 0].T.contiguous()


def _without_batchnorm(module: nn.Module) -> nn.Module:
    """Every BatchNorm folded into the convolution before it, in place."""
    children = list(module.named_children())
    for (name, conv), (following, normalise) in pairwise(children):
        if isinstance(conv, nn.Conv2d) and isinstance(normalise, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(conv, normalise))
            setattr(module, following, nn.Identity())
    for child in module.children():
        _without_batchnorm(child)
    return module
