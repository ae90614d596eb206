"""Another network's maps in the place of masks: which run makes them, and what is made of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ssn_lib.config import RunConfig
from ssn_lib.data.images import ImageSet
from ssn_lib.presets import preset
from ssn_lib.runs.record import TEACHING
from ssn_lib.storage import write_text
from ssn_lib.training import pseudo_masks


def teacher_of(config: RunConfig) -> RunConfig:
    """The run whose maps stand for masks: as long as that of its pupil, on the same images."""
    training, supervision = config.training, config.training.supervision
    base = preset(supervision.teacher)
    return replace(
        config,
        preset=supervision.teacher,
        model=replace(base.model, backbone=config.model.backbone),
        training=replace(
            base.training,
            epochs=training.epochs,
            batch_size=training.batch_size,
            precision=training.precision,
            good_images=training.good_images,
            validation_fraction=training.validation_fraction,
            supervision=replace(base.training.supervision, fold=supervision.fold),
        ),
    )


def with_pseudo_masks(images: ImageSet, maps: Tensor, kind: str, folder: Path) -> ImageSet:
    """The images with masks made of the teacher's maps, where these are confident.

    Drawn masks teach nothing; where there are any, `folder` gets a file that tells how well the
    others agree with them.

    Args:
        images: the training images.
        maps: the teacher's, of these images, (N, 1, H, W).
        kind: of `SupervisionConfig.pseudo_masks`.
        folder: of the pupil's run.
    """
    regions, confident = pseudo_masks.pseudo_masks(maps, images.labels)
    kinds = {"region": regions}
    if kind == "traced":
        kinds["traced"] = traced = regions.copy()
        for index in np.flatnonzero(confident):
            region, image = regions[index, 0].astype(bool), images.images[index].numpy()
            traced[index, 0] = pseudo_masks.trace(region, image)
    drawn = confident & [sample.mask is not None for sample in images.samples]
    truth = images.masks.numpy()[drawn]
    if truth.any():
        agreements = {
            name: pseudo_masks.agreement(masks[drawn], truth) for name, masks in kinds.items()
        }
        table = pd.DataFrame.from_dict(agreements, orient="index")
        write_text(folder / TEACHING, table.to_csv(index_label="masks"))
    samples = (
        replace(sample, mask=folder if sure else None)  # a mark: see `Sample.mask`
        for sample, sure in zip(images.samples, confident, strict=True)
    )
    return ImageSet.of(samples, images.images, torch.from_numpy(kinds[kind]))
