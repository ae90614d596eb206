from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from ssn_lib import evaluate, inspection, predict, runs
from ssn_lib.errors import InputError


def test_heatmap_leaves_quiet_pixels_alone_and_colours_loud_ones():
    image = np.full((4, 4, 3), 100, np.uint8)
    quiet_and_loud = np.full((4, 4), -10.0, np.float32)
    quiet_and_loud[0, 0] = 10
    shown = inspection.heatmap(image, quiet_and_loud, threshold=0.0)
    assert (shown[1:] == 100).all()
    assert (shown[0, 0] != 100).any()


def test_heatmaps_opacity_is_as_told():
    image = np.zeros((1, 3, 3), np.uint8)
    strength = np.array([[0.24, 0.5, 0.76]], np.float32)
    shown = inspection.heatmap(image, np.log(strength / (1 - strength)) + 2, threshold=2.0)
    colour = inspection.colormaps["inferno"](strength)[..., :3] * 255
    opacity = inspection.OVERLAY_OPACITY * np.array([0, 0.5, 1])[:, None]
    np.testing.assert_allclose(shown, opacity * colour, atol=0.51)


def test_images_of_one_name_keep_apart(tmp_path):
    for files in (["a/x.png", "b/x.png", "c/x_2.png"], ["c/x_2.png", "a/x.png", "b/x.png"]):
        names = inspection._overlay_names([tmp_path / file for file in files])
        assert len(set(names)) == len(files)


def test_predict_writes_overlay_and_scores(tiny_run, dataset, tmp_path):
    folder, images = tiny_run
    table = inspection.inspect(folder, [images], tmp_path / "out", weights=None)
    written = pd.read_csv(tmp_path / "out/scores.csv")
    assert len(table) == len(written) == len(list(images.iterdir()))
    assert ((written.score > written.threshold) == written.anomalous).all()
    for name in written.overlay:
        with Image.open(tmp_path / "out" / name) as overlay:
            assert overlay.size == dataset.test.image_size[::-1]


def test_an_unreadable_image_costs_no_other_its_score(tiny_run, tmp_path):
    folder, images = tiny_run
    mixed = tmp_path / "mixed"
    shutil.copytree(images, mixed)
    (mixed / "000_broken.png").write_bytes(b"half of it")
    with (
        pytest.warns(UserWarning, match=r"000_broken\.png"),
        pytest.raises(InputError, match=r"1 of \d+ images could not be read; .*scores\.csv"),
    ):
        inspection.inspect(folder, [mixed], tmp_path / "out", weights=None)
    written = pd.read_csv(tmp_path / "out/scores.csv")
    assert len(written) == len(list(images.iterdir()))
    with pytest.raises(InputError, match=r"000_broken\.png"):
        inspection.inspect(folder, [mixed / "000_broken.png"], tmp_path / "no", weights=None)
    assert not (tmp_path / "no").exists()


def test_predict_names_what_is_missing(tiny_run, tmp_path):
    folder, _ = tiny_run
    with pytest.raises(InputError, match="nowhere.png: no such file"):
        inspection.inspect(folder, [tmp_path / "nowhere.png"], tmp_path / "out", weights=None)
    with pytest.raises(InputError, match="no record.json"):
        inspection.inspect(tmp_path, [tmp_path], tmp_path / "out", weights=None)


def test_a_loaded_run_predicts_what_it_recorded(tiny_run, dataset):
    folder, _ = tiny_run
    torch.manual_seed(1)  # the untrained backbone is the run's own, whatever the global state
    record, model = runs.load_run(folder, weights=None)
    measured = evaluate(predict(model, dataset.test), dataset.test)
    assert {name: pytest.approx(value) for name, value in measured.items()} == record.metrics
