"""What a notebook is given: its parameters, checked."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from ssn_lib.errors import InputError


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


def _assigned(source: str) -> list[str]:
    targets = [n.targets[0] for n in ast.parse(source).body if isinstance(n, ast.Assign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]
