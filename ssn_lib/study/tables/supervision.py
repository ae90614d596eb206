"""The tables of Modifications 3 and 4: learning from labels, and from some masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from ssn_lib.metrics import Interval
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study.captions import data_name, learns_from
from ssn_lib.study.profiles import STRIPS
from ssn_lib.study.published import peak, published_figures, published_log
from ssn_lib.study.records import longest, values
from ssn_lib.study.supervision import (
    CAM_PRESETS,
    LABELLED_PRESETS,
    MASKED,
    METHOD_PRESETS,
    MIXED_PRESETS,
    PUBLISHED_MASKS,
    best_map,
    masks_runs,
)
from ssn_lib.study.systems import title
from ssn_lib.study.tables.cells import measured, notes, of_seeds
from ssn_lib.study.tables.table import (
    EMPTY,
    Table,
    deviating,
    frame_of,
    interval,
    number,
    signed,
)
from ssn_lib.study.thresholds import YoudenThreshold

SHOWN = ("I-AUROC", "AP-det", "seg-I-AUROC", "P-AUROC", "AUPRO", "AP-loc")
PIXEL = ("P-AUROC", "AUPRO", "AP-loc")


def weak_supervision(outcomes: Sequence[Outcome], category: str) -> Table:
    """What labels alone give: every label-only system, published and measured here; and what all
    masks give, to measure them by."""
    slides = published_figures()["slides"]["weak_ksdd2_gap_cam"]
    jims = published_figures()["supersimplenet_jims2025"][STRIPS][PUBLISHED_MASKS[0]]
    rows = [
        {"system": "GAP + CAM, slides", "map": "sigmoid", "data": "KSDD2"}
        | {metric: _said(slides.get(metric)) for metric in SHOWN},
        {"system": "SSN, weak supervision, JIMS 2025", "map": "logits", "data": "KSDD2"}
        | {m: deviating(jims[m]["mean"], jims[m]["std"]) for m in SHOWN},
    ]
    data = data_name(outcomes, category)
    kinds = (("raw", ""), ("raw, mean over flips", "flips-"))
    for name in LABELLED_PRESETS:
        published_too = (("sigmoid, as published", "sigmoid-"),) if name in CAM_PRESETS else ()
        for how, prefix in (*published_too, *kinds):
            row = {"system": f"here, {title(name)}", "map": how, "data": data}
            for metric in SHOWN:
                own = prefix + metric if metric in PIXEL else metric
                row[metric] = measured(outcomes, name, category, own)
            if prefix:
                row["seg-I-AUROC"] = EMPTY
            rows.append(row)
    return Table(
        "Labels alone: percent",
        frame_of(rows),
        (
            *notes(outcomes, LABELLED_PRESETS, [category]),
            "Here: ResNet18. Slides: KSDD2, WideResNet50-2, 300 epochs, one seed. JIMS 2025: "
            "likewise, five seeds.",
            "Over flips: the mean map of an image, its two mirror images and itself turned round, "
            f"four passes; {EMPTY}: not measured in that run.",
            "Sigmoid, as published: the metrics of the float32 sigmoid of the raw map, in which "
            "strong pixels tie. The image score is the same in all rows of a system; seg-I-AUROC "
            "is of the raw map's maximum.",
        ),
    )


def saturation(outcomes: Sequence[Outcome], category: str) -> Table:
    """What the published evaluation's sigmoid does to AP-loc, and AP-loc in the author's log.

    Args:
        outcomes: of any number of epochs; each number has its row.
    """
    log = published_log("gap_cam", STRIPS)
    best, epochs = peak(log, "AP-loc")
    some = log[log["epochs_done"].isin((epochs, 40, 100, 200, 260, 300))]
    rows = [
        {
            "run": "published log (KSDD2)",
            "epochs": str(int(row["epochs_done"])),
            "AP-loc, sigmoid": number(row["AP-loc"]),
            "AP-loc, raw": EMPTY,
            "pixels of exactly 1, %": EMPTY,
            "I-AUROC": number(row["I-AUROC"]),
        }
        for _, row in some.iterrows()
    ]
    for name in CAM_PRESETS:
        records = [o.record for o in outcomes if (o.preset, o.category) == (name, category)]
        lengths = sorted({record.epochs_done for record in records if record})
        for epochs_done in lengths or [None]:
            same = [o for o in outcomes if o.record and o.record.epochs_done == epochs_done]
            rows.append(
                {
                    "run": f"here, {title(name)}",
                    "epochs": EMPTY if epochs_done is None else str(epochs_done),
                    "AP-loc, sigmoid": measured(same, name, category, "sigmoid-AP-loc"),
                    "AP-loc, raw": measured(same, name, category, "AP-loc"),
                    "pixels of exactly 1, %": measured(same, name, category, "saturated"),
                    "I-AUROC": measured(same, name, category, "I-AUROC"),
                }
            )
    return Table(
        "The sigmoid of a class activation map",
        frame_of(rows),
        (
            *notes(outcomes, CAM_PRESETS, [category]),
            "A float32 sigmoid is exactly 1 from about 17 on. The published AP-loc was "
            f"{best:.1f} after {epochs} epochs and {log['AP-loc'].iloc[-1]:.1f} at the end, at the "
            "same resolution of the map.",
        ),
    )


def by_epochs(outcomes: Sequence[Outcome], category: str) -> Table:
    """How label-only maps change as their networks train longer.

    Args:
        outcomes: of any number of epochs.
    """
    made = [o for o in outcomes if o.record and o.category == category and not o.changes]

    def lengths(name: str) -> list[int]:
        return sorted({o.record.config.training.epochs for o in made if o.preset == name})

    names = [name for name in LABELLED_PRESETS if len(lengths(name)) > 1]
    rows = []
    for name, epochs in ((each, epochs) for each in names for epochs in lengths(each)):
        same = longest(o for o in made if o.record.config.training.epochs == epochs)
        row = {"system": f"here, {title(name)}", "epochs": str(epochs)}
        for heading, metric in (
            ("I-AUROC", "I-AUROC"),
            ("AP-loc, raw", "AP-loc"),
            ("AP-loc, over flips", "flips-AP-loc"),
        ):
            row[heading] = measured(same, name, category, metric)
        blob = values(same, "gap_cam", category, "sigmoid-AP-loc")
        row["GAP + CAM as published"] = of_seeds(blob)
        best = best_map(same, name, category)
        row["better map, × that"] = number(best[0] / fmean(blob)) if best and blob else EMPTY
        rows.append(row)
    return Table(
        "Labels alone, trained longer: percent",
        frame_of(rows or [{"system": EMPTY}]),
        (
            *notes([o for o in made if o.preset in names], names, [category]),
            "GAP + CAM as published: AP-loc of the sigmoid of its map, after as many epochs. "
            "Better map: the raw one or its mean over flips, whichever has the higher AP-loc.",
        ),
    )


def teaching(files: Sequence[tuple[Outcome, pd.DataFrame]], caption: str) -> Table:
    """How well the masks that a network was taught by agree with drawn ones, which it never saw.

    Args:
        files: of each run, columns masks, precision, recall, IoU.
    """
    rows = [
        {"system": title(outcome.preset), "masks from the teacher's maps": row["masks"]}
        | {name: number(row[name]) for name in ("precision", "recall", "IoU")}
        for outcome, table in files
        for _, row in table.iterrows()
    ]
    return Table(
        "Pseudo-masks compared with drawn masks on the training images: percent of the pixels",
        frame_of(rows or [{"system": EMPTY}]),
        (
            f"Here: {caption}." if rows else "No record of a network taught by another's maps.",
            "The drawn masks were not used in training.",
            "Region: above half of the way from the sound images' 99.9th percentile to the map's "
            "peak. Traced: those of its pixels whose colour differs from their surroundings, and "
            "what is connected with them. IoU: intersection over union.",
        ),
    )


def comparison(outcomes: Sequence[Outcome], category: str) -> Table:
    """The slides' comparison of methods on KSDD2, the published tables, and this study."""
    slides = {row["method"]: row for row in published_figures()["slides"]["table_ksdd2_comparison"]}
    jims = published_figures()["supersimplenet_jims2025"][STRIPS]
    icpr = published_figures()["supersimplenet_icpr2024"]["ksdd2_full_supervision"]
    theirs = {"simplenet": "SimpleNet", "full_ssn": "SuperSimpleNet", "gap_cam": "GAP+CAM"}
    papers = {"full_ssn": (jims["full (246 masks)"], icpr), "scenario_a": (jims["unsupervised"],)}
    rows = []
    for name in METHOD_PRESETS:
        said = slides.get(theirs.get(name), {})
        row = {"method": title(name)}
        row["learns from"] = learns_from(preset(name).training.supervision)
        for metric in ("AP-det", "AP-loc"):
            row[f"slides, {metric}"] = _said(said.get(metric))
            known = [number(paper[metric]["mean"]) for paper in papers.get(name, ())]
            row[f"papers, {metric}"] = " / ".join(known) or EMPTY
            row[f"here, {metric}"] = measured(outcomes, name, category, metric)
        row |= {"slides, ΔAP-det": EMPTY, "here, ΔAP-det": EMPTY}
        if name != MASKED:
            here = [values(outcomes, one, category, "AP-det") for one in (name, MASKED)]
            row["slides, ΔAP-det"] = signed(said.get("AP-det"), slides[theirs[MASKED]]["AP-det"])
            row["here, ΔAP-det"] = signed(*(fmean(known) if known else None for known in here))
        rows.append(row)
    return Table(
        "Methods on strips: percent",
        frame_of(rows),
        (
            *notes(outcomes, METHOD_PRESETS, [category]),
            "ΔAP-det: against all masks, in points; taken before rounding.",
            "Here: of raw maps. Slides and papers: KSDD2, WideResNet50-2, 300 epochs; papers: JIMS "
            "2025 / ICPR 2024. The slides' AP-loc of SimpleNet (89.6) and of SuperSimpleNet (93.0) "
            "occur in neither of SuperSimpleNet's papers, whose AP-loc with all masks is 81 to 82. "
            "The slides print 7.3 for GAP + CAM in this table and 7.4 elsewhere, of the sigmoid.",
        ),
    )


