"""What inference costs here: parameters, arithmetic, latency, throughput, memory.

What is measured is a kind: a preset and a form of its network. The forms have the same outputs:
"plain", the published operations one by one, "folded" (`fast.folded.fuse`), either of them in 16
bits ("plain16", "folded16": float16 on a GPU, bfloat16 on a CPU), and exported files, in the engine
and precision that they are for (`records.ENGINES`). Another kind is a peer (`peers`) in the form
"peer".
Weights do not change the cost, so the networks are measured untrained; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ssn_lib import machine
from ssn_lib.config import PUBLISHED_SIZE, to_dict
from ssn_lib.errors import InputError
from ssn_lib.fast.folded import fuse
from ssn_lib.models.supersimplenet import Prediction, SuperSimpleNet
from ssn_lib.presets import preset
from ssn_lib.storage import write_text
from ssn_lib.study.costs import engines
from ssn_lib.study.costs.peers import Peer
from ssn_lib.study.costs.records import (
    ENGINES,
    HALF,
    PEERS,
    SCENARIO_A,
    Comparison,
    Efficiency,
    Kind,
    Spread,
    read_comparison,
    read_cost,
)

THROUGHPUT_BATCH = 16
WARM_UP = 1
SCHEMA = 2  # of what is kept: how it is measured and written
PEAK_RESET = "/proc/self/clear_refs"  # Linux: where a process's peak memory is reset


def measure_all(
    kinds: Sequence[Kind], runs_dir: Path, *, repetitions: int = 15, again: bool = False
) -> list[Efficiency]:
    """Measure on this machine, once.

    Results are kept in `runs_dir/efficiency`.

    Args:
        repetitions: timed passes for the latency; a third of them for the throughput, a fifth (in
            processes of their own) for the memory on a CPU, which fewer than five leave out.
        again: measure although it is known.
    """
    paths = [_cost_path(name, form, repetitions, runs_dir) for name, form in kinds]
    if again or not all(path.exists() for path in paths):
        names = ", ".join(dict.fromkeys(name for name, _ in kinds))
        print(f"measuring what inference costs: {names}", flush=True)
        keep(measure(kinds, repetitions), runs_dir)
    return [read_cost(path) for path in paths]


def keep(costs: Sequence[Efficiency], runs_dir: Path) -> None:
    """Write costs that were measured here where `measure_all` finds them."""
    for cost in costs:
        path = _cost_path(cost.preset, cost.form, cost.repetitions, runs_dir)
        write_text(path, json.dumps(asdict(cost), indent=1))


def measure(kinds: Sequence[Kind], repetitions: int) -> list[Efficiency]:
    """Measure on the device at hand, in turns, so that a disturbance meets all alike.

    Raises:
        InputError: a peer, or what ONNX takes, is not installed.
    """
    samples = _sample(kinds, repetitions, max(1, repetitions // 3), repetitions // 5)
    plain = {name: s for (name, form), s in zip(kinds, samples, strict=True) if form == "plain"}
    return [
        _summary(name, form, sample, plain.get(name) or plain[SCENARIO_A])
        for (name, form), sample in zip(kinds, samples, strict=True)
    ]


def compare(first: str, second: str, runs_dir: Path, *, repetitions: int = 15) -> Comparison:
    """Compare two presets on this machine, once; the result is kept in `runs_dir/comparisons`.

    Args:
        repetitions: timed passes for the latency; half of them for throughput and memory, which
            fewer than five leave out.
    """
    folder = runs_dir / "comparisons"
    path = _path(f"{first}-{second}", (first, second), repetitions, folder)
    if not path.exists():
        half = max(1, repetitions // 2)
        memories = half if repetitions >= 5 else 0
        one, two = _sample([(first, "plain"), (second, "plain")], repetitions, half, memories)
        pairs = [
            (getattr(one, name), getattr(two, name))
            for name in ("latency_ms", "throughput_img_s", "memory_mb")
        ]
        made = Comparison(
            _summary(first, "plain", one, one),
            _summary(second, "plain", two, two),
            *([b - a for a, b in zip(*pair, strict=True)] if all(pair) else [] for pair in pairs),
        )
        write_text(path, json.dumps(asdict(made), indent=1))
    return read_comparison(path)


class _Sample(NamedTuple):
    """One network's repeated measurements; `memory_mb` is empty where it cannot be measured."""

    parameters: int
    gflop: float
    latency_ms: list[float]
    throughput_img_s: list[float]
    memory_mb: list[float]
    memory_allocated_mb: float | None
    memory_missing: str | None
    memory_batch: tuple[float | None, float | None]


