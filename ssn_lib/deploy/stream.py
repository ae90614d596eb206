"""Images of any number through a detector: decoded in threads, predicted in batches, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ssn_lib.data.decoding import Remarks
from ssn_lib.data.images import read_image
from ssn_lib.data.shape import resized
from ssn_lib.deploy.detector import Trained
from ssn_lib.errors import InputError
from ssn_lib.storage import shown, unreadable

BATCH = 16  # images predicted at once
AHEAD = 2 * BATCH  # images decoded in advance: one batch while another is predicted

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Photograph:
    """A decoded image.

    Attributes:
        modified: when its file was, as text.
        length: of its file, in bytes.
        pixels: (3, H, W) uint8 RGB, at the detector's size.
    """

    path: Path
    modified: str
    length: int | None
    pixels: Tensor


@dataclass(frozen=True)
class Refused:
    """An image that cannot be read, and why."""

    path: Path
    error: InputError


@dataclass(frozen=True)
class Judged:
    """What a detector says of an image.

    Attributes:
        image: (H, W, 3), at the detector's size.
        anomaly_map: (H, W), raw logits.
        score: a raw logit.
    """

    path: Path
    modified: str
    length: int | None
    image: NDArray[np.uint8]
    anomaly_map: NDArray[np.float32]
    score: float


def judged(
    trained: Trained, files: Iterable[Path], pool: Executor, remarks: Remarks
) -> Iterator[Judged | Refused]:
    """What a detector says of each file, in order; of every few, those that cannot be read come
    first. However many there are, few are held at once.

    Args:
        pool: threads that decode.
        remarks: takes what is to be said of files that are read all the same.
    """

    height, width = trained.image_size
    stretched = (
        f"images of another shape, stretched to {height}×{width} pixels (height×width); unless the "
        "training images were so too, their scores mean little: crop them, or train on such"
    )
    enlarged = (
        f"images of less than half of {height}×{width} pixels (height×width), enlarged; unless the "
        "training images were so too, their scores mean little"
    )

    def read(path: Path) -> Photograph | Refused:
        try:
            # Before it is read: what changes meanwhile is another image.
            modified, length = modified_at(path), length_of(path)
            pixels = read_image(
                path, trained.image_size, trained.resize, trained.full_scale, remarks
            )
        except InputError as error:
            return Refused(path, error)
        found = resized(path, trained.image_size)
        if found.stretched:
            remarks.add(stretched, path)
        if found.enlarged:
            remarks.add(enlarged, path)
        return Photograph(path, modified, length, pixels)

    for batch in batched(ahead(pool, read, files, AHEAD), BATCH):
        photographs = [item for item in batch if isinstance(item, Photograph)]
        yield from (item for item in batch if isinstance(item, Refused))
        if not photographs:
            continue
        maps, scores = trained.predict(torch.stack([item.pixels for item in photographs]))
        for item, anomaly_map, score in zip(photographs, maps, scores, strict=True):
            if not (anomaly_map.isfinite().all() and score.isfinite()):
                why = f"{shown(item.path)}: the network's answer to it is no finite number"
                yield Refused(item.path, InputError(why))
                continue
            image = item.pixels.permute(1, 2, 0).numpy()
            shown_map = anomaly_map[0].numpy()
            yield Judged(item.path, item.modified, item.length, image, shown_map, score.item())


def ahead(
    pool: Executor, work: Callable[[_T], _R], items: Iterable[_T], depth: int
) -> Iterator[_R]:
    """`work` done on a pool's threads for up to `depth` items in advance; its results in order.

    Whoever stops early, or meets an error, leaves no work behind but what has begun.
    """
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """The items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def length_of(path: Path) -> int | None:
    """Bytes of a file; None where it cannot be looked at, which whoever reads it says."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def modified_at(path: Path) -> str:
    """When a file was last modified: ISO, UTC, to the millisecond.

    Raises:
        InputError: it is not there, or cannot be looked at.
    """
    try:
        seconds = path.stat().st_mtime
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"{shown(path)}: its time of modification is none; set it anew, as `touch` does"
        ) from None
