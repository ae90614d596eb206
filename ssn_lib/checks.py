"""Whether the values of a configuration make sense, each by itself and one beside another."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ssn_lib.config import (
    IMAGE_STRIDE,
    Bound,
    ModelConfig,
    RunConfig,
    SupervisionConfig,
    TrainingConfig,
)
from ssn_lib.errors import InputError
from ssn_lib.presets import preset


@dataclass(frozen=True)
class Rule:
    """A constraint between fields of a configuration.

    Attributes:
        message: said where the rule is broken; `{model.score}` stands for the score of the model.
        holds: whether a network and its training keep it.
        of: who checks it. "model": everyone, `check_model` too; "training": `check` and
            `check_training`; "run": `check` alone; "fit": `check_training` alone, which sees the
            configuration after the run has put a teacher's maps in the place of masks.
    """

    message: str
    holds: Callable[[Parts], bool]
    of: Literal["model", "training", "run", "fit"] = "training"


@dataclass(frozen=True)
class Parts:
    """What rules look at."""

    model: ModelConfig
    training: TrainingConfig


RULES = (
    Rule(
        "training.milestones={training.milestones} with schedule=cycle is out of range: "
        "a cycle has no milestones; leave them at 0.8,0.9",
        lambda c: (
            c.training.schedule != "cycle"
            or tuple(c.training.milestones) == TrainingConfig().milestones
        ),
    ),
    Rule(
        "training.gamma={training.gamma} with schedule=cycle is out of range: "
        "a cycle has no steps to multiply the rates at; leave it at 0.4",
        lambda c: c.training.schedule != "cycle" or c.training.gamma == TrainingConfig().gamma,
    ),
    Rule(
        "training.precision=mixed is out of range: "
        "must be float32 where the noise comes from a generator",
        # Two objectives would each want a scale of their own for float16's gradients.
        lambda c: (c.training.precision, c.training.noise.source) != ("mixed", "generator"),
    ),
    Rule(
        "training.noise.std_unit={training.noise.std_unit} with source=generator is out of range: "
        "a generator has no σ; leave it at absolute",
        lambda c: c.training.noise.source != "generator" or c.training.noise.std_unit == "absolute",
    ),
    Rule(
        "training.noise.generator.period={training.noise.generator.period} is out of range: "
        "must be at least 2, or the detector never learns",
        lambda c: (
            c.training.noise.generator.update != "alternating"
            or c.training.noise.generator.period >= 2
        ),
    ),
    Rule(
        "training.supervision.masks={training.supervision.masks} is out of range: "
        "needs training.supervision.labels=true",
        lambda c: c.training.supervision.labels or c.training.supervision.masks is None,
    ),
    Rule(
        "training.supervision.teacher={training.supervision.teacher} is out of range: "
        "needs training.supervision.labels=true",
        lambda c: c.training.supervision.labels or c.training.supervision.teacher is None,
    ),
    Rule(
        "training.supervision.fold={training.supervision.fold} is out of range: "
        "needs training.supervision.labels=true",
        lambda c: c.training.supervision.labels or c.training.supervision.fold is None,
    ),
    Rule(
        "training.supervision.masks={training.supervision.masks} is out of range: "
        "must be 0 where a teacher's maps stand for masks",
        lambda c: c.training.supervision.teacher is None or c.training.supervision.masks == 0,
        of="run",
    ),
    Rule(
        "training.supervision.teacher={training.supervision.teacher} with masks=0: `fit` makes no "
        "teacher's maps; `runs.run.run` does, or give images with such masks, and masks=None",
        lambda c: c.training.supervision.teacher is None or c.training.supervision.masks != 0,
        of="fit",
    ),
    Rule(
        "training.focal=False with model.score={model.score} is out of range: "
        "the score is learned by the focal loss alone; leave it at True",
        lambda c: c.training.focal or c.model.score == "map_max",
    ),
    Rule(
        "training.supervision.pseudo_masks=traced is out of range: "
        "nothing is traced without a teacher",
        lambda c: (
            c.training.supervision.pseudo_masks == "region"
            or c.training.supervision.teacher is not None
        ),
    ),
    Rule(
        "training.noise.source=ascent with model.score=cam is out of range: "
        "an ascent needs a segmentation head",
        lambda c: (c.training.noise.source, c.model.score) != ("ascent", "cam"),
    ),
    Rule(
        "training.noise.source={training.noise.source} with model.score={model.score} "
        "is out of range: model.score=reconstruction goes with none, and nothing else does",
        lambda c: (c.training.noise.source == "none") == (c.model.score == "reconstruction"),
    ),
    Rule(
        "training.supervision.labels=True with model.score=reconstruction is out of range: "
        "a decoder learns from sound images alone",
        lambda c: not (c.training.supervision.labels and c.model.score == "reconstruction"),
    ),
    Rule(
        "model.upscale={model.upscale} with model.score=reconstruction is out of range: "
        "the decoder gives the layers back as they are; set it to 1",
        lambda c: c.model.upscale == 1 or c.model.score != "reconstruction",
        of="model",
    ),
    Rule(
        "model.local_width={model.local_width} with model.score={model.score} is out of range: "
        "a local view stands beside a decoder, so it needs model.score=reconstruction",
        lambda c: c.model.local_width is None or c.model.score == "reconstruction",
        of="model",
    ),
    Rule(
        "training.supervision.teacher={training.supervision.teacher}: "
        "must be a preset that learns from labels alone, such as gap_cam",
        lambda c: (
            c.training.supervision.teacher is None
            or preset(c.training.supervision.teacher).training.supervision
            == SupervisionConfig(labels=True, masks=0)
        ),
    ),
    Rule(
        "training.select_epoch=validation needs training.validation_fraction above 0",
        lambda c: c.training.select_epoch == "last" or c.training.validation_fraction != 0,
    ),
)


def check(config: RunConfig) -> RunConfig:
    """The configuration itself, when every value makes sense.

    Raises:
        InputError: naming the first value that does not.
    """
    _check_types(config)
    check_image_size(config.data.image_size)
    _check_parts(Parts(config.model, config.training), [rule for rule in RULES if rule.of != "fit"])
    _check_bounds(config)
    return config


def check_training(model: ModelConfig, training: TrainingConfig) -> None:
    """Raise for values of a network or its training that make no sense, by themselves or one beside
    another.

    Raises:
        InputError: naming the first such value.
    """
    _check_parts(Parts(model, training), [rule for rule in RULES if rule.of != "run"])


def check_model(model: ModelConfig) -> None:
    """Raise for values of a network that make no sense, however it is trained.

    Raises:
        InputError: naming the first such value.
    """
    _check_parts(Parts(model, TrainingConfig()), [rule for rule in RULES if rule.of == "model"])


def _check_parts(parts: Parts, rules: Sequence[Rule]) -> None:
    _check_types(parts)
    # Where a rule refuses a value and the field's bound does as well, the rule says more.
    for rule in rules:
        if not rule.holds(parts):
            raise InputError(rule.message.format(**vars(parts)))
    _check_bounds(parts)


def _check_types(config: Any, path: str = "") -> None:
    hints = typing.get_type_hints(type(config))
    for item in dataclasses.fields(config):
        name, value, hint = path + item.name, getattr(config, item.name), hints[item.name]
        if dataclasses.is_dataclass(hint) and isinstance(value, hint):
            _check_types(value, f"{name}.")
        elif not _fits(hint, value):
            raise InputError(f"{name}={value!r}: expected {_words(hint)}")


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value is of a field's type. A whole number counts as a float, a list as a tuple, as
    in JSON."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return isinstance(value, str) and value in args
    if origin in (typing.Union, types.UnionType):
        return any(_fits(one, value) for one in args)
    if origin is tuple:
        if not isinstance(value, tuple | list):
            return False
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return len(value) == len(kinds) and all(map(_fits, kinds, value))
    if isinstance(value, bool):  # which is a whole number to Python
        return hint is bool
    return isinstance(value, int | float if hint is float else hint)


def _words(hint: Any) -> str:
    """A field's type in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(args)}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_words, args))
    if origin is tuple:
        several = args[-1] is Ellipsis
        return f"a tuple of {_words(args[0])}" if several else f"a tuple of {len(args)} numbers"
    return "None" if hint is types.NoneType else hint.__name__


