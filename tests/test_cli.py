import errno
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import torch
import torchvision

from ssn_lib import arguments as arguments_module
from ssn_lib import cli
from ssn_lib.cli import main
from ssn_lib.data import loading
from ssn_lib.errors import InputError
from ssn_lib.runs.record import metrics_lines
from ssn_lib.study import notebooks as notebook_runs
from ssn_lib.study.kaggle import kernel

COMMON = ["--epochs", "1", "--image-size", "32", "32", "--set", "training.batch_size=4"]


@pytest.fixture
def arguments(mvtec_root, tmp_path):
    """arguments(preset, *rest): a run of the tiny data set, into a folder of this test."""

    def build(preset="scenario_a", *rest, root=mvtec_root, category="widget"):
        given = ["run", preset, "--dataset", "mvtec_ad", "--data-root", str(root)]
        return [
            *given,
            "--category",
            category,
            "--runs-dir",
            str(tmp_path / "runs"),
            *COMMON,
            *rest,
        ]

    return build


def refused(arguments, capsys):
    """The single line on stderr of a command that must end with exit code 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_an_unknown_preset(arguments, capsys):
    line = refused(arguments("scenario_q", "--untrained"), capsys)
    assert "scenario_q" in line
    assert "did you mean 'scenario_" in line


def test_a_wrong_root(arguments, tmp_path, capsys):
    assert "no such folder" in refused(arguments(root=tmp_path / "nowhere"), capsys)
    (tmp_path / "empty").mkdir()
    assert "holds no MVTec AD category" in refused(arguments(root=tmp_path / "empty"), capsys)


@pytest.mark.parametrize(
    ("preset", "dataset", "made_for"),
    [
        ("evolved", "mvtec_ad", (448, 448)),
        ("evolved", "folder", (448, 448)),
        ("gap_cam", "folder", (256, 256)),
    ],
)
def test_the_preset_says_which_size_it_is_made_for(preset, dataset, made_for, monkeypatch):
    asked = []

    def load(*_, **given):
        asked.append((given["image_size"], given["made_for"]))
        raise InputError("enough")

    monkeypatch.setattr(loading, "load_dataset", load)
    for given in ([], ["--image-size", "64", "96"]):
        assert cli.main(["run", preset, "--dataset", dataset, *given]) == 2
    assert asked == [(None, made_for), ((64, 96), made_for)]


def test_without_a_preset_the_images_decide_and_a_doubt_is_told(arguments, capsys):
    given = arguments("auto", "--untrained", "--set", "training.validation_fraction=0.34")
    given.remove("auto")
    assert main(given) == 0
    said = capsys.readouterr()
    first, *_ = said.out.splitlines()
    assert (
        "from good images alone: evolved at 32×32 pixels (height×width), epochs: 1, about 1 min"
        in first
    )
    assert "evolved-mvtec_ad-widget" in said.out
    assert "warning: " in said.err


def test_a_misspelt_category(arguments, capsys):
    line = refused(arguments(category="wigdet"), capsys)
    assert "did you mean 'widget'?" in line


def test_an_unknown_setting(arguments, capsys):
    line = refused(arguments("scenario_a", "--untrained", "--set", "training.epoch=3"), capsys)
    assert "did you mean 'epochs'?" in line


def test_an_image_size_off_the_stride(arguments, capsys):
    line = refused(arguments("scenario_a", "--untrained", "--image-size", "100", "100"), capsys)
    assert "100×100" in line
    assert "104×104" in line or "96×96" in line


def test_weights_of_another_network(arguments, tmp_path, capsys):
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "weights.pth")
    line = refused(arguments("scenario_a", "--weights-dir", str(tmp_path / "weights.pth")), capsys)
    assert "another network" in line


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 half a file"])
def test_a_weights_file_that_is_none(content, arguments, tmp_path, capsys):
    (tmp_path / "weights.pth").write_bytes(content)
    line = refused(arguments("scenario_a", "--weights-dir", str(tmp_path / "weights.pth")), capsys)
    assert "cannot be read" in line
    assert "weights_only" not in line  # PyTorch's advice to load it all the same


def test_a_diverged_training_says_what_to_do(arguments, capsys):
    rates = ("--set", "training.adaptor_lr=1e30", "--set", "training.head_lr=1e30")
    given = arguments("scenario_a", "--untrained", *rates, "--epochs", "3", "--json")
    assert main(given) == 0  # which is a result
    said = capsys.readouterr()
    assert "was no finite number any more" in said.err
    assert "lower than they are" in said.err
    assert json.loads(said.out.splitlines()[-1])["status"] == "diverged"
    assert "" not in said.out.splitlines()


def test_a_diverged_run_is_not_evaluated(arguments, tmp_path, capsys):
    rates = ("--set", "training.adaptor_lr=1e30", "--set", "training.head_lr=1e30")
    given = arguments("scenario_a", "--untrained", *rates, "--epochs", "2", "--json")
    assert main(given) == 0
    run_id = json.loads(capsys.readouterr().out.splitlines()[-1])["run_id"]
    (run,) = tmp_path.rglob(run_id)
    assert "the training diverged, so its network" in refused(["evaluate", str(run)], capsys)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EACCES, "permission denied; choose another, or ask for the right to use it"),
        (errno.ENAMETOOLONG, "file name too long; give a shorter one"),
        (errno.ENOSPC, "no space left on device; free space, or choose another place"),
    ],
)
def test_what_the_system_does_not_let_be_used_is_one_line(
    number, said, arguments, monkeypatch, capsys
):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "some/run")

    monkeypatch.setitem(cli.COMMANDS, "run", refuse)
    assert refused(arguments("scenario_a"), capsys) == f"error: some/run: {said}"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files", "x.png"),  # no fault of that file
        FileNotFoundError(errno.ENOENT, "No such file", "x.png"),  # nor of what a user named
        PermissionError(errno.EACCES, "Permission denied", 7),
    ],
)
def test_what_may_be_a_fault_of_the_program_keeps_its_traceback(error, arguments, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setitem(cli.COMMANDS, "run", fail)
    with pytest.raises(type(error)):
        main(arguments("scenario_a"))


def test_a_gpu_that_is_full_is_one_line(arguments, monkeypatch, capsys):
    def fill(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    for command in ("run", "evaluate"):
        monkeypatch.setitem(cli.COMMANDS, command, fill)
    assert "smaller batches" in refused(arguments("scenario_a"), capsys)
    assert "smaller batches" not in refused(["evaluate", "some_run"], capsys)

    for error in (
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 6 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 6 bytes"),
    ):

        def fill_memory(*_, error=error):
            raise error

        monkeypatch.setitem(cli.COMMANDS, "run", fill_memory)
        line = refused(arguments("scenario_a"), capsys)
        assert line.startswith("error: the memory is full: ")

    def break_down(*_):
        raise RuntimeError("a fault")

    monkeypatch.setitem(cli.COMMANDS, "run", break_down)
    with pytest.raises(RuntimeError, match="a fault"):
        main(arguments("scenario_a"))


def test_a_folder_that_is_not_there_is_no_unfinished_run(tmp_path, capsys):
    line = refused(["evaluate", str(tmp_path / "none")], capsys)
    assert line == f"error: {tmp_path / 'none'}: no such file or folder"


def test_evaluate_of_a_folder_that_is_no_run(tmp_path, capsys):
    assert "not a finished run" in refused(["evaluate", str(tmp_path)], capsys)


def test_an_error_is_one_line_and_no_traceback_in_a_shell(arguments):
    """One of the environment's own, which knows few characters."""
    done = subprocess.run(
        [sys.executable, "-m", "ssn_lib", *arguments(category="wigdet_日本")],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )
    assert done.returncode == 2
    (line,) = done.stderr.decode("ascii").splitlines()
    assert line.startswith("error: ")
    assert "wigdet_\\u65e5\\u672c" in line


