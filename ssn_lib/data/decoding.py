"""Opening one image file of the user's: decoded whole, and turned as viewers show it."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from ssn_lib.data import tiff
from ssn_lib.errors import InputError
from ssn_lib.storage import shown, unreadable

NAMED = 10  # further files that a line names


# What is said of files that are read all the same; see `Remarks`.
SEVERAL_PAGES = "files of several pages or frames, of which only the first is used"


# More pixels than both are a damaged header, which would take all memory. The best compression is
# that of faxes: an empty row of 20000 pixels is one bit.
PIXELS_PER_BYTE, ALWAYS_PLAUSIBLE = 200_000, 100_000_000
_FROM_ORIENTATION = {  # EXIF's tag: how stored rows and columns become those that are shown
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)  # height and width change places
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_TURNING = (b"XML:com.adobe.xmp", b"Raw profile type exif")  # texts that Pillow reads it from
_LONGEST_KEYWORD = 79  # bytes, in the PNG specification
_OTHER_ORDER = {  # Pillow's names for 16-bit colour, and the same with the two bytes swapped
    f"{mode};16{order}": f"{mode};16{swapped}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, swapped in (("L", "B"), ("B", "L"), ("N", "B" if sys.byteorder == "little" else "L"))
}


# Whoever set up no logging would see Pillow's on the console, beside the one line that we give.
logging.getLogger("PIL").addHandler(logging.NullHandler())


_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Picture:
    """What a file shows. Of a file of several pages or frames, the first.

    Attributes:
        image: turned as the file's orientation tag says. Colour has 8 bits a channel at most.
        deep: the values of a file of more than 8 bits, (H, W) or (H, W, 3) int32, without alpha;
            None where there are no such.
        lossy: compressed as JPEG, so that values are near those that were meant.
        pages: how many there are in the file.
    """

    image: Image.Image
    deep: NDArray[np.int32] | None
    lossy: bool
    pages: int


class Remarks:
    """What is to be said of files that are read all the same: one line for each kind of remark."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, str]]] = {}
        self._said: set[str] = set()

    def add(self, kind: str, path: Path, detail: str = "") -> None:
        """Note a file; safe in threads.

        Args:
            kind: what is remarkable, in words that go for all such files.
            path: of the file.
            detail: what goes for this one alone.
        """
        self._found.setdefault(kind, []).append((shown(path), detail))

    def warn(self) -> None:
        """Say it, naming the first file of each kind and how many there are; of a kind that was
        said before, nothing."""
        for kind, files in list(self._found.items()):  # of an interrupted reading, more may come
            if kind in self._said:
                continue
            path, detail = min(files)
            number = f"{len(files)}, the first " if len(files) > 1 else ""
            self._said.add(kind)
            warnings.warn(f"{kind}: {number}{path}{detail}", stacklevel=3)


def decode(path: Path) -> Picture:
    """A file's pixels, turned once as its orientation tag says, whatever it is: JPEG, PNG, …

    The tag is EXIF's, or XMP's where there is none, as Pillow reads it; one that cannot be read is
    passed over. There is no limit on an image's size: it is the user's own.

    Raises:
        InputError: in one line, the file is not there, is damaged, or is of a kind that is not
            supported.
    """
    with _opened(path) as image:
        pages, lossy = _pages(image), image.format in ("JPEG", "MPO")
        raw_modes = _raw_modes(image.tile)
        turned = _loaded(image)
    if turned.mode.startswith("I"):
        return Picture(turned, np.asarray(turned).astype(np.int32), lossy, pages)
    if not any(map(_is_of_16_bits, raw_modes)):
        return Picture(turned, None, lossy, pages)
    high, low = (np.asarray(part)[..., :3].astype(np.int32) for part in (turned, _low_bytes(path)))
    return Picture(turned, 256 * high + low, lossy, pages)


def displayed_size(path: Path) -> tuple[int, int]:
    """(width, height) as `decode` gives them.

    Raises:
        InputError: as in `decode`.
    """
    with _opened(path) as image:
        size = image.size
        if image.format == "TIFF":  # of which some versions of Pillow have turned it already
            size = tuple(int(image.tag_v2[tag]) for tag in (Tag.ImageWidth, Tag.ImageLength))
        if size[0] == size[1] or (image.format == "PNG" and not _may_be_turned(path)):
            return size
        return size[::-1] if _orientation(image) in _SIDEWAYS else size


