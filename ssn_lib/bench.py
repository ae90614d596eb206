"""`make bench`: what inference, training and metrics cost here, against what else does it.

Ratios are of works measured in turns in one process; absolute times say little about another
machine. The costs of inference are `efficiency`'s, with ONNX Runtime and `peers` beside them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from ssn_lib import efficiency, env
from ssn_lib.config import preset
from ssn_lib.data.images import ImageSet, Sample, normalise
from ssn_lib.efficiency import SCENARIO_A, Efficiency, Kind, Spread, both_forms
from ssn_lib.errors import InputError
from ssn_lib.files import write_text
from ssn_lib.losses import detection_loss
from ssn_lib.metrics import pixel_metrics
from ssn_lib.model import SuperSimpleNet
from ssn_lib.noise import perlin_masks
from ssn_lib.peers import PEERS
from ssn_lib.training import fit

PRESETS = ("baseline", "scenario_a", "scenario_b", "gap_cam", "evolved")
SIZES = ((256, 256), (384, 384), (640, 232))
BATCHES = (1, 4, 16)
TRAINED_ON = 32  # images: one step of the published batch
KSDD2_TEST = (1004, 640, 232)
FILE, GPU_FILE = "bench.json", "bench.cuda.json"
METRICS = ("ours", "scikit-learn")


@dataclass(frozen=True)
class Timing:
    """One work, against the same work done otherwise.

    Attributes:
        work, how: what is done, and by what.
        seconds: of one repetition.
        speedup: seconds of the first way of that work over this one's, repetition by repetition.
        memory_gb: the process's peak beyond its inputs, where it was measured.
    """

    work: str
    how: str
    repetitions: int
    seconds: Spread
    speedup: Spread
    memory_gb: float | None = None


@dataclass(frozen=True)
class Bench:
    """Everything that was measured, and where.

    Attributes:
        missing: what was left out, and why.
    """

    costs: list[Efficiency]
    timings: list[Timing]
    missing: list[str]
    environment: dict[str, Any]


def measure(runs_dir: Path, *, repetitions: int = 15) -> Bench:
    """Measure everything here, and keep it in `runs_dir`."""
    # First: what other networks leave in the process's memory makes a training step slower.
    steps = training(max(3, repetitions // 5))
    kinds, missing = measurable(env.device())
    costs = efficiency.measure_all(kinds, runs_dir, repetitions=repetitions, again=True)
    missing += [cost.memory_missing for cost in costs if cost.memory_missing]
    timings = [*inference(max(3, repetitions // 3)), *steps]
    of_metrics, failed = metrics()
    made = Bench(costs, [*timings, *of_metrics], [*missing, *failed], env.describe(env.device()))
    write_text(runs_dir / FILE, json.dumps(asdict(made), indent=1))
    return made


def measurable(device: torch.device) -> tuple[list[Kind], list[str]]:
    """The kinds whose inference can be measured on a device, and why the others cannot."""
    kinds, missing = both_forms(PRESETS), []
    others: list[Kind] = [(name, "peer") for name in PEERS]
    if device.type == "cpu":
        others.insert(0, (SCENARIO_A, "onnx"))
    else:
        missing.append(
            f"ONNX Runtime not measured: it runs on the CPU here, the others on {device}"
        )
    for kind in others:
        try:
            efficiency.build(*kind)
            kinds.append(kind)
        except InputError as error:
            missing.append(str(error))
    return kinds, missing


def read(folder: Path, file: str = FILE) -> Bench | None:
    """What was measured and kept in a folder of runs or results; None without it."""
    path = folder / file
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    timings = [
        Timing(**row | {name: Spread(**row[name]) for name in ("seconds", "speedup")})
        for row in content["timings"]
    ]
    costs = [efficiency.from_json(cost) for cost in content["costs"]]
    return Bench(costs, timings, content["missing"], content["environment"])


@torch.inference_mode()
def inference(repetitions: int) -> list[Timing]:
    """Scenario A against image size and batch: plain, then folded."""
    device = env.device()
    networks = [efficiency.build(SCENARIO_A, form).to(device) for form in ("plain", "folded")]
    shapes = [(1, *size) for size in SIZES] + [(count, *SIZES[0]) for count in BATCHES[1:]]
    timings = []
    for count, height, width in shapes:
        images = torch.randn(count, 3, height, width)
        works = [partial(efficiency.infer, network, images, device) for network in networks]
        work = f"inference, Scenario A, batch {count}, {height}×{width}"
        timings += _in_turns(work, dict(zip(("plain", "folded"), works, strict=True)), repetitions)
    return timings


def training(repetitions: int) -> list[Timing]:
    """A step of Scenario A on the published batch: by the published operations, then as here."""
    config = preset(SCENARIO_A)
    device = env.device()
    images = torch.randint(0, 256, (TRAINED_ON, 3, *SIZES[0]), dtype=torch.uint8)
    samples = tuple(Sample(Path(f"{index}.png"), 0, "good") for index in range(TRAINED_ON))
    train = ImageSet(samples, SIZES[0])
    vars(train)["images"] = images
    models = [SuperSimpleNet(config.model, weights=None).to(device) for _ in range(2)]
    two_steps = replace(config.training, epochs=2)
    weights = [w for part in models[0].trained_parts() for w in part.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=config.training.head_lr)

    def ours(precision: str) -> float:
        asked = replace(two_steps, precision=precision)
        history = fit(models[1], train, asked, seed=0, progress=None)
        return history.epochs[1].seconds  # without what is made once: features, optimiser state

    def plain() -> None:
        published_step(models[0], normalise(images).to(device), optimiser).item()

    works = {
        "published operations": plain,
        "here: cached, split, batched": partial(ours, "float32"),
    }
    if env.gains_from_low_precision(device):
        works["here, mixed precision"] = partial(ours, "mixed")
    return _in_turns("training step, Scenario A, batch 32", works, repetitions)


def published_step(
    model: SuperSimpleNet, images: Tensor, optimiser: torch.optim.Optimizer
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
    loss = detection_loss(map_logits, score, masks, labels, config.focal)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.detach()


def metrics() -> tuple[list[Timing], list[str]]:
    """All pixel metrics of a test set of KSDD2's size, each way once in a process of its own.

    Returns:
        What was measured, and why the rest was not.
    """
    work = f"pixel metrics, {'×'.join(map(str, KSDD2_TEST))}"
    timings: list[Timing] = []
    missing: list[str] = []
    for how in METRICS:
        try:
            seconds, *memory_gb = efficiency.in_fresh_process(
                f"{work}, {how},", ["ssn_lib.bench", how]
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
    seconds = efficiency.in_turns(list(ways.values()), repetitions)
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
    counted = os.access(efficiency.PEAK_RESET, os.W_OK)
    if counted:
        before = efficiency.status_kib("VmRSS")
        Path(efficiency.PEAK_RESET).write_text("5")
    started = time.perf_counter()
    if how == METRICS[0]:
        pixel_metrics(maps[:, None], masks[:, None])
    else:
        flat = masks.ravel(), maps.ravel()
        roc_auc_score(*flat)
        average_precision_score(*flat)
    seconds = time.perf_counter() - started
    memory_gb = (efficiency.status_kib("VmHWM") - before) * 1024 / 1e9 if counted else ""
    print(seconds, memory_gb)


if __name__ == "__main__":
    _metrics_child(*sys.argv[1:])
