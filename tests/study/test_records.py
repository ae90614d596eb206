"""Which records are read, and which of them stand for a configuration."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ssn_lib.runs.record import Outcome
from ssn_lib.study.records import alike, configuration, longest, read_records


@pytest.fixture
def run(record):
    """run(preset, seed, epochs, batch, precision, resize): an outcome on bottle."""

    def make(name="scenario_a", seed=42, epochs=300, batch=32, precision="float32", resize="plain"):
        made = record(name, "bottle", seed, epochs, batch)
        training = replace(made.config.training, precision=precision)
        data = replace(made.config.data, resize=resize)
        config = replace(made.config, training=training, data=data)
        return Outcome.of(replace(made, config=config, run_id=config.run_id))

    return make


def test_the_longest_training_of_each_configuration_stands_for_it(run):
    short, long, other = run(epochs=10), run(epochs=80, batch=8), run("scenario_b", epochs=10)
    assert longest([short, long, other, run(seed=43, epochs=10)]) == [long, other]


def test_all_seeds_of_the_longest_stand_for_it(run):
    seeds = [run(seed=seed) for seed in (42, 43)]
    assert longest([*seeds, run(seed=44, epochs=299)]) == seeds


def test_of_one_length_the_published_batch_is_taken(run):
    published, small = run(), [run(seed=seed, batch=8) for seed in (42, 43)]
    assert longest([*small, published]) == [published]
    assert longest(small) == small
    assert longest([*small, run(batch=16)]) == [run(batch=16)]  # batches are never mixed


def test_ways_of_resizing_are_never_mixed(run):
    usual, other = run(), run(seed=43, resize="antialiased")
    assert longest([other, usual]) == [usual]
    assert longest([other]) == [other]


@pytest.mark.parametrize("other", [{"precision": "mixed"}, {"resize": "antialiased"}])
def test_a_seed_counts_once_as_published_rather_than_not(other, run):
    published, unlike = run(), run(**other)
    assert longest([unlike, published]) == longest([published, unlike]) == [published]
    assert longest([unlike]) == [unlike]


def test_of_two_runs_that_are_alike_the_last_one_stands(run):
    older, newer = run(), run()
    older = Outcome.of(replace(older.record, finished="2026-01-01", run_id="b"))
    newer = Outcome.of(replace(newer.record, finished="2026-02-01", run_id="a"))
    assert longest([older, newer]) == longest([newer, older]) == [newer]
    config = replace(newer.record.config, weights="untrained")
    untrained = Outcome.of(replace(newer.record, config=config, finished="2026-03-01"))
    assert longest([untrained, older]) == [older]


def test_what_has_no_record_stands_for_nothing():
    assert longest([Outcome("scenario_a", "bottle", 42, None, "no weights")]) == []


def test_compared_trainings_are_as_long_as_all_can_be(run):
    a = [run(epochs=epochs) for epochs in (10, 80, 300)]
    b = [run("scenario_b", epochs=epochs) for epochs in (10, 80)]
    wanted = [configuration(a[0]), configuration(b[0])]
    assert alike([*a, *b], wanted) == [a[1], b[1]]
    assert alike([*a, *b], wanted[:1]) == [a[2]]
    assert alike([a[2], *b], wanted) == []
    assert alike(a, wanted) == []  # one of them was not run
    assert alike(a, []) == []


def test_a_record_is_read_once_and_anew_when_its_file_has_changed(record, tmp_path):
    path = tmp_path / "run" / "record.json"
    path.parent.mkdir()
    path.write_text(json.dumps(record().to_json()))
    (first,), refused = read_records(tmp_path)
    (again,), _ = read_records(tmp_path)
    assert again is first == record()
    assert not refused
    path.write_text("{}")
    records, (why,) = read_records(tmp_path)
    assert not records
    assert why.startswith(str(path))


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ([(209, 83), (16, 32), (16, 32)], {0}),  # the official number, if any record has it
        ([(20, 10), (16, 32), (16, 32)], {1, 2}),
        ([(20, 10), (16, 32)], {0}),
    ],
)
def test_a_part_of_a_data_set_does_not_stand_beside_the_whole(counts, kept, run, tmp_path):
    for seed, (train, test) in enumerate(counts):
        made = run(seed=seed).record
        made = replace(made, counts=made.counts | {"train": train, "test": test})
        path = tmp_path / made.run_id / "record.json"
        path.parent.mkdir()
        path.write_text(json.dumps(made.to_json()))
    records, refused = read_records(tmp_path)
    assert {record.config.seed for record in records} == kept
    assert len(refused) == len(counts) - len(kept)
    train, test = counts[min(kept)]
    assert all(f"other records of bottle here on {train} and {test}" in why for why in refused)
