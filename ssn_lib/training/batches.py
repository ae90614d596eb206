"""What a training step sees: features of the frozen backbone, labels and masks on their grid.

Everything that does not change from epoch to epoch is made once and, on a GPU, kept there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ssn_lib import machine
from ssn_lib.config import NoiseConfig, SupervisionConfig
from ssn_lib.data.images import ImageSet
from ssn_lib.data.masks import read_whole_mask
from ssn_lib.errors import InputError
from ssn_lib.fast import feature_cache
from ssn_lib.models.supersimplenet import Detector
from ssn_lib.noise.perlin import place


class Batch(NamedTuple):
    """A batch and where it gets synthetic anomalies; all but the layers duplicated, both copies one
    after the other, and all on the device of the training.

    Attributes:
        layers: stage outputs, (B, C_l, h_l, w_l).
        pixels: (M,) the feature pixels that get noise: positions in (2B, h, w), flattened.
        masks: (2B, 1, h, w) float 0/1, real and synthetic defects.
        labels: (2B,) float 0/1.
        weights: (2B, 1, h, w), 0 where the truth is unknown; None where all are 1.
    """

    layers: list[Tensor]
    pixels: Tensor
    masks: Tensor
    labels: Tensor
    weights: Tensor | None


class Features:
    """The backbone's outputs for all images, computed once: it is frozen.

    An image has one view, as it is; a defective one may have four, mirrored and turned.
    """

    def __init__(self, model: Detector, images: ImageSet, supervision: SupervisionConfig):
        labels = images.labels
        views: list[tuple[int, tuple[int, ...]]] = [(index, ()) for index in range(len(images))]
        if supervision.flips:
            for axes in ((-2,), (-1,), (-2, -1)):
                views += [(index, axes) for index in labels.nonzero()[:, 0].tolist()]
        self.labels = labels[[index for index, _ in views]]

        def pixels(some: slice) -> Tensor:
            return torch.stack([images.images[index].flip(axes) for index, axes in views[some]])

        # Before the outputs: a mask that is refused must not leave their file behind.
        pixel_labels = {
            index: torch.stack(_pixel_labels(images, index, supervision))
            for index in labels.nonzero()[:, 0].tolist()
            if images.samples[index].mask is not None
        }
        folder = Path(tempfile.gettempdir())
        self.outputs = feature_cache.outputs(model.backbone, len(views), pixels, folder)
        self.layers = self.outputs.layers
        size = tuple(side * model.config.upscale for side in self.layers[0].shape[-2:])
        self.masks = torch.zeros((len(views), 1, *size), dtype=torch.uint8)
        self.weights = torch.ones((len(views), 1, *size)) if labels.any() else None
        for row, (index, axes) in enumerate(views):
            if not labels[index]:
                continue
            if index not in pixel_labels:  # where the defect lies is unknown
                self.weights[row] = 0
                continue
            truth = F.interpolate(
                pixel_labels[index].flip(axes)[:, None],
                size=size,
                mode="bilinear",
                align_corners=_as_published(images, index),
            )
            self.masks[row], self.weights[row] = truth[0] >= 0.5, truth[1]

    def __len__(self) -> int:
        return len(self.labels)

    def order(self, seed: int, epoch: int) -> Tensor:
        """The views of that epoch, shuffled: all, or every defective one and as many others.

        Sound images take turns, so that over the epochs all occur equally often (the public code
        draws those that occurred least). A function of seed and epoch alone.
        """
        generator = machine.generator("cpu", seed, epoch)
        if not self.labels.any():
            return torch.randperm(len(self), generator=generator)
        sound, defective = ((self.labels == value).nonzero()[:, 0] for value in (0, 1))
        positions = torch.arange((epoch - 1) * len(defective), epoch * len(defective))
        turns = []
        for turn in (positions // len(sound)).unique().tolist():
            places = positions[positions // len(sound) == turn] % len(sound)
            shuffled = torch.randperm(
                len(sound), generator=machine.generator("cpu", seed, machine.TURNS_STREAM, turn)
            )
            turns.append(sound[shuffled[places]])
        views = torch.cat((defective, *turns))
        return views[torch.randperm(len(views), generator=generator)]

    def stages(self, indices: Tensor, device: torch.device) -> list[Tensor]:
        """The stage outputs of those views, (B, C_l, h_l, w_l), channels last."""
        # From the host they come through pinned memory: the device need not wait for them.
        where = indices if self.layers[0].is_cpu else machine.move(indices, device)
        return [
            machine.move(layer[where], device).to(memory_format=torch.channels_last)
            for layer in self.layers
        ]

    def batch(
        self, indices: Tensor, noise: NoiseConfig, generator: torch.Generator, device: torch.device
    ) -> Batch:
        """Those views, with the places of their synthetic anomalies.

        Args:
            generator: of the host. How many pixels get noise is then known without asking the
                device, which would have to finish all that it was given first.
        """
        placed = place(self.masks[indices], self.labels[indices], noise, generator)
        weights = None if self.weights is None else self.weights[indices].repeat(2, 1, 1, 1)
        return Batch(
            self.stages(indices, device),
            *(machine.move(part, device) for part in placed),
            None if weights is None else machine.move(weights, device),
        )


def _as_published(images: ImageSet, index: int) -> bool:
    """Whether a mask is dilated at its file's own size and resized with aligned corners, as in the
    public code. Not one that is in memory alone."""
    return images.resize == "plain" and images.samples[index].mask.is_file()


def _pixel_labels(
    images: ImageSet, index: int, supervision: SupervisionConfig
) -> tuple[Tensor, Tensor]:
    """Mask, widened, and pixel weights of a defective image, (H, W) float."""
    sample = images.samples[index]
    whole = _as_published(images, index)
    if whole:
        mask = read_whole_mask(sample.mask, sample.image)
    else:
        mask = images.masks[index, 0].numpy().astype(bool)
    if not mask.any():
        raise InputError(f"mask {sample.mask} marks nothing, and its image counts as defective")
    if supervision.dilation > 1:
        mask = ndimage.grey_dilation(mask, size=(supervision.dilation, supervision.dilation))
    weights = torch.ones(mask.shape)
    if supervision.weight and not mask.all():  # else no pixel has a distance to the background
        depth = ndimage.distance_transform_edt(mask)
        regions, count = ndimage.label(mask, structure=np.ones((3, 3)))
        peaks = np.ones(count + 1)
        peaks[1:] = ndimage.maximum(depth, regions, range(1, count + 1))
        inside = supervision.weight * (depth / peaks[regions]) ** supervision.exponent
        weights = torch.from_numpy(np.where(mask, inside, 1)).float()
    both = torch.stack((torch.from_numpy(mask).float(), weights))
    if whole:
        both = F.interpolate(both[None], images.image_size, mode="nearest")[0]
    return both[0], both[1]
