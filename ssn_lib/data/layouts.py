"""The folder layouts that are read: MVTec AD's, and a user's own folder of images."""

from __future__ import annotations

import warnings
from pathlib import Path

from ssn_lib.config import nearest
from ssn_lib.data.images import Sample, list_images
from ssn_lib.errors import InputError

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
NORMAL_NAMES = ("good", "ok", "normal")
DEFECT_NAMES = ("bad", "nok", "defect", "defective", "anomaly", "anomalous")
# A data set of "just good/bad folders" has no split: this share of the good images is for testing.
OWN_TEST_SHARE = 0.2


def find_mvtec_category(root: Path, category: str) -> Path:
    """The category's folder below `root`, which is the folder of categories or its parent.

    Raises:
        InputError: the root is missing, or no such category (the nearest is suggested).
    """
    if not root.is_dir():
        raise InputError(f"data root {root}: no such folder; give --data-root or SSN_DATA_ROOT")
    if _is_mvtec_category(root) and root.name == category:
        return root
    homes = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    for home in homes:
        if _is_mvtec_category(home / category):
            return home / category
    found = {
        path.name
        for home in homes
        for path in home.iterdir()
        if path.is_dir() and _is_mvtec_category(path)
    }
    if not found:
        raise InputError(
            f"data root {root} holds no MVTec AD category: expected "
            f"<root>/{category}/train/good and <root>/{category}/test"
        )
    if category in MVTEC_COUNTS:  # no misspelling: it is not there
        raise InputError(
            f"no category {category!r} in {root}; there are {', '.join(sorted(found))}"
        )
    raise InputError(f"no category {category!r} in {root}: {nearest(category, found)}")


def read_mvtec(folder: Path) -> tuple[list[Sample], list[Sample]]:
    """Training and test samples of one category in MVTec AD's layout.

    `train/good/*`, `test/<type>/*` and `ground_truth/<type>/<name>_mask.png`, paired by name.

    Raises:
        InputError: a defective image without a mask, a mask without an image, no training images.
    """
    train = _good_training_images(folder)
    test = []
    for kind in _folders(folder / "test"):
        images = list_images(kind)
        if kind.name == "good":
            test += [Sample(path, 0, "good") for path in images]
            continue
        masks = folder / "ground_truth" / kind.name
        test += _paired(images, masks, kind.name)
    return train, test


def check_mvtec_counts(folder: Path, train: int, test: int) -> None:
    """Warn when a category of MVTec AD has not the official number of images."""
    expected = MVTEC_COUNTS.get(folder.name, (train, test))
    if (train, test) != expected:
        warnings.warn(
            f"{folder}: {train} training and {test} test images; the official {folder.name} has "
            f"{expected[0]} and {expected[1]}",
            stacklevel=2,
        )


def read_folder(folder: Path) -> tuple[list[Sample], list[Sample]]:
    """Training and test samples of a user's own images, in either of two layouts.

    Split: `train/good`, `test/good`, `test/<defect>` and, if there are masks, MVTec AD's
    `ground_truth/<defect>/<name>_mask.png`. For learning from labels also `train/<defect>`, with
    masks for as many as you like in `ground_truth_train/<defect>/<name>_mask.png`.
    Unsplit: `good` (or ok, normal) and, for testing, `bad` (or nok, defect, ...): every fifth good
    image is kept for the test.

    Raises:
        InputError: neither layout is there, there is nothing to train on, or a mask lies among the
            images.
    """
    if not folder.is_dir():
        raise InputError(f"data root {folder}: no such folder")
    if (folder / "train").is_dir():
        train = _good_training_images(folder)
        for kind in _folders(folder / "train"):
            if kind.name.lower() not in NORMAL_NAMES:
                masks = folder / "ground_truth_train" / kind.name
                train += _some_masked(_photographs(kind), masks, kind.name)
        test = []
        for kind in _folders(folder / "test") if (folder / "test").is_dir() else []:
            images, masks = _photographs(kind), folder / "ground_truth" / kind.name
            if kind.name.lower() in NORMAL_NAMES:
                test += [Sample(path, 0, "good") for path in images]
            elif masks.is_dir():
                test += _paired(images, masks, kind.name)
            else:
                test += [Sample(path, 1, kind.name) for path in images]
        return train, test
    kinds = {path.name.lower(): path for path in _folders(folder)}
    good = next((kinds[name] for name in NORMAL_NAMES if name in kinds), None)
    if good is None:
        raise InputError(
            f"{folder}: expected train/good (and test/...), or a folder of good images named "
            f"{', '.join(NORMAL_NAMES)}; found {', '.join(sorted(kinds)) or 'no folders'}"
        )
    images = _photographs(good)
    every = round(1 / OWN_TEST_SHARE)
    train = [Sample(path, 0, "good") for i, path in enumerate(images) if (i + 1) % every]
    test = [Sample(path, 0, "good") for i, path in enumerate(images) if not (i + 1) % every]
    for name in DEFECT_NAMES:
        if name in kinds:
            defective = _photographs(kinds[name])
            if not defective:
                raise InputError(f"{kinds[name]}: no images; its own folders are not looked into")
            test += [Sample(path, 1, name) for path in defective]
    if not train:
        raise InputError(f"{good}: no images to train on")
    unused = sorted(kinds.keys() - {*NORMAL_NAMES, *DEFECT_NAMES})
    if unused:
        warnings.warn(
            f"{folder}: folders not looked into: {', '.join(unused)}; defective images belong in "
            "bad, or, kind by kind, in test/<defect> with the good ones in train/good",
            stacklevel=2,
        )
    return train, test


def _is_mvtec_category(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _good_training_images(folder: Path) -> list[Sample]:
    for good in _folders(folder / "train"):
        if good.name.lower() in NORMAL_NAMES:
            images = _photographs(good)
            if images:
                return [Sample(path, 0, "good") for path in images]
            raise InputError(f"{good}: no images to train on")
    raise InputError(f"{folder}: expected a folder train/good with the defect-free images")


def _photographs(folder: Path) -> list[Path]:
    """The images of a user's folder, none of which may be a mask."""
    images = list_images(folder)
    for path in images:
        if path.stem.lower().endswith(("_mask", "_gt")):
            raise InputError(
                f"{path} is named like a mask and lies among the images: move masks to "
                f"ground_truth/{folder.name} or ground_truth_train/{folder.name}"
            )
    return images


def _some_masked(images: list[Path], masks: Path, defect: str) -> list[Sample]:
    """Defective images, each with its mask where there is one."""
    drawn = {path: masks / f"{path.stem}_mask.png" for path in images}
    samples = [
        Sample(path, 1, defect, mask if mask.is_file() else None) for path, mask in drawn.items()
    ]
    _refuse_orphans(samples, masks, defect)
    return samples


def _paired(images: list[Path], masks: Path, defect: str) -> list[Sample]:
    """Defective images with their masks, strictly by name: 007.png with 007_mask.png."""
    samples = [Sample(path, 1, defect, masks / f"{path.stem}_mask.png") for path in images]
    for sample in samples:
        if not sample.mask.is_file():  # type: ignore[union-attr]
            raise InputError(f"{sample.image}: its mask {sample.mask} is missing")
    _refuse_orphans(samples, masks, defect)
    return samples


def _refuse_orphans(samples: list[Sample], masks: Path, defect: str) -> None:
    present = set(list_images(masks)) if masks.is_dir() else set()
    orphans = sorted(present - {sample.mask for sample in samples})
    if orphans:
        raise InputError(f"mask {orphans[0]} has no image of that name among those of {defect!r}")
