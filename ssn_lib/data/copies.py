"""Images that are in a data set twice: one file under two names.

A copy of a training image says nothing of new ones, a copy within the test images counts twice, and
one among good and defective images alike contradicts itself. Nothing is left out for it: which of
the two is to go, only its owner knows.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssn_lib.data.decoding import in_threads
from ssn_lib.data.images import Dataset
from ssn_lib.data.samples import Sample
from ssn_lib.storage import digest, shown, unreadable


@dataclass(frozen=True)
class Copies:
    """Pairs of images with the same bytes, each with the first of its like.

    Attributes:
        contradicting: one is good, the other defective; these are in no other list.
        of_training: a test image, and the training image that it is.
        tested, trained: both test images, both training images.
    """

    contradicting: list[tuple[Path, Path]]
    of_training: list[tuple[Path, Path]]
    tested: list[tuple[Path, Path]]
    trained: list[tuple[Path, Path]]


def find_copies(train: Sequence[Sample], test: Sequence[Sample]) -> Copies:
    """The images that are the same file as an earlier one, training images being the first.

    Raises:
        InputError: a file cannot be read.
    """
    found, tested = Copies([], [], [], []), set(test)
    for alike in _alike([*train, *test]):
        first = alike[0]
        for sample in alike[1:]:
            if sample.label != first.label:
                kind = found.contradicting
            elif sample not in tested:
                kind = found.trained
            else:
                kind = found.tested if first in tested else found.of_training
            kind.append((sample.image, first.image))
    return found


def warn_of_copies(dataset: Dataset) -> None:
    """Say in one line which images are in the data set twice, and what follows from it.

    Raises:
        InputError: a file cannot be read.
    """
    found = find_copies(dataset.train.samples, dataset.test.samples)
    kinds = (
        (found.contradicting, "both good and defective"),
        (found.of_training, "of the test images, trained on: they say nothing of new ones"),
        (found.tested, "of the test images, which count twice"),
        (found.trained, "of the training images"),
    )
    said = []
    for pairs, what in kinds:
        if pairs:
            copy, first = (shown(path.relative_to(dataset.root).as_posix()) for path in pairs[0])
            said.append(f"{len(pairs)} {what} ({copy} is {first})")
    if said:
        warnings.warn(
            f"{shown(dataset.root)}: the same image under two names: {'; '.join(said)}; if these "
            "images are yours, remove one of each two",
            stacklevel=2,
        )


def _alike(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Groups of samples whose files have the same bytes, in the order of the first of each.

    Only files of equal size are read: of photographs hardly any.
    """
    groups = [list(samples)]
    for property_of in (_size, digest):
        finer = defaultdict(list)
        for number, group in enumerate(groups):
            values = in_threads(property_of, [sample.image for sample in group])
            for sample, value in zip(group, values, strict=True):
                finer[number, value].append(sample)
        groups = [group for group in finer.values() if len(group) > 1]
    return groups


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from None
