from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ssn_lib.data.decoding import Remarks
from ssn_lib.deploy import stream
from ssn_lib.deploy.detector import Trained
from ssn_lib.deploy.stream import BATCH, Judged, Refused, ahead, batched, judged
from ssn_lib.metrics import Thresholds
from ssn_lib.models.supersimplenet import Prediction


class MeanGrey(torch.nn.Module):
    """A detector whose map is an image's red, whose score its mean; notes its batches' sizes."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, images):
        self.batches.append(len(images))
        return Prediction(images[:, :1], images.mean((1, 2, 3)))


@pytest.fixture
def trained():
    thresholds = Thresholds(score=0.0, map=0.0)
    return Trained(
        "a_run", "simplenet", MeanGrey(), (16, 24), "antialiased", None, thresholds, None
    )


@pytest.fixture
def files(tmp_path):
    """More than two batches of images, each lighter than the one before."""
    paths = [tmp_path / f"{grey:03}.png" for grey in range(2 * BATCH + 5)]
    for grey, path in enumerate(paths):
        Image.fromarray(np.full((16, 24, 3), 3 * grey, np.uint8)).save(path)
    return paths


def test_images_are_judged_in_batches_and_come_in_order(trained, files):
    with ThreadPoolExecutor(4) as pool:
        found = list(judged(trained, files, pool, Remarks()))
    assert trained.network.batches == [BATCH, BATCH, 5]
    assert [item.path for item in found] == files
    scores = [item.score for item in found]
    assert scores == sorted(scores)
    assert (found[7].image == 21).all()
    assert found[7].image.shape == (16, 24, 3)
    assert found[7].anomaly_map.shape == (16, 24)


def test_what_cannot_be_read_is_told_and_costs_no_other(trained, files):
    files[3].write_bytes(b"half of it")
    files[20].unlink()
    with ThreadPoolExecutor(4) as pool:
        found = list(judged(trained, files, pool, Remarks()))
    refused = [item for item in found if isinstance(item, Refused)]
    assert [item.path for item in refused] == [files[3], files[20]]
    assert "is not an image file" in str(refused[0].error)
    assert "no such file" in str(refused[1].error)
    others = [item.path for item in found if isinstance(item, Judged)]
    assert others == [path for path in files if path not in (files[3], files[20])]


def test_an_answer_that_is_no_number_is_no_good_image(trained, files):
    """Not above the threshold, it would pass for one."""

    class Broken(MeanGrey):
        def forward(self, images):
            answer = super().forward(images)
            answer.score[1] = torch.nan
            answer.anomaly_map[2] = torch.inf
            return answer

    with ThreadPoolExecutor(4) as pool:
        found = list(judged(replace(trained, network=Broken()), files[:4], pool, Remarks()))
    assert [type(item) for item in found] == [Judged, Refused, Refused, Judged]
    assert "001.png: the network's answer to it is no finite number" in str(found[1].error)


def test_a_time_that_is_none_costs_no_other(trained, files):
    os.utime(files[1], (2**37, 2**37))  # beyond the year 9999, where the file system keeps that
    if files[1].stat().st_mtime < 2**36:
        pytest.skip("this file system keeps no such time")
    with ThreadPoolExecutor(4) as pool:
        found = list(judged(trained, files[:3], pool, Remarks()))
    refused = [item for item in found if isinstance(item, Refused)]
    assert "its time of modification is none" in str(refused[0].error)
    assert len(found) == 3


def test_images_of_another_shape_are_said_once(trained, files):
    for path in files[4:6]:
        Image.new("RGB", (16, 24)).save(path)  # upright, where the detector sees them lying
    remarks = Remarks()
    with ThreadPoolExecutor(4) as pool:
        found = list(judged(trained, files, pool, remarks))
    assert len(found) == len(files)
    with pytest.warns(
        UserWarning, match=r"another shape, stretched to 16×24 .*: 2, the first .*004\.png"
    ) as said:
        remarks.warn()
    assert len(said) == 1


def test_a_batch_of_unreadable_files_is_not_predicted(trained, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        (item,) = judged(trained, [tmp_path / "nowhere.png"], pool, Remarks())
    assert isinstance(item, Refused)
    assert trained.network.batches == []


def test_few_images_are_held_however_many_there_are(trained, files, monkeypatch):
    decoded = []
    read = stream.read_image
    monkeypatch.setattr(
        stream, "read_image", lambda path, *a: decoded.append(path) or read(path, *a)
    )
    monkeypatch.setattr(stream, "AHEAD", 20)
    with (
        ThreadPoolExecutor(4) as pool,
        closing(judged(trained, files * 20, pool, Remarks())) as all_,
    ):
        for _ in range(3 * BATCH):
            next(all_)
        assert len(decoded) <= 3 * BATCH + 20 + 1


def test_work_is_done_ahead_but_not_far_and_comes_in_order():
    begun, gate = [], threading.Event()

    def work(item):
        begun.append(item)
        if item == 0:
            gate.wait(5)
        return 10 * item

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, work, iter(range(100)), depth=5)
        threading.Timer(0.1, gate.set).start()
        assert next(results) == 0
        assert 2 <= len(begun) <= 6
        assert [next(results) for _ in range(10)] == [10 * n for n in range(1, 11)]
        results.close()
        time.sleep(0.05)
        assert len(begun) <= 17


def test_an_error_of_the_work_comes_in_its_turn():
    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, lambda item: 1 / item, [2, 1, 0, 1], depth=3)
        assert [next(results), next(results)] == [0.5, 1]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_batches_hold_all_the_items():
    assert list(batched(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(batched([], 3)) == []
