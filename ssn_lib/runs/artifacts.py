"""The tables that a run writes beside its record: scores, curves, small maps, noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ssn_lib import machine
from ssn_lib.config import RunConfig
from ssn_lib.data.appearance import APPEARANCE, appearance
from ssn_lib.data.images import Dataset, ImageSet, normalise
from ssn_lib.fast.folded import fuse
from ssn_lib.inference import evaluate, predict
from ssn_lib.metrics import Metrics, pixel_metrics, pr_curve
from ssn_lib.models.supersimplenet import AdaptedDetector, Detector, Prediction
from ssn_lib.noise.source import Source
from ssn_lib.noise.sources import noise_over_images
from ssn_lib.storage import write_text
from ssn_lib.training.history import History


def sigmoid_metrics(maps: Tensor, masks: Tensor) -> Metrics:
    """Localisation as published: of the float32 sigmoid of raw activations.

    From about 17 on a float32 sigmoid is exactly 1, so the strongest pixels, the defect's among
    them, tie. `saturated` is their share in percent.

    Args:
        maps: final maps (N, 1, H, W), raw. masks: (N, 1, H, W) 0/1.

    Returns:
        {"sigmoid-P-AUROC", "sigmoid-AUPRO", "sigmoid-AP-loc", "saturated"}.
    """
    squashed = torch.sigmoid(maps.float())
    result = Metrics({})
    result.add(pixel_metrics(squashed.numpy(), masks.numpy()), "sigmoid-")
    result["saturated"] = 100 * (squashed == 1).float().mean().item()
    return result


def over_flips(maps_of: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The mean of the maps of an image, its mirror images and itself turned round, turned back.

    Args:
        maps_of: images (N, 3, H, W) to maps (N, 1, H, W).
    """
    total = None
    for axes in ((), (-1,), (-2,), (-2, -1)):
        part = maps_of(images.flip(axes)).flip(axes)
        total = part if total is None else total + part
    return total / 4


COURSE_EPOCHS = 20  # between two rows of the course of test metrics, or a multiple of it
COURSE_IMAGES = 10  # trained on between two rows, at least, for each image that is tested
NOISE_IMAGES = 8
PR_POINTS = 400
MAP_IMAGES = 3  # test images whose maps are kept: the first defective ones
MAP_CELL = 4  # side of the squares of pixels that a kept map has one value for


def add_to_course(path: Path, model: Detector, test: ImageSet, history: History) -> None:
    """Every 20 epochs a row of test metrics: how far the last epoch's figures are one draw of many.

    Where there are few training images it is every 40, 60, …, so that testing does not take longer
    than training. Rows of epochs that a resumed training goes through again are replaced.

    Args:
        path: of the table, `course.csv`.
        model: as it is after the last epoch of `history`.
        test: the test images; without any nothing is written.
        history: the training so far.
    """
    done = history.epochs[-1].epoch
    apart = COURSE_IMAGES * len(test) / history.per_epoch  # epochs
    if not len(test) or done % (COURSE_EPOCHS * max(1, math.ceil(apart / COURSE_EPOCHS))):
        return
    prediction = predict(model, test)
    if not all(part.isfinite().all() for part in prediction):
        return
    row = pd.DataFrame([{"epoch": done} | evaluate(prediction, test)])
    if path.exists():
        before = pd.read_csv(path)
        row = pd.concat((before[before["epoch"] < done], row))
    write_text(path, row.to_csv(index=False))


def score_table(prediction: Prediction, images: ImageSet, root: Path) -> pd.DataFrame:
    """Both image scores of every image.

    Args:
        prediction: of these images.
        images: their labels stand beside the scores.
        root: the images' names are relative to it.
    """
    return pd.DataFrame(
        {
            "image": images.names(root),
            "label": images.labels,
            "defect": [sample.defect for sample in images.samples],
            "score": prediction.score,
            "map_max": prediction.anomaly_map.amax((1, 2, 3)),
        }
    )


