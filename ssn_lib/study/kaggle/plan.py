"""What a session will make: the runs that its notebooks ask for, in the order in which they decide
claims, and how long they take.

The notebooks are read, not executed: what they give `study.run_all` and `study.sweep` is all there
is to know of their runs.
"""

from __future__ import annotations

import ast
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import nbformat
import torch

from ssn_lib import machine
from ssn_lib.data.images import ImageSet
from ssn_lib.data.samples import Sample
from ssn_lib.models.supersimplenet import build
from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.record import Outcome, Record, device_name
from ssn_lib.study import parallel
from ssn_lib.study.gpu import protocol
from ssn_lib.study.gpu.protocol import PROTOCOL, Asked, images_per_epoch
from ssn_lib.study.profiles import STRIPS
from ssn_lib.study.runner import Study
from ssn_lib.training.fit import fit

ASKING = ("study.run_all", "study.sweep")  # how a notebook asks for runs
PROBED = "scenario_a"
PROBE_IMAGES, PROBE_STEPS = 32, 3  # the published batch
QUOTA_H = 30  # of GPU sessions that Kaggle gives an account in a week


@dataclass
class Forecast:
    """How long runs take, corrected by how long those took that have ended.

    Attributes:
        needed_s: seconds that each run that has not ended takes, by its id.
        workers: runs at once.
        basis: what it rests on, in words.
        slower: how many times as long as expected the runs took that have ended.
    """

    needed_s: dict[str, float]
    workers: int
    basis: str
    slower: float = 1.0
    _ended_s: float = 0.0

    def left_s(self) -> float:
        """Seconds until the last run ends."""
        return self.slower * sum(self.needed_s.values()) / self.workers

    def ended(self, task: parallel.Task, elapsed_s: float) -> None:
        """Learn from a run that has ended, so many seconds after the first began."""
        self._ended_s += self.needed_s.pop(task.config.run_id)
        if self._ended_s:
            self.slower = elapsed_s * self.workers / self._ended_s


class Plan(Study):
    """A study that makes no run, and notes what its notebooks ask for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.asked: dict[Asked, None] = {}  # in the notebooks' order, each once
        self.notebooks = 0
        self.untold: list[str] = []  # statements whose runs are known once they are executed

    def read(self, notebook: Path) -> None:
        """Note the runs that a notebook asks for, at the top level of its cells.

        What depends on more than imported names and constants is left to the notebook itself.
        """
        self.notebooks += 1
        names: dict[str, Any] = {"study": self}
        for cell in nbformat.read(notebook, as_version=4).cells:
            for statement in ast.parse(cell.source).body if cell.cell_type == "code" else ():
                try:
                    _follow(statement, names)
                except NameError:
                    self.untold.append(ast.unparse(statement))

    def tasks(self) -> tuple[list[parallel.Task], list[Outcome]]:
        """All runs, in the order in which they are to be made, and those that cannot be.

        One seed of everything first, so that any time leaves a whole study; of one seed what
        `PROTOCOL` has, in its order, then the rest in the notebooks' order.
        """
        ranks = {asked: rank for rank, asked in enumerate(PROTOCOL)}
        ordered = sorted(self.asked, key=lambda asked: ranks.get(asked, len(ranks)))
        planned = [
            self._plan(asked.preset, asked.category, asked.changes, seed)
            for seed in self._seeds
            for asked in ordered
        ]
        # A sweep's value may be the preset's own: the same run by two names.
        tasks = {task.config.run_id: task for task in planned if isinstance(task, parallel.Task)}
        counted = [self._counted(task) for task in tasks.values()]
        return counted, [outcome for outcome in planned if isinstance(outcome, Outcome)]

    def facts(self, hours: float, workers: int) -> Iterator[tuple[str, str]]:
        """What a session is about to do, as (what, found).

        Args:
            hours: of a session.
            workers: runs at once.
        """
        tasks, left = self.tasks()
        waiting = [task for task in tasks if not task.finished]
        finished = len(tasks) - len(waiting)
        yield "runs", f"{len(tasks)} for {self.notebooks} notebooks, {finished} of them finished"
        for asking in self.untold:
            yield "", f"and those of `{asking}`, known once it is executed"
        for reason, names in _by_reason(left).items():
            yield "left out", f"{len(names)} runs ({', '.join(dict.fromkeys(names))}): {reason}"
        if not waiting:
            return
        counts = Counter(task.config.seed for task in waiting)
        each = ", ".join(f"{counts[seed]} of seed {seed}" for seed in self._seeds if counts[seed])
        yield "order", f"what decides most claims first, further seeds last: {each}"
        forecast = self._forecast(waiting, workers)
        total = forecast.left_s()
        budget = hours * 3600
        ends = accumulate(forecast.needed_s[task.config.run_id] / workers for task in waiting)
        within = sum(end <= budget for end in ends)
        sessions = math.ceil(total / budget)
        yield (
            "expected",
            f"{in_words(total)}, {workers} at once: {sessions} sessions of {hours:g} h"
            if sessions > 1
            else f"{in_words(total)}, {workers} at once: this session alone",
        )
        if sessions > 1:
            yield "", f"this one makes about {within} of {len(waiting)} runs"
        if machine.device().type == "cuda":
            yield "", f"Kaggle gives {QUOTA_H} GPU hours a week"
        yield "by", forecast.basis

    def make(self, scheduler: str | None, workers: int) -> None:
        """Make what is not finished yet, and tell of each run and of the time left."""
        tasks, _ = self.tasks()
        waiting = [task for task in tasks if not task.finished]
        forecast = self._forecast(waiting, workers) if waiting else None
        began = time.monotonic()
        finished = len(tasks) - len(waiting)

        def ended(task: parallel.Task, outcome: Outcome) -> None:
            forecast.ended(task, time.monotonic() - began)
            number = finished + len(waiting) - len(forecast.needed_s)
            print(
                f"run {number} of {len(tasks)}, {in_words(forecast.left_s())} left: "
                f"{protocol.line(task, outcome)}",
                flush=True,
            )

        parallel.make_all(waiting, scheduler, ended)

    def _forecast(self, waiting: Sequence[parallel.Task], workers: int) -> Forecast:
        """How long those runs take, by a probe of the GPU, or by committed records elsewhere."""
        records, device = self.committed(), machine.device().type
        if device == "cuda":
            probed = probe()
            basis = (
                f"a training step of Scenario A, timed here ({1e3 * probed * PROBE_IMAGES:.0f} ms "
                f"for {PROBE_IMAGES} images); other systems by their ratio to it in the committed "
                "records"
            )
        else:
            probed, of_kind = None, [r for r in records if r.environment["device"] == device]
            name = device_name(*(record.environment for record in of_kind or records))
            basis = f"seconds for an image in the committed records, of {name}"
        queue = protocol.Queue([], image_s=image_seconds(records, device, probed))
        needed = {task.config.run_id: queue.needed_s(task) for task in waiting}
        return Forecast(needed, workers, basis)

    def _make_all(self, asked: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[Outcome]:
        """Note them; nothing is made, so nothing comes of it."""
        for name, category, changes in asked:
            strips = category == vars(self).get("strips")
            self.asked[Asked(name, STRIPS if strips else category, changes)] = None
        return []

    def _counted(self, task: parallel.Task) -> parallel.Task:
        """A task that says how many images it trains on in an epoch."""
        data = task.config.data
        dataset = parallel.dataset(
            data.dataset, task.data_root, task.category, data.image_size, data.resize
        )
        return replace(task, images=images_per_epoch(task.config.preset, dataset))


def in_words(seconds: float) -> str:
    """Such as "3 h 20", "12 min" or "40 s"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d}" if hours else f"{minutes} min"


