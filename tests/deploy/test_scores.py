from __future__ import annotations

import errno
import os
from pathlib import Path

import pandas as pd
import pytest

from ssn_lib.deploy import scores as module
from ssn_lib.deploy.scores import COLUMNS, Row, Scores, Thumbnail, image_name
from ssn_lib.deploy.stream import modified_at
from ssn_lib.errors import InputError


@pytest.fixture
def images(tmp_path):
    """images(*names): files of these names, a folder's too."""

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"an image")
        return [tmp_path / name for name in names]

    return make


def add(scores, paths, run="a_run", score=1.5, threshold=1.0, label=None):
    """Finish images as an inspection does: overlay, thumbnail and row of each."""
    rows, thumbnails = [], []
    for path in paths:
        name = scores.overlay_name(path)
        scores.out.mkdir(exist_ok=True)
        (scores.out / name).write_bytes(b"\x89PNG ssn_lib overlay")
        rows.append(
            Row(
                image_name(path), score, threshold, score > threshold, name, label,
                modified_at(path), 101.5, -3.25, 0.5, None, run,
            )
        )  # fmt: skip
        thumbnails.append(Thumbnail(name, "data:,", "AAAA"))
    scores.add(rows, thumbnails)
    return rows


def test_rows_are_read_again_as_they_were_written(images, tmp_path):
    paths = images('a/x,"1".png', "b/line\nbreak\r.png", "b/ü.png")
    scores = Scores(tmp_path / "out", "a_run", 1.0)
    rows = add(scores, paths, score=0.1 + 0.2, label=1)
    again = Scores(tmp_path / "out", "a_run", 1.0)
    assert again.rows == rows
    assert again.table().equals(scores.table())
    assert all(map(again.has, paths))
    written = pd.read_csv(tmp_path / "out/scores.csv")
    assert list(written) == COLUMNS
    assert written["score"].tolist() == [pytest.approx(0.3)] * 3
    assert len((tmp_path / "out/scores.csv").read_bytes().splitlines()) == 4


def test_images_of_one_name_keep_apart(images, tmp_path):
    for files in (["a/x.png", "b/x.png", "c/x_2.png"], ["c/x_2.png", "a/x.png", "b/x.png"]):
        scores = Scores(tmp_path, "a_run", 1.0)
        paths = [tmp_path / file for file in files]
        names = [scores.overlay_name(path) for path in paths]
        assert len(set(names)) == len(files)
        assert [scores.overlay_name(path) for path in paths] == names


def test_what_a_memory_card_cannot_call_a_file_is_no_part_of_an_overlays_name(tmp_path):
    scores = Scores(tmp_path, "a_run", 1.0)
    names = [scores.overlay_name(Path(one)) for one in ("a/12:30.png", "b/12_30.png", 'a/"x"?.png')]
    assert names == ["12_30_overlay.png", "12_30_2_overlay.png", "_x___overlay.png"]


def test_an_overlay_of_an_earlier_inspection_is_not_taken_by_another_image(images, tmp_path):
    first, second = images("a/x.png", "b/x.png")
    add(Scores(tmp_path / "out", "a_run", 1.0), [first])
    later = Scores(tmp_path / "out", "a_run", 1.0)
    assert later.overlay_name(second) == "x_2_overlay.png"
    assert later.overlay_name(first) == "x_overlay.png"
    (tmp_path / "out/x_overlay.png").write_bytes(b"a photograph of the user's")
    assert later.overlay_name(first) == "x_3_overlay.png"


def test_an_image_is_finished_as_long_as_all_that_belongs_to_it_is_there(images, tmp_path):
    paths = images("a/changed.png", "a/bare.png", "a/gone.png", "a/kept.png")
    add(Scores(tmp_path / "out", "a_run", 1.0), paths)
    os.utime(paths[0], (1, 1))
    (tmp_path / "out/bare_overlay.png").unlink()
    paths[2].unlink()
    scores = Scores(tmp_path / "out", "a_run", 1.0)
    assert [scores.has(path) for path in paths] == [False, False, False, True]
    (tmp_path / "out/thumbnails.jsonl").unlink()
    assert not Scores(tmp_path / "out", "a_run", 1.0).has(paths[3])


def test_one_photograph_has_one_row_however_it_is_named(images, tmp_path, monkeypatch):
    (path,) = images("a/x.png")
    scores = Scores(tmp_path / "out", "a_run", 1.0)
    add(scores, [path])
    monkeypatch.chdir(path.parent)
    assert all(scores.has(name) for name in (Path("x.png"), Path("../a/x.png"), path))
    table = tmp_path / "out/scores.csv"  # as they were written before: the path as it was given
    table.write_text(table.read_text().replace(str(path), "../a/x.png"))
    assert [row.image for row in Scores(tmp_path / "out", "a_run", 1.0).rows] == [str(path)]


def test_an_older_tables_paths_that_lead_nowhere_from_here_stay(images, tmp_path, monkeypatch):
    (path,) = images("a/x.png")
    add(Scores(tmp_path / "out", "a_run", 1.0), [path])
    table = tmp_path / "out/scores.csv"
    for given in ("photos/x.png", r"C:\pics\x.png"):
        was = table.read_text().replace(str(path), given)
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other/scores.csv").write_text(was)
        assert [row.image for row in Scores(tmp_path / "other", "a_run", 1.0).rows] == [given]
        assert (tmp_path / "other/scores.csv").read_text() == was


def test_behind_a_link_two_dots_lead_elsewhere(images, tmp_path):
    near, far = images("x.png", "real/x.png")
    (tmp_path / "real/inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real/inner")
    assert image_name(tmp_path / "link/../x.png") not in (image_name(near), image_name(far))
    assert image_name(tmp_path / "real/../x.png") == image_name(near) == str(near)


