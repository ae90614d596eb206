"""What inference costs here: parameters, arithmetic, latency, throughput, memory.

What is measured is a kind: a preset and a form of its network. The forms have the same outputs:
"plain", the published operations one by one, "folded" (`folding.fuse`), either of them in float16
on a GPU ("plain16", "folded16"), and "onnx", the folded network in ONNX Runtime. Another kind is a
peer (`peers`) in the form "peer".
Weights do not change the cost, so the networks are measured untrained; nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ssn_lib import env
from ssn_lib.config import preset, to_dict
from ssn_lib.errors import InputError
from ssn_lib.export import Exported, export
from ssn_lib.files import write_text
from ssn_lib.folding import FORMS, fuse
from ssn_lib.model import Prediction, SuperSimpleNet
from ssn_lib.peers import PEERS, Peer

IMAGE_SIZE = (256, 256)
THROUGHPUT_BATCH = 16
WARM_UP = 1
PEAK_SIDE = 2048
HALF = "16"  # ends the name of a form that computes in float16
SCENARIO_A = "scenario_a"
SCHEMA = 2  # of what is kept: how it is measured and written
PEAK_RESET = "/proc/self/clear_refs"  # Linux: where a process's peak memory is reset


Kind = tuple[str, str]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: list[float]) -> Spread:
        """From the measurements themselves."""
        low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
        return Spread(float(median), float(low), float(high))


@dataclass(frozen=True)
class Efficiency:
    """The cost of one preset's inference.

    Attributes:
        preset: or the name of a peer.
        form: "plain", "folded", "plain16", "folded16", "onnx" or "peer".
        repetitions: timed passes for the latency.
        parameters: of the inference network, backbone included.
        gflop: for one image, a multiplication and an addition counted as two.
        latency_ms: one image to map and score on the host.
        throughput_img_s: in batches of 16.
        speedup: latency of the same preset's plain form (of a peer: of plain Scenario A) over this
            one's, repetition by repetition.
        memory_mb: what inference on one image adds, weights included, in 10^6 bytes. CPU: peak
            resident memory of a fresh process minus what it held before the network was built (None
            outside Linux, and where that process failed). CUDA: peak reserved by PyTorch, as the
            published code counts.
        memory_allocated_mb: CUDA only: peak allocated.
        peak_gflop_s: what this device makes of a large float32 matrix product, measured in the same
            process; None in records of before it was measured.
        memory_missing: why `memory_mb` is None although it was to be measured.
        image_size: height and width of the images: the preset's own, or the published one.
        memory_batch_mb, memory_batch_allocated_mb: CUDA only: as above, of a batch of 16.
    """

    preset: str
    form: str
    repetitions: int
    parameters: int
    gflop: float
    latency_ms: Spread
    throughput_img_s: Spread
    speedup: Spread
    memory_mb: Spread | None
    memory_allocated_mb: float | None
    environment: dict[str, Any]
    peak_gflop_s: float | None = None
    memory_missing: str | None = None
    image_size: tuple[int, int] = IMAGE_SIZE
    memory_batch_mb: float | None = None
    memory_batch_allocated_mb: float | None = None

    @property
    def name(self) -> str:
        """What tells it from the other measurements of one machine."""
        return f"{self.preset}-{self.form}"

    @property
    def rank(self) -> tuple[bool, int]:
        """The higher, the rather it is kept: with memory, then by repetitions."""
        return self.memory_mb is not None, self.repetitions

    @property
    def device(self) -> str:
        """Where it was measured."""
        return env.device_name(self.environment)

    @property
    def device_type(self) -> str:
        """Such as "cpu" or "cuda"."""
        return self.environment["device"]

    @property
    def file(self) -> str:
        """What it is called where the best are kept."""
        return _file(self.name, self.device_type)


def both_forms(presets: Sequence[str]) -> list[Kind]:
    """Every preset plain and folded."""
    return [(name, form) for name in presets for form in FORMS]


def half_forms(presets: Sequence[str]) -> list[Kind]:
    """Likewise, in float16."""
    return [(name, form + HALF) for name, form in both_forms(presets)]


def measure_all(
    kinds: Sequence[Kind], runs_dir: Path, *, repetitions: int = 15, again: bool = False
) -> list[Efficiency]:
    """Measure on this machine, once.

    Results are kept in `runs_dir/efficiency`.

    Args:
        repetitions: timed passes for the latency; a third of them for the throughput, a fifth (in
            processes of their own) for the memory on a CPU.
        again: measure although it is known.
    """
    folder = runs_dir / "efficiency"
    paths = [_path(f"{name}-{form}", (name,), repetitions, folder) for name, form in kinds]
    if again or not all(path.exists() for path in paths):
        for path, cost in zip(paths, measure(kinds, repetitions), strict=True):
            write_text(path, json.dumps(asdict(cost), indent=1))
    return [_read(path) for path in paths]


def keep_best(runs_dir: Path, results: Path) -> None:
    """Copy measurements from `runs_dir` to `results`, unless what is there tells more (`rank`).

    Costs are set against each other, so there is one processor and one GPU at most: another one's
    are taken when they replace all that is there of their kind, and else left out with a warning. A
    comparison stands alone.
    """
    for folder, read in (("efficiency", _read), ("comparisons", _read_comparison)):
        there = {made.file: made for made in map(read, (results / folder).glob("*.json"))}
        better = {}
        for path in sorted((runs_dir / folder).glob("*.json")):
            made = read(path)
            before = better[made.file][0] if made.file in better else there.get(made.file)
            if before is None or made.rank >= before.rank:
                better[made.file] = made, path
        after = there | {file: made for file, (made, _) in better.items()}
        for kind in sorted({made.device_type for made, _ in better.values()}):
            devices = {made.device for made in after.values() if made.device_type == kind}
            if folder == "efficiency" and len(devices) > 1:
                warnings.warn(
                    f"{runs_dir / folder} left out: with {results / folder} it would be of "
                    f"{' and '.join(sorted(devices))}; `make bench` measures all of it on one",
                    stacklevel=2,
                )
                continue
            for file, (made, path) in better.items():
                if made.device_type == kind:
                    write_text(results / folder / file, path.read_text(encoding="utf-8"))


def kept(kinds: Sequence[Kind], folder: Path, device_type: str | None = None) -> list[Efficiency]:
    """What is known in a folder of runs or results of one device, in the order of `kinds`.

    Of several devices it is the one that most of these kinds were measured on, a GPU before a
    processor; of several measurements the one that tells most (`rank`).

    Args:
        device_type: "cpu" or "cuda": of such a device alone.
    """
    names = [f"{name}-{form}" for name, form in kinds]
    devices: dict[tuple[bool, str], dict[str, Efficiency]] = {}
    for path in sorted((folder / "efficiency").glob("*.json")):
        cost = _read(path)
        if cost.name in names and device_type in (None, cost.device_type):
            known = devices.setdefault((cost.device_type == "cuda", cost.device), {})
            if cost.name not in known or cost.rank > known[cost.name].rank:
                known[cost.name] = cost
    if not devices:
        return []
    _, most = max(devices.items(), key=lambda item: (len(item[1]), item[0]))
    return [most[name] for name in names if name in most]


def kept_comparison(first: str, second: str, folder: Path) -> Comparison | None:
    """As `kept`, a comparison; None without one."""
    made = map(_read_comparison, sorted((folder / "comparisons").glob("*.json")))
    made = [one for one in made if one.name == f"{first}-{second}"]
    return max(made, key=lambda one: (one.device_type == "cuda", one.rank), default=None)


def measure(kinds: Sequence[Kind], repetitions: int) -> list[Efficiency]:
    """Measure on the device at hand, in turns, so that a disturbance meets all alike.

    Raises:
        InputError: a peer, or what ONNX takes, is not installed.
    """
    samples = _sample(kinds, repetitions, max(2, repetitions // 3), max(1, repetitions // 5))
    plain = {name: s for (name, form), s in zip(kinds, samples, strict=True) if form == "plain"}
    return [
        _summary(name, form, sample, plain.get(name) or plain[SCENARIO_A])
        for (name, form), sample in zip(kinds, samples, strict=True)
    ]


@dataclass(frozen=True)
class Comparison:
    """Two presets measured in turns, in plain form.

    Attributes:
        latency_ms, throughput_img_s, memory_mb: the second's cost minus the first's, for every
            repetition; empty where it cannot be measured.
    """

    first: Efficiency
    second: Efficiency
    latency_ms: list[float]
    throughput_img_s: list[float]
    memory_mb: list[float]

    @property
    def name(self) -> str:
        """As `Efficiency.name`."""
        return f"{self.first.preset}-{self.second.preset}"

    @property
    def rank(self) -> tuple[bool, int]:
        """As `Efficiency.rank`."""
        return bool(self.memory_mb), self.first.repetitions

    @property
    def device(self) -> str:
        """As `Efficiency.device`."""
        return self.first.device

    @property
    def device_type(self) -> str:
        """As `Efficiency.device_type`."""
        return self.first.device_type

    @property
    def file(self) -> str:
        """As `Efficiency.file`."""
        return _file(self.name, self.device_type)


def compare(first: str, second: str, runs_dir: Path, *, repetitions: int = 15) -> Comparison:
    """Compare two presets on this machine, once; the result is kept in `runs_dir/comparisons`.

    Args:
        repetitions: timed passes for the latency; half of them for throughput and memory.
    """
    folder = runs_dir / "comparisons"
    path = _path(f"{first}-{second}", (first, second), repetitions, folder)
    if not path.exists():
        half = max(1, repetitions // 2)
        one, two = _sample([(first, "plain"), (second, "plain")], repetitions, half, half)
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
    return _read_comparison(path)


class _Sample(NamedTuple):
    """One network's repeated measurements; `memory_mb` is empty where it cannot be measured."""

    parameters: int
    gflop: float
    latency_ms: list[float]
    throughput_img_s: list[float]
    memory_mb: list[float]
    memory_allocated_mb: float | None
    peak_gflop_s: float
    memory_missing: str | None
    memory_batch: tuple[float | None, float | None]


