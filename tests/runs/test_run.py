import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps

from ssn_lib import cli, predict, storage
from ssn_lib.config import RunConfig
from ssn_lib.data.appearance import APPEARANCE, appearance
from ssn_lib.data.images import ImageSet
from ssn_lib.data.listing import list_images
from ssn_lib.data.loading import load_dataset
from ssn_lib.errors import InputError
from ssn_lib.metrics import IMAGE_QUANTILE, pr_curve
from ssn_lib.models.supersimplenet import Prediction
from ssn_lib.overrides import from_dict
from ssn_lib.runs import artifacts
from ssn_lib.runs import run as run_module
from ssn_lib.runs.artifacts import highest_on_defect, read_maps, reference_table
from ssn_lib.runs.record import COURSE, REFERENCE, read_record
from ssn_lib.runs.run import load_run
from ssn_lib.training import fit as training_loop
from ssn_lib.training.holdout import validation_split

METRICS = {"I-AUROC", "AP-det", "P-AUROC", "AUPRO", "AP-loc", "seg-I-AUROC", "seg-AP-det"}


def configure(dataset, *assignments, epochs=1):
    return run_module.configure(
        "scenario_a", dataset, epochs=epochs, batch_size=4, weights=None, assignments=assignments
    )


def run(config, dataset, folder):
    return run_module.run(config, dataset, folder, weights=None, progress=False)


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """A finished run's folder and what `run` returned."""
    runs_dir = tmp_path_factory.mktemp("runs")
    record = run(configure(dataset), dataset, runs_dir)
    return runs_dir / record.run_id, record


@pytest.fixture
def own_run(finished, tmp_path):
    """A copy of the finished run's folder that a test may damage."""
    return shutil.copytree(finished[0], tmp_path / finished[0].name)


def test_a_run_leaves_its_record_and_nothing_half_made(finished, dataset):
    folder, record = finished
    assert {path.name for path in folder.iterdir()} == {
        "record.json",
        "history.csv",
        "scores.csv",
        "reference_scores.csv",
        "pixel_pr.csv",
        "maps.csv",
        "noise.csv",
        "weights.pt",
    }
    assert record.status == "completed"
    assert set(record.metrics) == METRICS
    assert all(0 <= value <= 100 for value in record.metrics.values())
    assert record.counts == {"train": 6, "train_defective": 0, "test": 6, "test_defective": 4}
    assert (record.epochs_done, record.selected_epoch, record.diverged_at) == (1, 1, None)
    assert record.weights_source is None
    assert record.config.weights == "untrained"
    scores = pd.read_csv(folder / "scores.csv")
    assert scores["image"].tolist() == [
        str(sample.image.relative_to(dataset.root)) for sample in dataset.test.samples
    ]
    assert scores["label"].tolist() == [0, 0, 1, 1, 1, 1]
    assert scores["on_defect"].isna().tolist() == [True, True, False, False, False, False]
    assert len(pd.read_csv(folder / "history.csv")) == 1


def test_the_reference_is_of_the_good_training_images_and_gives_the_threshold(finished, dataset):
    folder, record = finished
    reference = pd.read_csv(folder / REFERENCE)
    assert reference["image"].tolist() == dataset.train.names(dataset.root)
    assert np.quantile(reference["score"], IMAGE_QUANTILE) == pytest.approx(record.thresholds.score)
    looks = appearance(dataset.train.images.numpy())
    np.testing.assert_allclose(reference[[*APPEARANCE]], looks, atol=1e-4)


def test_the_reference_is_of_the_held_out_images_where_there_are_any(dataset, tmp_path):
    record = run(configure(dataset, "training.validation_fraction=0.4"), dataset, tmp_path)
    reference = pd.read_csv(tmp_path / record.run_id / REFERENCE)
    _, held_out = validation_split(dataset.train, record.config.training, record.config.seed)
    assert reference["image"].tolist() == held_out.names(dataset.root)
    assert np.quantile(reference["score"], IMAGE_QUANTILE) == pytest.approx(record.thresholds.score)


