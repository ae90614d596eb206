from __future__ import annotations

from dataclasses import replace

import pytest

from ssn_lib.metrics import Thresholds
from ssn_lib.runs.exports import Export, PrecisionCost
from ssn_lib.study.costs.records import PEERS, Bench, Efficiency, Spread, Timing, in_turns
from ssn_lib.study.tables.costs import bench_costs, bench_timings, exports
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


def test_costs_compare_by_what_was_measured_in_turns(bench):
    """Another process's latency, of a machine at half its speed, is no cost of a network."""
    plain, *_ = bench.costs

    def cost(name, form, ms, ratio):
        ratio = Spread(ratio, ratio / 2, 2 * ratio)
        return replace(plain, preset=name, form=form, latency_ms=Spread.of([ms]), speedup=ratio)

    folded, peer = (
        cost("scenario_a", "folded", 10.0, 2.0),
        cost(next(iter(PEERS)), "peer", 80.0, 0.5),
    )
    made = replace(bench, costs=[plain, folded, peer])
    slower = bench_costs(made).frame["× slower than A folded"]
    assert [*slower] == ["2.00", "1.00", "4.00"]  # 80 ms are 8 times 10
    assert in_turns(peer, made.costs) == Spread(40.0, 20.0, 80.0)
    assert in_turns(plain, made.costs) == plain.latency_ms
    assert in_turns(peer, [peer]) == peer.latency_ms  # nothing to set it beside


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.004468, "0.00447"), (0.15, "0.150"), (15.094, "15.1"), (174.2, "174")]
)
def test_times_show_three_digits(seconds, shown, bench):
    timing = Timing("work", "way", 3, Spread.of([seconds]), Spread.of([1.0]))
    table = bench_timings(replace(bench, timings=[timing]))
    assert table.frame["seconds"][0].startswith(shown + " [")
    assert table.title.endswith("CPU, 2 threads (another)")


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
