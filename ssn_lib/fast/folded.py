"""The same detector with much less arithmetic: exact algebra for inference.

In eval mode everything between a backbone layer's output and the heads' non-linearities is linear:
upscaling, pooling, the 1×1 adaptor, the heads' first convolutions and BatchNorm. It is folded into
one set of weights that acts at the backbone's resolution, and only what comes out is interpolated
(`fast.interpolation`). The final upscaling and blur, linear and separable too, become one product a
side.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ssn_lib import machine
from ssn_lib.errors import InputError
from ssn_lib.fast.interpolation import Grid, channels_last, convolve, halves, pack
from ssn_lib.models.cam import pool
from ssn_lib.models.heads import LEAKY_SLOPE
from ssn_lib.models.reconstruction import top_mean
from ssn_lib.models.supersimplenet import (
    BLUR_SIGMA,
    AdaptedDetector,
    CamDetector,
    Detector,
    HeadsDetector,
    MapDetector,
    Prediction,
    ReconstructionDetector,
    blur,
    error_map,
    upscale,
)

COLUMNS = 8  # of the segmentation head's grid, computed at a time


def fuse(model: Detector, *, dense: bool = False) -> FusedNet:
    """A network for inference with the same outputs as `model` in eval mode.

    It is a copy: the model is left as it is, and training it on does not change the copy. Scenario
    B's adaptor is not linear, so only what precedes and what follows it is folded; of a decoder,
    its BatchNorm.

    Under `torch.autocast`, too, the weights are folded as precisely as they are, and only the
    backbone (and a decoder) computes in autocast's precision.

    Args:
        model: trained, in either mode, on any device; the copy is on the same one, in eval mode.
        dense: build the features at full size for the segmentation head's wide hidden layer. That
            is several times the arithmetic and fewer passes over memory: faster where an engine has
            matrix units for 16 or 8 bits (`deploy.openvino`), slower elsewhere.

    Raises:
        InputError: it is folded already, or no detector.
    """
    if type(model) not in FUSED:
        kind = type(model).__name__
        what = "folded already" if isinstance(model, FusedNet) else "no detector of ssn_lib"
        raise InputError(f"{kind} cannot be folded: it is {what}")
    model = copy.deepcopy(model).eval()
    with machine.without_autocast(next(model.parameters()).device):
        fused = FUSED[type(model)](model)
        if dense and isinstance(fused, _FusedAdapted):
            fused.build_features(model)
        fused = fused.requires_grad_(False).eval()
    return fused.to(memory_format=torch.channels_last)


class FusedNet(nn.Module):
    """See `fuse`. Normalised images (B, 3, H, W) to `Prediction`, as the detector.

    Args:
        model: in eval mode; its parts are taken over.
    """

    def __init__(self, model: Detector):
        super().__init__()
        self.config = model.config
        self.backbone = _without_batchnorm(model.backbone)
        self._geometries: dict[tuple, _Geometry] = {}

    def forward(self, images: Tensor) -> Prediction:
        """See the class."""
        images = images.contiguous(memory_format=torch.channels_last)
        outputs = self._outputs(images)
        with machine.without_autocast(images.device):
            return self._predict(images, outputs)

    def _outputs(self, images: Tensor) -> list[Tensor]:
        """What is computed in autocast's precision: the backbone's outputs."""
        return self.backbone(images)

    def _predict(self, images: Tensor, outputs: list[Tensor]) -> Prediction:
        """What follows them, in the weights' dtype."""
        raise NotImplementedError

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

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


class _FusedReconstruction(FusedNet):
    """A decoder behind the backbone, and a local view beside it if there is one."""

    def __init__(self, model: ReconstructionDetector):
        super().__init__(model)
        self.decoder = _without_batchnorm(model.decoder)
        self.local = None
        if model.local is not None:
            self.local = _without_batchnorm(model.local)

    def _outputs(self, images: Tensor) -> list[Tensor]:
        outputs = self.backbone(images)
        return [*outputs, error_map(self.decoder, self.local, outputs)]

    def _predict(self, images: Tensor, outputs: list[Tensor]) -> Prediction:
        *layers, errors = (part.to(self._dtype()) for part in outputs)
        final = self._geometry(images, channels_last(layers)).final(errors)
        return Prediction(final, top_mean(final, self.config.score_share))


