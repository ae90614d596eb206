"""Which images are to be inspected: those at hand, those that still arrive, and their labels."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ssn_lib.data.listing import (
    is_folder,
    is_normal,
    list_folders,
    list_images,
    named_like_a_mask,
    warn_of_unused,
)
from ssn_lib.data.sets.folder import DEFECT_NAMES
from ssn_lib.errors import InputError
from ssn_lib.storage import shown

# A file that is written at this moment changes from one look to the next. One that does not, and
# cannot be read, may be half of an image: its other half is waited for before that is said.
LOOK_S, PATIENCE_S = 1.0, 10.0
RETRY_S = 60.0  # after that it is tried now and then: what kept it may lie outside the file


def find(images: Iterable[Path]) -> tuple[list[Path], list[InputError]]:
    """The files to inspect, and why folders give none: they cannot be looked into, or are empty.

    Of a folder, what is not inspected or may be no photograph is said in a warning.

    Args:
        images: files, or folders of them.
    """
    files, unread = [], []
    for path in images:
        try:
            if not is_folder(path):
                files.append(path)
                continue
            found = list_images(path)
        except InputError as error:
            unread.append(error)
            continue
        if not found:
            unread.append(InputError(f"{shown(path)}: no images there"))
        warn_of_unused(path, found, "name those folders too, to inspect what is in them")
        masks = [file.name for file in found if named_like_a_mask(file)]
        if masks:
            warnings.warn(
                f"{shown(path)}: {len(masks)} of {len(found)} images are named like masks and "
                f"inspected all the same, such as {shown(masks[0])}",
                stacklevel=3,
            )
        same: dict[str, list[str]] = {}
        for file in found:
            same.setdefault(file.stem, []).append(file.name)
        if pairs := [names for names in same.values() if len(names) > 1]:
            warnings.warn(
                f"{shown(path)}: {sum(map(len, pairs))} of {len(found)} images share their name "
                f"with another file, as an image and its mask do ({shown(pairs[0][0])}, "
                f"{shown(pairs[0][1])}); all are inspected",
                stacklevel=3,
            )
        files += found
    return files, unread


def label_of(path: Path) -> int | None:
    """What an image's folder says of it: 0 good, 1 defective, None where it says nothing.

    Folders are named as in training: good (or ok, normal), bad (or nok, defect, …). In MVTec AD's
    layout, every other folder in `test` is one of a defect.
    """
    folder = path.absolute().parent
    if is_normal(folder):
        return 0
    if folder.name.lower() in DEFECT_NAMES:
        return 1
    try:
        in_test = folder.parent.name.lower() == "test"
        return 1 if in_test and any(map(is_normal, list_folders(folder.parent))) else None
    except InputError:  # it cannot be looked into
        return None


@dataclass
class _Seen:
    """A file as it was found: its size and time, how often it was given out and when last, why it
    could not be read then, and whether that was said."""

    state: tuple[int, int] | None
    tries: int = 0
    tried: float = 0.0
    refusal: InputError | None = None
    said: bool = False


class Arrivals:
    """The images of folders as they arrive, each when it is whole.

    An image is given out when its size and time have not changed from one look to the next. Whoever
    cannot read it gives it back (`refused`); it is given out again when it changes, after
    `PATIENCE_S`, and then every `RETRY_S`.

    Args:
        images: folders, and files that may be there already.

    Raises:
        InputError: one of them is not there, or none is a folder.
    """

    def __init__(self, images: Sequence[Path]):
        self._folders = [path for path in images if is_folder(path)]
        self._single = [path for path in images if path not in self._folders]
        self._seen: dict[Path, _Seen] = {}
        self._away: set[Path] = set()
        for path in self._single:
            if not path.exists():
                raise InputError(f"{shown(path)}: no such file or folder")
        if not self._folders:
            raise InputError(f"{shown(images[0])}: no folder; --watch needs one to look into")

    def look(self) -> tuple[list[Path], list[InputError]]:
        """The images that are whole since the last look, and why others still cannot be read, after
        a second try: each is said once."""
        now, whole, broken = time.monotonic(), [], []
        before, self._seen = self._seen, {}  # what is there no more is forgotten
        for path in self._files(broken):
            state, seen = _state(path), before.get(path)
            if seen is None or seen.state != state:
                self._seen[path] = _Seen(state)
                continue
            self._seen[path] = seen
            if seen.refusal is not None and seen.tries > 1 and not seen.said:
                broken.append(seen.refusal)
                seen.said = True
            wait = PATIENCE_S if seen.tries == 1 else RETRY_S
            if not seen.tries or (seen.refusal is not None and now - seen.tried >= wait):
                seen.tries, seen.tried, seen.refusal = seen.tries + 1, now, None
                whole.append(path)
        return whole, broken

    def refused(self, path: Path, error: InputError) -> None:
        """An image that was given out cannot be read."""
        self._seen[path].refusal = error

    def _files(self, broken: list[InputError]) -> list[Path]:
        """All that is there now. A folder that cannot be looked into, as when a share is away, is
        said once, and looked into again."""
        files = [*self._single]
        for folder in self._folders:
            try:
                files += list_images(folder)
                self._away.discard(folder)
            except InputError as error:
                if folder not in self._away:
                    broken.append(error)
                self._away.add(folder)
        return list(dict.fromkeys(files))


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of a file; None where it cannot be looked at: whoever reads it says why."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