def test_one_name_in_two_working_directories_is_two_photographs(images, tmp_path, monkeypatch):
    scores, paths = Scores(tmp_path / "out", "a_run", 1.0), images("a/x.png", "b/x.png")
    for path in paths:
        monkeypatch.chdir(path.parent)
        add(scores, [Path("x.png")])
    assert [row.image for row in scores.rows] == [*map(str, paths)]


@pytest.mark.parametrize("lost", range(1, 260, 13))
def test_what_a_killed_process_left_half_written_is_dropped(lost, images, tmp_path):
    """The last bytes never came to the disk: of the last row, or of the first one too."""
    paths = images("a/first.png", "a/zweiü日.png")
    scores = Scores(tmp_path / "out", "a_run", 1.0)
    for path in paths:
        add(scores, [path])
    for file in ("scores.csv", "thumbnails.jsonl"):
        path = tmp_path / "out" / file
        os.truncate(path, max(0, path.stat().st_size - lost))
    again = Scores(tmp_path / "out", "a_run", 1.0)
    missing = [path for path in paths if not again.has(path)]
    assert paths[1] in missing
    add(again, missing)
    last = Scores(tmp_path / "out", "a_run", 1.0)
    assert all(map(last.has, paths))
    assert len(last.inspected(10)) == 2
    assert len((tmp_path / "out/scores.csv").read_text().splitlines()) == 3


def test_another_threshold_decides_anew(images, tmp_path):
    add(Scores(tmp_path / "out", "a_run", 1.0), images("a/x.png"))
    Scores(tmp_path / "out", "a_run", 2.0)
    (row,) = pd.read_csv(tmp_path / "out/scores.csv").itertuples()
    assert (row.threshold, row.anomalous, row.score) == (2.0, False, 1.5)


def test_a_row_is_replaced_when_its_image_is_inspected_again(images, tmp_path):
    paths = images("a/x.png", "a/y.png", "a/z.png")
    scores = Scores(tmp_path / "out", "a_run", 1.0)
    x, _, z = add(scores, paths)
    (y,) = add(scores, [paths[1]], score=0.5)
    assert scores.rows == Scores(tmp_path / "out", "a_run", 1.0).rows == [x, z, y]
    assert len(scores.inspected(10)) == 3


def test_the_page_gets_the_latest_images_that_have_thumbnails(images, tmp_path):
    paths = images(*(f"a/{index}.png" for index in range(5)))
    scores = Scores(tmp_path / "out", "a_run", 1.0)
    add(scores, paths)
    assert [Path(item.image) for item in scores.inspected(3)] == paths[2:]
    lines = (tmp_path / "out/thumbnails.jsonl").read_text().splitlines()
    (tmp_path / "out/thumbnails.jsonl").write_text("\n".join(lines[:-1]))
    again = Scores(tmp_path / "out", "a_run", 1.0)
    assert [Path(item.image) for item in again.inspected(3)] == paths[2:4]


@pytest.mark.parametrize(
    "content",
    [
        b"image,score\nx.png,1\n",
        b"",
        b"\xff\xfe\x00",
        b"notes",
        (",".join(COLUMNS) + "\nx.png,high,1,True,o.png,,2026,1,2,3,,a_run\n").encode(),
        (",".join(COLUMNS) + "\nx.png,1,1,maybe,o.png,,2026,1,2,3,,a_run\n").encode(),
        (",".join(COLUMNS) + "\nx.png,1\n").encode(),
    ],
)
def test_a_table_of_something_else_is_refused(content, tmp_path, refusal):
    (tmp_path / "scores.csv").write_bytes(content)
    if not content:  # of a process that was killed before its first line
        assert len(Scores(tmp_path, "a_run", 1.0)) == 0
        return
    said = refusal(lambda: Scores(tmp_path, "a_run", 1.0))
    assert f"{tmp_path / 'scores.csv'} is not a table of an inspection" in said
    assert (tmp_path / "scores.csv").read_bytes() == content


def test_a_table_of_another_run_is_refused(images, tmp_path, refusal):
    add(Scores(tmp_path / "out", "a_run", 1.0), images("a/x.png"))
    said = refusal(lambda: Scores(tmp_path / "out", "another", 1.0))
    assert "of the run a_run, not of another: choose another folder with --out" in said


def test_a_full_disk_leaves_the_files_as_they_were(images, tmp_path, monkeypatch):
    paths = images("a/x.png", "a/y.png")
    scores = Scores(tmp_path / "out", "a_run", 1.0)
    add(scores, paths[:1])
    before = (tmp_path / "out/scores.csv").read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(InputError, match=r"cannot write .*: No space left on device; free"):
            add(scores, paths[1:])
    assert (tmp_path / "out/scores.csv").read_bytes() == before
    assert len(scores) == 1
    add(scores, paths[1:])
    assert all(map(Scores(tmp_path / "out", "a_run", 1.0).has, paths))


def test_names_that_differ_in_capitals_keep_apart_where_those_do_not_count(tmp_path):
    scores = Scores(tmp_path, "run", 0.0)
    names = [scores.overlay_name(Path(name)) for name in ("a/IMG.png", "b/img.png")]
    assert names == ["IMG_overlay.png", "img_2_overlay.png"]


def test_the_second_page_of_a_watch_reads_no_thumbnail_again(images, tmp_path, monkeypatch):
    first, second, third = images("a/1.png", "a/2.png", "a/3.png")
    scores = Scores(tmp_path / "out", "a_run", 1.0)
    add(scores, [first, second])
    assert len(scores.inspected(2)) == 2
    monkeypatch.setattr(scores, "_thumbnails", None)
    add(scores, [third])
    assert [one.overlay for one in scores.inspected(2)] == ["2_overlay.png", "3_overlay.png"]
