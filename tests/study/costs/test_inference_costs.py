from __future__ import annotations

import os
from dataclasses import replace
from functools import cache

import pytest
import torch

from ssn_lib import fuse
from ssn_lib.errors import InputError
from ssn_lib.presets import PRESETS
from ssn_lib.study.costs import inference as inference_costs
from ssn_lib.study.costs import records
from ssn_lib.study.costs.records import (
    Spread,
    both_forms,
    half_forms,
    keep_best,
    kept_comparison,
    kept_costs,
)


@pytest.fixture(scope="module")
def build():
    """`efficiency.build`, once for each kind."""
    return cache(inference_costs.build)


@pytest.fixture
def small(build, monkeypatch):
    monkeypatch.setattr(inference_costs, "PUBLISHED_SIZE", (32, 32))
    monkeypatch.setattr(inference_costs, "THROUGHPUT_BATCH", 2)
    monkeypatch.setattr(inference_costs, "_cpu_memory_mb", lambda *_: 7.0)
    monkeypatch.setattr(inference_costs, "build", build)


def test_spread_is_median_and_quartiles():
    assert Spread.of([4.0, 1.0, 2.0, 3.0, 5.0]) == Spread(3.0, 2.0, 4.0)


def test_works_take_turns_and_the_warm_up_is_not_counted():
    calls = []
    seconds = inference_costs.in_turns([lambda: calls.append("a"), lambda: calls.append("b")], 2)
    assert calls == ["a", "b", "b", "a", "a", "b"]  # nothing always follows the same
    assert [len(taken) for taken in seconds] == [2, 2]


def test_measured_once_and_kept(small, tmp_path, monkeypatch):
    first = inference_costs.measure_all(
        both_forms(["scenario_a", "scenario_b"]), tmp_path, repetitions=1
    )
    kinds = [(cost.preset, cost.form) for cost in first]
    assert kinds == [
        (name, f) for name in ("scenario_a", "scenario_b") for f in ("plain", "folded")
    ]
    plain, folded = first[::2], first[1::2]
    assert [cost.parameters for cost in plain] == [4_560_579, 5_740_995]
    assert plain[0].gflop < plain[1].gflop
    assert all(fast.gflop < 0.6 * slow.gflop for slow, fast in zip(plain, folded, strict=True))
    assert all(cost.speedup == Spread(1.0, 1.0, 1.0) for cost in plain)
    monkeypatch.setattr(inference_costs, "measure", lambda *_: pytest.fail("measured again"))
    assert (
        inference_costs.measure_all(
            both_forms(["scenario_a", "scenario_b"]), tmp_path, repetitions=1
        )
        == first
    )


def test_a_preset_of_its_own_size_is_measured_at_it(small, tmp_path, monkeypatch):
    own = replace(PRESETS["evolved"], image_size=(64, 64))
    monkeypatch.setitem(PRESETS, "evolved", own)
    at_64 = inference_costs.measure_all([("evolved", "folded"), ("evolved", "plain")], tmp_path)
    assert {cost.image_size for cost in at_64} == {(64, 64)}
    monkeypatch.setitem(PRESETS, "evolved", replace(own, image_size=None))
    at_32 = inference_costs.measure_all([("evolved", "folded"), ("evolved", "plain")], tmp_path)
    assert {cost.image_size for cost in at_32} == {(32, 32)}
    assert at_32[0].gflop < at_64[0].gflop / 3


def test_the_most_repeated_measurement_is_committed(small, tmp_path):
    for repetitions in (2, 1):
        inference_costs.measure_all(
            both_forms(["scenario_a"]), tmp_path / "runs", repetitions=repetitions
        )
    keep_best(tmp_path / "runs", tmp_path / "results")
    kept = kept_costs(both_forms(["baseline", "scenario_a"]), tmp_path / "results")
    assert [(cost.preset, cost.repetitions) for cost in kept] == [("scenario_a", 2)] * 2
    inference_costs.measure_all(both_forms(["scenario_a"]), tmp_path / "fewer", repetitions=1)
    keep_best(tmp_path / "fewer", tmp_path / "results")
    assert kept_costs(both_forms(["baseline", "scenario_a"]), tmp_path / "results") == kept


def test_costs_of_two_devices_do_not_lie_together(small, tmp_path, monkeypatch):
    def measured(folder, *presets):
        return inference_costs.measure_all(both_forms(presets), tmp_path / folder, repetitions=1)

    def committed():
        keep_best(tmp_path / folder, tmp_path / "results")
        kept = kept_costs(both_forms(["scenario_a", "scenario_b"]), tmp_path / "results")
        return {cost.device for cost in kept}

    (folder, first) = "here", measured("here", "scenario_a", "scenario_b")[0].device
    assert committed() == {first}
    monkeypatch.setattr(records, "device_name", lambda told: told.get("as", first))
    describe = inference_costs.machine.describe
    monkeypatch.setattr(inference_costs.machine, "describe", lambda on: describe(on) | {"as": "T4"})
    measured("part", "scenario_a")
    folder = "part"
    with pytest.warns(UserWarning, match=r"left out: with .* it would be of .* and .*make bench"):
        assert committed() == {first}
    measured("whole", "scenario_a", "scenario_b")
    folder = "whole"
    assert committed() == {"T4"}


