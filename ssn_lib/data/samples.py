"""The images of a data set as files, each with its mask and label. Nothing is opened here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One image on disk.

    Attributes:
        label: 0 good, 1 defective.
        defect: its kind; "good" for none.
        mask: the mask's file; None without a defect, or where none was drawn. In a set whose pixels
            are given (`ImageSet.of`) it only marks that `ImageSet.masks` holds one.
    """

    image: Path
    label: int
    defect: str
    mask: Path | None = None


def files_of(samples: Iterable[Sample]) -> list[Path]:
    """The images of samples and their masks."""
    return [path for s in samples for path in (s.image, s.mask) if path is not None]


def number_of_masks(masks: int | float | None, defective: int) -> int:
    """Of so many defective images, how many have their mask used: a number, a share (rounded, at
    least one), or None for all."""
    if masks is None:
        return defective
    return masks if isinstance(masks, int) else max(1, round(masks * defective))
