"""`make bench`: what inference, training and metrics cost here, against what else does it.

Ratios are of works measured in turns in one process; absolute times say little about another
machine. `costs.inference` measures the costs of inference. What a preset costs on the line (as
files in other engines, and in 16 bits) is measured in a process of its own, as it runs there:
beside the networks of all other presets the small ones lose half of what they gain. So are the
`peers`, which are large.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from ssn_lib import machine
from ssn_lib.data.images import normalise
from ssn_lib.deploy.onnx import INPUT
from ssn_lib.deploy.openvino import Compiled, openvino
from ssn_lib.errors import InputError
from ssn_lib.metrics import pixel_metrics
from ssn_lib.models.supersimplenet import AdaptedDetector, build
from ssn_lib.noise.perlin import perlin_masks
from ssn_lib.presets import preset
from ssn_lib.storage import write_text
from ssn_lib.study.costs import engines
from ssn_lib.study.costs import inference as inference_costs
from ssn_lib.study.costs.records import (
    BENCH_FILE,
    BENCH_PRESETS,
    ENGINES,
    EXPORTED,
    HALF,
    PEERS,
    SCENARIO_A,
    Bench,
    Efficiency,
    Kind,
    Spread,
    Timing,
    both_forms,
)
from ssn_lib.training.fit import fit

SIZES = ((256, 256), (384, 384), (640, 232))
BATCHES = (1, 4, 16)
TRAINED_ON = 32  # images: one step of the published batch
KSDD2_TEST = (1004, 640, 232)
METRICS = ("ours", "scikit-learn")
Result = TypeVar("Result")


def measure(runs_dir: Path, *, repetitions: int = 10) -> Bench:
    """Measure everything here, and keep it in `runs_dir`."""
    # First: what other networks leave in the process's memory makes a training step slower.
    steps = training_timings(max(3, repetitions // 5))
    device = machine.device()
    kinds = both_forms(dict.fromkeys((*BENCH_PRESETS, *EXPORTED)))
    costs = inference_costs.measure_all(kinds, runs_dir, repetitions=repetitions, again=True)
    timings, missing = [*inference_timings(max(3, repetitions // 3)), *steps], []
    for what, plain, beside in _measured_apart(device):
        print(f"measuring what inference costs: {what}", flush=True)
        try:
            found, reasons = _apart(beside_plain, plain, beside, repetitions)
        except InputError as error:
            found, reasons = [], [f"{what} not measured: {error}"]
        inference_costs.keep(found, runs_dir)
        costs, missing = costs + found, missing + reasons
    if device.type == "cpu":
        with contextlib.suppress(InputError):  # of the package; `missing` says so already
            timings += _apart(stream_timings, max(3, repetitions // 3))
    else:
        missing.append(
            "ONNX Runtime and OpenVINO not measured: they run on the CPU here, the others on "
            f"{device}"
        )
    missing += [cost.memory_missing for cost in costs if cost.memory_missing]
    of_metrics, failed = metrics_timings()
    result = Bench(
        costs, [*timings, *of_metrics], [*missing, *failed], machine.describe(machine.device())
    )
    write_text(runs_dir / BENCH_FILE, json.dumps(asdict(result), indent=1))
    return result


def _measured_apart(device: torch.device) -> list[tuple[str, str, list[Kind]]]:
    """What has a process of its own: in words, whose plain form is its reference, its kinds."""
    peers = [("peers", SCENARIO_A, [(name, "peer") for name in PEERS])] if PEERS else []
    if device.type != "cpu":
        return peers
    forms = list(ENGINES)
    if machine.gains_from_low_precision(device):
        forms.append("folded" + HALF)
    return [
        *((f"exports of {name}", name, [(name, form) for form in forms]) for name in EXPORTED),
        *peers,
    ]


def beside_plain(
    name: str, kinds: list[Kind], repetitions: int
) -> tuple[list[Efficiency], list[str]]:
    """What kinds cost, in turns with a preset's plain form.

    Returns:
        What was measured, and why the rest was not.
    """
    built, missing = [], []
    for kind in kinds:
        try:
            inference_costs.build(*kind)
            built.append(kind)
        except InputError as error:
            missing.append(str(error))
    if not built:
        return [], missing
    _, *costs = inference_costs.measure([(name, "plain"), *built], repetitions)
    return costs, missing


def _apart(work: Callable[..., Result], *arguments: object) -> Result:
    """What a function gives back in a fresh process.

    Raises:
        InputError: the function's own, or the process was killed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BrokenProcessPool:
            raise InputError("its process was killed, as where the memory is short") from None
        except KeyboardInterrupt:  # the process need not have had one, and would be waited for
            for process in list(pool._processes.values()):
                process.terminate()
            raise


@torch.inference_mode()
def inference_timings(repetitions: int) -> list[Timing]:
    """Scenario A against image size and batch: plain, then folded."""
    device = machine.device()
    networks = [inference_costs.build(SCENARIO_A, form).to(device) for form in ("plain", "folded")]
    shapes = [(1, *size) for size in SIZES] + [(count, *SIZES[0]) for count in BATCHES[1:]]
    timings = []
    for count, height, width in shapes:
        images = torch.randn(count, 3, height, width)
        works = [partial(inference_costs.infer, network, images, device) for network in networks]
        work = f"inference, Scenario A, batch {count}, {height}×{width}"
        timings += _in_turns(work, dict(zip(("plain", "folded"), works, strict=True)), repetitions)
    return timings


