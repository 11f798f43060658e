"""The one exception that a user is meant to read."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What is wrong, where, and what to do, in one line.

    The command line prints the message and exits with ``exit_code``, without a traceback.
    """

    exit_code = 1


class NetworkError(UserError, ValueError):
    """A network that cannot serve a mixing method; a ``ValueError`` to users of the library."""


def one_line(reason: object, longest: int = 200) -> str:
    """What a library says went wrong, in one short line that a terminal only prints.

    Such texts may span lines and quote what a file holds: megabytes, or escape sequences.
    """
    text = " ".join(str(reason).split())
    text = text if len(text) <= longest else text[:longest] + "…"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def reason_of(error: Exception) -> str:
    """What to print of an error: one line, with the file that the system refused, if any."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return one_line(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
    return f"{type(error).__name__}: {one_line(error)}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint after a misspelt ``name``: the nearest known one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "choose one of " + ", ".join(names)
