"""The network that a notebook looks into: the study's own, or one trained at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssn_lib.errors import InputError
from ssn_lib.study import runner
from ssn_lib.study.profiles import PROFILES
from ssn_lib.study.runner import Study
from ssn_lib.study.trained import trained


@pytest.fixture
def here(small_networks, demo_base, tmp_path, monkeypatch):
    """A folder with the demo's images, made small, and no weights."""
    (tmp_path / "data").symlink_to(demo_base)
    monkeypatch.chdir(tmp_path)
    small = replace(PROFILES["demo"], image_size=(32, 32), epochs=1)
    monkeypatch.setitem(PROFILES, "demo", small)
    monkeypatch.setattr(runner, "_weights", lambda *_: InputError("no weights"))
    return tmp_path


def test_it_is_the_studys_own_run(here):
    study = Study("demo", runs_dir=here / "runs")
    found = trained(study, "evolved", "screw", epochs=1)
    (outcome,) = study.run_all(["evolved"], ["screw"])
    assert (found.config, found.epochs) == (outcome.record.config, 1)
    assert str(found) == (
        "evolved on rendered screw, 32×32 pixels; the study's run, epochs: 1, "
        "on an untrained backbone"
    )
    assert not found.model.training


def test_a_run_that_is_too_short_is_replaced_and_leaves_no_record(here):
    study = Study("demo", runs_dir=here / "runs")
    found = trained(study, "evolved", "screw", epochs=2)
    assert "trained here, epochs: 2" in str(found)
    (record,) = study.records()[0]
    assert record.epochs_done == 1


def test_without_the_studys_images_the_demos_are_taken(here):
    found = trained(Study("quick", here, runs_dir=here / "runs"), "evolved", "screw", epochs=1)
    assert str(found).startswith("evolved on rendered screw, 32×32 pixels; trained here")
