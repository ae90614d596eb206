"""What stands before a study on rendered images."""

from __future__ import annotations

import pytest

from ssn_lib.study import real_results, runner
from ssn_lib.study.runner import Study


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setattr(runner, "_weights", lambda *_: None)


def test_the_committed_results_come_first_and_the_demos_own_are_called_what_they_are():
    said = real_results.opening(Study("demo"))
    assert said.startswith("## Measured on real images")
    assert "bottle: I-AUROC" in said
    assert "results/README.md" in said
    own = "(an untrained backbone, rendered images, 2 epochs) show that everything runs"
    assert f"{own}, not how good it is." in said


def test_of_each_system_the_longest_trainings_are_shown():
    notes = real_results.real_results(Study("demo")).notes
    assert "300 epochs" in notes[0]
    assert "demo" not in notes[0]


def test_a_study_on_real_images_needs_no_such_opening():
    assert real_results.opening(Study("quick")) == ""
