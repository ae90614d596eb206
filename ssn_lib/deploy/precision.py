"""What fewer bits cost: the same run's network in another precision, on its own images."""

from __future__ import annotations

import math

import torch
from torch import nn

from ssn_lib.config import Precision
from ssn_lib.data.images import ImageSet
from ssn_lib.data.imitated import beside_defects
from ssn_lib.errors import InputError
from ssn_lib.inference import evaluate, predict, thresholds
from ssn_lib.runs.exports import JUDGED, PrecisionCost


def scorer_id(run_id: str, precision: Precision) -> str:
    """Identifies scores that may be compared: the run's id and, unless float32, the precision."""
    return run_id if precision == "float32" else f"{run_id} in {precision}"


def cost_of(
    network: nn.Module, reference: nn.Module, good: ImageSet, test: ImageSet, seed: int
) -> PrecisionCost:
    """Compare a network with the same one in float32.

    Where the data set has test images of both kinds, on these; else on the images that the
    thresholds come from, beside the same with defects drawn into them (`data.imitated`).

    Args:
        network: in the other precision; normalised images to a `Prediction`.
        reference: in float32.
        good: the images that the run's thresholds come from.
        test: the data set's test images.
        seed: of the imitated defects.
    """
    labels = test.labels
    if len(labels) and 0 < int(labels.sum()) < len(labels):
        judged, what = test, "test images"
    else:
        judged, what = beside_defects(good, seed), "good images and imitated defects"
    limits, predictions, metrics = [], [], []
    for model in (reference, network):
        of_good = predict(model, good)
        limits.append(thresholds(of_good, good))
        predictions.append(predict(model, judged))
        metrics.append(evaluate(predictions[-1], judged))
    before, after = ({name: _defined(part[name]) for name in JUDGED} for part in metrics)
    decisions = [p.score > limit.score for p, limit in zip(predictions, limits, strict=True)]
    (map_before, score_before), (map_after, score_after) = predictions
    if not (map_after.isfinite().all() and score_after.isfinite().all()):
        raise InputError("in this precision the network's outputs are not finite; take another")
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
