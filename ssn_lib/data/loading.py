"""Finding and reading data sets; `load_dataset` is the door."""

from __future__ import annotations

import os
from pathlib import Path

from ssn_lib.config import Resize
from ssn_lib.data.folder import read_folder
from ssn_lib.data.images import Dataset, ImageSet, find_full_scale
from ssn_lib.data.ksdd2 import find_ksdd2, is_official, read_ksdd2, warn_of_counts
from ssn_lib.data.listing import Unreadable, is_data
from ssn_lib.data.mvtec import check_mvtec_counts, find_mvtec_category, read_mvtec
from ssn_lib.data.registry import DATASETS, KSDD2_SIZE, of_strips
from ssn_lib.data.rendered import demo_root
from ssn_lib.errors import InputError, nearest
from ssn_lib.storage import shown

KAGGLE_INPUT = Path(os.environ.get("SSN_KAGGLE_INPUT", "/kaggle/input"))  # or a rehearsal's


def load_dataset(
    name: str,
    root: Path | str | None = None,
    *,
    category: str | None = None,
    image_size: tuple[int, int] | None = None,
    resize: Resize = "antialiased",
) -> Dataset:
    """A data set, its files listed and paired; images are decoded at first use. One warning says
    how many images that lie there are not used, and where.

    Args:
        name: one of `DATASETS`.
        root: where it lies. None: SSN_DATA_ROOT, then ./data, then Kaggle's mounts; for "demo", the
            folder it is made in (./data).
        category: of MVTec AD or of the demo data ("ksdd2" for its strips); a folder is its own
            category, KolektorSDD2 is "ksdd2".
        image_size: (height, width) the images are resized to; None: as published, 640×232 for
            strips, else 256×256.
        resize: how; "plain" as in the public code, see `read_image`.

    Raises:
        InputError: in one line, what is wrong and what to do.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}: {nearest(name, DATASETS)}")
    strips = of_strips(name, category)
    if image_size is None:
        image_size = KSDD2_SIZE if strips else (256, 256)
    root = Path(root) if root is not None else None
    splits: dict[int, Path] = {}
    if name == "folder":
        folder = root or _environment_root()
        if folder is None:
            raise InputError("data set 'folder': give --data-root, the folder of your images")
        train, test = read_folder(folder)
        category = category or folder.resolve().name
    elif strips:
        folder = demo_root(root) / "ksdd2" if name == "demo" else _find(root, "KolektorSDD2")
        train, test, splits = read_ksdd2(folder)
        if name == "ksdd2":
            if not is_official(train, test):
                warn_of_counts(folder, train, test)
            # Other images in this layout are another category, so that no record mistakes them.
            category = "ksdd2" if is_official(train, test) else folder.resolve().name
    else:
        if category is None:
            raise InputError(f"data set {name!r}: give a category, such as bottle")
        if name == "demo":
            folder = find_mvtec_category(demo_root(root) / "mvtec_ad", category)
        else:
            folder = _find(root, "MVTec AD", category)
        train, test = read_mvtec(folder)
        if name == "mvtec_ad":
            check_mvtec_counts(folder, len(train), len(test))
    full_scale = find_full_scale([sample.image for sample in train])
    return Dataset(
        name,
        shown(category),
        folder,
        ImageSet(tuple(train), image_size, splits, resize, full_scale),
        ImageSet(tuple(test), image_size, resize=resize, full_scale=full_scale),
    )


def _environment_root() -> Path | None:
    return Path(os.environ["SSN_DATA_ROOT"]) if os.environ.get("SSN_DATA_ROOT") else None


def _find(root: Path | None, title: str, category: str | None = None) -> Path:
    """The folder of MVTec AD's category, or of KolektorSDD2 (None): an explicit root must hold it;
    else the usual places are tried."""

    def find(place: Path) -> Path:
        return find_ksdd2(place) if category is None else find_mvtec_category(place, category)

    explicit = root or _environment_root()
    if explicit is not None:
        return find(explicit)
    places = [Path("data"), Path("data/mvtec_ad")] if category else [Path("data")]
    for mount in ("*", "datasets/*/*"):  # both forms occur on Kaggle
        places += sorted(path for path in KAGGLE_INPUT.glob(mount) if is_data(path.name))
    for place in places:
        try:
            return find(place)
        except Unreadable:
            raise
        except InputError:
            continue
    tried = ", ".join(map(str, places))
    what = title if category is None else f"{title}'s {category!r}"
    raise InputError(f"{what} not found (tried {tried}); give --data-root or SSN_DATA_ROOT")
