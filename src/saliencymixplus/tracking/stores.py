"""Which MLflow store is meant: its address, its artifacts, and the command that opens its UI."""

import os
import shlex
from pathlib import Path
from urllib.parse import urlsplit

from saliencymixplus import workspace
from saliencymixplus.errors import UserError
from saliencymixplus.tracking.redact import redact, without_credentials

DEFAULT = "default"  # stands in tracking.json for the repository's own store, wherever that is
_DATABASES = ("postgresql", "mysql", "mssql")


def recorded_uri() -> str:
    """The store that a new run goes to, in the form that may be written down.

    Raises:
        UserError: ``MLFLOW_TRACKING_URI`` names a kind of store that MLflow no longer has.
    """
    chosen = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not chosen:
        return DEFAULT
    try:
        scheme = urlsplit(chosen).scheme
    except ValueError:
        scheme = ""
    if scheme in ("http", "https") or scheme.split("+")[0] in _DATABASES:
        return without_credentials(chosen)
    if scheme.split("+")[0] == "sqlite":
        return f"sqlite:///{_database(chosen)}"
    raise UserError(
        f"MLFLOW_TRACKING_URI={redact(chosen)!r} is no store that can be written to: "
        "give sqlite:///FILE, a database or the http(s) address of a server"
    )


def connection_uri(recorded: str) -> str:
    """The address to connect to: ``recorded`` with the credentials of the environment, if its own.

    A database file gets a long busy timeout, for trainings that share it.
    """
    if recorded == DEFAULT:
        return f"sqlite:///{_default_database()}?timeout=60"
    if recorded.startswith("sqlite"):
        return f"{recorded}?timeout=60"
    chosen = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    return chosen if chosen and without_credentials(chosen) == recorded else recorded


def database_of(recorded: str) -> Path | None:
    """The SQLite file of the store; ``None`` for a server."""
    if recorded == DEFAULT:
        return _default_database()
    return Path(recorded.removeprefix("sqlite:///")) if recorded.startswith("sqlite") else None


def artifact_root(recorded: str) -> Path | None:
    """Where a new experiment's artifacts go: beside the database; a server decides itself."""
    database = database_of(recorded)
    return database.parent / "mlartifacts" if database else None


def ui_command(recorded: str) -> str:
    """The command that opens the store's UI, bound to loopback; for a server its address."""
    database = database_of(recorded)
    if database is None:
        return recorded if recorded.startswith("http") else _command(recorded)
    if database.parent == Path.cwd():
        return _command(f"sqlite:///{database.name}")
    return _command(f"sqlite:///{database}")


def shown(recorded: str) -> str:
    """The store as messages name it."""
    database = database_of(recorded)
    return str(database) if database else recorded


def _command(uri: str) -> str:
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)} --host 127.0.0.1 --port 5000"


def _default_database() -> Path:
    return workspace.repository_root() / "mlflow.db"


def _database(uri: str) -> Path:
    """The file of a SQLite URI; a relative one counts from the repository, not from a DVC copy."""
    name = uri.partition("://")[2].removeprefix("/").partition("?")[0]
    if not name or name == ":memory:":
        raise UserError("MLFLOW_TRACKING_URI: an SQLite store needs a file: sqlite:///FILE")
    return workspace.repository_root() / Path(name).expanduser()
