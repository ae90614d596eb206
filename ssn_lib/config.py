"""What a run is: frozen dataclasses, the named presets of the study, and overrides.

A configuration is plain data. It is hashed into the run's id, written into the run's record and
read back from it, so two runs with the same id are the same experiment.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import types
import typing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ssn_lib.errors import InputError

Resize = Literal["antialiased", "plain"]  # of images; see `data.images.read_image`
FOLDS = 3  # of the training images, for a threshold without test labels
IMAGE_STRIDE = 8  # an image side must be a multiple of it: the stride of layer 2


@dataclass(frozen=True)
class ModelConfig:
    """The network. Defaults are Scenario A: ResNet18, linear adaptor, JIMS classification head.

    Attributes:
        backbone: a torchvision ResNet; frozen, ImageNet V1 weights.
        layers: the residual stages used, coarse grids last.
        upscale: feature grid = `upscale` × the grid of the first layer used (SSN 2, SimpleNet 1).
        align_corners: of the bilinear upscaling; True in the public code, False in anomalib.
        adaptor: "linear" is a 1×1 convolution, "nonlinear" 3×3 convolution + BatchNorm + ReLU
            (Scenario B).
        score: what makes the image score: the classification head on the "plain" features (JIMS
            2025), on the "adapted" features (ICPR 2024), the maximum of the map without such a
            head ("map_max", SimpleNet), the pooled class activation map ("cam", `cam`), which then
            stands in the segmentation head's place, or the highest pixels of the map of what a
            decoder cannot give back ("reconstruction", `reconstruction`), which stands in the place
            of adaptor and heads.
        stop_map_gradient: keep the score's gradient out of the segmentation head.
        cam_pooling: how a class activation map becomes a score: its "mean" (GAP, published), its
            "max", or the mean of both ("mixed").
        decoder_width: hidden channels of that decoder at the coarsest layer.
    """

    backbone: str = "resnet18"
    layers: tuple[int, ...] = (2, 3)
    upscale: int = 2
    align_corners: bool = True
    adaptor: Literal["linear", "nonlinear"] = "linear"
    score: Literal["plain", "adapted", "map_max", "cam", "reconstruction"] = "plain"
    stop_map_gradient: bool = True
    cam_pooling: Literal["mean", "max", "mixed"] = "mean"
    decoder_width: int = 184


@dataclass(frozen=True)
class GeneratorConfig:
    """A learned noise generator and how it is trained against the detector (Modification 2).

    Defaults are v2 as stated. L is the detector's loss, M the mean square of the noise.

    Attributes:
        beta: bounds the noise to β·tanh(G); None leaves it unbounded (v1).
        z_channels: standard-normal channels that G sees beside the features; None for none (v1).
        magnitude_weight: w of the generator's loss −L + w·M.
        period: the generator is updated in every period-th batch, counted through the training
            when "alternating" and anew in every epoch, as the public code does, otherwise.
        update: what happens there. "alternating": the generator alone descends its loss, and in
            the other batches the detector alone descends L (v2 as stated). "simultaneous": both,
            each its own loss (v1 as stated). "v1_published", "v2_published": what the public code
            does, where gradients cancel; see `training`.
    """

    beta: float | None = 0.1
    z_channels: int | None = 32
    magnitude_weight: float = 10.0
    period: int = 4
    lr: float = 1e-4
    update: Literal["alternating", "simultaneous", "v1_published", "v2_published"] = "alternating"


@dataclass(frozen=True)
class AscentConfig:
    """Noise by gradient ascent on the feature itself, without a network.

    With r = σ·√C, the expected length of the Gaussian noise that is started from:

    Attributes:
        steps: how often the noise moves to where the segmentation head finds the feature normal.
        step_size: length of each step, in r.
        shell: shortest and longest noise allowed, in r; the ascent is projected onto it.

    Source: Chen et al., GLASS, ECCV 2024: σ = 0.015, shell (r, 2r). Differs: GLASS takes 20 steps
    far shorter than r; three of a fifth reach as far as the shell allows and cost less.
    """

    steps: int = 3
    step_size: float = 0.2
    shell: tuple[float, float] = (1.0, 2.0)


@dataclass(frozen=True)
class NoiseConfig:
    """Synthetic anomalies (training only).

    Attributes:
        source: "gaussian" (published), "generator" (learned), "ascent", or "none" where nothing is
            learned from synthetic anomalies.
        std: standard deviation of the Gaussian noise, which an ascent starts from.
        std_unit: "absolute" as published, or "feature": `std` counts in standard deviations of the
            adapted features of the batch, all channels together.
        mask: "perlin": inside Perlin masks, half of them empty; "half": one copy of the batch
            clean, the other noisy everywhere (SimpleNet).
        perlin_threshold: a pixel is anomalous where the Perlin noise exceeds it.
    """

    source: Literal["gaussian", "generator", "ascent", "none"] = "gaussian"
    std: float = 0.015
    std_unit: Literal["absolute", "feature"] = "absolute"
    mask: Literal["perlin", "half"] = "perlin"
    perlin_threshold: float = 0.2
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    ascent: AscentConfig = field(default_factory=AscentConfig)


@dataclass(frozen=True)
class SupervisionConfig:
    """What is learned from defective training images (Modifications 3 and 4).

    Attributes:
        labels: train on them, as often as on defect-free ones; else they are left out.
        masks: of how many of them the mask is used as well: a number, a share (with a decimal
            point), or None for every mask there is. The others count as labelled only: the score
            learns from them, the map does not.
        teacher: name of a preset without masks whose maps are used in the masks' place, where they
            are confident; no mask is read then.
        pseudo_masks: what is made of the teacher's maps: the "region" where it is confident, or
            that region "traced" along the image's contrast; see `cam`.
        flips: every defective image counts four times: as it is, mirrored both ways, turned round.
        dilation: side of the square that masks are widened by, in pixels of the image.
        weight, exponent: a defective pixel's loss is weighted by weight · (d / d_max)^exponent, d
            its distance to the defect's edge; a weight of 0 leaves all pixels equal.
        fold: leave out this third (0, 1 or 2) of the training images; their scores choose a
            threshold without a test label.

    Source: Rolih et al., JIMS 2025; the weights are of Božič et al., Computers in Industry 129,
    2021, section 3.4.
    """

    labels: bool = False
    masks: int | float | None = None
    teacher: str | None = None
    pseudo_masks: Literal["region", "traced"] = "region"
    flips: bool = True
    dilation: int = 7
    weight: float = 3.0
    exponent: float = 2.0
    fold: int | None = None


@dataclass(frozen=True)
class TrainingConfig:
    """The published protocol; see `training.fit`.

    Attributes:
        adaptor_weight_decay: 0.01 is AdamW's default, which the public code leaves for the adaptor.
        milestones: shares of the epochs after which the learning rates are multiplied by `gamma`.
        focal: add the focal losses on map and score (SSN); SimpleNet trains on the truncated L1.
        clip_norm: longest gradient of a step, all trained weights together; None for any.
        validation_fraction: share of the training images held out. Their loss, with fixed synthetic
            anomalies, is taken after every epoch; the finished network is tried on defects imitated
            in them (`data.imitated`), and they give its thresholds.
        select_epoch: keep the "last" epoch's weights (published) or those of the epoch with the
            lowest "validation" loss. Never the test set.
        precision: of the matrix products; "mixed" is float16 or bfloat16, what the device is fast
            in. Weights, statistics and losses stay float32.
    """

    epochs: int = 300
    batch_size: int = 32
    adaptor_lr: float = 1e-4
    head_lr: float = 2e-4
    adaptor_weight_decay: float = 1e-2
    head_weight_decay: float = 1e-5
    milestones: tuple[float, ...] = (0.8, 0.9)
    gamma: float = 0.4
    focal: bool = True
    clip_norm: float | None = None
    validation_fraction: float = 0.0
    select_epoch: Literal["last", "validation"] = "last"
    precision: Literal["float32", "mixed"] = "float32"
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)


@dataclass(frozen=True)
class Preset:
    """A named system of the study.

    Attributes:
        image_size: height and width it is made for, with its own number of epochs and batch size;
            None for the published size, at which a profile decides these.
        resize: how its images are brought to that size: "plain" as in the public code.
    """

    title: str
    model: ModelConfig
    training: TrainingConfig
    image_size: tuple[int, int] | None = None
    resize: Resize = "plain"


@dataclass(frozen=True)
class DataConfig:
    """Which images, at which size (height, width), the fingerprint of the files they are, how they
    were resized, and what is white in files of more than 8 bits (None: no training image is one).
    """

    dataset: str
    category: str
    image_size: tuple[int, int] = (256, 256)
    fingerprint: str = ""
    resize: Resize = "antialiased"
    full_scale: int | None = None


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run, and so its id."""

    preset: str
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    seed: int = 42
    weights: Literal["imagenet", "untrained"] = "imagenet"

    @property
    def run_id(self) -> str:
        """A readable slug and a hash of the whole configuration.

        Fields at their defaults are left out of the hash, so that a field added later, with a
        default that changes nothing, leaves the ids of finished runs alone. Hence: a default is
        never changed.
        """
        said = json.dumps(beside_defaults(self), sort_keys=True)
        digest = hashlib.sha256(said.encode()).hexdigest()
        return (
            f"{self.preset}-{self.data.dataset}-{self.data.category}-s{self.seed}-{digest[:8]}"
        ).replace("/", "_")


