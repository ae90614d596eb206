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
from ssn_lib.data.registry import source_of
from ssn_lib.data.samples import Sample
from ssn_lib.storage import digest, shown, unreadable

NAMED = 3  # pairs that a line names one by one


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


def warn_of_copies(dataset: Dataset, *, labels: bool) -> None:
    """Say in one line which images are in the data set more than once, and what follows from it.

    Args:
        labels: whether defective training images are trained on; if not, they are passed over.

    Raises:
        InputError: a file cannot be read.
    """
    trained = [sample for sample in dataset.train.samples if labels or not sample.label]
    found = find_copies(trained, dataset.test.samples)
    kinds = (
        (found.contradicting, "both good and defective"),
        (found.of_training, "both trained on and tested on"),
        (found.tested, "tested twice"),
        (found.trained, "trained on twice"),
    )
    said = [_counted(pairs, dataset.root) + what for pairs, what in kinds if pairs]
    if said:
        own = source_of(dataset.name).origin == "own"
        advice = "keep one of each" if own else "it is published so, and all of them count"
        warnings.warn(
            f"{shown(dataset.root)}: the same file under several names: {'; '.join(said)}; "
            f"{advice}",
            stacklevel=2,
        )


def _counted(pairs: Sequence[tuple[Path, Path]], root: Path) -> str:
    """How many they are, and the first of them by name."""
    named = [
        " = ".join(shown(path.relative_to(root).as_posix()) for path in pair)
        for pair in pairs[:NAMED]
    ]
    more = f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else ""
    noun = "image" if len(pairs) == 1 else "images"
    return f"{len(pairs)} {noun} ({', '.join(named)}{more}) "


def _alike(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Groups of samples whose files have the same bytes, in the order of the first of each.

    Only files of equal size are read: of photographs hardly any. Empty ones are no images.
    """
    groups = [[sample for sample in samples if _size(sample.image)]]
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
