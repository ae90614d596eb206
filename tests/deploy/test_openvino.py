from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ssn_lib import cli, predict, preset
from ssn_lib.data.images import normalise, read_image
from ssn_lib.deploy import openvino as deployed
from ssn_lib.deploy.openvino import Compiled, about, convert, export_run
from ssn_lib.deploy.precision import PrecisionCost
from ssn_lib.errors import InputError
from ssn_lib.metrics import Thresholds
from ssn_lib.runs.record import read_record
from ssn_lib.storage import REPOSITORY

README = REPOSITORY / "ssn_lib" / "deploy" / "README.md"


def relative_difference(ours, theirs):
    return max(
        ((a - b).abs().max() / a.abs().max()).item() for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize(
    ("name", "precision"),  # which decides the form; computed in float32
    [
        ("scenario_a", "bf16"),
        ("scenario_b", "bf16"),
        ("simplenet", "bf16"),
        ("gap_cam", "float32"),
        ("evolved", "float32"),
    ],
)
def test_any_number_of_images_gives_the_same_map_and_score(
    name, precision, make_small_model, randomise_batchnorm
):
    model = randomise_batchnorm(make_small_model(preset(name).model))
    compiled = Compiled(convert(model, (32, 48), precision), "float32")
    for count in (1, 3):
        images = torch.randn(count, 3, 32, 48)
        with torch.inference_mode():
            expected = model(images)
        made = compiled(images)
        assert [part.shape for part in made] == [part.shape for part in expected]
        assert relative_difference(expected, made) < 1e-4


def test_interpolations_are_computed_in_16_bits_too(make_small_model):
    """Products with a constant on the left are not: the largest of the interpolations."""
    core = deployed.openvino().Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no units for bf16")
    model = make_small_model(preset("scenario_a").model)
    converted = convert(model, (64, 64), "bf16")
    graph = core.compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    kinds = [
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in graph.get_runtime_model().get_ordered_ops()
        if node.get_rt_info()["layerType"].astype(str) == "MatMul"
    ]
    assert kinds.count("bf16") >= 4  # two layers along columns, both along rows; the final map not


@pytest.fixture(scope="module")
def exported(tiny_run, mvtec_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("line") / "detector"
    arguments = ["export", str(tiny_run[0]), str(folder), "--engine", "openvino"]
    more = ["--precision", "bf16", "--data-root", str(mvtec_root), "--tolerance", "100"]
    with pytest.warns() if deployed_in_float32() else contextlib.nullcontext():
        assert cli.main(arguments + more) == 0
    return folder


def deployed_in_float32():
    offered = deployed.openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" not in offered


def test_the_file_knows_all_that_its_user_must(exported, tiny_run, dataset):
    told, record = about(exported), read_record(tiny_run[0])
    assert tuple(told["image_size"]) == dataset.test.image_size
    assert (told["run"], told["preset"]) == (record.run_id, "scenario_a")
    assert (told["precision"], told["inference_precision"]) == ("bf16", "bf16")
    assert told["cost"]["images"] == len(dataset.test)
    assert told["cost"]["measured_on"] == "test images"
    prediction = predict(Compiled(exported / "detector.xml", "bf16"), dataset.train)
    chosen_anew = np.quantile(prediction.score, 0.99)
    assert told["score_threshold"] == pytest.approx(chosen_anew, abs=1e-5)


@pytest.mark.parametrize(("name", "quantised"), [("evolved", 10), ("scenario_a", 5)])
def test_int8_quantises_convolutions(name, quantised, make_small_model, dataset):
    model = make_small_model(preset(name).model)
    converted = convert(model, (32, 32), "int8", dataset.train)
    kinds = [node.get_type_name() for node in converted.get_ordered_ops()]
    assert kinds.count("FakeQuantize") >= quantised
    made = predict(Compiled(converted, "int8"), dataset.test)
    expected = predict(model, dataset.test)
    correlation = np.corrcoef(made.anomaly_map.flatten(), expected.anomaly_map.flatten())[0, 1]
    assert correlation > 0.8  # of an untrained network


def test_int8_needs_images(make_small_model, dataset, refusal):
    model = make_small_model(preset("evolved").model)
    empty = dataset.train.subset([])
    assert "good images" in refusal(lambda: convert(model, (32, 32), "int8", empty))


def test_what_costs_more_than_it_may_is_not_written(
    tiny_run, mvtec_root, tmp_path, monkeypatch, refusal
):
    cost = PrecisionCost(
        measured_on="test images",
        images=6,
        step=11.0,
        before=dict.fromkeys(("I-AUROC", "AUPRO", "AP-loc"), 90.0),
        changes={"I-AUROC": 0.5, "AUPRO": -0.31, "AP-loc": None},
        flipped=0.0,
        largest_score_change=0.1,
        largest_map_change=0.1,
        thresholds=Thresholds(0.0, 0.0),
        good_scores=(0.0, 1.0),
    )
    monkeypatch.setattr(deployed, "cost_of", lambda *_: cost)
    monkeypatch.setattr(deployed, "_check_units", lambda _: None)
    arguments = {"precision": "bf16", "data_root": mvtec_root}

    def call(**more):
        return export_run(tiny_run[0], tmp_path / "it", None, **arguments, **more)

    message = refusal(call)
    assert "AUPRO loses 0.31 points on 6 test images, 0.3 are allowed;" in message
    assert "--tolerance" in message and "I-AUROC" not in message
    assert not list(tmp_path.iterdir())
    assert call(tolerance=0.32) == cost


@pytest.mark.parametrize("tolerance", ["-1", "nan", "inf"])
def test_a_tolerance_is_a_number_of_points(tolerance, tiny_run, tmp_path, capsys):
    arguments = ["export", str(tiny_run[0]), str(tmp_path / "it"), "--engine", "openvino"]
    assert cli.main([*arguments, "--precision", "bf16", "--tolerance", tolerance]) == 2
    assert f"--tolerance {tolerance}" in capsys.readouterr().err


def test_a_full_disk_is_said_in_plain_words(tiny_run, tmp_path, monkeypatch, refusal):
    def full(*_, **__):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(deployed.openvino(), "save_model", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    said = refusal(lambda: export_run(tiny_run[0], tmp_path / "it", None))
    assert "No space left on device" in said and "iostream" not in said


def test_an_export_replaces_an_earlier_one_and_nothing_else(
    tiny_run, tmp_path, monkeypatch, refusal
):
    folder = tmp_path / "detector"
    export_run(tiny_run[0], folder, None)
    before = (folder / "detector.xml").read_bytes()

    def full(*_, **__):
        raise RuntimeError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(deployed.openvino(), "save_model", full)
        assert "No space left" in refusal(lambda: export_run(tiny_run[0], folder, None))
    assert (folder / "detector.xml").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["detector"]
    export_run(tiny_run[0], folder, None)
    (folder / "notes.txt").write_text("mine")
    assert "notes.txt" in refusal(lambda: export_run(tiny_run[0], folder, None))
    assert "is a file" in refusal(lambda: export_run(tiny_run[0], folder / "notes.txt", None))


@pytest.mark.parametrize(
    ("package", "precision"), [("openvino", "float32"), ("nncf", "int8"), ("onnx", "float32")]
)
def test_a_missing_package_is_one_line(
    package, precision, tiny_run, tmp_path, monkeypatch, refusal
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(deployed, "_check_units", lambda _: None)

    def call():
        return export_run(tiny_run[0], tmp_path / "it", None, precision=precision)

    assert f"pip install {package}" in refusal(call)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--precision", "bf16"], "--precision is for --engine openvino"),
        (["--tolerance", "1"], "--tolerance is for --engine openvino"),
        (["--data-root", "here"], "--data-root is for --engine openvino"),
        (["--engine", "openvino", "--form", "plain"], "--form is for --engine onnx"),
        (["--engine", "openvino", "--tolerance", "1"], "--tolerance is for --precision bf16"),
        (["--engine", "openvino", "--data-root", "here"], "--data-root is for --precision bf16"),
    ],
)
def test_options_of_the_other_engine_are_refused(options, said, tiny_run, tmp_path, capsys):
    assert cli.main(["export", str(tiny_run[0]), str(tmp_path / "it"), *options]) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_export_of_ours_is_one_line(tmp_path, refusal):
    assert "no such file" in refusal(lambda: about(tmp_path))
    (tmp_path / "detector.xml").write_text("<net")
    assert "export it again" in refusal(lambda: about(tmp_path))


def test_the_readmes_example_inspects_a_folder_without_torch(exported, tiny_run, tmp_path):
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        if "import openvino" in block
    )
    shutil.copytree(exported, tmp_path / "detector")
    shutil.copytree(tiny_run[1], tmp_path / "new_images")
    (tmp_path / "torch.py").write_text("raise ImportError('this line has no torch')")
    (tmp_path / "line.py").write_text(code)
    printed = subprocess.run(
        [sys.executable, "line.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    network, told = Compiled(exported / "detector.xml", "bf16"), about(exported)
    assert len(printed) == len(list(tiny_run[1].iterdir()))
    for line, path in zip(printed, sorted(tiny_run[1].iterdir()), strict=True):
        name, score, decision = line.split()
        (expected,) = network(normalise(read_image(path, told["image_size"])[None])).score
        assert name == path.name
        assert float(score) == pytest.approx(expected.item(), rel=2e-2, abs=2e-2)
        assert decision == ("anomalous" if float(score) > told["score_threshold"] else "good")


def test_a_run_that_cannot_be_written_to_is_exported_all_the_same(tmp_path, monkeypatch):
    def refused(*_):
        raise InputError("cannot write export-int8.json: Permission denied")

    monkeypatch.setattr(deployed.Export, "keep", refused)
    export = deployed.Export(*range(9))
    with pytest.warns(UserWarning, match="Permission denied; what this precision costs is not"):
        deployed._keep(export, tmp_path)
