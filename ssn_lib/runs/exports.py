"""What an export in another precision cost in accuracy, as types, and where it is kept. No
PyTorch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssn_lib.errors import InputError
from ssn_lib.metrics import Thresholds
from ssn_lib.storage import shown, write_text

JUDGED = ("I-AUROC", "AUPRO", "AP-loc")
TOLERANCE = 0.3  # points that each of them may lose, unless another limit is asked for
NAME = "export-{}.json"  # of the file in the run's folder, by precision


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
            f"{name} {change:+z.2f}" for name, change in self.changes.items() if change is not None
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

    def facts(self) -> dict[str, Any]:
        """As an exported file and a record hold it: without the scores."""
        content = asdict(self)
        del content["good_scores"]
        return content


@dataclass(frozen=True)
class Export:
    """One run in one precision.

    Attributes:
        run_id, preset, dataset, category, image_size, epochs: of the run.
        precision: one of `config.PRECISIONS`.
        cost: `PrecisionCost.facts`.
        processor: that computed it.
    """

    run_id: str
    preset: str
    dataset: str
    category: str
    image_size: tuple[int, int]
    epochs: int
    precision: str
    cost: dict[str, Any]
    processor: str

    @property
    def file(self) -> str:
        """What it is called among those of other runs."""
        return f"{self.run_id}-{self.precision}.json"

    def keep(self, folder: Path) -> None:
        """Write it to the run's folder.

        Args:
            folder: of the run.

        Raises:
            InputError: it cannot be written.
        """
        write_text(folder / NAME.format(self.precision), json.dumps(asdict(self), indent=1))


def read_export(path: Path) -> Export:
    """What `Export.keep` wrote.

    Args:
        path: of the file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Export(**content | {"image_size": tuple(content["image_size"])})
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{shown(path)}: not what an export wrote; export again") from None
