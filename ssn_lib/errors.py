"""The exception a user is meant to read, and the one that ends a run before its time."""

from __future__ import annotations

import difflib
import typing


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known one, or the whole list."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


class InputError(ValueError):
    """Something the user gave is wrong: the message is one line, names it and says what to do.

    The command line prints the message and ends with exit code 2; nothing else is caught there.
    """


class OutOfTime(Exception):
    """The time budget is spent: no error, what is done is saved and goes on another time."""