def _sample(kinds: Sequence[Kind], latencies: int, batches: int, memories: int) -> list[_Sample]:
    """Measure (preset, form) after (preset, form), in turns, so many times."""
    device = env.device()
    if device.type == "cpu":
        env.keep_freed_memory()  # as in a process that has trained, whether or not this one has
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
    peak, samples = _peak_gflop_s(device), []
    for index, (name, form) in enumerate(kinds):
        # Within ONNX Runtime nothing can be counted; its arithmetic is the folded network's.
        counted = build(name, "folded").to(device) if form == "onnx" else models[index]
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
                peak,
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
        environment=env.describe(env.device()),
        peak_gflop_s=sample.peak_gflop_s,
        memory_missing=sample.memory_missing,
        image_size=image_size(name),
        memory_batch_mb=sample.memory_batch[0],
        memory_batch_allocated_mb=sample.memory_batch[1],
    )


def _file(name: str, device_type: str) -> str:
    return f"{name}.json" if device_type == "cpu" else f"{name}.{device_type}.json"


def image_size(name: str) -> tuple[int, int]:
    """At which a preset or a peer is measured."""
    return (None if name in PEERS else preset(name).image_size) or IMAGE_SIZE


def build(name: str, form: str) -> nn.Module:
    """The network of a kind."""
    if form == "peer":
        return Peer(name)
    if form == "onnx":
        return Exported(_onnx_file(name))
    if form.endswith(HALF):
        return InHalf(build(name, form.removesuffix(HALF)))
    model = SuperSimpleNet(preset(name).model, weights=None).eval()
    return model if form == "plain" else fuse(model)