def operating_points(chosen: Sequence[YoudenThreshold], caption: str) -> Table:
    """The slides' operating point beside those found here."""
    slides = published_figures()["slides"]["weak_ksdd2_gap_cam"]
    rows = [
        {
            "threshold chosen": "slides (KSDD2): on the test scores",
            "threshold": number(slides["youden_threshold"], ".4f"),
            "TPR": number(slides["TPR"]),
            "FPR": number(slides["FPR"]),
            "precision": EMPTY,
            "F1": EMPTY,
        }
    ]
    for one in chosen:
        rows.append(
            {
                "threshold chosen": f"here: {one.how}",
                "threshold": number(one.sigmoid, ".4f"),
                "TPR": _interval(one.point.tpr),
                "FPR": _interval(one.point.fpr),
                "precision": _interval(one.point.precision),
                "F1": _interval(one.point.f1),
            }
        )
    missing = ()
    if len(chosen) < 2:
        missing = ("The folds were not all run: no threshold without test labels.",)
    return Table(
        "Youden's threshold of GAP + CAM: percent, on the test images",
        frame_of(rows),
        (
            f"Here: {caption}.",
            "Threshold: on the sigmoid of the score. Brackets: 95 % confidence (Wilson; F1: "
            "bootstrap). Cross-validated: three networks, each trained on two thirds of the "
            "training images, score the third that they have not seen; the largest TPR − FPR of "
            "these scores together gives the threshold.",
            *missing,
        ),
    )


