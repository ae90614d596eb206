"""Verdicts on the backbone swap follow from the rules."""

from __future__ import annotations

import copy
from dataclasses import replace

import pandas as pd
import pytest

from ssn_lib.runs.record import Outcome
from ssn_lib.study import statistics
from ssn_lib.study.claims import rules, swap
from ssn_lib.study.claims.evidence import Evidence
from ssn_lib.study.costs.records import Efficiency, Spread
from ssn_lib.study.published import published_figures

RULES = {claim.id: claim for claim in swap.BACKBONE_SWAP}
WHOLE = 300  # epochs
T4 = {"device": "cuda", "gpu": "T4"}


def judged(identity, evidence):
    return rules.judge([RULES[identity]], evidence).iloc[0]


# --- costs ---------------------------------------------------------------------------------------


def cost(name, memory=100.0, images=10.0, latency=8.0, form="plain", device="cuda"):
    spread = [Spread(value, 0.95 * value, 1.05 * value) for value in (latency, images, 1.0, memory)]
    environment = T4 if device == "cuda" else {"device": "cpu", "threads": 2, "processor": "chip"}
    return Efficiency(name, form, 6, 1, 1.0, *spread, None, environment)


@pytest.mark.parametrize(
    ("costs", "identity", "verdict"),
    [
        ([cost("baseline", 270), cost("scenario_a", 52)], "a-memory", "reproduced"),
        ([cost("baseline", 270), cost("scenario_a", 90)], "a-memory", "not reproduced"),
        ([cost("scenario_a", 52), cost("scenario_b", 86)], "b-memory", "reproduced"),
        ([cost("scenario_a", 52), cost("scenario_b", 56)], "b-memory", "not reproduced"),
        ([cost("baseline", images=2), cost("scenario_a", images=10)], "throughput", "reproduced"),
        ([cost("baseline", images=5), cost("scenario_a")], "throughput", "not reproduced"),
        ([cost("baseline", images=2.6), cost("scenario_a")], "throughput", "not measurable here"),
        ([cost("baseline", latency=20), cost("scenario_a")], "real-time", "reproduced"),
        ([cost("baseline"), cost("scenario_a", latency=4)], "real-time", "explained otherwise"),
        (
            [cost("baseline", latency=20), cost("scenario_a", latency=12)],
            "real-time",
            "not reproduced",
        ),
    ],
)
def test_costs(costs, identity, verdict):
    row = judged(identity, Evidence([], costs=costs))
    assert row["verdict"] == verdict
    assert "T4" in row["evidence"]


def test_a_gpus_memory_and_time_are_not_judged_by_a_processor():
    costs = [
        cost(name, memory, latency=150, device="cpu")
        for name, memory in (("baseline", 270), ("scenario_a", 52), ("scenario_b", 86))
    ]
    for identity, told in (
        ("a-memory", "−80.7 %"),
        ("b-memory", "+65.4 %"),
        ("real-time", "150"),
        ("throughput", "× 1.0"),
    ):
        row = judged(identity, Evidence([], costs=costs))
        assert row["verdict"] == "not measurable here"
        assert told in row["measured here"]


def test_both_costs_of_a_ratio_must_be_known():
    row = judged("throughput", Evidence([], costs=[cost("baseline")]))
    assert row["verdict"] == "not measurable here"
    assert "the cost of scenario_a was not measured; `make bench` does" in row["why"]


def test_a_gpus_costs_are_those_in_float16_where_all_were_measured_so():
    both = [
        cost(name, memory, form="plain") for name, memory in (("baseline", 270), ("scenario_a", 60))
    ]
    half = [
        cost(name, memory, form="plain16")
        for name, memory in (("baseline", 135), ("scenario_a", 26))
    ]
    row = judged("a-memory", Evidence([], costs=[*both, *half]))
    assert row["measured here"] == "−80.7 % (135 → 26 MB) in float16 on T4"
    assert row["verdict"] == "reproduced"
    row = judged("throughput", Evidence([], costs=[*both, *half]))
    assert row["measured here"].endswith("in float16 on T4, × 1.0 in float32")
    row = judged("a-memory", Evidence([], costs=[*both, half[0]]))
    assert row["measured here"] == "−77.8 % (270 → 60 MB) in float32 on T4"
    fast = [cost("scenario_a", latency=ms, form=f) for ms, f in ((9, "plain16"), (5, "folded16"))]
    large = cost("baseline", latency=30, form="plain16")
    row = judged("real-time", Evidence([], costs=[*both, *fast, large]))
    assert row["measured here"].endswith("in float16 on T4, folded 5.0 ms, baseline 30.0 ms")
    assert row["why"] == "one image, host to host"


