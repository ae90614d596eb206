"""What the records show of Modifications 3 and 4."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ssn_lib.data.registry import images_title
from ssn_lib.data.samples import number_of_masks
from ssn_lib.study.claims.evidence import Evidence, MissingError, margin, mean
from ssn_lib.study.claims.supervision import LABELS, SOUND
from ssn_lib.study.published import published_figures, published_log
from ssn_lib.study.readings.reading import FAR, Rule, pair
from ssn_lib.study.tables.supervision import KSDD2, MASKS, PUBLISHED_MASKS

HEADS = ("cam_traced", "cam_refined", "weak_ssn_relative", "weak_ssn")  # taught without a mask


def whose_images(category: str) -> list[str]:
    """A sentence that says so where the strips are not those that the slides are of."""
    if category == KSDD2:
        return []
    return [
        f"The strips here are those of {images_title(category)}, not of KSDD2, and the network is "
        "a ResNet18: the slides' figures stand beside these and are not compared with them."
    ]


def _labels_detect(evidence: Evidence) -> str:
    slides = published_figures()["slides"]["weak_ksdd2_gap_cam"]
    found = {metric: evidence.mean("gap_cam", metric) for metric in ("I-AUROC", "AP-det")}
    told = ", ".join(f"{metric} {value:.1f}" for metric, value in found.items())
    said = ", ".join(f"{slides[metric]:.1f}" for metric in found)
    return f"GAP + CAM detects from labels alone with {told} (slides, KSDD2: {said})."


def _peak_or_score(evidence: Evidence) -> str:
    """The map's maximum beside the image score."""
    evidence.mean("gap_cam", "I-AUROC")
    peaks = evidence.values("gap_cam", "seg-I-AUROC")
    found = pair(evidence, "I-AUROC", peaks, "gap_cam", regime=LABELS)
    return (
        f"The maximum of its map has an I-AUROC of {found.told[0]}, {found.step} its image score "
        f"with {found.told[1]}."
    )


def _against_sound(evidence: Evidence) -> str:
    """Labels against sound images alone, equally long. SimpleNet's score is its map's maximum, and
    so is that of the published deviation."""
    even = evidence.alike("gap_cam", "simplenet")
    values = [even.values(name, "AP-det") for name in ("gap_cam", "simplenet")]
    found = pair(even, "seg-AP-det", *values, regime=SOUND)
    return (
        f"Its AP-det of {found.told[0]} is {found.step} that of SimpleNet, which sees sound images "
        f"alone, with {found.told[1]}."
    )


def _ties(evidence: Evidence) -> str:
    """What the published sigmoid does to the same maps."""
    evidence.mean("gap_cam", "sigmoid-AP-loc")
    tied = evidence.values("gap_cam", "sigmoid-AP-loc")
    found = pair(evidence, "AP-loc", tied, "gap_cam", regime=LABELS)
    end = "here few pixels saturate"
    if found.is_below:
        end = "the pixels that it ties cost that much"
    return (
        f"Behind the published sigmoid its map has an AP-loc of {found.told[0]}, {found.step} the "
        f"raw one with {found.told[1]}: {end}."
    )


def _decay(evidence: Evidence) -> str:
    """No measurement: the author's log, at one resolution of the map."""
    log = published_log("gap_cam", KSDD2)["AP-loc"]
    end = "it stayed, as the resolution did"
    if log.max() - log.iloc[-1] > FAR:
        end = "the resolution stayed, so it cannot explain the fall"
    return (
        f"In the author's log the AP-loc of GAP + CAM goes from {log.max():.1f} to "
        f"{log.iloc[-1]:.1f}: {end}."
    )


def _better_map(evidence: Evidence) -> str:
    """The best map that no mask taught, against GAP + CAM's as published, equally long."""
    name = _best_head(evidence)
    even = evidence.alike("gap_cam", name)
    blobs = even.values("gap_cam", "sigmoid-AP-loc")
    found = pair(even, "AP-loc", name, blobs, regime=LABELS)
    return (
        f"The best map of a segmentation head without any mask, `{name}`, has an AP-loc of "
        f"{found.told[0]}: {found.step} GAP + CAM as published with {found.told[1]}, trained as "
        "long."
    )


def _all_masks(evidence: Evidence) -> str:
    """The same against all masks."""
    name = _best_head(evidence)
    even = evidence.alike(name, "full_ssn")
    found = pair(even, "AP-loc", name, "full_ssn", regime=LABELS)
    return (
        f"Without a mask `{name}` has an AP-loc of {found.told[0]}, {found.step} SSN taught by all "
        f"masks with {found.told[1]}."
    )


