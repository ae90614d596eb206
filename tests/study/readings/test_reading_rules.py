"""Each sentence can come out the other way: made-up records decide."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study.claims.evidence import Evidence, MissingError
from ssn_lib.study.costs.records import Efficiency, Spread
from ssn_lib.study.peers.records import PeerConfig, PeerRecord
from ssn_lib.study.readings import evolved, noise, supervision, swap
from ssn_lib.study.systems import BETA, MASKS

STRIPS = "kolektor_sdd1_in_ksdd2_layout"


@pytest.fixture
def told(record):
    """told(rule, {(preset, category): metrics, …}): the rule's sentence of such records."""

    def tell(rule, made, category="screw", epochs=300, **files):
        outcomes = []
        for (name, where, *changes), metrics in made.items():
            one = record(name, where, epochs=epochs, changes=tuple(changes), **metrics)
            outcomes.append(Outcome.of(one))
        given = {kind: [(o, table) for o in outcomes] for kind, table in files.items()}
        return rule(Evidence(outcomes, category=category, **given)).text

    return tell


def auroc(value, peak=50.0):
    return {"I-AUROC": value, "seg-I-AUROC": peak}


def test_bottle_is_kept_or_not(told):
    a = ("scenario_a", "bottle")
    assert "level with the published 100.0" in told(swap._kept, {a: auroc(99.5)})
    assert "below the published" in told(swap._kept, {a: auroc(92.0)})
    with pytest.raises(MissingError, match="no run of scenario_a"):
        told(swap._kept, {})


@pytest.mark.parametrize(
    ("score", "peak", "said"),
    [
        (53.0, 80.0, "no better than chance; .*: the score fails, not the backbone"),
        (53.0, 52.0, "no better than chance; .*: neither sees the defects"),
        (80.0, 95.0, "0, better than chance; .*: the map tells more"),
        (90.0, 80.0, "0, better than chance; .*: the map tells no more"),
    ],
)
def test_the_score_is_blind_or_the_backbone_is(score, peak, said, told):
    assert re.search(said, told(swap._blind, {("scenario_a", "screw"): auroc(score, peak)}))


@pytest.mark.parametrize(
    ("relative", "of_a", "said"),
    [
        (98.0, 97.0, "its adaptor does no harm"),
        (88.0, 97.0, "something else is missing too"),
        (76.0, 97.0, "does not explain B"),
    ],
)
def test_noise_explains_scenario_b_or_not(relative, of_a, said, told):
    made = {
        ("scenario_b", "bottle"): auroc(75.0),
        ("scenario_b_relative", "bottle"): auroc(relative),
        ("scenario_a_relative", "bottle"): auroc(of_a),
    }
    assert said in told(swap._same_noise, made)


def test_the_baseline_is_told_where_it_was_trained(told):
    made = {("scenario_a", "screw"): auroc(50.0), ("baseline", "screw"): auroc(92.0)}
    assert "screw 50.0, far below 92.0" in told(swap._baseline, made)
    with pytest.raises(MissingError, match="WideResNet50-2"):
        told(swap._baseline, {("scenario_a", "screw"): auroc(50.0)})


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(3.0, "3.0 times faster than"), (0.5, "2.0 times slower than"), (1.0, "as fast as")],
)
def test_speeds_are_called_by_their_ratio(ratio, said):
    def cost(latency, form, speedup):
        spread = [Spread(value, value, value) for value in (latency, 1.0, speedup)]
        return Efficiency("scenario_a", form, 6, 1, 1.0, *spread, None, None, {"device": "cpu"})

    plain, folded = cost(10.0, "plain", 1.0), cost(99.0, "folded", ratio)  # of another process
    evidence = Evidence([], costs=[plain, folded])
    assert swap.speed(folded, plain, evidence) == said


def v2(published, stated, a=50.0):
    return {
        ("learned_noise_v2_published", "screw"): auroc(published),
        ("learned_noise_v2", "screw"): auroc(stated),
        ("scenario_a", "screw"): auroc(a),
    }


def test_both_forms_of_v2_are_told(told):
    said = told(noise._last_epoch("I-AUROC"), v2(49.0, 70.0))
    assert "v2 as published, with 49.0, is level with it" in said
    assert "v2 as stated, with 70.0, is far above it" in said


