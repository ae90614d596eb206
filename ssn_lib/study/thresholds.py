"""Thresholds of GAP + CAM's score: chosen on the test images, as published, and without them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ssn_lib.config import FOLDS
from ssn_lib.metrics import OperatingPoint, operating_point, youden
from ssn_lib.runs.record import Outcome


@dataclass(frozen=True)
class YoudenThreshold:
    """A threshold on the image score: how it was chosen, and what it does on the test images, by
    the scores of that run."""

    how: str
    point: OperatingPoint
    run_id: str

    @property
    def sigmoid(self) -> float:
        """The threshold on the sigmoid of the score, as the slides give theirs."""
        return 1 / (1 + math.exp(-self.point.threshold))


def chosen_thresholds(
    scores: Sequence[tuple[Outcome, pd.DataFrame]],
    held_out: Sequence[tuple[Outcome, pd.DataFrame]],
) -> list[YoudenThreshold]:
    """Youden's threshold on the test scores, as published, and on scores of training images by
    networks that have not seen them.

    Args:
        scores: of a run's test images, columns score and label; nothing is chosen without them.
        held_out: likewise of each fold's left-out training images; all folds, or it is not used.
    """
    if not scores:
        return []
    outcome, table = scores[0]
    test, run_id = (table["score"], table["label"]), outcome.record.run_id
    point = operating_point(*test, youden(*test))
    found = [YoudenThreshold("on the test scores, as published", point, run_id)]
    if len(held_out) == FOLDS:
        together = pd.concat([table for _, table in held_out])
        threshold = youden(together["score"], together["label"])
        point = operating_point(*test, threshold)
        found.append(YoudenThreshold("cross-validated on training images", point, run_id))
    return found
