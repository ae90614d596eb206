"""What a notebook of the study works with: the runs it asks for, and what it saves."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssn_lib.config import DataConfig, Resize, RunConfig
from ssn_lib.data.images import Dataset
from ssn_lib.data.registry import of_strips, source_of
from ssn_lib.errors import InputError, nearest
from ssn_lib.models.weights import find_weights
from ssn_lib.overrides import assignment, changes, override
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record
from ssn_lib.runs.run import configure
from ssn_lib.storage import REPOSITORY, write_text
from ssn_lib.study import parallel
from ssn_lib.study.captions import describe
from ssn_lib.study.costs.inference import compare, measure_all
from ssn_lib.study.costs.records import (
    Comparison,
    Efficiency,
    both_forms,
    kept_comparison,
    kept_costs,
)
from ssn_lib.study.figures.drawing import NotDrawn, Picture, alt_text
from ssn_lib.study.parameters import (
    PARAMETERS,
    TRY_IT,
    known_presets,
    listed,
    refuse_unknown,
    size,
    whole_number,
)
from ssn_lib.study.profiles import CATEGORIES, PROFILES, STRIPS, Profile
from ssn_lib.study.progress import Progress
from ssn_lib.study.readings.reading import Reading
from ssn_lib.study.records import configuration, read_records
from ssn_lib.study.saving import remove, save
from ssn_lib.study.tables.table import Table
from ssn_lib.training.holdout import trained_per_epoch

# How a study's notebooks are run is no parameter of theirs: it reaches them by these variables.
SCHEDULER_VARIABLE, DEADLINE_VARIABLE = "SSN_SCHEDULER", "SSN_DEADLINE"
COMMITTED = REPOSITORY / "results"  # the project's own records
PLAN_VARIABLE = "SSN_PLAN"  # the file by which they know of one another's runs


@dataclass
class Study:
    """What a notebook works with: a profile, where its data lie, and where its output goes.

    Attributes:
        data_root, weights_dir: None for the usual places.
        runs_dir: holds the runs, shared by all profiles.
        records_dir: holds finished records, which then answer for all runs and costs: nothing is
            trained or measured. None trains what `runs_dir` does not hold yet.
        category: only these of the study's, one name or several separated by commas; None for all.
        seeds: instead of the profile's, a number or several separated by commas.
        epochs: of every run, instead of the profile's.
        image_size: instead of the profile's, the longer side or "HEIGHTxWIDTH", in pixels.
        presets: only these systems, one name or several separated by commas; None for all.
        categories: the names in `category`.
        scheduler: the address of a Dask scheduler that spreads the runs; `SSN_SCHEDULER`.
        deadline: in seconds since 1970, no epoch begins that would end after it; `SSN_DEADLINE`.
        saved: the files that `save` wrote.
        not_drawn: by name, why a figure could not be drawn.
        not_made: runs that were asked for and could not be made, and why.
    """

    profile_name: str = "demo"
    data_root: str | Path | None = None
    weights_dir: str | Path | None = None
    runs_dir: str | Path = "runs"
    category: str | None = None
    seeds: int | str | None = None
    records_dir: str | Path | None = None
    epochs: int | None = None
    image_size: int | str | None = None
    presets: str | None = None
    scheduler: str | None = field(default_factory=lambda: os.environ.get(SCHEDULER_VARIABLE))
    deadline: float | None = field(
        default_factory=lambda: (
            float(os.environ[DEADLINE_VARIABLE]) if DEADLINE_VARIABLE in os.environ else None
        )
    )
    saved: list[str] = field(default_factory=list)
    not_drawn: dict[str, str] = field(default_factory=dict)
    not_made: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not isinstance(self.profile_name, str) or self.profile_name not in PROFILES:
            hint = nearest(str(self.profile_name), PROFILES)
            raise InputError(f"unknown profile {self.profile_name!r}: {hint}")
        for name in ("data_root", "weights_dir", "runs_dir", "records_dir"):
            value = getattr(self, name)
            if not isinstance(value, (str, Path) if name == "runs_dir" else (str, Path, NoneType)):
                raise InputError(f"{name}={value!r}: expected a folder")
        self.runs_dir = Path(self.runs_dir)
        self._asked = (
            whole_number("epochs", self.epochs),
            size("image_size", self.image_size),
        )
        known = (*CATEGORIES, STRIPS)
        usual = (*self.profile.categories, STRIPS)
        self.categories = listed("category", self.category, "bottle,screw") or usual
        for name in self.categories:
            if name not in known:
                raise InputError(f"category={self.category!r}: known: {', '.join(known)}")
        seeds = listed("seeds", self.seeds, "42,43") or self.profile.seeds
        if not all(str(seed).isdecimal() and int(seed) < 2**32 for seed in seeds):
            raise InputError(
                f"seeds={self.seeds!r}: expected whole numbers below 2^32, such as '42,43'"
            )
        self._seeds = tuple(map(int, seeds))
        self._presets = known_presets("presets", self.presets)

    @classmethod
    def of_notebook(cls, namespace: Mapping[str, Any]) -> Study:
        """The study of a notebook, from its parameters; the notebook's `globals()` are given.

        A notebook that was opened in `notebooks/` works in the repository's root, as all do.

        Raises:
            InputError: a parameter that papermill was given is unknown or makes no sense.
        """
        if Path.cwd() == REPOSITORY / "notebooks":
            os.chdir(REPOSITORY)
        refuse_unknown(namespace, (*PARAMETERS, TRY_IT))
        values = {name: namespace[name] for name in PARAMETERS if name in namespace}
        return cls(values.pop("profile"), **values)

    @property
    def profile(self) -> Profile:
        """The profile of that name, with the epochs and the image size that were asked for."""
        profile = PROFILES[self.profile_name]
        return profile if self._asked == (None, None) else profile.asked(*self._asked)

    @cached_property
    def progress(self) -> Progress:
        """What says how far the runs are; a study's notebooks go on from one another."""
        plan = os.environ.get(PLAN_VARIABLE)
        return Progress(Path(plan) if plan else None)

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
        return parallel.dataset(name, self.root(name), category, size, resize)

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
        return read_records(self.records_folder)

    def made(self) -> list[Outcome]:
        """The runs of this profile that have a record."""
        return [Outcome.of(record) for record in self.records()[0] if self.profile.made(record)]

    def without(self, category: str) -> str:
        """Why the study goes without a category; "" where it does not.

        Args:
            category: "ksdd2" for all strips.
        """
        if self.category is not None:
            reason = f"left out by category = {self.category!r}"
        elif category in CATEGORIES:
            reason = f"left out by the profile {self.profile_name}"
        else:
            return ""  # a data set of the user's own
        return "" if category in self.categories else reason

    def left_out(self, name: str, category: str) -> str:
        """Why a system's runs on a category are no part of this study; "" where they are.

        Args:
            category: "ksdd2" for all strips.
        """
        if reason := self.without(category):
            return reason
        if self._presets is not None and name not in self._presets:
            return f"left out by presets = {self.presets!r}"
        return ""

    def covers(self, record: Record) -> bool:
        """Whether a record is of a category, a system and a seed that were asked for."""
        config, data = record.config, record.config.data
        category = STRIPS if of_strips(data.dataset, data.category) else data.category
        known_seed = self.seeds is None or config.seed in self._seeds
        return known_seed and not self.left_out(config.preset, category)

    def committed(self) -> list[Record]:
        """The project's own records, which come with the repository; none elsewhere."""
        return read_records(COMMITTED)[0]

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
                for folder in (self.records_folder, Path(self.runs_dir), COMMITTED):
                    path = folder / outcome.record.run_id / name
                    if path.exists():
                        found.append((outcome, pd.read_csv(path)))
                        break
        return found

    def caption(self, outcomes: Sequence[Outcome]) -> str:
        """What every table and figure of these runs says of them: data, epochs, seeds, device."""
        records = [outcome.record for outcome in outcomes if outcome.record is not None]
        if not records:
            return "nothing was run"
        return describe(records)

    def efficiency(self, presets: Sequence[str]) -> list[Efficiency]:
        """What inference costs on this machine; measured once."""
        kinds = both_forms(presets)
        if self.records_dir:
            return kept_costs(kinds, self.records_folder, "cpu")
        return measure_all(kinds, Path(self.runs_dir), repetitions=self.profile.repetitions)

    def comparison(self, first: str, second: str) -> Comparison | None:
        """What the second preset costs more than the first at inference; measured once."""
        if self.records_dir:
            return kept_comparison(first, second, self.records_folder)
        return compare(first, second, Path(self.runs_dir), repetitions=self.profile.repetitions)

    def save(
        self, name: str, made: Figure | NotDrawn | Table | Reading
    ) -> Picture | Table | Reading | None:
        """Save a figure (PNG), a table (CSV and Markdown) or a reading (Markdown) into `out_dir`.

        Returns:
            What the notebook shows of it: the table or reading, the figure's picture, or nothing of
            a figure that could not be drawn; why is printed and kept in `not_drawn`.
        """
        if isinstance(made, NotDrawn):
            self.not_drawn[name] = str(made)
            remove(self.out_dir, name)
            print(f"{name}.png is not drawn: {made}")
            return None
        folder = self.out_dir / ("figures" if isinstance(made, Figure) else "tables")
        paths = save(folder, name, made)
        self.saved += [str(path) for path in paths]
        if isinstance(made, Figure):
            return Picture(paths[0].read_bytes(), alt_text(made))
        return made

    def finish(self, notebook: str) -> None:
        """Write the completion record that tells a whole notebook from one whose kernel died."""
        content = {"notebook": notebook, "saved": self.saved, "finished": time.time()}
        write_text(self.out_dir / f"{notebook}.done.json", json.dumps(content, indent=1))

    def root(self, name: str) -> Path | None:
        """Where a data set lies, None for the usual places. The demo data are made in ./data."""
        if source_of(name).origin == "rendered":
            return Path("data").resolve()
        return None if self.data_root is None else Path(self.data_root).resolve()

    def _make_all(self, asked: Iterable[tuple[str, str, tuple[str, ...]]]) -> list[Outcome]:
        """The outcomes of those presets, categories and changes, each with every seed."""
        if self.records_dir:
            kinds = [(name, category, _changes(name, given)) for name, category, given in asked]
            wanted = {kind: place for place, kind in enumerate(kinds)}
            found = [
                (wanted[kind], outcome)
                for outcome in self.made()
                if self.covers(outcome.record) and (kind := configuration(outcome)) in wanted
            ]
            found.sort(key=lambda one: (one[0], one[1].seed))
            return [outcome for _, outcome in found]
        planned = [self._plan(*item, seed) for item in asked for seed in self._seeds]
        tasks = [item for item in planned if isinstance(item, parallel.Task)]
        progress = self.progress
        progress.expect(tasks)
        made = iter(
            parallel.make_all(
                tasks,
                self.scheduler,
                progress.ended,
                begins=progress.begins,
                epoch=progress.epoch,
            )
        )
        outcomes = [next(made) if isinstance(item, parallel.Task) else item for item in planned]
        self.not_made += [outcome for outcome in outcomes if outcome.record is None]
        return outcomes

    def _plan(
        self, name: str, category: str, assignments: tuple[str, ...], seed: int
    ) -> parallel.Task | Outcome:
        """What has to be made, or why it cannot be."""
        asked = STRIPS if category == vars(self).get("strips") else category
        if reason := self.left_out(name, asked):
            return Outcome(name, category, seed, None, reason, assignments)
        try:
            image_size, epochs, batch_size = self.profile.protocol(name)
            dataset = self.dataset(category, image_size, preset(name).resize)
            weights = self.weights(_backbone(name, assignments))
            config = configure(
                name,
                dataset,
                seed=seed,
                epochs=epochs if self.profile.sets_epochs(name) else None,
                batch_size=batch_size,
                weights=weights,
                assignments=assignments,
            )
            images = trained_per_epoch(dataset.train, config.training, seed)
        except InputError as error:
            return Outcome(name, category, seed, None, str(error), assignments)
        # Whole paths: a worker may have another working folder.
        weights = None if weights is None else Path(weights).resolve()
        root = self.root(config.data.dataset)
        runs_dir = Path(self.runs_dir).resolve()
        return parallel.Task(config, asked, root, weights, runs_dir, self.deadline, images)


def _changes(name: str, assignments: Sequence[str]) -> tuple[str, ...]:
    """A preset's changes, as a record tells them: none where a value is the preset's own."""
    base = preset(name)
    config = RunConfig(name, DataConfig("", ""), base.model, base.training)
    return changes(override(config, assignments))


def _backbone(name: str, assignments: Sequence[str]) -> str:
    """Of a preset with those changes."""
    changed = dict(one.split("=", 1) for one in assignments)
    return changed.get("model.backbone", preset(name).model.backbone)


@cache
def _weights(name: str, place: str | Path) -> Path | InputError:
    """Looked for once: a download that fails takes seconds, and must not succeed half-way."""
    try:
        return find_weights(name, place)
    except InputError as error:
        return error
