"""What makes a training another one; that `fit` asks is tested with it."""

from dataclasses import replace
from pathlib import Path

import pytest

from ssn_lib import preset
from ssn_lib.config import TrainingConfig
from ssn_lib.data.images import ImageSet
from ssn_lib.training.identity import identity, matches

pytestmark = pytest.mark.usefixtures("small_networks")

CONFIG = TrainingConfig(epochs=3)


@pytest.fixture
def of(dataset, make_model):
    """of(...): the identity of a training, with another part of it where one is given."""

    def make(model=None, config=CONFIG, seed=42, images=None, trained_on=None):
        images = images or dataset.train
        return identity(model or make_model(), config, seed, images, trained_on or images)

    return make


def moved(images, folder):
    """The same images, each below another folder."""
    samples = [
        replace(one, image=Path(folder, *one.image.parts[-3:]), mask=None) for one in images.samples
    ]
    return ImageSet.of(samples, images.images, images.masks)


def test_the_same_training_elsewhere_is_the_same(of, dataset):
    assert of() == of(images=moved(dataset.train, "/elsewhere"))


@pytest.mark.parametrize("part", ["model", "backbone", "config", "seed", "images", "pixels"])
def test_another_part_makes_another_training(part, of, dataset, make_model):
    fewer = dataset.train.subset([0, 1, 2])
    other = {
        "model": lambda: of(make_model(preset("scenario_a_icpr").model)),
        "backbone": lambda: of(make_model(seed=1)),
        "config": lambda: of(config=replace(CONFIG, epochs=4)),
        "seed": lambda: of(seed=1),
        "images": lambda: of(images=fewer, trained_on=dataset.train),
        "pixels": lambda: of(trained_on=fewer),
    }[part]()
    assert not matches(other, of())
    assert [name for name in other if other[name] != of()[name]] == [
        "training" if part == "config" else part
    ]


def test_what_an_older_checkpoint_does_not_say_is_taken_on_trust(of):
    whole = of()
    older = {name: value for name, value in whole.items() if name != "pixels"}
    assert matches(older, whole)
    assert not matches(older | {"seed": 1}, whole)
    assert not matches(whole | {"what a later version says": 1}, whole)
