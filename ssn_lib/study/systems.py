"""Which systems the study compares, and on what."""

from __future__ import annotations

import math

from ssn_lib.config import FOCAL_GAMMA, MARGIN
from ssn_lib.overrides import assignment
from ssn_lib.presets import preset


def ignorance_loss(with_focal: bool) -> float:
    """`losses.detection_loss` of a network that answers 0 everywhere: 1, with focal losses 1.087.

    A training that stays near it has not learned to see its anomalies.
    """
    focal_loss = 0.5**FOCAL_GAMMA * math.log(2)
    return 2 * MARGIN + (2 * focal_loss if with_focal else 0.0)


LEARNED_LOSS = 0.9 * ignorance_loss(True)  # a training below it has begun to learn
REAL_TIME_MS = 10  # the slides' bound for real-time inspection
SWAP_PRESETS = ("baseline", "scenario_a", "scenario_b")
ABLATION_PRESETS = ("simplenet", "simplenet_upscaled", "simplenet_perlin", "scenario_a")
NOISE_PRESETS = ("scenario_a", "scenario_a_relative", "scenario_b", "scenario_b_relative")
LEARNED_PRESETS = (
    "scenario_a",
    "scenario_a_relative",
    "learned_noise_v1_published",
    "learned_noise_v1",
    "learned_noise_v2_published",
    "learned_noise_v2",
    "gradient_ascent",
)
LAST_EPOCHS = 100  # of a training, over which a metric's swing is told
LEARNED_CATEGORIES = ("screw", "bottle")
BETA = "training.noise.generator.beta"
BETAS = (0.0015, 0.015, 0.05, 0.1, 0.5)
SWEEP_PRESETS = ("learned_noise_v2_published", "learned_noise_v2")
SWEEP_CATEGORY = "screw"
NOISE_CATEGORIES = ("bottle", "carpet")  # on screw Scenario A itself was published at chance


def beta_changes(beta: float | None) -> tuple[str, ...]:
    """What a run of v2 with that β has changed in its preset; None stands for the preset's own."""
    usual = preset("learned_noise_v2").training.noise.generator.beta
    return () if beta in (None, usual) else (assignment(BETA, beta),)
