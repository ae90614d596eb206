"""Many runs: one after the other, or spread over processes, GPUs and machines by Dask.

Dask is optional. Its workers see the same folders at the same paths: a run whose worker dies is
given to another, which goes on from the run's checkpoint.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ssn_lib.config import Resize, RunConfig
from ssn_lib.data.images import Dataset
from ssn_lib.data.loading import load_dataset
from ssn_lib.errors import InputError, OutOfTime, in_one_line
from ssn_lib.overrides import changes
from ssn_lib.runs.record import Outcome
from ssn_lib.runs.run import run
from ssn_lib.training.history import History

if TYPE_CHECKING:
    from distributed import Client


LOCAL = "local"  # in the place of a scheduler's address: one worker for each GPU of this machine
CONNECT_TIMEOUT_S = 10
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"
_PROGRESS = "ssn_lib-progress"


# Training seeds PyTorch's global generator, so a process trains one network at a time.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Task:
    """One run to be made, as plain data that another process can be given.

    Attributes:
        category: as `load_dataset` is asked for it; other images in KolektorSDD2's layout have
            another in their configuration.
        weights: a file or folder of the backbone's, None for an untrained one.
        deadline: in seconds since 1970; no epoch begins that would end after it.
        images: trained on in an epoch, where that is known before.
    """

    config: RunConfig
    category: str
    data_root: Path | None
    weights: Path | None
    runs_dir: Path
    deadline: float | None = None
    images: int = 0

    @property
    def finished(self) -> bool:
        """Whether its record is there."""
        return (self.runs_dir / self.config.run_id / "record.json").exists()

    @property
    def too_late(self) -> bool:
        """Whether its deadline has passed, so that no epoch of it begins."""
        return self.deadline is not None and time.time() > self.deadline


def _say_nothing(*_: object) -> None:
    """In the place of who is told how far runs are."""


@cache
def dataset(
    name: str,
    root: Path | None,
    category: str,
    image_size: tuple[int, int],
    resize: Resize = "antialiased",
) -> Dataset:
    """As `load_dataset`, once in a process: its images stay decoded."""
    return load_dataset(name, root, category=category, image_size=image_size, resize=resize)


def make(task: Task, report: Callable[[int], None] = _say_nothing) -> Outcome:
    """Make one run here; what keeps it from its end is the outcome's reason.

    Args:
        report: told how many epochs are done, before each.
    """
    config, data = task.config, task.config.data

    def before_epoch(history: History) -> None:
        done = history.epochs
        report(len(done))
        coming = done[-1].seconds if done else 0.0
        if task.deadline is not None and time.time() + coming > task.deadline:
            reached = f"{len(done)} of {config.training.epochs} epochs done" if done else "no epoch"
            raise OutOfTime(f"not finished within the time budget ({reached})")

    try:
        images = dataset(data.dataset, task.data_root, task.category, data.image_size, data.resize)
        record = run(
            config,
            images,
            task.runs_dir,
            weights=task.weights,
            progress=False,
            before_epoch=before_epoch,
        )
    except (InputError, OutOfTime) as error:
        return _without_record(config, str(error))
    except Exception as error:  # such as a GPU's full memory: named for its run; the others go on
        traceback.print_exc()
        return _without_record(config, in_one_line(error))
    return Outcome.of(record)


def make_all(
    tasks: Sequence[Task],
    scheduler: str | None = None,
    ended: Callable[[Task, Outcome], None] = _say_nothing,
    *,
    begins: Callable[[Task], None] = _say_nothing,
    epoch: Callable[[Task, int], None] = _say_nothing,
) -> list[Outcome]:
    """Make every run, in order here, or on the workers of a Dask scheduler.

    Args:
        begins: told of each run that is going to be trained.
        epoch: told how many of its epochs are done, before each.
        ended: told of each run as soon as it has ended.

    Raises:
        InputError: the scheduler or its workers cannot be used, or went away.
    """
    spread: dict[str, Outcome] = {}
    if scheduler is not None:
        _need_dask()
        waiting = {task.config.run_id: task for task in tasks if not task.finished}
        if waiting:
            spread = _spread(list(waiting.values()), scheduler, begins, epoch, ended)
    outcomes = []
    for task in tasks:
        outcome = spread.get(task.config.run_id)
        if outcome is None:
            if not task.finished and not task.too_late:
                begins(task)
            outcome = make(task, partial(epoch, task))
            ended(task, outcome)
        outcomes.append(outcome)
    return outcomes


@contextlib.contextmanager
def cluster(scheduler: str | None) -> Iterator[str | None]:
    """The address of the scheduler to use during the block; for "local" one is started.

    Raises:
        InputError: Dask is not installed.
    """
    if scheduler is None:
        yield None
        return
    _need_dask()
    if scheduler != LOCAL:
        yield scheduler
        return
    from distributed import Nanny, Scheduler, SpecCluster

    def worker(environment: dict[str, str]) -> dict:
        # One thread, as a process trains one network at a time; its memory is not Dask's to limit.
        options = {"nthreads": 1, "memory_limit": 0, "env": environment, "dashboard_address": None}
        return {"cls": Nanny, "options": options | {"silence_logs": logging.ERROR}}

    environments = [{VISIBLE_GPUS: name} for name in _gpus()] or [{}]
    with SpecCluster(
        scheduler={
            "cls": Scheduler,
            "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": ":0"},
        },
        workers={index: worker(environment) for index, environment in enumerate(environments)},
        silence_logs=logging.ERROR,
    ) as started:
        yield started.scheduler_address


def _gpus() -> list[str]:
    """The GPUs that this process may use, by the names that CUDA takes: those that the user left
    visible, where some are hidden."""
    visible = [name.strip() for name in os.environ.get(VISIBLE_GPUS, "").split(",")]
    count = torch.cuda.device_count()
    return [*filter(None, visible)][:count] or [str(index) for index in range(count)]


def _need_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise InputError(
            '--scheduler needs Dask, which is not installed: pip install "dask[distributed]"'
        ) from None


def _spread(
    tasks: Sequence[Task],
    scheduler: str,
    begins: Callable[[Task], None],
    epoch: Callable[[Task, int], None],
    ended: Callable[[Task, Outcome], None],
) -> dict[str, Outcome]:
    """The outcomes of runs made by a scheduler's workers, by run id."""
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    outcomes: dict[str, Outcome] = {}
    with _client(scheduler) as client, _told(client, tasks, begins, epoch) as has_begun:
        _check_workers(client, tasks[0].runs_dir)
        # A task of the same key is one task to the scheduler, whoever asks for it.
        futures = {
            client.submit(
                _make_on_worker, task, key=f"{task.runs_dir.resolve()}/{task.config.run_id}"
            ): task
            for task in tasks
        }
        for future in as_completed(futures, loop=client.loop):
            config = futures[future].config
            try:
                outcomes[config.run_id] = future.result()
            except KilledWorker as error:
                outcomes[config.run_id] = _without_record(
                    config, f"{error.allowed_failures + 1} workers died of it; see their logs"
                )
            except CancelledError:
                raise InputError(
                    f"the scheduler at {scheduler} went away; the same command goes on from the "
                    "last checkpoints"
                ) from None
            has_begun(futures[future])  # what tells of it may come later than its end
            ended(futures[future], outcomes[config.run_id])
    return outcomes


