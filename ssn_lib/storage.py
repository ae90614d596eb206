"""Writing files whole or not at all, and one process at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from ssn_lib.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has none: there nothing is held
    fcntl = None

_CONTROL = ("Cc", "Zl", "Zp")  # kinds of characters: control, ends of lines and of paragraphs
REPOSITORY = Path(__file__).resolve().parent.parent  # of a checkout, with its results/


def shown(path: Path | str) -> str:
    """A path as text that any file and console takes, in one line: what is not UTF-8 in it, or ends
    a line, as an escape."""
    text = str(path).encode(errors="backslashreplace").decode()
    if text.isprintable():  # as nearly all are
        return text
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _CONTROL else char
        for char in text
    )


_ADVICE = {
    errno.ENAMETOOLONG: "give a shorter one",
    errno.ENOSPC: "free space, or choose another place",
    errno.EROFS: "choose a place that can be written to",
}


def unusable(error: OSError) -> str | None:
    """Why the system does not let a file or folder be used, as one line that names it; None of what
    is no such error, or would be a fault of the program."""
    advice = _ADVICE.get(error.errno)
    if isinstance(error, PermissionError):
        advice = "choose another, or ask for the right to use it"
    if advice is None or not isinstance(error.filename, str | bytes):
        return None
    return f"{shown(os.fsdecode(error.filename))}: {error.strerror.lower()}; {advice}"


def unreadable(path: Path, error: OSError) -> InputError:
    """Why a file or folder cannot be read and what to do, as one line that names it."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        if not path.is_symlink():
            return InputError(f"{shown(path)}: no such file or folder")
        target = shown(path.readlink())
        return InputError(
            f"{shown(path)} is a link to {target}, which is not there: bring it back or remove the "
            "link"
        )
    if isinstance(error, PermissionError):
        return InputError(f"{shown(path)} cannot be read: {reason}; ask for the right to read it")
    return InputError(
        f"{shown(path)} cannot be read: {reason}; if it lies on a share, connect that again"
    )


def content_hash(paths: Sequence[Path], root: Path) -> str:
    """A hash of the files' names below `root` and of all that is in them: 32 hexadecimal digits.

    Raises:
        InputError: a file cannot be read.
    """
    whole = hashlib.sha256()
    with ThreadPoolExecutor(max_workers=4) as pool:
        for path, content in zip(paths, pool.map(digest, paths), strict=True):
            name = path.relative_to(root).as_posix()
            whole.update(name.encode(errors="surrogatepass") + b"\0" + content)
    return whole.hexdigest()[:32]


def digest(path: Path) -> bytes:
    """A hash of what is in a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise unreadable(path, error) from None


def read_tensors(path: Path) -> Any:
    """What `torch.save` wrote there: plain data and tensors, on the CPU.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return load_tensors(path)
    except ValueError as error:
        raise InputError(
            f"{path} cannot be read, remove it (and its record.json) and run again: {error}"
        ) from None


def load_tensors(path: Path) -> Any:
    """As `read_tensors`.

    Raises:
        ValueError: why it cannot be read.
    """
    import torch  # here: most who store anything wait for no PyTorch

    try:
        # PyTorch reads on where single bytes have changed; what it writes is an archive that tells.
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:
                    raise zipfile.BadZipFile
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except MemoryError:
        raise  # of the machine, not of the file
    # Of many kinds, and PyTorch advises to load it all the same, whatever it may run.
    except Exception:
        raise ValueError("it is damaged, or no file of tensors and plain data") from None


@contextlib.contextmanager
def written_whole(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write to that becomes `path` when the block ends; on an error the old one stays.

    Args:
        path: of the file; its folder is made.
        durable: wait until it is on the disk. For one of thousands of small files this may take
            longer than all else; without it, a power failure may cost them, a killed process not.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        # torch.save turns a full disk into a RuntimeError that does not say so.
        known = error if isinstance(error, OSError) else error.__context__
        if not isinstance(known, OSError):
            raise  # the block's own
        reason = known.strerror or type(known).__name__
        raise InputError(
            f"cannot write {path}: {reason}; free space or choose another folder"
        ) from None
    except BaseException:  # an interruption, or an error of the block's own
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all; see `written_whole`.

    What is not text, as parts of a file's name may be, is written as an escape.
    """
    with written_whole(path) as file:
        file.write(text.encode(errors="backslashreplace"))


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock file during the block, after waiting for the process that holds it.

    The system lets go of it when its process dies; the file is removed at the end.

    Raises:
        InputError: it cannot be made.
    """
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("ab")
        except OSError as error:
            # Unlike `is_file`, this raises nothing where a folder may not be looked into.
            files = (parent for parent in path.parents if os.path.isfile(parent))  # noqa: PTH113
            if file := next(files, None):
                raise InputError(f"{shown(file)} is a file; name a folder to write to") from None
            reason = unusable(OSError(error.errno, error.strerror, str(path.parent)))
            raise InputError(f"cannot write {reason or f'{path}: {error.strerror}'}") from None
        with file:
            if fcntl is not None:
                _wait_for(file)
            if not _is_at(path, file):  # the one before removed it while this one waited
                continue
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    path.unlink()
            return


def _wait_for(file: BinaryIO) -> None:
    with contextlib.suppress(OSError):  # a file system without locks
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for the process that holds {file.name}", file=sys.stderr)
            fcntl.flock(file, fcntl.LOCK_EX)


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
