"""What a session makes: the runs that its notebooks ask for, what decides most claims first, and
how long they take."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import accumulate
from statistics import median

from ssn_lib import machine
from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.models.supersimplenet import build
from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.record import Outcome, Record, device_name
from ssn_lib.study import parallel
from ssn_lib.study.costs.engines import noise_images
from ssn_lib.study.gpu import protocol
from ssn_lib.study.plan import Plan
from ssn_lib.study.profiles import STRIPS
from ssn_lib.study.progress import Progress, duration
from ssn_lib.training.fit import fit

PROBED = "scenario_a"
PROBE_IMAGES, PROBE_STEPS = 32, 3  # the published batch
QUOTA_H = 30  # of GPU sessions that Kaggle gives an account in a week


class SessionPlan(Plan):
    """The runs that notebooks ask for, in the order in which a session makes them."""

    def planned(self) -> list[parallel.Task | Outcome]:
        """Every run, and in its place why it cannot be made, where it cannot.

        One seed of everything first, so that any time leaves a whole study; of one seed what
        `PROTOCOL` has, in its order, then the rest in the notebooks' order.
        """
        ranks = {
            (asked.preset, asked.category, asked.changes): rank
            for rank, asked in enumerate(protocol.PROTOCOL)
        }

        def rank(asked: tuple[str, str, tuple[str, ...]]) -> int:
            name, category, changes = asked
            strips = category == vars(self).get("strips")
            return ranks.get((name, STRIPS if strips else category, changes), len(ranks))

        ordered = sorted(self.asked, key=rank)
        return [self._plan(*asked, seed) for seed in self._seeds for asked in ordered]

    def make(self, scheduler: str | None) -> None:
        """Make what is not finished yet; a line tells of each run and of the time left."""
        waiting = [task for task in self.tasks() if not task.finished]
        progress = Progress()
        progress.expect(waiting)
        parallel.make_all(
            waiting, scheduler, progress.ended, begins=progress.begins, epoch=progress.epoch
        )

    def facts(self, hours: float, workers: int) -> Iterator[tuple[str, str]]:
        """What a session is about to do, as (what, found).

        Args:
            hours: of a session.
            workers: runs at once.
        """
        tasks = self.tasks()
        waiting = [task for task in tasks if not task.finished]
        yield "runs", f"{len(tasks)}, {len(tasks) - len(waiting)} of them finished"
        left = [item for item in self.planned() if isinstance(item, Outcome)]
        for reason, names in _by_reason(left).items():
            yield "not made", f"{len(names)} runs ({', '.join(dict.fromkeys(names))}): {reason}"
        if not waiting:
            return
        counts = Counter(task.config.seed for task in waiting)
        each = ", ".join(f"{count} of seed {seed}" for seed, count in counts.items())
        yield "order", f"what decides most claims first, further seeds last: {each}"
        expected = Expected.of(self.committed())
        ends = [end / workers for end in accumulate(expected.seconds(task) for task in waiting)]
        sessions = math.ceil(ends[-1] / (3600 * hours))
        many = f"{sessions} sessions of {hours:g} h" if sessions > 1 else "this session alone"
        yield "expected", f"about {duration(ends[-1])}, {workers} at once: {many}"
        if sessions > 1:
            within = sum(end <= 3600 * hours for end in ends)
            yield "", f"this one makes about {within} of the {len(waiting)} runs"
        if machine.device().type == "cuda":
            yield "", f"Kaggle gives {QUOTA_H} GPU hours a week"
        yield "basis", expected.basis


@dataclass(frozen=True)
class Expected:
    """How long runs take, by what is known before.

    Attributes:
        image_s: seconds that an image of 256×256 pixels takes in a preset's training.
        basis: what that rests on, in words.
    """

    image_s: dict[str, float]
    basis: str

    @classmethod
    def of(cls, records: Sequence[Record]) -> Expected:
        """By records of this kind of device; a GPU is probed, as one is not like another."""
        device = machine.device().type
        if device == "cuda":
            step_s = probe()
            basis = (
                f"a training step of Scenario A, timed here ({1e3 * step_s:.0f} ms for "
                f"{PROBE_IMAGES} images); other systems by their ratio to it in the committed "
                "records"
            )
            return cls(image_seconds(records, device, step_s / PROBE_IMAGES), basis)
        alike = [record for record in records if record.environment["device"] == device]
        name = device_name(*(record.environment for record in alike or records))
        basis = f"what an image took in the committed records' trainings ({name})"
        return cls(image_seconds(records, device), basis)

    def seconds(self, task: parallel.Task) -> float:
        """To a run's end, from its checkpoint if there is one."""
        return protocol.Queue([], image_s=self.image_s).needed_s(task)


def image_seconds(
    records: Sequence[Record], device: str, probed: float | None = None
) -> dict[str, float]:
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
    """Seconds of a training step of Scenario A here, on the published batch of 256×256 images.

    The images are noise, and the backbone is untrained: neither matters to how long it takes.
    """
    train = noise_images(PROBE_IMAGES, PUBLISHED_SIZE)
    config = preset(PROBED)
    model = build(config.model, weights=None).to(machine.device())
    asked = replace(config.training, epochs=1 + PROBE_STEPS, batch_size=PROBE_IMAGES)
    history = fit(model, train, asked, seed=0, progress=None)
    # The first epoch also makes what later ones find, such as the optimiser's state.
    return median(epoch.seconds for epoch in history.epochs[1:])


def _by_reason(outcomes: Iterable[Outcome]) -> dict[str, list[str]]:
    """The presets of runs that cannot be made, by the reason."""
    names: dict[str, list[str]] = {}
    for outcome in outcomes:
        names.setdefault(outcome.reason, []).append(outcome.preset)
    return names
