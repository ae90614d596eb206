"""The one exception a user is meant to read."""


class InputError(ValueError):
    """Something the user gave is wrong: the message is one line, names it and says what to do.

    The command line prints the message and ends with exit code 2; nothing else is caught there.
    """
