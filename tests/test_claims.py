"""Verdicts follow from the rules, and nothing is judged on evidence that is not there."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from ssn_lib import claims, tables
from ssn_lib.claims import Claim, Evidence, Finding
from ssn_lib.config import override
from ssn_lib.efficiency import Comparison, Efficiency, Spread
from ssn_lib.runs import Outcome

RULES = {claim.id: claim for claim in (*claims.BACKBONE_SWAP, *claims.LEARNED_NOISE)}
LEARNS, RISES, SHORT, DIVERGES, VANISHES = [2.0, 0.5], [2.0, 9.0], [2.0, 1.08], None, [2.0, 1e-3]
PLATEAUS = ([1.087, 1.0871], [0.984, 1.081], [1.0, 1.19])  # near the loss of answering 0: 1.087
WHOLE = 300  # epochs


def judged(identity, evidence):
    return claims.judge([RULES[identity]], evidence).iloc[0]


@pytest.fixture
def evidence(record):
    """evidence(preset=losses or (losses, metrics), ...): one finished run of each on screw."""

    def build(change=lambda made: made, epochs=WHOLE, **runs):
        outcomes, histories = [], []
        for name, given in runs.items():
            losses, metrics = given if isinstance(given, tuple) else (given, {})
            made = change(record(name, "screw", epochs=epochs, **metrics))
            if losses is None:
                made = replace(made, status="diverged", metrics={}, diverged_at=1, epochs_done=1)
            outcomes.append(Outcome.of(made))
            histories.append((outcomes[-1], pd.DataFrame({"loss": losses or []})))
        return Evidence(outcomes, histories)

    return build


@pytest.mark.parametrize(
    ("stated", "published", "verdict"),
    [
        (RISES, RISES, "reproduced"),
        (DIVERGES, LEARNS, "reproduced"),
        (LEARNS, RISES, "explained otherwise"),
        (VANISHES, RISES, "explained otherwise"),
        (LEARNS, LEARNS, "not reproduced"),
        (SHORT, RISES, "not measurable here"),
        (RISES, SHORT, "reproduced"),
        (LEARNS, SHORT, "not measurable here"),
        (VANISHES, SHORT, "not measurable here"),
        *[(plateau, RISES, "not measurable here") for plateau in PLATEAUS],
        ([1.0, 1.2], RISES, "reproduced"),
    ],
)
def test_v1_collapses(stated, published, verdict, evidence):
    made = evidence(learned_noise_v1=stated, learned_noise_v1_published=published)
    assert judged("v1-collapses", made)["verdict"] == verdict


@pytest.mark.parametrize(
    ("v1", "v2", "verdict"),
    [
        (RISES, LEARNS, "reproduced"),
        (LEARNS, LEARNS, "explained otherwise"),
        (RISES, RISES, "not reproduced"),
        (LEARNS, DIVERGES, "not reproduced"),
        (SHORT, LEARNS, "not measurable here"),
        (RISES, SHORT, "not measurable here"),
    ],
)
def test_v2_stabilises(v1, v2, verdict, evidence):
    made = evidence(learned_noise_v1=v1, learned_noise_v2=v2)
    assert judged("v2-stabilises", made)["verdict"] == verdict


def test_a_detector_that_wins_at_once_is_said(evidence):
    made = evidence(learned_noise_v1=VANISHES, learned_noise_v1_published=RISES)
    assert "without a gradient" in judged("v1-collapses", made)["why"]
    made = evidence(learned_noise_v1=VANISHES, learned_noise_v2=RISES)
    assert judged("v2-stabilises", made)["why"].endswith("v1 has saturated")


def test_all_seeds_count(evidence, record):
    """One seed that diverged is a collapse, whatever the others did."""
    made = evidence(learned_noise_v1=LEARNS, learned_noise_v1_published=LEARNS)
    other = replace(record("learned_noise_v1", "screw", 43), status="diverged", diverged_at=3)
    histories = [*made.histories, (Outcome.of(other), pd.DataFrame({"loss": [3.0]}))]
    made = replace(made, outcomes=[*made.outcomes, Outcome.of(other)], histories=histories)
    row = judged("v1-collapses", made)
    assert row["verdict"] == "reproduced"
    assert "diverged in epoch 3" in row["measured here"]


@pytest.mark.parametrize(
    ("published", "stated", "verdict", "why"),
    [
        (50.0, 60.0, "reproduced", "as stated"),
        (60.0, 54.0, "explained otherwise", "only for the published form"),
        (54.0, 54.0, "not reproduced", "no difference beyond the seeds'"),  # 5.5 points are none
        (20.0, 50.0, "not reproduced", "the opposite"),
    ],
)
def test_v2_detects_more(published, stated, verdict, why, evidence):
    made = evidence(
        scenario_a=(LEARNS, {"I-AUROC": 50.0}),
        learned_noise_v2_published=(LEARNS, {"I-AUROC": published}),
        learned_noise_v2=(LEARNS, {"I-AUROC": stated}),
    )
    row = judged("v2-detection", made)
    assert row["verdict"] == verdict
    assert why in row["why"]


def test_nothing_is_compared_with_a_training_that_has_not_learned(evidence):
    made = evidence(
        epochs=10,
        scenario_a=(SHORT, {"I-AUROC": 50.0}),
        learned_noise_v2_published=(LEARNS, {"I-AUROC": 70.0}),
        learned_noise_v2=(LEARNS, {"I-AUROC": 70.0}),
    )
    row = judged("v2-detection", made)
    assert row["verdict"] == "not measurable here"
    assert "Scenario A has not learned yet (loss 2 → 1.08 in 10 epochs)" in row["why"]
    assert "A 50.0; v2 as published 70.0" in row["measured here"]


@pytest.mark.parametrize(
    ("course", "verdict"),
    [([1.41, 0.00678], "reproduced"), (RISES, "not measurable here")],
)
def test_scenario_a_may_be_saturated_but_not_collapsed(course, verdict, evidence):
    """A whole training ends at a loss of 0.00678."""
    made = evidence(
        scenario_a=(course, {"I-AUROC": 50.0}),
        learned_noise_v2_published=(LEARNS, {"I-AUROC": 70.0}),
        learned_noise_v2=(LEARNS, {"I-AUROC": 70.0}),
    )
    row = judged("v2-detection", made)
    assert row["verdict"] == verdict
    assert ("Scenario A has collapsed" in row["why"]) == (course is RISES)


def test_the_margin_narrows_with_seeds():
    assert claims.margin("I-AUROC", 1, 1) == pytest.approx(2 * 1.93 * 2**0.5)
    assert claims.margin("I-AUROC", 4, 4) == pytest.approx(claims.margin("I-AUROC", 1, 1) / 2)


def test_the_margin_has_a_floor():
    """The published deviation of P-AUROC on screw is 0.07 points."""
    assert claims.margin("P-AUROC", 1, 1) == pytest.approx(2 * 1.0 * 2**0.5)
    assert claims.margin("P-AUROC", 2, 2) == pytest.approx(2.0)
    assert claims.margin("AP-loc", 1, 1) == pytest.approx(2 * 1.24 * 2**0.5)
    assert claims.margin("I-AUROC", 1, 1, strips=True) == pytest.approx(2 * 1.0 * 2**0.5)


def test_small_differences_of_p_auroc_lead_nothing(record):
    flat = dict.fromkeys(tables.BETAS, 80.0) | {0.1: 82.0}
    names = ("learned_noise_v2", "learned_noise_v2_published")
    made = [run for name in names for run in sweep(record, flat, name, metric="P-AUROC")]
    assert judged("beta-localisation", Evidence(made))["verdict"] == "not reproduced"


def sweep(record, values, name="learned_noise_v2", epochs=WHOLE, metric="I-AUROC"):
    outcomes = []
    for beta, value in values.items():
        made = record(name, "screw", epochs=epochs, **{metric: value})
        made = replace(made, config=override(made.config, [f"{tables.BETA}={beta}"]))
        outcomes.append(Outcome.of(replace(made, run_id=made.config.run_id)))
    return outcomes


@pytest.mark.parametrize(
    ("stated", "published", "verdict"),
    [
        (80.0, 70.0, "reproduced"),
        (70.0, 80.0, "explained otherwise"),
        (74.0, 70.0, "not reproduced"),
        (10.0, 70.0, "not reproduced"),
    ],
)
def test_the_best_beta_leads_by_the_margin(stated, published, verdict, record):
    flat = dict.fromkeys(tables.BETAS, 70.0)
    made = Evidence(
        [
            *sweep(record, flat | {0.05: stated}),
            *sweep(record, flat | {0.05: published}, "learned_noise_v2_published"),
        ]
    )
    assert judged("beta-detection", made)["verdict"] == verdict


@pytest.mark.parametrize(
    ("found", "verdict"), [(80.0, "reproduced"), (70.0, "not measurable here")]
)
def test_a_short_sweep_can_confirm_but_not_refute(found, verdict, record):
    swept = sweep(record, dict.fromkeys(tables.BETAS, 70.0) | {0.05: found}, epochs=10)
    assert judged("beta-detection", Evidence(swept))["verdict"] == verdict


def test_a_sweep_with_a_gap_is_shown_but_not_judged(record):
    """The published log tells how much the run behind the slides' figure moved: 21 to 72."""
    row = judged("beta-detection", Evidence(sweep(record, dict.fromkeys(tables.BETAS[:-1], 70.0))))
    assert row["verdict"] == "not measurable here"
    assert "β 0.1: 70.0" in row["measured here"]
    assert "moves from 21 to 72" in row["why"]


