"""The page of an inspection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ssn_lib.deploy.limits import Reference
from ssn_lib.storage import write_text


@dataclass(frozen=True)
class Inspected:
    """One inspected image, as a row of scores.csv.

    Attributes:
        image: as shown.
        overlay: file name beside the page.
        label: 0 good, 1 defective, None unknown.
        thumbnail: data URI of a small JPEG (<= 160 px longer side).
        small_map: base64 of uint8, 32x32 row-major: the anomaly map scaled linearly from map_low
            to map_high.
    """

    image: str
    score: float
    overlay: str
    label: int | None
    thumbnail: str
    small_map: str


def write_page(
    path: Path,
    rows: Sequence[Inspected],
    *,
    run_id: str,
    preset: str,
    threshold: float,
    map_range: tuple[float, float],
    map_threshold: float,
    reference: Reference | None,
    notes: Sequence[str],
) -> None:
    """Stub."""
    write_text(path, "\n".join([run_id, *(row.image for row in rows), *notes]))
