"""What the records show of Modifications 3 and 4."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ssn_lib.data.registry import images_title
from ssn_lib.data.samples import number_of_masks
from ssn_lib.study.claims.evidence import Evidence, MissingError, margin, mean
from ssn_lib.study.claims.supervision import LABELS, SOUND
from ssn_lib.study.published import published_figures, published_log
from ssn_lib.study.readings.reading import FAR, Rule, against, is_above
from ssn_lib.study.tables.supervision import (
    KSDD2,
    MASKS,
    PUBLISHED_MASKS,
    best_map,
)

HEADS = ("cam_traced", "cam_refined", "weak_ssn_relative", "weak_ssn")  # taught without a mask


def whose_images(category: str) -> list[str]:
    """A sentence that says so where the strips are not those that the slides are of."""
    if category == KSDD2:
        return []
    return [
        f"The strips here are those of {images_title(category)}, not of KSDD2, and the network is a "
        "ResNet18: the slides' figures stand beside these, and are not compared with them."
    ]


def _labels_detect(evidence: Evidence) -> str:
    slides = published_figures()["slides"]["weak_ksdd2_gap_cam"]
    found = {metric: evidence.mean("gap_cam", metric) for metric in ("I-AUROC", "AP-det")}
    told = ", ".join(f"{metric} {value:.1f}" for metric, value in found.items())
    said = ", ".join(f"{slides[metric]:.1f}" for metric in found)
    return f"GAP + CAM detects from labels alone with {told} (slides, KSDD2: {said})."


def _score_or_peak(evidence: Evidence) -> str:
    score, peak = (evidence.mean("gap_cam", metric) for metric in ("I-AUROC", "seg-I-AUROC"))
    wide = evidence.margin("I-AUROC", "gap_cam", "gap_cam", regime=LABELS)
    return (
        f"The maximum of its map has an I-AUROC of {peak:.1f}, {against(peak, score, wide)} its "
        f"image score with {score:.1f}."
    )


def _against_sound(evidence: Evidence) -> str:
    """Labels against sound images alone, equally long."""
    even = evidence.alike("gap_cam", "simplenet")
    first, second = (even.mean(name, "AP-det") for name in ("gap_cam", "simplenet"))
    wide = even.margin("seg-AP-det", "gap_cam", "simplenet", regime=SOUND)
    return (
        f"Its AP-det is {against(first, second, wide)} that of SimpleNet, which sees sound images "
        f"alone: {first:.1f} against {second:.1f}."
    )


def _ties(evidence: Evidence) -> str:
    """What the published sigmoid does to the same maps."""
    raw, tied = (evidence.mean("gap_cam", metric) for metric in ("AP-loc", "sigmoid-AP-loc"))
    wide = evidence.margin("AP-loc", "gap_cam", "gap_cam", regime=LABELS)
    costs = is_above(raw, tied, wide)
    end = "the sigmoid costs what it ties" if costs else "here few pixels saturate"
    return f"Its map has an AP-loc of {raw:.1f} raw and {tied:.1f} behind the published sigmoid: {end}."


def _decay(evidence: Evidence) -> str:
    """No measurement: the author's log, at one resolution of the map."""
    log = published_log("gap_cam", KSDD2)["AP-loc"]
    first, last = log.max(), log.iloc[-1]
    end = (
        "resolution, which stayed, cannot explain the fall"
        if first - last > FAR
        else "it stayed, as the resolution did"
    )
    return (
        f"In the author's log the AP-loc of GAP + CAM goes from {first:.1f} to {last:.1f}: {end}."
    )


def _better_maps(evidence: Evidence) -> str:
    """The best map that no mask taught, against GAP + CAM's as published, equally long."""
    means = {}
    for name in HEADS:
        if evidence.ran(name):
            even = evidence.alike("gap_cam", name)
            best = best_map(even.outcomes, name, evidence.category)
            blob = even.mean("gap_cam", "sigmoid-AP-loc")
            even.records(name)
            means[name] = (
                best[0],
                best[1],
                blob,
                even.margin("AP-loc", name, "gap_cam", regime=LABELS),
            )
    if not means:
        raise MissingError("a segmentation head that no mask taught")
    name = max(means, key=lambda one: means[one][0])
    found, which, blob, wide = means[name]
    return (
        f"The best map without any mask, `{name}` ({which}), has an AP-loc of {found:.1f}: "
        f"{against(found, blob, wide)} GAP + CAM as published with {blob:.1f}, trained as long."
    )


