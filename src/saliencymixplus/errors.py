"""The one exception that a user is meant to read."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What is wrong, where, and what to do, in one line.

    The command line prints the message and exits with ``exit_code``, without a traceback.
    """

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint after a misspelt ``name``: the nearest known one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "choose one of " + ", ".join(names)
