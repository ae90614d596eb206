from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from ssn_lib import storage
from ssn_lib.errors import InputError
from ssn_lib.storage import content_hash, held, shown, unreadable, write_text, written_whole


def test_an_error_in_the_middle_keeps_the_old_file(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    write_text(path, "old σ")
    with pytest.raises(InputError, match=r"cannot write .*file.txt: No space left; free space"):  # noqa: SIM117
        with written_whole(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left")
    assert path.read_text(encoding="utf-8") == "old σ"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, RuntimeError])
def test_whatever_ends_it_leaves_no_half_file(error, tmp_path):
    with pytest.raises(error):  # noqa: SIM117
        with written_whole(tmp_path / "file.txt") as file:
            file.write(b"half")
            raise error
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(storage.fcntl is None, reason="this system has no file locks")
def test_a_folder_that_may_not_be_written_to_is_named_and_not_its_lock(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError) as raised, held(tmp_path / "out" / ".lock"):
        pass
    said = f"cannot write {tmp_path / 'out'}: permission denied; choose another, or ask for"
    assert str(raised.value).startswith(said)


def test_who_waits_for_a_lock_says_so(tmp_path, capsys):
    path, order = tmp_path / ".lock", []

    def second():
        with held(path):
            order.append("second")

    with held(path):
        thread = threading.Thread(target=second)
        thread.start()
        said, end = "", time.monotonic() + 30
        while "waiting for the process that holds" not in said and time.monotonic() < end:
            time.sleep(0.01)
            said += capsys.readouterr().err
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert "waiting for the process that holds" in said


def test_a_full_disk_behind_another_error_is_said(tmp_path):
    """As `torch.save` raises it."""

    def save(file):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("PytorchStreamWriter failed")  # noqa: B904

    with (
        pytest.raises(InputError, match="cannot write .*: No space left on device; free"),
        written_whole(tmp_path / "file") as file,
    ):
        save(file)
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write") as raised:
        write_text(tmp_path / "file" / "below", "")
    assert "\n" not in str(raised.value)


def test_a_name_of_any_bytes_can_be_shown_and_written(tmp_path):
    name = os.fsdecode(b"st\xfcck \xc3\xbc.png")
    assert shown(Path(name)) == r"st\udcfcck ü.png"
    write_text(tmp_path / "a.txt", f"not read: {name}")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == r"not read: st\udcfcck ü.png"


def test_a_name_with_several_lines_is_shown_in_one():
    assert shown("a\nb\r\tc\u2028d é") == r"a\nb\r\tc\u2028d é"


def test_the_hash_is_of_names_and_contents(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text(path.name)
    known = content_hash(paths, tmp_path)
    assert len(known) == 32
    assert content_hash(paths, tmp_path.parent) != known
    paths[1].write_text("c")
    assert content_hash(paths, tmp_path) != known
    paths[1].write_text("b")
    assert content_hash(paths, tmp_path) == known
    paths[1].unlink()
    with pytest.raises(InputError, match="b: no such file or folder"):
        content_hash(paths, tmp_path)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOENT, "no such file or folder"),
        (errno.EACCES, "Permission denied; ask for the right to read it"),
        (errno.ENOTCONN, "if it lies on a share, connect that again"),
    ],
)
def test_why_a_file_cannot_be_read(number, said, tmp_path):
    message = str(unreadable(tmp_path / "x", OSError(number, os.strerror(number))))
    assert message.startswith(str(tmp_path / "x"))
    assert said in message
