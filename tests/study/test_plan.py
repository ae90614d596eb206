"""The runs that notebooks ask for, read before they are executed."""

from __future__ import annotations

import jupytext
import pytest

from ssn_lib.errors import InputError
from ssn_lib.study import runner
from ssn_lib.study.notebooks import notebooks
from ssn_lib.study.plan import Plan

ASKING = """# %%
from ssn_lib.study.systems import SWAP_PRESETS
EPOCHS = 3
study = Study.of_notebook(globals())
study.run_all(SWAP_PRESETS, ["screw"])
runs = study.sweep("scenario_a", "training.head_lr", (0.1, 0.2), ["screw"])
if try_it:
    study.run_all(["evolved"])
study.save("a", study.table())
"""


@pytest.fixture
def plan(demo_base, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(demo_base)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "_weights", lambda *_: None)

    def read(source, **choices):
        jupytext.write(jupytext.reads(source, fmt="py:percent"), tmp_path / "01_small.ipynb")
        plan = Plan("demo", **choices)
        plan.read(tmp_path / "01_small.ipynb")
        return plan

    return read


def test_runs_are_read_with_their_images_and_none_is_made(plan, tmp_path):
    tasks = plan(ASKING, seeds="1,2").tasks()
    assert [task.config.preset for task in tasks[::2]] == [
        *("baseline", "scenario_a", "scenario_b"),
        *("scenario_a", "scenario_a"),
    ]
    assert [task.config.seed for task in tasks] == [1, 2] * 5
    assert {task.images for task in tasks} == {24}
    assert not (tmp_path / "runs").exists()


def test_what_was_left_out_by_a_choice_is_none_of_them(plan):
    assert [task.config.preset for task in plan(ASKING, presets="baseline").tasks()] == ["baseline"]
    assert plan(ASKING, category="bottle").tasks() == []


def test_a_run_by_two_names_counts_once(plan):
    twice = "# %%\n" + 'study.run_all(["scenario_a"], ["screw"])\n' * 2
    assert len(plan(twice).tasks()) == 1


def test_what_cannot_be_told_is_said(plan):
    with pytest.raises(InputError, match=r"`study.run_all\(found\)` asks for cannot be told"):
        plan("# %%\nfound = study.records()\nstudy.run_all(found)\n")


def test_every_notebook_of_the_study_can_be_read():
    plan = Plan("demo")
    for notebook in notebooks():
        plan.read(notebook)
    assert len(plan.asked) > 20
