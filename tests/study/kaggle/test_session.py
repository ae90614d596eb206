"""A session on Kaggle: what it takes over, where it stops, what it says when something fails."""

from __future__ import annotations

import errno
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pandas as pd
import pytest
import torch

from ssn_lib import machine
from ssn_lib.data import loading
from ssn_lib.errors import InputError
from ssn_lib.models import weights
from ssn_lib.runs.record import read_record
from ssn_lib.study import parallel, runner
from ssn_lib.study.kaggle import session
from ssn_lib.study.kaggle.session import Session, take_over
from ssn_lib.study.kaggle.session_plan import SessionPlan
from ssn_lib.study.notebooks import NotebooksFailed
from ssn_lib.study.profiles import PROFILES
from ssn_lib.study.runner import Study, _weights
from ssn_lib.study.tables.swap import ablation
from ssn_lib.training.fit import epochs_in

SECONDS = 100.0  # that an epoch takes, by the tests' clock


@pytest.fixture
def kaggle(small_networks, mvtec_root, tmp_path, monkeypatch):
    """Kaggle, a tiny data set and one notebook; kaggle(version, hours) is one version's session."""
    profile = replace(
        PROFILES["demo"], dataset="mvtec_ad", image_size=(32, 32), epochs=4, batch_size=4
    )
    monkeypatch.setitem(PROFILES, "demo", profile)
    monkeypatch.setattr(runner, "CATEGORIES", ("widget",))
    demo = replace(runner.PROFILES["demo"], categories=("widget",))
    monkeypatch.setitem(runner.PROFILES, "demo", demo)
    monkeypatch.setattr(runner, "_weights", lambda *_: None)
    now = [0.0]

    def clock():
        now[0] += SECONDS
        return now[0]

    monkeypatch.setattr(parallel, "time", SimpleNamespace(time=clock))

    def notebooks(profile, *, data_root, runs_dir, deadline, **_):
        here = Study(profile, data_root, runs_dir=runs_dir, deadline=deadline)
        run.outcomes = here.run_all(run.presets, ["widget"])
        here.save("table", ablation(run.outcomes))

    monkeypatch.setattr(session, "study", notebooks)
    monkeypatch.setattr(session, "notebooks", lambda *_: [])

    def run(version, hours=11.0, **parameters):
        work = tmp_path / version
        work.mkdir()
        monkeypatch.chdir(work)
        monkeypatch.setattr(loading, "KAGGLE_INPUT", tmp_path / f"input of {version}")
        names = ("modifications", "category", "seeds", "weights_dir", "previous")
        values = dict.fromkeys(names) | {"data_root": str(mvtec_root)} | parameters
        here = Session("demo", **values, time_budget_h=hours, started=now[0])
        here.take_over()
        run.failed = here.run()
        return work

    def attach(work, version, mount):
        """Another version's output, read-only, among the inputs of a version."""
        target = tmp_path / f"input of {version}" / mount
        shutil.copytree(work, target)
        for path in sorted(target.rglob("*"), reverse=True):
            path.chmod(0o555 if path.is_dir() else 0o444)

    run.attach, run.presets = attach, ("scenario_a",)
    return run


def records(work):
    found = [read_record(path.parent) for path in work.glob("runs/*/record.json")]
    return {record.run_id: record for record in found}


