"""Predictions over image sets, their metrics, and thresholds chosen without test labels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ssn_lib import machine
from ssn_lib.checks import check_image_size
from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.errors import InputError
from ssn_lib.fast.folded import fuse
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


def predict(model: nn.Module, images: ImageSet | Tensor) -> Prediction:
    """Predict every image of a set.

    Args:
        model: a detector is folded first (`fuse`), and left as it is, in training too; for many
            calls, fold it once. Or what else makes a `Prediction` of normalised images, as an
            exported file does.
        images: a set, or its pixels alone, (N, 3, H, W) uint8 RGB.

    Returns:
        anomaly_map (N, 1, H, W) and score (N,), raw logits, on the CPU.

    Raises:
        InputError: the pixels are not of that kind.
    """
    pixels = images.images if isinstance(images, ImageSet) else images
    _check_pixels(pixels)
    if not len(pixels):
        return Prediction(torch.zeros(0, 1, *pixels.shape[-2:]), torch.zeros(0))
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    if device.type == "cuda":
        machine.exact_float32()  # whoever moved the model there
    network = fuse(model) if isinstance(model, Detector) else model
    parts = []
    with torch.inference_mode():
        for batch in pixels.split(EVALUATION_BATCH):
            parts.append([part.cpu() for part in network(normalise(batch.to(device)))])
    return Prediction(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _check_pixels(pixels: object) -> None:
    """Raise for what is no batch of images: numbers of another kind would give another map."""
    found = type(pixels).__name__
    if isinstance(pixels, Tensor):
        found = f"{str(pixels.dtype).removeprefix('torch.')} {tuple(pixels.shape)}"
        if pixels.dtype == torch.uint8 and pixels.dim() == 4 and pixels.shape[1] == 3:
            check_image_size(tuple(pixels.shape[-2:]))
            return
    raise InputError(
        f"images: {found}; must be an ImageSet, or a tensor (N, 3, H, W) of uint8 RGB, 0 to 255"
    )


def evaluate(prediction: Prediction, images: ImageSet) -> Metrics:
    """I-AUROC, AP-det, P-AUROC, AUPRO, AP-loc, seg-I-AUROC and seg-AP-det of a test set.

    Args:
        prediction: of these images, as `predict` gives it.
        images: their labels and masks are compared with it.

    Returns:
        In percent, by name; NaN, with the reason in `.undefined`, where undefined. The `seg-` ones
        take the maximum of the map as the image's score.

    Raises:
        InputError: the prediction is of other images.
    """
    _check_same(prediction, images)
    labels = images.labels.numpy()
    maps, scores = map(_array, prediction)
    result = image_metrics(scores, labels)
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


def _array(part: Tensor) -> np.ndarray:
    """A part of a prediction in NumPy, which has no bfloat16."""
    part = part.detach().cpu()
    return (part.float() if part.dtype == torch.bfloat16 else part).numpy()


def _check_same(prediction: Prediction, images: ImageSet) -> None:
    if not isinstance(images, ImageSet):
        raise InputError(
            f"images: {type(images).__name__}; must be an ImageSet, as `.train` and `.test` of a "
            "data set are"
        )
    if not isinstance(prediction, Prediction) or prediction.anomaly_map.dim() != 4:
        kind = type(prediction).__name__
        if isinstance(prediction, Prediction):
            kind = f"a map {tuple(prediction.anomaly_map.shape)}"
        raise InputError(
            f"prediction: {kind}; must be a Prediction of a map (N, 1, H, W) and a score (N,)"
        )
    if len(prediction.score) != len(images):
        raise InputError(
            f"a prediction of {len(prediction.score)} images, and {len(images)} images: they must "
            "be the same"
        )


def thresholds(prediction: Prediction, train: ImageSet) -> Thresholds:
    """Thresholds on score and map, chosen without test labels: the 99 % quantile of the good
    images' scores, and the 99.9 % quantile of their maps' pixels.

    Args:
        prediction: of these images, as `predict` gives it.
        train: training images; only the defect-free ones count.

    Raises:
        InputError: there is none, or the prediction is of other images.
    """
    _check_same(prediction, train)
    good = (train.labels == 0).numpy()
    if not good.any():
        raise InputError(
            f"thresholds are chosen from good images, and none of the {len(train)} is one"
        )
    maps, scores = (_array(part)[good] for part in prediction)
    return Thresholds(
        float(np.quantile(scores, IMAGE_QUANTILE)), float(np.quantile(maps, PIXEL_QUANTILE))
    )
