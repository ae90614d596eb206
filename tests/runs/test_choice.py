from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from pytest import approx

from ssn_lib.config import DataConfig, RunConfig
from ssn_lib.data.images import ImageSet
from ssn_lib.data.samples import Sample
from ssn_lib.errors import InputError
from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.choice import (
    ENOUGH_DEFECTIVE,
    SECONDS_PER_MEGAPIXEL,
    TRUSTED,
    choose,
    chosen,
    training_minutes,
    warning,
)
from ssn_lib.runs.record import read_record
from ssn_lib.storage import REPOSITORY


def images(good, defective=0, masked=0):
    samples = (
        *(Sample(Path(f"good/{i}.png"), 0, "good") for i in range(good)),
        *(
            Sample(Path(f"bad/{i}.png"), 1, "bad", Path(f"{i}_mask.png") if i < masked else None)
            for i in range(defective)
        ),
    )
    return ImageSet(samples, (32, 32))


def asked(size, **training):
    base = preset("evolved")
    data = DataConfig("folder", "parts", size, "")
    return RunConfig(
        "evolved", data, base.model, replace(base.training, **training), 42, "imagenet"
    )


@pytest.mark.parametrize(
    ("there", "name", "said"),
    [
        ((200,), "evolved", "200 good images to train on; it learns from good images alone"),
        ((200, 3, 3), "evolved", "200 good images to train on (3 defective ones are left out"),
        ((200, 30), "cam_traced", "200 good and 30 defective images to train on, 0 with a mask"),
        ((200, 30, 4), "full_ssn", "30 defective images to train on, 4 with a mask"),
    ],
)
def test_what_is_there_decides(there, name, said):
    choice = choose(images(*there))
    assert choice.preset == name
    assert said in choice.reason
    assert preset(name).training.supervision.labels is (name != "evolved")


def test_defective_images_count_from_ten_on():
    presets = [choose(images(50, ENOUGH_DEFECTIVE - less)).preset for less in (1, 0)]
    assert presets == ["evolved", "cam_traced"]


def test_longer_larger_and_more_take_longer():
    whole = asked((448, 448), epochs=100)
    at_448 = training_minutes(whole, images(100))
    assert training_minutes(asked((224, 448), epochs=100), images(100)) == approx(at_448 / 2)
    assert training_minutes(asked((448, 448), epochs=50), images(100)) == approx(at_448 / 2)
    assert training_minutes(whole, images(200)) == approx(2 * at_448)
    line = choose(images(100)).line(whole, images(100))
    assert (
        "evolved at 448×448 pixels (height×width), epochs: 100, about 11 min" in line
    )  # of 90: a tenth is held out


def test_the_time_is_that_of_the_images_that_are_used():
    few = asked((448, 448), epochs=250, good_images=10)
    seconds = SECONDS_PER_MEGAPIXEL["evolved"] * 250 * 9 * 0.448**2
    assert training_minutes(few, images(300)) == approx(seconds / 60)


@pytest.mark.parametrize("name", SECONDS_PER_MEGAPIXEL)
def test_the_seconds_are_those_of_the_slowest_committed_record(name):
    """Of real images on two cores; by a factor of 1.5 at most."""
    measured = []
    for path in REPOSITORY.glob(f"results/{name}-*/record.json"):
        record = read_record(path.parent)
        data, training = record.config.data, record.config.training
        if data.dataset == "demo" or training.good_images or training.batch_size != 8:
            continue
        if record.environment["device"] == "cpu" and not training.supervision.fold:
            pixels = data.image_size[0] * data.image_size[1] * record.images_per_epoch
            measured.append(record.training_s / (training.epochs * pixels / 1e6))
    assert max(measured) / 1.5 < SECONDS_PER_MEGAPIXEL[name] < max(measured) * 1.5


def test_what_is_there_instead_of_images_is_told(tmp_path):
    (tmp_path / "good" / "monday").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(tmp_path / "good" / "monday" / "1.png")
    with (
        pytest.warns(UserWarning, match=r"1 image is not used, in monday"),
        pytest.raises(InputError, match="no images to train on"),
    ):
        chosen("folder", tmp_path, None)


def test_a_run_that_cannot_be_trusted_yet_says_why():
    def config(name, **changes):
        training = replace(preset(name).training, **changes)
        return RunConfig(name, DataConfig("folder", "parts"), preset(name).model, training)

    evolved = config("evolved")
    assert warning(evolved, {"imitated-I-AUROC": TRUSTED}, 200) is None
    assert "I-AUROC of 73.8 %" in warning(evolved, {"imitated-I-AUROC": 73.8}, 200)
    assert "on 2 of 24 good images" in warning(evolved, {"imitated-I-AUROC": 99.0}, 24)
    assert "on 1 of 3 good images" in warning(evolved, {}, 3)
    assert "on all 24 good images" in warning(config("evolved", validation_fraction=0.0), {}, 24)
    assert all(
        warning(config(name), {"imitated-I-AUROC": 1.0}, 1) is None
        for name in PRESETS
        if name != "evolved"
    )