class InHalf(nn.Module):
    """A network in float16: float32 images (B, 3, H, W) to a float32 `Prediction`."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.half()

    def forward(self, images: Tensor) -> Prediction:
        """See the class."""
        return Prediction(*(part.float() for part in self.network(images.half())))


@cache
def _onnx_file(name: str) -> Path:
    """A preset's folded network as a file that lasts as long as this process; exporting is slow."""
    path = Path(_folder().name) / f"{name}.onnx"
    export(build(name, "folded"), path, image_size(name), {})
    return path


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()


@torch.inference_mode()
def infer(model: nn.Module, images: Tensor, device: torch.device) -> None:
    """From an image on the host to map and score on the host, as the published code times it."""
    for part in model(images.to(device)):
        part.cpu()


def in_turns(works: Sequence[Callable[[], float | None]], repetitions: int) -> list[list[float]]:
    """Seconds of every repetition of each work, taken in turns after a warm-up.

    Every other turn goes backwards, so that no work always follows the same one. A work of which
    only a part is meant gives back that part's seconds.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for repetition in range(WARM_UP + repetitions):
        turn = list(zip(works, seconds, strict=True))
        for work, taken in reversed(turn) if repetition % 2 else turn:
            started = time.perf_counter()
            own = work()
            whole = time.perf_counter() - started
            if repetition >= WARM_UP:
                taken.append(whole if own is None else own)
    return seconds


def _peak_gflop_s(device: torch.device) -> float:
    """The rate of a float32 matrix product that is large enough to reach it."""
    matrix = torch.randn(PEAK_SIDE, PEAK_SIDE, device=device)

    def work() -> None:
        (matrix @ matrix)[0, 0].item()  # which waits for the device

    (seconds,) = in_turns([work], 5)
    return 2 * PEAK_SIDE**3 / min(seconds) / 1e9


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
    file = [str(_onnx_file(name))] if form == "onnx" else []
    command = ["ssn_lib.efficiency", name, form, *file]
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
    model = Exported(Path(file)) if file else build(name, form)
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


def _path(stem: str, presets: Sequence[str], repetitions: int, folder: Path) -> Path:
    """Where a measurement of those presets is kept: networks, images, machine, versions decide."""
    environment = env.describe(env.device())
    del environment["git_commit"]
    models = [name if name in PEERS else to_dict(preset(name).model) for name in presets]
    sizes = [image_size(name) for name in presets]
    key = [SCHEMA, *models, *sizes, repetitions, environment]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:8]
    return folder / f"{stem}-{digest}.json"


def _read(path: Path) -> Efficiency:
    return from_json(json.loads(path.read_text(encoding="utf-8")))


def _read_comparison(path: Path) -> Comparison:
    content = json.loads(path.read_text(encoding="utf-8"))
    costs = [from_json(content.pop(name)) for name in ("first", "second")]
    return Comparison(*costs, **content)


def from_json(content: dict[str, Any]) -> Efficiency:
    """From what `asdict` makes of it."""
    if "image_size" in content:  # not in measurements of before there were others
        content["image_size"] = tuple(content["image_size"])
    for field in ("latency_ms", "throughput_img_s", "speedup", "memory_mb"):
        content[field] = Spread(**content[field]) if content[field] else None
    return Efficiency(**content)


if __name__ == "__main__":
    _memory_child(*sys.argv[1:])
