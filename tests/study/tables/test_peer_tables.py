"""Ours beside peers, and how few good images are enough."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssn_lib.presets import preset
from ssn_lib.study.costs.records import Spread
from ssn_lib.study.figures import peers as peer_figures
from ssn_lib.study.figures.drawing import NotDrawn
from ssn_lib.study.peers.records import TITLES, PeerConfig, PeerRecord, one_of_each_seed
from ssn_lib.study.tables import peers as peer_tables
from ssn_lib.study.tables.table import EMPTY

ENVIRONMENT = {"device": "cpu", "processor": "a processor", "threads": 2}


@pytest.fixture
def evolved(record):
    """evolved(category, good, epochs, **metrics): a record at the preset's size."""

    def make(category="screw", good=None, epochs=30, seed=42, beside=(), **metrics):
        changes = (*beside, *(() if good is None else (f"training.good_images={good}",)))
        one = record("evolved", category, seed, epochs, 8, changes, **metrics)
        data = replace(one.config.data, image_size=preset("evolved").image_size)
        return replace(
            one,
            config=replace(one.config, data=data),
            timings={"epoch_median_s": 120.0 / epochs},
            epochs_done=epochs,
            environment=ENVIRONMENT,
        )

    return make


def peer(name="padim", category="screw", good=320, asked=None, **metrics):
    metrics = {"I-AUROC": 80.0, "AP-det": None, "AUPRO": None, "AP-loc": None} | metrics
    config = PeerConfig(name, "mvtec_ad", category, (256, 256), "f", 42, asked)
    ratio, latency = Spread(2.0, 1.9, 2.1), Spread(60.0, 59.0, 61.0)
    how, packages = f"how {name}", {"anomalib": "2.7.0"}
    return PeerRecord(
        config, how, metrics, {}, {}, good, 90.0, latency, ratio, 40.0, packages, ENVIRONMENT, ""
    )


def rows(table, **where):
    frame = table.frame
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame.to_dict("records")


def test_a_seed_that_was_measured_twice_counts_once():
    first = replace(peer(**{"I-AUROC": 80.0}), finished="2026-01-01")
    files = replace(first.config, fingerprint="of other files")
    again = replace(first, config=files, metrics=first.metrics | {"I-AUROC": 82.0}, finished="2027")
    second = replace(first, config=replace(first.config, seed=43))
    few = peer(good=8, asked=8)
    assert one_of_each_seed([first, again, second, few]) == [again, second, few]
    assert one_of_each_seed([again, first]) == [again]


def test_a_seed_that_diverged_is_told_and_its_minutes_do_not_count(evolved):
    ended = [evolved(seed=seed, **{"I-AUROC": 97.0}) for seed in (42, 43)]
    gone = replace(evolved(seed=44), status="diverged", metrics={}, epochs_done=1)
    table = peer_tables.beside_peers([*ended, gone], [peer()], None)
    (own,) = rows(table, system="here, Evolved: feature reconstruction (ResNet18)")
    assert own["I-AUROC"] == "97.0 ± 0.0 (n=2), 1 of 3 diverged"
    assert own["training, min"] == "2.0"


def test_ours_and_peers_stand_in_one_category_with_what_they_cost(evolved):
    records = [evolved(**{"I-AUROC": 97.0}), evolved(seed=43, **{"I-AUROC": 99.0})]
    table = peer_tables.beside_peers(records, [peer(), peer(good=8, asked=8)], None)
    (own,) = rows(table, system="here, Evolved: feature reconstruction (ResNet18)")
    assert own["I-AUROC"] == "98.0 ± 1.4 (n=2)"
    assert (own["epochs"], own["training, min"]) == ("30 of 30", "2.0")
    assert own["latency, × Scenario A"] == EMPTY
    (other,) = rows(table, system=TITLES["padim"])  # the one on few images is no row of it
    assert (other["I-AUROC"], other["AP-det"]) == ("80.0", EMPTY)
    assert other["training, min"] == "1.5"
    assert other["latency, × Scenario A"] == "2.00 [1.90–2.10]"
    assert any(note == "how padim." for note in table.notes)


def test_a_trainings_time_is_of_its_median_seed_and_says_where(evolved):
    minutes = {42: 2.0, 43: 9.0, 44: 4.0}
    records = [
        replace(evolved(seed=seed), timings={"epoch_median_s": 60 * taken / 30})
        for seed, taken in minutes.items()
    ]
    gpu = replace(peer(), environment={"device": "cuda", "gpu": "a GPU"})
    table = peer_tables.beside_peers(records, [gpu], None)
    assert table.frame["training, min"].tolist() == ["4.0", "1.5"]
    assert table.frame["trained on"].tolist() == ["CPU, 2 threads (a processor)", "a GPU"]


