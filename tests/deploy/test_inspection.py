from __future__ import annotations

import errno
import json
import os
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssn_lib.data.appearance import APPEARANCE
from ssn_lib.deploy import inspection
from ssn_lib.deploy.detector import Trained
from ssn_lib.deploy.limits import Drift, Reference
from ssn_lib.deploy.stream import BATCH
from ssn_lib.errors import InputError


@pytest.fixture(autouse=True)
def without_reference(monkeypatch):
    """The tiny run knows six images, of which few tests' are copies: they differ as drift does."""
    monkeypatch.setattr("ssn_lib.deploy.detector.reference_of", lambda _: None)


@pytest.mark.parametrize("watch", [False, True])
def test_no_images_are_said(watch, tiny_run, tmp_path):
    with pytest.raises(InputError, match="no images to inspect: name files"):
        inspection.inspect(tiny_run[0], [], tmp_path / "out", weights=None, watch=watch)


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
        pytest.raises(InputError, match=r"1 of \d+ files and folders could not .*scores\.csv"),
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
        with pytest.raises(InputError, match=r"2 of \d+ files and folders could not be inspected"):
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


@pytest.fixture
def many(tiny_run, tmp_path):
    """A run's folder, and one with the images of two batches and a half."""
    folder, images = tiny_run
    (tmp_path / "many").mkdir()
    for index in range(2 * BATCH + 8):
        source = images / f"{index % 2:03}.png"
        shutil.copy(source, tmp_path / "many" / f"{index:03}.png")
    return folder, tmp_path / "many"


@pytest.fixture
def predicted(monkeypatch):
    """The sizes of the batches that are predicted in a test."""
    sizes, predict = [], Trained.predict

    def noted(trained, pixels):
        sizes.append(len(pixels))
        return predict(trained, pixels)

    monkeypatch.setattr(Trained, "predict", noted)
    return sizes


def without_drift(result):
    return result.table.drop(columns="drift")


class Interrupting:
    """Interrupts an inspection when it has finished so many batches."""

    def __init__(self, batches):
        self.left, self.rows = batches, []

    def __call__(self, rows):
        self.rows += rows
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_what_is_finished_stays_and_is_not_inspected_again(many, tmp_path, predicted):
    folder, images = many
    whole = inspection.inspect(folder, [images], tmp_path / "whole", weights=None)
    assert predicted == [BATCH, BATCH, 8]
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        inspection.inspect(folder, [images], out, weights=None, on_rows=Interrupting(1))
    kept = pd.read_csv(out / "scores.csv")
    assert BATCH <= len(kept) < 40
    predicted.clear()
    resumed = inspection.inspect(folder, [images], out, weights=None)
    assert sum(predicted) == resumed.inspected == 40 - len(kept)
    assert without_drift(resumed).equals(without_drift(whole))
    assert (out / "inspection.html").read_text().count("data:image/jpeg") == 40
    predicted.clear()
    assert inspection.inspect(folder, [images], out, weights=None).inspected == 0
    assert predicted == []
    assert inspection.inspect(folder, [images], out, weights=None, again=True).inspected == 40


def test_a_changed_image_is_inspected_again_and_its_row_replaced(many, tmp_path):
    folder, images = many
    before = inspection.inspect(folder, [images], tmp_path / "out", weights=None).table
    Image.new("RGB", (80, 80), "white").save(images / "005.png")
    os.utime(images / "005.png", (7, 7))
    result = inspection.inspect(folder, [images], tmp_path / "out", weights=None)
    assert result.inspected == 1
    changed = result.table.set_index("overlay")
    assert len(changed) == len(before)
    old = before.set_index("overlay")
    assert changed.score["005_overlay.png"] != old.score["005_overlay.png"]
    others = old.index.drop("005_overlay.png")
    assert changed.score[others].equals(old.score[others])


def test_an_image_that_changed_and_cannot_be_read_keeps_no_verdict(many, tmp_path):
    folder, images = many
    out = tmp_path / "out"
    inspection.inspect(folder, [images], out, weights=None)
    (images / "005.png").write_bytes((images / "005.png").read_bytes()[:40])
    with pytest.warns(UserWarning, match=r"005\.png"), pytest.raises(InputError):
        inspection.inspect(folder, [images], out, weights=None)
    written = pd.read_csv(out / "scores.csv")
    assert len(written) == 39
    assert not written.image.str.endswith("005.png").any()
    assert "005_overlay.png" not in (out / "inspection.html").read_text(encoding="utf-8")