def _sample(kinds: Sequence[Kind], latencies: int, batches: int, memories: int) -> list[_Sample]:
    """Measure (preset, form) after (preset, form), in turns, so many times."""
    device = machine.device()
    if device.type == "cpu":
        machine.keep_freed_memory()  # as in a process that has trained, whether or not this one has
    models = [build(name, form) for name, form in kinds]
    ones = [torch.randn(1, 3, *image_size(name)) for name, _ in kinds]
    memory_mb: list[list[float]] = [[] for _ in kinds]
    memory_missing: list[str | None] = [None] * len(kinds)
    allocated: list[float | None] = [None] * len(kinds)
    of_batch: list[tuple[float | None, float | None]] = [(None, None)] * len(kinds)
    if device.type == "cuda":
        for index, model in enumerate(models):  # each alone on the device
            reserved, allocated[index] = _cuda_memory(model.to(device), ones[index])
            batch = ones[index].expand(THROUGHPUT_BATCH, -1, -1, -1)
            of_batch[index] = _cuda_memory(model, batch)
            memory_mb[index].append(reserved)
            model.cpu()
    models = [model.to(device) for model in models]

    def seconds(batch: int, repetitions: int) -> list[list[float]]:
        batches = [image.expand(batch, -1, -1, -1).contiguous() for image in ones]
        works = [partial(infer, *work, device) for work in zip(models, batches, strict=True)]
        return in_turns(works, repetitions)

    latency_s, batch_s = seconds(1, latencies), seconds(THROUGHPUT_BATCH, batches)
    if device.type == "cpu" and os.access(PEAK_RESET, os.W_OK):
        for _ in range(memories):
            for index, kind in enumerate(kinds):
                if memory_missing[index]:
                    continue
                try:
                    memory_mb[index].append(_cpu_memory_mb(*kind))
                except InputError as error:
                    memory_mb[index], memory_missing[index] = [], str(error)
    samples = []
    for index, (name, form) in enumerate(kinds):
        # Within another engine nothing can be counted; its network is the folded one.
        counted = build(name, "folded").to(device) if form in ENGINES else models[index]
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            counted(ones[index].to(device))
        samples.append(
            _Sample(
                sum(parameter.numel() for parameter in counted.parameters()),
                counter.get_total_flops() / 1e9,
                [1e3 * value for value in latency_s[index]],
                [THROUGHPUT_BATCH / value for value in batch_s[index]],
                memory_mb[index],
                allocated[index],
                memory_missing[index],
                of_batch[index],
            )
        )
    return samples


def _summary(name: str, form: str, sample: _Sample, plain: _Sample) -> Efficiency:
    return Efficiency(
        preset=name,
        form=form,
        repetitions=len(sample.latency_ms),
        parameters=sample.parameters,
        gflop=sample.gflop,
        latency_ms=Spread.of(sample.latency_ms),
        throughput_img_s=Spread.of(sample.throughput_img_s),
        speedup=Spread.of(
            [a / b for a, b in zip(plain.latency_ms, sample.latency_ms, strict=True)]
        ),
        memory_mb=Spread.of(sample.memory_mb) if sample.memory_mb else None,
        memory_allocated_mb=sample.memory_allocated_mb,
        environment=machine.describe(machine.device()),
        memory_missing=sample.memory_missing,
        image_size=image_size(name),
        memory_batch_mb=sample.memory_batch[0],
        memory_batch_allocated_mb=sample.memory_batch[1],
    )


def image_size(name: str) -> tuple[int, int]:
    """At which a preset or a peer is measured."""
    return (None if name in PEERS else preset(name).image_size) or PUBLISHED_SIZE


def build(name: str, form: str) -> nn.Module:
    """The network of a kind."""
    if form == "peer":
        return Peer(name)
    if form in ENGINES:
        return engines.load(engines.file_of(*parts(name, form)), form)
    if form.endswith(HALF):
        return InHalf(build(name, form.removesuffix(HALF)))
    model = SuperSimpleNet(preset(name).model, weights=None).eval()
    return model if form == "plain" else fuse(model)


