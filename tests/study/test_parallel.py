"""Runs one after the other or on Dask's workers: the same records, each made once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import distributed
import pandas as pd
import pytest
import torch

from ssn_lib.errors import InputError
from ssn_lib.runs import run as run_module
from ssn_lib.runs.run import configure
from ssn_lib.study import parallel
from ssn_lib.training import fit as training_loop

LONG = 16  # epochs of the runs that are killed: enough to be met in their midst


@pytest.fixture
def tasks(dataset, mvtec_root, tmp_path):
    """tasks(folder, …): runs of the tiny data set, their folder below tmp_path."""

    def make(folder, epochs=LONG, seeds=(1, 2), deadline=None):
        configs = [
            configure("scenario_a", dataset, seed=seed, epochs=epochs, batch_size=4, weights=None)
            for seed in seeds
        ]
        return [
            parallel.Task(c, "widget", mvtec_root, None, tmp_path / folder, deadline)
            for c in configs
        ]

    return make


@pytest.fixture
def one_thread():
    """As Dask's workers have: the numbers depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def two_gpus():
    """The address of the local cluster that a machine with two GPUs gets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "device_count", lambda: 2)
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        with parallel.cluster(parallel.LOCAL) as address:
            yield address


@pytest.fixture
def idle():
    """idle(threads): the address of a cluster in this process whose worker has those threads."""
    started = []

    def start(threads=1, workers=1):
        cluster = distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=threads,
            processes=False,
            dashboard_address=":0",
            memory_limit=0,
        )
        started.append(cluster)
        return cluster.scheduler_address

    yield start
    for cluster in started:
        cluster.close()


def test_every_gpu_has_a_worker_of_its_own(two_gpus):
    with distributed.Client(two_gpus, set_as_default=False) as client:
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        threads = client.nthreads()
    assert sorted(seen.values()) == ["0", "1"]
    assert set(threads.values()) == {1}


def test_hidden_gpus_stay_hidden(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert parallel._gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, MIG-7")
    assert parallel._gpus() == ["2", "MIG-7"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert parallel._gpus() == []


def test_a_run_that_breaks_is_named_and_the_others_go_on(tasks, monkeypatch, capsys):
    first, second = tasks("runs", epochs=1)

    def breaks_once(config, *rest, **options):
        if config.seed == first.config.seed:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        return run_module.run(config, *rest, **options)

    monkeypatch.setattr(parallel, "run", breaks_once)
    broken, made = parallel.make_all([first, second])
    assert (broken.record, broken.reason) == (None, "OutOfMemoryError: CUDA out of memory.")
    assert made.record.status == "completed"
    assert "in breaks_once" in capsys.readouterr().err  # for who mends it


def test_a_killed_worker_costs_an_epoch_and_no_run_is_made_twice(
    two_gpus, tasks, one_thread, capsys
):
    alone, spread = tasks("alone"), tasks("spread")
    expected = parallel.make_all(alone)
    killed, ended = {}, threading.Event()

    def kill_one():
        with distributed.Client(two_gpus, set_as_default=False) as client:
            pids = client.run(os.getpid)
            while not (killed or ended.is_set()):
                for address, keys in client.processing().items():
                    for name in (str(key).rsplit("/", 1)[1] for key in keys):
                        path = spread[0].runs_dir / name / "checkpoint.pt"
                        if not killed and path.exists():
                            os.kill(pids[address], signal.SIGKILL)
                            state = torch.load(path, weights_only=True)
                            killed[name] = [epoch["seconds"] for epoch in state["history"]]
                time.sleep(0.02)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    told = []
    made = parallel.make_all(
        spread,
        two_gpus,
        lambda task, outcome: told.append(("ended", task.config.run_id)),
        begins=lambda task: told.append(("begins", task.config.run_id)),
    )
    ended.set()
    killer.join(timeout=10)
    assert len(killed) == 1  # else no worker was met in the midst of its run: LONG is too short
    assert [outcome.reason for outcome in made] == [""] * 2
    for one, other in zip(expected, made, strict=True):
        assert (one.record.run_id, one.record.metrics) == (
            other.record.run_id,
            other.record.metrics,
        )
        histories = [
            pd.read_csv(task[0].runs_dir / one.record.run_id / "history.csv")
            for task in (alone, spread)
        ]
        losses = [history["loss"].tolist() for history in histories]
        assert losses[0] == losses[1]
        if one.record.run_id in killed:  # what the dead worker had done was not done again
            done = killed.pop(one.record.run_id)
            assert 0 < len(done) < LONG
            assert histories[1]["seconds"].tolist()[: len(done)] == pytest.approx(done)
    assert killed == {}
    # Also of a run that a second worker went on with, each is told once.
    ids = [task.config.run_id for task in spread]
    assert sorted(told) == sorted((what, name) for what in ("begins", "ended") for name in ids)
    # Finished runs are answered from their records: no scheduler need be there.
    assert parallel.make_all(spread, "tcp://127.0.0.1:1") == made


def test_a_run_that_two_ask_for_at_once_is_trained_once(tasks, monkeypatch):
    (task,) = tasks("both", epochs=2, seeds=(1,))
    trained = []

    def slowly(*args, **kwargs):
        trained.append(1)
        time.sleep(0.5)
        return fit(*args, **kwargs)

    fit = training_loop.fit
    monkeypatch.setattr(run_module, "fit", slowly)
    made = []
    threads = [threading.Thread(target=lambda: made.append(parallel.make(task))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trained) == 1
    assert made[0] == made[1]
    assert made[0].record is not None


def test_what_is_not_reached_says_so(tasks):
    (outcome,) = parallel.make_all(tasks("late", seeds=(1,), deadline=time.time()))
    assert outcome.record is None
    assert outcome.reason == "not finished within the time budget (no epoch)"


def test_a_training_stops_between_epochs_and_says_how_far_it_came(tasks, monkeypatch):
    (task,) = tasks("cut", epochs=5, seeds=(1,), deadline=1e18)
    asked = []

    def clock():
        asked.append(1)
        return 2e18 if len(asked) > 3 else 0.0  # once before the images are read, then each epoch

    monkeypatch.setattr(parallel, "time", SimpleNamespace(time=clock))
    outcome = parallel.make(task)
    assert outcome.reason == "not finished within the time budget (2 of 5 epochs done)"
    assert (task.runs_dir / task.config.run_id / "checkpoint.pt").exists()


def refusal(tasks, scheduler):
    with pytest.raises(InputError) as raised:
        parallel.make_all(tasks("refused", epochs=1), scheduler)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_without_dask_the_one_who_asks_for_it_is_told_what_to_install(tasks, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert 'pip install "dask[distributed]"' in refusal(tasks, "tcp://127.0.0.1:1")
    with pytest.raises(InputError, match="--scheduler needs Dask"), parallel.cluster("local"):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x"])
def test_a_scheduler_that_does_not_answer_is_one_line(address, tasks, monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_TIMEOUT_S", 0.5)
    assert f"no Dask scheduler answers at {address}" in refusal(tasks, address)


def test_workers_that_cannot_be_used_are_refused(tasks, idle, monkeypatch):
    assert "has 2 threads; start it with --nthreads 1" in refusal(tasks, idle(threads=2))
    assert "no workers at" in refusal(tasks, idle(workers=0))
    monkeypatch.setattr(parallel, "_is_there", lambda path: False)
    assert "folders that all machines share" in refusal(tasks, idle())