def _learned(generator: GeneratorConfig) -> TrainingConfig:
    return TrainingConfig(noise=NoiseConfig(source="generator", generator=generator))


def _supervised(
    masks: float | None, threshold: float = 0.6, **supervision: typing.Any
) -> TrainingConfig:
    """The published protocol with defective images: gradients clipped, fewer synthetic pixels."""
    return TrainingConfig(
        clip_norm=1.0,
        noise=NoiseConfig(perlin_threshold=threshold),
        supervision=SupervisionConfig(labels=True, masks=masks, **supervision),
    )


_NONLINEAR = ModelConfig(adaptor="nonlinear")
_THROUGH_THE_MAP = ModelConfig(stop_map_gradient=False)
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
        ModelConfig(upscale=1, score="reconstruction"),
        TrainingConfig(
            epochs=100,
            batch_size=8,
            head_lr=4e-3,
            validation_fraction=0.1,
            noise=NoiseConfig(source="none"),
        ),
        image_size=(448, 448),
        resize="antialiased",
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


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, or the whole list."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: no such preset; the message suggests the nearest.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}: {nearest(name, PRESETS)}")
    return PRESETS[name]


def changes(config: RunConfig) -> tuple[str, ...]:
    """What sets a run's model and training apart from its preset's, as `key=value`, sorted.

    Epochs, batch size and precision are left out: they are decided for all presets alike.
    """
    chosen = preset(config.preset)
    usual = to_dict(replace(config, model=chosen.model, training=chosen.training))
    flat, usual_flat = _flat(to_dict(config)), _flat(usual)
    names = flat.keys() - {"training.epochs", "training.batch_size", "training.precision"}
    return tuple(sorted(assignment(n, flat[n]) for n in names if flat[n] != usual_flat[n]))