class _FusedAdapted(FusedNet):
    """An adaptor and heads. A linear adaptor is a part of their weights."""

    def __init__(self, model: AdaptedDetector):
        super().__init__(model)
        self.dense = False
        self.adaptor = None
        if not isinstance(model.adaptor, nn.Conv2d):
            adaptor = fuse_conv_bn_eval(*model.adaptor[:2])
            self.adaptor = _Upscaling(adaptor.weight, adaptor.bias, model.backbone.channels)

    def _predict(self, images: Tensor, outputs: list[Tensor]) -> Prediction:
        layers = [layer.to(self._dtype()) for layer in channels_last(outputs)]
        geometry = self._geometry(images, layers)
        if self.dense and torch.compiler.is_exporting():
            # OpenVINO computes a product whose left factor is constant in 32 bits.
            geometry = geometry._replace(grid=geometry.grid.with_data(images))
        if images.device.type != "cpu" or torch.compiler.is_exporting():
            return Prediction(*self._judge(layers, geometry))
        # One image at a time: what lies between the products stays in the processor's cache.
        parts = zip(*(layer.split(1) for layer in layers), strict=True)
        results = [self._judge(list(part), geometry) for part in parts]
        return Prediction(*(torch.cat(part) for part in zip(*results, strict=True)))

    def build_features(self, model: AdaptedDetector) -> None:
        """Take the `dense` form, see `fuse`.

        Args:
            model: that this was made of.
        """
        self.dense = True
        if hasattr(self, "seg"):
            self.seg = _DenseSegmentation(model)

    def _judge(self, layers: list[Tensor], geometry: _Geometry) -> tuple[Tensor, Tensor]:
        """Final map (n, 1, H, W) and score (n,)."""
        adapted = None if self.adaptor is None else self.adaptor(layers, geometry.grid).relu_()
        return self._heads(layers, adapted, geometry)

    def _heads(
        self, layers: list[Tensor], adapted: Tensor | None, geometry: _Geometry
    ) -> tuple[Tensor, Tensor]:
        """As `_judge`, from the layers and, of an adaptor that is not linear, what it makes of
        them, (n, h, w, C)."""
        raise NotImplementedError


class _FusedMap(_FusedAdapted):
    """A segmentation head alone."""

    def __init__(self, model: MapDetector):
        super().__init__(model)
        self.seg = _Segmentation(model)

    def _heads(
        self, layers: list[Tensor], adapted: Tensor | None, geometry: _Geometry
    ) -> tuple[Tensor, Tensor]:
        final = geometry.final(self.seg(layers, adapted, geometry.grid))
        return final[:, None], final.amax((1, 2))


class _FusedHeads(_FusedAdapted):
    """A segmentation and a classification head."""

    def __init__(self, model: HeadsDetector):
        super().__init__(model)
        self.seg = _Segmentation(model)
        self.cls = _Classification(model, on_plain=model.config.score == "plain")
        self.score = model.cls_head.fc

    def _heads(
        self, layers: list[Tensor], adapted: Tensor | None, geometry: _Geometry
    ) -> tuple[Tensor, Tensor]:
        map_logits = self.seg(layers, adapted, geometry.grid)
        final = geometry.final(map_logits)
        hidden = self.cls(layers, adapted, geometry.grid, [map_logits[:, None]])
        flat = map_logits.flatten(1)
        pooled = torch.cat(
            (hidden.amax(1), hidden.mean(1), flat.amax(1, True), flat.mean(1, True)), dim=1
        )
        if self.dense:
            # No matrix product: OpenVINO computes what follows the last one in 32 bits.
            return final[:, None], (pooled * self.score.weight[0]).sum(1) + self.score.bias
        return final[:, None], self.score(pooled)[:, 0]


class _FusedCam(_FusedAdapted):
    """One head, whose map is the class activation map."""

    def __init__(self, model: CamDetector):
        super().__init__(model)
        self.pooling = model.cls_head.pooling
        self.cls = _Classification(model, on_plain=False)
        self.score = model.cls_head.fc

    def _heads(
        self, layers: list[Tensor], adapted: Tensor | None, geometry: _Geometry
    ) -> tuple[Tensor, Tensor]:
        hidden = self.cls(layers, adapted, geometry.grid, [])
        cam = (hidden @ self.score.weight[0]).unflatten(1, (1, *geometry.grid.size))
        return geometry.final(cam), pool(cam, self.pooling) + self.score.bias


FUSED: dict[type[Detector], type[FusedNet]] = {
    HeadsDetector: _FusedHeads,
    MapDetector: _FusedMap,
    CamDetector: _FusedCam,
    ReconstructionDetector: _FusedReconstruction,
}


class _Geometry(NamedTuple):
    """Interpolations for one image size: up to the features, and from their grid to the image."""

    grid: Grid
    rows: Tensor
    columns: Tensor

    def final(self, map_logits: Tensor) -> Tensor:
        """Map logits (…, h, w), upscaled and blurred: (…, H, W)."""
        if torch.compiler.is_exporting():
            # Constants on the left: OpenVINO computes both products in 32 bits.
            return (self.columns @ (self.rows @ map_logits).mT).mT
        return self.rows @ map_logits @ self.columns.T


class _Upscaling(nn.Module):
    """A convolution of the upscaled features: weight (K, C, k, k), bias (K,)."""

    def __init__(self, weight: Tensor, bias: Tensor, channels: Sequence[int]):
        super().__init__()
        parts = pack(weight.detach(), channels)
        self.weights = nn.ParameterList([nn.Parameter(part) for part in parts])
        self.bias = nn.Parameter(bias.detach().clone())

    def forward(self, layers: list[Tensor], grid: Grid) -> Tensor:
        """Layers (B, h_l, w_l, C_l) to (B, H, W, K)."""
        return convolve(layers, list(self.weights), grid, self.bias)


