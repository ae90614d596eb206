from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest
import torch

from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study.captions import describe
from ssn_lib.study.commands import command_of
from ssn_lib.study.costs.records import Efficiency, Spread
from ssn_lib.study.published import (
    SWAP_COURSES,
    last_epochs,
    published_figures,
    published_log,
    published_logs,
)
from ssn_lib.study.systems import ABLATION_PRESETS, title
from ssn_lib.study.tables.cells import measured, notes
from ssn_lib.study.tables.costs import efficiency
from ssn_lib.study.tables.noise import beta_sweep, learned_noise
from ssn_lib.study.tables.overview import SAME_NETWORK, all_runs, synthesis
from ssn_lib.study.tables.swap import ablation, backbone_swap, published_leaving, published_start
from ssn_lib.study.tables.table import EMPTY, Table


def cell(table: Table, column: str, **where: str) -> str:
    frame = table.frame
    for key, value in where.items():
        frame = frame[frame[key] == value]
    assert len(frame) == 1
    return frame[column].item()


def test_published_and_measured_stand_in_columns_of_their_own(record):
    table = backbone_swap([Outcome.of(record(**{"I-AUROC": 12.34}))])
    assert cell(table, "here, Scenario A", category="bottle", metric="I-AUROC") == "12.3"
    assert cell(table, "slides, Scenario A", category="bottle", metric="I-AUROC") == "100.0"
    assert cell(table, "here, baseline", category="bottle", metric="I-AUROC") == EMPTY


def test_several_seeds_give_mean_and_deviation(record):
    outcomes = [
        Outcome.of(record(seed=seed, AUPRO=value)) for seed, value in ((1, 10.0), (2, 14.0))
    ]
    shown = measured(outcomes, "scenario_a", "bottle", "AUPRO")
    assert shown == "12.0 ± 2.8 (n=2)"


def test_an_undefined_metric_and_a_diverged_run_are_words_not_numbers(record):
    assert (
        measured([Outcome.of(record(**{"I-AUROC": None}))], "scenario_a", "bottle", "I-AUROC")
        == "undefined"
    )
    diverged = replace(record(), status="diverged", metrics={})
    assert measured([Outcome.of(diverged)], "scenario_a", "bottle", "AUPRO") == "diverged"
    other = replace(record(seed=43), status="diverged", metrics={})
    some = [Outcome.of(record()), Outcome.of(other)]
    assert measured(some, "scenario_a", "bottle", "AUPRO") == "40.0, 1 of 2 diverged"


def test_every_empty_cell_says_why(record):
    outcomes = [
        Outcome.of(record()),
        Outcome("baseline", "bottle", 42, None, "no ImageNet weights for wide_resnet50_2"),
    ]
    notes = "\n".join(backbone_swap(outcomes).notes)
    assert "baseline bottle: no ImageNet weights" in notes
    assert re.search("scenario_b screw.*: no record; `python -m ssn_lib run", notes)
    assert "scenario_a bottle" not in notes


def test_an_empty_cell_of_strips_names_a_command_for_strips():
    (note,) = [note for note in notes([], ["gap_cam"], ["ksdd2"]) if note.startswith(EMPTY)]
    assert "`python -m ssn_lib run PRESET --dataset ksdd2`" in note


def test_untrained_backbones_are_named_in_the_notes(record):
    untrained = replace(record(), weights_source=None)
    assert describe([untrained]).startswith("UNTRAINED backbone")
    mixed = describe([untrained, record("baseline")])
    assert mixed.startswith("UNTRAINED backbone: scenario_a;")
    assert "UNTRAINED" not in describe([record()])


def in_mixed_precision(made):
    training = replace(made.config.training, precision="mixed")
    config = replace(made.config, training=training)
    return replace(made, config=config, run_id=config.run_id)


def test_mixed_precision_is_said_wherever_it_was_used(record):
    mixed, other = in_mixed_precision(record()), record("baseline")
    assert "precision" not in describe([other])
    assert "10 of 300 epochs in batches of 32, in mixed precision, seed 42" in describe([mixed])
    assert "in batches of 32, in mixed precision (Scenario A);" in describe([mixed, other])
    assert command_of(other.config).count("precision") == 0
    assert command_of(mixed.config).count("--set training.precision=mixed") == 1


def test_a_training_that_ended_before_its_protocol_is_told(record):
    assert "10 of 300 epochs in batches of 32" in describe([record(epochs=10)])
    assert ", 300 epochs in batches of 32" in describe([record(epochs=300)])
    assert ", 400 epochs in batches of 32" in describe([record(epochs=400)])


