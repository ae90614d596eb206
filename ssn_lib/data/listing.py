"""What lies in a data set's folders: its images and their masks, and what of it is not used.

Folders and files that are no data (hidden ones, and those that operating systems and archivers
leave behind) are passed over everywhere. Whatever cannot be looked at is one line that names it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from ssn_lib.data.samples import Sample
from ssn_lib.errors import InputError
from ssn_lib.storage import shown, unreadable

# Formats of photographs. Pillow reads more (icons, documents, videos), and some only where it was
# built with them.
_FORMATS = {"PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM", "AVIF", "JPEG2000", "TGA"}
IMAGE_SUFFIXES = frozenset(
    suffix
    for suffix, kind in Image.registered_extensions().items()
    if kind in _FORMATS and kind in Image.OPEN
)


# What else may be a photograph: it is not read, and so it is counted among what is not used.
_OTHERS = {
    ".arw",
    ".avif",
    ".cr2",
    ".cr3",
    ".dng",
    ".exr",
    ".heic",
    ".heif",
    ".jxl",
    ".nef",
    ".npy",
    ".orf",
    ".pef",
    ".raf",
    ".rw2",
    ".webp",
}
_DOCUMENTS = {".eps", ".h5", ".hdf", ".mpeg", ".mpg", ".pdf", ".ps"}
_UNREAD_SUFFIXES = _OTHERS.union(Image.registered_extensions()) - IMAGE_SUFFIXES - _DOCUMENTS
_NO_DATA = {
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "@eadir",
    "@recycle",
    "@tmp",
    "__macosx",
    "__pycache__",
    "lost+found",
    "system volume information",
    "thumbnails",
    "thumbs",
}
NORMAL_NAMES = ("good", "ok", "normal")
OVERLAY_END = "_overlay.png"


# In the "Software" entry of every overlay, so that none is ever taken for a photograph.
OVERLAY_MARK = "ssn_lib overlay"
_HEADER_BYTES = 256  # of a PNG file: more than comes before that entry
_WORD = r"(masks?|labels?|seg|segmentations?|gt|ground[-_. ]?truth|annotations?)"
_LIKE_A_MASK = re.compile(rf"^{_WORD}([-_. ]|$)|(^|[-_. ]){_WORD}$", re.IGNORECASE)
# Not "label", which may be a thing that is printed.
_MASK_FOLDER = re.compile(r"masks?|seg|segmentations?|gt|ground[-_. ]?truth|annotations?", re.I)
_COPY = re.compile(r"\s*(\([^()]*\)|- copy)$", re.IGNORECASE)
_NAMED = 3  # folders, or files, that a line names one by one


class Unreadable(InputError):
    """A folder that is there and cannot be looked into."""


class Unsuitable(InputError):
    """Such data are there, but not those that were asked for, or not one alone."""


def is_data(name: str) -> bool:
    """Whether a file or folder of that name may be data: it is not hidden, nor a system's own."""
    return not name.startswith(".") and name.casefold() not in _NO_DATA


def is_folder(path: Path) -> bool:
    """Whether there is a folder, or a link to one.

    Raises:
        Unreadable: it cannot be told.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            return False
        raise Unreadable(str(unreadable(path, error))) from None


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted by name, without those that are no data.

    Raises:
        Unreadable: it cannot be looked into, or a link in it leads nowhere.
    """
    return [path for path, entry in _entries(folder) if _leads_to_folder(path, entry)]


def folders_to_search(folder: Path) -> list[Path]:
    """As `list_folders`, of a folder that is only searched: what leads nowhere there is no matter.

    Raises:
        Unreadable: it cannot be looked into.
    """
    found = []
    for path, entry in _entries(folder):
        with contextlib.suppress(Unreadable):
            if _leads_to_folder(path, entry):
                found.append(path)
    return found


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name, without hidden ones and own overlays, and
    without pipes and devices, which would be waited for.

    Raises:
        Unreadable: it cannot be looked into.
    """
    return [path for path, entry in _entries(folder) if _may_be_image(path, entry)]


def subfolder(folder: Path, name: str) -> Path:
    """The folder of that name in a folder, or the only one whose name differs in case alone, or in
    how its letters are put together.

    Raises:
        Unreadable: the folder cannot be looked into.
    """
    same = [path for path in folders_to_search(folder) if _folded(path.name) == _folded(name)]
    if not same:
        with contextlib.suppress(OSError):  # a folder that can be listed and not entered
            if (folder / name).is_symlink():
                list_folders(folder)  # which says so where it leads nowhere
    return same[0] if len(same) == 1 else folder / name


def counterpart(kind: Path, home: Path) -> Path:
    """The folder in `home` that has the name of the folder `kind`. Case alone may differ, where no
    folder beside `kind` has that name too. It need not be there.

    Raises:
        Unreadable: one of the folders cannot be looked into.
    """
    beside = [_folded(path.name) for path in list_folders(kind.parent)]
    if not is_folder(home) or beside.count(_folded(kind.name)) > 1:
        return home / kind.name
    return subfolder(home, kind.name)


def is_normal(folder: Path) -> bool:
    """Whether a folder's name says that its images show no defect."""
    return folder.name.lower() in NORMAL_NAMES


