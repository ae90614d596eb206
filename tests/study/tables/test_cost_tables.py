from __future__ import annotations

import pytest

from ssn_lib.metrics import Thresholds
from ssn_lib.runs.exports import Export, PrecisionCost
from ssn_lib.study.costs.records import Bench, Efficiency, Spread
from ssn_lib.study.tables.costs import exports
from ssn_lib.study.tables.table import EMPTY


def export(preset="scenario_a_relative", precision="bf16", **changes):
    cost = PrecisionCost(
        measured_on="test images",
        images=83,
        step=2.5,
        before={"I-AUROC": 96.61, "AUPRO": 85.0, "AP-loc": None},
        changes={"I-AUROC": 0.0, "AUPRO": 0.0, "AP-loc": None} | changes,
        flipped=0.024,
        largest_score_change=0.04,
        largest_map_change=0.02,
        thresholds=Thresholds(0.1, 0.4),
        good_scores=(0.0,),
    )
    size = (256, 256)
    return Export(
        "run", preset, "mvtec_ad", "bottle", size, 10, precision, cost.facts(), "a processor"
    )


@pytest.fixture
def bench():
    def cost(form, times):
        one = Spread.of([1.0])
        environment = {"device": "cpu", "processor": "another", "threads": 2, "torch": "2"}
        return Efficiency(
            "scenario_a", form, 1, 1, 1.0, Spread.of([20.0]), one, Spread.of([times]), None, None,
            environment,
        )  # fmt: skip

    costs = [cost("plain", 1.0), cost("openvino-bf16", 8.5), cost("openvino-int8", 9.5)]
    return Bench(costs, [], [], costs[0].environment)


def test_accuracy_stands_beside_the_cost_of_the_same_network(bench):
    table = exports([export()], bench)
    (row,) = table.frame.to_dict("records")
    assert (row["I-AUROC, float32"], row["I-AUROC, change"]) == ("96.6", "+0.00")
    assert (row["AP-loc, float32"], row["AP-loc, change"]) == (EMPTY, EMPTY)
    assert row["decisions that flip, %"] == "2.4"
    assert row["× faster than plain"].startswith("8.5")  # Scenario A's, of the same network
    assert row["exported"] == "yes"


def test_what_loses_more_than_it_may_is_said_to_be_refused(bench):
    made = [export(precision="int8", AUPRO=-0.31), export(AUPRO=-0.29), export(AUPRO=0.5)]
    table = exports(made, bench)
    by_precision = table.frame.groupby("precision")["exported"].apply(list)
    assert by_precision["int8"] == ["refused: AUPRO"]
    assert by_precision["bf16"] == ["yes", "yes"]


def test_without_a_bench_times_are_empty():
    (row,) = exports([export(preset="evolved")], None).frame.to_dict("records")
    assert row["latency, ms"] == row["images/s"] == EMPTY
