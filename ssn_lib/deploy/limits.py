"""What a threshold is worth, and whether new scores are like those that it was chosen from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reference:
    """Scores of the defect-free images that a run's threshold was chosen from (raw logits).

    Attributes:
        seen: whether the network trained on them.
    """

    scores: NDArray[np.float64]
    seen: bool
    looks: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Drift:
    """Whether new scores lie elsewhere. message: None where there is nothing to warn of."""

    message: str | None
    p_value: float | None


@dataclass(frozen=True)
class ChosenThreshold:
    """The JSON that the page saves."""

    run: str
    score: float
    images: int
    chosen: str


def reference_of(run: Path) -> Reference | None:
    """Stub."""
    return None


def worth(reference: Reference | None, chosen: ChosenThreshold | None = None) -> str:
    """Stub."""
    return "The threshold's scores were not kept."


def drift(reference: Reference, scores: NDArray, looks: NDArray | None = None) -> Drift:
    """Stub."""
    return Drift(None, None)


def read_threshold(path: Path, run_id: str) -> ChosenThreshold:
    """Stub."""
    content = json.loads(path.read_text())
    return ChosenThreshold(
        content["run"], content["score_threshold"], content["images"], content["chosen"]
    )