def test_of_a_peak_of_memory_it_is_said_what_does_not_go_with_the_precision():
    costs = [
        replace(cost(name, reserved, form=form), memory_allocated_mb=allocated)
        for name, form, reserved, allocated in (
            ("baseline", "plain16", 240, 210),
            ("baseline", "plain", 330, 300),
            ("scenario_a", "plain16", 110, 100),
            ("scenario_a", "plain", 130, 120),
        )
    ]
    why = judged("a-memory", Evidence([], costs=costs))["why"]
    assert "on another GPU than the slides' P100" in why
    assert "120 and 80 MB are the same in 16 and in 32 bits" in why
    little = [replace(one, memory_allocated_mb=5.0) for one in costs if one.form == "plain16"]
    large = [one for one in costs if one.form == "plain"]
    assert (
        "in 16 and in 32 bits"
        not in judged("a-memory", Evidence([], costs=[*little, *large]))["why"]
    )
    theirs = [replace(one, environment={"device": "cuda", "gpu": "Tesla P100"}) for one in costs]
    assert "another GPU" not in judged("a-memory", Evidence([], costs=theirs))["why"]


def test_costs_of_two_devices_are_not_compared():
    mixed = [cost("baseline", 270, device="cpu"), cost("scenario_a", 52)]
    row = judged("a-memory", Evidence([], costs=mixed))
    assert row["verdict"] == "not measurable here"
    assert "`make bench` takes one for all" in row["why"]


# --- accuracy ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "epochs", "verdict"),
    [
        (99.0, 10, "reproduced"),
        (85.0, 10, "not measurable here"),
        (85.0, 300, "not reproduced"),
    ],
)
def test_too_short_a_training_refutes_nothing(found, epochs, verdict, record):
    made = Outcome.of(record("scenario_a", "bottle", epochs=epochs, **{"I-AUROC": found}))
    assert judged("bottle-kept", Evidence([made]))["verdict"] == verdict


@pytest.fixture
def bottles(record):
    """bottles(seeds, preset=I-AUROC, ...): whole trainings on bottle, and their noise."""

    def build(seeds=(42,), **runs):
        made = [
            Outcome.of(record(name, "bottle", seed, WHOLE, **{"I-AUROC": value}))
            for name, value in runs.items()
            for seed in seeds
        ]
        made.append(Outcome.of(record("scenario_a", "bottle")))
        course = pd.DataFrame({"noise_rms": [0.1], "feature_std": [1.0]})
        return Evidence(made, [(outcome, course) for outcome in made])

    return build


@pytest.mark.parametrize(
    ("b", "b_relative", "a_relative", "verdict"),
    [
        (70.0, 98.0, 97.0, "explained otherwise"),
        (70.0, 75.0, 97.0, "reproduced"),
        (95.0, 96.0, 97.0, "not reproduced"),
        (88.0, 92.0, 97.0, "not reproduced"),
    ],
)
def test_scenario_b_with_noise_that_it_can_see(b, b_relative, a_relative, verdict, bottles):
    made = bottles(scenario_b=b, scenario_b_relative=b_relative, scenario_a_relative=a_relative)
    assert judged("batchnorm", made)["verdict"] == verdict


