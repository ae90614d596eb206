"""Tables, figures and claims of Modifications 3 and 4, from records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ssn_lib.metrics import image_metrics
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study.captions import named
from ssn_lib.study.claims import rules, supervision
from ssn_lib.study.claims.evidence import Evidence
from ssn_lib.study.figures import supervision as supervision_figures
from ssn_lib.study.figures.drawing import NotDrawn
from ssn_lib.study.supervision import (
    LABEL_PRESETS,
    MIXED_PRESETS,
    best_label_only,
    masks_runs,
    of_masks,
)
from ssn_lib.study.systems import FOLD, MASKS
from ssn_lib.study.tables import supervision as supervision_tables
from ssn_lib.study.tables.table import EMPTY
from ssn_lib.study.thresholds import chosen_thresholds

RULES = {claim.id: claim for claim in (*supervision.WEAK, *supervision.MIXED)}


@pytest.fixture
def run(record):
    """run(preset, category, changes, **metrics): an outcome."""

    def make(name, category="ksdd2", changes=(), **metrics):
        return Outcome.of(record(name, category, changes=changes, **metrics))

    return make


def row(table, **where):
    frame = table.frame
    for key, value in where.items():
        frame = frame[frame[key] == value]
    assert len(frame) == 1
    return frame.iloc[0]


# --- tables ---------------------------------------------------------------------------------


def test_each_evaluation_of_a_map_has_its_own_row(run):
    outcomes = [run("gap_cam", **{"AP-loc": 30.0, "sigmoid-AP-loc": 7.0, "flips-AP-loc": 35.0})]
    table = supervision_tables.weak_supervision(outcomes, "ksdd2")
    system = "here, GAP + CAM (labels)"
    assert row(table, system=system, map="raw")["AP-loc"] == "30.0"
    assert row(table, system=system, map="sigmoid, as published")["AP-loc"] == "7.0"
    assert row(table, system=system, map="raw, mean over flips")["AP-loc"] == "35.0"
    assert row(table, system="GAP + CAM, slides")["AP-loc"] == "7.4"
    unrun = row(table, system="here, SSN, weak supervision (labels)", map="raw")
    assert unrun["AP-loc"] == EMPTY
    absent = "weak_ssn KSDD2, weak_ssn_relative KSDD2, full_ssn KSDD2: no record"
    assert any(absent in note for note in table.notes)


def test_what_the_sigmoid_does_has_a_row_for_each_length_of_training(run):
    outcomes = [
        run("gap_cam", epochs=epochs, saturated=share, **{"AP-loc": raw, "sigmoid-AP-loc": tied})
        for epochs, share, raw, tied in ((10, 0.1, 17.0, 16.0), (300, 40.0, 8.0, 5.0))
    ]
    table = supervision_tables.saturation(outcomes, "ksdd2")
    for epochs, cells in (("10", ["16.0", "17.0", "0.1"]), ("300", ["5.0", "8.0", "40.0"])):
        found = row(table, run="here, GAP + CAM (labels)", epochs=epochs)
        assert found[["AP-loc, sigmoid", "AP-loc, raw", "pixels of exactly 1, %"]].tolist() == cells
    unrun = row(table, run="here, CAM, map maximum (labels)")
    assert (unrun["epochs"], unrun["AP-loc, raw"]) == (EMPTY, EMPTY)


def test_longer_trainings_are_held_against_the_published_way_of_as_many_epochs(record):
    def made(name, epochs, **metrics):
        return Outcome.of(record(name, "ksdd2", epochs=epochs, **metrics))

    outcomes = [
        made("gap_cam", 10, **{"AP-loc": 20.0, "sigmoid-AP-loc": 16.0, "flips-AP-loc": 24.0}),
        made("gap_cam", 20, **{"AP-loc": 30.0, "sigmoid-AP-loc": 10.0, "flips-AP-loc": 28.0}),
        made("cam_traced", 10, **{"AP-loc": 40.0, "flips-AP-loc": 48.0}),
        made("cam_traced", 40, **{"AP-loc": 50.0}),
        made("cam_max", 10, **{"AP-loc": 22.0}),
    ]
    table = supervision_tables.by_epochs(outcomes, "ksdd2")
    assert [*table.frame["epochs"]] == ["10", "20", "10", "40"]  # cam_max: of one length alone
    assert [*table.frame["better map, × that"]] == ["1.5", "3.0", "3.0", EMPTY]
    assert [*supervision_tables.by_epochs(outcomes[-1:], "ksdd2").frame["system"]] == [EMPTY]


def test_other_strips_are_not_called_ksdd2(run):
    outcomes = [run("gap_cam", "kolektor_sdd1")]
    table = supervision_tables.weak_supervision(outcomes, "kolektor_sdd1")
    assert set(table.frame["data"]) == {"KSDD2", "kolektor_sdd1"}
    assert set(table.frame[table.frame["data"] == "KSDD2"]["system"].str[:4]) == {"GAP ", "SSN,"}


def test_the_curve_rises_by_the_number_of_masks(run):
    outcomes = [run(name) for name in MIXED_PRESETS]
    outcomes += [run("mixed_ssn", changes=(f"{MASKS}={n}",)) for n in (126, 16)]
    points = masks_runs(outcomes, "ksdd2", [16, 126])
    unmasked = {*MIXED_PRESETS} & {*LABEL_PRESETS}
    assert [masks for _, _, masks in points] == [
        *["0 of 246"] * len(unmasked),
        "16 of 246",
        "25 of 246 (10 %, rounded)",
        "126 of 246",
        "all of 246",
    ]
    assert [named(outcome) for outcome in outcomes[-2:]] == [
        f"{preset('mixed_ssn').title}, {n} masks" for n in (126, 16)
    ]
    shares = [run("mixed_ssn", changes=(f"{MASKS}={n}",)) for n in (0.2, 0.5)]
    points = masks_runs([*outcomes, *shares], "ksdd2", [0.2, 126])
    assert [masks for name, *_, masks in points if name == "mixed_ssn"] == [
        "25 of 246 (10 %, rounded)",
        "49 of 246",
        "126 of 246",
    ]
    assert named(shares[0]).endswith(", 49 masks")
    assert all(map(of_masks, shares))
    assert not of_masks(run("mixed_ssn"))
    assert not of_masks(run("mixed_ssn", changes=("training.supervision.weight=1.0",)))
    table = supervision_tables.masks_curve(outcomes, "ksdd2", [16, 126])
    here = table.frame[table.frame["data"] == "KSDD2"]
    assert len(here) == 5 + len(points)  # the published ones, and these
    figure = supervision_figures.masks_curve(outcomes, "ksdd2", [16, 126], "caption")
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert list(lines["here: SSN with that share of masks; KSDD2"].get_xdata()) == pytest.approx(
        [0, 100 * 16 / 246, 100 * 25 / 246, 100 * 126 / 246, 100]
    )
    said = figure.get_suptitle().replace("\n", " ")
    assert " has 50.0 % without a mask; " in said
    assert said.endswith("SSN has 50.0, 50.0 and 50.0 % with 0, 7 and 100 % of the defects masked")


def test_the_slides_figures_stand_beside_the_papers(run):
    table = supervision_tables.comparison([run("full_ssn", **{"AP-loc": 60.0})], "ksdd2")
    full = row(table, **{"learns from": "labels and all masks"})
    assert full["slides, AP-loc"] == "93.0"
    assert full["papers, AP-loc"] == "81.3 / 82.1"
    assert full["here, AP-loc"] == "60.0"


@pytest.fixture
def scores():
    generator = np.random.default_rng(0)
    labels = np.arange(60) % 3 == 0
    frame = {"score": generator.normal(size=60) + 2 * labels, "label": labels.astype(int)}
    return pd.DataFrame(frame | {"map_max": generator.normal(size=60)})


def test_thresholds_with_and_without_the_test(run, scores):
    test = [(run("gap_cam"), scores)]
    folds = [(run("gap_cam", changes=(f"{FOLD}={i}",)), scores + 0.5) for i in range(3)]
    for _, part in folds:
        part["label"] = scores["label"]
    on_test, without = chosen_thresholds(test, folds)
    assert without.point.threshold == pytest.approx(on_test.point.threshold + 0.5)
    assert on_test.point.tpr.value - on_test.point.fpr.value > (
        without.point.tpr.value - without.point.fpr.value
    )
    assert len(chosen_thresholds(test, folds[:2])) == 1  # a fold is missing
    assert chosen_thresholds([], folds) == []
    table = supervision_tables.operating_points([on_test], "caption")
    assert "The folds were not all run" in table.notes[-1]
    assert len(supervision_tables.operating_points([on_test, without], "caption").frame) == 3


def test_figures_without_runs_say_so(run, scores):
    for figure in (
        supervision_figures.roc([], ""),
        supervision_figures.score_distributions([], [], ""),
        supervision_figures.pixel_curves([], ""),
    ):
        assert isinstance(figure, NotDrawn)
        assert "see the tables above" in figure


def test_figures_name_both_scores_and_both_maps(run, scores):
    outcome = run("gap_cam")
    panels = supervision_figures.roc([(outcome, scores)], "").axes
    assert ["image score" in axes.get_title() for axes in panels] == [True, False]
    for axes, column in zip(panels, ("score", "map_max"), strict=True):
        area = image_metrics(scores[column], scores["label"])["I-AUROC"]
        (first, *_) = axes.get_legend_handles_labels()[1]
        assert first == f"{area:.1f}  {preset('gap_cam').title}"
    curves = pd.DataFrame({"recall": [0.5, 1] * 2, "precision": [1, 0.5, 1, 0.4]})
    curves["map"] = ["raw"] * 2 + ["sigmoid"] * 2
    drawn = supervision_figures.pixel_curves([(outcome, curves)], "").axes[0]
    labels = drawn.get_legend_handles_labels()[1]
    assert [label.rpartition(", ")[2] for label in labels] == ["raw", "sigmoid as published"]
    assert labels[0].startswith("50.0  ")
    curves["precision"] = [1, 0.5] * 2
    drawn = supervision_figures.pixel_curves([(outcome, curves)], "").axes[0]
    assert drawn.get_legend_handles_labels()[1][0].endswith("raw and sigmoid alike")
    assert len(drawn.lines) == 1


def test_scores_are_points_with_the_thresholds_as_lines(run, scores):
    found = chosen_thresholds([(run("gap_cam"), scores)], [])
    figure = supervision_figures.score_distributions([(run("gap_cam"), scores)], found, "caption")
    sound, defective = figure.axes[0].collections
    assert [len(part.get_offsets()) for part in (sound, defective)] == [40, 20]
    (line,) = figure.axes[0].lines
    limit = found[0].point.threshold
    assert line.get_xdata() == [limit, limit]
    right = ((scores["score"] >= limit) & (scores["label"] == 1)).sum()
    assert f"GAP + CAM finds {right} of 20 defective" in figure.get_suptitle().replace("\n", " ")


def test_the_best_map_without_masks(run):
    outcomes = [
        run("gap_cam", **{"AP-loc": 10.0, "flips-AP-loc": 31.0}),
        run("weak_ssn", **{"AP-loc": 30.0}),
        run("full_ssn", **{"AP-loc": 90.0}),
    ]
    assert best_label_only(outcomes, "ksdd2") == ("gap_cam, over flips", 31.0)
    assert best_label_only(outcomes[-1:], "ksdd2") is None


# --- claims ------------------------------------------------------------------------------------


def judged(identity, outcomes, category="ksdd2", **more):
    evidence = Evidence(outcomes, category=category, **more)
    return rules.judge([RULES[identity]], evidence).iloc[0]


@pytest.mark.parametrize(
    ("found", "epochs", "verdict"),
    [
        (98.4, 10, "reproduced"),
        (90.0, 300, "not measurable here"),  # of a smaller network than the published one
        (90.0, 10, "not measurable here"),
    ],
)
def test_detection_is_held_against_ksdd2_alone(found, epochs, verdict, run):
    row = judged("labels-detect", [run("gap_cam", epochs=epochs, **{"I-AUROC": found})])
    assert row["verdict"] == verdict
    assert ("notebook 03 by the profile `full` decides it" in row["why"]) == (
        verdict == "not measurable here"
    )
    assert row["elsewhere"] == EMPTY


KOLEKTOR = "kolektor_sdd1_in_ksdd2_layout"


@pytest.mark.parametrize(
    ("found", "epochs", "elsewhere"),
    [
        (98.4, 10, "agrees on KolektorSDD: I-AUROC 98.4 with a ResNet18; within"),
        (90.0, 300, "not decided on KolektorSDD: I-AUROC 90.0 with a ResNet18; 8.6 below, but"),
        (90.0, 10, "not decided on KolektorSDD: I-AUROC 90.0 with a ResNet18; after 10 epochs"),
    ],
)
def test_other_strips_are_named_and_decide_nothing_of_ksdd2(found, epochs, elsewhere, run):
    other = run("gap_cam", KOLEKTOR, epochs=epochs, **{"I-AUROC": found})
    row = judged("labels-detect", [other], KOLEKTOR)
    assert row["elsewhere"].startswith(elsewhere)
    assert (row["verdict"], row["measured here"]) == ("not measurable here", EMPTY)
    assert row["why"].startswith("no run of gap_cam on real images of KSDD2")
    own = run("gap_cam", epochs=300, **{"I-AUROC": 98.0})  # both are there
    row = judged("labels-detect", [other, own], "ksdd2")
    assert (row["elsewhere"], row["verdict"]) == (EMPTY, "reproduced")


def test_strips_of_no_known_name_are_called_by_their_folder(run):
    row = judged("labels-detect", [run("gap_cam", "mine", **{"I-AUROC": 99.0})], "mine")
    assert row["elsewhere"].startswith("agrees on mine")


@pytest.mark.parametrize(
    ("sigmoid", "raw", "weak", "epochs", "verdict"),
    [
        (7.0, 30.0, 8.0, 10, "explained otherwise"),
        (7.0, 8.0, 40.0, 10, "explained otherwise"),
        (7.0, 8.0, 9.0, 300, "reproduced"),
    ],
)
def test_the_blob(sigmoid, raw, weak, epochs, verdict, run):
    others = [name for name in LABEL_PRESETS if name not in ("gap_cam", "weak_ssn")]
    outcomes = [run(name, epochs=epochs, **{"AP-loc": raw}) for name in others]
    outcomes += [
        run("gap_cam", epochs=epochs, **{"sigmoid-AP-loc": sigmoid, "AP-loc": raw}),
        run("weak_ssn", epochs=epochs, **{"AP-loc": weak}),
    ]
    row = judged("blob", outcomes)
    assert row["verdict"] == verdict
    assert "33.4 after 8 epochs and 7.4 at the end" in row["why"]


def test_the_blob_is_held_against_maps_of_equally_long_trainings(run):
    def made(name, epochs, **metrics):
        return run(name, epochs=epochs, **metrics)

    outcomes = [
        made("gap_cam", 10, **{"AP-loc": 30.0, "sigmoid-AP-loc": 29.0}),
        made("gap_cam", 300, **{"AP-loc": 8.0, "sigmoid-AP-loc": 7.0}),
        made("weak_ssn", 300, **{"AP-loc": 20.0}),
        made("cam_max", 10, **{"AP-loc": 90.0}),
    ]
    row = judged("blob", outcomes)
    assert "GAP + CAM 7.0 (sigmoid, as published) and 8.0 (raw)" in row["measured here"]
    assert "no mask taught, trained as long, 20.0 (weak_ssn, raw)" in row["measured here"]
    row = judged("blob", [outcomes[1], outcomes[3]])  # nothing as long as it
    assert "no mask taught, trained as long, 8.0 (gap_cam, raw)" in row["measured here"]
    assert "no run as long of cam_max" in row["why"]


def test_the_blob_is_told_how_a_whole_training_here_went(run):
    cam = run("gap_cam", epochs=300, **{"AP-loc": 8.0, "sigmoid-AP-loc": 7.0})
    outcomes = [cam, run("weak_ssn", epochs=300, **{"AP-loc": 20.0})]
    course = pd.DataFrame({"epoch": [20, 40, 300], "AP-loc": [12.0, 14.0, 6.0]})
    why = judged("blob", outcomes, courses=[(cam, course)])["why"]
    assert "7.4 at the end, one here (its raw map) 14.0 after 40 and 6.0 at the end" in why
    assert "one here" not in judged("blob", outcomes)["why"]
    short = [run("gap_cam", **{"AP-loc": 8.0, "sigmoid-AP-loc": 7.0})]
    short += [run("weak_ssn", **{"AP-loc": 20.0})]
    assert "one here" not in judged("blob", short, courses=[(short[0], course)])["why"]


@pytest.mark.parametrize(("traced", "told"), [(40.0, True), (10.0, False)])
def test_the_blob_has_a_control_of_the_same_layers(traced, told, run):
    """CAM traced has a finer layer besides, which might be the reason."""
    own_layers = ("model.layers=2,3", "model.upscale=2")
    outcomes = [
        run("gap_cam", **{"AP-loc": 9.0, "sigmoid-AP-loc": 7.0}),
        run("cam_traced", **{"AP-loc": 50.0}),
        run("cam_traced", changes=own_layers, **{"AP-loc": traced}),
    ]
    words = "of the same layers too (cam_traced on layers 2,3: 40.0, GAP + CAM 9.0, 10 epochs)"
    assert (words in judged("blob", outcomes)["why"]) == told
    assert "same layers" not in judged("blob", outcomes[:2])["why"]


def test_the_published_decay_is_drawn_beside_a_training_here(run):
    cam = run("gap_cam", KOLEKTOR, epochs=300)
    metrics = ("I-AUROC", "P-AUROC", "AUPRO", "AP-loc")
    course = pd.DataFrame({"epoch": [20, 300], **{name: [90.0, 30.0] for name in metrics}})
    figure = supervision_figures.published_decay([(cam, course)], "where from")
    _, right = figure.axes
    assert right.get_title() == "here: KolektorSDD, ResNet18"
    assert right.lines[0].get_xydata().tolist() == [[20, 90], [300, 30]]
    assert "here: AP-loc goes from 90.0 after 20 epochs to 30.0" in figure.get_suptitle().replace(
        "\n", " "
    )
    assert len(supervision_figures.published_decay().axes) == 1


def test_the_blob_is_not_confirmed_before_all_maps_are_there(run):
    row = judged("blob", [run("gap_cam", **{"sigmoid-AP-loc": 7.0, "AP-loc": 8.0})])
    assert row["verdict"] == "not measurable here"
    assert "weak_ssn" in row["why"]


def test_the_blob_is_not_confirmed_by_short_trainings(run):
    made = [run(name, **{"AP-loc": 8.0, "sigmoid-AP-loc": 7.0}) for name in LABEL_PRESETS]
    row = judged("blob", made)
    assert row["verdict"] == "not measurable here"
    assert "after 10 epochs, published 300" in row["why"]


@pytest.mark.parametrize(
    ("cam", "weak", "traced", "mixed", "verdict"),
    [
        (7, 20, 10, 40, "reproduced"),
        (7, 10, 20, 40, "reproduced"),
        (7, 39, 10, 40, "explained otherwise"),
        (7, 10, 39, 40, "reproduced"),  # what else would do is said, and is no cause of it
        (39, 39, 39, 40, "not reproduced"),
        (7, 13, 10, 19, "not measurable here"),  # 12 points in all, 6 in each step: 7.0 would do
        (20, 20, 20, 40, "reproduced"),
    ],
)
def test_the_cure(cam, weak, traced, mixed, verdict, run):
    values = {"gap_cam": cam, "weak_ssn": weak, "cam_traced": traced, "mixed_ssn": mixed}
    outcomes = [run(name, epochs=300, **{"AP-loc": float(v)}) for name, v in values.items()]
    assert judged("mixed-cures", outcomes)["verdict"] == "not measurable here"
    outcomes[1] = replace(outcomes[1], changes=("training.noise.perlin_threshold=0.6",))
    row = judged("mixed-cures", outcomes)
    assert row["verdict"] == verdict
    needless = verdict == "reproduced" and traced > 33
    assert ("no mask is needed for it: CAM traced" in row["why"]) == needless


def test_short_trainings_refute_no_cure(run):
    outcomes = [run(name, **{"AP-loc": 20.0}) for name in MIXED_PRESETS]
    row = judged("mixed-cures", outcomes)
    assert "no run of weak_ssn with training.noise.perlin_threshold=0.6 on real" in row["why"]
    changed = ("training.noise.perlin_threshold=0.6",)
    row = judged("mixed-cures", [*outcomes, run("weak_ssn", changes=changed, **{"AP-loc": 20.0})])
    assert row["verdict"] == "not measurable here"
    assert "after 10 epochs, published 300" in row["why"]
    assert "notebook 04 by the profile `full` decides it" in row["why"]


def test_the_slides_rows_match_no_table():
    row = judged("comparison-rows", [])
    assert row["verdict"] == "not reproduced"
    assert "45.8 to 82.1" in row["measured here"]


@pytest.mark.parametrize(("weak", "verdict"), [(92.0, "reproduced"), (80.0, "not reproduced")])
def test_what_labels_cost(weak, verdict, run):
    for epochs in (10, 300):
        outcomes = [
            run(name, epochs=epochs, **{"AP-det": value})
            for name, value in (("gap_cam", weak), ("full_ssn", 95.0))
        ]
        row = judged("labels-cost", outcomes)
        assert row["verdict"] == (verdict if epochs == 300 else "not measurable here")


@pytest.mark.parametrize(
    ("simple", "epochs", "verdict"),
    [
        (86.0, 300, "reproduced"),
        (90.3, 300, "reproduced"),  # margin: 2 · 1.54 · √2 = 4.36
        (90.4, 300, "not reproduced"),
        (60.0, 300, "not reproduced"),
        (60.0, 10, "not measurable here"),
        (86.0, 10, "not measurable here"),
    ],
)
def test_what_sound_images_alone_cost(simple, epochs, verdict, run):
    outcomes = [
        run(name, epochs=epochs, **{"AP-det": value})
        for name, value in (("simplenet", simple), ("full_ssn", 95.0))
    ]
    row = judged("simplenet-cost", outcomes)
    assert row["verdict"] == verdict
    if verdict != "not measurable here":
        assert "55.8, or 81.9 by its map's maximum (JIMS 2025)" in row["why"]


def test_trainings_of_different_lengths_tell_no_cost(run):
    outcomes = [run("gap_cam", epochs=300), run("full_ssn", epochs=10)]
    row = judged("labels-cost", outcomes)
    assert row["verdict"] == "not measurable here"
    assert "trained for 10, 300 epochs, with no number in common" in row["why"]


@pytest.fixture
def curves():
    """curves(raw, sigmoid): precision and recall of both maps, from these precisions on."""

    def make(raw, sigmoid):
        parts = [
            pd.DataFrame({"recall": [0.1, 1.0], "precision": [start, 0.2], "map": kind})
            for kind, start in (("raw", raw), ("sigmoid", sigmoid))
        ]
        return pd.concat(parts)

    return make


@pytest.mark.parametrize(
    ("raw", "sigmoid", "verdict"),
    [
        (0.028, 0.3, "explained otherwise"),
        (0.028, 0.9, "reproduced"),
        (1.0, 0.3, "reproduced"),
        (0.89, 0.89, "explained otherwise"),
    ],
)
def test_where_precision_starts(raw, sigmoid, verdict, run, curves):
    outcome = run("gap_cam", KOLEKTOR)
    hits = pd.DataFrame({"on_defect": [None, True, False, False, False]})
    files = {"curves": [(outcome, curves(raw, sigmoid))], "scores": [(outcome, hits)]}
    row = judged("peaks-precise", [outcome], KOLEKTOR, **files)
    assert (row["verdict"], row["elsewhere"]) == (verdict, EMPTY)
    assert f": {100 * raw:.1f} % (raw map), " in row["measured here"]
    assert "on 1 of 4 defective images the map peaks on the defect" in row["measured here"]
    old = judged("peaks-precise", [outcome], KOLEKTOR, curves=files["curves"])
    assert old["verdict"] == verdict  # older runs did not keep where the map peaks
    assert "peaks" not in old["measured here"]


def test_without_a_curve_nothing_is_said_of_its_start(run):
    row = judged("peaks-precise", [run("gap_cam", KOLEKTOR)], KOLEKTOR)
    assert row["verdict"] == "not measurable here"
    assert "did not keep the file" in row["why"]


@pytest.mark.parametrize(
    "identity", ["labels-detect", "labels-ap", "labels-cost", "simplenet-cost", "youden"]
)
def test_other_images_decide_nothing_about_ksdd2(identity, run, scores):
    made = [run(name, KOLEKTOR, epochs=300) for name in ("gap_cam", "full_ssn", "simplenet")]
    points = chosen_thresholds([(made[0], scores)], [(made[0], scores)] * 3)
    row = judged(identity, made, KOLEKTOR, points=points)
    assert (row["verdict"], row["measured here"]) == ("not measurable here", EMPTY)
    assert row["why"].startswith("no run of ")
    assert "real images of KSDD2" in row["why"]
    assert "on KolektorSDD: " in row["elsewhere"]
    assert row["evidence"].startswith("elsewhere: KolektorSDD")


def test_the_threshold_needs_real_scores_and_all_folds(run, scores):
    real = run("gap_cam")
    test, folds = [(real, scores)], [(real, scores)] * 3
    points = chosen_thresholds(test, folds)
    assert "TPR" in judged("youden", [real], points=points)["measured here"]
    assert judged("youden", [real], points=points[:1])["verdict"] == "not measurable here"
    config = real.record.config
    demo = replace(config, data=replace(config.data, dataset="demo"))
    drawn = replace(real, record=replace(real.record, config=demo))
    assert judged("youden", [drawn], points=points)["verdict"] == "not measurable here"
    other = [run("gap_cam", seed=43)]  # not the run whose scores these are
    assert judged("youden", other, points=points)["verdict"] == "not measurable here"
