from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from ssn_lib import predict
from ssn_lib.deploy import onnx, openvino
from ssn_lib.deploy.detector import open_detector
from ssn_lib.errors import InputError
from ssn_lib.runs.loading import load_run
from ssn_lib.runs.record import _content_hash, read_record


def test_a_runs_folder_opens_as_the_detector_that_was_trained(tiny_run, dataset):
    folder, _ = tiny_run
    trained = open_detector(folder, weights=None)
    record, model = load_run(folder, weights=None)
    assert (trained.run_id, trained.preset) == (record.run_id, "scenario_a")
    assert trained.thresholds == record.thresholds
    assert (trained.image_size, trained.resize) == ((32, 32), "antialiased")
    ours, theirs = trained.predict(dataset.test.images), predict(model, dataset.test)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_network_without_parameters_takes_images_on_the_cpu(tiny_run, dataset):
    class Exported(torch.nn.Module):
        def forward(self, images):
            assert images.device.type == "cpu"
            assert images.dtype == torch.float32
            return images[:, :1], images.mean((1, 2, 3))

    trained = open_detector(tiny_run[0], weights=None)
    object.__setattr__(trained, "network", Exported())
    assert trained.predict(dataset.test.images).score.shape == (len(dataset.test),)


def test_a_run_that_diverged_is_refused(tiny_run, tmp_path, refusal):
    folder = shutil.copytree(tiny_run[0], tmp_path / "diverged")
    content = read_record(folder).to_json() | {"thresholds": None, "status": "diverged"}
    del content["content_hash"]
    content["content_hash"] = _content_hash(content)
    (folder / "record.json").write_text(json.dumps(content))
    said = refusal(lambda: open_detector(folder, weights=None))
    assert said == f"{folder}: the training diverged, so its network detects nothing"


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere", "no such file or folder"), (".", "not a finished run")]
)
def test_a_folder_that_is_no_run_is_refused(name, why, tmp_path, refusal):
    assert why in refusal(lambda: open_detector(str(tmp_path / name), weights=None))


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_an_exported_file_opens_as_its_run_does(engine, tiny_run, dataset, tmp_path):
    folder, _ = tiny_run
    target = tmp_path / ("it.onnx" if engine == "onnx" else "it")
    {"onnx": onnx, "openvino": openvino}[engine].export_run(folder, target, None)
    exported, trained = open_detector(target), open_detector(folder, weights=None)
    for name in ("run_id", "preset", "image_size", "resize", "full_scale", "thresholds"):
        assert getattr(exported, name) == getattr(trained, name)
    assert exported.reference.seen is trained.reference.seen
    np.testing.assert_array_equal(exported.reference.scores, trained.reference.scores)
    np.testing.assert_array_equal(exported.reference.looks, trained.reference.looks)
    images = dataset.test.images
    for one, other in zip(exported.predict(images), trained.predict(images), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_a_chosen_threshold_goes_with_the_file(engine, tiny_run, tmp_path, refusal):
    folder, _ = tiny_run
    target = tmp_path / ("it.onnx" if engine == "onnx" else "it")
    export_run = {"onnx": onnx, "openvino": openvino}[engine].export_run
    chosen = {"kind": "ssn_lib threshold", "run": read_record(folder).run_id}
    chosen |= {"score_threshold": 1.25, "images": 6, "chosen": "2026-11-27T08:00:00.000Z"}
    (tmp_path / "threshold.json").write_text(json.dumps(chosen))
    export_run(folder, target, None, threshold=tmp_path / "threshold.json")
    opened = open_detector(target)
    assert opened.thresholds.score == opened.chosen.score == 1.25
    assert opened.chosen.images == 6
    (tmp_path / "threshold.json").write_text(json.dumps(chosen | {"run": "another"}))
    call = {"threshold": tmp_path / "threshold.json"}
    assert "run another" in refusal(lambda: export_run(folder, target, None, **call))


@pytest.mark.parametrize("difference", [2e-4, float("nan")])
@pytest.mark.parametrize("engine", ["onnx", "openvino"])
def test_what_computes_something_else_is_not_written(
    engine, difference, tiny_run, tmp_path, monkeypatch, refusal
):
    module = {"onnx": onnx, "openvino": openvino}[engine]
    monkeypatch.setattr(module, "largest_difference", lambda *_: difference)
    target = tmp_path / ("it.onnx" if engine == "onnx" else "it")
    assert "outputs differ" in refusal(lambda: module.export_run(tiny_run[0], target, None))
    assert not list(tmp_path.iterdir())


def test_a_threshold_of_float32_is_taken_in_another_precision_with_a_warning(tiny_run, tmp_path):
    record = read_record(tiny_run[0])
    file = tmp_path / "threshold.json"
    chosen = {"kind": "ssn_lib threshold", "score_threshold": 1.25, "images": 6}
    chosen |= {"chosen": "2026-11-27T08:00:00.000Z", "run": record.run_id}
    file.write_text(json.dumps(chosen))
    with pytest.warns(UserWarning, match="on scores in float32, and those in int8 differ"):
        facts = onnx.described(record, None, file, "int8")
    assert facts["score_threshold"] == 1.25
    file.write_text(json.dumps(chosen | {"run": f"{record.run_id} in int8"}))
    assert onnx.described(record, None, file, "int8")["chosen"]["run"].endswith(" in int8")
    with pytest.raises(InputError, match="in int8, not of"):
        onnx.described(record, None, file)


def test_scores_of_another_precision_are_told_apart(tiny_run):
    trained = open_detector(tiny_run[0], weights=None)
    assert trained.scorer_id == trained.run_id
    assert replace(trained, precision="int8").scorer_id == f"{trained.run_id} in int8"


@pytest.mark.parametrize("name", ["detector", "."])
def test_an_onnx_file_has_the_suffix_that_it_is_known_by(name, tiny_run, tmp_path, refusal):
    said = refusal(lambda: onnx.export_run(tiny_run[0], tmp_path / name, None))
    assert "ends in .onnx" in said and not list(tmp_path.iterdir())


def test_a_file_that_is_no_detector_is_one_line(tmp_path, refusal):
    assert "no such file" in refusal(lambda: open_detector(tmp_path / "it.onnx"))
    (tmp_path / "it.onnx").write_bytes(b"no model")
    assert "cannot be read" in refusal(lambda: open_detector(tmp_path / "it.onnx"))
