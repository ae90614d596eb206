"""SuperSimpleNet: frozen features, an adaptor, a segmentation head and a classification head.

Sources: Rolih et al., SuperSimpleNet, ICPR 2024 (classification on adapted features) and its JIMS
2025 extension (on plain features, the default); Liu et al., SimpleNet, CVPR 2023. Scenario A and B
replace the WideResNet50-2 by a ResNet18 and, in B, the adaptor by a non-linear one; GAP + CAM
(`cam`) replaces both heads by one that learns from image labels; feature
reconstruction (`reconstruction`) replaces adaptor and heads by a decoder. Each is a class here, and
`build` makes the one that `ModelConfig.score` names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssn_lib.checks import check_model
from ssn_lib.config import ModelConfig
from ssn_lib.errors import InputError
from ssn_lib.losses import detection_loss, focal
from ssn_lib.models.backbone import Backbone
from ssn_lib.models.cam import CamHead
from ssn_lib.models.heads import ClassificationHead, SegmentationHead, make_adaptor
from ssn_lib.models.local_view import LocalView
from ssn_lib.models.reconstruction import Decoder, loss_of, sum_of, top_mean
from ssn_lib.models.weights import load_weights

BLUR_SIGMA = 4.0  # of the final map, in pixels of the image
POOL = 3  # neighbourhood over which features are averaged
Shown = TypeVar("Shown")


class Prediction(NamedTuple):
    """What the model says of images, in raw logits (a float32 sigmoid would make ties).

    Attributes:
        anomaly_map: (B, 1, H, W), upscaled to the image and blurred.
        score: (B,)
    """

    anomaly_map: Tensor
    score: Tensor


class Detector(nn.Module):
    """A frozen backbone and what is trained on its outputs; made by `build`.

    `forward` is inference: normalised images (B, 3, H, W) to their prediction. Training goes
    through the parts (`training.fit`).

    Args:
        config: the architecture.
        weights: of the backbone, as for `build`.

    Attributes:
        weights_source: what was loaded, None for an untrained backbone.
    """

    def __init__(self, config: ModelConfig, weights: str | Path | None):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, config.layers)
        self.weights_source = load_weights(self.backbone, config.backbone, weights)

    def trained_parts(self) -> list[nn.Module]:
        """Everything but the backbone."""
        return [part for name, part in self.named_children() if name != "backbone"]

    def adaptor_weights(self) -> list[nn.Parameter]:
        """Those that move at the adaptor's learning rate; here none."""
        return []

    def head_weights(self) -> list[nn.Parameter]:
        """All others that are trained."""
        return [weight for part in self.trained_parts() for weight in part.parameters()]

    def standardise(self, layers: Sequence[Tensor]) -> None:
        """Take over, before the first epoch, what is known at once from the backbone's outputs
        (N, C_l, h_l, w_l) for all training images; here nothing."""

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


class ReconstructionDetector(Detector):
    """A decoder gives the backbone's outputs back; its errors are the map, a local view's beside
    them if there is one, and the mean of the final map's highest pixels is the score."""

    def __init__(self, config: ModelConfig, weights: str | Path | None):
        super().__init__(config, weights)
        self.decoder = Decoder(self.backbone.channels, config.decoder_width)
        self.local = None
        if config.local_width is not None:
            self.local = LocalView(self.decoder.standards, config.local_width)

    def standardise(self, layers: Sequence[Tensor]) -> None:
        """See `Detector`: the channels' means and deviations."""
        self.decoder.standardise(layers)

    def loss(self, layers: Sequence[Tensor]) -> Tensor:
        """The loss of both views.

        Args:
            layers: the backbone's outputs for sound images, (B, C_l, h_l, w_l).
        """
        errors = self.decoder.errors(layers)
        if self.local is None:
            return loss_of(errors)
        return loss_of(errors) + self.local.loss(sum_of(errors).detach(), layers)

    def forward(self, images: Tensor) -> Prediction:
        """See `Detector`."""
        errors = error_map(self.decoder, self.local, self.backbone(images))
        anomaly_map = final_map(errors, images)
        return Prediction(anomaly_map, top_mean(anomaly_map, self.config.score_share))


