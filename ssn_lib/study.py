"""The study: its profiles, the runs its notebooks ask for, and the notebooks' execution."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from matplotlib.figure import Figure
from traitlets import default

from ssn_lib import env, figures, grid, runs, supervision_figures, supervision_tables, tables
from ssn_lib.backbone import find_weights
from ssn_lib.config import Resize, assignment, nearest, preset
from ssn_lib.data import Dataset, ImageSet, normalise
from ssn_lib.data.ksdd2 import KSDD2_SIZE
from ssn_lib.efficiency import Comparison, Efficiency, both_forms, compare, measure_all
from ssn_lib.errors import InputError
from ssn_lib.files import REPOSITORY, shown, write_text, written_whole
from ssn_lib.model import SuperSimpleNet
from ssn_lib.page import not_shown, page
from ssn_lib.parameters import listed, refuse_unknown
from ssn_lib.runs import Outcome, Record
from ssn_lib.sources import look

CATEGORIES = ("bottle", "carpet", "screw")
STRIPS = "ksdd2"
# What a notebook's parameters cell holds; the report has one more, of `Study`.
PARAMETERS = ("profile", "data_root", "weights_dir", "runs_dir", "category", "seeds")
REPORT = "05_report"
# How a study's notebooks are run is no parameter of theirs: it reaches them by these variables.
_SCHEDULER, _DEADLINE = "SSN_SCHEDULER", "SSN_DEADLINE"


@dataclass(frozen=True)
class Profile:
    """How much of the study is run.

    Attributes:
        dataset, image_size: for Modifications 1 and 2.
        strips, strip_size: data set and size for Modifications 3 and 4, in KolektorSDD2's layout.
        epochs: None is the published number.
        batch_size: smaller than published where epochs are few; None is the published one.
        own_sizes: a preset that is made for a size of its own gets it, and its own epochs.
        untrained_fallback: go on without ImageNet weights where there are none, and say so.
        repetitions: timed passes of the efficiency measurement.
    """

    name: str
    dataset: str
    image_size: tuple[int, int]
    strips: str
    strip_size: tuple[int, int]
    epochs: int | None
    batch_size: int | None
    own_sizes: bool
    seeds: tuple[int, ...]
    untrained_fallback: bool
    repetitions: int

    def protocol(self, name: str) -> tuple[tuple[int, int], int, int]:
        """A preset's image size (of strips it is `strip_size`), epochs and batch size."""
        chosen = preset(name)
        if self.own_sizes and chosen.image_size:
            return chosen.image_size, chosen.training.epochs, chosen.training.batch_size
        training = chosen.training
        return (
            self.image_size,
            self.epochs or training.epochs,
            self.batch_size or training.batch_size,
        )

    def made(self, record: Record) -> bool:
        """Whether a record is of this profile: its data, weights, epochs and batch size."""
        training = record.config.training
        _, *lengths = self.protocol(record.config.preset)
        return self._shows(record) and [training.epochs, training.batch_size] == lengths

    def made_longer(self, record: Record) -> bool:
        """Whether a record is of this profile's data and weights, and of more epochs."""
        _, epochs, _ = self.protocol(record.config.preset)
        return self._shows(record) and record.config.training.epochs > epochs

    def _shows(self, record: Record) -> bool:
        """Whether a record is of this profile's data, at its sizes, and weights."""
        if record.config.weights == "untrained" and not self.untrained_fallback:
            return False
        data = record.config.data
        image_size, _, _ = self.protocol(record.config.preset)
        kinds = ((self.dataset, image_size), (self.strips, self.strip_size))
        return (data.dataset, data.image_size) in kinds


_DEMO = Profile(
    name="demo",
    dataset="demo",
    image_size=(128, 128),
    strips="demo",
    strip_size=(160, 56),
    epochs=2,
    batch_size=4,
    own_sizes=False,
    seeds=(42,),
    untrained_fallback=True,
    repetitions=6,
)
_QUICK = Profile(
    name="quick",
    dataset="mvtec_ad",
    image_size=(256, 256),
    strips="ksdd2",
    strip_size=KSDD2_SIZE,
    epochs=10,
    batch_size=8,
    own_sizes=True,
    seeds=(42,),
    untrained_fallback=False,
    repetitions=15,
)
_FULL = replace(
    _QUICK, name="full", epochs=None, batch_size=None, seeds=(42, 43, 44), repetitions=100
)
PROFILES = {profile.name: profile for profile in (_DEMO, _QUICK, _FULL)}


