"""The study's tables, made from records: measured beside published, empty cells with their why."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from ssn_lib.bench import Bench
from ssn_lib.config import (
    DataConfig,
    RunConfig,
    SupervisionConfig,
    TrainingConfig,
    assignment,
    changes,
    preset,
)
from ssn_lib.data.ksdd2 import KSDD2_SIZE
from ssn_lib.data.mvtec import MVTEC_COUNTS
from ssn_lib.efficiency import HALF, SCENARIO_A, Comparison, Efficiency, Spread
from ssn_lib.env import device_name
from ssn_lib.losses import ignorance_loss
from ssn_lib.peers import PEERS
from ssn_lib.runs import Outcome, Record

EMPTY = "–"
IMAGE_TITLES = {"ksdd2": "KSDD2", "kolektor_sdd1_in_ksdd2_layout": "KolektorSDD"}
METRICS = ("I-AUROC", "AP-det", "P-AUROC", "AUPRO", "AP-loc", "seg-I-AUROC", "seg-AP-det")
LEARNED_LOSS = 0.9 * ignorance_loss(True)  # a training below it has begun to learn
REAL_TIME_MS = 10  # the slides' bound for real-time inspection
FORM_TITLES = {"onnx": "folded, ONNX Runtime", "peer": EMPTY}
PUBLISHED_BATCH = TrainingConfig().batch_size
PUBLISHED_SIZE = DataConfig("", "").image_size
SWAP_PRESETS = ("baseline", "scenario_a", "scenario_b")
SWAP_COURSES = {name: preset(name).title for name in SWAP_PRESETS}  # by name in the logs
ABLATION_PRESETS = ("simplenet", "simplenet_upscaled", "simplenet_perlin", "scenario_a")
NOISE_PRESETS = ("scenario_a", "scenario_a_relative", "scenario_b", "scenario_b_relative")
LEARNED_PRESETS = (
    "scenario_a",
    "scenario_a_relative",
    "learned_noise_v1_published",
    "learned_noise_v1",
    "learned_noise_v2_published",
    "learned_noise_v2",
    "gradient_ascent",
)
LAST_EPOCHS = 100  # of a training, over which a metric's swing is told
LEARNED_CATEGORIES = ("screw", "bottle")
LEARNED_COURSES = {  # published runs of Modification 2, by name in the logs
    "scenario_a": "Gaussian noise (Scenario A)",
    "learned_noise_v1_published": "v1",
    "learned_noise_v2_published beta=0.015": "v2, β = 0.015",
    "learned_noise_v2_published beta=0.05": "v2, β = 0.05",
    "learned_noise_v2_published": "v2, β = 0.1",
    "learned_noise_v2_published beta=0.5": "v2, β = 0.5",
}
BETA = "training.noise.generator.beta"
BETAS = (0.0015, 0.015, 0.05, 0.1, 0.5)
SWEEP_PRESETS = ("learned_noise_v2_published", "learned_noise_v2")
SWEEP_CATEGORY = "screw"
NOISE_CATEGORIES = ("bottle", "carpet")  # on screw Scenario A itself was published at chance


@dataclass(frozen=True)
class Table:
    """A table with its title, what was measured how, and the reasons for its empty cells."""

    title: str
    frame: pd.DataFrame
    notes: tuple[str, ...]

    def to_markdown(self) -> str:
        """As a Markdown document."""
        notes = "".join(f"- {note}\n" for note in self.notes)
        return f"**{self.title}**\n\n{to_markdown(self.frame)}\n\n{notes}"

    def _repr_markdown_(self) -> str:
        """How Jupyter shows it."""
        return self.to_markdown()


@cache
def published() -> dict[str, Any]:
    """Every published figure the study is held against; see `published.json` for the sources."""
    return json.loads(files("ssn_lib").joinpath("published.json").read_text(encoding="utf-8"))


@cache
def published_logs() -> pd.DataFrame:
    """What the author's public notebook printed while its runs trained: one row an evaluation.

    Columns: run (a preset's name where there is one), category, epochs_done, loss, images (seen so
    far, on MVTec AD) and the seven metrics in percent. One seed, Tesla P100.
    """
    path = files("ssn_lib").joinpath("published_logs.csv")
    logs = pd.read_csv(io.StringIO(path.read_text(encoding="utf-8")), comment="#")
    images = logs["category"].map({name: counts[0] for name, counts in MVTEC_COUNTS.items()})
    return logs.assign(images=logs["epochs_done"] * images)


def published_log(run: str, category: str) -> pd.DataFrame:
    """The rows of one run in `published_logs`, by epoch; none for an unknown one."""
    logs = published_logs()
    return logs[(logs["run"] == run) & (logs["category"] == category)]


def last_epochs(log: pd.DataFrame, epochs: int) -> pd.DataFrame:
    """The rows of a published log within its last epochs."""
    return log[log["epochs_done"] >= log["epochs_done"].max() - epochs]


def describe(records: Sequence[Record]) -> str:
    """Data, image size, training, seeds, weights and device of some records, in one line."""

    def joined(values: list[Any]) -> str:
        return ", ".join(dict.fromkeys(map(str, values)))

    seeds = sorted({record.config.seed for record in records})
    epochs = sorted({record.config.training.epochs for record in records})
    untrained = [record.config.preset for record in records if record.weights_source is None]
    mixed = sum(record.config.training.precision == "mixed" for record in records)
    precision = "in mixed precision, " if mixed == len(records) else "some in mixed precision, "
    text = (
        f"{joined([_images(record.config.data) for record in records])}, "
        f"{joined(['×'.join(map(str, record.config.data.image_size)) for record in records])} px, "
        f"{joined(epochs)} epochs in batches of "
        f"{joined([record.config.training.batch_size for record in records])}, "
        f"{precision if mixed else ''}"
        f"{'seed' if len(seeds) == 1 else 'seeds'} {joined(seeds)}, "
        f"{device_name(*(record.environment for record in records))}"
    )
    if len(untrained) == len(records):
        return f"UNTRAINED backbone; {text}"
    if untrained:
        return f"UNTRAINED backbone: {joined(untrained)}; {text}"
    return text


def _images(data: DataConfig) -> str:
    """The data set; of strips, whose they are."""
    return images_title(data.category) if data.dataset == "ksdd2" else data.dataset


def images_title(category: str) -> str:
    """The name of a category's images."""
    return IMAGE_TITLES.get(category, category)


