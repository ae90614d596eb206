"""Inspecting a user's images with a finished run: overlays, a table of scores, and a page."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ssn_lib.data.appearance import APPEARANCE, appearance
from ssn_lib.data.decoding import Remarks, reading_threads
from ssn_lib.data.listing import OVERLAY_MARK, is_overlay
from ssn_lib.data.shape import is_stretched
from ssn_lib.deploy.arrivals import LOOK_S, Arrivals, find, label_of
from ssn_lib.deploy.detector import Trained, open_detector
from ssn_lib.deploy.heatmap import heatmap, map_range, small_map, thumbnail
from ssn_lib.deploy.limits import ChosenThreshold, Drift, drift, read_threshold, worth
from ssn_lib.deploy.page import write_page
from ssn_lib.deploy.scores import SCORES, Row, Scores, Thumbnail, image_name
from ssn_lib.deploy.stream import BATCH, Judged, Refused, ahead, judged
from ssn_lib.errors import InputError
from ssn_lib.storage import held, shown, written_whole
from ssn_lib.training.bar import Bar

PAGE = "inspection.html"
PAGE_S = 10.0  # between two states of the page while images arrive
PAGE_IMAGES = 5_000  # a page of more is slow to open
RECENT = 200  # images in which drift is looked for as they come


@dataclass(frozen=True)
class Inspection:
    """What an inspection leaves in its folder.

    Attributes:
        table: of `scores.csv`, a row for each image; see `scores.Row`.
        inspected: how many of them now; the others were finished before.
        threshold: on the score.
        page: the file to look at.
        worth: what the threshold rests on.
        drift: what is unlike the images that it was chosen from, which is warned of too; None
            where nothing is.
    """

    table: pd.DataFrame
    inspected: int
    threshold: float
    page: Path
    worth: str
    drift: str | None


class PartlyInspected(InputError):
    """Some images could not be read, or a folder has none; the others are inspected.

    Attributes:
        result: of these.
    """

    def __init__(self, message: str, result: Inspection):
        super().__init__(message)
        self.result = result


def inspect(
    run: str | Path,
    images: Sequence[str | Path],
    out: str | Path,
    weights: str | Path | None = "imagenet",
    *,
    threshold: str | Path | None = None,
    again: bool = False,
    watch: bool = False,
    on_rows: Callable[[Sequence[Row]], None] | None = None,
) -> Inspection:
    """Predict images, writing `<name>_overlay.png` for each, `scores.csv` and `inspection.html`.

    What is finished is kept whatever ends it, and the same call goes on from there: an image that
    is in `scores.csv` is not inspected again unless its file has changed.

    Args:
        run: the folder of a finished run, or an exported file or folder.
        images: files, or folders of them, or one. Of a folder, what is not inspected or may be no
            photograph is said in a warning; overlays of earlier inspections are passed over.
        out: the folder to write to.
        weights: of the backbone, as for `models.supersimplenet.build`.
        threshold: a file that the page saved, see `limits.read_threshold`; None: the run's own.
        again: inspect finished images too.
        watch: go on with images that arrive in the folders, until interrupted (Ctrl-C).
        on_rows: called with the rows of each batch when they are written.

    Raises:
        InputError: the run is not finished, `out` cannot be written or has another run's scores, or
            no image can be read.
        PartlyInspected: some images cannot be read, or a folder has none; the others are predicted
            all the same.
    """
    images = [Path(one) for one in ([images] if isinstance(images, str | Path) else images)]
    out = Path(out)
    images = _without_overlays(images, out)
    if not images:
        raise InputError("no images to inspect: name files, or folders of them")
    trained = open_detector(run, weights)
    chosen = None if threshold is None else read_threshold(threshold, trained.scorer_id)
    arrivals = Arrivals(images) if watch else None
    files, unread = find(images)
    if not files and not watch:
        raise _first(unread)
    files = _distinct(files)
    asked = len(files) + len(unread)
    with _to_itself(out):
        inspector = _Inspector(trained, chosen, out, again=again, watching=watch, on_rows=on_rows)
        with inspector.keeping():
            if arrivals is not None:
                _watch(inspector, arrivals)
            else:
                unread += [item.error for item in inspector.inspect(files)]
            result = inspector.finish()
    if watch or not unread:
        return result
    if len(unread) == asked:
        raise _first(unread)
    raise _partly(unread, asked, result)


def _without_overlays(images: Sequence[Path], out: Path) -> list[Path]:
    """What was named but for the overlays of this very inspection, as `*.png` names them where the
    images lie in `out`."""
    home = out.absolute()
    kept = [path for path in images if path.absolute().parent != home or not is_overlay(path)]
    if overlays := len(images) - len(kept):
        warnings.warn(
            f"{overlays} of the {len(images)} files named are overlays in {shown(out)} itself: "
            "passed over",
            stacklevel=4,
        )
    return kept


def _partly(unread: Sequence[InputError], asked: int, result: Inspection) -> PartlyInspected:
    """What is raised after a warning of each of some."""
    for error in unread:
        warnings.warn(str(error), stacklevel=3)
    return PartlyInspected(
        f"{len(unread)} of {asked} files and folders could not be inspected; the others are in "
        f"{shown(result.page.with_name(SCORES))}",
        result,
    )


def _distinct(files: Iterable[Path]) -> list[Path]:
    """Each photograph once, by the first of its paths."""
    named: dict[str, Path] = {}
    for file in files:
        named.setdefault(image_name(file), file)
    return list(named.values())


def _first(unread: Sequence[InputError]) -> InputError:
    """The first of them, after a warning of each of the others."""
    for error in unread[1:]:
        warnings.warn(str(error), stacklevel=3)
    return unread[0]


@contextmanager
def _to_itself(out: Path) -> Iterator[None]:
    """The folder for one inspection at a time. A new one in which nothing is written goes again."""
    new = not out.exists()
    try:
        with held(out / ".lock"):
            yield
    finally:
        if new:
            with suppress(OSError):
                out.rmdir()


def _watch(inspector: _Inspector, arrivals: Arrivals) -> None:
    """Inspect what arrives, until interrupted."""
    with suppress(KeyboardInterrupt):
        while True:
            whole, broken = arrivals.look()
            for error in broken:
                warnings.warn(str(error), stacklevel=3)
            for item in inspector.inspect(whole):
                arrivals.refused(item.path, item.error)
            inspector.renew_page()
            time.sleep(LOOK_S)


class _Inspector:
    """A detector at work on one folder's table.

    Args:
        trained: the detector.
        chosen: the threshold that decides instead of the run's own.
        out: the folder; `again`, `on_rows` as for `inspect`.
        watching: whether images come one after the other, as they are taken.
    """

    def __init__(
        self,
        trained: Trained,
        chosen: ChosenThreshold | None,
        out: Path,
        *,
        again: bool,
        watching: bool,
        on_rows: Callable[[Sequence[Row]], None] | None,
    ):
        self._trained, self._chosen, self._out = trained, chosen or trained.chosen, out
        self._again, self._watching, self._on_rows = again, watching, on_rows
        self._threshold = trained.thresholds.score if chosen is None else chosen.score
        self._scores = Scores(out, trained.scorer_id, self._threshold)
        former = self._scores.former
        if former is not None and chosen is None:
            warnings.warn(
                f"{shown(out / SCORES)}: the images in it were decided by another threshold, "
                f"{former:.4g}; all are decided by {self._threshold:.4g} now: give --threshold to "
                "keep a chosen one",
                stacklevel=3,
            )
        self._remarks = Remarks()
        self._inspected = 0
        self._drifting = False
        self._page_at, self._page_of = -math.inf, 0  # when it was written, with how many images
        self._is_stretched = cache(lambda image: is_stretched(Path(image), trained.image_size))

    def inspect(self, files: Iterable[Path]) -> list[Refused]:
        """Inspect those that are not finished yet.

        Returns:
            Those that cannot be read.
        """
        files = _distinct(path for path in files if self._again or not self._scores.has(path))
        refused: list[Refused] = []
        finished: list[tuple[Row, Thumbnail]] = []
        title = None if self._watching else self._trained.preset
        with reading_threads() as pool, Bar(title, 1, len(files), unit="image") as bar:
            stream = self._named(judged(self._trained, files, pool, self._remarks), refused)
            with closing(ahead(pool, self._write, stream, BATCH)) as written:
                try:
                    for item in written:
                        finished.append(item)
                        bar.step()
                        if len(finished) == BATCH:
                            batch, finished = finished, []
                            self._add(batch)
                finally:  # whatever ends it, what is finished stays, and what is to be said of it
                    self._add(finished)
                    self._remarks.warn()
        self._scores.drop([item.path for item in refused])
        return refused

    def renew_page(self) -> None:
        """Write the page if images were added, and not just now."""
        if self._inspected > self._page_of and time.monotonic() - self._page_at >= PAGE_S:
            self._write_page(self._drift_message())

    def finish(self) -> Inspection:
        """Write the page, and say what is to be said at the end."""
        message = self._drift_message()
        if message is not None and not self._drifting:
            warnings.warn(message, stacklevel=3)
        if len(self._scores):
            self._write_page(message)
        return Inspection(
            self._scores.table(),
            self._inspected,
            self._threshold,
            self._out / PAGE,
            worth(self._trained.reference, self._chosen),
            message,
        )

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """For a block in which a file may be impossible to write: that says what is kept. One that
        is interrupted leaves the page of what is finished."""
        try:
            yield
        except KeyboardInterrupt:
            self.finish()
            raise
        except InputError as error:
            kept = f"{len(self._scores)} images are finished; the same command goes on from there"
            raise InputError(f"{error}; {kept}") from None

    def _named(
        self, stream: Iterable[Judged | Refused], refused: list[Refused]
    ) -> Iterator[tuple[Judged, str]]:
        """Each image with its overlay's name; what cannot be read is put aside."""
        for item in stream:
            if isinstance(item, Refused):
                refused.append(item)
            else:
                yield item, self._scores.overlay_name(item.path)

    def _write(self, named: tuple[Judged, str]) -> tuple[Row, Thumbnail]:
        """Write an image's overlay; its row, in which drift is not known yet. Safe in threads."""
        item, name = named
        limit = self._trained.thresholds.map
        overlay = Image.fromarray(heatmap(item.image, item.anomaly_map, limit))
        with written_whole(self._out / name, durable=False) as file:
            overlay.save(file, format="PNG", pnginfo=_own())
        looks = appearance(item.image.transpose(2, 0, 1)[None])[0].round(4).tolist()
        row = Row(
            image=image_name(item.path),
            score=item.score,
            threshold=self._threshold,
            anomalous=item.score > self._threshold,
            overlay=name,
            label=label_of(item.path),
            modified=item.modified,
            **dict(zip(APPEARANCE, looks, strict=True)),
            drift=None,
            run=self._trained.scorer_id,
        )
        small = thumbnail(item.image), small_map(item.anomaly_map, limit)
        return row, Thumbnail(name, *small, item.length)

    def _add(self, finished: Sequence[tuple[Row, Thumbnail]]) -> None:
        """Keep finished images."""
        if not finished:
            return
        rows = [row for row, _ in finished]
        names = {row.image for row in rows}  # of an image that was inspected before, the row goes
        before = (row for row in self._scores.rows if row.image not in names)
        found = self._drift([*before, *rows][-RECENT:])
        drifted = None if found is None else found.message is not None
        rows = [replace(row, drift=drifted) for row in rows]
        self._scores.add(rows, [small for _, small in finished])
        self._inspected += len(rows)
        if self._watching:
            if drifted and not self._drifting:
                warnings.warn(found.message, stacklevel=4)
            self._drifting = bool(drifted)
        if self._on_rows is not None:
            self._on_rows(rows)

    def _drift(self, rows: Sequence[Row]) -> Drift | None:
        """Whether images that are not known to be defective are unlike the reference."""
        rows = [row for row in rows if row.label != 1]
        if self._trained.reference is None or not rows:
            return None
        looks = [[getattr(row, name) for name in APPEARANCE] for row in rows]
        scores = np.array([row.score for row in rows])
        return drift(self._trained.reference, scores, np.array(looks))

    def _drift_message(self) -> str | None:
        """Of all images; of the latest alone where they come as they are taken."""
        rows = self._scores.rows
        found = self._drift(rows[-RECENT:] if self._watching else rows)
        return None if found is None else found.message

    def _write_page(self, drift_message: str | None) -> None:
        images, number = self._scores.inspected(PAGE_IMAGES), len(self._scores)
        notes = [worth(self._trained.reference, self._chosen)]
        if drift_message is not None:
            notes.append(drift_message)
        if stretched := sum(self._is_stretched(item.image) for item in images):
            height, width = self._trained.image_size
            notes.append(
                f"{stretched} of the images shown are of another shape, and stretched to "
                f"{height}×{width} pixels (height×width). Unless the training images were so too, "
                "their scores mean little."
            )
        if len(images) < number:
            notes.append(f"This page shows {len(images)} of {number} images; {SCORES} has all.")
        write_page(
            self._out / PAGE,
            images,
            run_id=self._trained.scorer_id,
            preset=self._trained.preset,
            threshold=self._threshold,
            map_range=map_range(self._trained.thresholds.map),
            map_threshold=self._trained.thresholds.map,
            reference=self._trained.reference,
            notes=notes,
        )
        self._page_at, self._page_of = time.monotonic(), self._inspected


def _own() -> PngInfo:
    """What tells an overlay from a photograph, see `listing.is_overlay`."""
    info = PngInfo()
    info.add_text("Software", OVERLAY_MARK)
    return info
