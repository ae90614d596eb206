"""Configurations as text and JSON: read, overridden by `--set key=value`, and checked."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import replace
from typing import Any, Literal

from ssn_lib.config import FOLDS, IMAGE_STRIDE, RunConfig, SupervisionConfig, to_dict
from ssn_lib.errors import InputError, nearest
from ssn_lib.presets import preset


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
