"""A test image that is there twice counts twice, and once without its copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ssn_lib.data.copies import find_copies
from ssn_lib.data.loading import load_dataset
from ssn_lib.runs.record import Outcome
from ssn_lib.storage import REPOSITORY
from ssn_lib.study.costs.records import Spread
from ssn_lib.study.peers.records import TITLES, PeerConfig, PeerRecord
from ssn_lib.study.tables.copies import CATEGORY, COPIES, without_copies
from ssn_lib.study.tables.table import EMPTY

STRIPS = REPOSITORY.parent / "shared" / "data" / CATEGORY
NAMES = [f"test/{number}.png" for number in range(20000, 20144)]
LABELS = np.arange(144) % 7 == 3  # six others of the copies' originals are sound


def scores(seed):
    values = np.random.default_rng(seed).normal(size=144) + LABELS
    return pd.DataFrame({"image": NAMES, "label": LABELS.astype(int), "score": values})


@pytest.fixture
def run(record):
    def make(category=CATEGORY, seed=42, changed=()):
        return Outcome.of(record("evolved", category, seed, 30, 8, changed, **{"I-AUROC": 50.0}))

    return make


def peer(frame):
    config = PeerConfig("padim", "ksdd2", CATEGORY, (640, 232), "f")
    named = dict(zip(frame["image"], frame["score"], strict=True))
    spread = Spread(1.0, 1.0, 1.0)
    return PeerRecord(config, "", {}, {}, named, 223, 1.0, spread, spread, 1.0, {}, {}, "")


def test_each_image_once(run):
    frame, other = scores(0), scores(1)
    table = without_copies([(run(), frame)], [peer(other)])
    kept = ~np.isin(NAMES, COPIES)
    assert kept.sum() == 136
    for row, values in zip(table.frame.to_dict("records"), (frame, other), strict=True):
        score = values["score"].to_numpy()
        for column, some in (("", np.ones(144, bool)), (", once", kept)):
            auroc = 100 * roc_auc_score(LABELS[some], score[some])
            ap = 100 * average_precision_score(LABELS[some], score[some])
            assert row[f"I-AUROC{column}"] == f"{auroc:.1f}"
            assert row[f"AP-det{column}"] == f"{ap:.1f}"
    assert table.frame["system"].tolist()[1] == TITLES["padim"]
    assert any("8 of the 144 test images" in note for note in table.notes)


def test_seeds_are_taken_together_and_others_passed_over(run):
    runs = [(run(seed=seed), scores(seed)) for seed in (42, 43)]
    runs += [
        (run(category="screw"), scores(2)),
        (run(changed=("model.decoder_width=92",)), scores(3)),
    ]
    (row,) = without_copies(runs, []).frame.to_dict("records")
    assert row["I-AUROC"].endswith("(n=2)")


def test_no_record_yet():
    (row,) = without_copies([], [peer(scores(0))]).frame.to_dict("records")
    assert row["I-AUROC"] == EMPTY


@pytest.mark.real
@pytest.mark.skipif(not STRIPS.is_dir(), reason="no ../shared")
def test_these_are_the_copies():
    with pytest.warns(UserWarning, match="not KolektorSDD2"):
        dataset = load_dataset("ksdd2", STRIPS)
    found = find_copies(dataset.train.samples, dataset.test.samples)
    assert [Path(copy).relative_to(STRIPS).as_posix() for copy, _ in found.tested] == list(COPIES)
    assert not found.of_training
    assert not found.contradicting
