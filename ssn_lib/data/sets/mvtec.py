"""MVTec AD's layout: train/good, test/<defect>, and masks in ground_truth/<defect>."""

from __future__ import annotations

import warnings
from pathlib import Path

from ssn_lib.data.listing import (
    Unreadable,
    Unsuitable,
    composed,
    counterpart,
    defective_samples,
    folders_to_search,
    good_samples,
    good_training_samples,
    is_folder,
    is_normal,
    list_folders,
    subfolder,
    warn_of_unused,
)
from ssn_lib.data.samples import Sample, files_of
from ssn_lib.data.source import Found, Source
from ssn_lib.errors import InputError, nearest
from ssn_lib.storage import shown

# Images of MVTec AD: training, test (Bergmann et al., IJCV 129(4), 2021, table 1).
MVTEC_COUNTS = {
    "bottle": (209, 83),
    "cable": (224, 150),
    "capsule": (219, 132),
    "carpet": (280, 117),
    "grid": (264, 78),
    "hazelnut": (391, 110),
    "leather": (245, 124),
    "metal_nut": (220, 115),
    "pill": (267, 167),
    "screw": (320, 160),
    "tile": (230, 117),
    "toothbrush": (60, 42),
    "transistor": (213, 100),
    "wood": (247, 79),
    "zipper": (240, 151),
}


def find_mvtec_category(root: Path, category: str) -> Path:
    """The category's folder below `root`, which is that folder, the folder of categories, or the
    parent of that.

    Raises:
        InputError: the root is missing, no such category (the nearest is suggested), or several.
    """
    _check_is_folder(root)
    if _is_category(root) and composed(shown(root.resolve().name)) == composed(shown(category)):
        return root
    if _is_category(root / category):
        return root / category
    homes, closed = _homes(root)
    name = composed(shown(category))
    found = [known[name] for known in homes if name in known]
    if len(found) == 1:
        return found[0]
    _check_single(root, found)
    names = _with_good(homes)
    if not names and closed:
        raise closed[0]
    if not names:
        raise _no_category(root, shown(category))
    if category in MVTEC_COUNTS:  # no misspelling: it is not there
        raise Unsuitable(f"no category {category!r} in {shown(root)}; there are {', '.join(names)}")
    raise Unsuitable(f"no category {category!r} in {shown(root)}: {nearest(category, names)}")


def list_mvtec_categories(root: Path) -> list[str]:
    """The names of the categories that `find_mvtec_category` finds below `root`, sorted.

    Raises:
        InputError: the root is missing, there is none, or one of them twice.
    """
    _check_is_folder(root)
    if _is_category(root) and _has_good(root):
        return [composed(shown(root.resolve().name))]
    homes, closed = _homes(root)
    names = _with_good(homes)
    if not names and closed:
        raise closed[0]
    if not names:
        raise _no_category(root, "CATEGORY")
    for name in names:
        _check_single(root, [known[name] for known in homes if name in known])
    return names


def read_mvtec(folder: Path) -> tuple[list[Sample], list[Sample]]:
    """Training and test samples of one category in MVTec AD's layout.

    `train/good/*`, `test/<type>/*` and `ground_truth/<type>/<name>_mask.png`, paired by name.

    Raises:
        InputError: a defective image without a mask, a mask without an image, no training images,
            a mask among the images.
    """
    train = good_training_samples(folder)
    test = []
    for kind in list_folders(subfolder(folder, "test")):
        if is_normal(kind):
            test += good_samples([kind])
        else:
            masks = counterpart(kind, subfolder(folder, "ground_truth"))
            test += defective_samples(kind, masks, all_masked=True)
    warn_of_unused(
        folder,
        files_of(train + test),
        "read are train/good, test/<defect> and ground_truth/<defect>, no folders below them",
    )
    return train, test


def _read(folder: Path, category: str | None) -> Found:
    """Warns when a category has not the official number of images."""
    train, test = read_mvtec(folder)
    counts = (len(train), len(test))
    expected = MVTEC_COUNTS.get(folder.resolve().name, counts)
    if counts != expected:
        warnings.warn(
            f"{shown(folder)}: {counts[0]} training and {counts[1]} test images; the official "
            f"{folder.resolve().name} has {expected[0]} and {expected[1]}",
            stacklevel=2,
        )
    return Found(train, test, category)


def _check_is_folder(root: Path) -> None:
    if not is_folder(root):
        raise InputError(
            f"data root {shown(root)}: no such folder; give --data-root or SSN_DATA_ROOT"
        )


def _check_single(root: Path, found: list[Path]) -> None:
    """Raise for a category that is there twice."""
    if len(found) > 1:
        raise Unsuitable(
            f"data root {shown(root)}: {shown(found[0])} and {shown(found[1])} are both there; "
            "give the parent of one of them as --data-root"
        )


def _no_category(root: Path, category: str) -> InputError:
    return InputError(
        f"data root {shown(root)} holds no MVTec AD category: expected "
        f"<root>/{category}/train/good and <root>/{category}/test"
    )


def _homes(root: Path) -> tuple[list[dict[str, Path]], list[Unreadable]]:
    """The categories in the root, and in each of its folders; and what could not be looked into,
    which matters only where nothing is found."""
    homes, closed = [], []
    for home in (root, *folders_to_search(root)):
        known: dict[str, Path] = {}
        homes.append(known)
        try:
            places = folders_to_search(home)
        except Unreadable as error:
            closed.append(error)
            continue
        for path in places:
            try:
                if _is_category(path):
                    known[composed(shown(path.name))] = path
            except Unreadable as error:
                closed.append(error)
    return homes, closed


def _with_good(homes: list[dict[str, Path]]) -> list[str]:
    return sorted({name for known in homes for name in known if _has_good(known[name])})


def _is_category(folder: Path) -> bool:
    return is_folder(folder) and all(
        is_folder(subfolder(folder, part)) for part in ("train", "test")
    )


def _has_good(folder: Path) -> bool:
    """Whether a folder that is like a category has one train/good; strips have none."""
    try:
        return any(map(is_normal, folders_to_search(subfolder(folder, "train"))))
    except Unreadable:
        return False


SOURCE = Source(
    name="mvtec_ad",
    title="MVTec AD",
    origin="public",
    category="needed",
    find=find_mvtec_category,
    read=_read,
    categories=list_mvtec_categories,
    counts=MVTEC_COUNTS,
)