def is_turned_within(path: Path) -> bool:
    """Whether a file's orientation tag turns or mirrors what is stored, and leaves its size as it
    is: what is drawn on the stored pixels then lies elsewhere, and no size tells.

    Raises:
        InputError: as in `decode`.
    """
    with _opened(path) as image:
        if image.format == "PNG" and not _may_be_turned(path):
            return False
        orientation, (width, height) = _orientation(image), image.size
        return orientation != 1 and (orientation not in _SIDEWAYS or width == height)


def is_deep(path: Path) -> bool:
    """Whether a file has integers of more than 8 bits, from the header alone.

    Raises:
        InputError: as in `decode`.
    """
    with _opened(path) as image:
        return image.mode.startswith("I") or any(map(_is_of_16_bits, _raw_modes(image.tile)))


def as_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode of at most 8 bits in mode RGB. Alpha, and a palette's, is ignored: a
    transparent pixel has the colour that is stored for it."""
    image.info.pop("transparency", None)  # else Pillow warns that it is ignored
    if image.mode == "La":  # grey multiplied by alpha, which Pillow converts to nothing else
        image = image.convert("LA")
    return image.convert("RGB")


def in_threads(
    work: Callable[[_T], _R], items: Sequence[_T], files: Sequence[Path] | None = None
) -> list[_R]:
    """`work` done on all items on a few threads; the first error, in order, is raised.

    Args:
        files: of the items; None where these are paths.

    Raises:
        InputError: why the first of the files is refused, and the names of the others that are, so
            that they are not met one after the other.
    """

    def attempt(item: _T) -> _R | InputError:
        try:
            return work(item)
        except InputError as error:
            return error

    with reading_threads() as pool:
        done = list(pool.map(attempt, items))
    files = items if files is None else files
    refused = [(path, e) for path, e in zip(files, done, strict=True) if isinstance(e, InputError)]
    if refused:
        raise _all_named(refused)
    return done


def _all_named(refused: Sequence[tuple[Path, InputError]]) -> InputError:
    """One line about files that cannot be read."""
    (_, first), *others = refused
    if not others:
        return first
    named = ", ".join(shown(path) for path, _ in others[:NAMED])
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return InputError(f"{first}; likewise {named}{more}")


@contextmanager
def reading_threads() -> Iterator[ThreadPoolExecutor]:
    """A few threads that read files."""
    # Entered here too, so that Pillow's settings are changed and put back by one thread, once.
    with _trusting, ThreadPoolExecutor(max_workers=4) as pool:
        yield pool


class _Trusting:
    """Pillow without its limits on an image's size and on its texts and profiles, and without its
    own warnings, which name no file.

    These settings are the whole program's. So they are changed only while files are being read: by
    the first reader to come, and put back by the last to go, whatever threads these are in.
    """

    _WITHOUT_LIMIT = (
        (Image, "MAX_IMAGE_PIXELS", None),
        (PngImagePlugin, "MAX_TEXT_CHUNK", sys.maxsize),
        (PngImagePlugin, "MAX_TEXT_MEMORY", sys.maxsize),
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._readers:
                for module, name, value in self._WITHOUT_LIMIT:
                    self._undo.callback(setattr, module, name, getattr(module, name))
                    setattr(module, name, value)
                self._undo.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\b")
            self._readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                self._undo.close()


_trusting = _Trusting()


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file, its header read; whatever goes wrong then, as one line that names it."""
    try:
        # Not by its path: Pillow would map an uncompressed TIFF into memory with its sides swapped.
        with _trusting, path.open("rb") as file, _identified(path, file) as image:
            yield image
    except InputError:
        raise
    except Exception as error:  # of a damaged file, Pillow lets nearly every kind through
        if isinstance(error, OSError) and error.errno is not None:  # not Pillow's, the system's
            raise unreadable(path, error) from None
        reason = str(error) or type(error).__name__
        raise InputError(f"{shown(path)} cannot be read: {reason}; replace or remove it") from None


