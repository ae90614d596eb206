"""What was measured of costs, as types, and where it is kept. No PyTorch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ssn_lib.config import FORMS, PUBLISHED_SIZE
from ssn_lib.runs.record import device_name
from ssn_lib.storage import write_text
from ssn_lib.study.systems import group

BENCH_PRESETS, EXPORTED = group("bench"), group("line")
BENCH_FILE, GPU_BENCH_FILE = "bench.json", "bench.cuda.json"


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


def read_bench(folder: Path, file: str = BENCH_FILE) -> Bench | None:
    """What was measured and kept in a folder of runs or results; None without it."""
    path = folder / file
    if not path.exists():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    timings = [
        Timing(**row | {name: Spread(**row[name]) for name in ("seconds", "speedup")})
        for row in content["timings"]
    ]
    costs = [from_json(cost) for cost in content["costs"]]
    return Bench(costs, timings, content["missing"], content["environment"])


HALF = "16"  # ends the name of a form in 16 bits: float16, on a CPU bfloat16
ENGINES = {  # forms that are exported files, of the folded network
    "onnx": "folded, ONNX Runtime",
    "openvino-float32": "folded, OpenVINO, float32",
    "openvino-bf16": "folded, OpenVINO, bf16",
    "openvino-int8": "folded, OpenVINO, int8 and bf16",
}
SCENARIO_A = "scenario_a"
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
        form: "plain", "folded", "plain16", "folded16", "peer", or one of `ENGINES`.
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
    memory_missing: str | None = None
    image_size: tuple[int, int] = PUBLISHED_SIZE
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
        return device_name(self.environment)

    @property
    def device_type(self) -> str:
        """Such as "cpu" or "cuda"."""
        return self.environment["device"]

    @property
    def file(self) -> str:
        """What it is called where the best are kept."""
        return _file(self.name, self.device_type)


def in_turns(cost: Efficiency, costs: Iterable[Efficiency]) -> Spread:
    """Latency at the speed that the machine had for the plain networks, in ms: that of the plain
    form (of a peer: of plain Scenario A) over the ratio measured in turns with it. A machine's
    speed differs between processes, and only the ratio does not.

    Args:
        costs: measured together with `cost`; without its plain form among them its own latency is
            given.
    """
    name = SCENARIO_A if cost.form == "peer" else cost.preset
    plain = next((c for c in costs if (c.preset, c.form) == (name, "plain")), None)
    if plain is None or cost.form == "plain":
        return cost.latency_ms
    time, ratio = plain.latency_ms.median, cost.speedup
    return Spread(time / ratio.median, time / ratio.high, time / ratio.low)


def both_forms(presets: Iterable[str]) -> list[Kind]:
    """Every preset plain and folded."""
    return [(name, form) for name in presets for form in FORMS]


def half_forms(presets: Sequence[str]) -> list[Kind]:
    """Likewise, in float16."""
    return [(name, form + HALF) for name, form in both_forms(presets)]


def keep_best(runs_dir: Path, results: Path) -> None:
    """Copy measurements from `runs_dir` to `results`, unless what is there tells more (`rank`).

    Costs are set against each other, so there is one processor and one GPU at most: another one's
    are taken when they replace all that is there of their kind, and else left out with a warning. A
    comparison stands alone.
    """
    for folder, read in (("efficiency", read_cost), ("comparisons", read_comparison)):
        there = {cost.file: cost for cost in map(read, (results / folder).glob("*.json"))}
        better = {}
        for path in sorted((runs_dir / folder).glob("*.json")):
            cost = read(path)
            before = better[cost.file][0] if cost.file in better else there.get(cost.file)
            if before is None or cost.rank >= before.rank:
                better[cost.file] = cost, path
        after = there | {file: cost for file, (cost, _) in better.items()}
        for kind in sorted({cost.device_type for cost, _ in better.values()}):
            devices = {cost.device for cost in after.values() if cost.device_type == kind}
            if folder == "efficiency" and len(devices) > 1:
                warnings.warn(
                    f"{runs_dir / folder} left out: with {results / folder} it would be of "
                    f"{' and '.join(sorted(devices))}; `make bench` measures all of it on one",
                    stacklevel=2,
                )
                continue
            for file, (cost, path) in better.items():
                if cost.device_type == kind:
                    write_text(results / folder / file, path.read_text(encoding="utf-8"))


def kept_costs(
    kinds: Sequence[Kind], folder: Path, device_type: str | None = None
) -> list[Efficiency]:
    """What is known in a folder of runs or results of one device, in the order of `kinds`.

    Of several devices it is the one that most of these kinds were measured on, a GPU before a
    processor; of several measurements the one that tells most (`rank`).

    Args:
        device_type: "cpu" or "cuda": of such a device alone.
    """
    names = [f"{name}-{form}" for name, form in kinds]
    devices: dict[tuple[bool, str], dict[str, Efficiency]] = {}
    for path in sorted((folder / "efficiency").glob("*.json")):
        cost = read_cost(path)
        if cost.name in names and device_type in (None, cost.device_type):
            known = devices.setdefault((cost.device_type == "cuda", cost.device), {})
            if cost.name not in known or cost.rank > known[cost.name].rank:
                known[cost.name] = cost
    if not devices:
        return []
    _, most = max(devices.items(), key=lambda item: (len(item[1]), item[0]))
    return [most[name] for name in names if name in most]


def kept_comparison(first: str, second: str, folder: Path) -> Comparison | None:
    """As `kept_costs`, a comparison; None without one."""
    comparisons = map(read_comparison, sorted((folder / "comparisons").glob("*.json")))
    comparisons = [one for one in comparisons if one.name == f"{first}-{second}"]
    return max(comparisons, key=lambda one: (one.device_type == "cuda", one.rank), default=None)


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


def _file(name: str, device_type: str) -> str:
    return f"{name}.json" if device_type == "cpu" else f"{name}.{device_type}.json"


def read_cost(path: Path) -> Efficiency:
    """What `measure_all` kept in that file."""
    return from_json(json.loads(path.read_text(encoding="utf-8")))


def read_comparison(path: Path) -> Comparison:
    """What `compare` kept in that file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    costs = [from_json(content.pop(name)) for name in ("first", "second")]
    return Comparison(*costs, **content)


def from_json(content: dict[str, Any]) -> Efficiency:
    """From what `asdict` makes of it."""
    content.pop("peak_gflop_s", None)  # of older measurements
    if "image_size" in content:  # not in measurements of before there were others
        content["image_size"] = tuple(content["image_size"])
    for field in ("latency_ms", "throughput_img_s", "speedup", "memory_mb"):
        content[field] = Spread(**content[field]) if content[field] else None
    return Efficiency(**content)


PEERS = {
    "anomalib_supersimplenet": "SuperSimpleNet (ResNet18), anomalib",
    "anomalib_patchcore": "PatchCore (ResNet18, coreset of 10 %), anomalib",
    "anomalib_padim": "PaDiM (ResNet18), anomalib",
    "anomalib_efficient_ad": "EfficientAD-S, anomalib",
}
