"""What the slides claim of Modification 3, weak supervision, and of their outlook, mixed."""

from __future__ import annotations

from collections.abc import Callable

from ssn_lib import tables
from ssn_lib.claims.rules import (
    Claim,
    Evidence,
    Finding,
    MissingError,
    is_evidence,
    margin,
    whole_trainings,
)
from ssn_lib.supervision_tables import KSDD2, LABEL_PRESETS, NEAR, best_label_only

WEAK_NOTEBOOK, MIXED_NOTEBOOK = "03", "04"


def _on_ksdd2(evidence: Evidence, told: str) -> None:
    """Other images than KSDD2's neither confirm nor refute its figures.

    Raises:
        MissingError: the claim's runs are on such.
    """
    if evidence.category != KSDD2:
        raise MissingError("other images than KSDD2's", told)


def _from_labels(metric: str) -> Callable[[Evidence], Finding]:
    """GAP + CAM reaches the slides' figure on KSDD2; other images only show where it stands."""

    def rule(evidence: Evidence) -> Finding:
        found = evidence.mean("gap_cam", metric)
        published = tables.published()["slides"]["weak_ksdd2_gap_cam"][metric]
        told = f"{evidence.category}: {found:.1f}"
        _on_ksdd2(evidence, told)
        short = published - found
        wide = margin(metric, len(evidence.values("gap_cam", metric)), 1, strips=True)
        if short > wide:
            return Finding(told, "not reproduced", f"{short:.1f} below, more than {wide:.1f}")
        return Finding(told, "reproduced", f"within {wide:.1f} points, or above")

    return rule


def _youden(evidence: Evidence) -> Finding:
    evidence.mean("gap_cam", "I-AUROC")  # the scores must be of real images
    if len(evidence.points) < 2:
        raise MissingError("no threshold chosen without test labels: its folds were not run")
    on_test, without = (chosen.point for chosen in evidence.points[:2])
    gain = (on_test.tpr.value - on_test.fpr.value) - (without.tpr.value - without.fpr.value)
    told = "; ".join(
        f"{chosen.how}: TPR {100 * chosen.point.tpr.value:.1f}, "
        f"FPR {100 * chosen.point.fpr.value:.1f}"
        for chosen in evidence.points
    )
    told += f"; {100 * gain:.1f} points of J come from choosing on the test"
    _on_ksdd2(evidence, told)
    slides = tables.published()["slides"]["weak_ksdd2_gap_cam"]
    inside = (
        100 * on_test.tpr.low <= slides["TPR"] <= 100 * on_test.tpr.high
        and 100 * on_test.fpr.low <= slides["FPR"] <= 100 * on_test.fpr.high
    )
    why = "chosen on the test scores, as published"
    return Finding(told, "reproduced" if inside else "not reproduced", why)


def _blob(evidence: Evidence) -> Finding:
    log = tables.published_log("gap_cam", KSDD2)["AP-loc"]
    fell = f"the published run had {log.max():.1f} early and {log.iloc[-1]:.1f} at the end"
    published = evidence.mean("gap_cam", "sigmoid-AP-loc")
    raw = evidence.mean("gap_cam", "AP-loc")
    real = [outcome for outcome in evidence.outcomes if is_evidence(outcome)]
    name, best = best_label_only(real, evidence.category)
    told = f"sigmoid {published:.1f}, raw {raw:.1f}, best label-only map {best:.1f} ({name})"
    wide = evidence.margin("AP-loc", name.partition(",")[0], "gap_cam", strips=True)
    if best - published > wide:  # GAP + CAM's raw map is among the label-only ones
        why = f"maps on the same grid do better without a mask; {fell}, on one grid"
        return Finding(told, "explained otherwise", why)
    absent = [name for name in LABEL_PRESETS if not evidence.values(name, "AP-loc")]
    if absent:
        raise MissingError(f"no record yet of {', '.join(absent)}; {fell}", told)
    whole_trainings(evidence, told)
    return Finding(told, "reproduced", f"no label-only map does better by {wide:.1f}; but {fell}")


