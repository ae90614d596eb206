"""Configurations as text and JSON: read, and overridden by `--set key=value`."""

from __future__ import annotations

import dataclasses
import types
import typing
from dataclasses import replace
from typing import Any, Literal

from ssn_lib.config import RunConfig, to_dict
from ssn_lib.errors import InputError, nearest
from ssn_lib.presets import preset


def changes(config: RunConfig) -> tuple[str, ...]:
    """What sets a run's model and training apart from its preset's, as `key=value`, sorted.

    Epochs, batch size and precision are left out: they are decided for all presets alike.
    """
    base = preset(config.preset)
    usual = to_dict(replace(config, model=base.model, training=base.training))
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
        key, sign, text = (part.strip() for part in assignment.partition("="))
        if not sign:
            raise InputError(f"--set {assignment!r}: expected key=value")
        settings = (name for name in _flat(to_dict(config)) if not name.startswith("data."))
        inner = [name for name in settings if name.endswith(f".{key}")]
        if inner and key.split(".")[0] not in vars(config):
            raise InputError(f"--set {key}: did you mean {' or '.join(inner)}?")
        config = _override_one(config, key, key.split("."), text)
    return config


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
        if value is None or str(value).lower() == "none":
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
        converted = hint(value)
        if hint is int and (isinstance(value, bool) or converted != float(value)):
            raise ValueError  # it would be cut off in silence
        return converted
    except (TypeError, ValueError):
        raise InputError(f"{name}={value!r}: expected {hint.__name__}") from None
