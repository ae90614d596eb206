"""A line when a run begins and one when it ends, with the time left for all of them.

The runs of a study are made by several notebooks, each a process of its own: a file that they share
says which runs there are and how long those took that were made.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ssn_lib.config import RunConfig
from ssn_lib.overrides import changes
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.storage import write_text
from ssn_lib.study.parallel import Task

LINE = re.compile(r"^run \d+ of \d+: .*\n?", re.MULTILINE)
LINE_S = 60  # between two lines of one run


@dataclass
class Planned:
    """A run that is to be made.

    Attributes:
        work: pixels that its training goes through.
        seconds: that it took, 0 where it failed; None before.
    """

    preset: str
    work: float
    seconds: float | None = None


class Progress:
    """How far the runs of a study are.

    Args:
        shared: the file that the study's notebooks share; None for one that is on its own.
        say: what prints a line.
    """

    def __init__(self, shared: Path | None = None, say: Callable[[str], None] | None = None):
        self._shared, self._say = shared, say or _print
        self._begun: dict[str, tuple[int, float]] = {}  # number of the run, and when it began
        self._said: dict[str, float] = {}
        self._workers = 1
        self._planned: dict[str, Planned] = {}
        if shared is not None and shared.exists():
            known = json.loads(shared.read_text(encoding="utf-8"))
            self._planned = {run_id: Planned(**values) for run_id, values in known.items()}

    def expect(self, tasks: Sequence[Task]) -> None:
        """Take in runs that are to be made, if they are not known; finished ones do not count."""
        for task in tasks:
            config = task.config
            height, width = config.data.image_size
            work = float(config.training.epochs * task.images * height * width)
            if not task.finished:
                self._planned.setdefault(config.run_id, Planned(config.preset, work))
        self._keep()

    def begins(self, task: Task) -> None:
        """A run begins."""
        config = task.config
        ended = sum(planned.seconds is not None for planned in self._planned.values())
        running = len(self._begun)
        self._workers = max(self._workers, running + 1)
        self._begun[config.run_id] = ended + running + 1, time.monotonic()
        self._said[config.run_id] = time.monotonic()
        height, width = config.data.image_size
        self._line(
            config,
            f"{named(config)}: {config.training.epochs} epochs of {task.images} images at "
            f"{height}×{width} px{self._left()}",
        )

    def epoch(self, task: Task, done: int) -> None:
        """So many epochs of a run are done; said once a minute."""
        config = task.config
        now = time.monotonic()
        if done and now - self._said.get(config.run_id, now) >= LINE_S:
            self._said[config.run_id] = now
            self._line(config, f"{done} of {config.training.epochs} epochs{self._left()}")

    def ended(self, task: Task, outcome: Outcome) -> None:
        """A run has ended, with a record or without; nothing is said of one that did not begin."""
        config = task.config
        if config.run_id not in self._begun:
            return
        number, began = self._begun[config.run_id]
        seconds = time.monotonic() - began
        self._planned[config.run_id].seconds = seconds if outcome.record else 0.0
        if outcome.record is None:
            how = f"not made: {outcome.reason}"
        else:
            how = "done" if outcome.record.status == "completed" else outcome.record.status
            how += f" in {duration(seconds)}"
        del self._begun[config.run_id]
        self._say(f"run {number} of {len(self._planned)}: {how}{self._left()}")
        self._keep()

    def left_s(self) -> float | None:
        """Seconds that the runs still take, by those made in this study: of a system by its own
        runs, else by all; None before there is one, and 0 when there is none left."""
        made = [planned for planned in self._planned.values() if planned.seconds]
        if not made:
            return None
        seconds = 0.0
        for run_id, planned in self._planned.items():
            if planned.seconds is None:
                alike = [one for one in made if one.preset == planned.preset] or made
                rate = sum(one.seconds for one in alike) / sum(one.work for one in alike)
                elapsed = 0.0
                if run_id in self._begun:
                    elapsed = time.monotonic() - self._begun[run_id][1]
                seconds += max(0.0, rate * planned.work - elapsed)
        return seconds / self._workers

    def _left(self) -> str:
        left = self.left_s()
        return f"; runs left: about {duration(left)}" if left else ""

    def _line(self, config: RunConfig, text: str) -> None:
        self._say(f"run {self._begun[config.run_id][0]} of {len(self._planned)}: {text}")

    def _keep(self) -> None:
        if self._shared is not None:
            content = {run_id: asdict(planned) for run_id, planned in self._planned.items()}
            write_text(self._shared, json.dumps(content))


def named(config: RunConfig) -> str:
    """A run in words: system, category, seed, and what was changed."""
    short = (change.split("=", 1) for change in changes(config))
    changed = "".join(f", {name.rpartition('.')[2]}={value}" for name, value in short)
    return f"{preset(config.preset).title}, {config.data.category}, seed {config.seed}{changed}"


def duration(seconds: float) -> str:
    """A time for people: "3 h 20 min", "4 min", "12 s"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _print(line: str) -> None:
    print(line, flush=True)
