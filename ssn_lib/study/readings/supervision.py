"""What the records show of Modifications 3 and 4."""

from __future__ import annotations

from itertools import pairwise

from ssn_lib.data.registry import images_title
from ssn_lib.data.samples import number_of_masks
from ssn_lib.presets import preset
from ssn_lib.study.claims.evidence import Evidence, MissingError, Runs
from ssn_lib.study.claims.supervision import LABELS, SOUND
from ssn_lib.study.profiles import STRIPS
from ssn_lib.study.published import peak, published_figures, published_log
from ssn_lib.study.readings.reading import FAR, Rule, Sentence, after, pair
from ssn_lib.study.records import is_whole
from ssn_lib.study.supervision import MASKED, PUBLISHED_MASKS, of_masks

HEADS = ("cam_traced", "cam_refined", "weak_ssn_relative", "weak_ssn")  # taught without a mask


def whose_images(category: str) -> list[str]:
    """A sentence that says so where the strips are not those that the slides are of."""
    if category == STRIPS:
        return []
    return [
        f"The strips here are those of {images_title(category)}, not of KSDD2, and the network is "
        "a ResNet18: the slides' figures stand beside these and are not compared with them."
    ]


def _labels_detect(evidence: Evidence) -> Sentence:
    slides = published_figures()["slides"]["weak_ksdd2_gap_cam"]
    runs = evidence.runs("gap_cam")
    metrics = ("I-AUROC", "AP-det")
    told = ", ".join(f"{metric} {runs.mean(metric):.1f}" for metric in metrics)
    said = ", ".join(f"{slides[metric]:.1f}" for metric in metrics)
    return Sentence(
        f"GAP + CAM detects from labels alone with {told} (slides, KSDD2: {said}).", (runs,)
    )


def _peak_or_score(evidence: Evidence) -> Sentence:
    """The map's maximum beside the image score."""
    runs = evidence.runs("gap_cam")
    found = pair("I-AUROC", runs.values("seg-I-AUROC"), runs, LABELS)
    return Sentence(
        f"The maximum of its map has an I-AUROC of {found.told[0]}, {found.step} its image score "
        f"with {found.told[1]}.",
        (runs,),
    )


def _against_sound(evidence: Evidence) -> Sentence:
    """Labels against sound images alone, equally long. SimpleNet's score is its map's maximum, and
    so is that of the published deviation."""
    both = evidence.alike("gap_cam", "simplenet")
    found = pair("seg-AP-det", *(runs.values("AP-det") for runs in both), SOUND)
    return Sentence(
        f"Equally long, {after(both[0])}, its AP-det of {found.told[0]} is {found.step} that of "
        f"SimpleNet, which sees sound images alone, with {found.told[1]}.",
        both,
    )


def _ties(evidence: Evidence) -> Sentence:
    """What the published sigmoid does to the same maps: no two trainings, so no seeds' margin."""
    runs = evidence.runs("gap_cam")
    tied, raw = runs.mean("sigmoid-AP-loc"), runs.mean("AP-loc")
    return Sentence(
        f"The published sigmoid makes {runs.mean('saturated'):.2f} % of its map's pixels exactly "
        f"1, so that they tie: the same maps have an AP-loc of {tied:.1f} behind it, {raw:.1f} "
        "without.",
        (runs,),
    )


def _decay(evidence: Evidence) -> Sentence:
    """No measurement: the author's log, at one resolution of the map."""
    log = published_log("gap_cam", STRIPS)
    (best, epochs), last = peak(log, "AP-loc"), log["AP-loc"].iloc[-1]
    end = "it stayed, as the resolution did"
    if best - last > FAR:
        end = "the resolution stayed, so it cannot explain the fall"
    return Sentence(
        f"In the author's log the AP-loc of GAP + CAM goes from {best:.1f} after {epochs} epochs "
        f"to {last:.1f}: {end}."
    )


def _better_map(evidence: Evidence) -> Sentence:
    """The best map that no mask taught, against GAP + CAM's as published, equally long."""
    name = _best_head(evidence)
    blob, head = evidence.alike("gap_cam", name)
    blob.mean("sigmoid-AP-loc")  # which says so where there is none
    found = pair("AP-loc", head, blob.values("sigmoid-AP-loc"), LABELS)
    return Sentence(
        f"The best map of a segmentation head without any mask, `{name}`, has an AP-loc of "
        f"{found.told[0]}: {found.step} GAP + CAM as published with {found.told[1]}, each "
        f"{after(blob)}{_teachers_epochs(name)}.",
        (blob, head),
    )