def _against_masks(evidence: Evidence) -> str:
    """The same against all masks."""
    name = _best_head(evidence)
    even = evidence.alike(name, "full_ssn")
    first, second = (even.mean(one, "AP-loc") for one in (name, "full_ssn"))
    wide = even.margin("AP-loc", name, "full_ssn", regime=LABELS)
    return (
        f"Taught by all masks the network has {second:.1f}; `{name}`, without one, has {first:.1f}, "
        f"{against(first, second, wide)} it."
    )


def _curve(evidence: Evidence) -> str:
    """AP-loc by the number of masks."""
    points = _by_masks(evidence, "AP-loc")
    values = [value for _, value in points]
    wide = margin("AP-loc", 1, 1, LABELS)
    steps = [after - before for before, after in pairwise(values)]
    if values[-1] - values[0] <= wide:
        course = "it does not rise by more than seeds explain"
    elif all(step > 0 for step in steps):
        course = "it rises with every step"
    else:
        course = "it rises, though not with every step"
    told = ", ".join(f"{value:.1f} with {masks}" for masks, value in points)
    return f"AP-loc by the number of masks: {told}; {course}."


def _detection(evidence: Evidence) -> str:
    points = _by_masks(evidence, "AP-det")
    values = [value for _, value in points]
    wide = margin("AP-det", 1, 1, LABELS)
    moved = max(values) - min(values)
    rises = all(after >= before for before, after in pairwise(values))
    if moved <= wide:
        end = "no more than seeds explain"
    elif rises:
        end = "and it rises with them"
    else:
        end = "without following their number"
    return (
        f"AP-det moves between {min(values):.1f} and {max(values):.1f} over the same numbers of "
        f"masks, {end}."
    )


def _tenth(evidence: Evidence) -> str:
    """The slides' remedy, 10 % of the masks, against none."""
    even = evidence.alike("gap_cam", "mixed_ssn")
    before, after = (even.mean(name, "AP-loc") for name in ("gap_cam", "mixed_ssn"))
    wide = even.margin("AP-loc", "mixed_ssn", "gap_cam", regime=LABELS)
    return (
        f"With 10 % of the masks, the slides' outlook, AP-loc is {after:.1f}: "
        f"{against(after, before, wide)} GAP + CAM's raw map with {before:.1f}."
    )


def _tenth_or_none(evidence: Evidence) -> str:
    """The same remedy against the best head that saw no mask."""
    name = _best_head(evidence)
    even = evidence.alike(name, "mixed_ssn")
    none, tenth = (even.mean(one, "AP-loc") for one in (name, "mixed_ssn"))
    wide = even.margin("AP-loc", "mixed_ssn", name, regime=LABELS)
    step = against(tenth, none, wide)
    end = {"above": "the masks gain more than tracing does", "far above": "the masks gain more"}
    told = end.get(step, "a tenth of the masks gains no more than none, if the image says how wide")
    return f"That is {step} `{name}`, which no mask taught, with {none:.1f}: {told}."


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
    del evidence.used[:]  # those that only stood for choice are not what the sentence rests on
    return max(found, key=found.__getitem__)


def _by_masks(evidence: Evidence, metric: str) -> list[tuple[str, float]]:
    """A metric of SSN by how many defective training images had a mask, GAP + CAM for none; of
    trainings that are equally long.

    Raises:
        MissingError: fewer than three numbers of masks were run.
    """
    changes = {o.changes for o in evidence.real if o.preset == "mixed_ssn" and _of_masks(o.changes)}
    wanted = [("gap_cam", ()), ("mixed_ssn", ()), *(("mixed_ssn", one) for one in sorted(changes))]
    wanted.append(("full_ssn", ()))
    ran = [one for one in wanted if evidence.ran(one[0], changed=one[1])]
    if len(ran) < 3:
        raise MissingError("runs with several numbers of masks")
    even = evidence.alike(*ran)
    points = []
    for name, changed in ran:
        records = even.records(name, changed=changed)
        total = records[0].counts["train_defective"]
        masks = number_of_masks(records[0].config.training.supervision.masks, total)
        points.append((masks, mean(even.values(name, metric, changed))))
    points.sort()
    return [(f"{masks}" if masks < total else f"all {masks}", value) for masks, value in points]


def _of_masks(changes: Sequence[str]) -> bool:
    return len(changes) == 1 and changes[0].startswith(MASKS)


WEAK: tuple[Rule, ...] = (
    _labels_detect,
    _score_or_peak,
    _against_sound,
    _ties,
    _decay,
    _better_maps,
    _against_masks,
)
MIXED: tuple[Rule, ...] = (
    _curve,
    _detection,
    _tenth,
    _tenth_or_none,
    _against_masks,
    _published_curve,
)