def assignment(name: str, value: Any) -> str:
    """`name=value` as `override` reads it."""
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return f"{name}={'none' if value is None else value}"


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON data."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def beside_defaults(config: Any) -> dict[str, Any]:
    """The fields of a configuration that are not at their defaults, as plain JSON data.

    What identifies a run and its checkpoint: a field that is added later changes neither.
    """
    said: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            part = beside_defaults(value)
            if part:
                said[item.name] = part
        elif value != item.default:
            said[item.name] = value
    return said


def _flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{path}{name}.")
        else:
            flat[path + name] = value
    return flat


def from_dict(kind: type, values: dict[str, Any]) -> Any:
    """The dataclass `kind` from what `to_dict` gave; unknown or ill-typed fields are an error."""
    hints = typing.get_type_hints(kind)
    unknown = set(values) - set(hints)
    if unknown:
        name = sorted(unknown)[0]
        raise InputError(f"unknown field {name!r} of {kind.__name__}: {nearest(name, hints)}")
    return kind(**{name: _convert(hints[name], value, name) for name, value in values.items()})


def override(config: RunConfig, assignments: typing.Sequence[str]) -> RunConfig:
    """Apply `key=value` assignments with dotted keys, such as `model.backbone=resnet18`.

    Raises:
        InputError: not of that form, an unknown name (the nearest is suggested), a wrong value.
    """
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        if not sign:
            raise InputError(f"--set {assignment!r}: expected key=value")
        config = _override_one(config, key.strip(), key.strip().split("."), text.strip())
    return config


def check(config: RunConfig) -> RunConfig:
    """The configuration itself, when every value makes sense.

    Raises:
        InputError: naming the first value that does not.
    """
    height, width = config.data.image_size
    if height < 2 * IMAGE_STRIDE or width < 2 * IMAGE_STRIDE or (height | width) % IMAGE_STRIDE:
        raise InputError(
            f"image size {height}×{width}: height and width must be multiples of {IMAGE_STRIDE}, "
            f"at least {2 * IMAGE_STRIDE} (nearest: {_nearest_side(height)}×{_nearest_side(width)})"
        )
    for name, value, fine, wanted in _checks(config):
        if not fine:
            raise InputError(f"{name}={value} is out of range: {wanted}")
    training, teacher = config.training, config.training.supervision.teacher
    if teacher is not None and preset(teacher).training.supervision != SupervisionConfig(
        labels=True, masks=0
    ):
        raise InputError(
            f"training.supervision.teacher={teacher}: must be a preset that learns from labels "
            "alone, such as gap_cam"
        )
    if training.select_epoch == "validation" and training.validation_fraction == 0:
        raise InputError(
            "training.select_epoch=validation needs training.validation_fraction above 0"
        )
    return config


