"""A session on Kaggle: what the kernel that `make kernel` builds does, from preflight to zip."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import time
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from IPython import get_ipython
from IPython.display import clear_output, display

from ssn_lib import machine
from ssn_lib.data import loading
from ssn_lib.errors import InputError, in_one_line
from ssn_lib.models.weights import weights_files
from ssn_lib.runs.record import KEPT_FILES, read_record
from ssn_lib.storage import REPOSITORY, written_whole
from ssn_lib.study import parallel
from ssn_lib.study.kaggle.chapters import chapters
from ssn_lib.study.kaggle.session_plan import SessionPlan
from ssn_lib.study.notebooks import NotebooksFailed, notebooks, study
from ssn_lib.study.parameters import listed, refuse_unknown
from ssn_lib.study.progress import duration
from ssn_lib.study.runner import Study
from ssn_lib.training.fit import epochs_in

RUNS = Path("runs")
ZIP = Path("study.zip")
MIN_FREE_GB = 2.0


# How deep below Kaggle's inputs something is looked for: both forms of mounts, and a folder more.
_DEPTH = 4


@dataclass(frozen=True)
class Session:
    """One session: its parameters, as in the kernel's parameters cell.

    Attributes:
        profile, category, seeds, data_root, weights_dir: as in `study.Study`.
        modifications: numbers of notebooks, such as "01,02", or one as a number, as which papermill
            gives "01"; None for all.
        previous: the output of an earlier session; None looks for it among the inputs.
        time_budget_h: hours from `started` on, after which no epoch ends.
        started: in seconds since 1970.
    """

    profile: str
    modifications: int | str | Sequence[int | str] | None
    category: str | None
    seeds: int | str | None
    data_root: str | None
    weights_dir: str | None
    previous: str | None
    time_budget_h: float
    started: float

    @classmethod
    def of_notebook(cls, namespace: Mapping[str, Any]) -> Session:
        """The session of the kernel whose `globals()` are given.

        Raises:
            SystemExit: an unknown parameter, or one that makes no sense.
        """
        names = [name for name in cls.__dataclass_fields__ if name != "started"]
        session = cls(**{name: namespace[name] for name in names}, started=time.time())
        try:
            refuse_unknown(namespace, names)
            session.check()
        except InputError as error:
            _stop(error)
        return session

    def check(self) -> None:
        """Whether the parameters make sense.

        Raises:
            InputError: naming the first that does not.
        """
        self._study()
        hours = self.time_budget_h
        if isinstance(hours, bool) or not isinstance(hours, (int, float)) or not hours > 0:
            raise InputError(f"time_budget_h={hours!r}: expected hours, such as 11.0")
        if self.previous is not None and not isinstance(self.previous, str):
            raise InputError(f"previous={self.previous!r}: expected text, or None")
        known = sorted(path.name[:2] for path in notebooks())
        for number in self.numbers:
            if number not in known:
                raise InputError(
                    f"modifications={self.modifications!r}: no notebook {number}; there are "
                    f"{', '.join(known)}"
                )

    @property
    def numbers(self) -> tuple[str, ...]:
        """Of the notebooks to run, two digits each; empty for all."""
        given = listed("modifications", self.modifications, "01,02") or ()
        return tuple(number.zfill(2) for number in given)

    def notebooks(self, repository: Path = REPOSITORY) -> list[Path]:
        """Those that were asked for, in the order in which they are executed."""
        asked = self.numbers
        return [path for path in notebooks(repository) if not asked or path.name[:2] in asked]

    @property
    def workers(self) -> int:
        """Runs at once: one for each GPU where there are several and Dask is installed."""
        spread = importlib.util.find_spec("distributed") is not None
        return max(1, torch.cuda.device_count()) if spread else 1

    def preflight(self) -> None:
        """Print what the session has; end it now if that is not enough.

        Raises:
            SystemExit: one line that says what is missing and what to do.
        """
        try:
            gpus = machine.check_gpus()
            for gpu in gpus:
                _say("GPU", gpu)
            if len(gpus) > self.workers:
                _say("GPU", "only the first is used: Dask is not installed")
            if not gpus:
                _say("GPU", f"none; PyTorch {torch.__version__} on the CPU")
            if not gpus and self.profile == "full":
                raise InputError(
                    "profile 'full' wants a GPU and there is none; on Kaggle: Settings, "
                    "Accelerator, GPU T4 x2; or take profile 'quick'"
                )
            free = shutil.disk_usage(Path.cwd()).free / 1e9
            _say("disk", f"{free:.1f} GB free in {Path.cwd()}")
            if free < MIN_FREE_GB:
                raise InputError(
                    f"{free:.1f} GB free in {Path.cwd()}, {MIN_FREE_GB:.0f} GB are needed; remove "
                    "what is not needed there"
                )
            here = self._study()
            self._find_data(here)
            _say("weights", self._weights(here))
            self.take_over()
            for what, found in self._plan().facts(self.time_budget_h, self.workers):
                _say(what, found)
        except InputError as error:
            _stop(error)

    def take_over(self) -> None:
        """Copy what an earlier session left, from among the inputs, and say how much.

        Raises:
            InputError: there is no such folder, or the disk is full.
        """
        taken, going_on = take_over(self._previous(), RUNS)
        _say("taken over", f"{taken} finished runs, {going_on} unfinished")

    def run(self) -> dict[str, str]:
        """Make the runs, execute the notebooks, zip it all; what fails is said and ends nothing.

        What was printed meanwhile stays in the session's log alone: the page goes on with what came
        of it.

        Returns:
            Why something failed, by its name: "runs", a notebook's, "session" or "zip".
        """
        failed = {}
        try:
            scheduler = parallel.LOCAL if self.workers > 1 else None
            with parallel.cluster(scheduler) as address:
                try:
                    self._plan().make(address)
                except InputError as error:  # the notebooks show those that were made
                    failed["runs"] = str(error)
                except Exception as error:  # of what spreads them: a run's own is told with it
                    failed["runs"] = in_one_line(error)
                study(
                    self.profile,
                    data_root=self.data_root,
                    weights_dir=self.weights_dir,
                    runs_dir=RUNS,
                    only=self.numbers,
                    category=self.category,
                    seeds=self.seeds,
                    scheduler=address,
                    deadline=self._deadline,
                )
        except NotebooksFailed as error:
            failed |= error.reasons
        except InputError as error:
            failed["session"] = str(error)
        if get_ipython() is not None:
            clear_output()
        for reason in failed.values():
            print(f"error: {reason}; everything else is kept")
        tasks = self._plan().tasks()
        made = sum(task.finished for task in tasks)
        took = duration(time.time() - self.started)
        _say("runs", f"{made} of {len(tasks)} are finished; the session took {took}")
        try:
            count = pack(RUNS, self._study().out_dir, ZIP)
            _say("zip", f"{count} files in {ZIP}")
        except InputError as error:
            failed["zip"] = str(error)
            print(f"error: {error}; everything is in {RUNS}/")
        return failed

    def show(self, failed: Mapping[str, str]) -> None:
        """Display the executed notebooks in this one, as chapters.

        Args:
            failed: as `run` returns it; of such a notebook, what it shows up to there.
        """
        folder = self._study().out_dir / "notebooks"
        names = [path.stem for path in self.notebooks()]
        executed = [
            folder / (f"{name}.unfinished.ipynb" if name in failed else f"{name}.ipynb")
            for name in names
        ]
        for shown in chapters(executed, failed):
            display(shown.data, metadata=shown.metadata, raw=True)

    def end(self, failed: Mapping[str, str]) -> None:
        """End the session: the last line of the page and of the log names what failed.

        Raises:
            SystemExit: something failed, so that Kaggle marks the version as such.
        """
        if failed:
            raise SystemExit(
                f"error: failed: {', '.join(failed)} (the reasons stand above); everything else is "
                f"on this page, in {RUNS}/ and in {ZIP}"
            )
        print("The session ended without a failure.")

    @property
    def _deadline(self) -> float:
        return self.started + self.time_budget_h * 3600

    def _study(self, kind: type[Study] = Study, **more: Any) -> Study:
        given = self.profile, self.data_root, self.weights_dir, RUNS, self.category, self.seeds
        return kind(*given, **more)

    def _plan(self) -> SessionPlan:
        plan = self._study(SessionPlan, deadline=self._deadline)
        for path in self.notebooks():
            with contextlib.suppress(InputError):  # such runs are made when they are asked for
                plan.read(path)
        return plan

    def _find_data(self, here: Study) -> None:
        """Where each category lies; one that is missing leaves cells empty, all are an error."""
        reasons = []
        for category in here.categories:
            try:
                _say(category, here.dataset(category).root)
            except InputError as error:
                _say(category, "missing")
                reasons.append(str(error))
        if len(reasons) == len(here.categories):
            raise InputError(f"{reasons[0]}; on Kaggle: Add Input, ipythonx/mvtec-ad")

    def _weights(self, here: Study) -> str:
        """Where ResNet18's weights are; a folder of them among the inputs is made known."""
        if self.weights_dir is None and "SSN_WEIGHTS_DIR" not in os.environ:
            for path in _below_inputs(weights_files("resnet18"))[:1]:
                os.environ["SSN_WEIGHTS_DIR"] = str(path.parent)
        try:
            return str(here.weights("resnet18") or "none: the backbone is untrained")
        except InputError as error:
            raise InputError(
                f"{error}; on Kaggle: Settings, Internet on, or attach a data set with the file"
            ) from None

    def _previous(self) -> list[Path]:
        """The folders of runs of earlier sessions."""
        if self.previous is None:
            return [path for path in _below_inputs([RUNS.name]) if path.is_dir()]
        given = Path(self.previous)
        return [given / RUNS if (given / RUNS).is_dir() else given]