@pytest.fixture
def console(monkeypatch):
    """console(encoding): from now on what is printed goes to one that knows no other characters;
    gives back a function that says what it shows."""

    def open_(encoding):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding, newline="") for _ in range(2)]
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            monkeypatch.setattr(sys, name, stream)

        def shown():
            for stream in streams:
                stream.flush()
            return [stream.buffer.getvalue().decode(encoding) for stream in streams]

        return shown

    return open_


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
class TestConsole:
    @pytest.mark.parametrize("command", [[], ["run"], ["kaggle", "build"]])
    def test_help_is_shown(self, command, encoding, console):
        shown = console(encoding)
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
        assert ended.value.code == 0
        assert "usage: python -m ssn_lib" in shown()[0]

    @pytest.mark.parametrize(
        "name", ["Prüfstücke_日本", os.fsdecode(b"Pr\xfcf")], ids=["text", "bytes"]
    )
    def test_a_finished_command_ends_well(
        self, name, encoding, console, arguments, mvtec_root, tmp_path
    ):
        root = tmp_path / name
        shutil.copytree(mvtec_root, root)
        shown = console(encoding)
        given = arguments("scenario_a", "--untrained", "--json", root=root)
        given[given.index("--runs-dir") + 1] = str(root / "runs")
        assert main(given) == 0
        assert json.loads(shown()[0].splitlines()[-1])["status"] == "completed"
        assert main(arguments(root=root, category="größe_日本")) == 2
        error = shown()[1].splitlines()[-1]
        assert error.startswith("error: ")
        assert "_\\u65e5\\u672c" in error


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["run"], "the following arguments are required: --dataset; see python -m ssn_lib run -"),
        (["run", "--dataset", "demo", "--epochs", "x"], "argument --epochs: invalid int value"),
        (["frobnicate"], "argument COMMAND: invalid choice: 'frobnicate'"),
        (
            ["kaggle", "check", "--twice"],
            "unrecognized arguments: --twice; see python -m ssn_lib kaggle check --help",
        ),
    ],
)
def test_what_the_command_line_does_not_take_is_one_line(given, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {message}")


def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(tiny_run, tmp_path):
    run, images = tiny_run
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "ssn_lib", "predict", run, images, "--out", tmp_path / "out"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for given, code in ((command, 141), ([*command, tmp_path / "none"], 2)):
        done = subprocess.run(given, stdout=writing, stderr=subprocess.PIPE, env=buffered)
        assert done.returncode == code
        assert b"BrokenPipe" not in done.stderr
        assert (b"none" in done.stderr) == (code == 2)
    os.close(writing)


@pytest.mark.parametrize("command", ["run", "bench"])
def test_a_reader_that_goes_away_early_ends_it_too(command, arguments, monkeypatch, capsys):
    def print_into_nothing(*_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setitem(cli.COMMANDS, command, print_into_nothing)
    monkeypatch.setattr(cli, "_end_output", lambda: None)
    given = arguments("scenario_a") if command == "run" else ["bench"]
    assert main(given) == 141
    said = capsys.readouterr().err
    assert ("goes on from the last checkpoint" in said) == (command == "run")


def test_run_then_evaluate_as_json(arguments, mvtec_root, tmp_path, capsys):
    assert main(arguments("scenario_a", "--untrained", "--json")) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["status"] == "completed"
    assert record["config"]["training"]["batch_size"] == 4
    assert 0 <= record["metrics"]["I-AUROC"] <= 100

    run = tmp_path / "runs" / record["run_id"]
    assert main(["evaluate", str(run), "--data-root", str(mvtec_root), "--json"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again == {"run_id": record["run_id"], "metrics": record["metrics"]}

    assert main(arguments("scenario_a", "--untrained")) == 0  # at once, from the record
    said = capsys.readouterr().out
    assert said.startswith("answered from the record of ")
    assert "I-AUROC" in said


def test_a_run_is_found_again_where_its_images_and_weights_were(
    arguments, tmp_path, capsys, monkeypatch
):
    """By its id alone, too; a place that was moved is looked for as usual."""
    for name in ("SSN_DATA_ROOT", "SSN_WEIGHTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSN_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    monkeypatch.chdir(tmp_path)
    weights = tmp_path / "weights"
    weights.mkdir()
    torch.save(torchvision.models.resnet18().state_dict(), weights / "resnet18-f37072fd.pth")
    assert main(arguments("scenario_a", "--weights-dir", "weights", "--json")) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert main(["evaluate", record["run_id"], "--json"]) == 0
    again = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert again["metrics"] == record["metrics"]
    weights.rename(tmp_path / "elsewhere")
    line = refused(["evaluate", record["run_id"]], capsys)
    assert "no ImageNet weights for resnet18" in line


def test_rendered_images_need_no_weights(demo_base, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SSN_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("SSN_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing"))
    given = ["run", "scenario_a", "--dataset", "demo", "--category", "bottle"]
    given += ["--data-root", str(demo_base), "--runs-dir", str(tmp_path), *COMMON]
    assert main(given) == 0
    assert "warning: untrained backbone; no ImageNet weights" in capsys.readouterr().err
    assert "no resnet18" in refused([*given, "--weights-dir", str(tmp_path)], capsys)


@pytest.mark.parametrize(
    "words",
    [
        "run scenario_a --dataset d --set a=1 b=2",
        "run --dataset d --set a=1 --set b=2 scenario_a",
        "run --dataset d --set a=1 b=2 scenario_a",
        "run --set a=1 b=2 --dataset d scenario_a",
    ],
)
def test_settings_are_given_one_by_one_or_together(words):
    options = arguments_module.parser().parse_args(words.split())
    assert (options.preset, options.set) == ("scenario_a", ["a=1", "b=2"])


def test_what_is_no_setting_is_not_taken_for_another_preset(capsys):
    words = "run scenario_a --dataset d --set a=1 b"
    with pytest.raises(SystemExit):
        arguments_module.parser().parse_args(words.split())
    assert "--set 'b': expected key=value" in capsys.readouterr().err


def test_a_count_that_is_not_official_is_a_one_line_warning(arguments, own_root, capsys):
    category = own_root / "mvtec_ad" / "widget"
    category.rename(category.with_name("bottle"))
    given = arguments("scenario_a", "--set", "no.such=1", root=own_root, category="bottle")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(given) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: ")
    assert "official bottle has 209 and 83" in warning
    assert "no.such" in error


def test_undefined_metrics_share_their_reason():
    metrics = {"I-AUROC": 50.0, "P-AUROC": None, "AUPRO": None, "AP-det": 60.0}
    metrics["imitated-I-AUROC"] = 70.0
    lines = metrics_lines(metrics, dict.fromkeys(("P-AUROC", "AUPRO"), "no masks"))
    assert lines.splitlines() == [
        "I-AUROC 50.0  AP-det 60.0 (percent)",
        "defects drawn into good images: I-AUROC 70.0 (percent)",
        "undefined: P-AUROC, AUPRO (no masks)",
    ]


def test_several_categories_are_run_in_turn_and_have_a_mean(
    arguments, own_root, own_category, capsys
):
    shutil.copytree(own_category, own_category.with_name("zip"))
    without_good = shutil.copytree(own_category, own_category.with_name("a bolt"))
    shutil.rmtree(without_good / "test/good")  # one class alone: no area under a ROC curve

    def table(asked):
        given = arguments("scenario_a", "--untrained", root=own_root, category=asked)
        assert main(given) == 0
        lines = capsys.readouterr().out.splitlines()
        columns = next(i for i, line in enumerate(lines) if line.startswith("percent "))
        _, *names = lines[columns].split()
        rows = [line.rsplit(maxsplit=len(names)) for line in lines[columns + 1 :]]
        return {title: dict(zip(names, values, strict=True)) for title, *values in rows}

    some = table("widget,zip")
    assert list(some) == ["widget", "zip", "mean of 2"]
    for name, mean in some["mean of 2"].items():
        both = [float(some[category][name]) for category in ("widget", "zip")]
        assert float(mean) == pytest.approx(sum(both) / 2, abs=0.11)  # of rounded ones
    every = table("all")
    assert list(every) == ["a bolt", "widget", "zip", "mean of 3"]
    assert every["widget"] == some["widget"]
    assert every["a bolt"]["I-AUROC"] == every["mean of 3"]["I-AUROC"] == "–"
    assert every["mean of 3"]["P-AUROC"] != "–"
    given = arguments("scenario_a", "--untrained", "--json", root=own_root, category="zip,widget")
    assert main(given) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [one["config"]["data"]["category"] for one in told["records"]] == ["zip", "widget"]
    figures = [one["metrics"]["I-AUROC"] for one in told["records"]]
    assert told["metrics"]["I-AUROC"] == pytest.approx(sum(figures) / 2)


def test_what_is_no_fault_of_a_category_is_said_twice_at_most(
    arguments, own_root, own_category, capsys
):
    for other in ("a bolt", "pin", "zip"):
        shutil.copytree(own_category, own_category.with_name(other))
    given = arguments("scenario_a", "--set", "no.such=1", root=own_root, category="all")
    assert main(given) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.removeprefix("warning") == error.removeprefix("error")


def test_what_is_finished_is_shown_where_the_rest_is_not_tried(
    arguments, own_root, own_category, monkeypatch, capsys
):
    for other in ("a bolt", "pin", "zip"):
        shutil.copytree(own_category, own_category.with_name(other))
    train = cli._run_category
    tried = []

    def one_alone(options, category):
        tried.append(category)
        if category == "a bolt":
            return train(options, category)
        raise InputError("out of luck")

    monkeypatch.setattr(cli, "_run_category", one_alone)
    given = arguments("scenario_a", "--untrained", "--json", root=own_root, category="all")
    assert main(given) == 2
    said = capsys.readouterr()
    assert said.err.splitlines() == ["warning: out of luck", "error: out of luck"]
    assert len(json.loads(said.out.splitlines()[-1])["records"]) == 1
    assert "a bolt" in said.out
    assert tried == ["a bolt", "pin", "widget"]


def test_a_category_that_cannot_be_run_costs_the_others_nothing(
    arguments, own_root, own_category, capsys
):
    shutil.copytree(own_category, own_category.with_name("a bolt"))
    broken = shutil.copytree(own_category, own_category.with_name("pin"))
    next((broken / "ground_truth").glob("*/*")).unlink()
    given = arguments("scenario_a", "--untrained", root=own_root, category="all")
    assert main(given) == 2
    said = capsys.readouterr()
    warning, error = said.err.splitlines()
    assert warning.startswith("warning: ")
    assert "pin" in warning
    assert error == "error: 1 of 3 categories could not be run: pin"
    assert [line.split("  ")[0] for line in said.out.splitlines()[-3:]] == [
        "a bolt",
        "widget",
        "mean of 2",
    ]


def test_an_interrupt_says_how_to_go_on(arguments, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ssn_lib.runs.run.fit", interrupt)
    assert main(arguments("scenario_a", "--untrained")) == 130
    assert "goes on" in capsys.readouterr().err


class TestPredict:
    def test_few_images_are_all_shown(self, tiny_run, tmp_path, capsys):
        run, images = tiny_run
        assert main(["predict", str(run), str(images), "--out", str(tmp_path / "out")]) == 0
        said = capsys.readouterr().out
        assert "000_overlay.png" in said
        assert "001_overlay.png" in said
        assert "2 images, 2 of them inspected now: " in said
        assert f"open {tmp_path / 'out' / 'inspection.html'}; scores.csv" in said
        assert main(["predict", str(run), str(images), "--out", str(tmp_path / "out")]) == 0
        assert "2 images, 0 of them inspected now: " in capsys.readouterr().out
        again = [str(run), str(images), "--out", str(tmp_path / "out"), "--again"]
        assert main(["predict", *again]) == 0
        assert "2 images, 2 of them inspected now: " in capsys.readouterr().out

    def test_one_that_cannot_be_read_hides_no_other(self, tiny_run, tmp_path, capsys):
        run, images = tiny_run
        belt = shutil.copytree(images, tmp_path / "belt")
        (belt / "broken.png").write_bytes(b"half of it")
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # what is said of the broken one is printed
            assert main(["predict", str(run), str(belt), "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr()
        assert "2 images, 2 of them inspected now: " in said.out
        assert "000_overlay.png" in said.out
        assert "broken.png is not an image file" in said.err
        assert (
            "error: 1 of 3 files and folders could not be inspected; the others are in" in said.err
        )

    def test_a_folder_without_images_beside_others_is_named(self, tiny_run, tmp_path, capsys):
        run, images = tiny_run
        (tmp_path / "empty").mkdir()
        given = ["predict", str(run), str(images), str(tmp_path / "empty")]
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            assert main([*given, "--out", str(tmp_path / "out")]) == 2
        said = capsys.readouterr()
        assert "2 images, 2 of them inspected now: " in said.out
        assert f"{tmp_path / 'empty'}: no images there" in said.err
        alone = ["predict", str(run), str(tmp_path / "empty"), "--out", str(tmp_path / "alone")]
        assert "no images there" in refused(alone, capsys)
        assert not (tmp_path / "alone").exists()

    def test_of_many_the_highest_are_shown(self, tiny_run, tmp_path, capsys):
        run, images = tiny_run
        (tmp_path / "many").mkdir()
        for index in range(cli.FEW + 1):
            shutil.copy(images / "000.png", tmp_path / "many" / f"{index:03}.png")
        given = [str(run), str(tmp_path / "many"), "--out", str(tmp_path / "out")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one image many times is unlike those of the training
            assert main(["predict", *given]) == 0
        said = capsys.readouterr().out
        assert said.count("_overlay.png") == cli.HIGHEST
        assert f"the {cli.HIGHEST} highest scores:" in said

    def test_a_chosen_threshold_is_told(self, tiny_run, tmp_path, capsys):
        run, images = tiny_run
        content = {"kind": "ssn_lib threshold", "run": run.name, "score_threshold": 1e6}
        content |= {"images": 7, "chosen": "2026-11-27T07:00:00Z"}
        (tmp_path / "threshold.json").write_text(json.dumps(content))
        given = ["predict", str(run), str(images), "--out", str(tmp_path / "out")]
        given += ["--threshold", str(tmp_path / "threshold.json")]
        assert main(given) == 0
        said = capsys.readouterr().out
        assert "0 anomalous (score > 1e+06), 2 good" in said
        assert "the threshold on 2026-11-27, with 7 images in sight" in said
        (tmp_path / "threshold.json").write_text(json.dumps(content | {"run": "another"}))
        assert "the threshold of run another, not of" in refused(given, capsys)

    def test_a_watched_folder_is_told_image_by_image(self, tiny_run, tmp_path, capsys, monkeypatch):
        run, images = tiny_run
        looks = iter(range(3))

        def sleep(_):
            if next(looks, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr("ssn_lib.deploy.inspection.time.sleep", sleep)
        given = [str(run), str(images), "--out", str(tmp_path / "out"), "--watch"]
        assert main(["predict", *given]) == 0
        first, second, *_, counts, _, _ = capsys.readouterr().out.splitlines()
        assert first.endswith("000.png")
        assert second.endswith("001.png")
        assert counts.startswith("2 images, 2 of them inspected now")

    def test_an_interrupt_says_how_to_go_on(self, tiny_run, tmp_path, capsys, monkeypatch):
        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("ssn_lib.deploy.detector.Trained.predict", interrupt)
        run, images = tiny_run
        assert main(["predict", str(run), str(images), "--out", str(tmp_path / "out")]) == 130
        assert "goes on with the images that are left" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_a_study_is_told_how_to_run(monkeypatch, tmp_path):
    asked = {}
    monkeypatch.setattr(
        notebook_runs, "study", lambda profile, **given: asked.update(given, of=profile)
    )
    words = "study --only 01 --category screw --seeds 1,2 --hours 2 --scheduler local --epochs 3 "
    words += "--image-size 640x232 --presets evolved"
    before = time.time()
    assert main([*words.split(), "--runs-dir", str(tmp_path)]) == 0
    assert before + 7200 <= asked.pop("deadline") <= time.time() + 7200
    assert asked == {
        "of": "demo",
        "data_root": None,
        "weights_dir": "imagenet",
        "runs_dir": tmp_path,
        "only": ("01",),
        "category": "screw",
        "seeds": "1,2",
        "epochs": "3",
        "image_size": "640x232",
        "presets": "evolved",
        "scheduler": "local",
    }


@pytest.mark.parametrize(
    ("words", "place", "answer", "given"),
    [
        (
            "protocol --minutes 8 --only scenario_a --seed 42 --seed 43 --epochs 2"
            " --precision mixed --workers 2 --out o",
            "ssn_lib.study.gpu.use.use",
            [],
            {
                "minutes": 8.0,
                "only": ("scenario_a",),
                "seeds": (42, 43),
                "epochs": 2,
                "precision": "mixed",
                "workers": 2,
                "out": Path("o"),
            },
        ),
        (
            "pack f --only screw,bottle",
            "ssn_lib.study.gpu.packing.pack",
            1.0,
            {"folder": Path("f"), "categories": ["screw", "bottle"]},
        ),
        (
            "peers --dataset mvtec_ad --category screw --only padim --seed 7 --good-images 8",
            "ssn_lib.study.peers.measuring.measure_all",
            [],
            {"names": ("padim",), "category": "screw", "seed": 7, "good_images": 8},
        ),
        (
            "report --add-runs r --add-exports e",
            "ssn_lib.study.publishing.publish",
            [],
            {"add_runs": Path("r"), "add_exports": Path("e")},
        ),
    ],
)
def test_a_command_hands_on_what_it_was_given(words, place, answer, given, monkeypatch):
    module, _, name = place.rpartition(".")
    real = getattr(import_module(module), name)
    stub = create_autospec(real, return_value=answer)
    monkeypatch.setattr(place, stub)
    assert main(words.split()) == 0
    call = inspect.signature(real).bind(*stub.call_args.args, **stub.call_args.kwargs)
    assert {key: call.arguments[key] for key in given} == given


def test_seed_and_resizing_are_those_asked_for(arguments, capsys):
    more = ("--seed", "7", "--resize", "antialiased", "--json")
    assert main(arguments("scenario_a", "--untrained", *more)) == 0
    config = json.loads(capsys.readouterr().out.splitlines()[-1])["config"]
    assert (config["seed"], config["data"]["resize"]) == (7, "antialiased")


@pytest.mark.parametrize("hours", ["0", "-1", "nan"])
def test_a_study_needs_time(hours, capsys):
    assert "above 0" in refused(["study", f"--hours={hours}"], capsys)
    assert "above 0" in refused(["protocol", f"--minutes={hours}"], capsys)
    assert "above 0" in refused(["protocol", "--workers=0"], capsys)


def test_a_kernel_is_built_checked_and_says_what_is_left_to_do(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(kernel, "build", lambda given, **how: asked.append((given, how)))
    words = "-p profile quick -p seeds 42,43 -p time_budget_h 5.5 --datasets me/a,me/b"
    assert main(f"kaggle build --owner me {words}".split()) == 0
    given = {"profile": "quick", "seeds": "42,43", "time_budget_h": 5.5}
    how = {"owner": "me", "resume": False, "datasets": ("me/a", "me/b")}
    assert asked == [(given, how)]
    monkeypatch.setattr(kernel, "check", lambda: "all is well")
    for is_set, line in (
        (True, "kaggle kernels push -p build/kernel"),
        (False, "make kernel OWNER="),
    ):
        monkeypatch.setattr(kernel, "owner_is_set", lambda is_set=is_set: is_set)
        assert main(["kaggle", "check"]) == 0
        assert line in capsys.readouterr().out
