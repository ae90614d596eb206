"""A notebook that was asked for some categories or systems leaves out the others."""

from __future__ import annotations

import pytest

from ssn_lib.study.report import Report
from ssn_lib.study.runner import Study
from ssn_lib.study.scope import ABOUT, LeftOut, left_out, narrowed
from ssn_lib.study.tables.table import EMPTY, Table, frame_of, number

NOTES = (f"{EMPTY} scenario_a carpet: left out by category = 'screw'.", "Slides: one seed.")


def table():
    rows = [
        {"category": category, "slides": number(1), "here, A": number(2), "here, B": EMPTY}
        for category in ("bottle", "screw")
    ]
    return Table("title", frame_of(rows), NOTES)


def test_everything_is_shown_where_everything_was_asked_for():
    whole = table()
    assert narrowed("one", whole, Study("quick"), "ksdd2") is whole
    assert not any(left_out(name, Study("quick")) for name in ABOUT)


def test_rows_of_other_categories_go_and_a_note_says_so():
    left = narrowed("one", table(), Study("quick", category="screw"), "ksdd2")
    assert list(left.frame["category"]) == ["screw"]
    assert left.notes == (
        "Slides: one seed.",
        "Rows and columns are left out by category = 'screw'.",
    )


def test_columns_of_other_categories_go_also_of_strips_by_their_own_name():
    row = {"model": "A", "screw: AUPRO": number(1), "KolektorSDD: AP-loc": number(2)}
    left = narrowed(
        "one",
        Table("title", frame_of([row]), ()),
        Study("quick", category="screw"),
        "kolektor_sdd1_in_ksdd2_layout",
    )
    assert list(left.frame) == ["model", "screw: AUPRO"]


def test_systems_that_were_not_asked_for_go_with_their_empty_columns_and_rows():
    study = Study("quick", presets="scenario_a")
    assert list(narrowed("one", table(), study, "ksdd2").frame) == ["category", "slides", "here, A"]
    rows = [{"system": "A", "AUPRO": number(1)}, {"system": "B", "AUPRO": EMPTY}]
    left = narrowed("two", Table("title", frame_of(rows), ()), study, "ksdd2")
    assert list(left.frame["system"]) == ["A"]


def test_a_table_with_nothing_left_is_one_line():
    made = narrowed("one", table(), Study("quick", category="carpet"), "ksdd2")
    assert isinstance(made, LeftOut)
    assert made._repr_markdown_() == (
        "*one: nothing of it is left; the rest is left out by category = 'carpet'.*"
    )


def test_what_is_about_another_category_is_one_line(tmp_path):
    report = Report(Study("quick", runs_dir=tmp_path, category="bottle"))
    for name, category in ABOUT.items():
        assert isinstance(report.save(name), LeftOut) == (category != "bottle")
    assert report.save("roc").why == "roc: about KSDD2, left out by category = 'bottle'."


@pytest.mark.parametrize("name", ABOUT)
def test_every_name_is_a_table_or_figure_of_the_report(name):
    assert callable(getattr(Report, name))


def test_the_demo_goes_without_a_category_and_says_so():
    assert Study("demo").without("carpet") == "left out by the profile demo"
    assert Study("demo", category="carpet").without("carpet") == ""
    assert Study("demo").without("widget") == ""  # of a user's own data


def test_records_are_chosen_by_category_system_and_seed(record):
    study = Study("quick", category="screw", presets="scenario_a", seeds="42")
    assert study.covers(record("scenario_a", "screw", 42))
    assert not study.covers(record("scenario_a", "bottle", 42))
    assert not study.covers(record("scenario_b", "screw", 42))
    assert not study.covers(record("scenario_a", "screw", 43))
    strips = Study("quick", category="ksdd2")
    assert strips.covers(record("gap_cam", "kolektor_sdd1_in_ksdd2_layout"))