@pytest.mark.parametrize(
    ("late", "said"), [(50.0, "is a draw"), (70.0, "the last epoch says the same")]
)
def test_a_lead_of_the_last_epoch_alone_is_called_a_draw(late, said, told, record):
    outcomes, courses = [], []
    for name, end, before in (("scenario_a", 50.0, 50.0), ("learned_noise_v2", 70.0, late)):
        outcomes.append(Outcome.of(record(name, "screw", epochs=300, **auroc(end))))
        rows = [{"epoch": epoch, "I-AUROC": before} for epoch in range(0, 301, 20)]
        courses.append((outcomes[-1], pd.DataFrame(rows)))
    assert said in noise._over_the_end(Evidence(outcomes, courses=courses)).text
    with pytest.raises(MissingError, match="courses"):
        noise._over_the_end(Evidence(outcomes))


def test_learned_noise_that_leads_in_the_last_epoch_alone_is_not_better(record):
    outcomes, courses = [], []
    for category in ("screw", "bottle"):
        for name in ("scenario_a_relative", "learned_noise_v2", "learned_noise_v2_published"):
            end = 70.0 if (name, category) == ("learned_noise_v2", "screw") else 50.0
            outcomes.append(Outcome.of(record(name, category, epochs=300, **auroc(end))))
            rows = [{"epoch": epoch, "I-AUROC": 50.0} for epoch in range(0, 301, 20)]
            courses.append((outcomes[-1], pd.DataFrame(rows)))
    said = noise._simplest(Evidence(outcomes, courses=courses)).text
    assert "on screw learned noise is ahead in the last epoch alone" in said


def test_larger_noise_beats_learned_noise_or_not(told):
    def made(simple, learned):
        return {
            (name, category): auroc(value)
            for category in ("screw", "bottle")
            for name, value in (
                ("scenario_a_relative", simple),
                ("learned_noise_v2", learned),
                ("learned_noise_v2_published", 40.0),
            )
        }

    assert "no better than larger noise on any" in told(noise._simplest, made(80.0, 81.0))
    assert "better on 2 of 2" in told(noise._simplest, made(60.0, 80.0))


@pytest.mark.parametrize(
    ("values", "said"),
    [((40.0, 50.0, 60.0), "it goes one way"), ((50.0, 40.0, 60.0), "it does not go one way")],
)
def test_an_order_in_beta_is_found_or_not(values, said, told):
    betas = ((f"{BETA}=0.05",), (), (f"{BETA}=0.5",))
    made = {
        ("learned_noise_v2", "screw", *changes): auroc(value)
        for changes, value in zip(betas, values, strict=True)
    }
    sentence = told(noise._beta, made)
    assert said in sentence
    assert "β = 0.5" in sentence


def located(value, **more):
    return {"AP-loc": value, "sigmoid-AP-loc": value} | more


def of_strips(**presets):
    return {(name, STRIPS): metrics for name, metrics in presets.items()}


@pytest.mark.parametrize(
    ("traced", "tenth", "said"),
    [(41.0, 28.0, "needs no mask to be cured"), (20.0, 40.0, "gain what the images alone do not")],
)
def test_a_tenth_of_the_masks_gains_or_not(traced, tenth, said, told):
    made = of_strips(cam_traced=located(traced), mixed_ssn=located(tenth))
    assert said in told(supervision._tenth_or_none, made, STRIPS)


def test_masks_are_told_by_their_number_and_their_course(told):
    def made(*values):
        names = (("gap_cam",), ("mixed_ssn",), ("mixed_ssn", f"{MASKS}=99"), ("full_ssn",))
        pairs = zip(names, values, strict=True)
        return {(name, STRIPS, *c): located(v, **{"AP-det": v}) for (name, *c), v in pairs}

    said = told(supervision._curve, made(10.0, 20.0, 30.0, 40.0), STRIPS)
    assert "10.0 with 0, 20.0 with 25, 30.0 with 99, 40.0 with all 246" in said
    assert "with every step" in said
    assert "not with every step" in told(supervision._curve, made(10.0, 30.0, 20.0, 40.0), STRIPS)
    assert "does not rise" in told(supervision._curve, made(10.0, 30.0, 20.0, 11.0), STRIPS)
    assert "without following" in told(supervision._detection, made(10.0, 30.0, 20.0, 40.0), STRIPS)
    level = made(90.0, 91.0, 90.0, 90.5)
    assert "no more than seeds" in told(supervision._detection, level, STRIPS)
    with pytest.raises(MissingError, match="several numbers of masks"):
        told(supervision._curve, of_strips(gap_cam=located(1.0)), STRIPS)