def test_a_study_cut_in_three_leaves_the_records_of_an_unbroken_one(kaggle, capsys):
    kaggle.presets = ("scenario_a", "scenario_b", "simplenet")
    whole = records(kaggle("unbroken"))
    assert len(whole) == 3

    # An unfinished run asks the clock six times: before it begins, before its images are read, and
    # before each epoch.
    first = kaggle("first", hours=9 * SECONDS / 3600)
    assert len(records(first)) == 1
    reasons = [outcome.reason for outcome in kaggle.outcomes]
    assert reasons[0] == ""
    assert "not finished within the time budget (1 of 4 epochs done)" in reasons[1]
    assert "not finished within the time budget (no epoch)" in reasons[2]
    table = (first / "runs/demo/tables/table.md").read_text()
    assert "not finished within the time budget" in table
    assert epochs_in(next(first.glob("runs/scenario_b*/checkpoint.pt"))) == 1

    kaggle.attach(first, "second", "supersimplenet-evolved")
    second = kaggle("second", hours=5 * SECONDS / 3600)
    assert "taken over  1 finished runs, 1 unfinished" in capsys.readouterr().out
    assert epochs_in(next(second.glob("runs/scenario_b*/checkpoint.pt"))) > 1
    assert len(records(second)) == 1

    kaggle.attach(second, "third", "notebooks/somebody/supersimplenet-evolved")
    third = kaggle("third")
    ended = records(third)
    assert ended.keys() == whole.keys()
    for run_id, record in ended.items():
        assert record.metrics == whole[run_id].metrics
        assert record.thresholds == whole[run_id].thresholds
        losses = [
            pd.read_csv(work / "runs" / run_id / "history.csv")["loss"].tolist()
            for work in (third, third.with_name("unbroken"))
        ]
        assert losses[0] == losses[1]
    # What the first session finished is its own, seconds and all.
    (one,) = records(first).values()
    assert ended[one.run_id] == one


def test_the_zip_holds_tables_and_records_and_no_weights(kaggle):
    work = kaggle("alone")
    with zipfile.ZipFile(work / "study.zip") as archive:
        names = archive.namelist()
    (run_id, *_) = records(work)
    assert f"{run_id}/record.json" in names
    assert "demo/tables/table.csv" in names
    assert not [name for name in names if name.endswith(".pt")]


def test_of_several_sources_a_finished_run_wins_then_the_longest(kaggle, tmp_path):
    kaggle.presets = ("scenario_a", "simplenet")
    work = kaggle("done")
    folders = sorted(work.glob("runs/*-s42-*"))
    sources = [tmp_path / name / "runs" for name in ("a", "b")]
    for source, epochs in zip(sources, (2, 1), strict=True):
        for folder in folders[:2]:
            (source / folder.name).mkdir(parents=True)
            state = {"history": [{}] * epochs}
            torch.save(state, source / folder.name / "checkpoint.pt")
    shutil.copytree(folders[0], sources[1] / folders[0].name, dirs_exist_ok=True)
    target = tmp_path / "target"
    assert take_over(sources, target) == (1, 1)
    assert (target / folders[0].name / "record.json").exists()
    assert epochs_in(target / folders[1].name / "checkpoint.pt") == 2
    assert take_over(sources, target) == (0, 0)


def test_what_is_damaged_is_not_taken_over(kaggle, tmp_path):
    kaggle.presets = ("scenario_a", "simplenet")
    source = kaggle("done") / "runs"
    first, second = sorted(source.glob("*-s42-*"))
    (first / "record.json").write_text("{")
    (second / "record.json").unlink()
    (second / "checkpoint.pt").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=f"not taken over: .*{first.name}"):
        assert take_over([source], tmp_path / "target") == (0, 0)
    with pytest.raises(InputError, match="previous=.*: no such folder"):
        take_over([tmp_path / "nowhere"], tmp_path / "target")


