"""What is said of runs while they are made, and how long the others will take."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study import progress
from ssn_lib.study.parallel import Task
from ssn_lib.study.progress import LINE, Progress, duration


@pytest.fixture
def clock(monkeypatch):
    """clock(seconds): lets that time pass."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


@pytest.fixture
def task(record, tmp_path):
    """task(preset, category, seed): of a run of 10 epochs of 100 images."""

    def make(*args, **kwargs):
        return Task(record(*args, **kwargs).config, "", None, None, tmp_path / "runs", images=100)

    return make


def outcome(one: Task, record) -> Outcome:
    config = one.config
    return Outcome.of(record(config.preset, config.data.category, config.seed))


def test_a_line_when_a_run_begins_and_one_when_it_ends(task, record, clock):
    said = []
    tasks = [task("scenario_a", "screw"), task("scenario_b", "screw"), task("scenario_b", "bottle")]
    runs = Progress(say=said.append)
    runs.expect(tasks)
    for one in tasks:
        runs.begins(one)
        clock(60)
        runs.ended(one, outcome(one, record))
    a, b = (preset(name).title for name in ("scenario_a", "scenario_b"))
    every = "seed 42: 10 epochs of 100 images at 256×256 px"
    assert said == [
        f"run 1 of 3: {a}, screw, {every}",
        "run 1 of 3: done in 60 s; runs left: about 2 min",
        f"run 2 of 3: {b}, screw, {every}; runs left: about 2 min",
        "run 2 of 3: done in 60 s; runs left: about 60 s",
        f"run 3 of 3: {b}, bottle, {every}; runs left: about 60 s",
        "run 3 of 3: done in 60 s",
    ]
    assert LINE.sub("", "kept\n" + "\n".join(said)) == "kept\n"


def test_time_left_goes_by_runs_of_the_same_system_and_by_their_work(task, record, clock):
    slow, quick = task("baseline", "screw"), task("scenario_a", "screw")
    longer = task("scenario_a", "bottle", epochs=40)
    runs = Progress(say=lambda line: None)
    runs.expect([slow, quick, longer, task("baseline", "bottle")])
    assert runs.left_s() is None  # nothing to go by
    for one, seconds in ((slow, 100), (quick, 10)):
        runs.begins(one)
        clock(seconds)
        runs.ended(one, outcome(one, record))
    assert runs.left_s() == pytest.approx(4 * 10 + 100)
    runs.begins(longer)
    clock(30)
    assert runs.left_s() == pytest.approx(10 + 100)


def test_a_run_that_failed_is_said_and_tells_nothing_of_time(task, clock):
    said = []
    runs = Progress(say=said.append)
    one = task()
    runs.expect([one, task(seed=43)])
    runs.begins(one)
    clock(1)
    runs.ended(one, Outcome("scenario_a", "bottle", 42, None, "the disk is full"))
    assert said[-1] == "run 1 of 2: not made: the disk is full"
    assert runs.left_s() is None


def test_a_long_run_says_once_a_minute_how_far_it_is(task, clock):
    said = []
    runs = Progress(say=said.append)
    one = task()
    runs.expect([one])
    runs.begins(one)
    for done in range(10):
        runs.epoch(one, done)
        clock(25)
    assert [line.partition(": ")[2] for line in said[1:]] == [
        f"{n} of 10 epochs" for n in (3, 6, 9)
    ]


def test_notebooks_go_on_from_one_another(task, record, clock, tmp_path):
    """Each is a process of its own; they share a file."""
    shared, said = tmp_path / "plan.json", []
    tasks = [task("scenario_a", "screw"), task("scenario_a", "bottle")]
    Progress(shared).expect(tasks)
    for one in tasks:
        runs = Progress(shared, said.append)
        runs.expect([one])
        runs.begins(one)
        clock(5)
        runs.ended(one, outcome(one, record))
    assert [re.match(r"run . of .", line)[0] for line in said] == ["run 1 of 2"] * 2 + [
        "run 2 of 2"
    ] * 2
    assert "runs left: about 5 s" in said[1]


def test_finished_runs_do_not_count(task, record):
    said = []
    done, new = task("scenario_a", "screw"), task("scenario_a", "bottle")
    folder = Path(done.runs_dir) / done.config.run_id
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}")
    runs = Progress(say=said.append)
    runs.expect([done, new])
    runs.ended(done, outcome(done, record))  # answered from its record
    runs.begins(new)
    assert [line[:11] for line in said] == ["run 1 of 1:"]


def test_a_changed_field_is_named(task):
    one = task()
    training = replace(one.config.training, head_lr=0.5)
    assert progress.named(replace(one.config, training=training)).endswith("seed 42, head_lr=0.5")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (89, "89 s"), (100, "2 min"), (3590, "1 h 0 min"), (12000, "3 h 20 min")],
)
def test_a_time_for_people(seconds, said):
    assert duration(seconds) == said
