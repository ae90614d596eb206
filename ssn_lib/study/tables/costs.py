"""The tables of costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ssn_lib.config import PRECISIONS
from ssn_lib.data.registry import images_title
from ssn_lib.presets import preset
from ssn_lib.runs.exports import JUDGED, TOLERANCE, Export
from ssn_lib.runs.record import device_name
from ssn_lib.study.costs.records import (
    ENGINES,
    EXPORTED,
    HALF,
    PEERS,
    SCENARIO_A,
    Bench,
    Efficiency,
    in_turns,
)
from ssn_lib.study.published import published_figures
from ssn_lib.study.systems import short, title
from ssn_lib.study.tables.cells import quartiles
from ssn_lib.study.tables.table import EMPTY, Table, frame_of, number

FORM_TITLES = {"folded" + HALF: "folded, bf16", **ENGINES, "peer": EMPTY}


def efficiency(measurements: Sequence[Efficiency]) -> Table:
    """The slides' efficiency table: published on a P100, in float16, beside measured on one device.

    The published figures stand beside float16 where that was measured, else beside float32.
    """
    slides = published_figures()["slides"]["table_efficiency"]
    half = [cost for cost in measurements if cost.form.endswith(HALF)]
    published_form = "plain" + HALF if half else "plain"
    keys = {"baseline": "baseline_wrn50", "scenario_a": "scenario_a", "scenario_b": "scenario_b"}
    rows = []
    for cost in measurements:
        known = cost.form == published_form and cost.preset in keys
        theirs = slides[keys[cost.preset]] if known else None

        def said(key: str, digits: int, theirs: dict[str, float] | None = theirs) -> str:
            return number(theirs[key], f".{digits}f") if theirs else EMPTY

        rows.append(
            {
                "system": title(cost.preset),
                "form": cost.form,
                "image, px": "×".join(map(str, cost.image_size)),
                "parameters, M (slides)": said("parameters_M", 1),
                "parameters, M": number(cost.parameters / 1e6, ".2f"),
                "GFLOP an image": number(cost.gflop),
                "latency, ms (slides, P100)": said("latency_ms", 2),
                "latency, ms": quartiles(cost.latency_ms, 1),
                "× faster than plain": _speedup(cost),
                "images/s (slides, P100)": said("throughput_img_s", 1),
                "images/s": quartiles(cost.throughput_img_s, 1),
                "memory, MB (slides, P100)": said("gpu_memory_mb", 1),
                "memory, MB": quartiles(cost.memory_mb, 0) if cost.memory_mb else EMPTY,
            }
        )
    device = device_name(*(cost.environment for cost in measurements))
    on_cpu = measurements[0].device_type == "cpu"
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
        "in turns with it. × faster than plain: than the same system's plain form in float32, of "
        "all forms.",
        f"Memory: what inference on one image adds, weights included: {how}.",
        "GFLOP: a multiplication and an addition count as two.",
        "Published figures: Tesla P100, float16. Only ratios within one device compare.",
    ]
    if measurements[0].memory_allocated_mb is not None:
        allocated = ", ".join(
            f"{short(cost.preset)} {cost.form} {cost.memory_allocated_mb:.0f}"
            for cost in measurements
        )
        notes.append(f"Peak memory allocated, MB: {allocated}.")
    heading = f"Cost of inference, published and measured here: {device}"
    return Table(heading, frame_of(rows), tuple(notes))


def bench_costs(made: Bench) -> Table:
    """Every network that was measured together: forms, presets, and what else a user could pick."""
    folded = next(
        (c for c in made.costs if (c.preset, c.form) == (SCENARIO_A, "folded")), made.costs[0]
    )
    reference = in_turns(folded, made.costs).median
    rows = []
    for cost in made.costs:
        network = PEERS.get(cost.preset) or title(cost.preset)
        rows.append(
            {
                "network": network,
                "form": FORM_TITLES.get(cost.form, cost.form),
                "image, px": "×".join(map(str, cost.image_size)),
                "parameters, M": number(cost.parameters / 1e6, ".2f"),
                "GFLOP": number(cost.gflop),
                "latency, ms": quartiles(cost.latency_ms, 1),
                "× faster than plain": _speedup(cost),
                "× slower than A folded": number(
                    in_turns(cost, made.costs).median / reference, ".2f"
                ),
                "images/s": quartiles(cost.throughput_img_s, 1),
                "memory, MB": quartiles(cost.memory_mb, 0) if cost.memory_mb else EMPTY,
            }
        )
    return Table(
        "What inference costs, side by side",
        frame_of(rows),
        (
            f"{_where(made.environment)}, float32 but where the form says so: median [quartiles]; "
            "plain and folded in turns in one process; the engines and 16 bits of a system in "
            "turns with its plain form in another, as they run on the line; the peers in turns "
            "with plain Scenario A.",
            "× slower than A folded: by these ratios in turns. The machine's speed differs from "
            "process to process, so latencies of different processes do not compare by themselves.",
            "images/s: in batches of 16. Where that is less than 1000 / latency, images one after "
            "another are faster on this machine.",
            "Peers untrained, with a memory bank or covariance of the size that bottle gives them; "
            "GFLOP of ONNX Runtime and OpenVINO are counted on the folded network. int8: "
            "calibrated on noise, for its cost alone.",
            *(f"{EMPTY} {reason}." for reason in made.missing),
        ),
    )


def exports(made: Sequence[Export], bench: Bench | None) -> Table:
    """Exported runs by precision: what it costs in accuracy, beside what `make bench` measured of
    the same network.

    Args:
        made: the exports.
        bench: None where it was not measured.
    """
    costs = {} if bench is None else {(cost.preset, cost.form): cost for cost in bench.costs}
    rows = []
    for export in sorted(made, key=lambda e: (e.preset, e.category, PRECISIONS.index(e.precision))):
        model = preset(export.preset).model
        network = next((name for name in EXPORTED if preset(name).model == model), "")
        cost = costs.get((network, f"openvino-{export.precision}"))
        if cost and tuple(export.image_size) != cost.image_size:
            cost = None
        told = export.cost
        before, changes = told["before"], told["changes"]
        row = {
            "system": title(export.preset),
            "images": images_title(export.category),
            "epochs": str(export.epochs),
            "image, px": "×".join(map(str, export.image_size)),
            "precision": export.precision,
        }
        for name in JUDGED:
            known = before[name] is not None
            row[f"{name}, float32"] = number(before[name], ".1f") if known else EMPTY
            row[f"{name}, change"] = number(changes[name], "+z.2f") if known else EMPTY
        beyond = [n for n in JUDGED if changes[n] is not None and changes[n] < -TOLERANCE]
        row |= {
            "decisions that flip, %": number(100 * told["flipped"], ".1f"),
            "exported": f"refused: {', '.join(beyond)}" if beyond else "yes",
            "× faster than plain": quartiles(cost.speedup, 2) if cost else EMPTY,
            "latency, ms": quartiles(cost.latency_ms, 1) if cost else EMPTY,
            "images/s": quartiles(cost.throughput_img_s, 1) if cost else EMPTY,
        }
        rows.append(row)
    processors = ", ".join(dict.fromkeys(export.processor for export in made))
    notes = [
        f"Accuracy: the run's test images, in OpenVINO, against float32, on {processors}; one "
        f"seed, and not always the training that the other tables show. Refused: what loses more "
        f"than {TOLERANCE} points, unless `--tolerance` allows it.",
        "× faster, latency, images/s: of the same network untrained, by `make bench`, where it "
        "measured that image size; plain is PyTorch in float32"
        + (f". {_where(bench.environment)}." if bench else "."),
    ]
    return Table("Exports: what fewer bits cost and gain", frame_of(rows), tuple(notes))


def bench_timings(made: Bench) -> Table:
    """Inference against image size and batch, a training step, and the metrics."""
    rows = [
        {
            "work": timing.work,
            "by": timing.how,
            "seconds": quartiles(timing.seconds, _digits(timing.seconds.median)),
            "× faster": quartiles(timing.speedup, 2),
            "memory, GB": EMPTY if timing.memory_gb is None else number(timing.memory_gb),
            "repetitions": str(timing.repetitions),
        }
        for timing in made.timings
    ]
    return Table(
        f"What work costs: {device_name(made.environment)}",
        frame_of(rows),
        (
            f"{_where(made.environment)}: median [quartiles], the ways of a work in turns; × "
            "faster than the first way of the same work (metrics: than the last), the median of "
            "the ratios repetition by repetition, which is not the ratio of the medians. Memory: "
            "beyond the inputs, measured of the pixel metrics alone.",
        ),
    )


def _speedup(cost: Efficiency) -> str:
    return EMPTY if cost.form == "plain" else quartiles(cost.speedup, 2)


def _digits(seconds: float) -> int:
    """Decimals that show three digits of it."""
    return max(0, 2 - math.floor(math.log10(seconds)))


def _where(environment: dict[str, Any]) -> str:
    return f"Measured on {device_name(environment)}, PyTorch {environment['torch']}"