def backbone_swap(outcomes: Sequence[Outcome], which: str = "") -> Table:
    """The slides' table of Modification 1: published columns beside what was measured here.

    Args:
        which: of the trainings are shown, in words.
    """
    rows = []
    columns = {
        "paper_v100": "paper, WRN50 (V100)",
        "baseline_wrn50_p100": "slides, WRN50 (P100)",
        "scenario_a_resnet18": "slides, A",
        "scenario_b_resnet18_nonlinear": "slides, B",
    }
    slides = published()["slides"]["table_backbone_swap"]
    for category, metrics in slides.items():
        for metric, values in metrics.items():
            row = {"category": category, "metric": metric}
            row |= {title: f"{values[key]:.1f}" for key, title in columns.items()}
            for name, title in zip(SWAP_PRESETS, ("WRN50", "A", "B"), strict=True):
                row[f"here, {title}"] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        f"Backbone swap{which and f', {which}'}: accuracy in percent, published and measured here",
        pd.DataFrame(rows),
        notes(outcomes, SWAP_PRESETS, list(slides)),
    )


def published_start(records: Sequence[Record]) -> Table:
    """Runs at the published batch size beside the author's log of the same epochs; no rows if none.

    Shows whether this is the published training, also long before its 300 epochs are over.
    """
    rows, measured_here = [], []
    for record in records:
        config = record.config
        log = published_log(config.preset, config.data.category)
        asked = config.training.batch_size == PUBLISHED_BATCH and not changes(config)
        asked &= config.data.image_size == PUBLISHED_SIZE
        if not asked or record.status != "completed" or log.empty:
            continue
        if config.data.dataset != "mvtec_ad" or config.weights != "imagenet":
            continue
        measured_here.append(record)
        done = record.epochs_done
        around = [log[log["epochs_done"] <= done].tail(1), log[log["epochs_done"] > done].head(1)]
        sides = [("published log", int(row["epochs_done"]), row) for row in pd.concat(around).iloc]
        sides.insert(1, ("here", done, record.metrics))
        for who, epochs, metrics in sides:
            row = {"category": config.data.category, "system": config.preset}
            row |= {"run": who, "epochs": epochs}
            row |= {name: _percent(metrics[name]) for name in METRICS}
            rows.append(row)
    note = "Published log: the author's public notebook, seed 42, Tesla P100, float32."
    if measured_here:
        note = f"Here: {describe(measured_here)}. {note}"
    return Table(
        "The published training and runs here after as many epochs: percent",
        pd.DataFrame(rows),
        (note,),
    )


