"""Exceptions with messages for users."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class UserError(Exception):
    """An error to show to the user: one line that says what is wrong, where, and what to do.

    The command line prints the message and exits with ``exit_code``, without a traceback. It is
    raised for files, folders and settings that are missing, damaged, too large or invalid.
    """

    exit_code = 1


class NetworkError(UserError, ValueError):
    """A network that a mixing method cannot use; also a ``ValueError``, for library users."""


@contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Turn an ``OSError`` in the block into a ``UserError``: ``what``, then the reason."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{what}: {error.strerror or error}") from error


def one_line(reason: object, longest: int = 200) -> str:
    """Shorten an error message to one line of ``longest`` characters without control characters.

    Messages of libraries may span several lines and quote file content, which may be megabytes
    long or contain escape sequences. The middle is cut, because the reason may be at either end:
    after a long path, or before a quotation.
    """
    text = " ".join(str(reason).split())
    if len(text) > longest:
        tail = longest // 3
        text = f"{text[: longest - tail - 1]}…{text[-tail:]}"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def reason_of(error: Exception) -> str:
    """The message to print for an error, in one line; that of an ``OSError`` names the file."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return one_line(f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
    return f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: Python's, a GPU's, or in a driver or library.

    Judged by the message, because torch has a class only for the errors of its own allocator.
    """
    messages = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(message in str(error) for message in messages)
    )


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first names for a message: ``a, b, c and 4 more``."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt ``name``: the closest known one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "choose one of " + ", ".join(names)