def _cure(evidence: Evidence) -> Finding:
    """In two steps: from GAP + CAM to the better segmentation head that saw no mask, and from there
    to one that saw 10 % of them."""
    before, after = (evidence.mean(name, "AP-loc") for name in ("gap_cam", "mixed_ssn"))
    unmasked = {name: evidence.mean(name, "AP-loc") for name in ("weak_ssn", "cam_traced")}
    best = max(unmasked, key=unmasked.__getitem__)
    between = unmasked[best]
    wide, first, second = (
        evidence.margin("AP-loc", *pair, strips=True)
        for pair in (("gap_cam", "mixed_ssn"), ("gap_cam", best), (best, "mixed_ssn"))
    )
    heads = ", ".join(f"{name} {value:.1f}" for name, value in unmasked.items())
    told = (
        f"AP-loc: GAP + CAM {before:.1f}; a segmentation head without masks: {heads}; with 10 % of "
        f"the masks {after:.1f}"
    )
    if after - before <= wide:
        return Finding(told, "not reproduced", f"no gain beyond {wide:.1f} points")
    if after - between > second:
        return Finding(told, "reproduced", "the masks' step gains more than the seeds' deviation")
    if between - before > first:
        why = f"it takes no mask: {best}, taught by none, gains as much or more"
        return Finding(told, "explained otherwise", why)
    raise MissingError("the two steps cannot be told apart", told)


def _comparison_rows(evidence: Evidence) -> Finding:
    """No measurement: whether the slides' AP-loc figures occur in the published tables of KSDD2."""
    jims = tables.published()["supersimplenet_jims2025"][KSDD2]
    icpr = tables.published()["supersimplenet_icpr2024"]["ksdd2_full_supervision"]
    known = [row["AP-loc"]["mean"] for row in (*jims.values(), icpr)]
    cited = [
        row["AP-loc"]
        for row in tables.published()["slides"]["table_ksdd2_comparison"]
        if row["method"] != "GAP+CAM"
    ]
    told = f"published AP-loc on KSDD2: {min(known):.1f} to {max(known):.1f}"
    if all(min(abs(figure - value) for value in known) <= NEAR for figure in cited):
        return Finding(told, "reproduced", "the figures are in the published tables")
    return Finding(
        told, "not reproduced", "the figures occur in no table of SuperSimpleNet's two papers"
    )


def _cost_of_labels(evidence: Evidence) -> Finding:
    weak, full = (evidence.mean(name, "AP-det") for name in ("gap_cam", "full_ssn"))
    change = f"{weak - full:+.1f}".replace("-", "−")
    told = f"{evidence.category}: GAP + CAM {weak:.1f}, all masks {full:.1f}: {change}"
    wide = evidence.margin("AP-det", "gap_cam", "full_ssn", strips=True)
    _on_ksdd2(evidence, told)
    if weak < full - 2.9 - wide:
        return Finding(told, "not reproduced", "labels alone cost more")
    whole_trainings(evidence, told)
    return Finding(told, "reproduced", f"no more than the published 2.9 points (± {wide:.1f})")


WEAK = (
    Claim(
        "labels-detect",
        "Image labels alone suffice to detect",
        "I-AUROC 98.6 (WideResNet50-2)",
        _from_labels("I-AUROC"),
        WEAK_NOTEBOOK,
    ),
    Claim(
        "labels-ap",
        "Image labels alone suffice to rank",
        "AP-det 94.5 (WideResNet50-2)",
        _from_labels("AP-det"),
        WEAK_NOTEBOOK,
    ),
    Claim(
        "labels-cost",
        "Labels alone cost 2.9 points of AP-det against full supervision",
        "−2.9",
        _cost_of_labels,
        WEAK_NOTEBOOK,
    ),
    Claim("youden", "Youden's threshold 0.2489", "TPR 91.8, FPR 2.2", _youden, WEAK_NOTEBOOK),
    Claim(
        "blob",
        "AP-loc is low because CAMs have a low resolution (blob effect)",
        "AP-loc 7.4",
        _blob,
        WEAK_NOTEBOOK,
    ),
    Claim(
        "comparison-rows",
        "SimpleNet and SuperSimpleNet localise with AP-loc 89.6 and 93",
        "89.6, 93",
        _comparison_rows,
        None,
    ),
)
MIXED = (
    Claim(
        "mixed-cures",
        "90 % labels and 10 % masks cure the blob effect",
        "outlook, no figure",
        _cure,
        MIXED_NOTEBOOK,
    ),
)