def test_another_photograph_with_the_time_of_the_one_before_it_is_inspected(many, tmp_path):
    """As `cp -p` leaves it, or a camera without a clock."""
    folder, images = many
    out = tmp_path / "out"
    os.utime(images / "005.png", (7, 7))
    inspection.inspect(folder, [images], out, weights=None)
    Image.new("RGB", (80, 80), "white").save(images / "005.png")
    os.utime(images / "005.png", (7, 7))
    assert inspection.inspect(folder, [images], out, weights=None).inspected == 1
    entries = [
        json.loads(line) for line in (out / "thumbnails.jsonl").read_text().split("\n") if line
    ]
    for entry in entries:  # an older table knows no lengths, and stays valid
        del entry["length"]
    (out / "thumbnails.jsonl").write_text("\n".join(map(json.dumps, entries)))
    assert inspection.inspect(folder, [images], out, weights=None).inspected == 0


def test_images_that_are_enlarged_are_remarked(tiny_run, tmp_path):
    folder, images = tiny_run
    own = shutil.copytree(images, tmp_path / "own")
    Image.new("RGB", (8, 8), "white").save(own / "tiny.png")
    with pytest.warns(UserWarning, match=r"less than half of 32×32 .*tiny\.png"):
        inspection.inspect(folder, [own], tmp_path / "out", weights=None)


def test_an_interrupted_inspection_leaves_the_page_of_what_is_finished(many, tmp_path):
    folder, images = many
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        inspection.inspect(folder, [images], out, weights=None, on_rows=Interrupting(1))
    finished = pd.read_csv(out / "scores.csv").overlay
    page = (out / "inspection.html").read_text(encoding="utf-8")
    assert 0 < len(finished) < 40
    assert all(overlay in page for overlay in finished)


