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

from ssn_lib.backbone import Backbone, load_weights
from ssn_lib.cam import CLS_CHANNELS, CamHead
from ssn_lib.config import ModelConfig
from ssn_lib.errors import InputError
from ssn_lib.reconstruction import Decoder, top_mean
from ssn_lib.upscaled import POOL

SEG_HIDDEN = 1024
LEAKY_SLOPE = 0.2
BLUR_SIGMA = 4.0  # of the final map, in pixels of the image


class Prediction(NamedTuple):
    """What the model says of images, in raw logits (a float32 sigmoid would make ties).

    Attributes:
        anomaly_map: (B, 1, H, W), upscaled to the image and blurred.
        score: (B,)
    """

    anomaly_map: Tensor
    score: Tensor


class SegmentationHead(nn.Sequential):
    """(B, C, h, w) to map logits (B, 1, h, w), pixel by pixel."""

    def __init__(self, channels: int):
        super().__init__(
            nn.Conv2d(channels, SEG_HIDDEN, kernel_size=1),
            nn.BatchNorm2d(SEG_HIDDEN),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
            nn.Conv2d(SEG_HIDDEN, 1, kernel_size=1, bias=False),
        )


class ClassificationHead(nn.Module):
    """Features (B, C, h, w) and map logits (B, 1, h, w) to score logits (B,)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels + 1, CLS_CHANNELS, kernel_size=5, padding=2),
            nn.BatchNorm2d(CLS_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(2 * CLS_CHANNELS + 2, 1)

    def forward(self, features: Tensor, map_logits: Tensor) -> Tensor:
        """See the class."""
        hidden = self.conv(torch.cat((features, map_logits), dim=1))
        return self.score(hidden, map_logits)

    def score(self, hidden: Tensor, map_logits: Tensor) -> Tensor:
        """What the convolution block made, (B, 128, h, w), and map logits to score logits (B,)."""
        pooled = [
            pool for part in (hidden, map_logits) for pool in (part.amax((2, 3)), part.mean((2, 3)))
        ]
        return self.fc(torch.cat(pooled, dim=1))[:, 0]


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
            self.adaptor = _adaptor(config.adaptor, channels)
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


def _adaptor(kind: str, channels: int) -> nn.Module:
    if kind == "linear":
        return nn.Conv2d(channels, channels, kernel_size=1)
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size=3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_normal_(module.weight)