def _by_reason(outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """The presets of runs that cannot be made, by the reason."""
    names: dict[str, list[str]] = {}
    for outcome in outcomes:
        names.setdefault(outcome.reason, []).append(outcome.preset)
    return names


def _follow(statement: ast.stmt, names: dict[str, Any]) -> None:
    """Do what a notebook's statement does, as far as the runs it asks for go."""
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    constant = isinstance(statement, ast.Assign) and not calls
    if isinstance(statement, (ast.Import, ast.ImportFrom)) or constant:
        exec(compile(ast.Module([statement], []), "notebook", "exec"), names)
    elif isinstance(statement, (ast.Expr, ast.Assign)):
        for call in calls:
            if ast.unparse(call.func) in ASKING:
                eval(compile(ast.Expression(call), "notebook", "eval"), names)


def image_seconds(records: Sequence[Record], device: str, probed: float | None) -> dict[str, float]:
    """Seconds that an image of 256×256 pixels takes in each preset's training, by records.

    Of each preset the median over its records, those of the same kind of device where there are
    any. One without records counts as the slowest that has some.

    Args:
        device: "cpu" or "cuda".
        probed: what an image takes in Scenario A's training on this very machine; the others are
            then taken by their ratio to it. None goes by the records alone.
    """
    ratios: dict[str, float] = {}
    unit = 0.0
    for kind in dict.fromkeys(["cpu", device]):
        times: dict[str, list[float]] = {}
        for record in records:
            height, width = record.config.data.image_size
            seconds = record.timings.get("epoch_median_s")
            if record.environment["device"] == kind and seconds:
                size = record.images_per_epoch * height * width / 256**2
                times.setdefault(record.config.preset, []).append(seconds / size)
        if PROBED in times:
            unit = median(times[PROBED])
            ratios |= {name: median(known) / unit for name, known in times.items()}
    slowest = max(ratios.values(), default=1.0)
    if probed is not None:
        unit = probed
    return {name: unit * ratios.get(name, slowest) for name in PRESETS}


@cache
def probe() -> float:
    """Seconds that an image of 256×256 pixels takes in Scenario A's training here.

    Some steps of the published batch are timed, on made-up images with an untrained backbone.
    """
    size = (256, 256)
    samples = tuple(Sample(Path(f"{index}.png"), 0, "good") for index in range(PROBE_IMAGES))
    train = ImageSet(samples, size)
    vars(train)["images"] = torch.randint(0, 256, (PROBE_IMAGES, 3, *size), dtype=torch.uint8)
    config = preset(PROBED)
    model = build(config.model, weights=None).to(machine.device())
    asked = replace(config.training, epochs=1 + PROBE_STEPS, batch_size=PROBE_IMAGES)
    history = fit(model, train, asked, seed=0, progress=None)
    # The first epoch also makes what later ones find: features, the optimiser's state.
    return median(epoch.seconds for epoch in history.epochs[1:]) / PROBE_IMAGES
