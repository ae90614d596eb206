"""Executing the study's notebooks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

from ssn_lib.errors import InputError
from ssn_lib.models.weights import OFFLINE_VARIABLE
from ssn_lib.storage import REPOSITORY, shown, write_text
from ssn_lib.study import parallel, real_results
from ssn_lib.study.page import not_shown, page
from ssn_lib.study.parameters import REQUIRED
from ssn_lib.study.plan import Plan
from ssn_lib.study.progress import LINE, Progress, duration
from ssn_lib.study.runner import (
    DEADLINE_VARIABLE,
    PLAN_VARIABLE,
    SCHEDULER_VARIABLE,
    Study,
)

REPORT = "05_report"
FOLDERS = ("data_root", "weights_dir", "runs_dir")


class NotebooksFailed(InputError):
    """Notebooks of a study failed; those after them were executed all the same.

    Attributes:
        reasons: one line for each of them, by its name.
    """

    def __init__(self, reasons: Mapping[str, str]):
        super().__init__("; ".join(reasons.values()))
        self.reasons = dict(reasons)


def study(
    profile: str,
    *,
    data_root: Path | None = None,
    weights_dir: Path | str | None = None,
    runs_dir: Path = Path("runs"),
    only: Sequence[str] = (),
    category: str | None = None,
    seeds: int | str | None = None,
    epochs: int | None = None,
    image_size: int | str | None = None,
    presets: str | None = None,
    scheduler: str | None = None,
    deadline: float | None = None,
) -> None:
    """Execute the study's notebooks through papermill, with progress, and sum up what was made.

    A notebook that fails does not keep the next ones from being executed.

    Args:
        only: numbers of notebooks, such as "01"; empty for all.
        category, seeds, epochs, image_size, presets: as in `Study`, where a notebook has such a
            parameter.
        scheduler: the address of a Dask scheduler that spreads the runs, or "local" for one worker
            for each GPU of this machine; None makes them one after the other.
        deadline: in seconds since 1970; no epoch begins that would end after it, and the notebooks
            show what is there.

    Raises:
        InputError: an unknown profile or notebook.
        NotebooksFailed: after everything else is made.
    """
    if weights_dir == "imagenet":
        weights_dir = None
    # Before anything is made in these folders.
    numbers = sorted(path.name[:2] for path in notebooks())
    for number in only:
        if number not in numbers:
            raise InputError(f"--only {number}: no such notebook; there are {', '.join(numbers)}")
    _check_text({"data_root": data_root, "weights_dir": weights_dir, "runs_dir": runs_dir})
    choices = {
        "data_root": data_root,
        "weights_dir": weights_dir,
        "runs_dir": runs_dir,
        "category": category,
        "seeds": seeds,
        "epochs": epochs,
        "image_size": image_size,
        "presets": presets,
    }
    here = Study(profile, **choices)
    here.check()
    chosen = [path for path in notebooks() if not only or path.name[:2] in only]
    parameters = {"profile": profile} | {
        name: _as_parameter(name, value) for name, value in choices.items()
    }
    saved: list[str] = []
    failed: dict[str, str] = {}
    begun = time.monotonic()
    opening = real_results.opening(here)
    if opening:
        print(f"{opening}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder, parallel.cluster(scheduler) as address:
        plan = Path(folder) / "plan.json"
        _say_plan(chosen, plan, Plan(profile, **choices))
        # What this process could not download, the notebooks do not wait for.
        offline = "1" if here.weights("resnet18") is None else None
        with _environment(address, deadline, plan, offline):
            for position, path in enumerate(chosen, start=1):
                print(f"[{position}/{len(chosen)}] {path.name}, profile {profile}", flush=True)
                started = time.monotonic()
                try:
                    saved += execute(path, parameters, here.out_dir, opening)
                except InputError as error:
                    failed[path.stem] = str(error)
                    print(f"    failed: {error}", flush=True)
                    continue
                print(f"    done in {duration(time.monotonic() - started)}", flush=True)
    whole = REPORT not in failed and any(path.stem == REPORT for path in chosen)
    _summary(here, saved, time.monotonic() - begun, whole)
    if failed:
        raise NotebooksFailed(failed)


def notebooks(repository: Path | None = None) -> list[Path]:
    """The study's, or another checkout's, in the order in which they are run."""
    found = sorted(((repository or REPOSITORY) / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return sorted(found, key=lambda path: path.stem == REPORT)  # it reads what the others make


def _say_plan(chosen: Sequence[Path], file: Path, plan: Plan) -> None:
    """Say how many runs the notebooks ask for, and note those to be made where they find them."""
    for path in chosen:
        with contextlib.suppress(InputError):  # such runs are counted when they are asked for
            plan.read(path)
    tasks = plan.tasks()
    Progress(file).expect(tasks)
    finished = sum(task.finished for task in tasks)
    known = f", {finished} of them finished before" if finished else ""
    print(f"{len(tasks)} runs{known}", flush=True)


def _as_parameter(name: str, value: Any) -> Any:
    """What papermill writes into a notebook: whole paths, and text in the place of a tuple."""
    if value is not None and name in FOLDERS:
        return str(Path(value).resolve())
    separator = "x" if name == "image_size" else ","
    return separator.join(map(str, value)) if isinstance(value, (list, tuple)) else value


@contextlib.contextmanager
def _environment(
    scheduler: str | None, deadline: float | None, plan: Path, offline: str | None
) -> Iterator[None]:
    """What a study's notebooks see of how they are run."""
    said = {
        SCHEDULER_VARIABLE: scheduler,
        DEADLINE_VARIABLE: deadline,
        PLAN_VARIABLE: plan,
        OFFLINE_VARIABLE: offline or os.environ.get(OFFLINE_VARIABLE),
    }
    before = {name: os.environ.get(name) for name in said}
    try:
        _set_environment(said)
        yield
    finally:
        _set_environment(before)


