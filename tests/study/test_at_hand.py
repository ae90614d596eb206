"""What mechanisms are shown on, where data and weights are missing as where they are at hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ssn_lib.config import ModelConfig
from ssn_lib.errors import InputError
from ssn_lib.models.backbone import torchvision_name
from ssn_lib.models.supersimplenet import build
from ssn_lib.study import runner
from ssn_lib.study.at_hand import example_images, fresh_network, trained_network
from ssn_lib.study.profiles import PROFILES
from ssn_lib.study.runner import Study


@pytest.fixture
def here(demo_base, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(demo_base)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("profile", ["demo", "quick"])
def test_without_data_images_are_rendered_and_that_is_said(profile, here, capsys):
    study = Study(profile)
    images = example_images(study, "bottle")
    assert images.image_size == study.profile.image_size
    assert "rendered training images of bottle" in capsys.readouterr().out


def test_without_weights_the_network_is_untrained_and_that_is_said(monkeypatch, capsys):
    def none(self, name):
        raise InputError("no weights")

    monkeypatch.setattr(Study, "weights", none)
    first, second = (fresh_network(Study("quick"), ModelConfig()) for _ in range(2))
    assert "resnet18: untrained, random weights" in capsys.readouterr().out
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_weights_at_hand_are_used(tmp_path, monkeypatch, capsys):
    path = tmp_path / "weights.pth"
    known = build(ModelConfig(), None).backbone
    torch.save({torchvision_name(k): v for k, v in known.state_dict().items()}, path)
    monkeypatch.setattr(Study, "weights", lambda self, name: path)
    network = fresh_network(Study("quick"), ModelConfig())
    assert network.backbone.fingerprint() == known.fingerprint()
    assert "resnet18: ImageNet weights" in capsys.readouterr().out


@pytest.fixture
def small_study(small_networks, demo_base, tmp_path, monkeypatch):
    """A folder with the demo's images, made small, and no weights."""
    (tmp_path / "data").symlink_to(demo_base)
    monkeypatch.chdir(tmp_path)
    small = replace(PROFILES["demo"], image_size=(32, 32), epochs=1)
    monkeypatch.setitem(PROFILES, "demo", small)
    monkeypatch.setattr(runner, "_weights", lambda *_: InputError("no weights"))
    return tmp_path


def test_it_is_the_studys_own_run(small_study):
    study = Study("demo", runs_dir=small_study / "runs")
    found = trained_network(study, "evolved", "screw", epochs=1)
    (outcome,) = study.run_all(["evolved"], ["screw"])
    assert (found.config, found.epochs) == (outcome.record.config, 1)
    assert str(found) == (
        "evolved on rendered screw, 32×32 pixels; the study's run, epochs: 1, "
        "on an untrained backbone"
    )
    assert not found.model.training


def test_a_run_that_is_too_short_is_replaced_and_leaves_no_record(small_study):
    study = Study("demo", runs_dir=small_study / "runs")
    found = trained_network(study, "evolved", "screw", epochs=2)
    assert "trained here, epochs: 2" in str(found)
    (record,) = study.records()[0]
    assert record.epochs_done == 1


def test_strips_of_any_name_are_replaced_by_the_demos(small_study):
    study = Study("demo", runs_dir=small_study / "runs")
    network = trained_network(study, "gap_cam", "strips of mine", epochs=1)
    assert network.here
    assert network.config.data.category == "ksdd2"


def test_without_the_studys_images_the_demos_are_taken(small_study):
    found = trained_network(
        Study("quick", small_study, runs_dir=small_study / "runs"), "evolved", "screw", epochs=1
    )
    assert str(found).startswith("evolved on rendered screw, 32×32 pixels; trained here")
