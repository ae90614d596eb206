"""SuperSimpleNet: frozen features, an adaptor, a segmentation head and a classification head.

Sources: Rolih et al., SuperSimpleNet, ICPR 2024 (classification on adapted features) and its JIMS
2025 extension (on plain features, the default); Liu et al., SimpleNet, CVPR 2023. Scenario A and B
replace the WideResNet50-2 by a ResNet18 and, in B, the adaptor by a non-linear one; GAP + CAM
(`cam`) replaces both heads by one that learns from image labels; feature
reconstruction (`reconstruction`) replaces adaptor and heads by a decoder.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssn_lib.config import ModelConfig
from ssn_lib.errors import InputError
from ssn_lib.models.backbone import Backbone
from ssn_lib.models.cam import CamHead
from ssn_lib.models.heads import ClassificationHead, SegmentationHead, make_adaptor
from ssn_lib.models.reconstruction import Decoder, top_mean
from ssn_lib.models.weights import load_weights

BLUR_SIGMA = 4.0  # of the final map, in pixels of the image


class Prediction(NamedTuple):
    """What the model says of images, in raw logits (a float32 sigmoid would make ties).

    Attributes:
        anomaly_map: (B, 1, H, W), upscaled to the image and blurred.
        score: (B,)
    """

    anomaly_map: Tensor
    score: Tensor


class SuperSimpleNet(nn.Module):
    """The detector; `forward` is inference, training goes through its parts (`training.fit`).

    Args:
        config: the architecture.
        weights: of the backbone: "imagenet" (looked up), a file or folder, None for untrained.

    Attributes:
        weights_source: what was loaded, None for an untrained backbone.

    Raises:
        InputError: no such backbone, or no weights to be had.
    """

    def __init__(self, config: ModelConfig, weights: str | Path | None = "imagenet"):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, config.layers)
        self.weights_source = load_weights(self.backbone, config.backbone, weights)
        channels = sum(self.backbone.channels)
        self.adaptor: nn.Module | None = None
        self.seg_head: SegmentationHead | None = None
        self.cls_head: ClassificationHead | CamHead | None = None
        self.decoder: Decoder | None = None
        if config.score == "reconstruction":
            self.decoder = Decoder(self.backbone.channels, config.decoder_width)
        else:
            self.adaptor = make_adaptor(config.adaptor, channels)
            if config.score != "cam":
                self.seg_head = SegmentationHead(channels)
            if config.score == "cam":
                self.cls_head = CamHead(channels, config.cam_pooling)
            elif config.score != "map_max":
                self.cls_head = ClassificationHead(channels)
        for part in self.trained_parts():
            part.apply(_initialise)

    def trained_parts(self) -> list[nn.Module]:
        """Everything but the backbone."""
        parts = [self.adaptor, self.seg_head, self.cls_head, self.decoder]
        return [part for part in parts if part is not None]

    def trained_state(self) -> dict[str, Tensor]:
        """The state dict without the backbone's part: what a run keeps."""
        state = self.state_dict()
        return {name: value for name, value in state.items() if not name.startswith("backbone.")}

    def load_trained_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `trained_state` gave.

        Raises:
            InputError: it is of another architecture.
        """
        try:
            missing, unexpected = self.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise InputError(f"trained weights do not fit: {str(error).splitlines()[-1]}") from None
        missing = [name for name in missing if not name.startswith("backbone.")]
        if missing or unexpected:
            raise InputError(f"trained weights do not fit: {(missing + unexpected)[0]!r} differs")

    def upscale(self, layers: list[Tensor]) -> Tensor:
        """Stage outputs (B, C_l, h_l, w_l) to pooled features (B, C, h, w) on one grid."""
        height, width = layers[0].shape[-2:]
        size = (height * self.config.upscale, width * self.config.upscale)
        features = torch.cat(
            [
                F.interpolate(
                    layer, size=size, mode="bilinear", align_corners=self.config.align_corners
                )
                for layer in layers
            ],
            dim=1,
        )
        # The zero padding counts, as in the public code: features fade towards the border.
        return F.avg_pool2d(features, POOL, stride=1, padding=POOL // 2)

    def features(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to plain features (B, C, h, w)."""
        return self.upscale(self.backbone(images))

    def heads(self, plain: Tensor, adapted: Tensor) -> tuple[Tensor, Tensor]:
        """Plain and adapted features (B, C, h, w) to map and score logits.

        Returns:
            (B, 1, h, w) and (B,). Of a class activation map, raw activations.
        """
        if self.seg_head is None:
            return self.cls_head(adapted)
        map_logits = self.seg_head(adapted)
        if self.cls_head is None:
            return map_logits, map_logits.amax((1, 2, 3))
        seen = map_logits.detach() if self.config.stop_map_gradient else map_logits
        return map_logits, self.cls_head(plain if self.config.score == "plain" else adapted, seen)

    def forward(self, images: Tensor) -> Prediction:
        """Normalised images (B, 3, H, W) to their prediction.

        Without a classification head the score is the maximum of the final, blurred map; with a
        decoder, the mean of that map's highest pixels.
        """
        layers = self.backbone(images)
        score = None
        if self.decoder is not None:
            map_logits = self.decoder(layers)
        else:
            plain = self.upscale(layers)
            map_logits, score = self.heads(plain, self.adaptor(plain))
        anomaly_map = F.interpolate(
            map_logits, size=images.shape[-2:], mode="bilinear", align_corners=False
        )
        anomaly_map = blur(anomaly_map, BLUR_SIGMA)
        if self.decoder is not None:
            score = top_mean(anomaly_map)
        elif self.cls_head is None:
            score = anomaly_map.amax((1, 2, 3))
        return Prediction(anomaly_map, score)


def blur(maps: Tensor, sigma: float, axes: tuple[int, ...] = (2, 3)) -> Tensor:
    """Gaussian blur of (B, 1, H, W) with mirrored borders; kernel of 2·⌈3σ⌉ + 1 pixels.

    A side shorter than half the kernel is mirrored as far as it goes, then its edge is repeated.

    Args:
        axes: along which to blur.
    """
    radius = math.ceil(3 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    for axis in axes:
        mirror = min(radius, maps.shape[axis] - 1)
        for mode, width in (("reflect", mirror), ("replicate", radius - mirror)):
            rows, columns = (width, 0) if axis == 2 else (0, width)
            maps = F.pad(maps, (columns, columns, rows, rows), mode=mode)
        maps = F.conv2d(maps, kernel.view((1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)))
    return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_normal_(module.weight)


POOL = 3  # neighbourhood over which features are averaged