def _checks(config: RunConfig) -> list[tuple[str, object, bool, str]]:
    """Of every field that can be out of range: name, value, whether it is fine, what it must be."""
    model, training, noise = config.model, config.training, config.training.noise
    generator, ascent = noise.generator, noise.ascent
    supervision, masks = training.supervision, training.supervision.masks
    milestones, layers = list(training.milestones), list(model.layers)
    rebuilt = model.score == "reconstruction"
    above_0, from_0 = "must be above 0, finite", "must be 0 or more, finite"
    from_1 = "must be at least 1"
    period = generator.period
    if generator.update == "alternating":
        period_fine, period_wanted = period >= 2, "must be at least 2, or the detector never learns"
    else:
        period_fine, period_wanted = period >= 1, from_1
    return [
        ("training.epochs", training.epochs, training.epochs >= 1, from_1),
        ("training.batch_size", training.batch_size, training.batch_size >= 1, from_1),
        ("training.adaptor_lr", training.adaptor_lr, 0 < training.adaptor_lr < math.inf, above_0),
        ("training.head_lr", training.head_lr, 0 < training.head_lr < math.inf, above_0),
        (
            "training.validation_fraction",
            training.validation_fraction,
            0 <= training.validation_fraction < 1,
            "must be 0 or more and below 1",
        ),
        (
            "training.milestones",
            training.milestones,
            all(0 < share <= 1 for share in milestones) and milestones == sorted(milestones),
            "must be rising shares of the epochs, above 0 and up to 1",
        ),
        ("training.gamma", training.gamma, 0 < training.gamma < math.inf, above_0),
        (
            "training.adaptor_weight_decay",
            training.adaptor_weight_decay,
            0 <= training.adaptor_weight_decay < math.inf,
            from_0,
        ),
        (
            "training.head_weight_decay",
            training.head_weight_decay,
            0 <= training.head_weight_decay < math.inf,
            from_0,
        ),
        (
            "training.precision",
            training.precision,
            # Two objectives would each want a scale of their own for float16's gradients.
            (training.precision, noise.source) != ("mixed", "generator"),
            "must be float32 where the noise comes from a generator",
        ),
        ("training.noise.std", noise.std, 0 <= noise.std < math.inf, from_0),
        (
            "training.noise.perlin_threshold",
            noise.perlin_threshold,
            math.isfinite(noise.perlin_threshold),
            "must be finite",
        ),
        (
            "training.noise.std_unit",
            f"{noise.std_unit} with source=generator",
            noise.source != "generator" or noise.std_unit == "absolute",
            "a generator has no σ; leave it at absolute",
        ),
        (
            "training.noise.generator.beta",
            generator.beta,
            generator.beta is None or 0 < generator.beta < math.inf,
            "must be above 0, finite; none leaves the noise unbounded",
        ),
        (
            "training.noise.generator.z_channels",
            generator.z_channels,
            generator.z_channels is None or generator.z_channels >= 1,
            "must be at least 1; none leaves z out",
        ),
        (
            "training.noise.generator.magnitude_weight",
            generator.magnitude_weight,
            0 <= generator.magnitude_weight < math.inf,
            from_0,
        ),
        ("training.noise.generator.period", period, period_fine, period_wanted),
        ("training.noise.generator.lr", generator.lr, 0 < generator.lr < math.inf, above_0),
        ("training.noise.ascent.steps", ascent.steps, ascent.steps >= 0, from_0),
        (
            "training.noise.ascent.step_size",
            ascent.step_size,
            0 < ascent.step_size < math.inf,
            above_0,
        ),
        (
            "training.noise.ascent.shell",
            ascent.shell,
            0 < ascent.shell[0] <= ascent.shell[1] < math.inf,
            "must be two lengths above 0, the shorter first",
        ),
        (
            "training.clip_norm",
            training.clip_norm,
            training.clip_norm is None or 0 < training.clip_norm < math.inf,
            "must be above 0, finite; none clips nothing",
        ),
        (
            "training.supervision.masks",
            masks,
            masks is None or (masks >= 0 if isinstance(masks, int) else 0 < masks <= 1),
            "must be a number of masks, 0 or more, or a share such as 0.1; none takes all",
        ),
        *(
            (
                f"training.supervision.{name}",
                getattr(supervision, name),
                supervision.labels or getattr(supervision, name) is None,
                "needs training.supervision.labels=true",
            )
            for name in ("masks", "teacher", "fold")
        ),
        (
            "training.supervision.masks",
            masks,
            supervision.teacher is None or masks == 0,
            "must be 0 where a teacher's maps stand for masks",
        ),
        (
            "training.focal",
            f"{training.focal} with model.score={model.score}",
            training.focal or model.score == "map_max",
            "the score is learned by the focal loss alone; leave it at True",
        ),
        (
            "training.supervision.dilation",
            supervision.dilation,
            supervision.dilation >= 1 and supervision.dilation % 2 == 1,
            "must be an odd number of pixels; 1 leaves masks as they are",
        ),
        (
            "training.supervision.weight",
            supervision.weight,
            0 <= supervision.weight < math.inf,
            from_0,
        ),
        (
            "training.supervision.exponent",
            supervision.exponent,
            0 <= supervision.exponent < math.inf,
            from_0,
        ),
        (
            "training.supervision.fold",
            supervision.fold,
            supervision.fold in (None, *range(FOLDS)),
            f"must be from 0 to {FOLDS - 1}; none leaves nothing out",
        ),
        (
            "training.supervision.pseudo_masks",
            supervision.pseudo_masks,
            supervision.pseudo_masks == "region" or supervision.teacher is not None,
            "nothing is traced without a teacher",
        ),
        (
            "training.noise.source",
            f"{noise.source} with model.score=cam",
            not (noise.source == "ascent" and model.score == "cam"),
            "an ascent needs a segmentation head",
        ),
        (
            "training.noise.source",
            f"{noise.source} with model.score={model.score}",
            (noise.source == "none") == rebuilt,
            "model.score=reconstruction goes with none, and nothing else does",
        ),
        (
            "training.supervision.labels",
            f"{supervision.labels} with model.score={model.score}",
            not (supervision.labels and rebuilt),
            "a decoder learns from sound images alone",
        ),
        (
            "model.upscale",
            f"{model.upscale} with model.score={model.score}",
            model.upscale == 1 or not rebuilt,
            "the decoder gives the layers back as they are; set it to 1",
        ),
        ("model.upscale", model.upscale, model.upscale >= 1, from_1),
        (
            "model.decoder_width",
            model.decoder_width,
            model.decoder_width >= 8,
            "must be at least 8",
        ),
        (
            "model.layers",
            model.layers,
            layers and set(layers) <= {1, 2, 3, 4} and layers == sorted(set(layers)),
            "must be some of 1,2,3,4, rising",
        ),
        ("seed", config.seed, 0 <= config.seed < 2**32, "must be from 0 to 2^32 - 1"),
    ]


