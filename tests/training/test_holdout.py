"""Which images are trained on: fewer of the good ones, where so many are asked for."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from ssn_lib import preset
from ssn_lib.data.images import ImageSet
from ssn_lib.data.samples import Sample
from ssn_lib.errors import InputError
from ssn_lib.runs.record import REFERENCE, read_record
from ssn_lib.storage import REPOSITORY
from ssn_lib.training.holdout import (
    chosen_images,
    held_out_count,
    reference_images,
    trained_per_epoch,
    validation_split,
)


@pytest.fixture
def images(tmp_path):
    """Twenty good and four defective ones, each of one grey."""
    samples = [Sample(tmp_path / f"{n:02}.png", int(n % 6 == 5), None) for n in range(24)]
    greys = torch.arange(24, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16)
    return ImageSet.of(samples, greys, torch.zeros(24, 1, 16, 16, dtype=torch.uint8))


def asked(good, name="evolved"):
    return replace(preset(name).training, good_images=good)


def test_the_smaller_choice_lies_within_the_larger_one(images):
    chosen = [set(chosen_images(images, asked(n), 42).sound().samples) for n in (2, 8, 20)]
    assert [len(one) for one in chosen] == [2, 8, 20]
    assert chosen[0] < chosen[1] < chosen[2]
    assert chosen[1] != set(chosen_images(images, asked(8), 43).sound().samples)


def test_defective_images_are_all_kept(images):
    assert int(chosen_images(images, asked(3), 42).labels.sum()) == 4
    assert chosen_images(images, asked(None), 42) is images


def test_no_other_image_is_trained_on_or_held_out(images):
    kept = set(chosen_images(images, asked(10), 42).sound().samples)
    trained_on, held_out = validation_split(images, asked(10), 42)
    assert {*trained_on.samples, *held_out.samples} == kept
    assert len(held_out) == 1
    assert reference_images(images, asked(10), 42).samples == held_out.samples
    assert set(reference_images(images, asked(10, "simplenet"), 42).samples) == kept


@pytest.mark.parametrize(("count", "held"), [(2, 1), (5, 1), (14, 1), (20, 2)])
def test_of_few_images_one_is_held_out_all_the_same(count, held, images):
    config = preset("evolved").training
    few = images.sound().subset(range(count))
    assert [len(part) for part in validation_split(few, config, 42)] == [count - held, held]
    assert held_out_count(count, replace(config, validation_fraction=0.0)) == 0


def test_more_than_there_are(images):
    with pytest.raises(InputError, match="good_images=21: there are 20 good training images"):
        validation_split(images, asked(21), 42)


def test_of_a_fold_only_what_was_trained_on_is_the_reference(images):
    supervision = replace(preset("gap_cam").training.supervision, fold=0)
    config = replace(preset("gap_cam").training, supervision=supervision)
    trained_on, _ = validation_split(images, config, 42)
    reference = reference_images(images, config, 42)
    assert set(reference.samples) == set(trained_on.sound().samples)
    assert len(reference) < 20


def test_the_images_of_an_epoch_are_those_that_are_trained_on(images):
    supervision = preset("gap_cam").training.supervision
    views = 2 * (4 if supervision.flips else 1)  # of a defective one, and a good one beside each
    for fold, defective in ((None, 4), (0, 2), (1, 3), (2, 3)):
        config = replace(preset("gap_cam").training, supervision=replace(supervision, fold=fold))
        assert trained_per_epoch(images, config, 42) == views * defective
    assert trained_per_epoch(images, asked(None), 42) == 18  # `evolved` holds a tenth out
    assert trained_per_epoch(images, asked(10), 42) == 9


def test_a_finished_runs_division_is_found_again(tmp_path):
    """By a committed record: an export chooses thresholds on what was not trained on."""
    folder = REPOSITORY / "results" / "evolved-demo-screw-s42-2e5cc2f9"
    record = read_record(folder)
    samples = tuple(
        Sample(tmp_path / f"train/good/{index:03}.png", 0, "good")
        for index in range(record.counts["train"])
    )
    train = ImageSet(samples, (448, 448))
    found = reference_images(train, record.config.training, record.config.seed)
    assert found.names(tmp_path) == pd.read_csv(folder / REFERENCE)["image"].tolist()
