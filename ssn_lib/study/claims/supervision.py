"""What the slides claim of Modification 3, weak supervision, and of their outlook, mixed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ssn_lib.study.claims.evidence import Evidence, MissingError, margin, mean
from ssn_lib.study.claims.rules import Claim, Finding, whole_trainings
from ssn_lib.study.published import published_figures, published_log
from ssn_lib.study.selection import longest
from ssn_lib.study.tables.supervision import (
    KSDD2,
    LABEL_PRESETS,
    NEAR,
    PUBLISHED_MASKS,
    best_label_only,
)

WEAK_NOTEBOOK, MIXED_NOTEBOOK = "03", "04"
LABELS, SOUND = PUBLISHED_MASKS[0], "unsupervised"  # regimes of the published table
NEAR_ONE = 90.0  # percent from which on a precision is near 1
MAP_TITLES = {"raw": "raw map", "sigmoid": "its sigmoid, as published"}


def _from_labels(metric: str) -> Callable[[Evidence], Finding]:
    """GAP + CAM reaches the slides' figure."""

    def rule(evidence: Evidence) -> Finding:
        found = evidence.mean("gap_cam", metric)
        published = published_figures()["slides"]["weak_ksdd2_gap_cam"][metric]
        told, short = f"{metric} {found:.1f} with a ResNet18", published - found
        wide = margin(metric, len(evidence.values("gap_cam", metric)), 1, LABELS)
        if short > wide:
            return Finding(told, "not reproduced", f"{short:.1f} below, more than {wide:.1f}")
        return Finding(told, "reproduced", f"within {wide:.1f} points, or above")

    return rule


def _cost_of_labels(evidence: Evidence) -> Finding:
    slides = {row["method"]: row["AP-det"] for row in _slides_rows()}
    published = slides["GAP+CAM"] - slides["SuperSimpleNet"]
    pair = evidence.alike("gap_cam", "full_ssn")
    weak, full = (pair.mean(name, "AP-det") for name in ("gap_cam", "full_ssn"))
    told = f"AP-det: GAP + CAM {weak:.1f}, all masks {full:.1f}: {_signed(weak - full)}"
    wide = pair.margin("AP-det", "gap_cam", "full_ssn", regime=LABELS)
    swing = evidence.swing("AP-det")
    if weak - full < published - wide:
        return Finding(told, "not reproduced", "labels alone cost more" + swing)
    whole_trainings(evidence, told)
    why = f"no more than the published {-published:.1f} points (± {wide:.1f})"
    return Finding(told, "reproduced", why + swing)


def _cost_of_no_defects(evidence: Evidence) -> Finding:
    """SimpleNet, which learns from sound images alone, against all labels and masks."""
    slides = {row["method"]: row["AP-det"] for row in _slides_rows()}
    published = slides["SimpleNet"] - slides["SuperSimpleNet"]
    jims = published_figures()["supersimplenet_jims2025"][KSDD2][SOUND]
    peer = (
        "SuperSimpleNet, taught by KSDD2's sound images alone, has an AP-det of "
        f"{jims['AP-det']['mean']:.1f}, or {jims['seg-AP-det']['mean']:.1f} by its map's maximum "
        "(JIMS 2025)"
    )
    try:
        pair = evidence.alike("simplenet", "full_ssn")
        simple, full = (pair.mean(name, "AP-det") for name in ("simplenet", "full_ssn"))
    except MissingError as missing:
        raise MissingError(f"{missing.why}; {peer}") from None
    told = f"AP-det: SimpleNet {simple:.1f}, all masks {full:.1f}: {_signed(simple - full)}"
    # SimpleNet's score is its map's maximum; so is that of this published deviation.
    wide = pair.margin("seg-AP-det", "simplenet", "full_ssn", regime=SOUND)
    whole_trainings(evidence, told)  # either may only learn more slowly
    why = f"{_signed(simple - full - published)} points from it, margin {wide:.1f}; {peer}"
    near = abs(simple - full - published) <= wide
    swing = evidence.swing("AP-det")
    return Finding(told, "reproduced" if near else "not reproduced", why + swing)


