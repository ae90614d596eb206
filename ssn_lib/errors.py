"""The exception a user is meant to read, and the one that ends a run before its time."""

from __future__ import annotations

import difflib
import typing

FULL_GPU = (
    "the GPU's memory is full: end what else runs on it, or set CUDA_VISIBLE_DEVICES= for the "
    "processor"
)
FULL_MEMORY = "the memory is full: end what else runs here, or take fewer images"
LIKE = 0.5  # likeness from which on a name may be meant
MOST = 3  # names that are equally near and still a hint


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known ones, whatever the case, or all of them."""
    known = sorted(known)
    likeness = {
        one: difflib.SequenceMatcher(None, one.casefold(), str(name).casefold()).ratio()
        for one in known
    }
    best = max(likeness.values(), default=0.0)
    close = [repr(one) for one in known if likeness[one] == best]
    if best < LIKE or len(close) > MOST:
        return f"known: {', '.join(known)}"
    return f"did you mean {' or '.join(close)}?"


def in_one_line(error: Exception) -> str:
    """An error that nobody foresaw: its kind, and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


class InputError(ValueError):
    """Something the user gave is wrong: the message is one line, names it and says what to do.

    The command line prints the message and ends with exit code 2.
    """


class OutOfTime(Exception):
    """The time budget is spent: no error, what is done is saved and goes on another time."""


def of_memory(error: Exception) -> str | None:
    """Which memory is full; None where an error says nothing of it. PyTorch has several kinds of
    errors for that, and tells them by their words."""
    words = "allocate memory", "not enough memory"  # the latter on Windows
    if isinstance(error, MemoryError) or any(part in str(error) for part in words):
        return FULL_MEMORY
    return FULL_GPU if "out of memory" in str(error) else None