def _client(scheduler: str) -> Client:
    from distributed import Client

    try:
        return Client(scheduler, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {scheduler} ({type(error).__name__}); start one with "
            "`dask scheduler` and give the address it prints"
        ) from None


def _check_workers(client: Client, runs_dir: Path) -> None:
    """Every worker has one thread, this package, and the same folder of runs."""
    workers = client.scheduler_info()["workers"]
    if not workers:
        raise InputError(
            f"no workers at {client.scheduler.address}; start some with `dask worker "
            f"{client.scheduler.address} --nthreads 1 --memory-limit 0`"
        )
    for address, worker in workers.items():
        if worker["nthreads"] != 1:
            raise InputError(
                f"worker {address} has {worker['nthreads']} threads; start it with --nthreads 1"
            )
    runs_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=runs_dir, prefix=".shared-") as marker:
        seen = client.run(_is_there, marker.name, on_error="return")
    for address, answer in seen.items():
        if isinstance(answer, Exception):
            raise InputError(
                f"worker {address} cannot import ssn_lib ({answer}); install the same version there"
            )
        if not answer:
            raise InputError(
                f"worker {address} does not see {runs_dir.resolve()}; data and runs must lie in "
                "folders that all machines share"
            )


@contextlib.contextmanager
def _told(
    client: Client,
    tasks: Sequence[Task],
    begins: Callable[[Task], None],
    epoch: Callable[[Task, int], None],
) -> Iterator[Callable[[Task], None]]:
    """During the block the workers' tidings of these runs are passed on; gives what tells that a
    run has begun, where that is not known yet."""
    mine = {task.config.run_id: task for task in tasks}
    begun: set[str] = set()

    def has_begun(task: Task) -> None:
        if task.config.run_id not in begun:  # a second worker may go on with a run
            begun.add(task.config.run_id)
            begins(task)

    def told(event: tuple[float, dict]) -> None:
        task = mine.get(event[1]["run_id"])
        if task is not None:
            has_begun(task)
            epoch(task, event[1]["epochs"])

    client.subscribe_topic(_PROGRESS, told)
    yield has_begun
    client.unsubscribe_topic(_PROGRESS)


def _make_on_worker(task: Task) -> Outcome:
    from distributed import get_worker

    worker = get_worker()

    def report(epochs: int) -> None:
        worker.log_event(_PROGRESS, {"run_id": task.config.run_id, "epochs": epochs})

    with _one_at_a_time:
        return make(task, report)


def _is_there(path: str) -> bool:
    return Path(path).exists()


def _without_record(config: RunConfig, reason: str) -> Outcome:
    return Outcome(config.preset, config.data.category, config.seed, None, reason, changes(config))
