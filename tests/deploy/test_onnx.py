from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from ssn_lib import SuperSimpleNet, cli, fuse, predict, preset
from ssn_lib.data.images import normalise, read_image
from ssn_lib.deploy.onnx import Exported, export
from ssn_lib.errors import InputError
from ssn_lib.runs.record import read_record
from ssn_lib.runs.run import load_run
from ssn_lib.storage import REPOSITORY

README = REPOSITORY / "ssn_lib" / "deploy" / "README.md"


@pytest.mark.parametrize(
    ("name", "form", "autocast"),
    [
        ("scenario_a", "plain", True),
        ("scenario_b", "folded", True),
        ("simplenet", "folded", False),
        ("gap_cam", "folded", False),
        ("evolved", "folded", False),
    ],
)
def test_any_number_of_images_gives_the_same_map_and_score(
    name, form, autocast, tmp_path, make_small_model, randomise_batchnorm
):
    model = randomise_batchnorm(make_small_model(preset(name).model))
    network = fuse(model) if form == "folded" else model
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        export(network, tmp_path / "it.onnx", (32, 48), {})
    session = onnxruntime.InferenceSession(tmp_path / "it.onnx")
    for count in (1, 3):
        images = torch.randn(count, 3, 32, 48)
        with torch.inference_mode():
            expected = model(images)
        made = session.run(None, {"images": images.numpy()})
        for ours, theirs in zip(expected, made, strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * ours.abs().max().item())


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("line")
    arguments = ["export", str(tiny_run[0]), str(folder / "detector.onnx")]
    assert cli.main(arguments) == 0
    return folder


def test_images_on_another_device_are_taken_to_the_cpu(exported, dataset):
    images = normalise(dataset.test.images[:2])
    network = Exported(exported / "detector.onnx")
    elsewhere = SimpleNamespace(cpu=lambda: images)  # whose numpy() would fail, as on a GPU
    for ours, theirs in zip(network(elsewhere), network(images), strict=True):
        assert torch.equal(ours, theirs)


def test_the_file_knows_all_that_its_user_must(exported, tiny_run, dataset):
    session = onnxruntime.InferenceSession(exported / "detector.onnx")
    properties = session.get_modelmeta().custom_metadata_map
    about = {name: json.loads(value) for name, value in properties.items()}
    record = read_record(tiny_run[0])
    assert tuple(about["image_size"]) == dataset.test.image_size
    assert about["full_scale"] is None  # what is white in files of more than 8 bits: none here
    assert about["preset"] == "scenario_a"
    assert about["backbone_weights"] == "untrained"
    assert about["score_threshold"] == record.thresholds.score
    assert about["map_threshold"] == record.thresholds.map
    images = dataset.test.images[:2]
    expected = normalise(images)
    mean, std = (np.float32(about[name]).reshape(3, 1, 1) for name in ("mean", "std"))
    np.testing.assert_allclose((images.numpy() / 255 - mean) / std, expected, atol=1e-5)


def test_the_readmes_example_inspects_a_folder_without_torch(exported, tiny_run, tmp_path):
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        if "import onnxruntime" in block
    )
    shutil.copy(exported / "detector.onnx", tmp_path)
    shutil.copytree(tiny_run[1], tmp_path / "new_images")
    (tmp_path / "torch.py").write_text("raise ImportError('this line has no torch')")
    (tmp_path / "line.py").write_text(code)
    printed = subprocess.run(
        [sys.executable, "line.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    record, model = load_run(tiny_run[0], weights=None)
    assert len(printed) == len(list(tiny_run[1].iterdir()))
    for line, path in zip(printed, sorted(tiny_run[1].iterdir()), strict=True):
        name, score, decision = line.split()
        (expected,) = predict(model, read_image(path, record.config.data.image_size)[None]).score
        assert name == path.name
        assert float(score) == pytest.approx(expected.item(), rel=1e-3, abs=1e-4)
        assert decision == ("anomalous" if expected > record.thresholds.score else "good")


def test_bad_input_is_one_line(tiny_run, tmp_path, monkeypatch, capsys):
    assert cli.main(["export", str(tmp_path), str(tmp_path / "it.onnx")]) == 2
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install onnx onnxscript onnxruntime"):
        export(SuperSimpleNet(preset("scenario_a").model, None), tmp_path / "it.onnx", (32, 32), {})
    assert not (tmp_path / "it.onnx").exists()
