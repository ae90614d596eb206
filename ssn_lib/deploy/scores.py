"""`scores.csv` of an inspection: a row for each finished image, kept whatever ends the inspection.

Beside it, `thumbnails.jsonl` keeps what the page shows of an image. Both grow batch by batch. A row
is written last, so that it vouches for its image's overlay and thumbnail.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from itertools import count
from pathlib import Path, PureWindowsPath

import pandas as pd

from ssn_lib.data.appearance import APPEARANCE
from ssn_lib.data.listing import OVERLAY_END, is_overlay
from ssn_lib.deploy.page import Inspected
from ssn_lib.deploy.stream import length_of, modified_at
from ssn_lib.errors import InputError
from ssn_lib.storage import shown, unreadable, write_text

SCORES, THUMBNAILS = "scores.csv", "thumbnails.jsonl"
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|]')  # on Windows, and on memory cards and sticks
LONGEST_STEM = 200  # bytes of an overlay's name: file systems take 255, with what is put behind it


@dataclass(frozen=True)
class Row:
    """A finished image.

    Attributes:
        image: its absolute path, on one line: one photograph has one row, however it was named.
        score: a raw logit.
        threshold: on it; `anomalous`: score > threshold.
        overlay: the name of a file beside `scores.csv`.
        label: by its folder's name, 0 good, 1 defective, None unknown.
        modified: when the file was, ISO.
        brightness, warmth, sharpness: of the image, see `data.appearance`.
        drift: whether the latest images, with this one's batch, are unlike those that the threshold
            was chosen from, see `limits.drift`; None where these are not known.
        run: the run that judged it, and in which precision unless in float32.
    """

    image: str
    score: float
    threshold: float
    anomalous: bool
    overlay: str
    label: int | None
    modified: str
    brightness: float
    warmth: float
    sharpness: float
    drift: bool | None
    run: str


COLUMNS = [field.name for field in fields(Row)]


@dataclass(frozen=True)
class Thumbnail:
    """What the page shows of an image, see `page.Inspected`; and what tells its file from another.

    Attributes:
        length: of the image's file, in bytes; None where that was not kept.
    """

    overlay: str
    thumbnail: str
    small_map: str
    length: int | None = None


class Scores:
    """The rows in a folder, those of earlier inspections by the same run too.

    Args:
        out: the folder; it need not be there.
        run_id: of the run that judges, with its precision where scores differ by that.
        threshold: on the score; rows that were decided by another are decided anew.

    Attributes:
        former: that other threshold; None where there was none.

    Raises:
        InputError: there is a `scores.csv` of another run or of something else, or the folder
            cannot be read or written.
    """

    def __init__(self, out: Path, run_id: str, threshold: float):
        self.out = out
        self.former: float | None = None
        self._rows: dict[str, Row] = {}
        self._overlays: dict[str, str] = {}  # by image
        self._taken: set[str] = set()
        self._lengths = {entry.overlay: entry.length for entry in self._thumbnails()}
        self._shown: dict[str, Thumbnail] = {}  # what the last page showed and what came since
        path = out / SCORES
        if not path.exists():
            return
        content = _content(path)
        for row in _parsed(path, content, run_id):
            if row.threshold != threshold:
                self.former = row.threshold
            decided = replace(row, threshold=threshold, anomalous=row.score > threshold)
            self._rows[row.image] = decided
            self._overlays[row.image] = row.overlay
            self._taken.add(row.overlay.casefold())
        if _as_csv(self._rows.values(), header=True).encode() != content:
            self._write(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> list[Row]:
        """In the order in which they were finished."""
        return list(self._rows.values())

    def has(self, path: Path) -> bool:
        """Whether an image is finished as it is now."""
        row = self._rows.get(image_name(path))
        return (
            row is not None
            and row.modified == _modified(path)
            and row.overlay in self._lengths
            # A copy may keep its time, and a camera may have no clock.
            and self._lengths[row.overlay] in (None, length_of(path))
            and (self.out / row.overlay).is_file()
        )

    def overlay_name(self, path: Path) -> str:
        """A name for an image's overlay: its own from before, or a free one. Images of one name in
        several folders keep apart, and no file of the user's own is overwritten."""
        image, stem = image_name(path), _NOT_IN_NAMES.sub("_", shown(Path(path.stem)))
        own = self._overlays.get(image)
        if own is None or not _is_free(self.out / own):
            stem = stem.encode()[:LONGEST_STEM].decode(errors="ignore")
            stems = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
            names = (f"{stem}{OVERLAY_END}" for stem in stems)
            # One name in capitals and in small letters is one file on Windows and macOS.
            own = next(
                n for n in names if n.casefold() not in self._taken and _is_free(self.out / n)
            )
            self._overlays[image] = own
            self._taken.add(own.casefold())
        return own

    def add(self, rows: Sequence[Row], thumbnails: Sequence[Thumbnail]) -> None:
        """Keep finished images, the last one last. Of one that was inspected before, the row is
        replaced. On an error the table is as before.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        # A line break before each, so that none is added to half a line of a killed process.
        lines = "".join("\n" + json.dumps(asdict(entry)) for entry in thumbnails)
        _append(self.out / THUMBNAILS, lines)
        new = {row.image: row for row in rows}
        kept = {image: row for image, row in self._rows.items() if image not in new}
        if len(kept) == len(self._rows):
            _append(self.out / SCORES, _as_csv(rows, header=not (self.out / SCORES).exists()))
        else:
            self._write(kept | new)
        self._rows = kept | new
        self._lengths.update((entry.overlay, entry.length) for entry in thumbnails)
        if self._shown:
            self._shown.update((entry.overlay, entry) for entry in thumbnails)

    def drop(self, paths: Sequence[Path]) -> None:
        """Forget images whose files have changed since, and can no longer be judged."""
        gone = {
            image
            for path in paths
            if (image := image_name(path)) in self._rows and not self.has(path)
        }
        if gone:
            self._rows = {image: row for image, row in self._rows.items() if image not in gone}
            self._write(self._rows)

    def table(self) -> pd.DataFrame:
        """All rows, as `scores.csv` has them."""
        table = pd.DataFrame([asdict(row) for row in self.rows], columns=COLUMNS)
        return table.astype({"label": "Int64", "drift": "boolean"})

    def inspected(self, limit: int) -> list[Inspected]:
        """The latest images for the page, at most so many. One whose thumbnail is gone is left
        out."""
        latest = self.rows[-limit:]
        wanted = {row.overlay for row in latest} & self._lengths.keys()
        known = self._shown
        if not wanted <= known.keys():  # the file of a long watch is read once, not for each page
            known = {e.overlay: e for e in self._thumbnails() if e.overlay in wanted}
        self._shown = {overlay: known[overlay] for overlay in wanted & known.keys()}
        return [
            Inspected(
                row.image, row.score, row.overlay, row.label, entry.thumbnail, entry.small_map
            )
            for row in latest
            if (entry := self._shown.get(row.overlay)) is not None
        ]

    def _thumbnails(self) -> Iterable[Thumbnail]:
        """As they were written; of an image that was inspected again, the later one counts."""
        path = self.out / THUMBNAILS
        if not path.exists():
            return
        try:
            with path.open(encoding="utf-8") as file:
                for line in file:
                    with suppress(ValueError, TypeError):  # a line of a process that was killed
                        yield Thumbnail(**json.loads(line))
        except OSError as error:
            raise unreadable(path, error) from None

    def _write(self, rows: Mapping[str, Row]) -> None:
        write_text(self.out / SCORES, _as_csv(rows.values(), header=True))


def image_name(path: Path) -> str:
    """An image's path as a table has it: absolute, on one line. Links stay as they are, since a
    link's own name may be all that tells a part."""
    path = path.absolute()
    found = Path(path.anchor)
    for part in path.parts[1:]:
        # Behind a link `..` leads elsewhere than to where the link is.
        if part == ".." and found.name != ".." and not found.is_symlink():
            found = found.parent
        else:
            found /= part
    return shown(found)


