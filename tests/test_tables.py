from __future__ import annotations

from dataclasses import replace

import pytest

from ssn_lib import tables
from ssn_lib.config import DataConfig, RunConfig, preset
from ssn_lib.runs import Outcome, Record

ENVIRONMENT = {"device": "cpu", "threads": 2, "processor": "a processor", "torch": "2"}


def record(name: str = "scenario_a", category: str = "bottle", seed: int = 42, **metrics) -> Record:
    chosen = preset(name)
    data = DataConfig("mvtec_ad", category)
    config = RunConfig(name, data, chosen.model, chosen.training, seed)
    return Record(
        run_id=config.run_id,
        config=config,
        status="completed",
        metrics={"I-AUROC": 50.0, "AUPRO": 40.0} | metrics,
        undefined={},
        thresholds=None,
        epochs_done=10,
        diverged_at=None,
        selected_epoch=10,
        timings={},
        environment=ENVIRONMENT,
        weights_source="weights.pth",
        counts={},
        finished="",
    )


def outcome(made: Record) -> Outcome:
    return Outcome(made.config.preset, made.config.data.category, made.config.seed, made)


def cell(table: tables.Table, column: str, **where: str) -> str:
    frame = table.frame
    for key, value in where.items():
        frame = frame[frame[key] == value]
    assert len(frame) == 1
    return frame[column].item()


def test_published_and_measured_stand_in_columns_of_their_own():
    table = tables.backbone_swap([outcome(record(**{"I-AUROC": 12.34}))])
    assert cell(table, "here, A", category="bottle", metric="I-AUROC") == "12.3"
    assert cell(table, "slides, A", category="bottle", metric="I-AUROC") == "100.0"
    assert cell(table, "here, WRN50", category="bottle", metric="I-AUROC") == tables.EMPTY


def test_several_seeds_give_mean_and_deviation():
    outcomes = [outcome(record(seed=seed, AUPRO=value)) for seed, value in ((1, 10.0), (2, 14.0))]
    shown = tables.measured(outcomes, "scenario_a", "bottle", "AUPRO")
    assert shown == "12.0 ± 2.8 (n=2)"


def test_an_undefined_metric_and_a_diverged_run_are_words_not_numbers():
    assert (
        tables.measured([outcome(record(**{"I-AUROC": None}))], "scenario_a", "bottle", "I-AUROC")
        == "undefined"
    )
    diverged = replace(record(), status="diverged", metrics={})
    assert tables.measured([outcome(diverged)], "scenario_a", "bottle", "AUPRO") == "diverged"


def test_every_empty_cell_says_why():
    outcomes = [
        outcome(record()),
        Outcome("baseline", "bottle", 42, None, "no ImageNet weights for wide_resnet50_2"),
    ]
    notes = "\n".join(tables.backbone_swap(outcomes).notes)
    assert "baseline bottle: no ImageNet weights" in notes
    assert "scenario_b screw: no record; `python -m ssn_lib run" in notes
    assert "scenario_a bottle" not in notes


def test_untrained_backbones_are_named_in_the_notes():
    untrained = replace(record(), weights_source=None)
    assert tables.describe([untrained]).startswith("UNTRAINED backbone")
    mixed = tables.describe([untrained, record("baseline")])
    assert mixed.startswith("UNTRAINED backbone: scenario_a;")
    assert "UNTRAINED" not in tables.describe([record()])


def test_markdown_has_title_rows_and_notes():
    text = tables.ablation([outcome(record())]).to_markdown()
    assert text.startswith("**From SimpleNet to SuperSimpleNet")
    assert text.count("\n| ") == 2 + len(tables.ABLATION_PRESETS)
    assert "- Measured here: mvtec_ad, 256×256 px, 10 epochs, seed 42" in text


@pytest.mark.parametrize("system", ["baseline_wrn50", "scenario_a", "scenario_b"])
def test_published_efficiency_is_there(system):
    assert tables.published()["slides"]["table_efficiency"][system]["latency_ms"] > 0
