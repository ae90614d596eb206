"""The runs of the published protocol, in the order in which they decide claims, and their making.

Several are trained at once on one GPU (their evaluations and start-ups then overlap), one at a time
elsewhere. A finished run is safe at once, in its folder and in an archive of all records; one that
was stopped goes on from its checkpoint the next time.
"""

from __future__ import annotations

import contextlib
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from multiprocessing import connection, get_context
from pathlib import Path

import torch

from ssn_lib import machine, overrides
from ssn_lib.config import FOLDS, PUBLISHED_SIZE, RunConfig
from ssn_lib.data.sets.ksdd2 import KSDD2_SIZE
from ssn_lib.errors import InputError
from ssn_lib.overrides import assignment, changes
from ssn_lib.presets import preset
from ssn_lib.runs.record import KEPT_FILES, MAPS, Outcome
from ssn_lib.runs.run import configure
from ssn_lib.runs.teaching import teacher_of
from ssn_lib.storage import written_whole
from ssn_lib.study import parallel
from ssn_lib.study.profiles import SEEDS, STRIPS
from ssn_lib.study.records import read_records
from ssn_lib.study.systems import BETA, FOLD, MIXED_PERLIN, PERLIN, SWEEP_PRESETS, group
from ssn_lib.training.fit import epochs_in
from ssn_lib.training.holdout import trained_per_epoch

GPU_WORKERS = 3  # trainings at once on one GPU
RESERVE_S = 20  # at the end of the time given, for what has been begun to be written
FINISH_S = 15  # a run's start and its last evaluation, beside its epochs


@dataclass(frozen=True)
class ProtocolRun:
    """One run of the published protocol: a preset on a category, with changes as `key=value`."""

    preset: str
    category: str
    changes: tuple[str, ...] = ()


def _on(category: str, *presets: str) -> list[ProtocolRun]:
    return [ProtocolRun(name, category) for name in presets]


_FIRST: tuple[ProtocolRun, ...] = (  # what decides most claims, and in which order
    *_on("screw", "scenario_a"),
    *_on("bottle", "scenario_b"),
    *_on("screw", "learned_noise_v2_published"),
    *_on("bottle", "scenario_a"),
    *_on("screw", "learned_noise_v2", "scenario_b"),
    # Two claims rest on these five, two on the sweep, and none on v1 alone.
    *_on("bottle", "scenario_b_relative", "scenario_a_relative"),
    *_on("screw", "scenario_a_relative"),
    *_on("bottle", *SWEEP_PRESETS),
    *(  # the first three are likely to decide both claims: one β that is as good refutes a best one
        ProtocolRun(name, "screw", (assignment(BETA, beta),))
        for beta in (0.05, 0.0015, 0.5, 0.015)
        for name in ("learned_noise_v2", "learned_noise_v2_published")
    ),
    *_on("screw", "learned_noise_v1_published", "learned_noise_v1", "scenario_b_relative"),
    *(
        asked
        for category in ("bottle", "screw")
        for asked in _on(category, "simplenet", "simplenet_upscaled", "simplenet_perlin")
    ),
    *_on("bottle", "learned_noise_v1_published", "learned_noise_v1"),
    *_on(STRIPS, "gap_cam", "full_ssn", "simplenet", "mixed_ssn", "weak_ssn", "cam_traced"),
    ProtocolRun("weak_ssn", STRIPS, (assignment(PERLIN, MIXED_PERLIN),)),
    # A threshold without test labels wants the scores of training images that were left out.
    *(ProtocolRun("gap_cam", STRIPS, (assignment(FOLD, fold),)) for fold in range(FOLDS)),
)


def _after(first: Sequence[ProtocolRun]) -> list[ProtocolRun]:
    """The systems of the protocol that are not among those: on strips where they learn from
    labels, else on plates."""
    named = {asked.preset for asked in first}
    return [
        ProtocolRun(name, category)
        for name in group("protocol")
        if name not in named
        for category in (
            (STRIPS,) if preset(name).training.supervision.labels else ("bottle", "screw")
        )
    ]


# Every one has a second and a third seed after them all.
PROTOCOL = (*_FIRST, *_after(_FIRST))


