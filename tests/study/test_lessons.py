"""What notebooks show beside results, in any profile and without data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssn_lib.runs.record import Outcome
from ssn_lib.storage import REPOSITORY
from ssn_lib.study import lessons
from ssn_lib.study.figures.drawing import NotDrawn
from ssn_lib.study.lessons import Lessons
from ssn_lib.study.readings.reading import Reading
from ssn_lib.study.runner import Study

READINGS = ("seen_swap", "seen_noise", "seen_weak", "seen_mixed", "seen_evolved")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The lessons of a demo that has run nothing yet."""
    return Lessons(Study("demo", runs_dir=tmp_path_factory.mktemp("demo")))


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return Lessons(Study("quick", runs_dir=folder, records_dir=REPOSITORY / "results"))


@pytest.mark.parametrize("name", READINGS)
def test_a_demo_tells_the_committed_results_and_says_what_its_own_are_worth(name, demo, committed):
    told, real = getattr(demo, name)(), getattr(committed, name)()
    assert "rendered images" in told.sentences[0]
    assert told.sentences[1:] == real.sentences
    assert 4 <= len(real.sentences) <= 8


def test_an_untrained_backbone_is_said_of_what_the_notebook_shows(record, tmp_path, monkeypatch):
    one = record("scenario_a")
    one = replace(one, config=replace(one.config, weights="untrained"))
    known = {"all": [Outcome.of(one)], "some": [Outcome.of(one), Outcome.of(record("scenario_b"))]}
    for name, outcomes in known.items():
        made = Lessons(Study("demo", runs_dir=tmp_path))
        monkeypatch.setattr(made, "outcomes", outcomes)
        some = ", some," if name == "some" else ""
        assert f"images and{some} of an untrained backbone" in made.seen_swap().sentences[0]
        assert "untrained" not in made.seen_weak().sentences[0]  # which shows no plates


def test_own_runs_are_told_from_the_projects(tmp_path):
    made = Lessons(Study("quick", runs_dir=tmp_path))
    assert "your own runs" in made.seen_noise().sentences[0]


def test_without_committed_records_a_reading_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "COMMITTED", tmp_path / "none")
    made = Lessons(Study("demo", runs_dir=tmp_path))
    for name in READINGS:
        told = getattr(made, name)()
        assert isinstance(told, Reading)
        assert "for want of records" in told.notes[-1]


def test_data_that_are_not_there_are_not_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Lessons(Study("quick", tmp_path, runs_dir=tmp_path))
    for name in ("data_plates", "data_strips"):
        why = getattr(made, name)()
        assert isinstance(why, NotDrawn)
        assert "\n" not in why
    narrow = Lessons(Study("quick", tmp_path, runs_dir=tmp_path, category="screw"))
    assert "category = 'screw'" in narrow.data_strips()


def test_the_demos_data_are_drawn(demo, demo_base, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(demo_base)
    monkeypatch.chdir(tmp_path)
    assert [axes.get_title() for axes in demo.data_plates().axes[:2]] == ["good", "good"]
    assert "rendered" in demo.data_strips().get_suptitle()
    assert len(demo.data_rendered().axes) == 3 * 5