class _Segmentation(nn.Module):
    """A segmentation head, a linear adaptor before it included."""

    def __init__(self, model: HeadsDetector | MapDetector):
        super().__init__()
        self.first: nn.Module = _first_of_segmentation(model)
        if isinstance(model.adaptor, nn.Conv2d):
            channels = model.backbone.channels
            self.first = _Upscaling(self.first.weight, self.first.bias, channels)
        self.last = nn.Parameter(model.seg_head[-1].weight[0, :, 0, 0].detach().clone())

    def forward(self, layers: list[Tensor], adapted: Tensor | None, grid: Grid) -> Tensor:
        """Map logits (n, h, w). Some columns at a time: the hidden values stay in the cache."""
        if adapted is not None:
            hidden = F.linear(adapted, self.first.weight[:, :, 0, 0], self.first.bias)
            return F.leaky_relu_(hidden, LEAKY_SLOPE) @ self.last
        half = halves(layers, list(self.first.weights), grid, self.first.bias)
        parts = []
        for part in half.split(COLUMNS, dim=2):
            hidden = grid.to_rows(part.flatten(2), 1).unflatten(2, (-1, half.shape[-1]))
            parts.append(F.leaky_relu_(hidden, LEAKY_SLOPE) @ self.last)
        return torch.cat(parts, dim=2)


class _DenseSegmentation(nn.Module):
    """As `_Segmentation`, by two convolutions at the features' own size."""

    def __init__(self, model: HeadsDetector | MapDetector):
        super().__init__()
        self.first = _first_of_segmentation(model)
        self.last = model.seg_head[-1]
        self.config = model.config

    def forward(self, layers: list[Tensor], adapted: Tensor | None, grid: Grid) -> Tensor:
        """Map logits (n, h, w)."""
        if adapted is None:
            features = upscale([layer.permute(0, 3, 1, 2) for layer in layers], self.config)
        else:
            features = adapted.permute(0, 3, 1, 2)
        return self.last(F.leaky_relu(self.first(features), LEAKY_SLOPE))[:, 0]


def _first_of_segmentation(model: HeadsDetector | MapDetector) -> nn.Conv2d:
    """A segmentation head's hidden layer, BatchNorm and a linear adaptor before it included."""
    first = fuse_conv_bn_eval(model.seg_head[0], model.seg_head[1])
    if isinstance(model.adaptor, nn.Conv2d):
        weight, matrix = first.weight, model.adaptor.weight[:, :, 0, 0]
        first.bias = nn.Parameter(first.bias + weight[:, :, 0, 0] @ model.adaptor.bias)
        first.weight = nn.Parameter(_through(weight, matrix))
    return first


class _Classification(nn.Module):
    """The convolution block of a classification head, a linear adaptor before it included.

    Args:
        on_plain: whether it sees the features as they are before the adaptor.
    """

    def __init__(self, model: HeadsDetector | CamDetector, on_plain: bool):
        super().__init__()
        channels = model.backbone.channels
        conv = fuse_conv_bn_eval(*model.cls_head.conv[:2])
        weight, beside = conv.weight[:, : model.channels], conv.weight[:, model.channels :]
        self.with_ones = False
        if on_plain:
            self.conv: nn.Module = _Upscaling(weight, conv.bias, channels)
        elif isinstance(model.adaptor, nn.Conv2d):
            matrix, shift = model.adaptor.weight[:, :, 0, 0], model.adaptor.bias
            self.conv = _Upscaling(_through(weight, matrix), conv.bias, channels)
            # Where the kernel lies within the image, the adaptor's bias is a constant: it is given
            # as a channel of ones, beside the map if there is one.
            self.with_ones = True
            ones = torch.einsum("kcyx,c->kyx", weight, shift)[:, None]
            beside = torch.cat((beside, ones), dim=1)
        else:
            self.conv = nn.Conv2d(weight.shape[1], len(weight), weight.shape[2:], padding="same")
            self.conv.weight, self.conv.bias = nn.Parameter(weight.clone()), conv.bias
        self.beside = nn.Parameter(beside.detach().clone())

    def forward(
        self, layers: list[Tensor], adapted: Tensor | None, grid: Grid, seen: list[Tensor]
    ) -> Tensor:
        """Hidden values (n, h·w, K), with what the head sees beside features, (n, 1, h, w) each."""
        if isinstance(self.conv, _Upscaling):
            hidden = self.conv(layers, grid)
        else:
            hidden = self.conv(adapted.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        hidden = hidden.flatten(1, 2)
        if self.with_ones:
            seen = [*seen, hidden.new_ones(hidden.shape[0], 1, *grid.size)]
        if seen:
            padding = self.beside.shape[-1] // 2
            beside = F.conv2d(torch.cat(seen, dim=1), self.beside, padding=padding)
            hidden = hidden + beside.flatten(2).transpose(1, 2)
        return hidden.relu_()


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