@dataclass
class Queue:
    """What is to be run, and what it takes.

    Attributes:
        tasks: not begun yet, in order.
        deadline: in seconds since 1970; no run begins that would end after it. None for no limit.
        image_s: seconds that an image of 256×256 pixels takes in a preset's training beside as many
            others as are made at once, where that is known; the guess for another preset is the
            largest.
    """

    tasks: list[parallel.Task]
    deadline: float | None = None
    image_s: dict[str, float] = field(default_factory=dict)

    def next(self, share: float = 1.0) -> parallel.Task | None:
        """The first task that would end in time. Those before it stay: what they take may prove to
        be less.

        Args:
            share: of the time that it takes beside others; less than 1 where it is alone.
        """
        for task in self.tasks:
            if self.fits(task, share):
                self.tasks.remove(task)
                return task
        return None

    def fits(self, task: parallel.Task, share: float = 1.0) -> bool:
        """Whether a task that begins now would end in time."""
        needed = FINISH_S + share * (self.needed_s(task) - FINISH_S)
        return self.deadline is None or time.time() + needed <= self.deadline

    def left(self) -> list[str]:
        """What was not begun, and why."""
        remaining = 0.0 if self.deadline is None else max(0.0, self.deadline - time.time())
        return [
            f"{title(task)}: not begun, it would take about {self.needed_s(task):.0f} s and "
            f"{remaining:.0f} s are left"
            for task in self.tasks
        ]

    def needed_s(self, task: parallel.Task) -> float:
        """Seconds to the task's end, from its checkpoint if there is one; a teacher that is not
        trained yet comes before it."""
        epochs = _epochs_left(task, task.config)
        if task.config.training.supervision.teacher is not None:
            epochs += _epochs_left(task, teacher_of(task.config))
        known = self.image_s.get(task.config.preset) or max(self.image_s.values(), default=0.0)
        return FINISH_S + epochs * _size(task) * known

    def seen(self, task: parallel.Task, epoch_s: float) -> None:
        """Learn from an epoch of a task."""
        self.image_s[task.config.preset] = epoch_s / _size(task)


def tasks(
    *,
    data_root: Path | None,
    weights: Path | None,
    runs_dir: Path,
    seeds: Sequence[int] = SEEDS,
    only: Sequence[str] = (),
    epochs: int | None = None,
    precision: str = "float32",
) -> tuple[list[parallel.Task], list[str]]:
    """The protocol as tasks, seed after seed, and why others cannot be made.

    Args:
        only: these presets; empty for all.
        epochs: for a rehearsal; None as published.
        precision: of the matrix products, where a preset allows it; see `TrainingConfig`.

    Raises:
        InputError: an unknown preset in `only`.
    """
    for name in only:
        preset(name)
    planned, missing = [], {}
    for seed in seeds:
        for asked in PROTOCOL:
            if only and asked.preset not in only:
                continue
            strips = asked.category == STRIPS
            base = preset(asked.preset)
            if base.training.supervision.pseudo_masks == "traced" and not find_spec("skimage"):
                missing[f"{asked.preset}: scikit-image, which its tracing takes, is missing"] = None
                continue
            changes = list(asked.changes)
            if precision != "float32" and base.training.noise.source != "generator":
                changes.append(f"training.precision={precision}")
            try:
                dataset = parallel.dataset(
                    STRIPS if strips else "mvtec_ad",
                    data_root,
                    asked.category,
                    KSDD2_SIZE if strips else PUBLISHED_SIZE,
                    base.resize,
                )
                config = configure(
                    asked.preset,
                    dataset,
                    seed=seed,
                    epochs=epochs,
                    weights=weights,
                    assignments=tuple(changes),
                )
                images = trained_per_epoch(dataset.train, config.training, seed)
            except InputError as error:
                missing[str(error)] = None
                continue
            planned.append(
                parallel.Task(config, asked.category, data_root, weights, runs_dir, images=images)
            )
    return planned, list(missing)


def without_recorded(waiting: Sequence[parallel.Task], results: Path) -> list[parallel.Task]:
    """Those tasks that no record in a folder of results is of.

    The files may be others, packed for another machine say, and so may the precision: it is the
    same configuration, on all images of the category, for as many epochs in batches as large.
    """
    recorded = set()
    for record in read_records(results)[0]:  # what cannot be read stands for nothing
        recorded.add((*_asked(record.config), record.counts["train"]))
    return [
        task for task in waiting if (*_asked(task.config), _training_images(task)) not in recorded
    ]


def _asked(config: RunConfig) -> tuple:
    training, data = config.training, config.data
    size = training.epochs, training.batch_size, *data.image_size, data.resize
    return config.preset, data.category, changes(config), config.seed, *size


def _training_images(task: parallel.Task) -> int:
    data = task.config.data
    dataset = parallel.dataset(
        data.dataset, task.data_root, task.category, data.image_size, data.resize
    )
    return len(dataset.train)


