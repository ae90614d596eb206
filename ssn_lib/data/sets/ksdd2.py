"""KolektorSDD2's layout: train/ and test/ with NNNNN.png, each beside its mask NNNNN_GT.png."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from ssn_lib.data.decoding import in_threads
from ssn_lib.data.listing import (
    Unreadable,
    Unsuitable,
    folders_to_search,
    is_folder,
    list_images,
    subfolder,
    warn_of_unused,
)
from ssn_lib.data.samples import Sample
from ssn_lib.data.source import Found, Source
from ssn_lib.errors import InputError
from ssn_lib.storage import shown

# Sound and defective images (Božič et al., Computers in Industry 129, 2021, section 4.1).
KSDD2_COUNTS = {"train": (2085, 246), "test": (894, 110)}
KSDD2_SIZE = (640, 232)  # (height, width) that the published runs resize to
ORIGIN = "https://www.vicos.si/resources/kolektorsdd2/"
_IMAGE, _MASK = re.compile(r"\d{5}\.png"), re.compile(r"\d{5}_GT\.png")


def find_ksdd2(root: Path, _category: str | None = None) -> Path:
    """The folder that holds train/ and test/: `root`, or else a folder in it.

    Raises:
        InputError: there is none, several, or DatasetNinja's repackaging.
    """
    if not is_folder(root):
        raise InputError(
            f"data root {shown(root)}: no such folder; give --data-root or SSN_DATA_ROOT"
        )
    if _is_ksdd2(root):
        return root
    homes, found, closed = folders_to_search(root), [], []
    for home in homes:
        try:
            found += [home] if _is_ksdd2(home) else []
        except Unreadable as error:  # which matters only where nothing is found
            closed.append(error)
    if len(found) > 1:
        raise Unsuitable(
            f"data root {shown(root)}: {shown(found[0].name)} and {shown(found[1].name)} both have "
            "KolektorSDD2's layout; give one of them as --data-root"
        )
    if found:
        return found[0]
    if closed:
        raise closed[0]
    for home in (root, *homes):
        if is_folder(home / "train" / "ann") or is_folder(home / "train" / "img"):
            raise Unsuitable(
                f"{shown(home)} is DatasetNinja's repackaging of KolektorSDD2 (img/ and ann/), "
                f"which cannot be read; download the original from {ORIGIN}"
            )
    raise InputError(
        f"data root {shown(root)} holds no KolektorSDD2: expected train/NNNNN.png with "
        f"train/NNNNN_GT.png, and test/ likewise ({ORIGIN})"
    )


def read_ksdd2(folder: Path) -> tuple[list[Sample], list[Sample], dict[int, Path]]:
    """Training samples, test samples, and the split files by their number of masks.

    An image is defective when its mask is not all black. Files of other names are passed over with
    a warning: the official archive holds `10301 (copy).png` and `10301_GT (copy).png`, and the
    second, a mask, is easily taken for an image.

    Raises:
        InputError: an image without its mask or the reverse, no training images.
    """
    parts = [subfolder(folder, name) for name in ("train", "test")]
    train, test = map(_read_part, parts)
    looked_at = [path for part in parts for path in list_images(part)]
    warn_of_unused(folder, looked_at, "read are train/ and test/, no folders below them")
    splits = {}
    for path in sorted(folder.glob("split_weakly_*.pyb")):
        number = path.stem.removeprefix("split_weakly_")
        if number.isdigit():
            splits[int(number)] = path
    return train, test, splits


def _read(folder: Path, _category: str | None) -> Found:
    """Other images in this layout are another category, so that no record mistakes them; one
    warning says so."""
    train, test, splits = read_ksdd2(folder)
    counts = {"train": _counts(train), "test": _counts(test)}
    if counts == KSDD2_COUNTS:
        return Found(train, test, SOURCE.name, splits)
    said = ", ".join(
        f"{part} {sound} + {defective} (official {KSDD2_COUNTS[part][0]} + {KSDD2_COUNTS[part][1]})"
        for part, (sound, defective) in counts.items()
    )
    warnings.warn(f"{shown(folder)}: not KolektorSDD2 as published: {said}", stacklevel=3)
    return Found(train, test, folder.resolve().name, splits)


def _is_ksdd2(folder: Path) -> bool:
    train, test = (subfolder(folder, name) for name in ("train", "test"))
    if not (is_folder(train) and is_folder(test)):
        return False
    return any(path.name.endswith("_GT.png") for path in list_images(train))


def _read_part(folder: Path) -> list[Sample]:
    from ssn_lib.data.masks import is_black  # late: PyTorch, which who reads records does without

    names = [path.name for path in list_images(folder)]
    images = [name for name in names if _IMAGE.fullmatch(name)]
    masks = {name for name in names if _MASK.fullmatch(name)}
    strays = [name for name in names if name not in masks and not _IMAGE.fullmatch(name)]
    if strays:
        warnings.warn(
            f"{shown(folder)}: passed over {len(strays)} files that are not named like NNNNN.png: "
            f"{', '.join(map(shown, strays[:3]))}",
            stacklevel=5,
        )
    pairs = [(folder / name, folder / f"{Path(name).stem}_GT.png") for name in images]
    for image, mask in pairs:
        if mask.name not in masks:
            raise InputError(f"{shown(image)}: its mask {mask.name} is missing")
    orphans = sorted(masks - {mask.name for _, mask in pairs})
    if orphans:
        raise InputError(f"{shown(folder / orphans[0])}: a mask without its image")
    if not pairs:
        raise InputError(f"{shown(folder)}: no images")
    sound = in_threads(is_black, [mask for _, mask in pairs])
    return [
        Sample(image, 0, "good") if black else Sample(image, 1, "defect", mask)
        for (image, mask), black in zip(pairs, sound, strict=True)
    ]


def _counts(samples: list[Sample]) -> tuple[int, int]:
    defective = sum(sample.label for sample in samples)
    return len(samples) - defective, defective


SOURCE = Source(
    name="ksdd2",
    title="KolektorSDD2",
    origin="public",
    category="single",
    find=find_ksdd2,
    read=_read,
    kind="strips",
    image_size=KSDD2_SIZE,
    # The second are its predecessor's images, brought into this layout.
    titles={"ksdd2": "KSDD2", "kolektor_sdd1_in_ksdd2_layout": "KolektorSDD"},
)
