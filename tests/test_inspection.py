from __future__ import annotations

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


def test_images_of_one_name_keep_apart(tmp_path):
    names = inspection._overlay_names([tmp_path / "a/1.png", tmp_path / "b/1.png"])
    assert len(set(names)) == 2


def test_predict_writes_overlay_and_scores(tiny_run, dataset, tmp_path):
    folder, images = tiny_run
    table = inspection.inspect(folder, [images], tmp_path / "out", weights=None)
    written = pd.read_csv(tmp_path / "out/scores.csv")
    assert len(table) == len(written) == len(list(images.iterdir()))
    assert ((written.score > written.threshold) == written.anomalous).all()
    for name in written.overlay:
        with Image.open(tmp_path / "out" / name) as overlay:
            assert overlay.size == dataset.test.image_size[::-1]


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
