"""`make gpu`: the whole use of a GPU that one has for minutes: preflight, checks, costs, runs.

Nothing is installed and nothing downloaded: PyTorch, NumPy, pandas, scikit-learn, Pillow and tqdm
are enough.
What is measured is safe at once, and the next call goes on from there. Without a GPU the same
command makes the runs, one at a time.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import torch

from ssn_lib import machine
from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.errors import InputError
from ssn_lib.models.supersimplenet import build
from ssn_lib.models.weights import find_weights
from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.record import Outcome, device_name
from ssn_lib.storage import write_text
from ssn_lib.study import parallel
from ssn_lib.study.costs import bench
from ssn_lib.study.costs import inference as inference_costs
from ssn_lib.study.costs.engines import noise_images
from ssn_lib.study.costs.records import (
    BENCH_PRESETS,
    GPU_BENCH_FILE,
    SCENARIO_A,
    Bench,
    both_forms,
    half_forms,
    read_bench,
)
from ssn_lib.study.gpu import checks, protocol
from ssn_lib.study.systems import SWAP_PRESETS
from ssn_lib.training.fit import fit

FACTS = "gpu.json"  # what the preflight found and how the checks ended, beside the runs
ARCHIVE = "protocol.zip"
REPETITIONS = 50  # timed passes of an inference
STEP_REPETITIONS = 5
ESTIMATE_STEPS = 8
RUN_BYTES = 10 * 2**30  # of a GPU that a training on strips takes at most, by an audit of the code
WANTED = ("torchvision", "skimage", "pytest")  # what can be done without


def use(
    *,
    minutes: float | None,
    data_root: Path | None,
    weights_dir: str | Path,
    runs_dir: Path,
    out: Path,
    seeds: tuple[int, ...] = protocol.SEEDS,
    only: tuple[str, ...] = (),
    epochs: int | None = None,
    precision: str = "float32",
    workers: int | None = None,
    results: Path | None = None,
) -> list[str]:
    """Do all that the time given allows, in the order in which it decides claims.

    Args:
        minutes: from now on; None for no limit.
        out: folder of the archive of all records, written anew after every finished run.
        seeds, only, epochs, precision: as in `protocol.tasks`.
        workers: trainings at once; None for one, on a GPU for up to 3.
        results: folder of records that are known already and not made again.

    Returns:
        What was not done, and why.

    Raises:
        InputError: there are no weights or no images, or a check failed.
    """
    deadline = None if minutes is None else time.time() + 60 * minutes - protocol.RESERVE_S
    device, tell = machine.device(), _teller()
    weights = find_weights("resnet18", weights_dir).resolve()
    runs_dir, archive = runs_dir.resolve(), out / ARCHIVE
    tasks, missing = protocol.tasks(
        data_root=None if data_root is None else data_root.resolve(),
        weights=weights,
        runs_dir=runs_dir,
        seeds=seeds,
        only=only,
        epochs=epochs,
        precision=precision,
    )
    facts = preflight(device, tasks, runs_dir, weights)
    for name, fact in (*facts.items(), *(("left out", reason) for reason in missing)):
        tell(f"{name}: {fact}")
    if not tasks:
        raise InputError(missing[0] if missing else "nothing to run: --only names no preset of it")
    waiting = _unmade(tasks, results if epochs is None else None)
    queue, crew = protocol.Queue(list(waiting), deadline), workers or 1
    if device.type == "cuda":
        missing += _check(device, facts, runs_dir, archive, tell)
        costs(runs_dir, tell)
        crew = _prepare(queue, device, workers)
        protocol.archive(runs_dir, archive)
    before, every = len(tasks) - len(waiting), len(tasks)
    tell(f"{before} of {every} runs are finished; {crew} at once")
    missing += _make(queue, crew, runs_dir, archive, tell)
    finished = before + sum(task.finished for task in waiting)
    tell(f"{finished} of {every} runs are finished; the new records are in {archive}")
    return [*missing, *queue.left()]


def _teller() -> Callable[[str], None]:
    """What prints a line with the seconds since now."""
    began = time.time()
    return lambda text: print(f"[{time.time() - began:4.0f} s] {text}", flush=True)


def _unmade(tasks: list[parallel.Task], results: Path | None) -> list[parallel.Task]:
    """Those that have no record, neither among the runs nor in a folder of results."""
    waiting = [task for task in tasks if not task.finished]
    return waiting if results is None else protocol.without_recorded(waiting, results)


def _check(
    device: torch.device,
    facts: dict[str, str],
    runs_dir: Path,
    archive: Path,
    tell: Callable[[str], None],
) -> list[str]:
    """Make the checks and keep how they ended.

    Returns:
        Those that failed and are not decisive, in words.

    Raises:
        InputError: a decisive one failed.
    """
    results = checks.run_all(device, tell)
    content = {"facts": facts, "checks": [asdict(result) for result in results]}
    write_text(runs_dir / FACTS, json.dumps(content, indent=1))
    failed = [result for result in results if not result.passed]
    reasons = [f"check failed: {result.name}: {result.told}" for result in failed]
    decisive = [why for why, one in zip(reasons, failed, strict=True) if one.decisive]
    if decisive:
        protocol.archive(runs_dir, archive)
        raise InputError(f"{decisive[0]}; its trainings would not be the study's")
    return reasons


def _estimate(queue: protocol.Queue, crew: int, step_s: float) -> None:
    """What an image will take in each preset, from the seconds of a training step of Scenario A.

    Trainings at once share the GPU: an image takes each of three 2.6 times longer on an H200, with
    learned noise 3.2 times.
    """
    queue.image_s = {name: 1.1 * crew * step_s / bench.TRAINED_ON for name in PRESETS}


def _make(
    queue: protocol.Queue, crew: int, runs_dir: Path, archive: Path, tell: Callable[[str], None]
) -> list[str]:
    """Make the runs and archive each record at once.

    Returns:
        The runs that failed, in words.
    """
    failed: list[str] = []
    began = time.time()
    started: dict[str, float] = {}

    def finished(task: parallel.Task, outcome: Outcome) -> None:
        line = protocol.line(task, outcome, time.time() - started.get(task.config.run_id, began))
        tell(line)
        if outcome.record is None:
            failed.append(line)
        protocol.archive(runs_dir, archive)

    protocol.make(
        queue,
        workers=crew,
        begun=lambda task: started.setdefault(task.config.run_id, time.time()),
        finished=finished,
    )
    if left := queue.left():
        more = f"; and {len(left) - 1} more" if len(left) > 1 else ""
        tell(f"{left[0]}{more}")
    return failed


def costs(runs_dir: Path, tell: Callable[[str], None]) -> None:
    """Measure inference and training steps, once."""
    kinds = [*both_forms(BENCH_PRESETS), *half_forms(SWAP_PRESETS)]
    for cost in inference_costs.measure_all(kinds, runs_dir, repetitions=REPETITIONS):
        tell(
            f"{cost.preset}, {cost.form}: {cost.latency_ms.median:.2f} ms, "
            f"{cost.throughput_img_s.median:.0f} images/s, {cost.memory_mb.median:.0f} MB"
        )
    inference_costs.compare("scenario_a", "learned_noise_v2", runs_dir, repetitions=REPETITIONS)
    path = runs_dir / GPU_BENCH_FILE
    if not path.exists():
        timings = [
            *bench.inference_timings(STEP_REPETITIONS),
            *bench.training_timings(STEP_REPETITIONS),
        ]
        measurements = Bench([], timings, [], machine.describe(machine.device()))
        write_text(path, json.dumps(asdict(measurements), indent=1))
    steps = [
        t
        for t in read_bench(runs_dir, GPU_BENCH_FILE).timings
        if t.work.startswith("training step")
    ]
    for timing in steps:
        tell(f"{timing.work}, {timing.how}: {1e3 * timing.seconds.median:.1f} ms")


def _prepare(queue: protocol.Queue, device: torch.device, workers: int | None) -> int:
    """Tell a queue what its runs will take there; how many are made at once."""
    step_s = _step_s()
    torch.cuda.empty_cache()  # the runs are other processes
    crew = workers or _crew(queue, torch.cuda.mem_get_info(device)[0], step_s)
    _estimate(queue, crew, step_s)
    return crew


def _step_s() -> float:
    """Seconds of a training step of Scenario A on 32 images, in an epoch of several."""
    config = preset(SCENARIO_A)
    images = noise_images(ESTIMATE_STEPS * bench.TRAINED_ON, PUBLISHED_SIZE)
    model = build(config.model, weights=None)
    history = fit(model, images, replace(config.training, epochs=2), seed=0, progress=None)
    return history.epochs[1].seconds / ESTIMATE_STEPS


def _crew(queue: protocol.Queue, free: int, step_s: float) -> int:
    """How many trainings at once the free bytes of a GPU and the time are enough for: fewer at once
    end sooner."""
    _estimate(queue, 1, step_s)
    first = next(filter(queue.fits, queue.tasks), None)  # what fits alone
    crew = max(1, min(protocol.GPU_WORKERS, free // RUN_BYTES))
    while first is not None and crew > 1:
        _estimate(queue, crew, step_s)
        if queue.fits(first):
            break
        crew -= 1
    return crew


def preflight(
    device: torch.device, tasks: list[parallel.Task], runs_dir: Path, weights: Path
) -> dict[str, str]:
    """What decides how this goes, one fact each.

    Raises:
        InputError: a GPU that this build of PyTorch cannot use.
    """
    facts = {"device": ", ".join(machine.check_gpus()) or device_name(machine.describe(device))}
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        facts["GPU memory"] = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        facts["low precision"] = str(machine.low_precision(device)).removeprefix("torch.")
        facts["float32 products"] = "exact (TF32 off)"
    described = machine.describe(device)
    facts["versions"] = ", ".join(
        f"{name} {described[name]}" for name in ("python", "torch", "numpy", "cuda", "torchvision")
    )
    facts["processor"] = (
        f"{os.cpu_count()} cores, {machine.available_memory() / 2**30:.0f} GiB free"
    )
    absent = [name for name in WANTED if find_spec(name) is None]
    facts["not installed"] = ", ".join(absent) or "nothing that is used"
    facts["weights"] = weights.name
    facts["images"] = (
        ", ".join(dict.fromkeys(task.config.data.category for task in tasks)) or "none"
    )
    try:
        runs_dir.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"--runs-dir {runs_dir}: is a file; give a folder") from None
    facts["disk"] = f"{shutil.disk_usage(runs_dir).free / 2**30:.0f} GiB free"
    facts["commit"] = str(described["git_commit"])
    return facts
