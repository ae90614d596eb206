from __future__ import annotations

import errno
import os
import shutil
import warnings

import pandas as pd
import pytest
import torch
from PIL import Image

from ssn_lib import evaluate, predict
from ssn_lib.deploy import inspection
from ssn_lib.errors import InputError
from ssn_lib.runs.run import load_run


def test_predict_writes_overlay_and_scores(tiny_run, dataset, tmp_path):
    folder, images = tiny_run
    table = inspection.inspect(folder, [images], tmp_path / "out", weights=None).table
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


def test_overlays_beside_the_images_are_not_inspected_the_next_time(tiny_run, tmp_path):
    folder, images = tiny_run
    own = shutil.copytree(images, tmp_path / "own")
    shutil.copy(own / "000.png", own / "001_overlay.png")  # a photograph of the user's
    before = (own / "001_overlay.png").read_bytes()
    tables = [inspection.inspect(folder, [own], own, weights=None).table for _ in range(2)]
    assert tables[0].equals(tables[1])
    assert len(tables[0]) == len(list(images.iterdir())) + 1
    assert (own / "001_overlay.png").read_bytes() == before
    inside = inspection.inspect(folder, [own], own / "out", weights=None)
    assert inside.table.equals(
        inspection.inspect(folder, [own], own / "out", weights=None, again=True).table
    )
    named = inspection.inspect(folder, [own / "000_overlay.png"], tmp_path / "x", weights=None)
    assert len(named.table) == 1  # what the user names is inspected


def test_names_of_another_code_page_cost_no_score(tiny_run, tmp_path):
    folder, images = tiny_run
    odd = tmp_path / os.fsdecode(b"n\xe4me")
    try:
        shutil.copytree(images, odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    (odd / "000.png").rename(odd / os.fsdecode(b"st\xfcck.png"))
    shutil.copy(odd / "001.png", odd / f"{'x' * 250}.png")  # as long as a name can be
    inspection.inspect(folder, [odd], odd / os.fsdecode(b"\xfcbersicht"), weights=None)
    written = pd.read_csv(odd / os.fsdecode(b"\xfcbersicht") / "scores.csv")
    assert len(written) == len(list(images.iterdir())) + 1
    assert written.image.str.endswith(r"n\udce4me/st\udcfcck.png").any()
    for name in written.overlay:
        assert (odd / os.fsdecode(b"\xfcbersicht") / name).is_file()


def test_a_folder_or_link_that_cannot_be_read_costs_no_other_its_score(
    tiny_run, tmp_path, monkeypatch
):
    folder, images = tiny_run
    own = shutil.copytree(images, tmp_path / "own")
    (own / "gone.png").symlink_to("/nowhere/gone.png")
    (own / "private").mkdir()
    scan = os.scandir

    def scandir(path):
        if path == own / "private":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr("os.scandir", scandir)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(InputError, match=r"2 of \d+ images could not be read"):
            inspection.inspect(folder, [own / "private", own], tmp_path / "out", weights=None)
    lines = {str(warning.message) for warning in warned}
    assert lines == {
        f"{own / 'private'} cannot be read: Permission denied; ask for the right to read it",
        f"{own / 'gone.png'} is a link to /nowhere/gone.png, which is not there: bring it back or "
        "remove the link",
    }
    assert len(pd.read_csv(tmp_path / "out/scores.csv")) == len(list(images.iterdir()))


def test_what_of_a_folder_is_not_inspected_or_may_be_a_mask_is_said(tiny_run, tmp_path):
    folder, images = tiny_run
    own = shutil.copytree(images, tmp_path / "own")
    shutil.copytree(images, own / "batch2")
    shutil.copytree(images, own / ".thumbnails")
    shutil.copy(own / "000.png", own / "000_mask.png")
    with pytest.warns(UserWarning) as warned:
        table = inspection.inspect(folder, [own], tmp_path / "out", weights=None).table
    lines = [str(warning.message) for warning in warned]
    assert len(lines) == 2
    assert "2 images are not used, in batch2 (2)" in lines[0]
    assert "1 of 3 images are named like masks and inspected all the same" in lines[1]
    assert len(table) == 3
    inspection.inspect(folder, [own / "000_mask.png"], tmp_path / "out", weights=None)


def test_predict_names_what_is_missing(tiny_run, tmp_path):
    folder, _ = tiny_run
    with pytest.raises(InputError, match="nowhere.png: no such file"):
        inspection.inspect(folder, [tmp_path / "nowhere.png"], tmp_path / "out", weights=None)
    with pytest.raises(InputError, match="no record.json"):
        inspection.inspect(tmp_path, [tmp_path], tmp_path / "out", weights=None)


def test_a_loaded_run_predicts_what_it_recorded(tiny_run, dataset):
    folder, _ = tiny_run
    torch.manual_seed(1)  # the untrained backbone is the run's own, whatever the global state
    record, model = load_run(folder, weights=None)
    measured = evaluate(predict(model, dataset.test), dataset.test)
    assert {name: pytest.approx(value) for name, value in measured.items()} == record.metrics
