"""The tables of settings: what each preset is made of, read from the presets themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ssn_lib.config import FOCAL_GAMMA, ModelConfig, NoiseConfig, TrainingConfig
from ssn_lib.presets import preset
from ssn_lib.study.captions import learns_from
from ssn_lib.study.profiles import Profile
from ssn_lib.study.systems import title
from ssn_lib.study.tables.table import EMPTY, Table, frame_of

Kind = Literal["as published", "as stated", "own"]


@dataclass(frozen=True)
class Origin:
    """Whose settings a preset has.

    Attributes:
        kind: "as published": what the author's or the paper's code does; "as stated": what the
            slides say it does; "own": this study's.
        source: where they are from, or what they follow.
    """

    kind: Kind
    source: str

    def __str__(self) -> str:
        return f"{self.kind} ({self.source})"


SLIDES, JIMS = "slides", "JIMS 2025"
ADDED = Origin("own", "added to this study")  # of a preset that is not named below
ORIGINS = {
    "simplenet": Origin("own", "after SimpleNet, CVPR 2023"),
    "simplenet_upscaled": Origin("own", "a step from SimpleNet to SSN"),
    "simplenet_perlin": Origin("own", "a step from SimpleNet to SSN"),
    "baseline": Origin("as published", f"{JIMS}, {SLIDES}"),
    "scenario_a": Origin("as published", SLIDES),
    "scenario_a_icpr": Origin("own", "with the head of ICPR 2024"),
    "scenario_a_relative": Origin("own", "Scenario A, larger noise"),
    "scenario_b": Origin("as published", SLIDES),
    "scenario_b_relative": Origin("own", "Scenario B, larger noise"),
    "learned_noise_v1_published": Origin("as published", f"{SLIDES}' code"),
    "learned_noise_v1": Origin("as stated", SLIDES),
    "learned_noise_v2_published": Origin("as published", f"{SLIDES}' code"),
    "learned_noise_v2": Origin("as stated", SLIDES),
    "gradient_ascent": Origin("own", "after GLASS, ECCV 2024"),
    "evolved": Origin("own", "this study's search"),
    "gap_cam": Origin("as published", f"{SLIDES}, but ResNet18"),
    "cam_max": Origin("own", "another pooling"),
    "cam_mixed": Origin("own", "another pooling"),
    "cam_fine": Origin("own", "another pooling, finer layers"),
    "cam_refined": Origin("own", "self-refinement"),
    "cam_traced": Origin("own", "pseudo-masks from contrast"),
    "weak_ssn": Origin("as published", f"{JIMS}, but ResNet18"),
    "weak_ssn_relative": Origin("own", "the same, larger noise"),
    "mixed_ssn": Origin("as stated", f"{SLIDES}' outlook, by {JIMS}"),
    "full_ssn": Origin("as published", f"{JIMS}, but ResNet18"),
}
SCORES = {
    "plain": "classification head, plain features",
    "adapted": "classification head, adapted features",
    "map_max": "maximum of the map",
    "reconstruction": "highest pixels of the reconstruction error",
}
POOLINGS = {
    "mean": "mean of the class activation map",
    "max": "maximum of the class activation map",
    "mixed": "mean and maximum of the class activation map",
}
ADAPTORS = {"linear": "1×1 conv", "nonlinear": "3×3 conv, BN, ReLU"}


def settings(of: str, presets: Sequence[str], profile: Profile, strips: bool = False) -> Table:
    """Those presets, a row each; a column that says nothing of any of them is left out.

    Args:
        of: what the presets belong to, for the title.
        profile: whose image size, epochs and batch size are told beside the protocol's.
        strips: they are trained on strips, which have a size of their own.
    """
    rows = [_row(name, profile, strips) for name in dict.fromkeys(presets)]
    frame = frame_of(rows)
    said = [column for column in frame if any(cell != EMPTY for cell in frame[column])]
    notes = (
        "σ: standard deviation of the noise; in spreads: of the adapted features. β: "
        "bound of the learned noise. γ: exponent of the focal losses on map and score. Learning "
        "rates: adaptor, heads, and the generator where there is one.",
        f"Epochs and batch, here: of the profile `{profile.name}`; protocol: of a whole training. "
        "Whose: as published, what the author's or the paper's code does; as stated, what the "
        "slides say; own, this study's.",
    )
    return Table(f"Settings: {of}", frame[said], notes)


def _row(name: str, profile: Profile, strips: bool) -> dict[str, str]:
    chosen = preset(name)
    model, training = chosen.model, chosen.training
    size, epochs, batch_size = profile.protocol(name)
    size = profile.strip_size if strips else size
    return {
        "system": title(name),
        "preset": f"`{name}`",
        "whose": str(ORIGINS.get(name, ADDED)),
        "backbone": f"{model.backbone}, layers {', '.join(map(str, model.layers))}",
        "adaptor": EMPTY if model.score == "reconstruction" else ADAPTORS[model.adaptor],
        "image score": POOLINGS[model.cam_pooling] if model.score == "cam" else SCORES[model.score],
        "learns from": _lessons(training),
        "noise": noise_of(training.noise),
        "σ": sigma_of(training.noise),
        "β": _beta(training.noise),
        "γ": f"{FOCAL_GAMMA:g}" if _is_focal(model, training) else EMPTY,
        "learning rates": _rates(model, training),
        "image, px": "×".join(map(str, size)),
        f"epochs, batch: `{profile.name}`": f"{epochs}, {batch_size}",
        "epochs, batch: protocol": f"{training.epochs}, {training.batch_size}",
    }


def _lessons(training: TrainingConfig) -> str:
    supervision = training.supervision
    said = learns_from(supervision)
    if supervision.teacher:
        said += f"; masks from the maps of `{supervision.teacher}`, {supervision.pseudo_masks}"
    return said


def noise_of(noise: NoiseConfig) -> str:
    """Where the synthetic anomalies come from and where they lie, in words."""
    if noise.source == "none":
        return EMPTY
    generator = noise.generator
    source = {
        "gaussian": "Gaussian",
        "ascent": f"Gaussian, {noise.ascent.steps} steps of gradient ascent",
        "generator": f"generator, {generator.update.replace('_', ' ')}, "
        + (f"{generator.z_channels} channels z" if generator.z_channels else "no z"),
    }.get(noise.source, noise.source)
    where = f"Perlin > {noise.perlin_threshold:g}" if noise.mask == "perlin" else "everywhere"
    return f"{source}; {where}"


def sigma_of(noise: NoiseConfig) -> str:
    """The deviation of the noise, absolute or in spreads of the adapted features."""
    if noise.source in ("generator", "none"):
        return EMPTY
    return f"{noise.std:g}" + (" spreads" if noise.std_unit == "feature" else "")


def _beta(noise: NoiseConfig) -> str:
    if noise.source != "generator":
        return EMPTY
    return "unbounded" if noise.generator.beta is None else f"{noise.generator.beta:g}"


def _is_focal(model: ModelConfig, training: TrainingConfig) -> bool:
    return training.focal and model.score != "reconstruction"


def _rates(model: ModelConfig, training: TrainingConfig) -> str:
    if model.score == "reconstruction":
        return f"decoder {training.head_lr:g}"
    rates = [training.adaptor_lr, training.head_lr]
    if training.noise.source == "generator":
        rates.append(training.noise.generator.lr)
    return " / ".join(f"{rate:g}" for rate in rates)
