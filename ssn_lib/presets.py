"""The named systems of the study: plain data, one entry each."""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass, replace

from ssn_lib.config import (
    GeneratorConfig,
    ModelConfig,
    NoiseConfig,
    Resize,
    SupervisionConfig,
    TrainingConfig,
)
from ssn_lib.errors import InputError, nearest

# That `images_seen` may ask for: with more, a decoder learns few images by heart.
MOST_EPOCHS = 250


@dataclass(frozen=True)
class Preset:
    """A named system of the study.

    Attributes:
        image_size: height and width it is made for, with its own number of epochs and batch size;
            None for the published size, at which a profile decides these.
        resize: how its images are brought to that size: "plain" as in the public code.
        images_seen: least number of images that a training goes through, counted as often as they
            come (epochs × images of an epoch): with few images it has more epochs, up to
            `MOST_EPOCHS`.
    """

    title: str
    model: ModelConfig
    training: TrainingConfig
    image_size: tuple[int, int] | None = None
    resize: Resize = "plain"
    images_seen: int = 0

    def epochs(self, images: int) -> int:
        """Epochs of a training: the preset's own, or more, up to `MOST_EPOCHS`, where an epoch has
        so few images that `images_seen` would not be reached.

        Args:
            images: of an epoch.
        """
        own = self.training.epochs
        enough = min(math.ceil(self.images_seen / max(1, images)), MOST_EPOCHS)
        return max(own, enough)


def _learned(generator: GeneratorConfig) -> TrainingConfig:
    return TrainingConfig(noise=NoiseConfig(source="generator", generator=generator))


def _supervised(
    masks: float | None, threshold: float = 0.6, **supervision: typing.Any
) -> TrainingConfig:
    """The published protocol with defective images: gradients clipped, and fewer synthetic pixels
    by a threshold of 0.6; 0.2, as without labels, makes many (notebook 03)."""
    return TrainingConfig(
        clip_norm=1.0,
        noise=NoiseConfig(perlin_threshold=threshold),
        supervision=SupervisionConfig(labels=True, masks=masks, **supervision),
    )