def published_leaving() -> Table:
    """When the published runs of Modification 1 began to learn, by their logs."""
    rows = []
    for category in ("bottle", "carpet", "screw"):
        row = {"category": category}
        for name, title in SWAP_COURSES.items():
            log = published_log(name, category)
            learned = log[log["loss"] < LEARNED_LOSS]["epochs_done"]
            row[title] = f"{learned.iloc[0]}" if len(learned) else "never in 300"
        rows.append(row)
    return Table(
        f"Epochs until the published training loss lies below {LEARNED_LOSS:.2f}",
        pd.DataFrame(rows),
        (
            f"{LEARNED_LOSS:.2f} is 10 % below {ignorance_loss(True):.3f}, the loss of a network "
            "that answers 0 for every pixel and image. Of the evaluations that are kept here: "
            "every 4 to 20 epochs.",
        ),
    )


def ablation(outcomes: Sequence[Outcome]) -> Table:
    """From SimpleNet to SuperSimpleNet, step by step."""
    categories = _categories(outcomes)
    rows = []
    for category in categories:
        for name in ABLATION_PRESETS:
            model, noise = preset(name).model, preset(name).training.noise
            row = {
                "category": category,
                "system": preset(name).title,
                "feature grid": f"{model.upscale}× layer 2",
                "noise": "everywhere" if noise.mask == "half" else "Perlin masks",
                "score": "map maximum" if model.score == "map_max" else "classification head",
                "loss": "truncated L1" + (" + focal" if preset(name).training.focal else ""),
            }
            for metric in ("I-AUROC", "P-AUROC", "AUPRO", "AP-loc"):
                row[metric] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        "From SimpleNet to SuperSimpleNet: percent, ResNet18",
        pd.DataFrame(rows),
        notes(outcomes, ABLATION_PRESETS, categories),
    )


def scenario_b_noise(outcomes: Sequence[Outcome]) -> Table:
    """Why Scenario B fails: the same network with noise relative to its features' spread."""
    outcomes = [outcome for outcome in outcomes if outcome.category in NOISE_CATEGORIES]
    categories = _categories(outcomes)
    rows = []
    for category in categories:
        for name in NOISE_PRESETS:
            noise = preset(name).training.noise
            unit = "× feature spread" if noise.std_unit == "feature" else "absolute"
            row = {
                "category": category,
                "system": preset(name).title,
                "σ": f"{noise.std:g} {unit}",
            }
            for metric in ("I-AUROC", "seg-I-AUROC", "P-AUROC", "AUPRO", "AP-loc"):
                row[metric] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        "The same relative noise for both adaptors: percent",
        pd.DataFrame(rows),
        notes(outcomes, NOISE_PRESETS, categories),
    )


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
    categories = [name for name in LEARNED_CATEGORIES if name in _categories(outcomes)]
    slides = published()["slides"]["table_noise_losses_screw"]
    theirs = {
        "scenario_a": "slides, A",
        "learned_noise_v1": "slides, v1",
        "learned_noise_v2": "slides, v2",
    }
    ours = (
        "A",
        "A, larger σ",
        "v1 as published",
        "v1 as stated",
        "v2 as published",
        "v2 as stated",
        "gradient ascent",
    )
    rows = []
    for category in categories:
        for metric in METRICS:
            row = {"category": category, "metric": metric}
            for key, title in theirs.items():
                row[title] = f"{slides[metric][key]:.1f}" if category == SWEEP_CATEGORY else EMPTY
            for name, title in zip(LEARNED_PRESETS, ours, strict=True):
                row[f"here, {title}"] = measured(outcomes, name, category, metric)
            rows.append(row)
    return Table(
        f"Noise sources{which and f', {which}'}: percent, published and measured here",
        pd.DataFrame(rows),
        (
            *notes(outcomes, LEARNED_PRESETS, categories),
            *(_moved(metric, courses) for metric in ("I-AUROC", "AP-loc") if courses),
            f"Slides: 300 epochs, seed 42, {SWEEP_CATEGORY} only; v2 with β = 0.1.",
            "A: Gaussian noise, σ = 0.015; larger σ: Gaussian, 12 % of the features' spread.",
        ),
    )


