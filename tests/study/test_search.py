"""The log of the search names what there is, and leaves no record of it out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssn_lib import arguments
from ssn_lib.checks import check
from ssn_lib.presets import PRESETS
from ssn_lib.runs.record import Outcome, read_record, usual_resize
from ssn_lib.storage import REPOSITORY
from ssn_lib.study import search
from ssn_lib.study.commands import command_of
from ssn_lib.study.search import Recipe

RECIPES = (*search.INGREDIENTS, *search.OF_SECOND, *search.OF_FIRST)
ALL = [trial.recipe for trial in search.TRIALS if trial.recipe] + [made for _, made in RECIPES]


@pytest.mark.parametrize("made", dict.fromkeys(ALL), ids=str)
def test_what_it_names_can_be_made(made):
    check(made.config("screw"))


def test_its_command_makes_a_record_that_it_names(record):
    """As far as the command line is read: the configuration is the one that is looked for."""
    for made in {*ALL}:
        words = command_of(made.config("screw")).split()
        told = arguments.parser().parse_args(words[words.index("ssn_lib") + 1 :])
        chosen = PRESETS[told.preset]
        epochs = told.epochs or chosen.training.epochs
        one = record(told.preset, told.category, told.seed, epochs, 8, tuple(told.set))
        size = tuple(told.image_size or ()) or chosen.image_size or (256, 256)
        resize = told.resize or usual_resize(told.preset, told.dataset)
        data = replace(one.config.data, image_size=size, resize=resize)
        one = replace(one, config=replace(one.config, data=data))
        assert made.records([one], "screw") == [one]


def test_of_one_seed_the_run_most_like_the_published_is_taken(record):
    usual = record("scenario_a", "screw", batch=8)
    mixed = replace(usual.config, training=replace(usual.config.training, precision="mixed"))
    plain = replace(usual.config, data=replace(usual.config.data, resize="antialiased"))
    others = [replace(usual, config=config, run_id=config.run_id) for config in (mixed, plain)]
    for order in ([usual, *others], [*others, usual]):
        assert Recipe("scenario_a", 10).records(order, "screw") == [usual]
    for one in others:  # nothing else is there
        assert Recipe("scenario_a", 10).records([one], "screw") == [one]


def test_a_trial_has_records_or_the_figures_of_a_sketch():
    assert all(trial.idea and trial.lesson for trial in search.TRIALS)
    assert all((trial.recipe is None) == bool(trial.sketch) for trial in search.TRIALS)
    assert len({trial.idea for trial in search.TRIALS}) == len(search.TRIALS) >= 10


def test_records_are_told_apart_by_size_epochs_and_changes(record):
    def made(size=(256, 256), **told):
        one = record(batch=8, **told)
        data = replace(one.config.data, image_size=size)
        return replace(one, config=replace(one.config, data=data))

    plain, large, other = made(), made(size=(448, 448)), made(changes=("model.layers=2",))
    longer, second, strips = made(epochs=20), made(seed=43), record(category="strips", batch=8)
    published_batch = record(batch=32)
    everything = [plain, large, other, longer, second, strips, published_batch]
    assert Recipe("scenario_a", 10).records(everything, "bottle") == [plain, second]
    assert Recipe("scenario_a", 20).records(everything, "bottle") == [longer]
    assert Recipe("scenario_a").records(everything, "bottle") == []  # 300 epochs
    assert Recipe("scenario_a", 10, (448, 448)).records(everything, "bottle") == [large]
    changed = Recipe("scenario_a", 10, changed=("model.layers=2",))
    assert changed.records(everything, "bottle") == [other]
    assert Recipe("scenario_a", 10).records(everything, "screw") == []


def test_no_record_of_the_search_is_left_out():
    for folder in REPOSITORY.glob("results/evolved-mvtec_ad-*"):
        one = read_record(folder)
        if one.config.training.good_images is not None:
            continue  # in the table of few images
        category = Outcome.of(one).category
        assert any(made.records([one], category) for made in ALL), folder.name