def test_a_failure_is_one_line_and_what_is_done_is_zipped(kaggle, monkeypatch, capsys):
    notebooks = session.study

    def fails(*args, **kwargs):
        notebooks(*args, **kwargs)
        raise NotebooksFailed({"02_learned_noise": "02_learned_noise.ipynb failed: OSError: full"})

    monkeypatch.setattr(session, "study", fails)
    work = kaggle("failing")
    said = capsys.readouterr().out
    assert "error: 02_learned_noise.ipynb failed: OSError: full; everything else is kept" in said
    assert kaggle.failed == {"02_learned_noise": "02_learned_noise.ipynb failed: OSError: full"}
    assert (work / "study.zip").exists()

    def full(*_):
        raise InputError("cannot write study.zip: the disk is full")

    monkeypatch.setattr(session, "pack", full)
    work = kaggle("full")
    assert "the disk is full; everything is in runs/" in capsys.readouterr().out
    assert kaggle.failed.keys() == {"02_learned_noise", "zip"}
    assert len(records(work)) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("no space left"), "no space left"),
        (OSError("lost\nand more"), "OSError: lost"),
    ],
)
def test_runs_that_cannot_be_made_do_not_keep_the_notebooks_from_it(
    error, told, kaggle, monkeypatch
):
    def fails(*_):
        raise error

    monkeypatch.setattr(SessionPlan, "make", fails)
    work = kaggle("without runs")
    assert kaggle.failed == {"runs": told}
    assert (work / "runs/demo/tables/table.md").exists()


def test_the_last_line_names_what_failed_and_ends_with_an_error(capsys):
    here = Session.of_notebook(parameters())
    here.end({})
    assert capsys.readouterr().out == "The session ended without a failure.\n"
    failed = {"runs": "no space left", "02_learned_noise": "ValueError: broken"}
    with pytest.raises(SystemExit, match=r"^error: failed: runs, 02_learned_noise \(the reasons"):
        here.end(failed)


def parameters(**changes):
    names = [name for name in Session.__dataclass_fields__ if name != "started"]
    return dict.fromkeys(names) | {"profile": "demo", "time_budget_h": 11.0} | changes