class AdaptedDetector(Detector):
    """An adaptor, and heads on what it makes of the features; which heads, a subclass says."""

    def __init__(self, config: ModelConfig, weights: str | Path | None):
        super().__init__(config, weights)
        self.channels = sum(self.backbone.channels)
        self.adaptor = make_adaptor(config.adaptor, self.channels)

    def adaptor_weights(self) -> list[nn.Parameter]:
        """See `Detector`."""
        return list(self.adaptor.parameters())

    def head_weights(self) -> list[nn.Parameter]:
        """See `Detector`."""
        heads = [part for part in self.trained_parts() if part is not self.adaptor]
        return [weight for head in heads for weight in head.parameters()]

    def upscale(self, layers: list[Tensor]) -> Tensor:
        """Stage outputs (B, C_l, h_l, w_l) to pooled features (B, C, h, w) on one grid."""
        return upscale(layers, self.config)

    def features(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) to plain features (B, C, h, w)."""
        return self.upscale(self.backbone(images))

    def heads(self, plain: Tensor, adapted: Tensor) -> tuple[Tensor, Tensor]:
        """Plain and adapted features (B, C, h, w) to map logits (B, 1, h, w) and score logits
        (B,)."""
        raise NotImplementedError

    def loss(
        self,
        map_logits: Tensor,
        score_logits: Tensor,
        masks: Tensor,
        labels: Tensor,
        with_focal: bool,
        weights: Tensor | None = None,
    ) -> Tensor:
        """See `losses.detection_loss`; the logits are those of `heads`."""
        return detection_loss(map_logits, score_logits, masks, labels, with_focal, weights)

    def forward(self, images: Tensor) -> Prediction:
        """See `Detector`."""
        plain = self.features(images)
        map_logits, score = self.heads(plain, self.adaptor(plain))
        return Prediction(final_map(map_logits, images), score)


class HeadsDetector(AdaptedDetector):
    """SuperSimpleNet as published: a segmentation head, and a classification head beside it."""

    def __init__(self, config: ModelConfig, weights: str | Path | None):
        super().__init__(config, weights)
        self.seg_head = SegmentationHead(self.channels)
        self.cls_head = ClassificationHead(self.channels)

    def heads(self, plain: Tensor, adapted: Tensor) -> tuple[Tensor, Tensor]:
        """See `AdaptedDetector`."""
        map_logits = self.seg_head(adapted)
        features, seen = self.shown(plain, adapted, map_logits)
        return map_logits, self.cls_head(features, seen)

    def shown(self, plain: Shown, adapted: Shown, map_logits: Tensor) -> tuple[Shown, Tensor]:
        """What the classification head sees.

        Args:
            plain, adapted: features before and after the adaptor, in whatever form they are.
            map_logits: (B, 1, h, w).

        Returns:
            One of the two, and the map's logits, through which the score's gradient flows or not.
        """
        features = plain if self.config.score == "plain" else adapted
        return features, map_logits.detach() if self.config.stop_map_gradient else map_logits


class MapDetector(AdaptedDetector):
    """A segmentation head alone; the score is the maximum of the final, blurred map, and in
    training that of the map's logits."""

    def __init__(self, config: ModelConfig, weights: str | Path | None):
        super().__init__(config, weights)
        self.seg_head = SegmentationHead(self.channels)

    def heads(self, plain: Tensor, adapted: Tensor) -> tuple[Tensor, Tensor]:
        """See `AdaptedDetector`."""
        map_logits = self.seg_head(adapted)
        return map_logits, map_logits.amax((1, 2, 3))

    def forward(self, images: Tensor) -> Prediction:
        """See `Detector`."""
        anomaly_map, _ = super().forward(images)
        return Prediction(anomaly_map, anomaly_map.amax((1, 2, 3)))


class CamDetector(AdaptedDetector):
    """GAP + CAM: one head, taught by the images' labels; its map is the class activation map."""

    def __init__(self, config: ModelConfig, weights: str | Path | None):
        super().__init__(config, weights)
        self.cls_head = CamHead(self.channels, config.cam_pooling)

    def heads(self, plain: Tensor, adapted: Tensor) -> tuple[Tensor, Tensor]:
        """See `AdaptedDetector`; of the map, raw activations."""
        return self.cls_head(adapted)

    def loss(
        self,
        map_logits: Tensor,
        score_logits: Tensor,
        masks: Tensor,
        labels: Tensor,
        with_focal: bool,
        weights: Tensor | None = None,
    ) -> Tensor:
        """See `AdaptedDetector`: here the focal loss of the score alone, as no mask is read."""
        return focal(score_logits, labels)


def build(config: ModelConfig, weights: str | Path | None = "imagenet") -> Detector:
    """The detector that a configuration asks for, initialised as it says, in eval mode.

    The initial weights of what is trained come from PyTorch's global generator: seed it
    (`torch.manual_seed`) for a training that shall come out the same again.

    Args:
        config: the architecture.
        weights: of the backbone: "imagenet" (looked up), a file or folder, None for untrained.

    Raises:
        InputError: a value of the configuration makes no sense, or no weights to be had.
    """
    if not isinstance(config, ModelConfig):
        kind = type(config).__name__
        raise InputError(f"config: {kind}; must be a ModelConfig, as `.model` of a preset is")
    check_model(config)
    model = DETECTORS[config.score](config, weights)
    if config.initialisation == "xavier":
        for part in model.trained_parts():
            part.apply(_initialise)
    return model.eval()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_normal_(module.weight)


def error_map(decoder: Decoder, local: LocalView | None, layers: Sequence[Tensor]) -> Tensor:
    """The backbone's outputs (B, C_l, h_l, w_l) to the map (B, 1, h_1, w_1)."""
    errors = decoder(layers)
    return errors if local is None else local(errors, layers)


# Under the method's name, for who uses the package. What it makes is a `Detector`.
SuperSimpleNet = build
DETECTORS: dict[str, type[Detector]] = {  # by `ModelConfig.score`
    "plain": HeadsDetector,
    "adapted": HeadsDetector,
    "map_max": MapDetector,
    "cam": CamDetector,
    "reconstruction": ReconstructionDetector,
}


def upscale(layers: list[Tensor], config: ModelConfig) -> Tensor:
    """Stage outputs (B, C_l, h_l, w_l) to pooled features (B, C, h, w) on one grid.

    Args:
        layers: the finest first.
        config: by how much, and how corners are aligned.
    """
    size = tuple(config.upscale * side for side in layers[0].shape[-2:])
    upscaled = [
        F.interpolate(layer, size=size, mode="bilinear", align_corners=config.align_corners)
        for layer in layers
    ]
    # The zero padding counts, as in the public code: features fade towards the border.
    return F.avg_pool2d(torch.cat(upscaled, dim=1), POOL, stride=1, padding=POOL // 2)


def final_map(map_logits: Tensor, images: Tensor) -> Tensor:
    """Map logits (B, 1, h, w) upscaled to the images (B, 3, H, W) and blurred, (B, 1, H, W)."""
    upscaled = F.interpolate(
        map_logits, size=images.shape[-2:], mode="bilinear", align_corners=False
    )
    return blur(upscaled, BLUR_SIGMA)


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