def _curve(evidence: Evidence) -> str:
    """AP-loc by the number of masks."""
    points = _by_masks(evidence, "AP-loc")
    values = [value for _, value in points]
    steps = [after - before for before, after in pairwise(values)]
    if values[-1] - values[0] <= margin("AP-loc", 1, 1, LABELS):
        course = "it does not rise by more than seeds explain"
    elif all(step > 0 for step in steps):
        course = "it rises with every step"
    else:
        course = "it rises, though not with every step"
    told = ", ".join(f"{value:.1f} with {masks}" for masks, value in points)
    return f"AP-loc by the number of masks (none: GAP + CAM): {told}; {course}."


def _detection(evidence: Evidence) -> str:
    """AP-det by the number of masks."""
    values = [value for _, value in _by_masks(evidence, "AP-det")]
    if max(values) - min(values) <= margin("AP-det", 1, 1, LABELS):
        course = "no more than seeds explain"
    elif all(after >= before for before, after in pairwise(values)):
        course = "and rises with every step"
    else:
        course = "without following their number"
    return (
        f"AP-det moves between {min(values):.1f} and {max(values):.1f} over the same numbers of "
        f"masks, {course}."
    )


def _tenth(evidence: Evidence) -> str:
    """The slides' remedy, 10 % of the masks, against none."""
    even = evidence.alike("gap_cam", "mixed_ssn")
    found = pair(even, "AP-loc", "mixed_ssn", "gap_cam", regime=LABELS)
    return (
        f"With 10 % of the masks, the slides' outlook, SSN has an AP-loc of {found.told[0]}, "
        f"{found.step} GAP + CAM's raw map with {found.told[1]}."
    )


def _tenth_or_none(evidence: Evidence) -> str:
    """The same remedy against the best head that saw no mask."""
    name = _best_head(evidence)
    even = evidence.alike(name, "mixed_ssn")
    found = pair(even, "AP-loc", "mixed_ssn", name, regime=LABELS)
    end = "so the blob needs no mask to be cured"
    if found.is_above:
        end = "so these masks gain what the images alone do not"
    return (
        f"The same {found.told[0]} is {found.step} `{name}`, which no mask taught, with "
        f"{found.told[1]}: {end}."
    )


def _published_curve(evidence: Evidence) -> str:
    """No measurement: what JIMS 2025 publishes of KSDD2."""
    jims = published_figures()["supersimplenet_jims2025"][KSDD2]
    told = ", ".join(
        f"{jims[name]['AP-loc']['mean']:.1f} with {masks}"
        for masks, name in PUBLISHED_MASKS.items()
    )
    return f"Published of KSDD2 (JIMS 2025, WideResNet50-2), AP-loc by the number of masks: {told}."


def _best_head(evidence: Evidence) -> str:
    """The segmentation head without a mask whose raw map has the highest AP-loc."""
    known = {name: evidence.values(name, "AP-loc") for name in HEADS}
    found = {name: mean(values) for name, values in known.items() if values}
    if not found:
        raise MissingError("a segmentation head that no mask taught")
    evidence.used.clear()  # a sentence rests on the one that is chosen, not on the others
    return max(found, key=found.__getitem__)


def _by_masks(evidence: Evidence, metric: str) -> list[tuple[str, float]]:
    """A metric of SSN by how many defective training images had a mask, GAP + CAM for none; of
    trainings that are equally long.

    Raises:
        MissingError: fewer than three numbers of masks were run.
    """
    changed = {o.changes for o in evidence.real if o.preset == "mixed_ssn" and _of_masks(o.changes)}
    wanted = [
        ("gap_cam", ()),
        ("full_ssn", ()),
        *(("mixed_ssn", c) for c in ((), *sorted(changed))),
    ]
    ran = [one for one in wanted if evidence.ran(one[0], changed=one[1])]
    if len(ran) < 3:
        raise MissingError("runs with several numbers of masks")
    even = evidence.alike(*ran)
    points = []
    for name, changes in ran:
        record = even.records(name, changed=changes)[0]
        total = record.counts["train_defective"]
        masks = number_of_masks(record.config.training.supervision.masks, total)
        points.append((masks, mean(even.values(name, metric, changes))))
    return [
        (f"all {total}" if masks == total else f"{masks}", value) for masks, value in sorted(points)
    ]


def _of_masks(changes: Sequence[str]) -> bool:
    """Whether the number of masks alone was changed."""
    return len(changes) == 1 and changes[0].startswith(MASKS)


WEAK: tuple[Rule, ...] = (
    _labels_detect,
    _peak_or_score,
    _against_sound,
    _decay,
    _ties,
    _better_map,
    _all_masks,
)
MIXED: tuple[Rule, ...] = (
    _curve,
    _detection,
    _tenth,
    _tenth_or_none,
    _all_masks,
    _published_curve,
)