def _moved(metric: str, courses: Sequence[tuple[Outcome, pd.DataFrame]]) -> str:
    """Between what a metric moved at the end of those trainings, in words."""
    ranges = [
        f"{outcome.preset} {outcome.category} {last.min():.0f} to {last.max():.0f}"
        for outcome, course in courses
        if outcome.record is not None and len(last := late(course, metric, outcome.record))
    ]
    return (
        f"{metric} over the last {LAST_EPOCHS} epochs, a chance that the last one draws from: "
        f"{', '.join(ranges)}."
    )


def late(course: pd.DataFrame, metric: str, record: Record) -> pd.Series:
    """A metric in the last `LAST_EPOCHS` epochs of a training longer than those; else nothing."""
    if record.epochs_done <= LAST_EPOCHS or metric not in course:
        return pd.Series(dtype=float)
    return course[course["epoch"] >= record.epochs_done - LAST_EPOCHS][metric].dropna()


def beta_sweep(outcomes: Sequence[Outcome]) -> Table:
    """The slides' β sweep on screw: published, its log, and both forms measured here."""
    slides = {row["beta"]: row for row in published()["slides"]["table_beta_sweep_screw"]}
    rows = []
    for beta in (None, *BETAS):
        row: dict[str, str] = {"β": "Gaussian (A)" if beta is None else f"{beta:g}"}
        for metric in ("I-AUROC", "P-AUROC"):
            row[f"slides, {metric}"] = f"{slides[beta][metric]:.1f}" if beta in slides else EMPTY
        name = "scenario_a" if beta is None else "learned_noise_v2_published"
        changed = beta_changes(beta)
        suffix = f" beta={beta:g}" if changed else ""
        last = published_log(name + suffix, SWEEP_CATEGORY).tail(1)
        for metric in ("I-AUROC", "seg-I-AUROC", "P-AUROC"):
            row[f"log, {metric}"] = _percent(last[metric].item()) if len(last) else EMPTY
        forms = ("scenario_a",) * 2 if beta is None else SWEEP_PRESETS
        for form, title in zip(forms, ("as published", "as stated"), strict=True):
            for metric in ("I-AUROC", "seg-I-AUROC", "P-AUROC"):
                row[f"here, {title}, {metric}"] = measured(
                    outcomes, form, SWEEP_CATEGORY, metric, changed
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
    return Table(f"β of the learned noise, {SWEEP_CATEGORY}", pd.DataFrame(rows), tuple(notes))


def beta_changes(beta: float | None) -> tuple[str, ...]:
    """What a run of v2 with that β has changed in its preset; None stands for the preset's own."""
    usual = preset("learned_noise_v2").training.noise.generator.beta
    return () if beta in (None, usual) else (assignment(BETA, beta),)


def inference_free(made: Comparison) -> Table:
    """What a noise generator costs at inference: the slides' figures, and paired differences."""
    slides = published()["slides"]["table_efficiency"]
    without, with_it = slides["scenario_a"], slides["learned_noise"]
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
        shown = [_spread(s, digits) if s else EMPTY for s in (first, second, difference)]
        rows.append(
            {
                "cost": title,
                "slides, A": f"{without[theirs]:.2f}",
                "slides, learned noise": f"{with_it[theirs]:.2f}",
                "slides, difference": f"{with_it[theirs] - without[theirs]:+.2f}",
                "here, A": shown[0],
                "here, learned noise": shown[1],
                "here, difference": shown[2],
                "chance": f"{sign_test(differences):.2f}" if differences else EMPTY,
            }
        )
    rows.append(
        {
            "cost": "parameters of the inference network",
            "slides, A": f"{published()['parameter_counts_256']['scenario_a_resnet18']:,}",
            "slides, learned noise": f"{with_it['parameters']:,}",
            "slides, difference": "+{:,}".format(
                with_it["parameters"] - published()["parameter_counts_256"]["scenario_a_resnet18"]
            ),
            "here, A": f"{made.first.parameters:,}",
            "here, learned noise": f"{made.second.parameters:,}",
            "here, difference": f"{made.second.parameters - made.first.parameters:+,}",
            "chance": EMPTY,
        }
    )
    return Table(
        "What learned noise costs at inference",
        pd.DataFrame(rows),
        (
            f"Measured on {device_name(made.first.environment)}, the two in turns, "
            f"{made.first.repetitions} repetitions (half for throughput and memory): median "
            "[quartiles]; differences repetition by repetition. Chance: how probable signs as "
            "one-sided as these are between two equal networks (two-sided sign test).",
            "Slides: Tesla P100, float16; measured with the generator still part of the network. "
            "+2.10 MB are 2 MiB, one block of PyTorch's allocator.",
        ),
    )


def efficiency(measurements: Sequence[Efficiency]) -> Table:
    """The slides' efficiency table: published on a P100, in float16, beside measured on one device.

    The published figures stand beside float16 where that was measured, else beside float32.
    """
    slides = published()["slides"]["table_efficiency"]
    half = [cost for cost in measurements if cost.form.endswith(HALF)]
    published_form = "plain" + HALF if half else "plain"
    keys = {"baseline": "baseline_wrn50", "scenario_a": "scenario_a", "scenario_b": "scenario_b"}
    rows = []
    for cost in measurements:
        known = cost.form == published_form and cost.preset in keys
        theirs = slides[keys[cost.preset]] if known else None

        def said(key: str, digits: int, theirs: dict[str, float] | None = theirs) -> str:
            return f"{theirs[key]:.{digits}f}" if theirs else EMPTY

        rows.append(
            {
                "system": preset(cost.preset).title,
                "form": cost.form,
                "image, px": "×".join(map(str, cost.image_size)),
                "parameters, M (slides)": said("parameters_M", 1),
                "parameters, M": f"{cost.parameters / 1e6:.2f}",
                "GFLOP an image": f"{cost.gflop:.1f}",
                "latency, ms (slides, P100)": said("latency_ms", 2),
                "latency, ms": _spread(cost.latency_ms, 1),
                "× faster than plain": (
                    EMPTY if cost.form == "plain" else _spread(cost.speedup, 2)
                ),
                "images/s (slides, P100)": said("throughput_img_s", 1),
                "images/s": _spread(cost.throughput_img_s, 1),
                "memory, MB (slides, P100)": said("gpu_memory_mb", 1),
                "memory, MB": _spread(cost.memory_mb, 0) if cost.memory_mb else EMPTY,
            }
        )
    device = device_name(*(cost.environment for cost in measurements))
    on_cpu = measurements[0].environment["device"] == "cpu"
    precision = f"float32 (forms with {HALF}: float16)" if half else "float32"
    how = (
        "peak resident memory of a fresh process minus what it held before the network was built"
        if on_cpu
        else "peak memory reserved by PyTorch, as the published code counts"
    )
    notes = [
        f"Measured on {device}, {precision}, PyTorch {measurements[0].environment['torch']}: "
        "median [quartiles]; latency of one image and throughput in batches of 16, host to host.",
        "plain: the published operations one by one; folded: the same outputs by `fuse`, measured "
        "in turns with it.",
        f"Memory: what inference on one image adds, weights included: {how}.",
        "GFLOP: a multiplication and an addition count as two.",
        "Published figures: Tesla P100, float16. Only ratios within one device compare.",
    ]
    if measurements[0].memory_allocated_mb is not None:
        allocated = ", ".join(
            f"{cost.preset} {cost.form} {cost.memory_allocated_mb:.0f}" for cost in measurements
        )
        notes.append(f"Peak memory allocated, MB: {allocated}.")
    return Table("Cost of inference, published and measured here", pd.DataFrame(rows), tuple(notes))


def bench_costs(made: Bench) -> Table:
    """Every network that was measured together: forms, presets, and what else a user could pick."""
    folded = next(
        (c for c in made.costs if (c.preset, c.form) == (SCENARIO_A, "folded")), made.costs[0]
    )
    reference = folded.latency_ms.median
    rows = []
    for cost in made.costs:
        title = PEERS.get(cost.preset) or preset(cost.preset).title
        rows.append(
            {
                "network": title,
                "form": FORM_TITLES.get(cost.form, cost.form),
                "image, px": "×".join(map(str, cost.image_size)),
                "parameters, M": f"{cost.parameters / 1e6:.2f}",
                "GFLOP": f"{cost.gflop:.1f}",
                "latency, ms": _spread(cost.latency_ms, 1),
                "× faster than plain": EMPTY if cost.form == "plain" else _spread(cost.speedup, 2),
                "× slower than A folded": f"{cost.latency_ms.median / reference:.2f}",
                "images/s": _spread(cost.throughput_img_s, 1),
                "memory, MB": _spread(cost.memory_mb, 0) if cost.memory_mb else EMPTY,
            }
        )
    return Table(
        "What inference costs, side by side",
        pd.DataFrame(rows),
        (
            f"{_where(made.environment)}, float32: median [quartiles]; all in turns in one "
            "process. Of a peer, × faster than plain is against plain Scenario A.",
            "Peers untrained, with a memory bank or covariance of the size that bottle gives them; "
            "ONNX Runtime's GFLOP are counted on the folded network.",
            *(f"{EMPTY} {reason}." for reason in made.missing),
        ),
    )


def bench_timings(made: Bench) -> Table:
    """Inference against image size and batch, a training step, and the metrics."""
    rows = [
        {
            "work": timing.work,
            "by": timing.how,
            "seconds": _spread(timing.seconds, 3),
            "× faster": _spread(timing.speedup, 2),
            "memory, GB": EMPTY if timing.memory_gb is None else f"{timing.memory_gb:.1f}",
            "repetitions": str(timing.repetitions),
        }
        for timing in made.timings
    ]
    return Table(
        "What work costs",
        pd.DataFrame(rows),
        (
            f"{_where(made.environment)}: median [quartiles], the ways of a work in turns; × "
            "faster than the first way of the same work (metrics: than the last). Memory: beyond "
            "the inputs.",
        ),
    )


def _where(environment: dict[str, Any]) -> str:
    return f"Measured on {device_name(environment)}, PyTorch {environment['torch']}"


SYNTHESIS = (  # row of the slides' table, what stands for it here, and their adjectives
    ("Baseline (WideResNet50)", "baseline", "slow", "high (masks)", "high"),
    ("Mod 1 (ResNet18)", "scenario_a", "very fast", "high (masks)", "low (fails)"),
    (
        "Mod 2 (learned noise, v2 as stated)",
        "learned_noise_v2",
        "very fast",
        "high (masks)",
        "medium to good",
    ),
    ("Mod 3 (weak supervision)", "gap_cam", "very fast", "none (labels only)", "low (blob)"),
    ("Mod 4 (mixed supervision)", "mixed_ssn", "", "", ""),
    ("evolved (this study)", "evolved", "", "", ""),
)
# What is measured of a preset whose network at inference is another one's.
SAME_NETWORK = {"learned_noise_v2": "scenario_a", "mixed_ssn": "scenario_a"}


def synthesis(outcomes: Sequence[Outcome], costs: Sequence[Efficiency], strips: str) -> Table:
    """The slides' closing table with measured figures beside its adjectives.

    Args:
        strips: the category that stands for KSDD2.
    """
    folded = {cost.preset: cost for cost in costs if cost.form == "folded"}
    reference = folded.get("baseline")
    rows = []
    for title, name, speed, labels, accuracy in SYNTHESIS:
        cost = folded.get(SAME_NETWORK.get(name, name))
        latency = EMPTY
        if cost is not None:
            height, width = cost.image_size
            latency = f"{cost.latency_ms.median:.0f} ms at {height}×{width}"
            if reference is not None and cost is not reference:
                ratio = reference.latency_ms.median / cost.latency_ms.median
                latency += f", {ratio:.1f}× faster than the baseline"
        on_screw, on_strips = (
            " / ".join(measured(outcomes, name, category, metric) for metric in metrics)
            + _unfinished(records_of(outcomes, name, category, ()))
            for category, metrics in (
                (SWEEP_CATEGORY, ("I-AUROC", "AUPRO")),
                (strips, ("AP-det", "AP-loc")),
            )
        )
        rows.append(
            {
                "model": title,
                "slides: speed": speed or EMPTY,
                "here: latency": latency,
                "slides: data cost": labels or EMPTY,
                "here: learns from": learns_from(preset(name).training.supervision),
                "slides: texture accuracy": accuracy or EMPTY,
                "screw: I-AUROC / AUPRO": on_screw,
                f"{images_title(strips)}: AP-det / AP-loc": on_strips,
            }
        )
    names = [name for _, name, *_ in SYNTHESIS]
    own = [o for o in outcomes if o.preset in names]
    records = [o.record for o in own if o.record is not None]
    device = device_name(*(cost.environment for cost in folded.values()))
    return Table(
        "Synthesis: the slides' adjectives and what was measured",
        pd.DataFrame(rows),
        (
            "Accuracy, percent, of the longest trainings: "
            f"{describe(records) if records else 'nothing was run'}; "
            f"{EMPTY}: no record, see the other tables.",
            f"Latency of one image, folded network: {device or 'not measured'}.",
            "The slides count masks as the cost of Modifications 1 and 2; their trainings see no "
            "defective image and no mask.",
        ),
    )


def is_whole(record: Record) -> bool:
    """Whether a training saw as many images as the published one: progress goes by images, so its
    epochs count, and not the size of its batches."""
    return record.epochs_done >= preset(record.config.preset).training.epochs


def _unfinished(records: Sequence[Record]) -> str:
    """What a cell adds whose trainings ended before their protocol does."""
    if not records or all(is_whole(one) or one.status == "diverged" for one in records):
        return ""
    whole = preset(records[0].config.preset).training.epochs
    return f" ({min(record.epochs_done for record in records)} of {whole} epochs)"


def learns_from(supervision: SupervisionConfig) -> str:
    """What a training with that supervision must be given, in words."""
    if not supervision.labels:
        return "sound images"
    masks = supervision.masks
    if masks is None:
        return "labels and all masks"
    if masks == 0:
        return "labels"
    return (
        f"labels, {100 * masks:g} % masks" if isinstance(masks, float) else f"labels, {masks} masks"
    )


def all_runs(records: Sequence[Record]) -> Table:
    """Every run: the command that makes it, what came out, how long it took and where."""
    rows = []
    for record in sorted(records, key=lambda r: (r.config.preset, r.run_id)):
        config, data = record.config, record.config.data
        images = images_title(data.category)
        images = f"rendered {images}" if data.dataset == "demo" else images
        row = {"run": f"`{command_of(config)}`", "images": images}
        row |= {
            name: _percent(record.metrics.get(name))
            for name in ("I-AUROC", "seg-I-AUROC", "P-AUROC", "AUPRO", "AP-loc")
        }
        row["epochs"] = f"{record.epochs_done} of {preset(config.preset).training.epochs}"
        row["training, min"] = f"{record.timings['training_s'] / 60:.0f}"
        row["device"] = device_name(record.environment)
        rows.append(row)
    return Table(
        "Every run: percent",
        pd.DataFrame(rows),
        ("Add `--data-root`, except with `--dataset demo`.",),
    )


def command_of(config: RunConfig) -> str:
    """The command that makes a run of that configuration, without the data's root."""
    settings = "".join(f" --set {setting}" for setting in changes(config))
    return run_command(config, config.preset, config.data.category) + settings


def run_command(like: RunConfig | None, name: str, category: str) -> str:
    """The command for a run of that preset and category, as long as a run that there is."""
    dataset = "mvtec_ad" if like is None else like.data.dataset
    command = f"python -m ssn_lib run {name} --dataset {dataset}"
    if dataset != "ksdd2":
        command += f" --category {category}"
    if like is not None:
        command += f" --epochs {like.training.epochs} --seed {like.seed}"
        command += f" --set training.batch_size={like.training.batch_size}"
        if like.training.precision != preset(like.preset).training.precision:
            command += f" --set training.precision={like.training.precision}"
        usual = preset(like.preset).image_size or PUBLISHED_SIZE
        if like.data.image_size not in (usual, KSDD2_SIZE):
            command += " --image-size {} {}".format(*like.data.image_size)
        if like.weights == "untrained":
            command += " --untrained"
    return command


def measured(
    outcomes: Sequence[Outcome],
    name: str,
    category: str,
    metric: str,
    changed: tuple[str, ...] = (),
) -> str:
    """A cell: the metric over the seeds, "diverged", or empty.

    Args:
        changed: to the preset, as of `config.changes`.
    """
    records = records_of(outcomes, name, category, changed)
    if not records:
        return EMPTY
    known = values(outcomes, name, category, metric, changed)
    diverged = sum(record.status == "diverged" for record in records)
    if not known:
        if diverged == len(records):
            return "diverged"
        return "undefined" if any(metric in r.metrics for r in records) else EMPTY
    return of_seeds(known) + (f", {diverged} of {len(records)} diverged" if diverged else "")


def of_seeds(values: Sequence[float]) -> str:
    """One value, or mean ± standard deviation of several; empty where there is none."""
    if not values:
        return EMPTY
    text = f"{np.mean(values):.1f}"
    return text if len(values) == 1 else f"{text} ± {np.std(values, ddof=1):.1f} (n={len(values)})"


def values(
    outcomes: Sequence[Outcome],
    name: str,
    category: str,
    metric: str,
    changed: tuple[str, ...] = (),
) -> list[float]:
    """The metric, seed by seed, of the runs that have it."""
    found = [r.metrics.get(metric) for r in records_of(outcomes, name, category, changed)]
    return [value for value in found if value is not None]


def sign_test(differences: Sequence[float]) -> float:
    """p of the two-sided sign test: are positive and negative differences equally likely?"""
    from scipy.stats import binomtest  # slow to import, and seldom asked for

    moved = [difference for difference in differences if difference != 0]
    if not moved:
        return 1.0
    return float(binomtest(sum(d > 0 for d in moved), len(moved)).pvalue)


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.1f}"