def _check_bounds(config: RunConfig | Parts) -> None:
    for name, value, bound in bounds(config):
        if not bound.takes(value):
            raise InputError(f"{name}={value} is out of range: {bound}")


def check_last_batch(
    model: ModelConfig, training: TrainingConfig, per_epoch: int, size: tuple[int, int]
) -> None:
    """Raise where an epoch's last batch is one image of which a batch normalisation, in training,
    sees a single value: behind a decoder's bottleneck, or in a non-linear adaptor.

    Args:
        per_epoch: images of an epoch.
        size: (height, width) of the images.

    Raises:
        InputError: saying so.
    """
    # Stage l has stride 2^(l+1), and the bottleneck halves that once more.
    smallest = 0  # side of images of which a single value is left
    if model.score == "reconstruction":
        smallest = 2 ** (model.layers[-1] + 2)
    elif model.adaptor == "nonlinear" and model.upscale == 1:
        smallest = 2 ** (model.layers[0] + 1)
    batch = training.batch_size
    if (per_epoch % batch or batch) == 1 and max(size) <= smallest:
        raise InputError(
            f"images of {size[0]}×{size[1]} pixels are too small for a last batch of one image: "
            f"give larger ones, or another batch size than {batch}"
        )


def check_image_size(size: tuple[int, int]) -> None:
    """Raise unless height and width are multiples of `IMAGE_STRIDE`, two of them at least. Stages
    3 and 4 of a backbone round odd sides up.

    Raises:
        InputError: naming the nearest size that is allowed.
    """
    height, width = size
    if height < 2 * IMAGE_STRIDE or width < 2 * IMAGE_STRIDE or (height | width) % IMAGE_STRIDE:
        raise InputError(
            f"image size {height}×{width}: height and width must be multiples of {IMAGE_STRIDE}, "
            f"at least {2 * IMAGE_STRIDE} (nearest: {nearest_side(height)}×{nearest_side(width)})"
        )


def bounds(config: Any, path: str = "") -> Iterator[tuple[str, Any, Bound]]:
    """Dotted name, value and bound of every field that has one."""
    for item in dataclasses.fields(config):
        name, value = path + item.name, getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            yield from bounds(value, f"{name}.")
        elif "bound" in item.metadata:
            yield name, value, item.metadata["bound"]


def nearest_side(side: float) -> int:
    """The side of an image, in pixels, that is nearest to that and can be used."""
    return max(2 * IMAGE_STRIDE, round(side / IMAGE_STRIDE) * IMAGE_STRIDE)
