"""Inspecting a user's images with a finished run: heatmap overlays and a table of scores."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ssn_lib.data.decoding import Remarks
from ssn_lib.data.images import read_image
from ssn_lib.data.listing import (
    OVERLAY_END,
    OVERLAY_MARK,
    is_folder,
    is_overlay,
    list_images,
    named_like_a_mask,
    warn_of_unused,
)
from ssn_lib.errors import InputError
from ssn_lib.fast.folded import FusedNet, fuse
from ssn_lib.inference import predict
from ssn_lib.runs.record import Record
from ssn_lib.runs.run import load_run
from ssn_lib.storage import shown, unreadable, write_text, written_whole

OVERLAY_OPACITY = 0.55
LONGEST_STEM = 200  # bytes of an overlay's name: file systems take 255, with what is put behind it


def inspect(
    run: Path, images: list[Path], out: Path, weights: str | Path | None = "imagenet"
) -> pd.DataFrame:
    """Predict images, writing `<name>_overlay.png` for each and `scores.csv`.

    Args:
        run: the folder of a finished run.
        images: files, or folders of them. Of a folder, what is not inspected or may be no
            photograph is said in a warning; overlays of earlier inspections are passed over.

    Returns:
        One row per image: score (raw logit), the run's threshold, and the decision.

    Raises:
        InputError: the run is not finished, `out` cannot be written, or images cannot be read: the
            others are predicted all the same.
    """
    record, model = load_run(run, weights)
    if record.thresholds is None:
        raise InputError(f"{shown(run)}: the training diverged; there is nothing to predict with")
    files, unread = _find(images)
    if not files and not unread:
        raise InputError(f"{shown(images[0])}: no images there")
    remarks = Remarks()
    rows, refused = _predict(record, fuse(model), files, out, remarks)
    remarks.warn()
    unread += refused
    table = pd.DataFrame(rows)
    if rows:
        write_text(out / "scores.csv", table.to_csv(index=False))
    if unread and rows:
        for error in unread:
            warnings.warn(str(error), stacklevel=2)
        raise InputError(
            f"{len(unread)} of {len(rows) + len(unread)} images could not be read; the others are "
            f"in {shown(out / 'scores.csv')}"
        )
    if unread:
        raise unread[0]
    return table


def _predict(
    record: Record, network: FusedNet, files: list[Path], out: Path, remarks: Remarks
) -> tuple[list[dict], list[InputError]]:
    """The row of each image, its overlay written, and why others could not be read."""
    rows, unread, data = [], [], record.config.data
    for path, name in zip(files, _overlay_names(files, out), strict=True):
        try:
            _check_readable(path)
            pixels = read_image(path, data.image_size, data.resize, data.full_scale, remarks)
        except InputError as error:
            unread.append(error)
            continue
        prediction = predict(network, pixels[None])
        score = prediction.score.item()
        overlay = heatmap(
            pixels.permute(1, 2, 0).numpy(),
            prediction.anomaly_map[0, 0].numpy(),
            record.thresholds.map,
        )
        with written_whole(out / name) as file:
            Image.fromarray(overlay).save(file, format="PNG", pnginfo=_own())
        rows.append(
            {
                "image": shown(path),
                "score": score,
                "threshold": record.thresholds.score,
                "anomalous": score > record.thresholds.score,
                "overlay": name,
            }
        )
    return rows, unread


def heatmap(image: NDArray[np.uint8], anomaly_map: NDArray, threshold: float) -> NDArray[np.uint8]:
    """The map over the image, coloured by sigmoid(map − threshold), so images compare.

    Nothing is laid over it where that is below 1/4; the opacity is half of `OVERLAY_OPACITY` at
    the threshold, and all of it from 3/4 on.

    Args:
        image: (H, W, 3). anomaly_map: (H, W), raw logits. threshold: on it, in logits.

    Returns:
        (H, W, 3).
    """
    strength = torch.sigmoid(torch.from_numpy(anomaly_map - threshold)).numpy()
    colour = colormaps["inferno"](strength)[..., :3] * 255
    opacity = OVERLAY_OPACITY * np.clip(2 * strength - 0.5, 0, 1)[..., None]
    return ((1 - opacity) * image + opacity * colour).round().astype(np.uint8)


def _find(images: Iterable[Path]) -> tuple[list[Path], list[InputError]]:
    """The files to inspect, and why folders cannot be looked into."""
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
        warn_of_unused(path, found, "give folders inside it beside it, to inspect them too")
        masks = [file.name for file in found if named_like_a_mask(file)]
        if masks:
            warnings.warn(
                f"{shown(path)}: {len(masks)} of {len(found)} images are named like masks and "
                f"inspected all the same, such as {shown(masks[0])}",
                stacklevel=3,
            )
        files += found
    return files, unread


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise unreadable(path, error) from None


def _own() -> PngInfo:
    """What tells an overlay from a photograph, see `listing.is_overlay`."""
    info = PngInfo()
    info.add_text("Software", OVERLAY_MARK)
    return info


def _overlay_names(files: list[Path], out: Path) -> list[str]:
    """A name for each overlay; images of one name in several folders keep apart, and no file of
    the user's own in `out` is overwritten."""
    names: dict[str, None] = {}
    for path in files:
        stem = shown(path.stem).replace("\\", "_")
        stem = stem.encode()[:LONGEST_STEM].decode(errors="ignore")
        stems = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
        tried = (f"{stem}{OVERLAY_END}" for stem in stems)
        names[next(name for name in tried if name not in names and _is_free(out / name))] = None
    return list(names)


def _is_free(path: Path) -> bool:
    return not os.path.lexists(path) or is_overlay(path)
