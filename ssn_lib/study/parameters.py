"""A notebook's parameters: their names, and their values checked."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from ssn_lib.checks import check_image_size
from ssn_lib.errors import InputError
from ssn_lib.presets import PRESETS

# What the parameters cell of every notebook holds.
REQUIRED = (
    *("profile", "data_root", "weights_dir", "runs_dir"),
    *("category", "seeds", "records_dir"),
)
# And what it may hold: how long, on how large images, and which systems.
PARAMETERS = (*REQUIRED, "epochs", "image_size", "presets")
TRY_IT = "try_it"  # a notebook's own switch for its last cells; the study has no use for it
LONGEST_SIDE = 4096  # in pixels; more is a mistake in typing


def refuse_unknown(namespace: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise when papermill gave a notebook a parameter that it has not: papermill only warns.

    Args:
        namespace: the notebook's `globals()`; in `In` stand the cells that were executed, among
            them the one that papermill added.
        known: its parameters.

    Raises:
        InputError: naming the parameter and the known ones.
    """
    for cell in namespace.get("In", ()):
        if cell.startswith("# Parameters\n"):
            for name in _assigned(cell):
                if name not in known:
                    raise InputError(f"unknown parameter {name!r}; known: {', '.join(known)}")


def listed(name: str, value: Any, example: str) -> tuple[str, ...] | None:
    """The items of a parameter that is one or several: a number, text with commas, a list.

    Returns:
        None for None.

    Raises:
        InputError: neither of them.
    """
    if value is None:
        return None
    items = value.split(",") if isinstance(value, str) else value
    items = items if isinstance(items, (list, tuple)) else [items]
    texts = [str(item).strip() for item in items if isinstance(item, (str, int))]
    if not items or len(texts) != len(items) or not all(texts):
        raise InputError(f"{name}={value!r}: expected one or several, such as {example!r}")
    return tuple(texts)


def whole_number(name: str, value: Any) -> int | None:
    """A parameter that is a whole number above 0; None for None.

    Raises:
        InputError: anything else.
    """
    if value is None:
        return None
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or int(text) == 0:
        raise InputError(f"{name}={value!r}: expected a whole number above 0, such as 20")
    return int(text)


def size(name: str, value: Any) -> int | tuple[int, int] | None:
    """The size of images: the longer side alone, or height and width, in pixels; None for None.

    Args:
        value: 256, "256", "640x232" or (640, 232).

    Raises:
        InputError: none of them, or sides that no network takes.
    """
    if value is None:
        return None
    sides = value if isinstance(value, (list, tuple)) else str(value).lower().split("x")
    texts = [str(side).strip() for side in sides]
    known = len(texts) in (1, 2) and all(text.isdecimal() for text in texts)
    numbers = tuple(map(int, texts)) if known else ()
    if not numbers or isinstance(value, bool) or max(numbers) > LONGEST_SIDE:
        raise InputError(
            f"{name}={value!r}: expected the longer side in pixels, such as 256, or height and "
            "width, such as '640x232'"
        )
    try:
        check_image_size((numbers[0], numbers[-1]))
    except InputError as error:
        raise InputError(f"{name}={value!r}: {error}") from None
    return numbers if len(numbers) == 2 else numbers[0]


def known_presets(name: str, value: Any) -> tuple[str, ...] | None:
    """The presets of a parameter that names one or several; None for None.

    Raises:
        InputError: a name that no preset has.
    """
    names = listed(name, value, "scenario_a,evolved")
    for one in names or ():
        if one not in PRESETS:
            raise InputError(f"{name}={value!r}: no preset {one!r}; known: {', '.join(PRESETS)}")
    return names


def _assigned(source: str) -> list[str]:
    targets = [n.targets[0] for n in ast.parse(source).body if isinstance(n, ast.Assign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
