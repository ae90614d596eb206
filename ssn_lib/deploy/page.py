"""`inspection.html`: one page on which a person judges an inspection and sets the threshold.

The page is one file: `inspection_page/page.html` with the style, the scripts and the data in it. It
fetches nothing but the overlays beside it, and works without them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from ssn_lib.deploy.heatmap import laid_over
from ssn_lib.errors import InputError
from ssn_lib.storage import shown, write_text

if TYPE_CHECKING:
    from ssn_lib.deploy.limits import Reference

SCRIPTS = ("scores.js", "threshold.js", "histogram.js", "cards.js", "large.js", "start.js")


@dataclass(frozen=True)
class Inspected:
    """One inspected image, as a row of `scores.csv`.

    Attributes:
        image: its path, as shown to the user.
        score: raw logit.
        overlay: the file's name, in the folder of the page.
        label: 0 good, 1 defective, None unknown.
        thumbnail: data URI of a small JPEG (at most 160 pixels on the longer side).
        small_map: base64 of 32 × 32 bytes, row by row: the anomaly map, scaled linearly so that 0
            is the map range's lower end and 255 its upper.
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
    """Write the page of an inspection, whole or not at all.

    Args:
        path: of the page; overlays are looked for beside it.
        rows: the images, in any order.
        run_id: of the run; a threshold saved on the page belongs to it.
        preset: the run's.
        threshold: of the inspection, on the scores (raw logits); where the slider begins.
        map_range: the values of the anomaly map (raw logits) that 0 and 255 of small maps mean.
        map_threshold: the run's, on the map's values.
        reference: scores of the defect-free images that the threshold was chosen from, or None
            where the run did not keep them.
        notes: sentences for the page's head, such as a warning; plain text.

    Raises:
        InputError: a score is not finite, or `path` cannot be written.
    """
    for row in rows:
        if not math.isfinite(row.score):
            raise InputError(
                f"{shown(row.image)}: its score is {row.score}; the page needs numbers"
            )
    folder = common_folder([row.image for row in rows])
    compared = None
    if reference is not None:
        compared = {"scores": sorted(reference.scores.tolist()), "seen": reference.seen}
    data = {
        "run": run_id,
        "preset": preset,
        "threshold": threshold,
        "folder": folder,
        "notes": [*notes],
        "reference": compared,
        "palette": _base64(palette(map_range, map_threshold)),
        "images": [
            asdict(row) | {"image": row.image[len(folder) :], "overlay": _link(row.overlay)}
            for row in rows
        ],
    }
    write_text(path, _filled(data))


def common_folder(images: Sequence[str]) -> str:
    """The folder that all paths begin with, with its last separator; "" where there is none."""
    ends = min(images, default=""), max(images, default="")  # what they share, all in between do
    same = takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False))
    prefix = "".join(character for character, _ in same)
    return prefix[: max(prefix.rfind("/"), prefix.rfind("\\")) + 1]


def palette(map_range: tuple[float, float], map_threshold: float) -> NDArray[np.uint8]:
    """What is laid over an image for each value of a small map: as `heatmap` colours it.

    Returns:
        (256, 4): red, green, blue, opacity.
    """
    values = np.linspace(*map_range, 256)
    return (laid_over(values, map_threshold) * 255).round().astype(np.uint8)


def _filled(data: dict) -> str:
    """The template with everything in it."""
    folder = files("ssn_lib.deploy") / "inspection_page"
    page, style, *scripts = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", *SCRIPTS)
    )
    script = "\n".join(scripts)
    # File names are not to be trusted: no text in the data can end its element or run as code.
    # Scripts other than this one are refused, and so is whatever lies on another machine.
    policy = (
        "default-src 'none'; img-src data: 'self' file:; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    text = json.dumps(data, allow_nan=False).replace("<", "\\u003c")
    parts = {"policy": policy, "style": style, "script": script, "data": text}
    for name, part in parts.items():  # the data last: what looks like a place in it stays
        page = page.replace("{{" + name + "}}", part)
    return page


def _hash(text: str) -> str:
    return f"'sha256-{_base64(hashlib.sha256(text.encode()).digest())}'"


def _base64(content: bytes | NDArray[np.uint8]) -> str:
    return base64.b64encode(content).decode()


def _link(name: str) -> str:
    """A relative address of a file beside the page."""
    return quote(shown(name), safe="")