def _identified(path: Path, file: IO[bytes]) -> Image.Image:
    try:
        image = Image.open(file)
        unusual = image.format == "TIFF" and tiff.is_misread(image.tag_v2)
        kind = tiff.described(image.tag_v2) if unusual else None
    except (UnidentifiedImageError, ValueError):
        kind = tiff.found_in(file)
        if kind is None:
            empty = path.stat().st_size == 0
            reason = "is empty" if empty else "is not an image file, or its header is damaged"
            raise InputError(f"{shown(path)} {reason}; replace or remove it") from None
    if kind is not None:
        raise InputError(
            f"{shown(path)}: a TIFF of {kind} is not supported; save it as grey or RGB, of 8 or "
            "16 bits"
        )
    if image.format == "PPM" and image.mode == "RGB" and _maximum(image) > 255:
        raise InputError(
            f"{shown(path)}: colour of more than 8 bits in a PPM is not supported; save it as PNG "
            "or TIFF"
        )
    width, height = image.size
    if width * height > max(PIXELS_PER_BYTE * path.stat().st_size, ALWAYS_PLAUSIBLE):
        raise InputError(
            f"{shown(path)} is damaged: its header says {width}×{height} pixels, which a file of "
            f"{path.stat().st_size} bytes cannot hold; replace or remove it"
        )
    return image


def _maximum(image: Image.Image) -> int:
    """The largest value that a PPM's header allows, of which Pillow makes 255."""
    (arguments,) = (tile[3] for tile in image.tile)
    return arguments[1] if isinstance(arguments, tuple) and len(arguments) > 1 else 255


def _orientation(image: Image.Image) -> int:
    """From 1, as it is stored, to 8. For this, a PNG is decoded: the tag may follow its pixels."""
    try:
        orientation = image.getexif().get(Tag.Orientation)
        return orientation if orientation in _FROM_ORIENTATION else 1
    except Exception:  # Pillow lets many kinds through; the image itself is none the worse
        return 1


def _may_be_turned(path: Path) -> bool:
    """Whether a PNG has a chunk that may hold an orientation, from the chunks' heads alone: to ask
    Pillow is to decode the pixels, twenty times the work."""
    with path.open("rb") as file:
        file.seek(len(_PNG_HEAD))
        while len(head := file.read(8)) == 8:
            length, kind = int.from_bytes(head[:4]), head[4:]
            keyword = file.read(min(length, _LONGEST_KEYWORD))
            if kind == b"eXIf":
                return True
            if kind in _PNG_TEXTS and keyword.startswith(_TURNING):
                return True
            file.seek(length - len(keyword) + 4, os.SEEK_CUR)  # and its check sum
    return False


def _loaded(image: Image.Image) -> Image.Image:
    """The image decoded, as it is shown."""
    image.load()
    # A TIFF was turned by that, in every version of Pillow, though some keep the tag.
    orientation = 1 if image.format == "TIFF" else _orientation(image)
    return image if orientation == 1 else image.transpose(_FROM_ORIENTATION[orientation])


def _pages(image: Image.Image) -> int:
    """How many the file has; a camera's previews behind a JPEG are not counted."""
    try:
        return 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    except Exception:  # what follows the first page is damaged, and not used
        return 1


def _raw_modes(tiles: Sequence[tuple]) -> list[str]:
    """How the parts of an image are stored, in Pillow's words, such as "RGB;16B"."""
    arguments = (tile[3] for tile in tiles)
    return [str(item[0] if isinstance(item, tuple) and item else item) for item in arguments]


def _is_of_16_bits(raw_mode: str) -> bool:
    """Whether each value has 16 bits; of "BGR;16", in a BMP, all three together have them."""
    return ";16" in raw_mode and not raw_mode.startswith("BGR;")


def _low_bytes(path: Path) -> Image.Image:
    """Of 16-bit colour, of which Pillow keeps the high bytes, the low ones: it is decoded again in
    the other order of bytes."""
    with _opened(path) as image:
        image.tile = [_other_order(tile, path) for tile in image.tile]
        return _loaded(image)


def _other_order(tile: tuple, path: Path) -> tuple:
    """Pillow's instruction to decode a part of an image, with the bytes of each value swapped."""
    (raw_mode,) = _raw_modes([tile])
    if raw_mode not in _OTHER_ORDER:
        kind = raw_mode.split(";")[0]
        raise InputError(
            f"{shown(path)}: 16-bit values of the kind {kind} are not supported; save it as grey "
            "or RGB"
        )
    *place, arguments = tile
    swapped = _OTHER_ORDER[raw_mode]
    arguments = swapped if isinstance(arguments, str) else (swapped, *arguments[1:])
    # Older versions have plain tuples there.
    return type(tile)(*place, arguments) if hasattr(tile, "args") else (*place, arguments)