@dataclass
class Study:
    """What a notebook works with: a profile, where its data lie, and where its output goes.

    Attributes:
        data_root, weights_dir: None for the usual places.
        runs_dir: holds the runs, shared by all profiles.
        records_dir: holds the records that a report is made of; None for `runs_dir`.
        category: only these of the study's, one name or several separated by commas; None for all.
        seeds: instead of the profile's, a number or several separated by commas.
        categories: the names in `category`.
        scheduler: the address of a Dask scheduler that spreads the runs; `SSN_SCHEDULER`.
        deadline: in seconds since 1970, no epoch begins that would end after it; `SSN_DEADLINE`.
    """

    profile_name: str = "demo"
    data_root: str | Path | None = None
    weights_dir: str | Path | None = None
    runs_dir: str | Path = "runs"
    category: str | None = None
    seeds: int | str | None = None
    records_dir: str | Path | None = None
    scheduler: str | None = field(default_factory=lambda: os.environ.get(_SCHEDULER))
    deadline: float | None = field(
        default_factory=lambda: float(os.environ[_DEADLINE]) if _DEADLINE in os.environ else None
    )
    saved: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not isinstance(self.profile_name, str) or self.profile_name not in PROFILES:
            hint = nearest(str(self.profile_name), PROFILES)
            raise InputError(f"unknown profile {self.profile_name!r}: {hint}")
        for name in ("data_root", "weights_dir", "runs_dir", "records_dir"):
            value = getattr(self, name)
            if not isinstance(value, (str, Path) if name == "runs_dir" else (str, Path, NoneType)):
                raise InputError(f"{name}={value!r}: expected a folder")
        self.runs_dir = Path(self.runs_dir)
        known = (*CATEGORIES, STRIPS)
        self.categories = listed("category", self.category, "bottle,screw") or known
        for name in self.categories:
            if name not in known:
                raise InputError(f"category={self.category!r}: known: {', '.join(known)}")
        seeds = listed("seeds", self.seeds, "42,43") or self.profile.seeds
        if not all(str(seed).isdecimal() for seed in seeds):
            raise InputError(f"seeds={self.seeds!r}: expected whole numbers, such as '42,43'")
        self._seeds = tuple(map(int, seeds))

    @classmethod
    def of_notebook(cls, namespace: Mapping[str, Any]) -> Study:
        """The study of a notebook, from its parameters; the notebook's `globals()` are given.

        A notebook that was opened in `notebooks/` works in the repository's root, as all do.

        Raises:
            InputError: a parameter that papermill was given is unknown or makes no sense.
        """
        if Path.cwd() == REPOSITORY / "notebooks":
            os.chdir(REPOSITORY)
        known = PARAMETERS + (("records_dir",) if "records_dir" in namespace else ())
        refuse_unknown(namespace, known)
        values = {name: namespace[name] for name in known if name in namespace}
        return cls(values.pop("profile"), **values)

    @property
    def profile(self) -> Profile:
        """The profile of that name."""
        return PROFILES[self.profile_name]

    @cached_property
    def out_dir(self) -> Path:
        """Where this profile's figures and tables go; a report of other records has its own."""
        return Path(self.runs_dir) / ("report" if self.records_dir else self.profile_name)

    def dataset(
        self,
        category: str,
        image_size: tuple[int, int] | None = None,
        resize: Resize = "antialiased",
    ) -> Dataset:
        """The profile's data of that category: the strips for "ksdd2" or as `strips` says.

        Args:
            image_size: of other images than strips; None for the profile's.
        """
        profile = self.profile
        name, size = profile.dataset, image_size or profile.image_size
        # Not by asking for `strips`, which reads them: an MVTec AD category may be all there is.
        if category in (STRIPS, vars(self).get("strips")):
            name, size, category = profile.strips, profile.strip_size, STRIPS
        return grid.dataset(name, self._root(name), category, size, resize)

    @cached_property
    def strips(self) -> str:
        """The strips' category: "ksdd2" only where they are KolektorSDD2's own."""
        try:
            return self.dataset(STRIPS).category
        except InputError:
            return STRIPS

    def mask_numbers(self) -> list[int]:
        """Numbers of masks between none and all: those of the official split files, else a quarter
        and a half."""
        try:
            train = self.dataset(STRIPS).train
        except InputError:
            return []
        every = int(train.labels.sum())
        return sorted({*(train.splits or (every // 4, every // 2))} - {0, every})

    def weights(self, name: str) -> str | Path | None:
        """Weights for that backbone; None (untrained) where the profile allows to go on without."""
        found = _weights(name, self.weights_dir or "imagenet")
        if isinstance(found, InputError):
            # Not where weights were asked for: a misspelt folder is no wish to go on without.
            if self.profile.untrained_fallback and self.weights_dir is None:
                return None
            raise found
        return found

    def check(self) -> None:
        """Stop now when nothing could be run.

        Raises:
            InputError: what is missing and what to do: every category, or ResNet18's weights.
        """
        self.weights("resnet18")
        reasons = []
        for category in self.categories:
            try:
                self.dataset(category)
            except InputError as error:
                reasons.append(error)
        if len(reasons) == len(self.categories):
            raise reasons[0]

    def run_all(
        self, presets: Sequence[str], categories: Sequence[str] = CATEGORIES
    ) -> list[Outcome]:
        """Train and evaluate every preset on every category, each once; what cannot be says why."""
        return self._make_all((name, category, ()) for category in categories for name in presets)

    def sweep(
        self, name: str, key: str, values: Sequence[Any], categories: Sequence[str]
    ) -> list[Outcome]:
        """Train and evaluate one preset with each value of one configuration field.

        Raises:
            InputError: no such field, a value out of range, or one that occurs twice.
        """
        if len(set(values)) != len(values):
            twice = next(value for value in values if values.count(value) > 1)
            raise InputError(f"sweep of {key}: {twice} occurs twice")
        return self._make_all(
            (name, category, (assignment(key, value),))
            for category in categories
            for value in values
        )

    def records(self) -> tuple[list[Record], list[str]]:
        """All records, whatever their profile, and why others that are there are not read."""
        records, refused = [], []
        for path in sorted(self.records_folder.glob("*/record.json")):
            try:
                record = runs.read_record(path.parent)
                preset(record.config.preset)
            except InputError as error:
                refused.append(str(error))
                continue
            missing = [name for name in tables.METRICS if name not in record.metrics]
            if record.status == "completed" and missing:
                refused.append(f"{path}: no {missing[0]}; run it again")
            else:
                records.append(record)
        return records, refused

    def committed(self) -> list[Record]:
        """The project's own records, which come with the repository; none elsewhere."""
        return replace(self, records_dir=REPOSITORY / "results").records()[0]

    @property
    def records_folder(self) -> Path:
        """Where the records are that tables and figures are made of."""
        return Path(self.records_dir or self.runs_dir)

    def first_seeds(self, outcomes: Sequence[Outcome], category: str) -> list[Outcome]:
        """Those of the category that have a trained network, of each kind the first seed's."""
        chosen: dict[tuple, Outcome] = {}
        for outcome in outcomes:
            record = outcome.record
            if outcome.category == category and record and record.status == "completed":
                chosen.setdefault((outcome.preset, outcome.changes), outcome)
        return list(chosen.values())

    def files(self, outcomes: Sequence[Outcome], name: str) -> list[tuple[Outcome, pd.DataFrame]]:
        """Each run that left a table of that name, such as history.csv, with it."""
        found = []
        for outcome in outcomes:
            if outcome.record is not None:
                # Not everything that is in a run's folder is kept with its record.
                for folder in (self.records_folder, Path(self.runs_dir)):
                    path = folder / outcome.record.run_id / name
                    if path.exists():
                        found.append((outcome, pd.read_csv(path)))
                        break
        return found

    def strip_maps(self, outcomes: Sequence[Outcome], category: str) -> Figure:
        """The first defective strips under every configuration that was run, side by side."""
        chosen = self.first_seeds(outcomes, category)
        sample, answers = self._answers(chosen)
        if not answers:
            return figures.empty(f"{category}: no run with maps to draw, see the tables above.")
        return supervision_figures.strips(
            list(sample.images.permute(0, 2, 3, 1).numpy()),
            list(sample.masks[:, 0].numpy()),
            answers,
            f"{supervision_tables.data_name(chosen, category)}: first defective test images; raw "
            "maps, each with its own range; line: 99.9th percentile of sound training pixels. "
            f"{self.caption(chosen)}",
        )

    def noise_maps(self, outcomes: Sequence[Outcome], category: str) -> Figure:
        """What every source's noise looks like on the category's first training image."""
        chosen = self.first_seeds(outcomes, category)
        if not chosen:
            return figures.empty(f"{category}: no run to draw the noise of, see the table above.")
        image = self.dataset(category).train.images[:1]
        sources = []
        for outcome in chosen:
            record, model = self._load(outcome)
            source = runs.load_source(self._run(record), record, model)
            device = next(model.parameters()).device
            draws = [
                look(source, model, normalise(image.to(device)), env.generator(device, draw))
                for draw in (1, 2)
            ]
            sources.append(
                figures.NoiseMaps(
                    record.config.preset,
                    *(noise[0].numpy() for noise, _ in draws),
                    draws[0][1][0].numpy(),
                )
            )
        caption = f"{category}; {self.caption(chosen)}"
        return figures.noise_maps(image[0].permute(1, 2, 0).numpy(), sources, caption)

    def caption(self, outcomes: Sequence[Outcome]) -> str:
        """What every table and figure of these runs says of them: data, epochs, seeds, device."""
        records = [outcome.record for outcome in outcomes if outcome.record is not None]
        if not records:
            return "Nothing was run."
        return tables.describe(records)

    def efficiency(self, presets: Sequence[str]) -> list[Efficiency]:
        """What inference costs on this machine; measured once."""
        kinds = both_forms(presets)
        return measure_all(kinds, Path(self.runs_dir), repetitions=self.profile.repetitions)

    def comparison(self, first: str, second: str) -> Comparison:
        """What the second preset costs more than the first at inference; measured once."""
        return compare(first, second, Path(self.runs_dir), repetitions=self.profile.repetitions)

    def panels(self, outcomes: Sequence[Outcome], category: str) -> Figure:
        """The category's first defective test image under every configuration that was run."""
        chosen = self.first_seeds(outcomes, category)
        sample, answers = self._answers(chosen)
        if not answers:
            return figures.empty(f"{category}: no run with maps to draw, see the tables above.")
        name = sample.samples[0]
        return figures.panels(
            sample.images[0].permute(1, 2, 0).numpy(),
            sample.masks[0, 0].numpy(),
            answers[0],
            f"{category}: first defective test image, {name.defect}/{shown(name.image.name)}",
            f"{self.caption(chosen)}; thresholds: 99.9th percentile of the map's pixels and 99th "
            "of the scores, on defect-free training images",
        )

    def _answers(
        self, outcomes: Sequence[Outcome]
    ) -> tuple[ImageSet | None, list[list[figures.Panel]]]:
        """The images whose maps were kept, and of each of them every run's answer.

        Raises:
            InputError: the images are not there, or are not those of the runs.
        """
        kept = [(outcome, rows) for outcome, rows in self.files(outcomes, runs.MAPS) if len(rows)]
        if not kept:
            return None, []
        # The finest of the sizes: of each run's own only its maps are made.
        data = max((o.record.config.data for o, _ in kept), key=lambda data: data.image_size)
        category = STRIPS if data.dataset == STRIPS else data.category
        dataset = grid.dataset(
            data.dataset, self._root(data.dataset), category, data.image_size, data.resize
        )
        places = sorted(runs.read_maps(kept[0][1], data.image_size))
        sample = dataset.test.subset(places)
        answers: list[list[figures.Panel]] = [[] for _ in places]
        differ = len({outcome.record.epochs_done for outcome, _ in kept}) > 1
        for outcome, rows in kept:
            record, maps = outcome.record, runs.read_maps(rows, data.image_size)
            ((_, scores),) = self.files([outcome], "scores.csv")
            title = supervision_tables.named(outcome)
            if differ:
                title += f", {record.epochs_done} epochs"
            names = sample.names(dataset.root)
            for place, image, panels in zip(places, names, answers, strict=True):
                if scores["image"].get(place) != image:
                    raise InputError(f"{dataset.root}: not the images of {record.run_id}")
                panels.append(
                    figures.Panel(
                        title,
                        maps[place],
                        record.thresholds.map,
                        scores["score"][place],
                        record.thresholds.score,
                    )
                )
        return sample, answers

    def save(self, name: str, made: Figure | tables.Table) -> figures.Picture | tables.Table:
        """Save a figure (PNG) or a table (CSV and Markdown) into `out_dir`.

        Returns:
            What the notebook shows of it: the table, or the figure's picture.
        """
        folder = self.out_dir / ("figures" if isinstance(made, Figure) else "tables")
        paths = save(folder, name, made)
        self.saved += [str(path) for path in paths]
        if isinstance(made, Figure):
            return figures.Picture(paths[0].read_bytes(), figures.alt_text(made))
        return made

    def finish(self, notebook: str) -> None:
        """Write the completion record that tells a whole notebook from one whose kernel died."""
        content = {"notebook": notebook, "saved": self.saved, "finished": time.time()}
        write_text(self.out_dir / f"{notebook}.done.json", json.dumps(content, indent=1))

    def _load(self, outcome: Outcome) -> tuple[Record, SuperSimpleNet]:
        """A finished run's record and trained network."""
        record = outcome.record
        return runs.load_run(self._run(record), self.weights(record.config.model.backbone))

    def _run(self, record: Record) -> Path:
        return Path(self.runs_dir) / record.run_id

    def _root(self, name: str) -> Path | None:
        """Where a data set lies, None for the usual places. The demo data are made in ./data."""
        if name == "demo":
            return Path("data").resolve()
        return None if self.data_root is None else Path(self.data_root).resolve()

    def _make_all(self, asked: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[Outcome]:
        """The outcomes of those presets, categories and changes, each with every seed."""
        planned = [self._plan(*item, seed) for item in asked for seed in self._seeds]
        tasks = [item for item in planned if isinstance(item, grid.Task)]
        made = iter(grid.make_all(tasks, self.scheduler))
        return [next(made) if isinstance(item, grid.Task) else item for item in planned]

    def _plan(
        self, name: str, category: str, assignments: tuple[str, ...], seed: int
    ) -> grid.Task | Outcome:
        """What has to be made, or why it cannot be."""
        asked = STRIPS if category == vars(self).get("strips") else category
        if self.category is not None and asked not in self.categories:
            reason = f"left out by category = {self.category!r}"
            return Outcome(name, category, seed, None, reason, assignments)
        try:
            image_size, epochs, batch_size = self.profile.protocol(name)
            dataset = self.dataset(category, image_size, preset(name).resize)
            weights = self.weights(preset(name).model.backbone)
            config = runs.configure(
                name,
                dataset,
                seed=seed,
                epochs=epochs,
                batch_size=batch_size,
                weights=weights,
                assignments=assignments,
            )
        except InputError as error:
            return Outcome(name, category, seed, None, str(error), assignments)
        # Whole paths: a worker may have another working folder.
        weights = None if weights is None else Path(weights).resolve()
        root = self._root(config.data.dataset)
        runs_dir = Path(self.runs_dir).resolve()
        return grid.Task(config, asked, root, weights, runs_dir, self.deadline)


def save(folder: Path, name: str, made: Any) -> list[Path]:
    """Save a matplotlib figure as PNG, or a table as CSV and Markdown; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(made, Figure):
        path = folder / f"{name}.png"
        with written_whole(path) as file:
            made.savefig(file, format="png", dpi=150, bbox_inches="tight")
        return [path]
    csv, markdown = (folder / f"{name}.{suffix}" for suffix in ("csv", "md"))
    write_text(csv, made.frame.to_csv(index=False))
    write_text(markdown, made.to_markdown())
    return [csv, markdown]


def study(
    profile: str,
    *,
    data_root: Path | None = None,
    weights_dir: Path | str | None = None,
    runs_dir: Path = Path("runs"),
    only: Sequence[str] = (),
    category: str | None = None,
    seeds: int | str | None = None,
    scheduler: str | None = None,
    deadline: float | None = None,
) -> None:
    """Execute the study's notebooks through papermill, with progress, and sum up what was made.

    Args:
        only: numbers of notebooks, such as "01"; empty for all.
        category, seeds: as of `Study`, where a notebook has such a parameter.
        scheduler: the address of a Dask scheduler that spreads the runs, or "local" for one worker
            for each GPU of this machine; None makes them one after the other.
        deadline: in seconds since 1970; no epoch begins that would end after it, and the notebooks
            show what is there.

    Raises:
        InputError: an unknown profile or notebook, or a notebook that failed.
    """
    if weights_dir == "imagenet":
        weights_dir = None
    # Before anything is made in these folders.
    _check_text({"data_root": data_root, "weights_dir": weights_dir, "runs_dir": runs_dir})
    here = Study(profile, data_root, weights_dir, runs_dir, category, seeds)
    here.check()
    numbers = [path.name[:2] for path in notebooks()]
    for number in only:
        if number not in numbers:
            raise InputError(f"--only {number}: no such notebook; there are {', '.join(numbers)}")
    chosen = [path for path in notebooks() if not only or path.name[:2] in only]
    parameters = {
        "profile": profile,
        "data_root": str(Path(data_root).resolve()) if data_root else None,
        "weights_dir": str(Path(weights_dir).resolve()) if weights_dir else None,
        "runs_dir": str(Path(runs_dir).resolve()),
        # As text: papermill has no way to write a tuple into a notebook.
        "category": _joined(listed("category", category, "bottle,screw")),
        "seeds": _joined(listed("seeds", seeds, "42,43")),
    }
    saved: list[str] = []
    with grid.cluster(scheduler) as address, _environment(address, deadline):
        for position, path in enumerate(chosen, start=1):
            print(f"[{position}/{len(chosen)}] {path.name}, profile {profile}", flush=True)
            started = time.monotonic()
            saved += execute(path, parameters, here.out_dir)
            print(f"    done in {time.monotonic() - started:.0f} s", flush=True)
    _summary(profile, saved, here.out_dir)


def notebooks() -> list[Path]:
    """The study's, in the order in which they are run."""
    found = sorted((REPOSITORY / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    return sorted(found, key=lambda path: path.stem == REPORT)  # it reads what the others make


def _joined(items: Sequence[str] | None) -> str | None:
    return items and ",".join(items)


@contextlib.contextmanager
def _environment(scheduler: str | None, deadline: float | None) -> Iterator[None]:
    """What a study's notebooks see of how they are run."""
    said = {_SCHEDULER: scheduler, _DEADLINE: deadline}
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


@cache
def _weights(name: str, place: str | Path) -> Path | InputError:
    """Looked for once: a download that fails takes seconds, and must not succeed half-way."""
    try:
        return find_weights(name, place)
    except InputError as error:
        return error


class _OwnKernel(AsyncKernelManager):
    """Starts a kernel of this interpreter, whatever is installed as "python3" for Jupyter."""

    @default("kernel_spec_manager")
    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        # Without folders to look into, "python3" is the kernel of the package at hand.
        return KernelSpecManager(kernel_dirs=[])


def execute(path: Path, parameters: dict[str, Any], out_dir: Path) -> list[str]:
    """Execute one notebook of the study; of the report, write `report.html` too.

    Returns:
        What it saved, by its completion record.

    Raises:
        InputError: it failed, lacks a parameter, does not show a figure that it saved, or cannot
            hold a folder's name.
    """
    import papermill

    known = papermill.inspect_notebook(str(path))
    for name in PARAMETERS[:4]:
        if name not in known:
            raise InputError(f"{path}: no parameter {name!r} in its parameters cell")
    parameters = {name: value for name, value in parameters.items() if name in known}
    _check_text({"notebook": str(path), **parameters})
    name = path.stem
    done = out_dir / f"{name}.done.json"
    done.unlink(missing_ok=True)
    executed = out_dir / "notebooks" / path.name
    executed.parent.mkdir(parents=True, exist_ok=True)
    unfinished = executed.with_name(f"{name}.unfinished.ipynb")
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
            stdout_file=sys.stdout,
            stderr_file=sys.stderr,
        )
    except papermill.PapermillExecutionError as error:
        raise InputError(
            f"{path.name} failed: {error.ename}: {error.evalue} (see {unfinished})"
        ) from None
    except (OSError, RuntimeError) as error:  # a full disk; a kernel that died
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path.name} could not be executed: {reason}") from None
    if not done.exists():
        raise InputError(f"{path.name} ended without its completion record (see {unfinished})")
    saved = json.loads(done.read_text(encoding="utf-8"))["saved"]
    _check_shown(path.name, unfinished.read_text(encoding="utf-8"), saved)
    unfinished.replace(executed)
    if name == REPORT:
        report = page(executed)
        _check_shown("report.html", report, saved)
        write_text(out_dir / "report.html", report)
    return saved


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


def _summary(profile: str, saved: list[str], out_dir: Path) -> None:
    saved = list(dict.fromkeys(saved))  # the report makes some again
    figures = [Path(path).stem for path in saved if path.endswith(".png")]
    tables = [Path(path).stem for path in saved if path.endswith(".md")]
    print(f"\nStudy, profile {profile}: {len(tables)} tables and {len(figures)} figures")
    print(f"  tables    {out_dir / 'tables'}: {', '.join(tables)}")
    print(f"  figures   {out_dir / 'figures'}: {', '.join(figures)}")
    print(f"  notebooks {out_dir / 'notebooks'} (executed)")
