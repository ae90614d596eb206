"""The tables of Modification 2: learned noise."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import pandas as pd

from ssn_lib.runs.record import Outcome, device_name
from ssn_lib.study.captions import describe
from ssn_lib.study.commands import run_command
from ssn_lib.study.costs.records import Comparison, Spread
from ssn_lib.study.published import published_figures, published_log
from ssn_lib.study.records import categories_of, late
from ssn_lib.study.statistics import sign_test
from ssn_lib.study.systems import (
    BETA,
    BETAS,
    LAST_EPOCHS,
    LEARNED_CATEGORIES,
    LEARNED_PRESETS,
    SWEEP_CATEGORY,
    SWEEP_PRESETS,
    beta_changes,
    short,
)
from ssn_lib.study.tables.cells import METRICS, measured, notes, percent, quartiles
from ssn_lib.study.tables.table import EMPTY, Table, frame_of, number


def learned_noise(
    outcomes: Sequence[Outcome],
    which: str = "",
    courses: Sequence[tuple[Outcome, pd.DataFrame]] = (),
) -> Table:
    """The slides' table of Modification 2 (screw): seven metrics for every noise source.

    Args:
        which: of the trainings are shown, in words.
        courses: `course.csv` of those that have one: how far their metrics moved is said.
    """
    categories = [name for name in LEARNED_CATEGORIES if name in categories_of(outcomes)]
    slides = published_figures()["slides"]["table_noise_losses_screw"]
    theirs = {
        "scenario_a": f"slides, {short('scenario_a')}",
        "learned_noise_v1": "slides, v1",
        "learned_noise_v2": "slides, v2",
    }
    rows = []
    for category in categories:
        for metric in METRICS:
            row = {"category": category, "metric": metric}
            for key, title in theirs.items():
                known = category == SWEEP_CATEGORY and metric in slides
                row[title] = number(slides[metric][key]) if known else EMPTY
            for name in LEARNED_PRESETS:
                row[f"here, {short(name)}"] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        f"Noise sources{which and f', {which}'}: percent, published and measured here",
        frame_of(rows),
        (
            *notes(outcomes, LEARNED_PRESETS, categories),
            *(moved(metric, courses) for metric in ("I-AUROC", "AP-loc") if courses),
            f"Slides: 300 epochs, seed 42, {SWEEP_CATEGORY} only; v2 with β = 0.1.",
            "Scenario A: Gaussian noise, σ = 0.015; larger σ: Gaussian, 12 % of the features' "
            "spread.",
        ),
    )


def moved(metric: str, courses: Sequence[tuple[Outcome, pd.DataFrame]]) -> str:
    """Between what a metric moved at the end of those trainings, and its mean, in words."""
    found: dict[str, list[float]] = {}
    for outcome, course in courses:
        if outcome.record is not None:
            of = found.setdefault(f"{short(outcome.preset)} {outcome.category}", [])
            of += late(course, metric, outcome.record).tolist()
    ranges = [
        f"{name} {min(of):.1f} to {max(of):.1f} (mean {fmean(of):.1f})"
        for name, of in found.items()
        if of
    ]
    if not ranges:
        return f"No training kept its {metric} over the last {LAST_EPOCHS} epochs."
    return (
        f"{metric} over the last {LAST_EPOCHS} epochs, a chance that the last one draws from: "
        f"{', '.join(ranges)}."
    )


def beta_sweep(outcomes: Sequence[Outcome], which: str = "") -> Table:
    """The slides' β sweep on screw: published, its log, and both forms measured here.

    Args:
        which: of the trainings are shown, in words.
    """
    slides = {row["beta"]: row for row in published_figures()["slides"]["table_beta_sweep_screw"]}
    rows = []
    for beta in (None, *BETAS):
        row: dict[str, str] = {
            "β": f"Gaussian ({short('scenario_a')})" if beta is None else f"{beta:g}"
        }
        for metric in ("I-AUROC", "P-AUROC"):
            row[f"slides, {metric}"] = number(slides[beta][metric]) if beta in slides else EMPTY
        name = "scenario_a" if beta is None else "learned_noise_v2_published"
        changed = beta_changes(beta)
        suffix = f" beta={beta:g}" if changed else ""
        last = published_log(name + suffix, SWEEP_CATEGORY).tail(1)
        for metric in ("I-AUROC", "seg-I-AUROC", "P-AUROC"):
            row[f"log, {metric}"] = percent(last[metric].item()) if len(last) else EMPTY
        for form in SWEEP_PRESETS:
            made = "scenario_a" if beta is None else form
            for metric in ("I-AUROC", "seg-I-AUROC", "P-AUROC"):
                row[f"here, {short(form)}, {metric}"] = measured(
                    outcomes, made, SWEEP_CATEGORY, metric, changed
                )
        rows.append(row)
    asked = [
        o
        for o in outcomes
        if o.category == SWEEP_CATEGORY and o.preset in ("scenario_a", *SWEEP_PRESETS)
    ]
    records = [o.record for o in asked if o.record is not None]
    notes = [
        "Slides and log (the last epoch in the author's public notebook): 300 epochs, seed 42; – "
        "where there was no such run. The slides give "
        "β = 0.0015 for the run whose log says 0.015; both values are swept here.",
    ]
    if records:
        notes.insert(0, f"Measured here: {describe(records)}.")
    reasons = dict.fromkeys(o.reason for o in asked if o.record is None)
    notes += [f"{EMPTY} in the other columns: {reason}." for reason in reasons]
    wanted = [(n, beta_changes(beta)) for n in SWEEP_PRESETS for beta in BETAS]
    if not {(o.preset, o.changes) for o in asked}.issuperset(wanted):
        command = run_command(records[0].config if records else None, "PRESET", SWEEP_CATEGORY)
        notes.append(
            f"{EMPTY} in the other columns: no record; `{command} --set {BETA}=β` makes it."
        )
    heading = f"β of the learned noise, {SWEEP_CATEGORY}{which and f', {which}'}: percent"
    return Table(heading, frame_of(rows), tuple(notes))


def inference_free(made: Comparison) -> Table:
    """What a noise generator costs at inference: the slides' figures, and paired differences."""
    slides = published_figures()["slides"]["table_efficiency"]
    without, with_it = slides["scenario_a"], slides["learned_noise"]
    plain = short("scenario_a")
    kinds = (
        ("latency, ms", "latency_ms", "latency_ms", 2),
        ("throughput, images/s", "throughput_img_s", "throughput_img_s", 2),
        ("memory, MB", "memory_mb", "gpu_memory_mb", 1),
    )
    rows = []
    for title, ours, theirs, digits in kinds:
        first, second = (getattr(part, ours) for part in (made.first, made.second))
        differences = getattr(made, ours)
        difference = Spread.of(differences) if differences else None
        shown = [quartiles(s, digits) if s else EMPTY for s in (first, second, difference)]
        rows.append(
            {
                "cost": title,
                f"slides, {plain}": number(without[theirs], ".2f"),
                "slides, learned noise": number(with_it[theirs], ".2f"),
                "slides, difference": number(with_it[theirs] - without[theirs], "+.2f"),
                f"here, {plain}": shown[0],
                "here, learned noise": shown[1],
                "here, difference": shown[2],
                "chance": number(sign_test(differences), ".2f") if differences else EMPTY,
            }
        )
    rows.append(
        {
            "cost": "parameters of the inference network",
            f"slides, {plain}": number(
                published_figures()["parameter_counts_256"]["scenario_a_resnet18"], ","
            ),
            "slides, learned noise": number(with_it["parameters"], ","),
            "slides, difference": "+{:,}".format(
                with_it["parameters"]
                - published_figures()["parameter_counts_256"]["scenario_a_resnet18"]
            ),
            f"here, {plain}": number(made.first.parameters, ","),
            "here, learned noise": number(made.second.parameters, ","),
            "here, difference": number(made.second.parameters - made.first.parameters, "+,"),
            "chance": EMPTY,
        }
    )
    return Table(
        "What learned noise costs at inference",
        frame_of(rows),
        (
            f"Measured on {device_name(made.first.environment)}, float32, the two in turns, "
            f"{made.first.repetitions} repetitions (half for throughput and memory): median "
            "[quartiles]; differences repetition by repetition. Chance: how probable signs as "
            "one-sided as these are between two equal networks (two-sided sign test).",
            "Slides: Tesla P100, float16; measured with the generator still part of the network. "
            "+2.10 MB are 2 MiB, one block of PyTorch's allocator.",
        ),
    )