def _nearest_side(side: int) -> int:
    return max(2 * IMAGE_STRIDE, round(side / IMAGE_STRIDE) * IMAGE_STRIDE)


def _override_one(config: Any, key: str, path: list[str], text: str) -> Any:
    hints = typing.get_type_hints(type(config))
    if path[0] not in hints:
        raise InputError(f"--set {key}: no {path[0]!r} here: {nearest(path[0], hints)}")
    current = getattr(config, path[0])
    if len(path) > 1:
        if not dataclasses.is_dataclass(current):
            raise InputError(f"--set {key}: {path[0]!r} has no parts")
        return replace(config, **{path[0]: _override_one(current, key, path[1:], text)})
    if dataclasses.is_dataclass(current):
        raise InputError(f"--set {key}: name one of its parts: {', '.join(vars(current))}")
    return replace(config, **{path[0]: _convert(hints[path[0]], text, key)})


def _number(value: Any) -> type:
    """int for what is written without a decimal point, else float."""
    return int if isinstance(value, int) or str(value).lstrip("+-").isdigit() else float


def _convert(hint: Any, value: Any, name: str) -> Any:
    """`value` (JSON data or a command line's text) as the type `hint`."""
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in args:
            allowed = ", ".join(map(str, args))
            raise InputError(f"{name}={value!r}: expected one of {allowed}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value in (None, "none"):
            return None
        return _convert(args[0] if len(args) == 2 else _number(value), value, name)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        kinds = [args[0]] * len(items) if args[-1] is Ellipsis else args
        if len(kinds) != len(items):
            raise InputError(f"{name}={value!r}: expected {len(kinds)} values, comma-separated")
        return tuple(_convert(kind, item, name) for kind, item in zip(kinds, items, strict=True))
    if hint is bool:
        if str(value).lower() not in ("true", "false"):
            raise InputError(f"{name}={value!r}: expected true or false")
        return str(value).lower() == "true"
    try:
        return hint(value)
    except ValueError:
        raise InputError(f"{name}={value!r}: expected {hint.__name__}") from None
