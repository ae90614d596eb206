"""The systems that the report shows, each as one entry, and on what they are compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ssn_lib.config import FOCAL_GAMMA, MARGIN
from ssn_lib.overrides import assignment
from ssn_lib.presets import preset

GROUPS = {  # what shows several systems together: name, and what that is
    "swap": "Modification 1: accuracies, costs, training curves",
    "ablation": "the steps from SimpleNet to SuperSimpleNet",
    "relative noise": "σ relative to the spread of the features, in both Scenarios",
    "learned noise": "Modification 2: noise sources side by side",
    "weak": "Modification 3: what learns from labels alone, and what that is held against",
    "mixed": "Modification 4: what masks buy",
    "evolved": "`evolved` beside what it replaces",
    "synthesis": "the slides' closing table",
    "methods": "the slides' comparison of methods on strips",
    "trade-off": "accuracy against latency",
    "bench": "the costs that `make bench` and `make gpu` measure, and the synthesis shows",
    "line": "what is exported for a production line: costs by engine and precision",
    "ROC": "ROC curves on strips; more than six cannot be told apart",
    "pixel curves": "precision and recall of pixels on strips; likewise",
    "plate maps": "the maps of one plate",
    "strip maps": "the maps of strips",
    "protocol": "what `make gpu` trains by the published protocol",
}


@dataclass(frozen=True)
class System:
    """A system that the report shows. Its title is its preset's.

    Attributes:
        preset: its name in `presets.PRESETS`.
        short: its name where a title has no room, as at the head of a column.
        colour: in every figure. Within a group all can be told apart, also by who is colour-blind;
            variants of one system have one hue, the one as published the lighter.
        shown_in: names in `GROUPS`.
    """

    preset: str
    short: str
    colour: str
    shown_in: tuple[str, ...]


# In the order in which tables and legends have them.
SYSTEMS: dict[str, System] = {
    system.preset: system
    for system in (
        System(
            "simplenet",
            "SimpleNet",
            "#DDA9C8",
            ("ablation", "weak", "methods", "plate maps", "protocol"),
        ),
        System("simplenet_upscaled", "SimpleNet, upscaled", "#BF5E90", ("ablation", "protocol")),
        System("simplenet_perlin", "SimpleNet, Perlin", "#6E1863", ("ablation", "protocol")),
        System(
            "baseline",
            "baseline",
            "#222222",
            ("swap", "synthesis", "trade-off", "bench", "plate maps"),
        ),
        System(
            "scenario_a",
            "Scenario A",
            "#0072B2",
            (
                *("swap", "ablation", "relative noise", "learned noise", "weak", "evolved"),
                *("synthesis", "methods", "trade-off", "bench", "line", "plate maps", "protocol"),
            ),
        ),
        System(
            "scenario_a_relative",
            "Scenario A, larger σ",
            "#6DC1F5",
            ("relative noise", "learned noise", "protocol"),
        ),
        System(
            "scenario_b",
            "Scenario B",
            "#00604C",
            ("swap", "relative noise", "trade-off", "bench", "plate maps", "protocol"),
        ),
        System(
            "scenario_b_relative",
            "Scenario B, larger σ",
            "#86CFA4",
            ("relative noise", "protocol"),
        ),
        System(
            "learned_noise_v1_published",
            "v1 as published",
            "#F2B84B",
            ("learned noise", "protocol"),
        ),
        System("learned_noise_v1", "v1 as stated", "#A76800", ("learned noise", "protocol")),
        System(
            "learned_noise_v2_published",
            "v2 as published",
            "#9A3CDD",
            ("learned noise", "protocol"),
        ),
        System(
            "learned_noise_v2",
            "v2 as stated",
            "#51238B",
            ("learned noise", "synthesis", "protocol"),
        ),
        System("gradient_ascent", "gradient ascent", "#889186", ("learned noise",)),
        System(
            "gap_cam",
            "GAP + CAM",
            "#E6B800",
            (
                *("weak", "mixed", "synthesis", "methods", "bench", "line"),
                *("ROC", "pixel curves", "strip maps", "protocol"),
            ),
        ),
        System("cam_max", "CAM maximum", "#6B4C00", ("weak", "ROC", "pixel curves", "strip maps")),
        System("cam_mixed", "CAM mean + maximum", "#E4C466", ("weak",)),
        System("cam_fine", "CAM layers 1 to 3", "#A08033", ("weak", "strip maps")),
        System("cam_refined", "CAM refined", "#F0A39D", ("weak", "strip maps")),
        System(
            "cam_traced",
            "CAM traced",
            "#B22979",
            ("weak", "mixed", "pixel curves", "strip maps", "protocol", "line"),
        ),
        System(
            "weak_ssn", "SSN weak", "#4FAFA6", ("weak", "mixed", "ROC", "strip maps", "protocol")
        ),
        System(
            "weak_ssn_relative",
            "SSN weak, larger σ",
            "#004F56",
            ("weak", "ROC", "pixel curves", "strip maps"),
        ),
        System("mixed_ssn", "SSN mixed", "#7231A0", ("mixed", "synthesis", "protocol")),
        System(
            "full_ssn",
            "SSN full",
            "#5A4F3D",
            ("weak", "mixed", "methods", "pixel curves", "strip maps", "protocol"),
        ),
        System(
            "evolved",
            "evolved",
            "#D55E00",
            ("weak", "evolved", "synthesis", "methods", "trade-off", "bench", "line", "plate maps"),
        ),
    )
}
UNLISTED = "#9A9A9A"  # the colour of a preset that has no entry


def group(name: str) -> tuple[str, ...]:
    """The presets that are shown in that group, in the order of the entries.

    Raises:
        KeyError: no such group.
    """
    if name not in GROUPS:
        raise KeyError(name)
    return tuple(system.preset for system in SYSTEMS.values() if name in system.shown_in)


def title(name: str) -> str:
    """The name of that preset in tables and legends."""
    return preset(name).title


def short(name: str) -> str:
    """Its name where the title has no room."""
    return SYSTEMS[name].short if name in SYSTEMS else title(name)


def colour(name: str) -> str:
    """Its colour in every figure, as `#RRGGBB`."""
    return SYSTEMS[name].colour if name in SYSTEMS else UNLISTED


SWAP_PRESETS = group("swap")
ABLATION_PRESETS = group("ablation")
NOISE_PRESETS = group("relative noise")
LEARNED_PRESETS = group("learned noise")
TRADE_OFF_PRESETS = group("trade-off")
SWEEP_PRESETS = tuple(  # those with a β to sweep
    name
    for name in LEARNED_PRESETS
    if preset(name).training.noise.source == "generator"
    and preset(name).training.noise.generator.beta is not None
)
LEARNED_CATEGORIES = ("screw", "bottle")
SWEEP_CATEGORY = "screw"
NOISE_CATEGORIES = ("bottle", "carpet")  # on screw Scenario A itself was published at chance
V2_FORMS = {"as published": "learned_noise_v2_published", "as stated": "learned_noise_v2"}
MASKS, FOLD = "training.supervision.masks", "training.supervision.fold"
BETA = "training.noise.generator.beta"
BETAS = (0.0015, 0.015, 0.05, 0.1, 0.5)
# `weak_ssn` makes more synthetic anomalies than `mixed_ssn`. With that one's threshold masks alone
# are between the two.
PERLIN = "training.noise.perlin_threshold"
MIXED_PERLIN = preset("mixed_ssn").training.noise.perlin_threshold
REAL_TIME_MS = 10  # the slides' bound for real-time inspection
LAST_EPOCHS = 100  # of a training, over which a metric's swing is told


def ignorance_loss(with_focal: bool) -> float:
    """`losses.detection_loss` of a network that answers 0 everywhere: 1, with focal losses 1.087.

    A training that stays near it has not learned to see its anomalies.
    """
    focal_loss = 0.5**FOCAL_GAMMA * math.log(2)
    return 2 * MARGIN + (2 * focal_loss if with_focal else 0.0)


LEARNED = 0.9  # of the loss of knowing nothing: a training below it has begun to learn
LEARNED_LOSS = LEARNED * ignorance_loss(True)


def beta_changes(beta: float | None) -> tuple[str, ...]:
    """What a run of v2 with that β has changed in its preset; None stands for the preset's own."""
    usual = preset("learned_noise_v2").training.noise.generator.beta
    return () if beta in (None, usual) else (assignment(BETA, beta),)
