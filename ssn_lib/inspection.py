"""Inspecting a user's images with a finished run: heatmap overlays and a table of scores."""

from __future__ import annotations

import warnings
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from ssn_lib.data.decoding import Remarks
from ssn_lib.data.images import list_images, read_image
from ssn_lib.errors import InputError
from ssn_lib.files import write_text, written_whole
from ssn_lib.folding import fuse
from ssn_lib.inference import predict
from ssn_lib.runs import load_run

OVERLAY_OPACITY = 0.55


def inspect(
    run: Path, images: list[Path], out: Path, weights: str | Path | None = "imagenet"
) -> pd.DataFrame:
    """Predict images, writing `<name>_overlay.png` for each and `scores.csv`.

    Args:
        run: the folder of a finished run.
        images: files, or folders of them.

    Returns:
        One row per image: score (raw logit), the run's threshold, and the decision.

    Raises:
        InputError: the run is not finished, `out` cannot be written, or images cannot be read: the
            others are predicted all the same.
    """
    record, model = load_run(run, weights)
    if record.thresholds is None:
        raise InputError(f"{run}: the training diverged; there is nothing to predict with")
    files = [file for path in images for file in (list_images(path) if path.is_dir() else [path])]
    if not files:
        raise InputError(f"{images[0]}: no images there")
    names, network, data = _overlay_names(files), fuse(model), record.config.data
    rows, unread, remarks = [], [], Remarks()
    for path, name in zip(files, names, strict=True):
        try:
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
            Image.fromarray(overlay).save(file, format="PNG")
        rows.append(
            {
                "image": str(path),
                "score": score,
                "threshold": record.thresholds.score,
                "anomalous": score > record.thresholds.score,
                "overlay": name,
            }
        )
    remarks.warn()
    table = pd.DataFrame(rows)
    if rows:
        write_text(out / "scores.csv", table.to_csv(index=False))
    if unread and rows:
        for error in unread:
            warnings.warn(str(error), stacklevel=2)
        raise InputError(
            f"{len(unread)} of {len(files)} images could not be read; the others are in "
            f"{out / 'scores.csv'}"
        )
    if unread:
        raise unread[0]
    return table


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


def _overlay_names(files: list[Path]) -> list[str]:
    """A name for each overlay; images of one name in several folders keep apart."""
    names: dict[str, None] = {}
    for path in files:
        stems = (path.stem if number == 1 else f"{path.stem}_{number}" for number in count(1))
        tried = (f"{stem}_overlay.png" for stem in stems)
        names[next(name for name in tried if name not in names)] = None
    return list(names)
