"""Slide by slide: every item has its counterpart, and figures are those of the tables."""

from __future__ import annotations

import pandas as pd
import pytest

from ssn_lib.storage import REPOSITORY
from ssn_lib.study.report import Report
from ssn_lib.study.runner import Study
from ssn_lib.study.slides import COSTS, ITEMS, Columns, beside, slide_by_slide
from ssn_lib.study.tables.table import EMPTY, Table


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return Report(Study("quick", runs_dir=folder, records_dir=REPOSITORY / "results"))


def test_every_item_has_a_counterpart_or_a_reason(report):
    claims = {*report.ledger().frame["id"]}
    for item in ITEMS:
        assert item.shown or item.claims or item.why_not, item
        assert all(hasattr(Report, name) for name in item.shown), item
        assert {*item.claims} <= claims, item
        if item.columns:
            asked = {*item.columns.keys, *(name for pair in item.columns.pairs for name in pair)}
            assert asked <= {*getattr(report, item.shown[0])().frame.columns}, item
    assert [item.slide for item in ITEMS] == sorted(item.slide for item in ITEMS)


def test_every_claim_of_the_ledger_stands_on_a_slide(report):
    told = [claim for item in ITEMS for claim in item.claims]
    absent = {*report.ledger().frame["id"]} - {*told}
    assert not absent, "add them to an Item of study/slides.py"
    assert len(told) == len({*told}), "a claim stands on two slides"


def test_the_document_links_what_is_published_and_names_the_rest(report, tmp_path):
    notebooks, figures = tmp_path / "notebooks", tmp_path / "figures"
    for folder in (notebooks, figures):
        folder.mkdir()
    (figures / "beta_sweep.md").write_text("")
    (notebooks / "02_noise.py").write_text('report.save("beta_sweep")\n')
    text = slide_by_slide(report, notebooks, figures)
    assert "[beta_sweep](../figures/beta_sweep.md) (02)" in text
    assert "`methods` (–)" in text
    assert text.count("\n| ") == len(ITEMS) + 2


def test_figures_stand_beside_one_another_where_any_was_published():
    frame = pd.DataFrame({"of": ["a", "b"], "slides, x": ["1.0", EMPTY], "here, x": ["2.0", "3.0"]})
    found = beside(Table("", frame, ()), Columns(("of",), (("slides, x", "here, x"),)))
    assert found == (["a: x 1.0"], ["a: 2.0"])


def test_published_figures_have_the_slides_own_words():
    frame = pd.DataFrame(
        {"of": ["a"], "slides: speed": ["slow"], "here: latency": ["9 ms"],
         "memory, MB (slides, P100)": ["5"], "memory, MB": ["6"]}
    )  # fmt: skip
    pairs = (("slides: speed", "here: latency"), ("memory, MB (slides, P100)", "memory, MB"))
    found = beside(Table("", frame, ()), Columns(("of",), pairs))
    assert found == (["a: speed slow, memory, MB 5"], ["a: 9 ms, 6"])


def test_of_a_table_that_was_not_measured_nothing_stands_beside():
    table = Table("", pd.DataFrame({"": ["not measured yet: `make gpu`"]}), ())
    assert beside(table, COSTS) == ([], [])