def take_over(sources: Iterable[Path], runs_dir: Path) -> tuple[int, int]:
    """Copy runs of earlier sessions: those finished, and of those unfinished the longest.

    Returns:
        How many finished and unfinished ones were copied.

    Raises:
        InputError: a source that is no folder, or the disk is full.
    """
    finished, unfinished = set(), set()
    for source in sources:
        if not source.is_dir():
            raise InputError(f"previous={source}: no such folder")
        for folder in sorted(path for path in source.iterdir() if path.is_dir()):
            own = runs_dir / folder.name
            if (own / "record.json").exists():
                continue
            if (folder / "record.json").exists():
                try:
                    read_record(folder)
                except InputError as error:
                    warnings.warn(f"not taken over: {error}", stacklevel=2)
                    continue
                _copy(folder, own)
                finished.add(folder.name)
            elif epochs_in(folder / "checkpoint.pt") > epochs_in(own / "checkpoint.pt"):
                _copy(folder, own)
                unfinished.add(folder.name)
    return len(finished), len(unfinished - finished)


def pack(runs_dir: Path, out_dir: Path, target: Path) -> int:
    """Zip tables, figures, executed notebooks and records, without weights; how many files.

    Raises:
        InputError: the zip cannot be written.
    """
    paths = [path for path in out_dir.rglob("*") if path.is_file()]
    paths += [path for name in KEPT_FILES for path in runs_dir.glob(f"*/{name}")]
    with (
        written_whole(target) as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for path in sorted(paths):
            archive.write(path, path.relative_to(runs_dir).as_posix())
    return len(paths)


def _copy(folder: Path, target: Path) -> None:
    """A run's folder, whole or not at all; without the modes of a read-only input."""
    partial = target.with_name(f".{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for path in folder.iterdir():
            if path.is_file() and not path.name.startswith("."):
                shutil.copyfile(path, partial / path.name)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"cannot copy {folder} to {target}: {error.strerror}") from None


def _below_inputs(names: Iterable[str]) -> list[Path]:
    """Files or folders of those names below Kaggle's inputs, the shallowest first."""
    return [
        path
        for depth in range(1, _DEPTH + 1)
        for name in names
        for path in sorted(loading.KAGGLE_INPUT.glob("*/" * depth + name))
    ]


def _say(what: str, found: object) -> None:
    print(f"{what:<11} {found}", flush=True)


def _stop(error: InputError) -> None:
    raise SystemExit(f"error: {error}") from None