def test_a_seed_that_diverged_at_once_has_no_noise(bottles):
    runs = {"scenario_b": 70.0, "scenario_b_relative": 98.0, "scenario_a_relative": 97.0}
    made = bottles((42, 43), **runs)
    files = [(outcome, course.copy()) for outcome, course in made.histories]
    outcome, course = files[1]
    lost = replace(outcome, record=replace(outcome.record, status="diverged"))
    files[1] = lost, course.head(0)
    outcomes = [lost if one is outcome else one for one in made.outcomes]
    row = judged("batchnorm", Evidence(outcomes, files))
    assert row["verdict"] == "explained otherwise"


def test_as_many_seeds_count_as_there_are(bottles):
    """5 points are none for single runs, but some for four seeds each."""
    runs = {"scenario_b": 92.0, "scenario_b_relative": 97.0, "scenario_a_relative": 97.0}
    for seeds, verdict in (((42,), "not reproduced"), (range(4), "explained otherwise")):
        assert judged("batchnorm", bottles(seeds, **runs))["verdict"] == verdict


@pytest.mark.parametrize(
    ("best", "verdict"), [(72.0, "explained otherwise"), (94.0, "not reproduced")]
)
def test_resnet18_is_blind_until_some_training_makes_it_see(best, verdict, record):
    """Be it a short one."""
    made = [
        Outcome.of(record(name, "screw", **{"I-AUROC": value}))
        for name, value in (("scenario_a", 60.0), ("simplenet", best))
    ]
    row = judged("screw-blind", Evidence(made))
    assert row["verdict"] == verdict
    assert f"{best:.1f} (simplenet, 256×256 px)" in row["measured here"]
    assert ("82.4 in the slides' own table" in row["why"]) == (best < 90)
    assert judged("screw-blind", Evidence(made[1:]))["verdict"] == "not measurable here"


@pytest.mark.parametrize("b", [70.0, 99.0])
def test_short_trainings_tell_nothing_of_scenario_b(b, record):
    """Neither that it gains nor that it does not."""
    for epochs in (10, WHOLE):
        names = ("scenario_a", "scenario_b", "scenario_a_relative", "scenario_b_relative")
        values = dict.fromkeys(names, 80.0) | {"scenario_b": b}
        made = [
            Outcome.of(record(name, "bottle", epochs=epochs, **{"I-AUROC": value}))
            for name, value in values.items()
        ]
        verdict = "reproduced" if b < 80 else "not reproduced"
        row = judged("b-no-benefit", Evidence(made))
        assert row["verdict"] == (verdict if epochs == WHOLE else "not measurable here")


def test_scenario_b_gains_in_either_metric_of_the_slides(record):
    """On bottle I-AUROC is at its ceiling, and AUPRO has room."""
    names = ("scenario_a", "scenario_b", "scenario_a_relative", "scenario_b_relative")
    metrics = {name: {"I-AUROC": 100.0, "AUPRO": 80.0} for name in names}
    for aupro, verdict in ((81.0, "reproduced"), (95.0, "not reproduced")):
        metrics["scenario_b_relative"] = {"I-AUROC": 100.0, "AUPRO": aupro}
        made = [
            Outcome.of(record(name, "bottle", epochs=WHOLE, **known))
            for name, known in metrics.items()
        ]
        row = judged("b-no-benefit", Evidence(made))
        assert row["verdict"] == verdict
        assert f"B 100.0 / {aupro}" in row["measured here"]
    assert row["why"].startswith("B gains 15.0 points of AUPRO")


def test_what_was_too_short_is_named_where_the_rest_was_whole(record):
    pair = ("scenario_a", "scenario_b")
    made = [Outcome.of(record(name, "bottle", epochs=WHOLE)) for name in pair]
    made += [Outcome.of(record(f"{name}_relative", "bottle", epochs=10)) for name in pair]
    row = judged("b-no-benefit", Evidence(made))
    assert row["verdict"] == "not measurable here"
    assert row["measured here"].endswith("B 50.0 / 40.0 (10 epochs)")
    names = "Scenario A, larger σ and Scenario B, larger σ"
    assert row["why"].startswith(f"{names}: after 10 epochs, published {WHOLE}")