def test_the_best_map_is_chosen_among_heads_without_masks(told):
    made = of_strips(gap_cam=located(17.0), cam_traced=located(41.0), weak_ssn=located(2.0))
    said = told(supervision._better_map, made, STRIPS)
    assert "`cam_traced`, has an AP-loc of 41.0: far above" in said
    made = of_strips(gap_cam=located(17.0), weak_ssn=located(2.0))
    assert "`weak_ssn`, has an AP-loc of 2.0: far below" in told(
        supervision._better_map, made, STRIPS
    )


def test_the_sigmoid_of_the_same_maps_is_told_without_a_margin_of_seeds(told):
    tied = of_strips(gap_cam={"AP-loc": 7.3, "sigmoid-AP-loc": 4.8, "saturated": 0.324})
    said = told(supervision._ties, tied, STRIPS)
    assert "makes 0.32 % of its map's pixels exactly 1" in said
    assert "AP-loc of 4.8 behind it, 7.3 without" in said


def test_whose_strips_is_said_only_where_they_are_others():
    assert supervision.whose_images("ksdd2") == []
    assert "KolektorSDD, not of KSDD2" in supervision.whose_images(STRIPS)[0]


def test_evolved_is_told_at_both_sizes(record):
    def of(size, value):
        made = record("evolved", "screw", epochs=30, batch=8, **auroc(value))
        data = replace(made.config.data, image_size=size, resize=preset("evolved").resize)
        config = replace(made.config, data=data)
        return replace(made, config=config, run_id=config.run_id)

    records = [of((448, 448), 97.0), of((256, 256), 80.0)]
    a = Outcome.of(record("scenario_a", "screw", epochs=300, **auroc(53.0)))
    rule = evolved.rules(records, [])[4]
    said = rule(Evidence([a, *map(Outcome.of, records)])).text
    assert "it has 80.0 on screw, far above Scenario A with 53.0" in said
    assert "At its own size it has 97.0, far above the 80.0 at 256×256" in said
    with pytest.raises(MissingError, match="published size"):
        evolved.rules(records[:1], [])[4](Evidence([a]))


def test_evolved_is_told_beside_a_measured_peer_of_its_size(record):
    def peer(category, size, **metrics):
        config = PeerConfig("patchcore_random", "mvtec_ad", category, size, "files")
        one = Spread(1.0, 1.0, 1.0)
        return PeerRecord(config, "", metrics, {}, {}, 9, 1.0, one, one, 1.0, {}, {}, "")

    def of(category, **metrics):
        made = record("evolved", category, epochs=30, batch=8, **metrics)
        config = replace(made.config, data=replace(made.config.data, image_size=(448, 448)))
        return Outcome.of(replace(made, config=config, run_id=config.run_id))

    own = {"I-AUROC": 97.0, "AUPRO": 90.0, "AP-loc": 50.0}
    evidence = Evidence([of("screw", **own), of("bottle", **own)])
    theirs = {"I-AUROC": 60.0, "AUPRO": 90.0, "AP-loc": 80.0}
    peers = [peer(name, (448, 448), **theirs) for name in ("screw", "bottle")]
    said = evolved.rules([], peers)[3](evidence).text
    assert "on screw, I-AUROC 97.0, far above 60.0; AUPRO 90.0, level with 90.0" in said
    assert "on bottle, I-AUROC 97.0, far above 60.0" in said
    assert "AP-loc 50.0, far below 80.0" in said
    with pytest.raises(MissingError, match="PatchCore on bottle at the size of `evolved`"):
        evolved.rules([], [peers[0], peer("bottle", (256, 256), **theirs)])[3](evidence)
