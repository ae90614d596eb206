from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ssn_lib.deploy import arrivals as module
from ssn_lib.deploy.arrivals import PATIENCE_S, RETRY_S, Arrivals, label_of
from ssn_lib.errors import InputError


@pytest.fixture
def belt(tmp_path, monkeypatch):
    """A folder, what looks into it, and a function that does so after some seconds."""
    (tmp_path / "belt").mkdir()
    arrivals, now = Arrivals([tmp_path / "belt"]), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])

    def look(after=1.0):
        now[0] += after
        whole, broken = arrivals.look()
        return [path.name for path in whole], [str(error) for error in broken]

    return tmp_path / "belt", arrivals, look


def test_an_image_is_given_out_once_when_it_no_longer_changes(belt):
    folder, _, look = belt
    assert look() == ([], [])
    (folder / "a.png").write_bytes(b"half")
    assert look() == ([], [])
    (folder / "a.png").write_bytes(b"half and half")
    (folder / "b.png").write_bytes(b"whole")
    assert look() == ([], [])
    assert look() == (["a.png", "b.png"], [])
    assert look() == ([], [])


def test_an_image_of_the_same_size_that_is_written_again_is_given_out_again(belt):
    folder, _, look = belt
    (folder / "a.png").write_bytes(b"one")
    look()
    assert look()[0] == ["a.png"]
    os.utime(folder / "a.png", (5, 5))
    assert look()[0] == []
    assert look()[0] == ["a.png"]


def test_what_stays_broken_is_said_once_after_a_while_and_tried_again_when_it_changes(belt):
    folder, arrivals, look = belt
    (folder / "a.png").write_bytes(b"half")
    look()
    look()
    arrivals.refused(folder / "a.png", InputError("a.png is damaged"))
    assert look() == ([], [])
    assert look(PATIENCE_S) == (["a.png"], [])
    arrivals.refused(folder / "a.png", InputError("a.png is damaged"))
    assert look() == ([], ["a.png is damaged"])
    assert look(PATIENCE_S) == ([], [])
    (folder / "a.png").write_bytes(b"half and half")
    look()
    assert look() == (["a.png"], [])


def test_what_could_not_be_read_is_tried_now_and_then_though_it_does_not_change(belt):
    """A file's rights, and who else has it open, are no part of its size and time."""
    folder, arrivals, look = belt
    (folder / "a.png").write_bytes(b"whole")
    look()
    look()
    told = []
    for _ in range(5):
        arrivals.refused(folder / "a.png", InputError("permission denied"))
        told += look()[1]
        assert look(RETRY_S)[0] == ["a.png"]
    assert told == ["permission denied"]
    assert look(RETRY_S) == ([], [])  # not refused: it was read


def test_what_was_half_an_image_and_becomes_whole_is_never_called_broken(belt):
    folder, arrivals, look = belt
    (folder / "a.png").write_bytes(b"half")
    look()
    look()
    arrivals.refused(folder / "a.png", InputError("a.png is damaged"))
    look(PATIENCE_S / 2)
    (folder / "a.png").write_bytes(b"half and half")
    assert look(PATIENCE_S) == ([], [])
    assert look(PATIENCE_S) == (["a.png"], [])


def test_what_goes_and_comes_again_is_given_out_again(belt):
    folder, arrivals, look = belt
    (folder / "a.png").write_bytes(b"one")
    look()
    look()
    (folder / "a.png").unlink()
    arrivals.refused(folder / "a.png", InputError("a.png: no such file"))
    assert look(2 * PATIENCE_S) == ([], [])
    (folder / "a.png").write_bytes(b"one")
    look()
    assert look() == (["a.png"], [])


def test_a_folder_that_is_away_for_a_while_is_said_once(belt, monkeypatch):
    folder, _, look = belt
    (folder / "a.png").write_bytes(b"one")

    def away(path):
        raise OSError(errno.EHOSTDOWN, "Host is down")

    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", away)
        assert "Host is down" in look()[1][0]
        assert look() == ([], [])
    look()
    assert look() == (["a.png"], [])


def test_a_removed_folder_is_said_once(belt):
    folder, _, look = belt
    folder.rmdir()
    assert "no such file or folder" in look()[1][0]
    assert look() == ([], [])
    folder.mkdir()
    (folder / "a.png").write_bytes(b"one")
    look()
    assert look() == (["a.png"], [])


def test_only_folders_that_are_there_can_be_looked_into(tmp_path, refusal):
    (tmp_path / "a.png").write_bytes(b"one")
    assert "no folder; --watch needs one" in refusal(lambda: Arrivals([tmp_path / "a.png"]))
    missing = tmp_path / "misspelt"
    assert refusal(lambda: Arrivals([tmp_path, missing])) == f"{missing}: no such file or folder"


@pytest.mark.parametrize(
    ("place", "label"),
    [
        ("parts/good", 0),
        ("parts/OK", 0),
        ("parts/bad", 1),
        ("parts/Nok", 1),
        ("parts/new", None),
        ("bottle/test/good", 0),
        ("bottle/test/crack", 1),
        ("own/test/batch_7", None),  # no good images beside it: not MVTec AD's layout
        ("bottle/ground_truth/crack", None),
    ],
)
def test_labels_are_the_folders(place, label, tmp_path):
    for folder in ("bottle/test/good", "bottle/test/crack", "own/test/batch_7"):
        (tmp_path / folder).mkdir(parents=True)
    assert label_of(tmp_path / place / "x.png") == label


def test_an_image_of_the_current_folder_has_its_label(tmp_path, monkeypatch):
    (tmp_path / "good").mkdir()
    monkeypatch.chdir(tmp_path / "good")
    assert label_of(Path("x.png")) == 0
    assert module.label_of(Path("../x.png")) is None
