"""Finding and reading data sets; `load_dataset` is the door."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import TypeVar, get_args

from ssn_lib.config import Resize
from ssn_lib.data.images import Dataset, ImageSet, find_full_scale
from ssn_lib.data.listing import Unreadable, Unsuitable, is_data
from ssn_lib.data.registry import source_of
from ssn_lib.data.shape import in_shape, warn_of_stretched
from ssn_lib.data.source import Found, Source
from ssn_lib.errors import InputError
from ssn_lib.storage import shown

ALL = "all"  # in the place of a category
KAGGLE_INPUT = Path(os.environ.get("SSN_KAGGLE_INPUT", "/kaggle/input"))  # or a rehearsal's
_T = TypeVar("_T")


def load_dataset(
    name: str,
    root: Path | str | None = None,
    *,
    category: str | None = None,
    image_size: tuple[int, int] | None = None,
    made_for: tuple[int, int] | None = None,
    resize: Resize = "antialiased",
) -> Dataset:
    """A data set, its files listed and paired; images are decoded at first use. One warning says
    how many images that lie there are not used, and where.

    Args:
        name: one of `registry.DATASETS`.
        root: where it lies. None: SSN_DATA_ROOT, then ./data, then Kaggle's mounts, the first that
            holds it; for "demo", the folder it is made in (./data).
        category: of MVTec AD or of the demo data ("ksdd2" for its strips); a folder is its own
            category, KolektorSDD2 is "ksdd2".
        image_size: (height, width) the images are resized to; None: as published, 640×232 for
            strips, else 256×256.
        made_for: the size of square images that a network is made for, which decides where
            `image_size` does not: strips keep theirs, and a user's own images are seen with as many
            pixels in their own shape (`shape.in_shape`).
        resize: how; "plain" as in the public code, see `read_image`.

    Raises:
        InputError: in one line, what is wrong and what to do.
    """
    for what, value in (("root", root), ("category", category)):
        if value is not None and (not isinstance(value, str | Path) or "\0" in str(value)):
            raise InputError(f"{what}={value!r}: must be text")
    source = source_of(name)
    if resize not in get_args(Resize):
        raise InputError(f"resize={resize!r}: choose one of {', '.join(get_args(Resize))}")
    if category is None and source.category == "needed":
        raise InputError(f"data set {name!r}: give a category, such as bottle")
    folder = _find(source, Path(root) if root is not None else None, category)
    files = source.read(folder, category)
    if source.category == "single" and category not in (None, source.name, files.category):
        raise InputError(
            f"category={shown(category)!r}: {source.title} has no categories; leave it out"
        )
    for what, value in (("image_size", image_size), ("made_for", made_for)):
        if value is not None and not _is_size(value):
            raise InputError(f"{what}={value!r}: give height and width, such as (256, 256)")
    size = image_size or _size(source, files, category, made_for)
    size = (int(size[0]), int(size[1]))
    if image_size is not None and source.origin == "own":
        warn_of_stretched([sample.image for sample in (*files.train, *files.test)], size)
    full_scale = find_full_scale([sample.image for sample in files.train])
    return Dataset(
        name,
        shown(files.category),
        folder,
        ImageSet(tuple(files.train), size, files.splits, resize, full_scale),
        ImageSet(tuple(files.test), size, resize=resize, full_scale=full_scale),
    )


def asked_categories(name: str, root: Path | str | None, asked: str | None) -> list[str | None]:
    """The categories that a text asks for, each to be loaded by itself.

    Args:
        name, root: as in `load_dataset`.
        asked: one, several separated by commas, or "all" for those that are there. Of a data set
            that wants none it is passed on as it is.

    Raises:
        InputError: there is none at all, or a name between commas is empty.
    """
    source = source_of(name)
    if source.categories is None or asked is None:
        return [asked]
    place = None if root is None else Path(root)
    if asked == ALL:
        return _look(source, place, source.categories, "'s categories")
    with contextlib.suppress(InputError):  # which `load_dataset` tells
        if asked in _look(source, place, source.categories, ""):  # a comma may be part of a name
            return [asked]
    names = [part.strip() for part in asked.split(",")]
    if not all(names):
        raise InputError(f"category={asked!r}: expected one or several, such as 'bottle,screw'")
    return list(dict.fromkeys(names))


def _size(
    source: Source, files: Found, category: str | None, made_for: tuple[int, int] | None
) -> tuple[int, int]:
    """(height, width) that images are resized to where nobody says."""
    trained, tested = ([sample.image for sample in part] for part in (files.train, files.test))
    size, plates = source.like(category).image_size, source.like(category).kind == "plates"
    if made_for is not None and plates:
        if source.origin == "own":
            return in_shape(trained, tested, made_for)
        size = made_for
    if source.origin == "public":
        warn_of_stretched([*trained, *tested], size)
    return size


def _is_size(size: object) -> bool:
    return (
        isinstance(size, tuple | list)
        and len(size) == 2
        and all(isinstance(side, Integral) and side > 0 for side in size)
    )


def _find(source: Source, root: Path | None, category: str | None) -> Path:
    """The folder of the images."""
    of_category = f"'s {category!r}" if source.category == "needed" else ""
    return _look(source, root, lambda place: source.find(place, category), of_category)


def _look(source: Source, root: Path | None, find: Callable[[Path], _T], what: str) -> _T:
    """What is found in an explicit root, which must hold it, or else in the first of the usual
    places that does.

    Args:
        what: is looked for, behind the data set's title.
    """
    if source.origin == "rendered":
        return find(root or Path("data"))
    if root:
        return find(root)
    named = os.environ.get("SSN_DATA_ROOT")
    if source.origin == "own":
        if named:
            return find(Path(named))
        raise InputError(f"data set {source.name!r}: give --data-root, the folder of your images")
    places = [Path(named), Path("data")] if named else [Path("data")]
    if source.category == "needed":
        places.append(Path("data") / source.name)
    for mount in ("*", "datasets/*/*"):  # both forms occur on Kaggle
        places += sorted(path for path in KAGGLE_INPUT.glob(mount) if is_data(path.name))
    reasons: list[InputError] = []
    for place in places:
        try:
            return find(place)
        except Unreadable:
            raise
        except InputError as error:
            if isinstance(error, Unsuitable) or (named and place == Path(named)):
                reasons.append(error)
    tried = ", ".join(map(str, places))
    there = f": {reasons[0]}" if reasons else ""
    raise InputError(
        f"{source.title}{what} not found (tried {tried}){there}; give --data-root or SSN_DATA_ROOT"
    )