def _set_environment(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = str(value)


class _OwnKernel(AsyncKernelManager):
    """Starts a kernel of this interpreter, whatever is installed as "python3" for Jupyter."""

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        # Without folders to look into, "python3" is the kernel of the package at hand.
        return KernelSpecManager(kernel_dirs=[])


class _Terminal:
    """Where a notebook's output comes to while it is executed, with the notebook and the cell.

    Args:
        notebook: its name.
        figures: the folder that its figures are saved in; the first one is said.
    """

    def __init__(self, notebook: str, figures: Path, file: TextIO):
        self._notebook, self._figures, self._file = notebook, figures, file
        self._cell, self._rest = 0, ""
        self._started, self._said = time.time(), False

    def cell_begins(self, **_: Any) -> None:
        """Called by the client before it executes a cell."""
        self._cell += 1

    def cell_ended(self, **_: Any) -> None:
        """Called by the client after it."""
        if self._rest:
            self.write("\n")
        if self._said or not self._figures.is_dir():
            return
        for path in sorted(self._figures.glob("*.png")):
            if path.stat().st_mtime > self._started - 1:  # its clock is a coarse one
                self._said = True
                after = duration(time.time() - self._started)
                self.write(f"first figure after {after}: {shown(path)}\n")
                return

    def write(self, text: str) -> None:
        """Write whole lines, each with the name of the notebook and the number of the cell."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._file.write(f"{self._notebook}[{self._cell}] {line}\n" if line else "\n")

    def flush(self) -> None:
        """As of a file."""
        self._file.flush()


def execute(path: Path, parameters: dict[str, Any], out_dir: Path, opening: str = "") -> list[str]:
    """Execute one notebook of the study; of the report, write `report.html` too.

    Args:
        opening: Markdown with which `report.html` begins, after its title.

    Returns:
        What it saved, by its completion record.

    Raises:
        InputError: it failed, lacks a parameter, does not show a figure that it saved, or cannot
            hold a folder's name.
    """
    import papermill

    known = papermill.inspect_notebook(str(path))
    for name in REQUIRED[:4]:
        if name not in known:
            raise InputError(f"{path}: no parameter {name!r} in its parameters cell")
    # What it has no cell for it is given all the same where something was asked for.
    parameters = {
        name: value for name, value in parameters.items() if name in known or value is not None
    }
    _check_text({"notebook": str(path), **parameters})
    name = path.stem
    done = out_dir / f"{name}.done.json"
    executed = out_dir / "notebooks" / path.name
    try:
        executed.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write {shown(executed.parent)}: {error.strerror}; choose another --runs-dir"
        ) from None
    done.unlink(missing_ok=True)
    unfinished = executed.with_name(f"{name}.unfinished.ipynb")
    terminal = _Terminal(name, out_dir / "figures", sys.stdout)
    try:
        papermill.execute_notebook(
            str(path),
            str(unfinished),
            parameters=parameters,
            kernel_name="python3",
            kernel_manager_class=_OwnKernel,
            extra_arguments=["--log-level=ERROR"],  # not what every kernel says of its transport
            cwd=str(Path.cwd()),
            progress_bar=False,
            stdout_file=terminal,
            stderr_file=sys.stderr,
            on_cell_execute=terminal.cell_begins,
            on_cell_executed=terminal.cell_ended,
        )
    except papermill.PapermillExecutionError as error:
        raise InputError(
            f"{path.name} failed: {error.ename}: {error.evalue}{_raised_at(error.traceback)} (see "
            f"{unfinished})"
        ) from None
    except (OSError, RuntimeError) as error:  # a full disk; a kernel that died
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path.name} could not be executed: {reason}") from None
    if not done.exists():
        raise InputError(f"{path.name} ended without its completion record (see {unfinished})")
    saved = json.loads(done.read_text(encoding="utf-8"))["saved"]
    _check_shown(path.name, unfinished.read_text(encoding="utf-8"), saved)
    _without_progress(unfinished)
    unfinished.replace(executed)
    if name == REPORT:
        report = page(executed, opening)
        _check_shown("report.html", report, saved)
        write_text(out_dir / "report.html", report)
    return saved


def _raised_at(traceback: Sequence[str]) -> str:
    """Where in the package a cell's error was raised, as IPython tells it; empty where it was not
    there."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(traceback))
    places = re.findall(r"File \S*?(ssn_lib/\S+?\.py):(\d+)", plain)
    return f", {places[-1][0]}, line {places[-1][1]}" if places else ""


def _without_progress(executed: Path) -> None:
    """Take the lines that told of runs while they were made out of an executed notebook."""
    book = nbformat.read(executed, as_version=4)
    for cell in book.cells:
        for output in cell.get("outputs", ()):
            if output.output_type == "stream":
                output.text = LINE.sub("", output.text)
        if "outputs" in cell:
            cell.outputs = [o for o in cell.outputs if o.output_type != "stream" or o.text]
    nbformat.write(book, executed)


def _check_text(values: Mapping[str, Any]) -> None:
    """Raise for a name of other bytes than UTF-8: an executed notebook cannot hold it."""
    for name, value in values.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{name} {shown(value)}: its name is not UTF-8, and a notebook cannot hold it; "
                "rename the folder, or set PYTHONUTF8=1 where the system's locale is another"
            ) from None


