from __future__ import annotations

import io

import pandas as pd

from ssn_lib.runs.record import read_record
from ssn_lib.storage import REPOSITORY
from ssn_lib.study.tables.tidy import metrics_frame

RESULTS = REPOSITORY / "results"


def committed():
    return [read_record(path.parent) for path in sorted(RESULTS.glob("*/record.json"))]


def test_a_row_is_one_number_of_one_run(record):
    made = record(epochs=7, **{"I-AUROC": 91.5, "AUPRO": None})
    frame = metrics_frame([made])
    row = frame[frame["metric"] == "I-AUROC"].iloc[0]
    assert (row["system"], row["seed"], row["epochs"]) == (made.config.preset, 42, 7)
    assert row["value"] == 91.5
    assert frame[frame["metric"] == "AUPRO"]["value"].isna().all()


def test_seeds_are_grouped_without_knowing_the_study(record):
    frame = metrics_frame([record(seed=seed, **{"I-AUROC": 80.0 + seed}) for seed in (42, 43, 44)])
    groups = frame[frame["metric"] == "I-AUROC"].groupby(["system", "category"])["value"]
    assert groups.agg(["mean", "std", "count"]).to_numpy().tolist() == [[123.0, 1.0, 3]]


def test_the_committed_file_is_of_the_committed_records():
    text = (RESULTS / "metrics.csv").read_text(encoding="utf-8")
    assert text == metrics_frame(committed()).to_csv(index=False, float_format="%.6g")
    frame = pd.read_csv(io.StringIO(text))
    assert set(frame["run"]) == {path.parent.name for path in RESULTS.glob("*/record.json")}
    assert pd.api.types.is_float_dtype(frame["value"])