def _as_now(image: str) -> str:
    """A path of an older table, which has it as it was given: absolute, if it leads to a file from
    here."""
    path = Path(image)
    if path.is_absolute() and ".." not in path.parts:  # of most rows: no file is looked at
        return image
    if PureWindowsPath(image).is_absolute() or not path.is_file():
        return image
    return image_name(path)


def _modified(path: Path) -> str | None:
    """None: whoever reads the file says why it cannot be looked at."""
    try:
        return modified_at(path)
    except InputError:
        return None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def _foreign(path: Path) -> InputError:
    return InputError(
        f"{shown(path)} is not a table of an inspection that can go on: choose another folder with "
        "--out, or move it away"
    )


def _parsed(path: Path, content: bytes, run_id: str) -> list[Row]:
    """The rows in a file. What follows its last whole line, of a process that was killed, is
    dropped."""
    whole = content[: content.rfind(b"\n") + 1]
    if not whole and ",".join(COLUMNS).encode().startswith(content):  # killed in its first line
        return []
    try:
        records = list(csv.reader(io.StringIO(whole.decode(), newline="")))
        if records[:1] != [COLUMNS]:
            raise ValueError("other columns")
        rows = [_row(record) for record in records[1:]]
    except (ValueError, KeyError, csv.Error):
        raise _foreign(path) from None
    others = {row.run for row in rows} - {run_id}
    if others:
        raise InputError(
            f"{shown(path)} is of the run {min(others)}, not of {run_id}: choose another folder "
            "with --out"
        )
    return rows


_BOOLEANS = {"True": True, "False": False, "": None}


def _row(record: Collection[str]) -> Row:
    """A line of the file as a row.

    Raises:
        ValueError, KeyError: it is none.
    """
    values = dict(zip(COLUMNS, record, strict=True))
    numbers = ("score", "threshold", *APPEARANCE)
    return Row(
        **values
        | {"image": _as_now(values["image"])}
        | {name: float(values[name]) for name in numbers}
        | {name: _BOOLEANS[values[name]] for name in ("anomalous", "drift")}
        | {"label": int(values["label"]) if values["label"] else None}
    )


def _as_csv(rows: Iterable[Row], *, header: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(["" if value is None else value for value in vars(row).values()])
    return text.getvalue()


def _append(path: Path, text: str) -> None:
    """Add whole lines to a file and see them on the disk, or leave it as it was."""
    before = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            before = file.tell()
            file.write(text.encode(errors="backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:  # an interruption, too
        with suppress(OSError):
            if before is not None:
                os.truncate(path, before)
        if not isinstance(error, OSError):
            raise
        raise InputError(
            f"cannot write {shown(path)}: {error.strerror or error}; free space or choose another "
            "folder"
        ) from None


def _is_free(path: Path) -> bool:
    return not os.path.lexists(path) or is_overlay(path)