def test_no_defective_image_is_in_the_reference(strips, tmp_path):
    images = strips.train
    prediction = Prediction(torch.zeros(len(images), 1, 4, 4), torch.arange(float(len(images))))
    table = reference_table(prediction, images, strips.root)
    good = (images.labels == 0).numpy()
    assert 0 < len(table) == good.sum() < len(images)
    assert table["score"].tolist() == np.flatnonzero(good).tolist()


def test_the_highest_pixel_lies_on_the_defect_or_does_not(dataset):
    defective = dataset.test.subset([2, 3])
    maps = torch.zeros(2, 1, 32, 32)
    for image, inside in ((0, True), (1, False)):
        place = (defective.masks[image, 0] == int(inside)).nonzero()[0]
        maps[image, 0][tuple(place)] = 1
    prediction = Prediction(maps, torch.zeros(2))
    assert highest_on_defect(prediction, defective) == [True, False]
    without = ImageSet.of(
        (replace(sample, mask=None) for sample in defective.samples),
        defective.images,
        defective.masks,
    )
    assert highest_on_defect(prediction, without) == [None, None]


def test_the_noise_by_channel_is_that_of_the_source(finished):
    noise = pd.read_csv(finished[0] / "noise.csv")
    assert noise["channel"].tolist() == list(range(384))
    assert noise["noise_rms"].between(0.01, 0.02).all()  # σ = 0.015
    assert noise["noise_mean"].abs().max() < 0.003
    assert (noise["feature_std"] > 0).all()


def test_small_maps_are_kept_of_the_first_defective_images(finished, dataset):
    folder, _ = finished
    kept = read_maps(pd.read_csv(folder / "maps.csv"), dataset.test.image_size)
    assert list(kept) == [2, 3, 4]  # behind two good ones
    _, model = load_run(folder, weights=None)
    maps = predict(model, dataset.test).anomaly_map[:, 0]
    spread = (maps.max() - maps.min()).item()
    for place, small in kept.items():
        assert small.shape == dataset.test.image_size
        assert abs(small - maps[place].numpy()).max() < 0.2 * spread
        assert small.mean() == pytest.approx(maps[place].mean().item(), rel=0.02)


def test_without_defective_images_no_map_is_kept():
    assert read_maps(pd.read_csv(io.StringIO("image\n")), (32, 32)) == {}


def test_a_record_is_read_back_as_it_was_written(finished):
    folder, record = finished
    assert read_record(folder) == record
    written = json.loads((folder / "record.json").read_text())
    assert from_dict(RunConfig, written["config"]) == record.config
    assert record.config.run_id == record.run_id == folder.name


@pytest.mark.parametrize(
    ("assignments", "epochs", "expected"),
    [
        ((), None, 250),  # six images: at most that often
        ((), 3, 3),
        (("training.epochs=7",), None, 7),
        (("training.epochs=30",), None, 30),
        (("training.epochs = 30",), None, 30),
    ],
)
def test_few_images_are_repeated_more_often_unless_epochs_are_asked_for(
    assignments, epochs, expected, dataset
):
    held_out = "training.validation_fraction=0.34"
    config = run_module.configure(
        "evolved", dataset, epochs=epochs, weights=None, assignments=(held_out, *assignments)
    )
    assert config.training.epochs == expected


@pytest.mark.parametrize("share", ["nan", "inf"])
def test_a_share_that_is_no_number_is_one_line(share, dataset):
    with pytest.raises(InputError, match=f"validation_fraction={share} is out of range"):
        run_module.configure(
            "evolved", dataset, weights=None, assignments=(f"training.validation_fraction={share}",)
        )


def test_a_whole_number_makes_the_run_of_its_float(dataset, tmp_path):
    config = configure(dataset, "training.clip_norm=2")
    training = replace(config.training, clip_norm=2)
    whole = replace(config, training=training)
    assert whole.run_id != config.run_id  # JSON tells one from the other
    record = run(whole, dataset, tmp_path)
    assert record.run_id == config.run_id == read_record(tmp_path / config.run_id).config.run_id