@pytest.mark.parametrize("identity", sorted(RULES))
def test_nothing_is_judged_without_evidence(identity):
    row = judged(identity, Evidence([]))
    assert (row["verdict"], row["measured here"]) == ("not measurable here", tables.EMPTY)
    assert row["why"]


def test_other_images_in_mvtecs_layout_are_no_evidence(evidence):
    def of_24(made):
        return replace(made, counts={"train": 24})

    row = judged("v1-collapses", evidence(of_24, learned_noise_v1=RISES))
    assert row["verdict"] == "not measurable here"
    assert "on real images" in row["why"]


def test_demo_images_are_no_evidence(evidence):
    self_made = evidence(
        change=lambda made: replace(
            made,
            config=replace(made.config, data=replace(made.config.data, dataset="demo")),
        ),
        scenario_a=LEARNS,
        learned_noise_v1=DIVERGES,
        learned_noise_v1_published=DIVERGES,
        learned_noise_v2=LEARNS,
        learned_noise_v2_published=LEARNS,
    )
    for claim in RULES:
        assert judged(claim, self_made)["verdict"] == "not measurable here"


T4 = {"device": "cuda", "gpu": "T4"}


def comparison(latency, extra=0):
    spread = Spread(1.0, 1.0, 1.0)
    costs = [
        Efficiency(name, "plain", 6, 100 + more, 1.0, spread, spread, spread, None, None, T4)
        for name, more in (("scenario_a", 0), ("learned_noise_v2", extra))
    ]
    return Comparison(*costs, latency, [0.1, -0.1], [])


