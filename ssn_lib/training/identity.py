"""What a training is, so that no checkpoint is gone on from by another one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from ssn_lib.config import TrainingConfig, beside_defaults
from ssn_lib.data.images import ImageSet
from ssn_lib.models.supersimplenet import Detector


def identity(
    model: Detector, config: TrainingConfig, seed: int, images: ImageSet, trained_on: ImageSet
) -> dict[str, Any]:
    """What two trainings have in common of which one may go on from the other's checkpoint.

    Args:
        model, config, seed: as of `fit`.
        images: all training images; their names below the folder that holds them.
        trained_on: those that are not held out; their pixels and masks.
    """
    return {
        "training": beside_defaults(config),
        "model": beside_defaults(model.config),
        "backbone": model.backbone.fingerprint(),
        "seed": seed,
        "images": _names([sample.image for sample in images.samples]),
        "pixels": _digest(trained_on),
    }


def is_of(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a checkpoint's identity is that of a training. An older one does not say all."""
    return {**wanted, **found} == wanted


def _names(paths: list[Path]) -> list[str]:
    """The images' names below the folder that holds them all, wherever that is."""
    paths = [path.absolute() for path in paths]
    root = os.path.commonpath([path.parent for path in paths]) if paths else ""
    return [path.relative_to(root).as_posix() for path in paths]


def _digest(images: ImageSet) -> str:
    digest = hashlib.sha256()
    for part in (images.images, images.masks):
        digest.update(f"{tuple(part.shape)}".encode())
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()[:16]