def test_a_run_that_is_refused_leaves_no_folder(dataset, tmp_path):
    config = configure(dataset, "training.good_images=1000")
    with pytest.raises(InputError, match="good_images=1000"):
        run(config, dataset, tmp_path)
    assert not list(tmp_path.iterdir())
    config = replace(configure(dataset), seed=42.7)  # by hand, past `configure`
    with pytest.raises(InputError, match=r"seed=42\.7"):
        run(config, dataset, tmp_path)


def test_a_record_names_the_code_that_ran(dataset, tmp_path, monkeypatch):
    """And not what was committed while it did."""
    commits = iter(["before", "after", "later"])
    described = run_module.machine.describe
    monkeypatch.setattr(
        run_module.machine, "describe", lambda on: described(on) | {"git_commit": next(commits)}
    )
    record = run(configure(dataset, "training.gamma=0.3"), dataset, tmp_path)
    assert record.environment["git_commit"] == "before"
    assert next(commits) == "after"  # asked for once


def test_a_decoder_learns_sound_images_and_is_tried_on_imitated_defects(dataset, tmp_path):
    held_out = "training.validation_fraction=0.34"
    config = run_module.configure(
        "evolved", dataset, epochs=3, batch_size=2, weights=None, assignments=(held_out,)
    )
    record = run(config, dataset, tmp_path)
    folder = tmp_path / record.run_id
    assert set(record.metrics) == METRICS | {f"imitated-{name}" for name in METRICS}
    losses = pd.read_csv(folder / "history.csv")
    assert losses["loss"].is_monotonic_decreasing
    assert losses["validation_loss"].notna().all()
    assert not (folder / "noise.csv").exists()
    # Thresholds are those of images that the decoder has not seen.
    _, model = load_run(folder, weights=None)
    kept, unseen = validation_split(dataset.train, config.training, config.seed)
    assert (len(kept), len(unseen)) == (4, 2)
    scores = predict(model, unseen).score
    assert scores.min() <= record.thresholds.score <= scores.max()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content["metrics"].update({"I-AUROC": 99.9}), "changed after"),
        (lambda content: content["config"].update(seed=1), "changed after"),
        (lambda content: content.pop("content_hash"), "changed after"),
        (lambda content: content.update(schema=999), "schema 999"),
    ],
)
def test_an_edited_record_is_refused(edit, message, own_run):
    content = json.loads((own_run / "record.json").read_text())
    edit(content)
    (own_run / "record.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        read_record(own_run)


def test_a_folder_without_a_whole_record_is_refused(own_run):
    for content in ("{", "[]", "null"):
        (own_run / "record.json").write_text(content)
        with pytest.raises(InputError, match="not a record in JSON"):
            read_record(own_run)
    (own_run / "record.json").unlink()
    for folder in (own_run, own_run / "scores.csv"):
        with pytest.raises(InputError, match="not a finished run"):
            read_record(folder)


def test_an_interrupted_run_says_how_it_goes_on(tmp_path):
    (tmp_path / "checkpoint.pt").touch()
    with pytest.raises(InputError, match="not a finished run, its training was interrupted"):
        read_record(tmp_path)


def test_a_second_run_answers_from_the_record(finished, dataset, monkeypatch):
    folder, record = finished
    monkeypatch.setattr(run_module, "fit", None)
    monkeypatch.setattr(run_module, "predict", None)
    assert run(configure(dataset), dataset, folder.parent) == record


def test_it_is_said_that_a_record_answers(finished, dataset, capsys):
    folder, record = finished
    run_module.run(configure(dataset), dataset, folder.parent, weights=None)
    when = record.finished[:16].replace("T", " ")
    assert capsys.readouterr().out == f"answered from the record of {when} UTC: {folder}\n"


@pytest.mark.parametrize("preset", ["scenario_a", "cam_max"])
def test_without_test_images_metrics_are_undefined_and_thresholds_are_not(
    preset, own_category, tmp_path
):
    shutil.copytree(own_category / "test/spot", own_category / "train/spot")
    (own_category / "ground_truth").rename(own_category / "ground_truth_train")
    shutil.rmtree(own_category / "ground_truth_train/scratch")
    shutil.rmtree(own_category / "test")
    dataset = load_dataset("folder", own_category, image_size=(32, 32))
    config = run_module.configure(preset, dataset, epochs=1, batch_size=4, weights=None)
    record = run(config, dataset, tmp_path / "runs")
    folder = tmp_path / "runs" / record.run_id
    assert record.status == "completed"
    assert record.metrics == dict.fromkeys(METRICS)
    assert record.undefined == dict.fromkeys(METRICS, "no test images")
    assert record.counts["test"] == 0
    assert read_record(folder) == record
    assert math.isfinite(record.thresholds.score)
    _, model = load_run(folder, weights=None)
    assert predict(model, dataset.train).score.isfinite().all()


def test_a_run_without_test_images_diverges_as_any_other(own_category, tmp_path):
    shutil.rmtree(own_category / "test")
    shutil.rmtree(own_category / "ground_truth")
    dataset = load_dataset("folder", own_category, image_size=(32, 32))
    rates = ("training.adaptor_lr=1e30", "training.head_lr=1e30", "training.batch_size=6")
    assert run(configure(dataset, *rates), dataset, tmp_path).status == "diverged"


def test_names_of_another_code_page_go_on_after_a_kill(own_category, tmp_path, monkeypatch):
    good = own_category / "train/good"
    try:
        (good / "000.png").rename(good / os.fsdecode(b"st\xfcck.png"))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    dataset = load_dataset("folder", own_category, image_size=(32, 32))
    config = configure(dataset, epochs=2)

    def killed(history):
        if history.epochs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_module.run(config, dataset, tmp_path, weights=None, progress=False, before_epoch=killed)
    assert run(config, dataset, tmp_path).epochs_done == 2


def test_a_training_never_sees_the_test_images(finished, own_root, own_category, load, same_bits):
    folder, record = finished
    for kind in ("good", "scratch", "spot"):
        for path in list_images(own_category / "test" / kind):
            with Image.open(path) as image:
                changed = ImageOps.invert(image)
            changed.save(path)
    other = load(own_root)
    again = run(configure(other), other, own_root / "runs")
    assert again.run_id != record.run_id
    weights = [
        torch.load(path / "weights.pt", weights_only=True)
        for path in (folder, own_root / "runs" / again.run_id)
    ]
    assert same_bits(*weights)
    assert again.thresholds == record.thresholds
    assert not (
        pd.read_csv(folder / "scores.csv")["score"]
        == pd.read_csv(own_root / "runs" / again.run_id / "scores.csv")["score"]
    ).any()


@pytest.mark.parametrize("other", ["size", "files"])
def test_a_configuration_of_other_images_makes_no_record(other, dataset, tmp_path):
    """It would say of a network that it was trained on these."""
    config = configure(dataset)
    data = replace(config.data, image_size=(64, 64))
    if other == "files":
        data = replace(config.data, fingerprint="0" * 32)
    said = "image_size: .64, 64. in the configuration" if other == "size" else "not the files that"
    with pytest.raises(InputError, match=said):
        run(replace(config, data=data), dataset, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_diverged_run_is_recorded_and_not_repeated(dataset, tmp_path, monkeypatch):
    rates = ("training.adaptor_lr=1e30", "training.head_lr=1e30")
    config = configure(dataset, *rates, epochs=3)
    record = run(config, dataset, tmp_path)
    assert record.status == "diverged"
    assert record.diverged_at == record.epochs_done + 1 <= 3
    assert record.metrics == {}
    assert record.thresholds is None
    assert read_record(tmp_path / record.run_id) == record
    monkeypatch.setattr(run_module, "fit", None)
    assert run(config, dataset, tmp_path) == record


def test_a_run_that_explodes_in_its_last_step_is_diverged(dataset, tmp_path):
    """Its losses were finite, each taken before a step; its predictions are not."""
    rates = ("training.adaptor_lr=1e30", "training.head_lr=1e30", "training.batch_size=6")
    record = run(configure(dataset, *rates), dataset, tmp_path)
    assert record.status == "diverged"
    assert read_record(tmp_path / record.run_id) == record


def test_a_network_that_breaks_on_sound_images_alone_is_diverged(dataset, tmp_path, monkeypatch):
    """Its thresholds would be no numbers."""
    reference = dataset.train.sound()

    def broken(model, images):
        made = predict(model, images)
        return made._replace(score=made.score * math.nan) if images is reference else made

    monkeypatch.setattr(run_module, "reference_images", lambda *_: reference)
    monkeypatch.setattr(run_module, "predict", broken)
    record = run(configure(dataset), dataset, tmp_path)
    assert (record.status, record.thresholds) == ("diverged", None)


@pytest.mark.parametrize(
    "assignment", ["data.image_size=16,16", "data.category=x", "preset=baseline"]
)
def test_an_override_cannot_misstate_what_was_run(assignment, dataset):
    with pytest.raises(InputError, match="--set"):
        configure(dataset, assignment)


def test_unreadable_images_are_known_before_the_training(
    own_root, own_category, load, tmp_path, monkeypatch
):
    (own_category / "test" / "good" / "000.png").write_text("no image")
    monkeypatch.setattr(run_module, "fit", None)
    dataset = load(own_root)
    with pytest.raises(InputError, match=r"good/000\.png"):
        run(configure(dataset), dataset, tmp_path / "runs")


def test_an_unwritable_runs_folder_is_known_before_the_training(dataset, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(run_module, "fit", None)
    with pytest.raises(InputError, match="file is a file; name a folder to write to") as raised:
        run(configure(dataset), dataset, tmp_path / "file" / "runs")
    assert "\n" not in str(raised.value)


@pytest.fixture
def small_disk(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted: {error}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line_and_leaves_no_half_file(small_disk, dataset):
    with pytest.raises(InputError, match=r"cannot write .*: (the disk is full|No space)") as raised:
        run(configure(dataset), dataset, small_disk)
    assert "\n" not in str(raised.value)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    with pytest.raises(InputError, match="cannot write"):
        storage.write_text(small_disk / "text", "x" * 2_000_000)
    assert not list(small_disk.glob("text*"))


def test_a_run_killed_in_mid_epoch_goes_on_to_the_same_numbers(
    mvtec_root, tmp_path, same_bits, capsys
):
    def command(runs_dir):
        words = (
            f"run scenario_a --dataset mvtec_ad --category widget --untrained --json "
            f"--image-size 32 32 --epochs 6 --set training.batch_size=1 "
            f"--data-root {mvtec_root} --runs-dir {runs_dir}"
        )
        return words.split()

    def start(runs_dir):
        return subprocess.Popen(
            [sys.executable, "-m", "ssn_lib", *command(runs_dir)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(process):
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        return json.loads(out.splitlines()[-1])

    assert cli.main(command(tmp_path / "unbroken")) == 0
    unbroken = json.loads(capsys.readouterr().out.splitlines()[-1])
    broken = start(tmp_path / "broken")
    folder = tmp_path / "broken" / unbroken["run_id"]
    deadline = time.monotonic() + 120
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    os.kill(broken.pid, signal.SIGKILL)
    broken.communicate()
    assert broken.returncode == -signal.SIGKILL
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert 1 <= len(checkpoint["history"]) < 6
    assert not (folder / "record.json").exists()

    resumed = finish(start(tmp_path / "broken"))
    for name in ("metrics", "thresholds", "selected_epoch", "epochs_done", "config"):
        assert resumed[name] == unbroken[name], name
    weights = [
        torch.load(tmp_path / name / unbroken["run_id"] / "weights.pt", weights_only=True)
        for name in ("unbroken", "broken")
    ]
    assert same_bits(*weights)
    history = pd.read_csv(folder / "history.csv")
    assert history["epoch"].tolist() == list(range(1, 7))
    assert not (folder / "checkpoint.pt").exists()
    assert not list(folder.glob("*.part"))


def test_an_interrupted_run_resumes_from_its_checkpoint(dataset, finished, tmp_path, monkeypatch):
    config = configure(dataset, epochs=2)
    run_epoch, numbers = training_loop._Trainer.run_epoch, []

    def cut(self, number, *rest):
        numbers.append(number)
        if numbers == [1, 2]:
            raise KeyboardInterrupt
        return run_epoch(self, number, *rest)

    monkeypatch.setattr(training_loop._Trainer, "run_epoch", cut)
    with pytest.raises(KeyboardInterrupt):
        run(config, dataset, tmp_path)
    assert run(config, dataset, tmp_path).epochs_done == 2
    assert numbers == [1, 2, 2]


def test_the_course_of_test_metrics_survives_an_interruption_and_changes_nothing(
    dataset, tmp_path, monkeypatch, same_bits
):
    """Rows of epochs that are gone through again are replaced; the training is as without them."""
    monkeypatch.setattr(artifacts, "COURSE_EPOCHS", 2)
    monkeypatch.setattr(artifacts, "COURSE_IMAGES", 0)
    config = configure(dataset, epochs=5)
    run_epoch = training_loop._Trainer.run_epoch

    def cut(self, number, *rest):
        if number == 5:
            raise KeyboardInterrupt
        return run_epoch(self, number, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training_loop._Trainer, "run_epoch", cut)
        run(config, dataset, tmp_path / "broken")
    path = tmp_path / "broken" / config.run_id / COURSE
    begun = pd.read_csv(path)
    assert begun["epoch"].tolist() == [2, 4]
    record = run(config, dataset, tmp_path / "broken")
    assert record.epochs_done == 5

    monkeypatch.setattr(artifacts, "COURSE_EPOCHS", 5)
    run(config, dataset, tmp_path / "whole")
    course = pd.read_csv(tmp_path / "whole" / config.run_id / COURSE)
    assert course["epoch"].tolist() == [5]
    for name in ("I-AUROC", "AUPRO", "seg-AP-det"):  # the last row is the record's own
        assert course[name].iloc[0] == pytest.approx(record.metrics[name], abs=1e-9)
    weights = [
        torch.load(tmp_path / name / config.run_id / "weights.pt", weights_only=True)
        for name in ("broken", "whole")
    ]
    assert same_bits(*weights)


def test_of_few_training_images_the_course_has_fewer_rows(dataset, tmp_path, monkeypatch):
    """A row comes after so many images for each tested one, at the next multiple of the epochs."""
    tested, trained_on = len(dataset.test), len(dataset.train.sound())
    monkeypatch.setattr(artifacts, "COURSE_EPOCHS", 2)
    monkeypatch.setattr(artifacts, "COURSE_IMAGES", 3 * trained_on / tested)
    config = configure(dataset, epochs=9)
    run(config, dataset, tmp_path)
    course = pd.read_csv(tmp_path / config.run_id / COURSE)
    assert course["epoch"].tolist() == [4, 8]


def test_each_setting_has_its_own_run(dataset):
    ids = {
        config.run_id
        for config in (
            configure(dataset),
            configure(dataset, epochs=2),
            configure(dataset, "training.noise.std=0.5"),
            run_module.configure("scenario_b", dataset, weights=None),
            run_module.configure("scenario_a", replace(dataset, category="other"), weights=None),
            run_module.configure("scenario_a", dataset),
        )
    }
    assert len(ids) == 6


def test_the_pixel_curve_is_precision_against_recall(dataset):
    masks = dataset.test.masks
    noise = torch.randn(masks.shape, generator=torch.Generator().manual_seed(0))
    prediction = Prediction(masks + noise, torch.zeros(len(masks)))
    table = artifacts.pixel_curve_table(configure(dataset), prediction, dataset.test)
    precision, _, _ = pr_curve(prediction.anomaly_map.numpy(), masks.numpy())
    assert table["recall"].is_monotonic_increasing
    ends = table[["recall", "precision"]].iloc[-1].tolist()
    assert ends == pytest.approx([1.0, precision[-1]], abs=1e-5)
