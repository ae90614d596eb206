from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ssn_lib import SuperSimpleNet, cli, preset
from ssn_lib.errors import InputError
from ssn_lib.study.costs import bench, peers
from ssn_lib.study.costs import inference as inference_costs
from ssn_lib.study.costs.records import ENGINES, PEERS, Spread, Timing, read_bench
from ssn_lib.study.tables.costs import bench_timings


@pytest.fixture
def small(small_networks, monkeypatch):
    """Everything at a size that takes seconds."""
    monkeypatch.setattr(inference_costs, "PUBLISHED_SIZE", (32, 32))
    monkeypatch.setattr(inference_costs, "THROUGHPUT_BATCH", 2)
    monkeypatch.setattr(inference_costs, "_cpu_memory_mb", lambda *_: 7.0)
    monkeypatch.setattr(bench, "BENCH_PRESETS", ("scenario_a",))
    monkeypatch.setattr(bench, "EXPORTED", ("scenario_a",))
    monkeypatch.setattr(bench, "SIZES", ((32, 32), (32, 48)))
    monkeypatch.setattr(bench, "BATCHES", (1, 2))
    monkeypatch.setattr(bench, "TRAINED_ON", 2)
    monkeypatch.setattr(bench, "_apart", lambda work, *arguments: work(*arguments))
    spread = Spread.of([2.0])
    monkeypatch.setattr(
        bench, "metrics_timings", lambda: ([Timing("metrics", "here", 1, spread, spread, 1)], [])
    )