def reference_table(prediction: Prediction, images: ImageSet, root: Path) -> pd.DataFrame:
    """Score and appearance of the defect-free images that the thresholds were chosen from: what
    images of later days are compared with, see `deploy.limits`.

    Args:
        prediction: of these images.
        images: those given to `inference.thresholds`; only the defect-free ones count.
        root: the images' names are relative to it.
    """
    good = images.labels == 0
    # In 64 bits: as the thresholds, which one of them may equal, are written.
    scores = prediction.score.double().numpy()
    table = pd.DataFrame({"image": images.names(root), "score": scores})
    looks = pd.DataFrame(appearance(images.images.numpy()), columns=APPEARANCE).round(4)
    return pd.concat((table, looks), axis=1)[good.numpy()]


def highest_on_defect(prediction: Prediction, images: ImageSet) -> list[bool | None]:
    """Whether the map's maximum lies on the defect (the pointing game, Zhang et al., IJCV 126,
    2018); None where there is no mask."""
    highest = prediction.anomaly_map.flatten(1).argmax(1)
    hits = images.masks.flatten(1).gather(1, highest[:, None])[:, 0].tolist()
    return [
        bool(hit) if sample.label and sample.mask is not None else None
        for hit, sample in zip(hits, images.samples, strict=True)
    ]


def flips_metrics(model: Detector, test: ImageSet) -> Metrics:
    """Localisation with the mean map over mirrored images."""
    network = fuse(model)
    maps = over_flips(lambda images: predict(network, images).anomaly_map, test.images)
    return pixel_metrics(maps.numpy(), test.masks.numpy())


def pixel_curve_table(config: RunConfig, prediction: Prediction, test: ImageSet) -> pd.DataFrame:
    """Precision against recall of the test pixels, some points: of the raw map, and of its sigmoid
    as published where the map is a class activation map.

    Args:
        config: says whether it is one.
        prediction: of the test images.
        test: their masks are compared with it.
    """
    maps = {"raw": prediction.anomaly_map}
    if config.model.score == "cam":
        maps["sigmoid"] = torch.sigmoid(prediction.anomaly_map)
    parts = []
    for name, values in maps.items():
        precision, recall, _ = pr_curve(values.numpy(), test.masks.numpy())
        some = np.unique(np.linspace(0, len(recall) - 1, PR_POINTS).round().astype(int))
        part = pd.DataFrame({"recall": recall[some], "precision": precision[some]}).round(5)
        parts.append(part.assign(map=name))
    return pd.concat(parts)


def small_map_table(prediction: Prediction, test: ImageSet) -> str:
    """The maps of the first defective test images at the features' resolution, as CSV: a line for
    each row of a map, with the image's place in the test set."""
    parts = []
    for index in test.labels.nonzero()[:MAP_IMAGES, 0].tolist():
        small = F.avg_pool2d(prediction.anomaly_map[index], MAP_CELL)[0]
        parts.append(pd.DataFrame(small.numpy()).assign(image=index))
    return pd.concat(parts).to_csv(index=False, float_format="%.4g") if parts else "image\n"


def read_maps(table: pd.DataFrame, image_size: tuple[int, int]) -> dict[int, NDArray]:
    """The maps in a run's `maps.csv`, (H, W) each, by the image's place in the test set."""
    maps = {}
    for index, rows in table.groupby("image"):
        small = torch.from_numpy(rows.drop(columns="image").to_numpy(np.float32))
        large = F.interpolate(small[None, None], image_size, mode="bilinear", align_corners=False)
        maps[int(index)] = large[0, 0].numpy()
    return maps


def noise_table(
    model: AdaptedDetector, source: Source, dataset: Dataset, seed: int
) -> pd.DataFrame:
    """Of every channel: root mean square and mean of the noise, and the spread of the feature that
    it is added to, over a few training images.

    Args:
        model, source: as trained.
        dataset: whose training images are taken.
        seed: of the noise.
    """
    device = next(model.parameters()).device
    images = normalise(dataset.train.images[:NOISE_IMAGES].to(device))
    parts = noise_over_images(
        source, model, images, machine.generator(device, seed, machine.NOISE_TABLE_STREAM)
    )
    noise, features = (part.flatten(0, 2) for part in parts)
    return pd.DataFrame(
        {
            "channel": range(noise.shape[1]),
            "noise_rms": noise.square().mean(0).sqrt(),
            "noise_mean": noise.mean(0),
            "feature_std": features.std(0),
        }
    )