def _youden(evidence: Evidence) -> Finding:
    real = {o.record.run_id: o.record for o in evidence.real if o.category == evidence.category}
    points = [chosen for chosen in evidence.points if chosen.run_id in real]
    if len(points) < 2:
        evidence.mean("gap_cam", "I-AUROC")  # says so where there is none
        raise MissingError("no threshold chosen without test labels: its folds were not run")
    evidence.used.append(real[points[0].run_id])
    on_test, without = (chosen.point for chosen in points[:2])
    gain = (on_test.tpr.value - on_test.fpr.value) - (without.tpr.value - without.fpr.value)
    told = "; ".join(
        f"{chosen.how}: TPR {100 * chosen.point.tpr.value:.1f}, "
        f"FPR {100 * chosen.point.fpr.value:.1f}"
        for chosen in points
    )
    told += f"; {100 * gain:.1f} points of J come from choosing on the test"
    slides = published_figures()["slides"]["weak_ksdd2_gap_cam"]
    inside = (
        100 * on_test.tpr.low <= slides["TPR"] <= 100 * on_test.tpr.high
        and 100 * on_test.fpr.low <= slides["FPR"] <= 100 * on_test.fpr.high
    )
    where = "within" if inside else "not both within"
    why = f"chosen on the test scores, the slides' rates are {where} the 95 % confidence of these"
    return Finding(told, "reproduced" if inside else "not reproduced", why)


def _starts_high(evidence: Evidence) -> Finding:
    """How precise GAP + CAM's map is where it first meets a defective pixel, and on how many
    defects it peaks."""
    first: dict[str, list[float]] = {}
    curves = evidence.files(evidence.curves, "gap_cam")
    for _, curve in curves:
        for kind, part in curve.groupby("map", sort=False):
            first.setdefault(str(kind), []).append(100 * part["precision"].iloc[0])
    precision = {kind: mean(values) for kind, values in first.items()}
    told = f"{evidence.title}, precision at the strongest defective pixel: " + ", ".join(
        f"{value:.1f} % ({MAP_TITLES[kind]})" for kind, value in precision.items()
    )
    known = {record.run_id for record, _ in curves}
    peaks = [
        float(hit)
        for outcome, scores in evidence.scores
        if outcome.record is not None and outcome.record.run_id in known and "on_defect" in scores
        for hit in scores["on_defect"].dropna()
    ]
    if peaks:
        hits = f"{100 * mean(peaks):.0f} % of the defective images"
        told += f"; in {hits} the map peaks on the defect"
    if max(precision.values()) >= NEAR_ONE:
        return Finding(told, "reproduced", "the strongest pixels are those of defects")
    why = (
        "scikit-learn's precision_recall_curve, if it drew the slides' curve, gives every curve a "
        "point of precision 1 at recall 0, whatever the map; such a start confirms nothing"
    )
    return Finding(told, "explained otherwise", why)


def _blob(evidence: Evidence) -> Finding:
    log = published_log("gap_cam", KSDD2)["AP-loc"]
    fell = f"the published run had {log.max():.1f} early and {log.iloc[-1]:.1f} at the end"
    even, ran = _label_only(evidence)
    published, raw = (even.mean("gap_cam", metric) for metric in ("sigmoid-AP-loc", "AP-loc"))
    name, best = best_label_only(longest(even.outcomes), evidence.category)
    told = (
        f"{evidence.title}: sigmoid {published:.1f}, raw {raw:.1f}, best label-only map "
        f"{best:.1f} ({name})"
    )
    wide = even.margin("AP-loc", name.partition(",")[0], "gap_cam", regime=LABELS)
    if best - published > wide:  # GAP + CAM's raw map is among the label-only ones
        why = f"maps on the same grid do better without a mask; {fell}, on one grid"
        return Finding(told, "explained otherwise", why)
    absent = [name for name in LABEL_PRESETS if name not in ran]
    if absent:
        raise MissingError(f"no run as long of {', '.join(absent)}; {fell}", told)
    whole_trainings(evidence, told)
    return Finding(told, "reproduced", f"no label-only map does better by {wide:.1f}; but {fell}")


def _label_only(evidence: Evidence) -> tuple[Evidence, list[str]]:
    """GAP + CAM beside the label-only presets that were trained equally long, at the greatest
    length that any of them has in common with it; and the names of all of these."""
    others = [name for name in LABEL_PRESETS if name != "gap_cam" and evidence.ran(name)]
    pairs = {}
    for name in others:
        with suppress(MissingError):  # no length in common
            pairs[name] = evidence.alike("gap_cam", name).epochs
    most = max(pairs.values(), default=0)
    ran = ["gap_cam", *(name for name, epochs in pairs.items() if epochs == most)]
    even = evidence.alike(*ran)
    for name in ran:
        even.records(name)  # what the best is the best of
    return even, ran