@pytest.mark.parametrize(
    ("made", "verdict"),
    [
        (comparison([0.1, -0.2, 0.1, -0.1, 0.2, -0.1]), "reproduced"),
        (comparison([0.1] * 7), "not reproduced"),  # seven of seven: p = 0.016
        (comparison([0.1] * 6), "reproduced"),  # six of six: p = 0.03, above half of 0.05
        (replace(comparison([0.1] * 6), throughput_img_s=[]), "not reproduced"),  # tested alone
        (comparison([0.1, -0.1], extra=1), "not reproduced"),
    ],
)
def test_inference_is_free_where_nothing_differs_beyond_chance(made, verdict):
    assert judged("inference-free", Evidence([], comparison=made))["verdict"] == verdict


def test_ids_are_unique():
    every = (*claims.BACKBONE_SWAP, *claims.LEARNED_NOISE, *claims.WEAK, *claims.MIXED)
    assert len({claim.id for claim in every}) == len(every)


# --- too short trainings -------------------------------------------------------------------------


def refute(evidence):
    evidence.values("scenario_a", "I-AUROC")
    return Finding("figures", "not reproduced", "so it is")


@pytest.mark.parametrize(
    ("losses", "epochs", "notebook", "verdict"),
    [
        (LEARNS, 10, "02", "not measurable here"),
        (LEARNS, WHOLE, "02", "not reproduced"),
        (DIVERGES, WHOLE, "02", "not reproduced"),  # however few its epochs
        (LEARNS, 10, None, "not reproduced"),
    ],
)
def test_judge_lets_no_short_training_refute(losses, epochs, notebook, verdict, evidence):
    claim = Claim("id", "text", "published", refute, notebook)
    row = claims.judge([claim], evidence(epochs=epochs, scenario_a=losses)).iloc[0]
    assert (row["verdict"], row["measured here"]) == (verdict, "figures")
    short = "after 10 epochs in batches of 32, published 300 in batches of 32"
    assert (short in row["why"]) == (verdict == "not measurable here")
    assert ("--only 02 --data-root …` decides it" in row["why"]) == (
        verdict == "not measurable here"
    )