def named_like_a_mask(path: Path) -> bool:
    """Whether the first or last word of a file's name says that it is a mask."""
    stem = path.stem
    while (shorter := _COPY.sub("", stem)) != stem:
        stem = shorter
    return bool(_LIKE_A_MASK.search(stem))


def photographs(folder: Path) -> list[Path]:
    """The images of a folder, none of which may be a mask.

    Raises:
        InputError: the folder or a file is named like a mask, two are of one name, or the folder
            cannot be looked into.
    """
    images = list_images(folder)
    if images and _MASK_FOLDER.fullmatch(folder.name):
        raise InputError(
            f"{shown(folder)} is named like a folder of masks and lies among those of images: move "
            "masks to ground_truth/<defect>; if these are photographs, give it another name"
        )
    place = f"ground_truth/{shown(folder.name)} or ground_truth_train/{shown(folder.name)}"
    moved = "remove masks, good images need none" if is_normal(folder) else f"move masks to {place}"
    stems: dict[str, Path] = {}
    for path in images:
        if named_like_a_mask(path):
            raise InputError(
                f"{shown(path)} is named like a mask and lies among the images: {moved}; "
                "if it is a photograph, give it another name"
            )
        other = stems.setdefault(path.stem, path)
        if other is not path:
            raise InputError(
                f"{shown(other)} and {shown(path.name)} have one name: {moved}; if "
                "both are photographs, give one another name or remove it"
            )
    return images


def good_samples(folders: Iterable[Path]) -> list[Sample]:
    """The photographs of folders of defect-free images.

    Raises:
        InputError: as in `photographs`.
    """
    return [Sample(path, 0, "good") for folder in folders for path in photographs(folder)]


def good_training_samples(folder: Path) -> list[Sample]:
    """The images in `train/good` (or ok, normal), all of them where there are several.

    Raises:
        InputError: there are none.
    """
    good = [path for path in list_folders(subfolder(folder, "train")) if is_normal(path)]
    if not good:
        raise InputError(
            f"{shown(folder)}: expected a folder train/good with the defect-free images"
        )
    samples = good_samples(good)
    if not samples:
        raise no_images(good[0])
    return samples


def no_images(folder: Path) -> InputError:
    """That there are none to train on; a warning says what is there instead."""
    warn_of_unused(folder, (), "images must lie in it, not in folders below it")
    return InputError(f"{shown(folder)}: no images to train on")


def defective_samples(kind: Path, masks: Path, *, all_masked: bool) -> list[Sample]:
    """The photographs of a folder of one kind of defect, each with its mask where there is one.

    A mask has its image's name, with or without `_mask` behind it, and any suffix that images have:
    007.jpg has 007_mask.png, or 007.PNG.

    Args:
        masks: the folder of masks; it need not be there.
        all_masked: whether every image must have one.

    Raises:
        InputError: an image without its mask, with two, or a mask without its image.
    """
    drawn: dict[str, list[Path]] = {}
    for path in list_images(masks) if is_folder(masks) else []:
        drawn.setdefault(re.sub("_mask$", "", _stem(path), flags=re.IGNORECASE), []).append(path)
    samples = []
    for image in photographs(kind):
        found = drawn.pop(_stem(image), [])
        if len(found) > 1:
            raise InputError(
                f"{shown(image)} has two masks, {shown(found[0])} and {shown(found[1].name)}: "
                "remove one of them"
            )
        if all_masked and not found and is_folder(masks / image.stem):
            raise InputError(
                f"{shown(image)}: its masks are a folder, {shown(masks / image.stem)}: merge them "
                f"into one, {shown(masks / image.stem)}_mask.png"
            )
        if all_masked and not found:
            missing = masks / f"{image.stem}_mask.png"
            raise InputError(f"{shown(image)}: its mask {shown(missing)} is missing")
        samples.append(Sample(image, 1, shown(kind.name), found[0] if found else None))
    for orphans in drawn.values():
        raise InputError(
            f"mask {shown(orphans[0])} has no image of that name among those of "
            f"{shown(kind.name)!r}: expected <name>_mask.png or <name>.png for <name>.png"
        )
    return samples


