"""What a data set says of itself: its names, what kind its images are, how it is found and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.data.samples import Sample

Kind = Literal["plates", "strips"]


@dataclass(frozen=True)
class Found:
    """What lies in a data set's folder.

    Attributes:
        category: its name in records.
        splits: official split files by their number of masks.
    """

    train: list[Sample]
    test: list[Sample]
    category: str
    splits: dict[int, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A data set, known without a look at its files.

    Attributes:
        name: on the command line and in records.
        title: for people.
        origin: a public set is looked for in the usual places; of the user's own images the place
            must be said; rendered ones are made in the folder that is given, or in ./data.
        category: it must be given, or it may be, or the set is a single one.
        find: the folder of a category's images, from the place that was given.
        read: that folder, for that category.
        categories: the names of those in a place that was given, where one is needed.
        kind: long strips, which keep their shape, or plates.
        image_size: (height, width) that images are resized to where nothing else is said.
        counts: official numbers of training and test images, by category.
        titles: of categories, for people, where the name is none.
        alike: categories whose images are like those of another set.
    """

    name: str
    title: str
    origin: Literal["public", "own", "rendered"]
    category: Literal["needed", "optional", "single"]
    find: Callable[[Path, str | None], Path]
    read: Callable[[Path, str | None], Found]
    categories: Callable[[Path], list[str]] | None = None
    kind: Kind = "plates"
    image_size: tuple[int, int] = PUBLISHED_SIZE
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    alike: Mapping[str | None, Source] = field(default_factory=dict)

    def like(self, category: str | None) -> Source:
        """The set that says of what kind and size a category's images are."""
        return self.alike.get(category, self)
