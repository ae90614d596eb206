"""The exception a user is meant to read, and the one that ends a run before its time."""


class InputError(ValueError):
    """Something the user gave is wrong: the message is one line, names it and says what to do.

    The command line prints the message and ends with exit code 2; nothing else is caught there.
    """


class OutOfTime(Exception):
    """The time budget is spent: no error, what is done is saved and goes on another time."""