def test_every_claim_names_its_notebook():
    lists = ("BACKBONE_SWAP", "LEARNED_NOISE", "WEAK", "MIXED")
    for number, name in enumerate(lists, 1):
        assert {claim.notebook for claim in getattr(claims, name)} <= {f"{number:02}", None}
    free = [c.id for name in lists for c in getattr(claims, name) if c.notebook is None]
    costs = ["b-memory", "a-memory", "throughput", "real-time", "inference-free"]
    assert free == ["screw-blind", *costs, "comparison-rows"]


@pytest.mark.parametrize(
    ("epochs", "verdict"), [(10, "not measurable here"), (WHOLE, "not reproduced")]
)
def test_short_trainings_refute_no_claim_on_noise(epochs, verdict, evidence):
    made = evidence(
        epochs=epochs,
        scenario_a=LEARNS,
        learned_noise_v1=LEARNS,
        learned_noise_v1_published=LEARNS,
        learned_noise_v2=LEARNS,
        learned_noise_v2_published=LEARNS,
    )
    for identity in ("v1-collapses", "v2-detection", "v2-localisation"):
        row = judged(identity, made)
        assert row["verdict"] == verdict
        assert ("--only 02 --data-root …` decides it" in row["why"]) == (epochs < WHOLE)


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


# --- the backbone swap ---------------------------------------------------------------------------


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
        ([cost("scenario_a", latency=8)], "real-time", "reproduced"),
        ([cost("scenario_a", latency=12)], "real-time", "not reproduced"),
        ([cost("baseline")], "throughput", "not measurable here"),
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
        course = pd.DataFrame({"noise_rms": [0.1], "feature_std": [1.0]})
        noisy = [*made, Outcome.of(record("scenario_a", "bottle"))]
        return Evidence(made, [(outcome, course) for outcome in noisy])

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
    assert f"{best:.1f} (simplenet)" in row["measured here"]
    assert ("82.4 in the slides' own table" in row["why"]) == (best < 90)
    assert judged("screw-blind", Evidence(made[1:]))["verdict"] == "not measurable here"


def test_the_ledger_counts_its_verdicts():
    one = claims.judge(claims.BACKBONE_SWAP, Evidence([]))
    table = claims.ledger(one)
    count = len(claims.BACKBONE_SWAP)
    assert table.notes[0] == (f"{count} claims: {count} not measurable here.")