@pytest.mark.parametrize("fast", [True, False])
def test_everything_is_measured_kept_and_shown(fast, small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench.machine, "gains_from_low_precision", lambda _: fast)

    def absent(name):
        raise InputError(f"{name} not measured: no anomalib")

    monkeypatch.setattr(inference_costs, "Peer", absent)
    assert cli.main(["bench", "--runs-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    made = read_bench(tmp_path)
    assert [cost.name for cost in made.costs] == [
        "scenario_a-plain",
        "scenario_a-folded",
        *(f"scenario_a-{form}" for form in ENGINES),
        *(["scenario_a-folded16"] if fast else []),
    ]
    assert len(made.missing) == len(PEERS)
    assert "anomalib_padim not measured: no anomalib" in printed
    assert made.costs[2].parameters == made.costs[1].parameters
    kept = {path.name.rpartition("-")[0] for path in (tmp_path / "efficiency").iterdir()}
    assert kept == {cost.name for cost in made.costs}
    works = list(dict.fromkeys(timing.work for timing in made.timings))
    assert works == [
        "inference, Scenario A, batch 1, 32×32",
        "inference, Scenario A, batch 1, 32×48",
        "inference, Scenario A, batch 2, 32×32",
        "training step, Scenario A, batch 32",
        "2 images, Scenario A, OpenVINO bf16",
        "metrics",
    ]
    for work in works:
        first, *others = (timing.speedup.median for timing in made.timings if timing.work == work)
        assert first == (2 if work == "metrics" else 1)
        assert all(other > 0 for other in others)
    assert ("here, mixed precision" in {timing.how for timing in made.timings}) is fast
    assert bench_timings(made).to_markdown() in printed
    assert read_bench(tmp_path / "nowhere") is None


def test_what_fails_in_a_process_of_its_own_is_listed_and_the_rest_kept(
    small, tmp_path, monkeypatch
):
    def fails(*_):
        raise InputError("memory not measured: killed")

    monkeypatch.setattr(inference_costs, "_cpu_memory_mb", fails)
    monkeypatch.setattr(inference_costs, "PEAK_RESET", os.devnull)  # as where it is writable
    monkeypatch.setattr(bench, "metrics_timings", lambda: ([], ["metrics not measured: killed"]))
    monkeypatch.setattr(bench, "PEERS", {})
    bench.measure(tmp_path, repetitions=5)
    made = read_bench(tmp_path)
    assert [cost.memory_mb for cost in made.costs] == [None] * len(made.costs)
    assert made.missing[:-1] == ["memory not measured: killed"] * len(made.costs)
    assert made.missing[-1] == "metrics not measured: killed"


@pytest.mark.parametrize("failing", [(), bench.METRICS[:1], bench.METRICS[1:], bench.METRICS])
def test_metrics_are_held_against_the_last_that_was_measured(failing, monkeypatch):
    def measured(what, command):
        if command[1] in failing:
            raise InputError(f"{what} not measured: killed")
        return {"ours": [2.0, 0.5], "scikit-learn": [6.0]}[command[1]]

    monkeypatch.setattr(inference_costs, "in_fresh_process", measured)
    timings, missing = bench.metrics_timings()
    rows = [(t.seconds.median, t.speedup.median, t.memory_gb) for t in timings]
    alone = {"ours": (2, 1, 0.5), "scikit-learn": (6, 1, None)}
    expected = [alone[how] for how in bench.METRICS if how not in failing]
    assert rows == (expected if failing else [(2, 3, 0.5), (6, 1, None)])
    assert missing == [
        f"pixel metrics, 1004×640×232, {how}, not measured: killed" for how in failing
    ]


def test_a_preset_whose_process_dies_is_listed_and_the_rest_kept(small, tmp_path, monkeypatch):
    def dies(*_):
        raise InputError("its process was killed")

    monkeypatch.setattr(bench, "_apart", dies)
    made = bench.measure(tmp_path, repetitions=3)
    assert [cost.form for cost in made.costs if cost.preset == "scenario_a"] == ["plain", "folded"]
    assert "exports of scenario_a not measured: its process was killed" in made.missing


def test_on_a_gpu_exported_files_are_not_measured_and_it_says_so(small, tmp_path, monkeypatch):
    on_gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(bench.machine, "device", lambda: on_gpu)
    monkeypatch.setattr(bench.machine, "describe", lambda _: {})
    for name in ("training_timings", "inference_timings"):
        monkeypatch.setattr(bench, name, lambda _: [])
    monkeypatch.setattr(inference_costs, "measure_all", lambda kinds, *_, **__: [])
    monkeypatch.setattr(bench, "PEERS", {})
    (reason,) = bench.measure(tmp_path).missing
    assert "ONNX Runtime and OpenVINO not measured" in reason


def test_a_process_of_its_own_that_dies_says_so():
    with pytest.raises(InputError, match="its process was killed"):
        bench._apart(os.abort)
    assert bench._apart(os.getpid) != os.getpid()


def test_who_interrupts_need_not_wait_for_the_process_apart(tmp_path):
    """A scheduler's request to end reaches the first process alone."""
    code = (
        "import os, signal, threading, time\n"
        "from ssn_lib.study.costs.bench import _apart\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
        "    end = lambda: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    threading.Timer(1.0, end).start()\n"
        "    _apart(time.sleep, 900)\n"
    )
    (tmp_path / "script.py").write_text(code)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, timeout=99)
    assert b"KeyboardInterrupt" in done.stderr


def test_a_peer_that_is_not_installed_says_so(monkeypatch):
    monkeypatch.setitem(peers._BUILDERS, "anomalib_padim", lambda: __import__("not_there"))
    with pytest.raises(InputError, match="PaDiM .* not measured: No module named 'not_there'"):
        peers.Peer("anomalib_padim")


def test_the_published_step_learns_as_published():
    torch.manual_seed(0)
    model = SuperSimpleNet(preset("scenario_a").model, weights=None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    weights = [w for part in model.trained_parts() for w in part.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=1e-3)
    losses = [
        bench.published_step(model, torch.randn(4, 3, 32, 32), optimiser).item() for _ in range(3)
    ]
    assert np.isfinite(losses).all()
    moved = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert moved
    assert not any(name.startswith("backbone.") for name in moved)


def test_metrics_are_measured_in_a_process_of_their_own(monkeypatch, capsys):
    monkeypatch.setattr(bench, "KSDD2_TEST", (4, 700, 232))
    for how in bench.METRICS:
        bench._metrics_child(how)
        seconds, gigabytes = map(float, capsys.readouterr().out.split())
        assert seconds > 0
        assert 0 <= gigabytes < 10


def test_without_linux_the_metrics_seconds_are_measured_alone(monkeypatch, capsys):
    monkeypatch.setattr(bench, "KSDD2_TEST", (4, 700, 232))
    monkeypatch.setattr(inference_costs, "PEAK_RESET", "/nowhere/clear_refs")
    bench._metrics_child("ours")
    (seconds,) = map(float, capsys.readouterr().out.split())
    assert seconds > 0