_NONLINEAR = ModelConfig(adaptor="nonlinear")
_THROUGH_THE_MAP = ModelConfig(stop_map_gradient=False)
# Our own: noise of one size against the features of both adaptors (notebook 01).
_RELATIVE_NOISE = NoiseConfig(std=0.12, std_unit="feature")
_SIMPLENET_NOISE = NoiseConfig(mask="half")
_NAIVE = GeneratorConfig(
    beta=None, z_channels=None, magnitude_weight=0.0, period=1, update="simultaneous"
)
PRESETS: dict[str, Preset] = {
    "simplenet": Preset(
        "SimpleNet (ResNet18)",
        ModelConfig(upscale=1, score="map_max"),
        TrainingConfig(focal=False, noise=_SIMPLENET_NOISE),
    ),
    "simplenet_upscaled": Preset(
        "SimpleNet + upscaled features",
        ModelConfig(score="map_max"),
        TrainingConfig(focal=False, noise=_SIMPLENET_NOISE),
    ),
    "simplenet_perlin": Preset(
        "SimpleNet + upscaled features + Perlin masks",
        ModelConfig(score="map_max"),
        TrainingConfig(focal=False),
    ),
    "baseline": Preset(
        "SSN baseline (WideResNet50-2)", ModelConfig(backbone="wide_resnet50_2"), TrainingConfig()
    ),
    "scenario_a": Preset("SSN Scenario A (ResNet18)", ModelConfig(), TrainingConfig()),
    "scenario_a_icpr": Preset(
        "SSN Scenario A, classification on adapted features (ICPR)",
        ModelConfig(score="adapted"),
        TrainingConfig(),
    ),
    "scenario_a_relative": Preset(
        "SSN Scenario A, σ relative to its features' spread",
        ModelConfig(),
        TrainingConfig(noise=_RELATIVE_NOISE),
    ),
    "scenario_b": Preset(
        "SSN Scenario B (ResNet18, non-linear adaptor)", _NONLINEAR, TrainingConfig()
    ),
    "scenario_b_relative": Preset(
        "SSN Scenario B, σ relative to its features' spread",
        _NONLINEAR,
        TrainingConfig(noise=_RELATIVE_NOISE),
    ),
    "learned_noise_v1_published": Preset(
        "Learned noise v1, as published",
        ModelConfig(),
        _learned(replace(_NAIVE, update="v1_published")),
    ),
    "learned_noise_v1": Preset("Learned noise v1, as stated", ModelConfig(), _learned(_NAIVE)),
    "learned_noise_v2_published": Preset(
        "Learned noise v2, as published",
        ModelConfig(),
        _learned(GeneratorConfig(update="v2_published")),
    ),
    "learned_noise_v2": Preset(
        "Learned noise v2, as stated", ModelConfig(), _learned(GeneratorConfig())
    ),
    "gradient_ascent": Preset(
        "Gradient-ascent noise (GLASS)",
        ModelConfig(),
        TrainingConfig(noise=NoiseConfig(source="ascent")),
    ),
    "evolved": Preset(
        "Evolved: feature reconstruction (ResNet18)",
        ModelConfig(
            upscale=1,
            score="reconstruction",
            local_width=128,
            score_share=0.01,
            initialisation="pytorch",
        ),
        TrainingConfig(
            epochs=30,
            batch_size=8,
            head_lr=8e-3,
            schedule="cycle",
            clip_norm=1.0,
            validation_fraction=0.1,
            noise=NoiseConfig(source="none"),
        ),
        image_size=(448, 448),
        resize="antialiased",
        images_seen=5000,
    ),
    # The published GAP + CAM was trained in batches of 8, unlike everything else.
    "gap_cam": Preset(
        "GAP + CAM (labels)", ModelConfig(score="cam"), replace(_supervised(0), batch_size=8)
    ),
    "cam_max": Preset(
        "CAM, map maximum (labels)", ModelConfig(score="cam", cam_pooling="max"), _supervised(0)
    ),
    "cam_mixed": Preset(
        "CAM, mean + maximum (labels)",
        ModelConfig(score="cam", cam_pooling="mixed"),
        _supervised(0),
    ),
    "cam_fine": Preset(
        "CAM, mean + maximum, layers 1 to 3 (labels)",
        ModelConfig(layers=(1, 2, 3), upscale=1, score="cam", cam_pooling="mixed"),
        _supervised(0),
    ),
    "cam_refined": Preset(
        "CAM, refined by a segmentation head, layers 1 to 3 (labels)",
        replace(_THROUGH_THE_MAP, layers=(1, 2, 3), upscale=1),
        _supervised(0, teacher="cam_max", dilation=1),
    ),
    "cam_traced": Preset(
        "CAM, traced along contrast, refined by a segmentation head, layers 1 to 3 (labels)",
        replace(_THROUGH_THE_MAP, layers=(1, 2, 3), upscale=1),
        _supervised(0, teacher="cam_max", pseudo_masks="traced", dilation=3),
    ),
    "weak_ssn": Preset("SSN, weak supervision (labels)", _THROUGH_THE_MAP, _supervised(0, 0.2)),
    "weak_ssn_relative": Preset(
        "SSN, weak supervision, σ relative to its features' spread (labels)",
        _THROUGH_THE_MAP,
        replace(_supervised(0), noise=replace(_RELATIVE_NOISE, perlin_threshold=0.2)),
    ),
    "mixed_ssn": Preset(
        "SSN, mixed supervision (labels, some masks)", _THROUGH_THE_MAP, _supervised(0.1)
    ),
    "full_ssn": Preset(
        "SSN, full supervision (labels, all masks)", _THROUGH_THE_MAP, _supervised(None)
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: no such preset; the message suggests the nearest.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: {nearest(name, PRESETS)}")
    return PRESETS[name]
