from __future__ import annotations

import threading

import pytest

from ssn_lib import files
from ssn_lib.errors import InputError
from ssn_lib.files import held, write_text, written_whole


def test_an_error_in_the_middle_keeps_the_old_file(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    write_text(path, "old σ")
    with pytest.raises(InputError, match=r"cannot write .*file.txt: No space left; free space"):  # noqa: SIM117
        with written_whole(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left")
    assert path.read_text(encoding="utf-8") == "old σ"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whatever_ends_it_leaves_no_half_file(error, tmp_path):
    with pytest.raises(error):  # noqa: SIM117
        with written_whole(tmp_path / "file.txt") as file:
            file.write(b"half")
            raise error
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(files.fcntl is None, reason="this system has no file locks")
def test_who_waits_for_a_lock_says_so(tmp_path, capsys):
    path, order = tmp_path / ".lock", []

    def second():
        with held(path):
            order.append("second")

    with held(path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]
    assert "waiting for the process that holds" in capsys.readouterr().err


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write") as raised:
        write_text(tmp_path / "file" / "below", "")
    assert "\n" not in str(raised.value)