def _cure(evidence: Evidence) -> Finding:
    """In two steps: from GAP + CAM to the better segmentation head that saw no mask, and from there
    to one that saw 10 % of them."""
    heads = ("weak_ssn", "cam_traced")
    even = evidence.alike("gap_cam", *heads, "mixed_ssn")
    before, after = (even.mean(name, "AP-loc") for name in ("gap_cam", "mixed_ssn"))
    unmasked = {name: even.mean(name, "AP-loc") for name in heads}
    best = max(unmasked, key=unmasked.__getitem__)
    between = unmasked[best]
    wide, first, second = (
        even.margin("AP-loc", *pair, regime=LABELS)
        for pair in (("gap_cam", "mixed_ssn"), ("gap_cam", best), (best, "mixed_ssn"))
    )
    listed = ", ".join(f"{name} {value:.1f}" for name, value in unmasked.items())
    told = (
        f"{evidence.title}, AP-loc: GAP + CAM {before:.1f}; a segmentation head without masks: "
        f"{listed}; with 10 % of the masks {after:.1f}"
    )
    swing = evidence.swing("AP-loc")
    if after - before <= wide:
        return Finding(told, "not reproduced", f"no gain beyond {wide:.1f} points" + swing)
    if after - between > second:
        why = "the masks' step gains more than the seeds' deviation"
        return Finding(told, "reproduced", why + swing)
    if between - before > first:
        why = f"it takes no mask: {best}, taught by none, gains as much or more"
        return Finding(told, "explained otherwise", why + swing)
    raise MissingError("the two steps cannot be told apart" + swing, told)


def _comparison_rows(evidence: Evidence) -> Finding:
    """No measurement: whether the slides' AP-loc figures occur in the published tables of KSDD2."""
    jims = published_figures()["supersimplenet_jims2025"][KSDD2]
    icpr = published_figures()["supersimplenet_icpr2024"]["ksdd2_full_supervision"]
    known = [row["AP-loc"]["mean"] for row in (*jims.values(), icpr)]
    cited = [row["AP-loc"] for row in _slides_rows() if row["method"] != "GAP+CAM"]
    told = f"published AP-loc on KSDD2: {min(known):.1f} to {max(known):.1f}"
    if all(min(abs(figure - value) for value in known) <= NEAR for figure in cited):
        return Finding(told, "reproduced", "the figures are in the published tables")
    return Finding(
        told, "not reproduced", "the figures occur in no table of SuperSimpleNet's two papers"
    )


def _slides_rows() -> list[dict]:
    return published_figures()["slides"]["table_ksdd2_comparison"]


def _signed(difference: float) -> str:
    return f"{difference:+.1f}".replace("-", "−")


WEAK = (
    Claim(
        "labels-detect",
        "Image labels alone suffice to detect",
        "I-AUROC 98.6 (WideResNet50-2)",
        _from_labels("I-AUROC"),
        WEAK_NOTEBOOK,
        KSDD2,
    ),
    Claim(
        "labels-ap",
        "Image labels alone suffice to rank",
        "AP-det 94.5 (WideResNet50-2)",
        _from_labels("AP-det"),
        WEAK_NOTEBOOK,
        KSDD2,
    ),
    Claim(
        "labels-cost",
        "Labels alone cost 2.9 points of AP-det against full supervision",
        "−2.9",
        _cost_of_labels,
        WEAK_NOTEBOOK,
        KSDD2,
    ),
    Claim(
        "simplenet-cost",
        "SimpleNet is 9.0 points of AP-det behind SuperSimpleNet with all masks",
        "−9.0 (88.4 against 97.4)",
        _cost_of_no_defects,
        WEAK_NOTEBOOK,
        KSDD2,
    ),
    Claim(
        "youden",
        "Youden's threshold 0.2489",
        "TPR 91.8, FPR 2.2",
        _youden,
        WEAK_NOTEBOOK,
        KSDD2,
    ),
    Claim(
        "peaks-precise",
        "Pixel precision starts near 1.0, so the map's peaks lie on defects",
        "figure: starts near 1.0",
        _starts_high,
        WEAK_NOTEBOOK,
    ),
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