def test_another_way_of_resizing_than_the_presets_is_told(record):
    usual = record()
    data = replace(usual.config.data, resize="antialiased")
    other = replace(usual, config=replace(usual.config, data=data))
    assert "--resize" not in command_of(usual.config)
    assert command_of(other.config).endswith(" --resize antialiased")
    assert "resized" not in describe([usual])
    assert "256×256 px, resized with antialiasing, 10 of 300 epochs" in describe([other])
    assert "resized" not in describe([record("evolved")])  # its own way


def test_images_that_are_laid_out_alike_are_not_called_by_its_name(record):
    foreign = record()
    data = replace(foreign.config.data, category="pcb1")
    foreign = replace(foreign, config=replace(foreign.config, data=data))
    assert "MVTec AD" in describe([record()])
    assert "pcb1" in describe([foreign])
    assert "MVTec AD" not in describe([foreign])


def test_the_command_for_an_empty_cell_is_as_long_as_the_presets_own_protocol(record):
    outcomes = [Outcome.of(record(epochs=10, batch=8))]
    said = "\n".join(notes(outcomes, ("scenario_a", "scenario_b", "evolved"), ["bottle"]))
    assert "run PRESET --dataset mvtec_ad --category bottle --epochs 10 --seed 42" in said
    assert "`python -m ssn_lib run evolved --dataset mvtec_ad --category bottle`" in said
    strips = [Outcome.of(record("full_ssn", "strips", batch=8))]
    said = "\n".join(notes(strips, ("evolved", "full_ssn"), ["strips"]))
    assert "`python -m ssn_lib run evolved --dataset ksdd2`" in said


def test_a_caption_says_which_system_has_which_protocol(record):
    runs = [record(seed=seed) for seed in (42, 43)] + [record("scenario_b")]
    assert "of 32: seeds 42, 43 (Scenario A); seed 42 (Scenario B); CPU" in describe(runs)
    others = [*runs, *map(record, ("baseline", "simplenet", "learned_noise_v2"))]
    assert "of 32: seeds 42, 43 (Scenario A); seed 42 (the others); CPU" in describe(others)
    screw = record("scenario_b", "screw", seed=43)
    told = describe([*runs, screw])
    assert "seeds 42, 43 (Scenario A); seed 42 (Scenario B on bottle); seed 43" in told


def test_strips_are_called_by_the_name_of_their_data(record):
    known = record("gap_cam", "kolektor_sdd1_in_ksdd2_layout")
    assert describe([known]).startswith("KolektorSDD, ")
    timed = replace(known, timings={"epoch_median_s": 6.0})
    assert all_runs([timed]).frame["images"].item() == "KolektorSDD"
    assert describe([record("gap_cam", "ksdd2")]).startswith("KSDD2, ")
    assert describe([record("gap_cam", "mine")]).startswith("mine, ")


def test_the_last_epochs_of_a_log():
    log = published_log("scenario_a", "screw")
    last = last_epochs(log, 100)["epochs_done"]
    assert (last.min(), last.max()) == (220, 300)


def test_markdown_has_title_rows_and_notes(record):
    text = ablation([Outcome.of(record())]).to_markdown()
    assert text.startswith("**From SimpleNet to SuperSimpleNet")
    assert text.count("\n| ") == 2 + len(ABLATION_PRESETS)
    assert (
        "- Measured here: MVTec AD, 256×256 px, 10 of 300 epochs in batches of 32, seed 42" in text
    )


@pytest.mark.parametrize("system", ["baseline_wrn50", "scenario_a", "scenario_b"])
def test_published_efficiency_is_there(system):
    assert published_figures()["slides"]["table_efficiency"][system]["latency_ms"] > 0


def test_published_logs_end_where_the_slides_say():
    logs, slides = published_logs(), published_figures()["slides"]["table_backbone_swap"]
    keys = dict(
        zip(
            SWAP_COURSES,
            ("baseline_wrn50_p100", "scenario_a_resnet18", "scenario_b_resnet18_nonlinear"),
            strict=True,
        )
    )
    for category, metrics in slides.items():
        for name, key in keys.items():
            last = logs[(logs["run"] == name) & (logs["category"] == category)].iloc[-1]
            assert last["epochs_done"] == 300
            for metric, values in metrics.items():
                assert last[metric] == pytest.approx(values[key], abs=0.06)


