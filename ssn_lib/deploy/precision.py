"""What fewer bits cost: the same run's network in another precision, on its own images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from ssn_lib.config import RunConfig
from ssn_lib.data.images import Dataset
from ssn_lib.data.imitated import beside_defects
from ssn_lib.inference import evaluate, predict, thresholds
from ssn_lib.metrics import Thresholds
from ssn_lib.training.holdout import reference_images

JUDGED = ("I-AUROC", "AUPRO", "AP-loc")
TOLERANCE = 0.3  # points of a metric that may be lost


@dataclass(frozen=True)
class PrecisionCost:
    """What a network in another precision does differently.

    Attributes:
        measured_on: the images, in words.
        images: how many.
        step: points of I-AUROC that it changes by if one good and one defective image swap places.
        before: `JUDGED` metrics in float32, in percent; None where undefined.
        changes: of these, in points; what was lost is negative.
        flipped: share of decisions that change, each by its own threshold.
        largest_score_change: in logits.
        largest_map_change: relative to the largest value of the map in float32.
        thresholds: chosen anew, from the scores and maps in that precision.
        good_scores: of the images that they are chosen from, in that precision.
    """

    measured_on: str
    images: int
    step: float
    before: dict[str, float | None]
    changes: dict[str, float | None]
    flipped: float
    largest_score_change: float
    largest_map_change: float
    thresholds: Thresholds
    good_scores: tuple[float, ...]

    def beyond(self, tolerance: float) -> dict[str, float]:
        """The metrics that lose more than that many points, and what they lose."""
        lost = {name: -change for name, change in self.changes.items() if change is not None}
        return {name: points for name, points in lost.items() if points > tolerance}

    def summary(self) -> str:
        """All of it as a line."""
        changes = ", ".join(
            f"{name} {change:+.2f}" for name, change in self.changes.items() if change is not None
        )
        return (
            f"compared with float32 on {self.images} {self.measured_on}: {changes} points; "
            f"{round(self.flipped * self.images)} of {self.images} decisions change; scores change "
            f"by up to {self.largest_score_change:.2g}"
        )

    def refused(self, tolerance: float) -> str | None:
        """Why it costs more than it may, as a clause; None where it does not."""
        beyond = self.beyond(tolerance)
        if not beyond:
            return None
        lost = ", ".join(f"{name} loses {points:.2f}" for name, points in beyond.items())
        reason = f"{lost} points on {self.images} {self.measured_on}, {tolerance:g} are allowed"
        if "I-AUROC" in beyond and self.step > tolerance:
            reason += f" (of so few, two that swap places count {self.step:.2f})"
        return reason


def cost_of(
    network: nn.Module, reference: nn.Module, config: RunConfig, dataset: Dataset
) -> PrecisionCost:
    """Compare a network with the same one in float32.

    Where the data set has test images of both kinds, on these; else on the images that the
    thresholds come from, beside the same with defects drawn into them (`data.imitated`).

    Args:
        network: in the other precision; normalised images to a `Prediction`.
        reference: in float32.
        config: of the run.
        dataset: that it was made on.
    """
    good = reference_images(dataset.train, config.training, config.seed)
    labels = dataset.test.labels
    if len(labels) and 0 < int(labels.sum()) < len(labels):
        judged, what = dataset.test, "test images"
    else:
        judged, what = beside_defects(good, config.seed), "good images and imitated defects"
    limits, predictions, metrics = [], [], []
    for model in (reference, network):
        of_good = predict(model, good)
        limits.append(thresholds(of_good, good))
        predictions.append(predict(model, judged))
        metrics.append(evaluate(predictions[-1], judged))
    before, after = ({name: _defined(part[name]) for name in JUDGED} for part in metrics)
    decisions = [p.score > limit.score for p, limit in zip(predictions, limits, strict=True)]
    (map_before, score_before), (map_after, score_after) = predictions
    defective = int(judged.labels.sum())
    return PrecisionCost(
        measured_on=what,
        images=len(judged),
        step=100 / (defective * (len(judged) - defective)),
        before=before,
        changes={
            name: None if before[name] is None else after[name] - before[name] for name in JUDGED
        },
        flipped=torch.ne(*decisions).double().mean().item(),
        largest_score_change=(score_after - score_before).abs().max().item(),
        largest_map_change=((map_after - map_before).abs().max() / map_before.abs().max()).item(),
        thresholds=limits[1],
        good_scores=tuple(of_good.score.tolist()),
    )


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