def _all_masks(evidence: Evidence) -> Sentence:
    """The same against all masks."""
    name = _best_head(evidence)
    both = evidence.alike(name, MASKED)
    found = pair("AP-loc", *both, LABELS)
    caution = ""
    if found.step == "level with" and not all(is_whole(r) for runs in both for r in runs.records):
        caution = "; so short a training does not show that masks gain nothing"
    return Sentence(
        f"Without a mask `{name}` has an AP-loc of {found.told[0]}, {found.step} SSN taught by all "
        f"masks with {found.told[1]}, each {after(both[0])}{_teachers_epochs(name)}{caution}.",
        both,
    )


def _teachers_epochs(name: str) -> str:
    """That another training comes before one, in words."""
    teacher = preset(name).training.supervision.teacher
    return f" (before it `{name}`'s teacher, `{teacher}`, has as many)" if teacher else ""


def _curve(evidence: Evidence) -> Sentence:
    """AP-loc by the number of masks."""
    points = _by_masks(evidence)
    values = [runs.mean("AP-loc") for runs in points.values()]
    steps = [after - before for before, after in pairwise(values)]
    none, *_, most = points.values()
    if values[-1] - values[0] <= most.margin("AP-loc", none, LABELS):
        course = "it does not rise by more than seeds explain"
    elif all(step > 0 for step in steps):
        course = "it rises with every step"
    else:
        course = "it rises, though not with every step"
    told = ", ".join(f"{value:.1f} with {n}" for n, value in zip(points, values, strict=True))
    return Sentence(
        f"AP-loc by the number of masks (none: GAP + CAM): {told}; {course}.", [*points.values()]
    )


def _detection(evidence: Evidence) -> Sentence:
    """AP-det by the number of masks."""
    points = _by_masks(evidence)
    values = [runs.mean("AP-det") for runs in points.values()]
    worst, *_, best = sorted(points.values(), key=lambda runs: runs.mean("AP-det"))
    if max(values) - min(values) <= best.margin("AP-det", worst, LABELS):
        course = "no more than seeds explain"
    elif all(after >= before for before, after in pairwise(values)):
        course = "and rises with every step"
    else:
        course = "without following their number"
    return Sentence(
        f"AP-det moves between {min(values):.1f} and {max(values):.1f} over the same numbers of "
        f"masks, {course}.",
        [*points.values()],
    )


def _tenth(evidence: Evidence) -> Sentence:
    """The slides' remedy, 10 % of the masks, against none."""
    both = evidence.alike("mixed_ssn", "gap_cam")
    found = pair("AP-loc", *both, LABELS)
    return Sentence(
        f"With 10 % of the masks, the slides' outlook, SSN has an AP-loc of {found.told[0]}, "
        f"{found.step} GAP + CAM's raw map with {found.told[1]}.",
        both,
    )


def _tenth_or_none(evidence: Evidence) -> Sentence:
    """The same remedy against the best head that saw no mask."""
    name = _best_head(evidence)
    both = evidence.alike("mixed_ssn", name)
    found = pair("AP-loc", *both, LABELS)
    end = "so the blob needs no mask to be cured"
    if found.is_above:
        end = "so these masks gain what the images alone do not"
    return Sentence(
        f"The same {found.told[0]} is {found.step} `{name}`, which no mask taught, with "
        f"{found.told[1]}: {end}.",
        both,
    )


def _published_curve(evidence: Evidence) -> Sentence:
    """No measurement: what JIMS 2025 publishes of KSDD2."""
    jims = published_figures()["supersimplenet_jims2025"][STRIPS]
    told = ", ".join(
        f"{jims[name]['AP-loc']['mean']:.1f} with {masks}"
        for masks, name in PUBLISHED_MASKS.items()
    )
    return Sentence(
        f"Published of KSDD2 (JIMS 2025, WideResNet50-2), AP-loc by the number of masks: {told}."
    )


def _best_head(evidence: Evidence) -> str:
    """The segmentation head without a mask whose raw map has the highest AP-loc."""
    found = {name: evidence.runs(name).mean("AP-loc") for name in HEADS if evidence.ran(name)}
    if not found:
        raise MissingError("a segmentation head that no mask taught")
    return max(found, key=found.__getitem__)


def _by_masks(evidence: Evidence) -> dict[str, Runs]:
    """Trainings of SSN by how many defective training images had a mask, GAP + CAM for none;
    equally long, by rising number.

    Raises:
        MissingError: fewer than three numbers of masks were run.
    """
    changed = {o.changes for o in evidence.real if of_masks(o)}
    wanted = [("gap_cam", ()), (MASKED, ()), *(("mixed_ssn", c) for c in ((), *sorted(changed)))]
    ran = [one for one in wanted if evidence.ran(one[0], changed=one[1])]
    if len(ran) < 3:
        raise MissingError("runs with several numbers of masks")
    points = {}
    for runs in evidence.alike(*ran):
        record = runs.records[0]
        total = record.counts["train_defective"]
        points[number_of_masks(record.config.training.supervision.masks, total)] = runs
    return {f"all {n}" if n == total else f"{n}": points[n] for n in sorted(points)}


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