def test_the_published_start_stands_beside_the_log_of_the_same_epochs(record):
    table = published_start(
        [
            record(**{"I-AUROC": 12.34}),
            record(batch=8),  # not the published batch
            record("simplenet"),  # no log of it
            replace(record(seed=43), status="diverged", metrics={}),
        ]
    )
    assert published_start([record(batch=8)]).frame.empty
    assert table.frame["run"].tolist() == ["published log", "here", "published log"]
    assert table.frame["epochs"].tolist() == [8, 10, 12]
    assert table.frame["I-AUROC"].tolist() == ["65.8", "12.3", "62.8"]
    assert "precision" not in table.frame
    both = published_start([record(epochs=300), in_mixed_precision(record(epochs=300))]).frame
    assert both["run"].tolist() == ["published log", "here", "here"]
    assert both["precision"].tolist() == ["float32", "float32", "mixed"]


def test_published_runs_leave_the_line_when_their_logs_say_so():
    table = published_leaving()
    assert "below 0.98" in table.title
    assert cell(table, title("scenario_a"), category="screw") == "120"
    assert cell(table, title("scenario_b"), category="carpet") == "never in 300"


def test_a_run_asked_for_twice_counts_once(record):
    outcomes = [Outcome.of(record()), Outcome.of(record())]
    assert measured(outcomes, "scenario_a", "bottle", "AUPRO") == "40.0"


def test_a_sweep_says_which_dashes_are_the_slides(record):
    notes = "\n".join(beta_sweep([Outcome.of(record(category="screw"))]).notes)
    assert "– where there was no such run" in notes
    assert "– in the other columns: no record" in notes


def test_a_changed_run_is_no_seed_of_its_preset(record):
    changed = record(AUPRO=90.0)
    noise = replace(changed.config.training.noise, std=0.1)
    training = replace(changed.config.training, noise=noise)
    changed = replace(changed, config=replace(changed.config, training=training))
    outcomes = [Outcome.of(record()), Outcome.of(changed)]
    assert measured(outcomes, "scenario_a", "bottle", "AUPRO") == "40.0"
    changes = ("training.noise.std=0.1",)
    assert measured(outcomes, "scenario_a", "bottle", "AUPRO", changes) == "90.0"


@pytest.mark.parametrize(("name", "other"), SAME_NETWORK.items())
def test_what_stands_for_anothers_cost_is_the_same_network(name, other, make_model):
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        one, two = (make_model(preset(which).model)(image) for which in (name, other))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_training_that_ended_before_its_protocol_says_so_in_the_synthesis(record):
    def cell(epochs):
        made = [Outcome.of(record("scenario_a", "screw", epochs=epochs, **{"I-AUROC": 53.0}))]
        table = synthesis(made, [], "ksdd2").frame.set_index("model")
        return table.loc[title("scenario_a"), "screw: I-AUROC / AUPRO"]

    assert cell(10) == "53.0 / 40.0 (10 of 300 epochs)"
    assert cell(300) == "53.0 / 40.0"


def test_the_synthesis_says_how_far_the_last_epochs_moved(record):
    runs = [
        Outcome.of(record(name, category, epochs=300))
        for name, category in (
            ("scenario_a", "screw"),
            ("scenario_a", "bottle"),
            ("cam_max", "screw"),
        )
    ]
    course = pd.DataFrame({"epoch": [220, 300], "I-AUROC": [60.0, 53.0]})
    notes = synthesis(runs, [], "ksdd2", [(run, course) for run in runs]).notes
    assert any(note.endswith("from: Scenario A screw 53.0 to 60.0 (mean 56.5).") for note in notes)


def test_noise_sources_say_how_far_their_last_epochs_moved(record):
    run = Outcome.of(record("scenario_a", "screw", epochs=300, **{"I-AUROC": 53.0}))
    course = pd.DataFrame({"epoch": [200, 220, 300], "I-AUROC": [90.0, 60.0, 53.0]})
    notes = learned_noise([run], courses=[(run, course)]).notes
    assert any("Scenario A screw 53.0 to 60.0" in note for note in notes)
    assert not any("last 100 epochs" in note for note in learned_noise([run]).notes)


def test_published_costs_stand_beside_the_form_they_were_measured_in():
    gpu = {"device": "cuda", "gpu": "T4", "torch": "2"}
    spread = Spread(1.0, 1.0, 1.0)
    plain, half = (
        Efficiency("scenario_a", form, 6, 1, 1.0, *[spread] * 4, None, gpu)
        for form in ("plain", "plain16")
    )
    column = "latency, ms (slides, P100)"
    assert efficiency([plain]).frame[column].tolist() == ["7.78"]
    assert efficiency([half, plain]).frame[column].tolist() == ["7.78", EMPTY]