def to_markdown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table."""
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    lines += [[str(value).replace("|", "\\|") for value in row] for row in frame.to_numpy()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def notes(
    outcomes: Sequence[Outcome], presets: Sequence[str], categories: Sequence[str]
) -> tuple[str, ...]:
    """What a table of those presets and categories measured how, and why a cell is empty."""
    chosen = [
        o for o in outcomes if o.preset in presets and o.category in categories and not o.changes
    ]
    records = [outcome.record for outcome in chosen if outcome.record is not None]
    notes = []
    if records:
        one_seed = len({record.config.seed for record in records}) == 1
        spread = "one seed, so small differences say nothing" if one_seed else "mean ± sd of seeds"
        notes.append(f"Measured here: {describe(records)}; {spread}.")
    reasons: dict[str, list[str]] = {}
    for name in presets:
        for category in categories:
            asked = [o for o in chosen if (o.preset, o.category) == (name, category)]
            if not any(outcome.record for outcome in asked):
                command = run_command(records[0].config if records else None, "PRESET", "CATEGORY")
                reason = asked[0].reason if asked else f"no record; `{command}` makes it"
                reasons.setdefault(reason, []).append(f"{name} {category}")
    notes += [f"{EMPTY} {', '.join(who)}: {why}." for why, who in reasons.items()]
    if not categories:
        notes.append(f"No record yet; `{run_command(None, 'PRESET', 'CATEGORY')}` makes one.")
    return tuple(notes)


def _categories(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(outcome.category for outcome in outcomes))


def _spread(spread: Spread, digits: int) -> str:
    return f"{spread.median:.{digits}f} [{spread.low:.{digits}f}–{spread.high:.{digits}f}]"


def records_of(
    outcomes: Sequence[Outcome], name: str, category: str, changed: tuple[str, ...]
) -> list[Record]:
    """Those of the outcomes; a run that was asked for twice counts once."""
    found = {
        outcome.record.run_id: outcome.record
        for outcome in outcomes
        if (outcome.preset, outcome.category, outcome.changes) == (name, category, changed)
        and outcome.record is not None
    }
    return list(found.values())
