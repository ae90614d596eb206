"""What notebooks work with: runs asked for by name, sweeps, and drawing from finished runs."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from ssn_lib.errors import InputError
from ssn_lib.presets import PRESETS
from ssn_lib.study import notebooks as notebook_runs
from ssn_lib.study import run_pictures, runner
from ssn_lib.study.figures import courses as course_figures
from ssn_lib.study.profiles import PROFILES
from ssn_lib.study.runner import Study, _weights
from ssn_lib.study.systems import (
    BETA,
)
from ssn_lib.training import fit as training_loop


@pytest.fixture
def small(small_networks, mvtec_root, monkeypatch, tmp_path):
    """A study of one epoch on the tiny data set, with an untrained backbone."""
    profile = replace(
        PROFILES["demo"],
        dataset="mvtec_ad",
        image_size=(32, 32),
        strips="ksdd2",
        epochs=1,
        batch_size=4,
    )
    monkeypatch.setitem(PROFILES, "demo", profile)
    monkeypatch.setattr(runner, "_weights", lambda *_: None)
    return Study("demo", mvtec_root, runs_dir=tmp_path / "runs")


def test_a_sweep_runs_every_value_once_and_says_which(small):
    runs = small.sweep("learned_noise_v2", BETA, (0.05, 0.1), ["widget"])
    assert [run.reason for run in runs] == ["", ""]
    assert [run.changes for run in runs] == [(f"{BETA}=0.05",), ()]  # 0.1 is the preset's
    (again,) = small.run_all(["learned_noise_v2"], ["widget"])
    assert again.record == runs[1].record
    # And the same from their records, however a value is written.
    small.records_dir = small.runs_dir
    kept = small.sweep("learned_noise_v2", BETA, (0.05, "0.10"), ["widget"])
    assert [one.record for one in kept] == [one.record for one in runs]


@pytest.mark.parametrize(
    ("values", "message"),
    [((0.1, 0.05, 0.1), f"sweep of {BETA}: 0.1 occurs twice")],
)
def test_a_senseless_sweep_is_refused(values, message, small):
    with pytest.raises(InputError, match=message):
        small.sweep("learned_noise_v2", BETA, values, ["widget"])


@pytest.mark.parametrize("value", [-0.1, 0, float("nan"), "much"])
def test_a_senseless_value_of_a_sweep_is_the_cells_reason(value, small):
    (run,) = small.sweep("learned_noise_v2", BETA, (value,), ["widget"])
    assert run.record is None
    assert BETA in run.reason
    assert "\n" not in run.reason


def test_noise_is_drawn_from_every_kind_of_source(small):
    names = ["scenario_a", "learned_noise_v1", "learned_noise_v2", "gradient_ascent"]
    runs = small.run_all(names, ["widget"])
    assert len(small.files(runs, "noise.csv")) == len(names)
    figure = run_pictures.noise_maps(small, runs, "widget")
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 3 * len(names)
    differs = [axes.images[0].get_array().max() for axes in shown[2::3]]
    assert differs[0] > 0  # Gaussian
    assert differs[1] == 0  # v1 has no chance in it
    assert differs[2] > 0  # z
    assert "screw: no run" in run_pictures.noise_maps(small, runs, "screw")


def test_panels_are_drawn_from_records_and_images_alone(small, mvtec_root):
    outcomes = small.run_all(["simplenet", "scenario_a"], ["widget"])
    for path in small.runs_dir.glob("*/weights.pt"):
        path.unlink()
    figure = run_pictures.panels(small, outcomes, "widget")
    names = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert ["SimpleNet" in names[1], "Scenario A" in names[2]] == [True, True]
    assert "screw: no run with maps" in run_pictures.panels(small, outcomes, "screw")
    for path in small.runs_dir.glob("*/scores.csv"):
        path.write_text(path.read_text().replace("scratch", "dent"))
    with pytest.raises(InputError, match="not the images of simplenet"):
        run_pictures.panels(small, outcomes, "widget")


def test_a_run_that_diverged_at_once_can_be_drawn(small, monkeypatch):
    monkeypatch.setattr(training_loop._Trainer, "run_epoch", lambda *_: None)
    runs = small.run_all(["learned_noise_v1"], ["widget"])
    assert runs[0].record.status == "diverged"
    ((_, history),) = small.files(runs, "history.csv")
    assert history.empty
    figure = course_figures.training_curves([(runs[0], history)], "caption")
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "Learned noise v1, as stated diverged in epoch 1" in labels
    assert small.files(runs, "noise.csv") == []


def test_real_profiles_stop_at_once_when_nothing_could_be_run(mvtec_root, tmp_path, monkeypatch):
    def missing(name, place):
        raise InputError(f"no ImageNet weights for {name}")

    monkeypatch.setattr(runner, "find_weights", missing)
    _weights.cache_clear()
    with pytest.raises(InputError, match="no ImageNet weights for resnet18"):
        Study("quick", mvtec_root, runs_dir=tmp_path).check()
    assert Study("demo", runs_dir=tmp_path).weights("resnet18") is None
    with pytest.raises(InputError, match="no ImageNet weights for resnet18"):  # asked for
        Study("demo", weights_dir=tmp_path, runs_dir=tmp_path).check()
    _weights.cache_clear()  # other tests look for themselves
    monkeypatch.setattr(runner, "_weights", lambda *_: tmp_path)
    with pytest.raises(InputError, match="no category 'bottle'"):
        Study("quick", mvtec_root, runs_dir=tmp_path).check()


@pytest.mark.parametrize("name", ["data_root", "runs_dir"])
def test_a_name_that_no_notebook_can_hold_is_refused(name, tmp_path):
    folder = tmp_path / os.fsdecode(b"n\xe4me")
    with pytest.raises(InputError, match=name + r" .*n\\udce4me: its name is not UTF-8"):
        notebook_runs.study("demo", **{name: folder})


def test_a_failed_look_up_of_weights_is_not_repeated(tmp_path, monkeypatch):
    asked = []

    def missing(name, place):
        asked.append(name)
        raise InputError("none")

    monkeypatch.setattr(runner, "find_weights", missing)
    _weights.cache_clear()
    here = Study("demo", runs_dir=tmp_path)
    assert [here.weights("resnet18") for _ in range(3)] == [None] * 3
    assert asked == ["resnet18"]
    _weights.cache_clear()


def test_a_profile_knows_its_own_records(record):
    quick = PROFILES["quick"]
    assert quick.made(record(epochs=quick.epochs, batch=quick.batch_size))
    assert not quick.made(record(epochs=quick.epochs, batch=32))
    assert not quick.made(record(epochs=300, batch=quick.batch_size))
    assert PROFILES["full"].made(record(epochs=300, batch=32))
    assert [*PROFILES] == ["demo", "quick", "full"]


def test_a_profile_knows_longer_trainings_of_its_data(record):
    quick = PROFILES["quick"]
    assert quick.made_longer(record(epochs=80, batch=8))
    assert not quick.made_longer(record(epochs=quick.epochs, batch=32))
    assert not PROFILES["full"].made_longer(record(epochs=300))
    own = record("evolved", epochs=300)  # at the published size, which is not its own
    assert not quick.made_longer(own)
    drawn = replace(own.config.data, dataset="demo", image_size=quick.image_size)
    assert not quick.made_longer(replace(own, config=replace(own.config, data=drawn)))


def test_a_preset_of_its_own_size_keeps_its_own_length(record):
    quick, own = PROFILES["quick"], PRESETS["evolved"]
    protocol = (own.image_size, own.training.epochs, own.training.batch_size)
    assert quick.protocol("evolved") == PROFILES["full"].protocol("evolved") == protocol
    assert quick.protocol("scenario_a") == (quick.image_size, quick.epochs, quick.batch_size)
    demo = PROFILES["demo"]  # minutes, whatever is asked for
    assert demo.protocol("evolved") == (demo.image_size, demo.epochs, demo.batch_size)
    one = record("evolved", epochs=protocol[1], batch=protocol[2])
    assert not quick.made(one)  # at the published size
    data = replace(one.config.data, image_size=own.image_size)
    one = replace(one, config=replace(one.config, data=data))
    assert quick.made(one)
    few = replace(one, counts=one.counts | {"train": 60, "per_epoch": 54})
    assert not quick.made(few)  # of so few images it has more epochs
    training = replace(one.config.training, epochs=own.epochs(54))
    longer = replace(few, config=replace(few.config, training=training))
    assert training.epochs > own.training.epochs
    assert quick.made(longer)
    assert not quick.made_longer(longer)  # it counts once
    asked = quick.asked(own.training.epochs, None)
    assert asked.made(few)
    assert not asked.made(longer)


def test_panels_show_systems_of_different_sizes_side_by_side(small, monkeypatch):
    monkeypatch.setitem(PROFILES, "demo", replace(small.profile, own_sizes=True))
    own = replace(PRESETS["scenario_a"], image_size=(64, 64))
    own = replace(own, training=replace(own.training, epochs=1, batch_size=4))
    monkeypatch.setitem(PRESETS, "scenario_a", own)
    outcomes = small.run_all(["simplenet", "scenario_a"], ["widget"])
    assert [o.record.config.data.image_size for o in outcomes] == [(32, 32), (64, 64)]
    shown = [
        axes.images[0]
        for axes in run_pictures.panels(small, outcomes, "widget").axes
        if axes.images
    ]
    assert {image.get_array().shape[:2] for image in shown} == {(64, 64)}


def test_the_projects_own_records_come_with_the_repository(tmp_path):
    records = Study("quick", runs_dir=tmp_path).committed()
    assert {"scenario_a", "simplenet"} <= {record.config.preset for record in records}


def test_strips_are_asked_for_by_the_name_of_what_they_are(
    small_networks, ksdd2_root, monkeypatch, tmp_path
):
    profile = replace(PROFILES["demo"], strips="ksdd2", strip_size=(40, 24), epochs=1, batch_size=8)
    monkeypatch.setitem(PROFILES, "demo", profile)
    monkeypatch.setattr(runner, "_weights", lambda *_: None)
    strips = Study("demo", ksdd2_root, runs_dir=tmp_path / "runs")
    with pytest.warns(UserWarning, match="not KolektorSDD2 as published"):
        assert strips.strips == "strips"
    assert strips.mask_numbers() == [2]
    with pytest.warns(UserWarning, match="not KolektorSDD2 as published"):  # resized as published
        runs = [
            *strips.run_all(("gap_cam", "full_ssn"), [strips.strips]),
            *strips.sweep("mixed_ssn", "training.supervision.masks", (2, 9), [strips.strips]),
        ]
    assert [bool(run.record) for run in runs] == [True, True, True, False]
    assert "9 masks asked for" in runs[-1].reason
    assert all(profile.made(run.record) for run in runs[:3])
    figure = run_pictures.strip_maps(strips, runs, strips.strips)
    image, first, *_, last = [axes.get_title().replace("\n", " ") for axes in figure.axes[:4]]
    assert image == "image"
    assert first.startswith("GAP + CAM (labels) ")
    assert "2 masks" in last
    assert len(figure.axes) == 2 * 2 * 4  # both defective test images, whole and from near


def test_without_strips_their_cells_say_why(small):
    assert small.mask_numbers() == []
    (run,) = small.run_all(["gap_cam"], [small.strips])
    assert (run.category, run.record) == ("ksdd2", None)
    assert "holds no KolektorSDD2" in run.reason
