"""Where a run found its images and weights, so that later commands about it need not be told."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from ssn_lib.storage import write_text

PLACES = "places.json"  # it stays on this machine: records that are shared do not hold it
VARIABLES = {"data_root": "SSN_DATA_ROOT", "weights": "SSN_WEIGHTS_DIR"}  # which go first


class Places(NamedTuple):
    """What a run was told.

    Attributes:
        data_root: None for the usual places.
        weights: a folder or file; "imagenet" for the usual places.
    """

    data_root: Path | None = None
    weights: str = "imagenet"


def keep_places(folder: Path, data_root: Path | None, weights: str) -> None:
    """Write them into a run's folder; nothing where there is nothing to say."""
    told = {"data_root": data_root, "weights": None if weights == "imagenet" else weights}
    named = {name: str(Path(one).resolve()) for name, one in told.items() if one is not None}
    if named:
        write_text(folder / PLACES, json.dumps(named, indent=1))


def places_of(folder: Path) -> Places:
    """Those of a run, as far as they are still there and no variable names others."""
    told = {}
    with contextlib.suppress(OSError, ValueError):  # it is a help only
        told = json.loads((folder / PLACES).read_text(encoding="utf-8"))
    known = {
        name: Path(told[name])
        for name, variable in VARIABLES.items()
        if name in told and not os.environ.get(variable) and Path(told[name]).exists()
    }
    return Places(known.get("data_root"), str(known.get("weights", "imagenet")))
