"""The data sets there are. A new one is a new module in `sets`, and nothing else."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from ssn_lib.data import sets
from ssn_lib.data.source import Source
from ssn_lib.errors import InputError, nearest

_MODULES = [import_module(f"{sets.__name__}.{found.name}") for found in iter_modules(sets.__path__)]
_SOURCES: dict[str, Source] = {module.SOURCE.name: module.SOURCE for module in _MODULES}
DATASETS = tuple(sorted(_SOURCES, reverse=True))  # the public ones come first that way

_TITLES = {name: title for source in _SOURCES.values() for name, title in source.titles.items()}


def source_of(name: str) -> Source:
    """The data set of that name.

    Raises:
        InputError: there is none; the nearest is suggested.
    """
    if name not in _SOURCES:
        raise InputError(f"unknown data set {name!r}: {nearest(name, DATASETS)}")
    return _SOURCES[name]


def of_strips(name: str, category: str | None) -> bool:
    """Whether a category's images are long strips."""
    return source_of(name).like(category).kind == "strips"


def images_title(category: str) -> str:
    """The name of a category's images, for people."""
    return _TITLES.get(category, category)
