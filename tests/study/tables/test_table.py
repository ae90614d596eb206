from __future__ import annotations

import io

import pandas as pd
import pytest

from ssn_lib.study.tables.cells import of_seeds
from ssn_lib.study.tables.table import EMPTY, Cell, Table, deviating, frame_of, interval, number


def read(*rows):
    return pd.read_csv(io.StringIO(Table("title", frame_of(rows), ()).to_csv()))


def test_people_read_text_and_machines_numbers():
    rows = (
        {"system": "A", "I-AUROC": of_seeds([90.0, 92.0]), "latency, ms": interval(3, 2, 4, ".1f")},
        {"system": "B", "I-AUROC": number(61.25), "latency, ms": EMPTY},
        {"system": EMPTY, "I-AUROC": "diverged", "latency, ms": number(1234, ",")},
    )
    table = Table("title", frame_of(rows), ("a note",))
    assert "| A | 91.0 ± 1.4 (n=2) | 3.0 [2.0–4.0] |" in table.to_markdown()
    assert "| – | diverged | 1,234 |" in table.to_markdown()
    frame = read(*rows)
    assert list(frame) == [
        *("system", "I-AUROC", "I-AUROC, sd", "I-AUROC, n", "I-AUROC, remark"),
        *("latency, ms", "latency, ms, low", "latency, ms, high"),
    ]
    assert frame["I-AUROC"].tolist()[:2] == [91.0, 61.25]
    assert frame["I-AUROC, sd"][0] == pytest.approx(2**0.5, rel=1e-5)
    assert frame["I-AUROC, n"][0] == 2
    assert frame["I-AUROC, remark"].tolist()[2] == "diverged"
    assert frame["latency, ms"].tolist()[2] == 1234
    assert frame.isna()["system"].tolist() == [False, False, True]


def test_a_column_without_numbers_stays_as_it_is():
    assert read({"claim": "a, b", "why": EMPTY}).to_dict("records") == [
        {"claim": "a, b", "why": pytest.approx(float("nan"), nan_ok=True)}
    ]


def test_a_cell_is_its_text():
    assert deviating(1.04, 0.06) == "1.0 ± 0.1"
    assert Cell("5 of 6", value=5.0).numbers == {"": 5.0}
    assert number(-0.5, "+.2f") == "-0.50"
    assert frame_of([{"a": number(1)}])["a"][0].numbers == {"": 1}


def test_no_row_is_an_empty_file():
    assert Table("title", frame_of([]), ()).to_csv().strip() == ""