def test_what_other_work_took_from_a_fit_does_not_count():
    alone = replace(peer(), fit_cpu_s=170.0)  # 90 s of two threads
    beside = replace(peer("stfpm"), fit_cpu_s=66.0)  # of one thread that had to wait
    table = peer_tables.beside_peers([], [alone, beside], None)
    assert table.frame["training, min"].tolist() == ["1.5", "1.1"]


def test_a_training_that_is_not_whole_says_so(evolved):
    table = peer_tables.beside_peers([evolved(epochs=10, **{"I-AUROC": 90.0})], [peer()], None)
    assert table.frame["epochs"].tolist() == ["10 of 30", EMPTY]


def test_few_images_in_rising_order_with_what_the_run_says(evolved):
    records = [
        evolved(good=128, **{"I-AUROC": 93.0, "imitated-I-AUROC": 95.0}),
        evolved(good=8, **{"I-AUROC": 71.0, "imitated-I-AUROC": 99.0}),
        evolved(good=32, **{"I-AUROC": 90.0, "imitated-I-AUROC": 60.0}),
        evolved(**{"I-AUROC": 97.0, "imitated-I-AUROC": 97.0}),
    ]
    peers = [peer("patchcore", good=8, asked=8, **{"I-AUROC": 66.0}), peer("patchcore")]
    table = peer_tables.few_images(records, peers)
    assert table.frame["good images"].tolist() == ["8", "32", "128", "320"]
    assert table.frame["evolved: I-AUROC"].tolist() == ["71.0", "90.0", "93.0", "97.0"]
    assert table.frame["warns"].tolist() == ["yes", "yes", "no", "no"]
    column = f"{TITLES['patchcore']}: I-AUROC"
    assert table.frame[column].tolist() == ["66.0", EMPTY, EMPTY, "80.0"]
    curves = peer_tables.few_curves(records, peers)
    drawn = peer_figures.few_images(curves, peer_tables.described(curves))
    (panel,) = drawn.axes
    assert [list(line.get_xdata()) for line in panel.lines] == [[8, 32, 128, 320], [8, 320]]


def test_nothing_measured_yet():
    assert "make peer" in peer_tables.beside_peers([], [], None).to_markdown()
    assert "make peer" in peer_tables.few_images([], []).to_markdown()
    assert isinstance(peer_figures.few_images({}, ""), NotDrawn)


def test_of_few_images_only_what_compares_is_shown(evolved):
    """One seed, real images, the preset's own size."""
    own = evolved(good=8, **{"I-AUROC": 71.0})
    others = [
        evolved(good=8, seed=43, **{"I-AUROC": 1.0}),
        replace(own, config=replace(own.config, data=replace(own.config.data, dataset="demo"))),
        replace(
            own, config=replace(own.config, data=replace(own.config.data, image_size=(64, 64)))
        ),
        replace(own, weights_source=None),
        evolved(good=8, beside=("model.local_width=none",)),
        evolved(good=8, epochs=10),
    ]
    wrong = [replace(one, metrics=one.metrics | {"I-AUROC": 1.0}) for one in others]
    again = peer("patchcore", good=8, asked=8, **{"I-AUROC": 1.0})
    peers = [
        peer("patchcore", good=8, asked=8, **{"I-AUROC": 66.0}),
        replace(again, config=replace(again.config, seed=43)),
    ]
    (row,) = rows(peer_tables.few_images([own, *wrong], peers))
    assert row["evolved: I-AUROC"] == "71.0"
    assert row[f"{TITLES['patchcore']}: I-AUROC"] == "66.0"


def test_a_run_on_few_images_that_diverged_is_a_cell_and_no_point(evolved):
    records = [
        replace(evolved(good=8), status="diverged", metrics={}),
        evolved(good=32, **{"I-AUROC": 90.0}),
    ]
    peers = [peer("patchcore", good=8, asked=8, **{"I-AUROC": None})]
    table = peer_tables.few_images(records, peers)
    assert table.frame["evolved: I-AUROC"].tolist() == ["diverged", "90.0"]
    assert table.frame[f"{TITLES['patchcore']}: I-AUROC"].tolist() == ["undefined", EMPTY]
    drawn = peer_figures.few_images(peer_tables.few_curves(records, peers), "")
    assert [list(line.get_xdata()) for line in drawn.axes[0].lines] == [[32]]
