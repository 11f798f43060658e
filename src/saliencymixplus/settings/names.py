"""Valid names of recipes and experiments, which become folders, files and DVC stages."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

_LONGEST = 100  # characters; a file name holds 255 bytes


def check_name(name: str) -> str:
    """Return ``name`` if it is suitable for a folder, a DVC key and a command line.

    Raises:
        ValueError: it contains anything but letters (of any alphabet), digits, ``-`` and ``_``,
            starts with ``-``, is empty or is too long.
    """
    if not name or len(name) > _LONGEST:
        raise ValueError(f"a name has 1 to {_LONGEST} characters")
    if name.startswith("-") or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise ValueError(
            "a name consists of letters (é is one), digits, - and _, and does not start with -"
        )
    return name


def check_case(names: Iterable[str]) -> None:
    """Raise ValueError if two names differ only in case: on some disks they name one folder."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            raise ValueError(
                f"{other!r} and {name!r} differ only in case, so that some disks would put both "
                "into one folder: rename one"
            )


Name = Annotated[str, AfterValidator(check_name)]