def make(
    queue: Queue,
    *,
    workers: int = 1,
    begun: Callable[[parallel.Task], None],
    finished: Callable[[parallel.Task, Outcome], None],
) -> None:
    """Make the queue's runs, so many at once, each in a process that takes one after the other.

    Args:
        begun, finished: told of each as it begins and as soon as it has ended.
    """
    crew = [_Worker() for _ in range(min(workers, len(queue.tasks)))]

    def give(worker: _Worker) -> None:
        worker.task = queue.next()
        if worker.task is None and not any(one.task for one in crew):
            worker.task = queue.next(1 / workers)
        if worker.task is not None:
            begun(worker.task)
            with contextlib.suppress(OSError):  # a worker that has died: `told` says so
                worker.pipe.send(replace(worker.task, deadline=queue.deadline))

    try:
        for worker in crew:
            give(worker)
        while busy := [worker for worker in crew if worker.task is not None]:
            for worker in busy:
                told = worker.told()
                if isinstance(told, float):
                    # All at once take longer than the busy ones did.
                    queue.seen(worker.task, told * workers / len(busy))
                    for idle in (one for one in crew if one.task is None):
                        give(idle)  # what did not fit may fit by what was seen
                elif told is not None:
                    finished(worker.task, told)
                    give(worker)
            connection.wait([worker.pipe for worker in busy if worker.task], timeout=1)
    finally:
        for worker in crew:
            worker.stop()


@dataclass(frozen=True)
class Broken:
    """The last outcome of a process that can use its GPU no more, as after some errors none can."""

    outcome: Outcome


class _Worker:
    """A process that makes one run after another."""

    def __init__(self) -> None:
        self.task: parallel.Task | None = None
        self._start()

    def _start(self) -> None:
        context = get_context("spawn")  # a forked process cannot use CUDA
        self.pipe, theirs = context.Pipe()
        # One processor each: a GPU's work is launched by one thread.
        threads = 1 if torch.cuda.is_available() else torch.get_num_threads()
        self.process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
        self.process.start()
        theirs.close()

    def told(self) -> float | Outcome | None:
        """Seconds of an epoch, the outcome of the run, or None for nothing new."""
        try:
            told = self.pipe.recv() if self.pipe.poll() else None
            if isinstance(told, Broken):
                self.process.join()
                self._start()
                return told.outcome
            return told
        except (EOFError, OSError):
            self.process.join()
            config, code = self.task.config, self.process.exitcode
            self._start()
            reason = f"its process ended with status {code}"
            return Outcome(config.preset, config.data.category, config.seed, None, reason)

    def stop(self) -> None:
        """End the process; a run in it goes on another time."""
        if self.task is None:  # it waits for another one, and ends by itself without
            self.pipe.close()
            self.process.join(timeout=10)
        self.process.terminate()
        self.process.join()


def _serve(pipe: connection.Connection, threads: int) -> None:
    """What a worker's process does until it is ended."""
    torch.set_num_threads(threads)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        began = time.monotonic()
        before = -1

        def report(done: int) -> None:
            nonlocal began, before
            now = time.monotonic()
            if done > before >= 1:  # the first also makes what is made once
                pipe.send(now - began)
            began, before = now, done

        outcome = parallel.make(task, report)
        if outcome.record is None and not _device_works():
            pipe.send(Broken(outcome))
            return
        pipe.send(outcome)


def _device_works() -> bool:
    try:
        torch.zeros(1, device=machine.device()).item()
    except RuntimeError:
        return False
    return True


def archive(runs_dir: Path, path: Path) -> None:
    """All records of a folder of runs as one file for `report --add-runs`, whole or not at all.

    Weights and maps of images that are not published stay with the runs.
    """
    with written_whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for found in _records(runs_dir):
            packed.write(found, found.relative_to(runs_dir))


def _records(runs_dir: Path) -> Iterator[Path]:
    for record in sorted(runs_dir.glob("*/record.json")):
        for name in KEPT_FILES:
            if name != MAPS and (record.parent / name).exists():
                yield record.parent / name
    for pattern in ("efficiency/*.json", "comparisons/*.json", "bench*.json", "gpu.json"):
        yield from sorted(runs_dir.glob(pattern))


def _epochs_left(task: parallel.Task, config: RunConfig) -> int:
    """Of a run in the task's folder."""
    folder = task.runs_dir / config.run_id
    if (folder / "record.json").exists():
        return 0
    return config.training.epochs - epochs_in(folder / "checkpoint.pt")


def _size(task: parallel.Task) -> float:
    """Of an epoch, in images of 256×256 pixels."""
    height, width = task.config.data.image_size
    return max(1, task.images) * height * width / (256 * 256)


def line(task: parallel.Task, outcome: Outcome, took_s: float) -> str:
    """What is said of a run that has ended."""
    record = outcome.record
    if record is None:
        return f"{title(task)}: {outcome.reason}"
    metrics = ", ".join(
        f"{name} {value:.1f}"
        for name in ("I-AUROC", "AUPRO", "AP-loc")
        if (value := record.metrics.get(name)) is not None
    )
    return f"{title(task)}: {record.status}, {metrics or 'no metrics'}, {took_s:.0f} s"


def title(task: parallel.Task) -> str:
    """A run in words."""
    config = task.config
    changes = [change.rpartition(".")[2] for change in overrides.changes(config)]
    return " ".join((config.preset, *changes, config.data.category, f"seed {config.seed}"))