def test_unknown_and_senseless_parameters_list_the_known():
    injected = "# Parameters\ncategry = 'screw'\n"
    for namespace, message in (
        (parameters(In=["", injected]), "error: unknown parameter 'categry'; known: profile, mod"),
        (parameters(category="scew"), "category='scew': known: bottle, carpet, screw, ksdd2"),
        (parameters(time_budget_h="long"), "time_budget_h='long': expected hours"),
        (parameters(previous=3), "previous=3: expected text"),
        (
            parameters(modifications="07"),
            "modifications='07': no notebook 07; there are 00, 01, 02",
        ),
        (parameters(modifications=8), "modifications=8: no notebook 08"),  # YAML's 010
        (parameters(modifications="evolved"), "no notebook evolved"),
        (parameters(modifications=True), "modifications=True: no notebook True"),
        (parameters(modifications=1.0), "modifications=1.0: expected one or several, such as '01"),
        (parameters(modifications=[]), "expected one or several"),
    ):
        with pytest.raises(SystemExit, match=message):
            Session.of_notebook(namespace)


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        (None, ()),
        ("01", ("01",)),
        (1, ("01",)),  # what papermill makes of -p modifications 01
        ("1,03", ("01", "03")),
        ("01, 03", ("01", "03")),
        ([1, 3], ("01", "03")),  # of -y "modifications: [01, 03]"
        ([1, "06"], ("01", "06")),
    ],
)
def test_notebooks_are_named_by_numbers_or_text(given, numbers, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = []
    monkeypatch.setattr(session, "study", lambda *_, only, **__: asked.append(only))
    nothing = SimpleNamespace(make=lambda *_: None, tasks=lambda: [])
    monkeypatch.setattr(Session, "_plan", lambda _: nothing)
    Session.of_notebook(parameters(modifications=given)).run()
    assert asked == [numbers]


def test_too_little_disk_ends_it_before_anything_is_run(monkeypatch):
    usage = SimpleNamespace(free=1e8)
    monkeypatch.setattr(session.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SystemExit, match=r"error: 0\.1 GB free in .*, 2 GB are needed"):
        Session.of_notebook(parameters()).preflight()


@pytest.fixture
def nothing(monkeypatch, tmp_path):
    """A working folder and inputs that hold nothing, no weights to be had, and no GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "KAGGLE_INPUT", tmp_path / "input")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)

    def unreachable(url):
        raise URLError("internet off")

    monkeypatch.delenv(weights.OFFLINE_VARIABLE)
    monkeypatch.setattr(weights, "_ask_whether_reachable", unreachable)
    _weights.cache_clear()
    yield tmp_path
    _weights.cache_clear()


@pytest.mark.parametrize(
    ("profile", "attached", "message"),
    [
        ("full", False, "profile 'full' wants a GPU and there is none; on Kaggle: Settings, Acc"),
        ("quick", False, "'screw' not found .*; on Kaggle: Add Input, ipythonx/mvtec-ad"),
        ("quick", True, "no ImageNet weights for resnet18.*; on Kaggle: Settings, Internet on"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*the official screw has")
def test_what_is_missing_ends_the_session_at_once_in_one_line(
    profile, attached, message, nothing, mvtec_root
):
    if attached:
        category = nothing / "input/datasets/ipythonx/mvtec-ad/screw"
        shutil.copytree(mvtec_root / "mvtec_ad" / "widget", category)
    here = Session.of_notebook(parameters(profile=profile, category="screw"))
    with pytest.raises(SystemExit, match=message) as raised:
        here.preflight()
    assert str(raised.value).startswith("error: ")
    assert "\n" not in str(raised.value)


def test_several_gpus_are_used_where_dask_is_installed(monkeypatch, capsys):
    here = Session.of_notebook(parameters())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert here.workers == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert here.workers == 2
    monkeypatch.setattr(session.importlib.util, "find_spec", lambda _: None)
    assert here.workers == 1
    monkeypatch.setattr(machine, "check_gpus", lambda: ["T4", "T4"])
    monkeypatch.setattr(session.shutil, "disk_usage", lambda _: SimpleNamespace(free=1e8))
    with pytest.raises(SystemExit):
        here.preflight()
    assert "only the first is used: Dask is not installed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("capability", "architectures", "fine"),
    [
        ((7, 5), ["sm_70", "sm_75", "sm_80"], True),
        ((8, 6), ["sm_75", "sm_80"], True),
        ((6, 0), ["sm_70", "sm_75", "sm_80", "sm_90", "sm_100", "sm_120"], False),
        ((6, 0), ["sm_50", "sm_60", "sm_70"], True),
        ((7, 0), ["sm_75"], False),
        ((12, 0), ["sm_90a", "compute_90"], True),
        ((6, 0), ["compute_70"], False),
    ],
)
def test_a_gpu_is_held_against_what_pytorch_is_built_for(capability, architectures, fine):
    assert machine.is_built_for(capability, architectures) == fine


def test_a_gpu_that_this_build_does_not_know_says_what_to_choose(monkeypatch):
    p100 = SimpleNamespace(name="Tesla P100-PCIE-16GB", major=6, minor=0, total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80"])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: p100)
    with pytest.raises(InputError, match=r"P100.*capability 6\.0: PyTorch .* sm_75 sm_80; choose"):
        machine.check_gpus()


def test_paths_in_both_forms_of_mounts_are_found(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "KAGGLE_INPUT", tmp_path)
    for mount in ("study/runs", "notebooks/somebody/study/runs"):
        (tmp_path / mount).mkdir(parents=True)
    found = Session.of_notebook(parameters())._previous()
    assert [path.relative_to(tmp_path) for path in found] == [
        Path("study/runs"),
        Path("notebooks/somebody/study/runs"),
    ]


def test_a_full_disk_leaves_no_half_run(tmp_path, monkeypatch):
    source = tmp_path / "runs" / "one"
    source.mkdir(parents=True)
    torch.save({"history": [{}]}, source / "checkpoint.pt")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(session.shutil, "copyfile", full)
    with pytest.raises(InputError, match="cannot copy .*: No space left"):
        take_over([tmp_path / "runs"], tmp_path / "target")
    assert not list((tmp_path / "target").iterdir())
