"""What a session makes first, and how long it says that it takes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import jupytext
import pytest
import torch

from ssn_lib import machine
from ssn_lib.presets import PRESETS
from ssn_lib.study import runner
from ssn_lib.study.kaggle import session_plan as plans
from ssn_lib.study.kaggle.session_plan import Expected, SessionPlan, image_seconds
from ssn_lib.study.notebooks import notebooks
from ssn_lib.study.profiles import PROFILES
from ssn_lib.study.runner import Study

NOTEBOOK = """# %%
study.run_all(["evolved", "simplenet", "scenario_b", "scenario_a"], ["bottle", "screw"])
study.sweep("learned_noise_v2", "training.noise.generator.beta", (0.5, 0.1), ["screw"])
"""


@pytest.fixture
def small(mvtec_root, tmp_path, monkeypatch):
    """A plan of two seeds; only bottle is there."""
    profile = replace(PROFILES["quick"], image_size=(32, 32))
    monkeypatch.setitem(PROFILES, "quick", profile)
    monkeypatch.setattr(runner, "_weights", lambda *_: None)
    root = tmp_path / "data"
    root.mkdir()
    (root / "bottle").symlink_to(mvtec_root / "mvtec_ad" / "widget")
    path = tmp_path / "01_small.ipynb"
    jupytext.write(jupytext.reads(NOTEBOOK, fmt="py:percent"), path)
    plan = SessionPlan("quick", root, runs_dir=tmp_path / "runs", seeds="42,43")
    plan.read(path)
    return plan


@pytest.mark.filterwarnings("ignore:.*the official")
def test_one_seed_of_everything_comes_first_and_what_decides_most_claims_before_the_rest(small):
    made = [(task.config.seed, task.config.preset) for task in small.tasks()]
    first = ["scenario_b", "scenario_a", "simplenet", "evolved"]  # as in PROTOCOL, then the rest
    assert made == [(seed, name) for seed in (42, 43) for name in first]


@pytest.mark.filterwarnings("ignore:.*the official")
def test_before_it_begins_it_says_what_it_will_do_and_what_is_left_out(small):
    (done, *_) = small.tasks()
    folder = done.runs_dir / done.config.run_id
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}")
    said = list(small.facts(hours=0.001, workers=2))
    assert said[0] == ("runs", "8, 1 of them finished")
    found = dict(said)
    assert found["not made"].startswith("12 runs (scenario_a, scenario_b, learned_noise_v2,")
    assert "screw" in found["not made"]
    assert found["order"].endswith("further seeds last: 3 of seed 42, 4 of seed 43")
    assert "2 at once" in found["expected"]
    assert "sessions of 0.001 h" in found["expected"]
    assert found[""] == "this one makes about 0 of the 7 runs"
    assert "committed records" in found["basis"]


def test_every_run_of_the_studys_own_notebooks_is_known_before(monkeypatch):
    monkeypatch.setattr(Study, "strips", "ksdd2")
    monkeypatch.setattr(Study, "mask_numbers", lambda _: [4, 8])
    plan = SessionPlan("full")
    for path in notebooks():
        plan.read(path)
    presets = {name for name, _, _ in plan.asked}
    assert {"scenario_a", "learned_noise_v2", "gap_cam", "mixed_ssn", "evolved"} <= presets


def record(preset, device, seconds):
    config = SimpleNamespace(preset=preset, data=SimpleNamespace(image_size=(256, 512)))
    return SimpleNamespace(
        config=config,
        environment={"device": device, "gpu": "NVIDIA H200"},
        timings={"epoch_median_s": seconds},
        images_per_epoch=100,
    )


def test_seconds_are_those_of_records_on_the_same_kind_of_device_or_in_ratio_to_a_probe():
    known = [
        *(record("scenario_a", "cpu", seconds) for seconds in (10, 20, 60)),
        record("simplenet", "cpu", 40),
        record("scenario_a", "cuda", 2),
        record("scenario_b", "cuda", 3),
    ]
    cpu = image_seconds(known, "cpu")
    assert cpu["scenario_a"] == pytest.approx(0.1)  # the median, of images twice as large
    assert cpu["simplenet"] == cpu["evolved"] == pytest.approx(0.2)  # the slowest that is known
    cuda = image_seconds(known, "cuda", probed=0.5)
    assert cuda["scenario_a"] == 0.5
    assert cuda["scenario_b"] == 0.75
    assert cuda["simplenet"] == 1  # as much slower as on a processor
    assert image_seconds([], "cuda", probed=0.5) == dict.fromkeys(PRESETS, 0.5)


def test_a_gpu_is_probed_and_the_basis_says_so(monkeypatch):
    monkeypatch.setattr(machine, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(plans, "probe", lambda: 0.32)
    expected = Expected.of([])
    assert expected.image_s["scenario_a"] == pytest.approx(0.01)
    assert "timed here (320 ms for 32 images)" in expected.basis


def test_the_probe_trains_on_the_published_batch(monkeypatch):
    seen = []

    def fit(model, train, config, **_):
        seen.append((len(train), train.images.shape[1:], config.batch_size))
        return SimpleNamespace(epochs=[SimpleNamespace(seconds=s) for s in (9, 1, 2, 3)])

    monkeypatch.setattr(plans, "fit", fit)
    plans.probe.cache_clear()
    assert plans.probe() == 2
    assert seen == [(32, (3, 256, 256), 32)]
    plans.probe.cache_clear()
