"""What is kept of a peer comes back as it was."""

import json
from dataclasses import replace

import pytest

from ssn_lib.errors import InputError
from ssn_lib.study.costs.records import Spread
from ssn_lib.study.peers.records import PeerConfig, PeerRecord, read_peer, read_peers


@pytest.fixture
def record():
    return PeerRecord(
        PeerConfig("padim", "mvtec_ad", "bottle", (256, 256), "abc", good_images=8),
        "how",
        {"I-AUROC": 97.5, "AP-loc": None},
        {"AP-loc": "no masks"},
        {"test/good/000.png": 0.25},
        8,
        1.5,
        Spread(30.0, 29.0, 31.0),
        Spread(2.0, 1.9, 2.1),
        12.5,
        {"anomalib": "2.7.0"},
        {"device": "cpu"},
        "2026-11-27T00:00:00+00:00",
    )


def test_round_trip(record, tmp_path):
    path = record.keep(tmp_path)
    assert read_peer(path) == record
    assert read_peers(tmp_path) == [record]
    assert path.name.startswith("padim-mvtec_ad-bottle-8-s42-")


def test_none_where_nothing_was_measured(tmp_path):
    assert read_peers(tmp_path) == []


@pytest.mark.parametrize("changed", ["{", "[]", json.dumps({"config": {}})])
def test_what_is_no_record_is_named(record, tmp_path, changed):
    path = record.keep(tmp_path)
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(InputError, match=f"{path.name}: not what `peers` wrote"):
        read_peer(path)


def test_every_setting_has_a_file_of_its_own(record):
    config = record.config
    others = [
        replace(config, name="stfpm"),
        replace(config, seed=43),
        replace(config, good_images=None),
        replace(config, image_size=(448, 448)),
        replace(config, fingerprint="abd"),
    ]
    assert len({one.file for one in (config, *others)}) == 6
