"""The systems of Modifications 3 and 4, by what they learn from, and the best of their maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from ssn_lib.data.samples import number_of_masks
from ssn_lib.overrides import assignment
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study.records import values
from ssn_lib.study.systems import MASKS, group

WEAK_PRESETS, MIXED_PRESETS, METHOD_PRESETS = map(group, ("weak", "mixed", "methods"))
LABELLED_PRESETS = tuple(n for n in WEAK_PRESETS if preset(n).training.supervision.labels)
LABEL_PRESETS = tuple(n for n in LABELLED_PRESETS if preset(n).training.supervision.masks == 0)
CAM_PRESETS = tuple(n for n in LABEL_PRESETS if preset(n).model.score == "cam")
TAUGHT_PRESETS = tuple(n for n in LABEL_PRESETS if preset(n).training.supervision.teacher)
MASKED = "full_ssn"  # what learns from all masks
PUBLISHED_MASKS = {  # KSDD2, masks: the published table's row
    0: "weak (0 masks)",
    16: "mixed (16 masks)",
    53: "mixed (53 masks)",
    126: "mixed (126 masks)",
    246: "full (246 masks)",
}


def masks_runs(
    outcomes: Sequence[Outcome], category: str, numbers: Sequence[float]
) -> list[tuple[str, tuple[str, ...], str]]:
    """Preset, changes to it, and masks in words of the curve's points, by rising number."""
    total = next(
        (
            o.record.counts["train_defective"]
            for o in outcomes
            if o.record is not None and o.category == category
        ),
        None,
    )
    of = f" of {total}" if total else ""
    points: list[tuple[float, str, tuple[str, ...], str]] = []
    for name in MIXED_PRESETS:
        share = preset(name).training.supervision.masks
        if share is None:
            points.append((math.inf, name, (), f"all{of}"))
        elif share == 0:
            points.append((-1, name, (), f"0{of}"))
        else:
            told = f"{100 * share:g} %"
            if total:
                told = f"{number_of_masks(share, total)}{of} ({told}, rounded)"
            points.append((share * (total or 0), name, (), told))
    for masks in numbers:
        count = number_of_masks(masks, total) if total else masks
        points.append((count, "mixed_ssn", (assignment(MASKS, masks),), f"{count:g}{of}"))
    return [point[1:] for point in sorted(points, key=lambda point: point[0])]


def of_masks(outcome: Outcome) -> bool:
    """Whether an outcome is a mixed training whose number of masks alone was changed."""
    changed = outcome.changes
    return outcome.preset == "mixed_ssn" and len(changed) == 1 and changed[0].startswith(MASKS)


def best_label_only(outcomes: Sequence[Outcome], category: str) -> tuple[str, float] | None:
    """The label-only map of the highest mean AP-loc, in words, and that AP-loc."""
    maps = [(name, best_map(outcomes, name, category)) for name in LABEL_PRESETS]
    found = [(best[0], f"{name}, {best[1]}") for name, best in maps if best]
    return None if not found else (max(found)[1], max(found)[0])


def best_map(outcomes: Sequence[Outcome], name: str, category: str) -> tuple[float, str] | None:
    """The mean AP-loc of a preset's raw map or of its mean over flips, the higher, and which."""
    found = [
        (fmean(known), how)
        for prefix, how in (("", "raw"), ("flips-", "over flips"))
        if (known := values(outcomes, name, category, f"{prefix}AP-loc"))
    ]
    return max(found, default=None)