def composed(name: str) -> str:
    """A name in one form: an ä may be one character or two, as on a Mac."""
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return composed(name).casefold()


def _stem(path: Path) -> str:
    """A file's name without its suffix."""
    return composed(path.stem)


def warn_of_unused(root: Path, used: Iterable[Path], advice: str) -> None:
    """Say in one line how many images below a folder are not used, where they are, and what to do.

    Args:
        used: images and masks that are.
        advice: what is used instead, and where these images would be.
    """
    used = list(used)
    real = {folder: os.path.realpath(folder) for folder in {path.parent for path in used}}
    known = {(real[path.parent], path.name) for path in used}
    left: Counter[str] = Counter()
    unread = set()
    for folder, path in _images_below(root, set()):
        if (folder, path.name) in known:
            continue
        place, suffix = shown(path.parent.relative_to(root)), path.suffix.lower()
        if suffix in _UNREAD_SUFFIXES:
            unread.add(suffix)
            place = f"{place}/*{suffix}"
        left[place] += 1
    if not left:
        return
    total, named = left.total(), left.most_common(_NAMED)
    places = [f"{place} ({count})" for place, count in named]
    if len(left) > _NAMED:
        places.append(f"elsewhere ({total - sum(count for _, count in named)})")
    if unread:
        advice += f"; {', '.join(sorted(unread))} cannot be read here: convert them to PNG"
    warnings.warn(
        f"{shown(root)}: {total} {'image is' if total == 1 else 'images are'} not used, in "
        f"{', '.join(places)}; {advice}",
        stacklevel=3,
    )


def is_overlay(path: Path) -> bool:
    """Whether a file is an overlay that an inspection wrote."""
    if not path.name.endswith(OVERLAY_END):
        return False
    try:
        with path.open("rb") as file:
            return OVERLAY_MARK.encode() in file.read(_HEADER_BYTES)
    except OSError:  # whoever reads the image says why
        return False


def _entries(folder: Path) -> list[tuple[Path, os.DirEntry[str]]]:
    """What may be data in a folder, sorted by name."""
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if is_data(entry.name)]
    except OSError as error:
        raise Unreadable(str(unreadable(folder, error))) from None
    return sorted(((folder / e.name, e) for e in entries), key=lambda pair: pair[0])


def _may_be_image(path: Path, entry: os.DirEntry[str]) -> bool:
    """Whether an entry is an image's file and no overlay, or a link to one, or to nothing: whoever
    reads it says so."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        may_be = stat.S_ISREG(entry.stat().st_mode) if entry.is_symlink() else entry.is_file()
    except OSError:
        may_be = True
    return may_be and not is_overlay(path)


def _leads_to_folder(path: Path, entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one. A link that leads nowhere is taken for a
    file's if it has a suffix: whoever reads that file says why it cannot be read."""
    try:
        return stat.S_ISDIR(entry.stat().st_mode) if entry.is_symlink() else entry.is_dir()
    except OSError as error:
        if path.suffix:
            return False
        raise Unreadable(str(unreadable(path, error))) from None


def _images_below(folder: Path, visited: set[str]) -> Iterator[tuple[str, Path]]:
    """All that may be images in a folder and below it, each behind its folder's real path."""
    real = os.path.realpath(folder)
    if real in visited:
        return
    visited.add(real)
    folders = []
    try:
        for path, entry in _entries(folder):
            if _leads_to_folder(path, entry):
                folders.append(path)
            elif _may_be_image(path, entry) or path.suffix.lower() in _UNREAD_SUFFIXES:
                yield real, path
    except Unreadable as error:
        warnings.warn(str(error), stacklevel=4)
    for path in folders:
        yield from _images_below(path, visited)
