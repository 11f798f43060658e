"""Keep credentials out of messages, files and MLflow runs."""

import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from saliencymixplus.errors import one_line

# USER@ or USER:PASSWORD@, with any password that SQLAlchemy accepts, but not HOST:PORT.
_USERINFO = re.compile(
    r"(?<=://)(?:[^/?#\s'\"]*@|[^:/?#@\[\s'\"]*:(?!\d*(?:[/\s'\"]|$))[^@\s'\"]*@)"
)
_QUERY = re.compile(
    r"(?<=[?&])([^=&\s'\"]*(?:token|key|secret|sig|password|credential)[^=&\s]*)=[^&\s'\"]+", re.I
)


def redact(text: str) -> str:
    """Replace user names, passwords and tokens in the URLs in ``text`` with ``***``."""
    return _QUERY.sub(r"\1=***", _USERINFO.sub("***@", text))


def redact_all(value: Any) -> Any:
    """Redact every string in ``value`` (JSON), at any depth."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redact_all(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(item) for item in value]
    return value


def without_credentials(url: str) -> str:
    """Remove user name, password and query from ``url``, so that it may be stored."""
    parts = urlsplit(_USERINFO.sub("", url))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


def say(text: str) -> None:
    """Print one line to stderr, ignoring errors, since the terminal may be gone."""
    with suppress(OSError, ValueError):
        print(f"tracking: {redact(text)}", file=sys.stderr, flush=True)


def brief(error: Exception) -> str:
    """The error as one redacted line."""
    return one_line(str(error) or type(error).__name__, longest=500)
