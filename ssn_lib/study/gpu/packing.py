"""Data sets and weights made small enough to carry to another machine.

Images are written as training reads them, at the published sizes, without loss: a run there sees
the same pixels. (Its id is another: it goes by the files.)
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.data.images import Dataset
from ssn_lib.data.loading import load_dataset
from ssn_lib.data.registry import of_strips
from ssn_lib.data.sets.ksdd2 import KSDD2_SIZE
from ssn_lib.errors import InputError, nearest
from ssn_lib.models.weights import find_weights, weights_files

SETS = {"screw": "mvtec_ad", "bottle": "mvtec_ad", "ksdd2": "ksdd2"}  # by category
MARK = ".packed-by-ssn_lib"  # a folder without it is not ours to remove


def pack(
    folder: Path,
    data_root: Path | None,
    weights_dir: str | Path,
    categories: Sequence[str] = tuple(SETS),
) -> float:
    """Write what the published protocol needs: images of those categories and ResNet18's weights.

    Args:
        folder: removed first, if it was made by this.

    Returns:
        Its size in MB.

    Raises:
        InputError: an unknown category, or one that is not there; no weights; the folder exists and
            was not made by this.
    """
    if folder.exists() and not (folder / MARK).exists():
        raise InputError(f"{folder} exists and was not made by `pack`; choose another folder")
    for category in categories:
        if category not in SETS:
            raise InputError(f"--only {category}: {nearest(category, SETS)}")
    weights = find_weights("resnet18", weights_dir)
    sets = [
        load_dataset(
            SETS[category],
            data_root,
            category=category,
            image_size=KSDD2_SIZE if of_strips(SETS[category], category) else PUBLISHED_SIZE,
            resize="plain",
        )
        for category in categories
    ]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    for dataset in sets:
        _write(dataset, folder / dataset.root.name)
    known = weights_files("resnet18")  # only by one of these names they are found there
    shutil.copy(weights, folder / (weights.name if weights.name in known else known[1]))
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _write(dataset: Dataset, folder: Path) -> None:
    """Images and masks under the names that the readers look for, and official split files.

    Strips are copied as they are: they are hardly larger than training wants them, and their masks
    are widened at their own size.
    """
    for part in (dataset.train, dataset.test):
        for index, sample in enumerate(part.samples):
            path = folder / sample.image.relative_to(dataset.root)
            path.parent.mkdir(parents=True, exist_ok=True)
            if of_strips(dataset.name, dataset.category):
                mask = sample.image.with_name(f"{sample.image.stem}_GT.png")
                shutil.copy(sample.image, path)
                shutil.copy(mask, path.with_name(mask.name))
                continue
            pixels = part.images[index]
            grey = bool((pixels[0] == pixels[1]).all() and (pixels[0] == pixels[2]).all())
            image = pixels[0] if grey else pixels.permute(1, 2, 0).contiguous()
            Image.fromarray(image.numpy()).save(path, optimize=True)
            if sample.mask is not None:
                mask = folder / sample.mask.relative_to(dataset.root)
                mask.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(255 * part.masks[index, 0].numpy()).save(mask, optimize=True)
        for path in part.splits.values():
            shutil.copy(path, folder / path.relative_to(dataset.root))
