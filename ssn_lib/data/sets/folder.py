"""A user's own folder of images: split into training and test as MVTec AD is, or just good/bad."""

from __future__ import annotations

from pathlib import Path

from ssn_lib.data.listing import (
    NORMAL_NAMES,
    counterpart,
    defective_samples,
    good_samples,
    good_training_samples,
    is_folder,
    is_normal,
    list_folders,
    no_images,
    subfolder,
    warn_of_unused,
)
from ssn_lib.data.samples import Sample, files_of
from ssn_lib.data.source import Found, Source
from ssn_lib.errors import InputError
from ssn_lib.storage import shown

DEFECT_NAMES = (
    *("bad", "nok", "ng", "ko", "faulty"),
    *("defect", "defects", "defective", "anomaly", "anomalous", "abnormal"),
)


# A data set of "just good/bad folders" has no split: this share of the good images is for testing.
OWN_TEST_SHARE = 0.2


def read_folder(folder: Path) -> tuple[list[Sample], list[Sample]]:
    """Training and test samples of a user's own images, in either of two layouts.

    Split: `train/good`, `test/good`, `test/<defect>` and, if there are masks, MVTec AD's
    `ground_truth/<defect>/<name>_mask.png`. For learning from labels also `train/<defect>`, with
    masks for as many as you like in `ground_truth_train/<defect>/<name>_mask.png`.
    Unsplit: `good` (or ok, normal) and, for testing, `bad` (or nok, defect, ...): every fifth good
    image is kept for the test.

    `train/good` or `good` alone is enough to train on; there is then nothing to test with.

    Raises:
        InputError: neither layout is there, there is nothing to train on, a mask lies among the
            images, or a folder cannot be looked into.
    """
    if not is_folder(folder):
        raise InputError(f"data root {shown(folder)}: no such folder")
    if is_folder(subfolder(folder, "train")):
        train, test = _read_split(folder)
        advice = (
            "read are train/<kind>, test/<kind> and masks in ground_truth/<kind> and "
            "ground_truth_train/<kind>, no folders below them"
        )
    else:
        train, test = _read_unsplit(folder)
        advice = (
            "defective images belong in bad and their masks in ground_truth/bad, or, kind by kind, "
            "in test/<defect> and ground_truth/<defect> with the good ones in train/good; no "
            "folders below them are looked into"
        )
    warn_of_unused(folder, files_of(train + test), advice)
    return train, test


def _read_split(folder: Path) -> tuple[list[Sample], list[Sample]]:
    train = good_training_samples(folder)
    for kind in list_folders(subfolder(folder, "train")):
        if not is_normal(kind):
            masks = counterpart(kind, subfolder(folder, "ground_truth_train"))
            train += defective_samples(kind, masks, all_masked=False)
    test = []
    tested = subfolder(folder, "test")
    for kind in list_folders(tested) if is_folder(tested) else []:
        test += good_samples([kind]) if is_normal(kind) else _defective_test_samples(folder, kind)
    return train, test


def _read_unsplit(folder: Path) -> tuple[list[Sample], list[Sample]]:
    kinds = list_folders(folder)
    good = [kind for kind in kinds if is_normal(kind)]
    if not good:
        found = ", ".join(repr(shown(kind.name)) for kind in kinds)
        raise InputError(
            f"{shown(folder)}: expected train/good (and test/...), or a folder of good images "
            f"named {', '.join(NORMAL_NAMES)}; found {found or 'no folders'}"
        )
    samples = good_samples(good)
    every = round(1 / OWN_TEST_SHARE)
    train = [sample for i, sample in enumerate(samples) if (i + 1) % every]
    test = [sample for i, sample in enumerate(samples) if not (i + 1) % every]
    for kind in kinds:
        if kind.name.lower() in DEFECT_NAMES:
            defective = _defective_test_samples(folder, kind)
            if not defective:
                raise InputError(f"{shown(kind)}: no images; its own folders are not looked into")
            test += defective
    if not train:
        raise no_images(good[0])
    return train, test


def _defective_test_samples(folder: Path, kind: Path) -> list[Sample]:
    """One kind of defect; where there is a folder for its masks, every image has one."""
    masks = counterpart(kind, subfolder(folder, "ground_truth"))
    return defective_samples(kind, masks, all_masked=is_folder(masks))


def _read(folder: Path, category: str | None) -> Found:
    return Found(*read_folder(folder), category or folder.resolve().name)


SOURCE = Source(
    name="folder",
    title="your own images",
    origin="own",
    category="optional",
    find=lambda root, _category: root,
    read=_read,
)