def _check_shown(name: str, document: str, saved: Sequence[str]) -> None:
    """Raise when a figure that was saved is not in a notebook or a page."""
    drawn = [Path(path) for path in dict.fromkeys(saved) if path.endswith(".png")]
    missing = not_shown(document, drawn)
    if missing:
        raise InputError(
            f"{name} does not show {len(missing)} of the {len(drawn)} figures that were saved: "
            f"{', '.join(missing)}; end a cell with `study.save(...)` for each"
        )


def _summary(here: Study, saved: list[str], seconds: float, whole: bool) -> None:
    """What was made and where; `whole`: the report of it too."""
    out_dir = here.out_dir
    saved = list(dict.fromkeys(saved))  # the report makes some again
    figures = [Path(path).stem for path in saved if path.endswith(".png")]
    tables = [Path(path).stem for path in saved if path.endswith(".md")]
    made = f"{len(tables)} tables and {len(figures)} figures in {duration(seconds)}"
    print(f"\nStudy, profile {here.profile_name}: {made}")
    print(f"  tables    {out_dir / 'tables'}: {', '.join(tables)}")
    print(f"  figures   {out_dir / 'figures'}: {', '.join(figures)}")
    print(f"  notebooks {out_dir / 'notebooks'} (executed)")
    if whole:
        print(f"  all of it {out_dir / 'report.html'}")
    if said := real_results.worth(here):
        print(f"{said} Measured on real images: {real_results.REPORT}")
