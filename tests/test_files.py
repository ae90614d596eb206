from __future__ import annotations

import pytest

from ssn_lib.errors import InputError
from ssn_lib.files import write_text, written_whole


def test_an_error_in_the_middle_keeps_the_old_file(tmp_path):
    path = tmp_path / "new folder" / "file.txt"
    write_text(path, "old σ")
    with pytest.raises(InputError, match=r"cannot write .*file.txt: No space left; free space"):  # noqa: SIM117
        with written_whole(path) as file:
            file.write(b"half")
            raise OSError(28, "No space left")
    assert path.read_text(encoding="utf-8") == "old σ"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_in_the_way_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write") as raised:
        write_text(tmp_path / "file" / "below", "")
    assert "\n" not in str(raised.value)
