"""Identifies a training, so that it resumes from its own checkpoint alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from ssn_lib.config import TrainingConfig, non_default_fields
from ssn_lib.data.images import ImageSet
from ssn_lib.models.supersimplenet import Detector


def identity(
    model: Detector, config: TrainingConfig, seed: int, images: ImageSet, trained_on: ImageSet
) -> dict[str, Any]:
    """What must be equal for a training to resume from a checkpoint.

    Args:
        model, config, seed: as in `fit`.
        images: all training images; their names below the folder that holds them.
        trained_on: those that are not held out; their pixels and masks.
    """
    return {
        "training": non_default_fields(config),
        "model": non_default_fields(model.config),
        "backbone": model.backbone.fingerprint(),
        "seed": seed,
        "images": _names([sample.image for sample in images.samples]),
        "pixels": _digest(trained_on),
    }


def matches(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a checkpoint belongs to a training. Keys that older checkpoints lack are not
    compared."""
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