class InHalf(nn.Module):
    """A network in 16 bits, bfloat16 on a CPU and float16 elsewhere: float32 images (B, 3, H, W) to
    a float32 `Prediction`."""

    def __init__(self, network: nn.Module):
        super().__init__()
        on_cpu = machine.device().type == "cpu"
        self.dtype = torch.bfloat16 if on_cpu else torch.float16
        self.network = network.to(self.dtype)

    def forward(self, images: Tensor) -> Prediction:
        """See the class."""
        return Prediction(*(part.float() for part in self.network(images.to(self.dtype))))


def parts(name: str, form: str) -> tuple[str, str, nn.Module, nn.Module, tuple[int, int]]:
    """What `engines.file_of` makes a file of."""
    return name, form, build(name, "plain"), build(name, "folded"), image_size(name)


@torch.inference_mode()
def infer(model: nn.Module, images: Tensor, device: torch.device) -> None:
    """From an image on the host to map and score on the host, as the published code times it."""
    for part in model(images.to(device)):
        part.cpu()


def in_turns(works: Sequence[Callable[[], float | None]], repetitions: int) -> list[list[float]]:
    """Seconds of every repetition of each work, taken in turns.

    They come after a warm-up, but a single one has none. Every other turn goes backwards, so that
    no work always follows the same one. A work of which only a part is meant gives back that part's
    seconds.
    """
    seconds: list[list[float]] = [[] for _ in works]
    warm_up = WARM_UP if repetitions > 1 else 0
    for repetition in range(warm_up + repetitions):
        turn = list(zip(works, seconds, strict=True))
        for work, taken in reversed(turn) if repetition % 2 else turn:
            started = time.perf_counter()
            own = work()
            whole = time.perf_counter() - started
            if repetition >= warm_up:
                taken.append(whole if own is None else own)
    return seconds


def _cuda_memory(model: nn.Module, image: Tensor) -> tuple[float, float]:
    """Peak reserved and peak allocated, in MB."""
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    with torch.inference_mode():
        model(image.cuda())
    torch.cuda.synchronize()
    return torch.cuda.max_memory_reserved() / 1e6, torch.cuda.max_memory_allocated() / 1e6


def _cpu_memory_mb(name: str, form: str) -> float:
    """Peak resident memory that building and running the network adds to a fresh process."""
    file = [str(engines.file_of(*parts(name, form)))] if form in ENGINES else []
    command = ["ssn_lib.study.costs.inference", name, form, *file]
    (megabytes,) = in_fresh_process(f"memory of {name}, {form},", command)
    return megabytes


def in_fresh_process(what: str, command: Sequence[str]) -> list[float]:
    """The numbers that `python -m command` prints.

    Raises:
        InputError: it failed; says that `what` was not measured, and why.
    """
    child = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, errors="replace"
    )
    code, said = child.returncode, child.stderr if child.returncode else child.stdout
    last = said.strip().rpartition("\n")[2]  # a library may have said something before
    if code < 0:  # as where the memory is short
        raise InputError(f"{what} not measured: its process was killed by signal {-code}")
    if code or not last:
        raise InputError(f"{what} not measured: {last or f'its process ended with status {code}'}")
    return [float(number) for number in last.split()]


def _memory_child(name: str, form: str, file: str | None = None) -> None:
    """In the fresh process: print the megabytes that inference adds."""
    torch.nn.functional.conv2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, 3, 3))  # starts the library
    before = status_kib("VmRSS")
    model = engines.load(Path(file), form) if file else build(name, form)
    Path(PEAK_RESET).write_text("5")  # the peak counts from here on
    image = torch.randn(1, 3, *image_size(name))
    for _ in range(2):
        infer(model, image, torch.device("cpu"))
    print((status_kib("VmHWM") - before) * 1024 / 1e6)


def status_kib(field: str) -> int:
    """A size that Linux tells of this process, such as VmRSS."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise InputError(f"/proc/self/status has no {field}")


def _cost_path(name: str, form: str, repetitions: int, runs_dir: Path) -> Path:
    return _path(f"{name}-{form}", (name,), repetitions, runs_dir / "efficiency")


def _path(stem: str, presets: Sequence[str], repetitions: int, folder: Path) -> Path:
    """Where a measurement of those presets is kept: networks, images, machine, versions decide."""
    environment = machine.describe(machine.device())
    del environment["git_commit"]
    models = [name if name in PEERS else to_dict(preset(name).model) for name in presets]
    sizes = [image_size(name) for name in presets]
    key = [SCHEMA, *models, *sizes, repetitions, environment]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"{stem}-{digest}.json"


if __name__ == "__main__":
    _memory_child(*sys.argv[1:])