def stream_timings(repetitions: int) -> list[Timing]:
    """Many images through Scenario A in OpenVINO, bf16: what keeps all cores busy."""
    count = max(BATCHES)
    one, batch = (torch.randn(n, 3, *SIZES[0]).numpy() for n in (1, count))
    model = engines.file_of(*inference_costs.parts(SCENARIO_A, "openvino-bf16"))
    threads = torch.get_num_threads()

    def in_streams(streams: int) -> Callable[[], None]:
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": streams,
        }
        engine = openvino()
        compiled = engine.Core().compile_model(model, "CPU", settings)
        queue = engine.AsyncInferQueue(compiled, streams)

        def work() -> None:
            for _ in range(count):
                queue.start_async({INPUT: one})
            queue.wait_all()

        return work

    single = Compiled(model, "bf16")

    def in_one_batch() -> None:
        single.request.infer({INPUT: batch})

    works = {
        "one after another": in_streams(1),
        "in one batch": in_one_batch,
        f"in {threads} streams of one thread": in_streams(threads),
    }
    return _in_turns(f"{count} images, Scenario A, OpenVINO bf16", works, repetitions)


def training_timings(repetitions: int) -> list[Timing]:
    """A step of Scenario A on the published batch: by the published operations, then as here."""
    config = preset(SCENARIO_A)
    device = machine.device()
    train = engines.noise_images(TRAINED_ON, SIZES[0])
    models = [build(config.model, weights=None).to(device) for _ in range(2)]
    two_steps = replace(config.training, epochs=2)
    weights = [w for part in models[0].trained_parts() for w in part.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=config.training.head_lr)

    def ours(precision: str) -> float:
        asked = replace(two_steps, precision=precision)
        history = fit(models[1], train, asked, seed=0, progress=None)
        return history.epochs[1].seconds  # the first also makes the optimiser's state

    def plain() -> None:
        published_step(models[0], normalise(train.images).to(device), optimiser).item()

    works = {
        "published operations": plain,
        "here: cached, split, batched": partial(ours, "float32"),
    }
    if machine.gains_from_low_precision(device):
        works["here, mixed precision"] = partial(ours, "mixed")
    return _in_turns("training step, Scenario A, batch 32", works, repetitions)


def published_step(
    model: AdaptedDetector, images: Tensor, optimiser: torch.optim.Optimizer
) -> Tensor:
    """One step as the public code does it: nothing cached, the duplicated batch through everything.

    Args:
        images: (B, 3, H, W), normalised.

    Returns:
        The loss.
    """
    config = preset(SCENARIO_A).training
    model.train()
    with torch.no_grad():
        plain = model.features(images)
    adapted = model.adaptor(plain)
    plain, adapted = torch.cat((plain, plain)), torch.cat((adapted, adapted))
    size = plain.shape[-2:]
    masks = [perlin_masks(1, size, config.noise.perlin_threshold) for _ in range(len(plain))]
    masks = torch.cat(masks).to(images.device)
    noise = config.noise.std * torch.randn_like(adapted) * masks
    map_logits, score = model.heads(plain + noise, adapted + noise)
    labels = masks.amax((1, 2, 3))
    loss = model.loss(map_logits, score, masks, labels, config.focal)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


def metrics_timings() -> tuple[list[Timing], list[str]]:
    """All pixel metrics of a test set of KSDD2's size, each way once in a process of its own.

    Returns:
        What was measured, and why the rest was not.
    """
    work = f"pixel metrics, {'×'.join(map(str, KSDD2_TEST))}"
    timings: list[Timing] = []
    missing: list[str] = []
    for how in METRICS:
        try:
            seconds, *memory_gb = inference_costs.in_fresh_process(
                f"{work}, {how},", ["ssn_lib.study.costs.bench", how]
            )
        except InputError as error:
            missing.append(str(error))
            continue
        timings.append(
            Timing(
                work,
                "here: P-AUROC, AP-loc, AUPRO" if how == METRICS[0] else f"{how}: two of them",
                1,
                Spread.of([seconds]),
                Spread.of([1.0]),
                *memory_gb,
            )
        )
    return [
        replace(t, speedup=Spread.of([timings[-1].seconds.median / t.seconds.median]))
        for t in timings
    ], missing


def _in_turns(
    work: str, ways: dict[str, Callable[[], float | None]], repetitions: int
) -> list[Timing]:
    """The ways of doing a work, in turns; the first one is what the others are held against."""
    seconds = inference_costs.in_turns(list(ways.values()), repetitions)
    return [
        Timing(
            work,
            how,
            repetitions,
            Spread.of(taken),
            Spread.of([a / b for a, b in zip(seconds[0], taken, strict=True)]),
        )
        for how, taken in zip(ways, seconds, strict=True)
    ]


def _metrics_child(how: str) -> None:
    """In the fresh process: print the seconds and, on Linux, the gigabytes beyond the inputs."""
    rng = np.random.default_rng(0)
    masks = np.zeros(KSDD2_TEST, np.uint8)
    for image in masks[:110]:  # as many defective ones as KSDD2 has
        top, left = rng.integers(0, (600, 200))
        image[top : top + 40, left : left + 8] = 1
    maps = rng.standard_normal(KSDD2_TEST, dtype=np.float32) + masks
    counted = os.access(inference_costs.PEAK_RESET, os.W_OK)
    if counted:
        before = inference_costs.status_kib("VmRSS")
        Path(inference_costs.PEAK_RESET).write_text("5")
    started = time.perf_counter()
    if how == METRICS[0]:
        pixel_metrics(maps[:, None], masks[:, None])
    else:
        flat = masks.ravel(), maps.ravel()
        roc_auc_score(*flat)
        average_precision_score(*flat)
    seconds = time.perf_counter() - started
    memory_gb = (inference_costs.status_kib("VmHWM") - before) * 1024 / 1e9 if counted else ""
    print(seconds, memory_gb)


if __name__ == "__main__":
    _metrics_child(*sys.argv[1:])
