from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from ssn_lib.metrics import Thresholds
from ssn_lib.runs.record import Outcome
from ssn_lib.study import search
from ssn_lib.study.tables import evolved as evolved_tables
from ssn_lib.study.tables.table import EMPTY


@pytest.fixture
def evolved(record):
    """evolved(category, seed, size, changes, **metrics): a record of the preset."""

    def make(category="screw", seed=42, size=(448, 448), epochs=30, changes=(), **metrics):
        one = record("evolved", category, seed, epochs, 8, changes, **metrics)
        data = replace(one.config.data, image_size=size)
        return replace(
            one, config=replace(one.config, data=data), timings={"epoch_median_s": 2.0 * seed}
        )

    return make


def rows(table, **where):
    frame = table.frame
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame


def test_published_figures_stand_in_rows_of_their_own(record, evolved):
    outcomes = [Outcome.of(evolved(seed=s, **{"I-AUROC": 90.0 + s})) for s in (1, 3)]
    outcomes.append(Outcome.of(record(category="screw", **{"I-AUROC": 12.34})))
    table = evolved_tables.against_scenario_a(outcomes)
    assert set(table.frame["category"]) == {"screw"}
    shown = dict(zip(table.frame["system"], table.frame["I-AUROC"], strict=True))
    assert shown["published, PatchCore ResNet18"] == "94.3"
    assert shown["slides, Scenario A"] == "51.1"
    assert shown["here, SSN Scenario A (ResNet18)"] == "12.3"
    imitated = dict(zip(table.frame["system"], table.frame["imitated I-AUROC"], strict=True))
    assert imitated["here, SSN Scenario A (ResNet18)"] == EMPTY
    assert shown["here, Evolved: feature reconstruction (ResNet18)"] == "92.0 ± 1.4 (n=2)"
    said = "\n".join(table.notes)
    assert "448×448 px, 30 epochs" in said  # each system's own protocol
    assert "256×256 px, 10 of 300 epochs" in said


def test_categories_without_published_figures_have_rows_too(record, evolved):
    outcomes = [
        Outcome.of(evolved(category, **{"I-AUROC": 90.0})) for category in ("screw", "pcb1")
    ]
    outcomes.append(Outcome.of(record("simplenet", "cable")))  # of another system
    frame = evolved_tables.against_scenario_a(outcomes).frame
    assert list(dict.fromkeys(frame["category"])) == ["screw", "pcb1"]
    others = frame[frame["category"] == "pcb1"]
    assert others["system"].str.startswith("here").all()
    assert "90.0" in set(others["I-AUROC"])


def scores(on_defect=None):
    frame = pd.DataFrame(
        {
            "label": [0, 0, 1, 1, 1],
            "defect": ["good", "good", "bent", "bent", "cut"],
            "score": [1.0, 2.0, 3.0, 1.5, 2.5],
        }
    )
    return frame if on_defect is None else frame.assign(on_defect=on_defect)


def test_every_kind_of_defect_is_ranked_against_the_sound_images(record, evolved):
    def run(made, frame):
        return Outcome.of(replace(made, thresholds=Thresholds(score=1.8, map=9.0))), frame

    runs = [
        run(evolved(), scores([None, None, True, False, True])),
        run(record(category="screw"), scores()),  # an older record
        run(evolved(category="bottle"), scores()),
    ]
    bent, cut, good = evolved_tables.by_defect(runs, "screw").frame.to_dict("records")
    assert [row["images"] for row in (bent, cut, good)] == ["bent", "cut", "good"]
    assert [row["number"] for row in (bent, cut, good)] == ["2", "1", "2"]
    assert (bent["evolved: I-AUROC"], cut["evolved: I-AUROC"]) == ("75.0", "100.0")
    assert (bent["evolved: over the limit"], good["evolved: over the limit"]) == ("50.0", "50.0")
    assert bent["evolved: peak on the defect"] == "50.0"
    assert (good["evolved: I-AUROC"], good["evolved: peak on the defect"]) == (EMPTY, EMPTY)
    assert bent["Scenario A: I-AUROC"] == "75.0"
    assert bent["Scenario A: peak on the defect"] == EMPTY
    nothing = evolved_tables.by_defect([], "screw")
    assert "No scores of evolved on screw" in nothing.to_markdown()


def test_an_ingredients_row_is_of_its_own_records(evolved):
    made = [
        evolved(**{"I-AUROC": 95.0, "imitated-I-AUROC": 97.0}),
        evolved(size=(256, 256), **{"I-AUROC": 80.0}),
        evolved(epochs=100, changes=(*search.FIRST, "model.decoder_width=92"), AUPRO=55.0),
        evolved(category="bottle", AUPRO=91.0),
    ]
    table = evolved_tables.ingredients(made)
    (whole,) = rows(table, recipe="evolved").to_dict("records")
    assert whole["screw: I-AUROC"] == "95.0"
    assert whole["screw: imitated-I-AUROC"] == "97.0"
    assert whole["bottle: AUPRO"] == "91.0"
    (small,) = rows(table, recipe="256 px instead of 448").to_dict("records")
    assert (small["screw: I-AUROC"], small["bottle: I-AUROC"]) == ("80.0", EMPTY)
    (narrow,) = rows(table, recipe="first recipe, half as wide").to_dict("records")
    assert narrow["screw: AUPRO"] == "55.0"


def test_the_log_counts_every_trial_and_marks_sketches(evolved):
    table = evolved_tables.log([evolved(**{"I-AUROC": 95.0})])
    assert len(table.frame) == len(search.TRIALS)
    assert f"{len(search.TRIALS)} ideas" in table.title
    for trial, row in zip(search.TRIALS, table.frame.to_dict("records"), strict=True):
        assert (row["sketch"] == EMPTY) == bool(trial.recipe)
        assert row["I-AUROC"] == EMPTY or trial.recipe.preset == "evolved"
    assert "makes one" in evolved_tables.log([]).to_markdown()
