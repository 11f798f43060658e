"""Valid names of recipes and experiments, which become folders, files and DVC stages."""

from collections.abc import Collection
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator

Values = TypeVar("Values", bound=Collection[Any])
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


def distinct(values: Values) -> Values:
    """Return ``values`` if no two are equal and no two names differ only in case.

    Raises:
        ValueError: two are; the message names them.
    """
    first: dict[Any, Any] = {}
    for value in values:
        key = value.casefold() if isinstance(value, str) else value
        if key not in first:
            first[key] = value
        elif first[key] == value:
            raise ValueError(f"{value!r} is listed twice: leave one out")
        else:
            raise ValueError(
                f"{first[key]!r} and {value!r} differ only in case, so that some disks would put "
                "both into one folder: rename one"
            )
    return values


Distinct = AfterValidator(distinct)
Name = Annotated[str, AfterValidator(check_name)]
