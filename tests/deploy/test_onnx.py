from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from ssn_lib import SuperSimpleNet, cli, fuse, predict, preset
from ssn_lib.data.images import IMAGENET_MEAN, IMAGENET_STD, normalise, read_image
from ssn_lib.deploy.inspection import inspect
from ssn_lib.deploy.onnx import Exported, export, export_run
from ssn_lib.errors import InputError
from ssn_lib.runs.loading import load_run
from ssn_lib.runs.record import read_record
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


@pytest.fixture
def example():
    """The README's loop for a line without PyTorch."""
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
        if "import onnxruntime" in block
    )
    return code


def test_the_readmes_example_refuses_colour_that_pillow_would_cut(example, tmp_path):
    """Colour of 12 bits in 16: of what Pillow gives, most is black."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = b"".join(b"\0" + np.full((32, 3), 3000, ">u2").tobytes() for _ in range(32))
    (tmp_path / "new_images").mkdir()
    (tmp_path / "new_images/deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    model = SuperSimpleNet(preset("scenario_a").model, None)
    facts = {"image_size": (32, 32), "full_scale": 4095, "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    export(fuse(model), tmp_path / "detector.onnx", (32, 32), facts | {"score_threshold": 0.0})
    (tmp_path / "line.py").write_text(example)
    ended = subprocess.run(
        [sys.executable, "line.py"], cwd=tmp_path, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("new_images/deep.png: colour of more than 8 bits")


def test_an_exported_threshold_is_still_the_persons_who_chose_it(tiny_run, tmp_path):
    folder, images = tiny_run
    chosen = {"kind": "ssn_lib threshold", "run": folder.name, "score_threshold": 0.25}
    chosen |= {"images": 7, "chosen": "2026-11-27T07:00:00Z"}
    (tmp_path / "threshold.json").write_text(json.dumps(chosen))
    file = tmp_path / "detector.onnx"
    export_run(folder, file, weights=None, threshold=tmp_path / "threshold.json")
    found = inspect(file, [images], tmp_path / "out")
    assert found.threshold == 0.25
    assert found.worth.startswith("A person chose the threshold on 2026-11-27, with 7 images")


def test_the_readmes_example_inspects_a_folder_without_torch(exported, example, tiny_run, tmp_path):
    shutil.copy(exported / "detector.onnx", tmp_path)
    shutil.copytree(tiny_run[1], tmp_path / "new_images")
    (tmp_path / "torch.py").write_text("raise ImportError('this line has no torch')")
    (tmp_path / "line.py").write_text(example)
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
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "no record.json" in line
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match="pip install onnx onnxscript onnxruntime"):
        export(SuperSimpleNet(preset("scenario_a").model, None), tmp_path / "it.onnx", (32, 32), {})
    assert not (tmp_path / "it.onnx").exists()