def masks_curve(outcomes: Sequence[Outcome], category: str, numbers: Sequence[float]) -> Table:
    """AP-loc and AP-det against the number of masks: the published curve, and here."""
    rows = []
    for masks, name in PUBLISHED_MASKS.items():
        theirs = published_figures()["supersimplenet_jims2025"][STRIPS][name]
        said = {m: deviating(theirs[m]["mean"], theirs[m]["std"]) for m in SHOWN}
        row = {"system": "SSN, JIMS 2025", "data": "KSDD2", "masks": f"{masks} of 246"}
        rows.append(row | said)
    for name, changed, masks in masks_runs(outcomes, category, numbers):
        row = {
            "system": f"here, {title(name)}",
            "data": data_name(outcomes, category),
            "masks": masks,
        }
        row |= {m: measured(outcomes, name, category, m, changed) for m in SHOWN}
        rows.append(row)
    return Table(
        "What masks buy: percent",
        frame_of(rows),
        (
            *notes(outcomes, MIXED_PRESETS, [category]),
            "JIMS 2025: WideResNet50-2, 300 epochs, five seeds. mixed_ssn itself takes the 10 % "
            "of masks beside 90 % of labels that the slides propose.",
        ),
    )


def _said(value: float | None) -> str:
    return EMPTY if value is None else number(value)


def _interval(point: Interval) -> str:
    if math.isnan(point.value):
        return "undefined"
    return interval(100 * point.value, 100 * point.low, 100 * point.high, ".1f")