def test_a_gpus_costs_lie_beside_a_processors_and_are_taken_first(small, tmp_path, monkeypatch):
    kinds = both_forms(["scenario_a", "scenario_b"])
    inference_costs.measure_all(kinds, tmp_path / "here", repetitions=1)
    keep_best(tmp_path / "here", tmp_path / "results")
    describe = inference_costs.machine.describe
    gpu = {"device": "cuda", "gpu": "T4"}
    monkeypatch.setattr(inference_costs.machine, "describe", lambda on: describe(on) | gpu)
    inference_costs.measure_all(kinds[:2], tmp_path / "gpu", repetitions=1)
    keep_best(tmp_path / "gpu", tmp_path / "results")

    def devices(asked):
        return {cost.device_type for cost in kept_costs(asked, tmp_path / "results")}

    assert devices(kinds[:2]) == {"cuda"}
    assert devices(kinds) == {"cpu"}  # where the GPU's are fewer: never both in one table
    assert len(kept_costs(kinds, tmp_path / "results")) == 4
    inference_costs.measure_all(kinds[2:], tmp_path / "gpu", repetitions=1)
    keep_best(tmp_path / "gpu", tmp_path / "results")
    assert devices(kinds) == {"cuda"}
    of_cpu = kept_costs(kinds, tmp_path / "results", "cpu")
    assert [cost.device_type for cost in of_cpu] == ["cpu"] * 4


def test_a_form_in_float16_gives_float32_near_the_others(make_model):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for network in (make_model(), fuse(make_model())):
        expected = network(images)
        for got, exact in zip(inference_costs.InHalf(network)(images), expected, strict=True):
            assert got.dtype == torch.float32
            torch.testing.assert_close(got, exact, rtol=0.02, atol=0.02)
    assert half_forms(["a"]) == [("a", "plain16"), ("a", "folded16")]


def test_a_measurement_with_memory_is_not_given_up_for_one_without(small, tmp_path, monkeypatch):
    inference_costs.measure_all(both_forms(["scenario_a"]), tmp_path / "with", repetitions=5)
    keep_best(tmp_path / "with", tmp_path / "results")
    monkeypatch.setattr(inference_costs, "PEAK_RESET", "/nowhere")
    inference_costs.measure_all(both_forms(["scenario_a"]), tmp_path / "without", repetitions=6)
    keep_best(tmp_path / "without", tmp_path / "results")
    assert all(c.memory_mb for c in kept_costs(both_forms(["scenario_a"]), tmp_path / "results"))


def test_a_comparison_pairs_the_repetitions_and_is_kept(small, tmp_path, monkeypatch):
    made = inference_costs.compare("scenario_a", "scenario_b", tmp_path, repetitions=5)
    assert (made.first.preset, made.second.preset) == ("scenario_a", "scenario_b")
    assert made.second.parameters - made.first.parameters == 5_740_995 - 4_560_579
    assert len(made.latency_ms) == 5
    assert made.memory_mb == [0.0] * 2
    assert kept_comparison("scenario_a", "scenario_b", tmp_path / "results") is None
    keep_best(tmp_path, tmp_path / "results")
    assert kept_comparison("scenario_a", "scenario_b", tmp_path / "results") == made
    monkeypatch.setattr(inference_costs, "_sample", lambda *_: pytest.fail("measured again"))
    assert inference_costs.compare("scenario_a", "scenario_b", tmp_path, repetitions=5) == made


@pytest.fixture
def failing_memory(small, monkeypatch):
    """Of plain Scenario A alone the memory cannot be measured."""

    def measured(name, form):
        if (name, form) == ("scenario_a", "plain"):
            raise InputError("memory not measured: killed")
        return 7.0

    monkeypatch.setattr(inference_costs, "_cpu_memory_mb", measured)
    monkeypatch.setattr(inference_costs, "PEAK_RESET", os.devnull)  # as where it is writable


def test_memory_that_cannot_be_measured_is_none_with_the_reason(failing_memory, tmp_path):
    plain, folded = inference_costs.measure_all(both_forms(["scenario_a"]), tmp_path, repetitions=5)
    assert plain.memory_mb is None
    assert plain.memory_missing == "memory not measured: killed"
    assert folded.memory_mb == Spread.of([7.0])
    assert folded.memory_missing is None
    compared = inference_costs.compare("scenario_a", "scenario_b", tmp_path, repetitions=5)
    assert compared.memory_mb == []
    assert compared.second.memory_mb == Spread.of([7.0])


def test_few_repetitions_leave_the_memory_out(small, tmp_path):
    (cost, _) = inference_costs.measure_all(both_forms(["scenario_a"]), tmp_path, repetitions=3)
    assert (cost.memory_mb, cost.memory_missing) == (None, None)
    assert (
        inference_costs.compare("scenario_a", "scenario_b", tmp_path, repetitions=3).memory_mb == []
    )


@pytest.fixture
def module(tmp_path, monkeypatch):
    """module(code): its name, for `python -m`."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(code):
        (tmp_path / "a_child.py").write_text(code)
        return "a_child"

    return make


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import os; print(1); os.kill(os.getpid(), 9)", "its process was killed by signal 9"),
        ("import sys; sys.exit(3)", "its process ended with status 3"),
        ("open('/nowhere/at/all')", "FileNotFoundError: .* '/nowhere/at/all'"),
        ("", "its process ended with status 0"),
    ],
)
def test_a_process_that_fails_says_why_in_one_line(code, why, module):
    with pytest.raises(InputError, match=f"^it not measured: {why}$"):
        inference_costs.in_fresh_process("it", [module(code)])


def test_what_a_library_says_before_the_numbers_is_not_read(module):
    code = "import sys; print('a word'); print(*map(float, sys.argv[1:]))"
    assert inference_costs.in_fresh_process("it", [module(code), "1", "2.5"]) == [1, 2.5]


@pytest.mark.skipif(not os.access(inference_costs.PEAK_RESET, os.W_OK), reason="Linux only")
def test_memory_of_a_fresh_process_is_at_least_its_weights():
    mb = inference_costs._cpu_memory_mb("scenario_a", "folded")
    assert 4_400_000 * 4 / 1e6 < mb < 2000
