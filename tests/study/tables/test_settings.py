"""The tables of settings follow the presets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssn_lib.presets import PRESETS
from ssn_lib.study.profiles import PROFILES
from ssn_lib.study.systems import SYSTEMS
from ssn_lib.study.tables.settings import ORIGINS, settings


def row(name, profile="quick", **how):
    return settings("some", (name,), PROFILES[profile], **how).frame.iloc[0]


def test_every_preset_says_whose_it_is():
    """One that is not named counts as an own one."""
    assert ORIGINS.keys() <= PRESETS.keys()
    for name in PRESETS:
        if name.endswith("_published"):
            assert ORIGINS[name].kind == "as published"


def test_a_preset_and_a_noise_that_were_added_are_shown(monkeypatch):
    training = PRESETS["scenario_a"].training
    noise = replace(training.noise)
    object.__setattr__(noise, "source", "laplace")
    added = replace(PRESETS["scenario_a"], training=replace(training, noise=noise))
    monkeypatch.setitem(PRESETS, "laplace_noise", added)
    monkeypatch.setitem(SYSTEMS, "laplace_noise", SYSTEMS["scenario_a"])
    found = row("laplace_noise")
    assert (found["whose"], found["σ"]) == ("own (added to this study)", "0.015")
    assert found["noise"].startswith("laplace; ")


def test_a_row_is_what_the_preset_is(monkeypatch):
    found = row("scenario_b_relative")
    assert (found["σ"], found["γ"]) == ("0.12 spreads", "4")
    assert found["adaptor"].startswith("3×3")
    assert found["epochs, batch: `quick`"] == "10, 8"
    assert found["epochs, batch: protocol"] == "300, 32"
    changed = PRESETS["scenario_b_relative"].training
    changed = replace(changed, noise=replace(changed.noise, std=0.5), head_lr=0.5)
    other = replace(PRESETS["scenario_b_relative"], training=changed)
    monkeypatch.setitem(PRESETS, "scenario_b_relative", other)
    found = row("scenario_b_relative")
    assert (found["σ"], found["learning rates"]) == ("0.5 spreads", "0.0001 / 0.5")


@pytest.mark.parametrize(
    ("name", "beta", "noise"),
    [
        ("learned_noise_v1", "unbounded", "generator, simultaneous, no z"),
        ("learned_noise_v2", "0.1", "generator, alternating, 32 channels z"),
    ],
)
def test_a_generator_is_told_by_its_rule_and_bound(name, beta, noise):
    found = row(name)
    assert found["β"] == beta
    assert found["noise"].startswith(noise)
    assert len(found["learning rates"].split("/")) == 3
    assert "σ" not in found  # no Gaussian noise, so no column


def test_sizes_are_the_profiles_own():
    assert row("evolved")["image, px"] == "448×448"
    demo = "×".join(map(str, PROFILES["demo"].image_size))
    assert row("evolved", "demo")["image, px"] == demo
    assert row("gap_cam", strips=True)["image, px"] == "640×232"
    assert row("evolved")["learning rates"] == "decoder 0.008"


def test_a_preset_that_stands_in_two_lists_has_one_row():
    assert len(settings("some", ("scenario_a", "scenario_a"), PROFILES["quick"]).frame) == 1