@pytest.mark.parametrize(
    ("epochs", "batch", "verdict"),
    [
        (80, 8, "not measurable here"),  # as many optimiser steps as published
        (300, 8, "not reproduced"),
        (300, 32, "not reproduced"),
        (299, 32, "not measurable here"),
    ],
)
def test_images_count_and_not_steps(epochs, batch, verdict, record):
    made = record("scenario_a", "bottle", epochs=epochs, batch=batch, **{"I-AUROC": 60.0})
    row = judged("bottle-kept", Evidence([Outcome.of(made)]))
    assert row["verdict"] == verdict
    assert (f"after {epochs} epochs, published 300" in row["why"]) == (epochs < 300)


# --- published figures alone ---------------------------------------------------------------------


@pytest.fixture
def published(monkeypatch):
    """published(change): with published figures that were changed."""

    def make(change):
        changed = copy.deepcopy(published_figures())
        change(changed)
        for module in (swap, statistics):
            monkeypatch.setattr(module, "published_figures", lambda: changed)

    return make


@pytest.mark.parametrize(("slower", "verdict"), [(9.99, "reproduced"), (10.0, "not reproduced")])
def test_the_papers_latency_must_lie_below_ten(slower, verdict, published):
    published(lambda all: all["supersimplenet_perf_v100s_fp16"]["jims"].update(latency_ms=slower))
    assert judged("v100-latency", Evidence([]))["verdict"] == verdict


def test_the_reproduced_baseline_is_the_papers_within_one_seed(published):
    row = judged("baseline-equal", Evidence([]))
    assert row["verdict"] == "reproduced"
    assert "screw I-AUROC 91.2 / 92.9" in row["measured here"]
    assert "screw I-AUROC moves from 78 to 91" in row["why"]  # the swing of its end
    paper = "supersimplenet_icpr2024"
    published(lambda all: all[paper]["mvtec_ad"]["carpet"]["AUPRO"].update(mean=95.0))
    row = judged("baseline-equal", Evidence([]))
    assert row["verdict"] == "not reproduced"
    assert row["why"].startswith("carpet AUPRO differ")


# --- hallucinated defects ------------------------------------------------------------------------


@pytest.fixture
def peaks(record):
    """peaks(on_defect, epochs): a run of Scenario A on screw whose maps of defective images peak
    on the defect or not; of two sound ones, one peaks higher than they."""

    def make(on_defect, epochs=WHOLE):
        made = record("scenario_a", "screw", epochs=epochs)
        outcome = Outcome.of(made)
        sound = [{"label": 0, "map_max": peak, "on_defect": None} for peak in (0.0, 3.0)]
        defective = [{"label": 1, "map_max": 2.0, "on_defect": hit} for hit in on_defect]
        table = pd.DataFrame(sound + defective)
        return Evidence([outcome], scores=[(outcome, table)])

    return make


@pytest.mark.parametrize(
    ("beside", "epochs", "verdict"),
    [
        (70, WHOLE, "reproduced"),
        (61, WHOLE, "reproduced"),
        (60, WHOLE, "not measurable here"),  # of 100: within 10 points of half
        (40, WHOLE, "not measurable here"),
        (39, WHOLE, "not reproduced"),
        (70, 10, "not measurable here"),
        (39, 10, "not measurable here"),
    ],
)
def test_a_false_positive_outranks_the_defect(beside, epochs, verdict, peaks):
    row = judged("hallucinates", peaks([False] * beside + [True] * (100 - beside), epochs))
    assert row["verdict"] == verdict
    assert row["measured here"] == (
        f"on {beside} % of the 100 defective screws the map peaks beside the defect; of the 2 "
        "sound ones 50 % peak above the median defective one"
    )


def test_without_kept_scores_nothing_is_called_hallucinated(peaks):
    kept = peaks([False])
    row = judged("hallucinates", replace(kept, scores=()))
    assert row["verdict"] == "not measurable here"
    assert "did not keep the file" in row["why"]
    ((outcome, table),) = kept.scores
    row = judged("hallucinates", replace(kept, scores=[(outcome, table.drop(columns="on_defect"))]))
    assert row["why"].startswith("where the maps peak was not kept")