def test_a_full_disk_is_one_line_and_the_same_call_goes_on(many, tmp_path, monkeypatch, refusal):
    folder, images = many
    out, write = tmp_path / "out", inspection.written_whole

    def full(path, **how):
        if path.name == "020_overlay.png":
            raise InputError(f"cannot write {path}: No space left on device; free space")
        return write(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(inspection, "written_whole", full)
        said = refusal(lambda: inspection.inspect(folder, [images], out, weights=None))
    assert said.startswith(f"cannot write {out / '020_overlay.png'}: No space left on device")
    assert said.endswith("20 images are finished; the same command goes on from there")
    assert len(pd.read_csv(out / "scores.csv")) == 20
    assert inspection.inspect(folder, [images], out, weights=None).inspected == 20


def test_a_folder_with_another_runs_scores_is_refused(tiny_run, tmp_path, refusal):
    folder, images = tiny_run
    out = tmp_path / "out"
    inspection.inspect(folder, [images], out, weights=None)
    other = (out / "scores.csv").read_text().replace(folder.name, "another_run")
    (out / "scores.csv").write_text(other)
    said = refusal(lambda: inspection.inspect(folder, [images], out, weights=None, again=True))
    assert f"{out / 'scores.csv'} is of the run another_run" in said
    said = refusal(lambda: inspection.inspect(folder, [images], folder, weights=None))
    assert "scores.csv is not a table of an inspection" in said


def test_a_chosen_threshold_decides_and_the_runs_own_decides_again(tiny_run, tmp_path):
    folder, images = tiny_run
    out, file = tmp_path / "out", tmp_path / "threshold.json"
    own = inspection.inspect(folder, [images], out, weights=None)
    chosen = {"kind": "ssn_lib threshold", "run": folder.name, "score_threshold": -1e6}
    chosen |= {"images": 7, "chosen": "2026-11-27T07:00:00Z"}
    file.write_text(json.dumps(chosen))
    other = inspection.inspect(folder, [images], out, weights=None, threshold=file)
    assert other.inspected == 0
    assert other.threshold == -1e6
    assert other.table.anomalous.all()
    assert (pd.read_csv(out / "scores.csv").threshold == -1e6).all()
    assert "7 images" in other.worth
    with pytest.warns(UserWarning, match=r"decided by another threshold, -1e\+06; .* --threshold"):
        back = inspection.inspect(folder, [images], out, weights=None)
    assert back.table.equals(own.table)


def test_the_page_holds_the_images_with_their_labels_and_notes(dataset, tiny_run, tmp_path):
    folder, _ = tiny_run
    test = dataset.root / "test"
    images = [test / "good", test / "scratch"]
    result = inspection.inspect(folder, images, tmp_path / "out", weights=None)
    assert result.table.label.tolist() == [0, 0, 1, 1]
    page = result.page.read_text()
    assert result.page == tmp_path / "out/inspection.html"
    assert result.worth[:40] in page
    assert "000_2_overlay.png" in page


def test_the_page_tells_of_stretched_images_also_the_next_time(tiny_run, tmp_path):
    folder, images = tiny_run
    belt = shutil.copytree(images, tmp_path / "belt")
    Image.new("RGB", (90, 30)).save(belt / "long.png")
    with pytest.warns(UserWarning, match="of another shape, stretched to"):
        inspection.inspect(folder, [belt], tmp_path / "out", weights=None)
    again = inspection.inspect(folder, [belt], tmp_path / "out", weights=None)
    assert again.inspected == 0
    assert "1 of the images shown are of another shape, and stretched to " in again.page.read_text()


def test_a_page_of_very_many_shows_the_latest_and_says_so(many, tmp_path, monkeypatch):
    folder, images = many
    monkeypatch.setattr(inspection, "PAGE_IMAGES", 12)
    page = inspection.inspect(folder, [images], tmp_path / "out", weights=None).page.read_text()
    assert page.count("data:image/jpeg") == 12
    assert "This page shows 12 of 40 images; scores.csv has all." in page


def drifting(monkeypatch):
    """From now on images drift as soon as a blue one is among them."""

    def drift(_, scores, looks):
        warmth = looks[:, APPEARANCE.index("warmth")]
        return Drift("the new ones are bluer" if warmth.min() < -100 else None, 0.5)

    reference = Reference(np.zeros(3), seen=False)
    monkeypatch.setattr(inspection, "drift", drift)
    monkeypatch.setattr(inspection, "worth", lambda *_: "worth something")
    monkeypatch.setattr("ssn_lib.deploy.detector.reference_of", lambda _: reference)


def test_drift_is_said_on_the_page_in_the_table_and_in_a_warning(many, tmp_path, monkeypatch):
    folder, images = many
    drifting(monkeypatch)
    Image.new("RGB", (80, 80), "blue").save(images / "020.png")
    with pytest.warns(UserWarning, match="^the new ones are bluer$"):
        result = inspection.inspect(folder, [images], tmp_path / "out", weights=None)
    drifted = pd.read_csv(tmp_path / "out/scores.csv").drift.tolist()
    assert drifted == [False] * BATCH + [True] * (BATCH + 8)
    assert (result.worth, result.drift) == ("worth something", "the new ones are bluer")
    assert "the new ones are bluer" in result.page.read_text()


def test_names_that_are_used_again_drift_as_others_do(many, tmp_path, monkeypatch):
    """A camera that overwrites its oldest images: the latest ones are not the last names."""
    folder, images = many
    drifting(monkeypatch)
    monkeypatch.setattr(inspection, "RECENT", BATCH)
    inspection.inspect(folder, [images], tmp_path / "out", weights=None)
    for index in range(3):
        Image.new("RGB", (80, 80), "blue").save(images / f"{index:03}.png")
    with pytest.warns(UserWarning, match="^the new ones are bluer$"):
        result = inspection.inspect(folder, [images], tmp_path / "out", weights=None)
    assert [name[:3] for name in result.table["overlay"][-3:]] == ["000", "001", "002"]
    assert result.table["drift"].tolist()[-3:] == [True] * 3
    assert len(result.table) == 2 * BATCH + 8


def test_overlays_of_this_inspection_are_passed_over_by_name_too(tiny_run, tmp_path):
    folder, images = tiny_run
    own = shutil.copytree(images, tmp_path / "own")
    first = inspection.inspect(folder, sorted(own.glob("*.png")), own, weights=None)
    with pytest.warns(UserWarning, match=r"2 of the 4 files named are overlays in .*own itself"):
        again = inspection.inspect(folder, sorted(own.glob("*.png")), own, weights=None)
    assert again.table.equals(first.table)
    assert not list(own.glob("*_overlay_overlay.png"))
    with pytest.warns(UserWarning), pytest.raises(InputError, match="no images to inspect"):
        inspection.inspect(folder, own.glob("*_overlay.png"), own, weights=None)


def test_what_is_remarkable_is_said_of_an_interrupted_inspection_too(many, tmp_path):
    folder, images = many
    first, second = (Image.open(images / f"{index:03}.png") for index in (0, 1))
    first.save(images / "000.tif", save_all=True, append_images=[second])
    (images / "000.png").unlink()
    with pytest.warns(UserWarning, match="pages"), pytest.raises(KeyboardInterrupt):
        inspection.inspect(
            folder, [images], tmp_path / "out", weights=None, on_rows=Interrupting(1)
        )


def test_a_threshold_of_another_precision_is_refused(tiny_run, tmp_path, monkeypatch):
    folder, images = tiny_run
    trained = inspection.open_detector(folder, None)
    monkeypatch.setattr(inspection, "open_detector", lambda *_: replace(trained, precision="int8"))
    page = inspection.inspect(folder, [images], tmp_path / "out", weights=None).page.read_text()
    assert f"{folder.name} in int8" in page
    chosen = {"kind": "ssn_lib threshold", "run": folder.name, "score_threshold": 0.5}
    chosen |= {"images": 7, "chosen": "2026-11-27T07:00:00Z"}
    file = tmp_path / "threshold.json"
    file.write_text(json.dumps(chosen))
    with pytest.raises(InputError, match=f"of run {folder.name}, not of {folder.name} in int8"):
        inspection.inspect(folder, [images], tmp_path / "out", weights=None, threshold=file)
    file.write_text(json.dumps(chosen | {"run": f"{folder.name} in int8"}))
    inspection.inspect(folder, [images], tmp_path / "out", weights=None, threshold=file)


def test_known_defects_are_no_drift(tiny_run, tmp_path, monkeypatch):
    folder, _ = tiny_run
    drifting(monkeypatch)
    (tmp_path / "bad").mkdir()
    Image.new("RGB", (80, 80), "blue").save(tmp_path / "bad/x.png")
    result = inspection.inspect(folder, [tmp_path / "bad"], tmp_path / "out", weights=None)
    assert result.drift is None
    assert result.table.drift.isna().all()


@pytest.fixture
def hurried(monkeypatch):
    """Time that goes by as fast as images are looked for."""
    clock = iter(range(10**6))
    monkeypatch.setattr(inspection.time, "sleep", lambda _: None)
    monkeypatch.setattr(inspection.time, "monotonic", lambda: next(clock))


def test_a_watched_folder_is_inspected_as_it_fills(tiny_run, tmp_path, monkeypatch, hurried):
    folder, images = tiny_run
    belt, out = tmp_path / "belt", tmp_path / "out"
    belt.mkdir()
    content = (images / "000.png").read_bytes()
    steps = [
        lambda: (belt / "a.png").write_bytes(content),
        *[lambda: None] * 3,
        lambda: (belt / "b.png").write_bytes(content[: len(content) // 2]),
        *[lambda: None] * 4,
        lambda: (belt / "b.png").write_bytes(content),
        *[lambda: None] * 4,
    ]
    seen = []

    def sleep(_):
        names = pd.read_csv(out / "scores.csv").overlay if (out / "scores.csv").exists() else []
        seen.append(list(names))
        if not steps:
            raise KeyboardInterrupt
        steps.pop(0)()

    monkeypatch.setattr(inspection.time, "sleep", sleep)
    told = []
    result = inspection.inspect(
        folder, [belt], out, weights=None, watch=True, on_rows=lambda rows: told.extend(rows)
    )
    assert seen[3] == ["a_overlay.png"]  # at once
    assert seen[-1] == ["a_overlay.png", "b_overlay.png"]
    assert [row.overlay for row in told] == seen[-1]
    assert result.inspected == len(result.table) == 2
    assert result.page.read_text().count("data:image/jpeg") == 2


def test_an_image_that_stays_broken_is_said_once_and_costs_nothing(
    tiny_run, tmp_path, monkeypatch, hurried
):
    folder, images = tiny_run
    belt = shutil.copytree(images, tmp_path / "belt")
    (belt / "000_broken.png").write_bytes(b"half of it")
    looks = iter(range(40))

    def sleep(_):
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(inspection.time, "sleep", sleep)
    with pytest.warns(UserWarning) as warned:
        result = inspection.inspect(folder, [belt], tmp_path / "out", weights=None, watch=True)
    (line,) = [str(warning.message) for warning in warned]
    assert "000_broken.png is not an image file" in line
    assert len(result.table) == len(list(images.iterdir()))


def test_a_folder_that_is_watched_by_two_names_gives_each_image_once(
    tiny_run, tmp_path, monkeypatch, hurried
):
    folder, images = tiny_run
    belt = shutil.copytree(images, tmp_path / "belt")
    looks = iter(range(4))

    def sleep(_):
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(inspection.time, "sleep", sleep)
    both = [belt, belt / ".." / "belt"]
    result = inspection.inspect(folder, both, tmp_path / "out", weights=None, watch=True)
    assert result.inspected == len(result.table) == len(list(images.iterdir()))


def test_the_page_of_a_watched_folder_is_renewed_now_and_then(
    tiny_run, tmp_path, monkeypatch, hurried
):
    folder, images = tiny_run
    belt, written = tmp_path / "belt", []
    belt.mkdir()
    arriving = iter(range(30))

    def sleep(_):
        index = next(arriving, None)
        if index is None:
            raise KeyboardInterrupt
        shutil.copy(images / "000.png", belt / f"{index:03}.png")

    monkeypatch.setattr(inspection.time, "sleep", sleep)
    monkeypatch.setattr(inspection, "write_page", lambda _, rows, **__: written.append(len(rows)))
    inspection.inspect(folder, [belt], tmp_path / "out", weights=None, watch=True)
    assert 3 <= len(written) <= 12
    assert written == sorted(written)


def test_drift_of_a_watched_folder_is_said_when_it_begins(tiny_run, tmp_path, monkeypatch, hurried):
    folder, images = tiny_run
    drifting(monkeypatch)
    belt = shutil.copytree(images, tmp_path / "belt")
    looks = iter(range(10))

    def sleep(_):
        index = next(looks, None)
        if index is None:
            raise KeyboardInterrupt
        if index > 4:
            Image.new("RGB", (80, 80), "blue").save(belt / f"{index}.png")

    monkeypatch.setattr(inspection.time, "sleep", sleep)
    with pytest.warns(UserWarning) as warned:
        inspection.inspect(folder, [belt], tmp_path / "out", weights=None, watch=True)
    lines = [str(warning.message) for warning in warned]
    assert lines == ["the new ones are bluer"]


def test_a_watched_file_is_refused(tiny_run, tmp_path, refusal):
    folder, images = tiny_run
    out = tmp_path / "out"
    given = [images / "000.png"]
    said = refusal(lambda: inspection.inspect(folder, given, out, weights=None, watch=True))
    assert "no folder; --watch needs one" in said
    assert not out.exists()


def test_the_folder_is_one_inspections_at_a_time(tiny_run, tmp_path):
    folder, images = tiny_run
    held_then = []

    def on_rows(_):
        held_then.append((tmp_path / "out/.lock").exists())

    inspection.inspect(folder, [images], tmp_path / "out", weights=None, on_rows=on_rows)
    assert held_then == [True]
    assert not (tmp_path / "out/.lock").exists()


def test_a_score_that_equals_the_threshold_is_good(tiny_run, tmp_path):
    folder, images = tiny_run
    image, file = images / "000.png", tmp_path / "threshold.json"
    score = inspection.inspect(folder, [image], tmp_path / "a", weights=None).table.score[0]
    chosen = {"kind": "ssn_lib threshold", "run": folder.name, "score_threshold": float(score)}
    file.write_text(json.dumps(chosen | {"images": 1, "chosen": "2026-11-27T07:00:00Z"}))
    for out in ("a", "b"):  # decided anew from the table, and as it is inspected
        found = inspection.inspect(folder, [image], tmp_path / out, weights=None, threshold=file)
        assert not found.table.anomalous.any()


def test_overlays_are_coloured_by_the_maps_threshold(tiny_run, tmp_path, monkeypatch):
    folder, images = tiny_run
    limits, seen = inspection.open_detector(folder, None).thresholds, []
    for name in ("heatmap", "small_map"):
        real = getattr(inspection, name)
        monkeypatch.setattr(inspection, name, lambda *a, f=real: seen.append(a[-1]) or f(*a))
    inspection.inspect(folder, [images], tmp_path / "out", weights=None)
    assert limits.map != limits.score
    assert {*seen} == {limits.map}
