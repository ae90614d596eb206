"""Predictions over image sets, their metrics, and thresholds chosen without test labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.fast.folded import FusedNet, fuse
from ssn_lib.metrics import (
    IMAGE_QUANTILE,
    PIXEL_QUANTILE,
    Metrics,
    Thresholds,
    image_metrics,
    pixel_metrics,
)
from ssn_lib.models.supersimplenet import Detector, Prediction

EVALUATION_BATCH = 16


def predict(model: Detector | FusedNet, images: ImageSet | Tensor) -> Prediction:
    """Predict every image of a set.

    Args:
        model: one that is not folded yet (`fuse`) is folded first; for many calls, fold it once.
        images: a set, or its pixels alone, (N, 3, H, W) uint8 RGB.

    Returns:
        anomaly_map (N, 1, H, W) and score (N,), raw logits, on the CPU.
    """
    pixels = images.images if isinstance(images, ImageSet) else images
    if not len(pixels):
        return Prediction(torch.zeros(0, 1, *pixels.shape[-2:]), torch.zeros(0))
    device = next(model.parameters()).device
    network = model if isinstance(model, FusedNet) else fuse(model.eval())
    parts = []
    with torch.inference_mode():
        for batch in pixels.split(EVALUATION_BATCH):
            parts.append([part.cpu() for part in network(normalise(batch.to(device)))])
    return Prediction(*(torch.cat(part) for part in zip(*parts, strict=True)))


def evaluate(prediction: Prediction, images: ImageSet) -> Metrics:
    """The study's seven metrics of a test set.

    Args:
        prediction: of these images, as `predict` gives it.
        images: their labels and masks are compared with it.

    Returns:
        In percent, by name; NaN, with the reason in `.undefined`, where undefined. The `seg-` ones
        take the maximum of the map as the image's score.
    """
    labels = images.labels.numpy()
    maps = prediction.anomaly_map.numpy()
    result = image_metrics(prediction.score.numpy(), labels)
    if images.has_masks:
        result.add(pixel_metrics(maps, images.masks.numpy()))
    else:
        for name in ("P-AUROC", "AUPRO", "AP-loc"):
            result[name] = float("nan")
            result.undefined[name] = "defective test images without masks"
    result.add(image_metrics(maps.max(axis=(1, 2, 3)), labels), "seg-")
    if not len(images):
        result.undefined = dict.fromkeys(result, "no test images")
    return result


def thresholds(prediction: Prediction, train: ImageSet) -> Thresholds:
    """Thresholds on score and map, chosen without test labels.

    Args:
        prediction: of these images, as `predict` gives it.
        train: training images; only the defect-free ones count.
    """
    good = (train.labels == 0).numpy()
    scores, maps = prediction.score.numpy()[good], prediction.anomaly_map.numpy()[good]
    return Thresholds(
        float(np.quantile(scores, IMAGE_QUANTILE)), float(np.quantile(maps, PIXEL_QUANTILE))
    )
