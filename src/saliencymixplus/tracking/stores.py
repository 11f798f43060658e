"""The configured MLflow store: its address, artifacts and user interface."""

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from saliencymixplus import workspace
from saliencymixplus.errors import UserError
from saliencymixplus.tracking.redact import redact, without_credentials

DEFAULT = "default"  # in tracking.json: the repository's mlflow.db, wherever the repository is
_VIEW = (
    "workflowType=machine_learning&compareRunsMode=CHART"
    "&orderByKey=metrics.%60error%2Ftest_top1%60&orderByAsc=true"
)
_DATABASES = ("postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Address:
    """The store's address; ``uri`` may contain credentials, ``name`` does not and may be stored."""

    name: str
    uri: str
    database: Path | None = None  # of an SQLite store

    def __str__(self) -> str:
        return str(self.database or self.name)

    @property
    def artifact_root(self) -> Path | None:
        """Artifact root for new experiments, next to the database; None: the server decides."""
        return self.database.parent / "mlartifacts" if self.database else None

    def runs_address(self, experiment_id: str) -> str:
        """URL of an experiment's curves; for a database, with the command that serves it.

        Sorted by test error, because MLflow otherwise collapses runs under their parent.
        """
        served = self.name.startswith("http")
        address = self.name.rstrip("/") if served else "http://127.0.0.1:5000"
        if experiment_id:
            address += f"/#/experiments/{experiment_id}/runs?{_VIEW}"
        return address if served else f"{address} (after `{self.ui_command}`)"

    @property
    def ui_command(self) -> str:
        """The command that serves the user interface of a database, bound to loopback."""
        uri = self.name
        if self.database:
            here = self.database.parent == Path.cwd()
            uri = f"sqlite:///{self.database.name if here else self.database}"
        return f"mlflow ui --backend-store-uri {shlex.quote(uri)} --host 127.0.0.1 --port 5000"


def readable(name: str) -> str:
    """The ``name`` of an address, for messages."""
    return "the repository's mlflow.db" if name == DEFAULT else name


def choosing(name: str) -> str:
    """How the user configures the store of this ``name``."""
    return f"{'unset' if name == DEFAULT else 'set'} MLFLOW_TRACKING_URI"


def configured() -> Address:
    """The store in ``MLFLOW_TRACKING_URI``, by default mlflow.db in the repository."""
    root = workspace.repository_root()
    chosen = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    if not chosen:
        return _sqlite(root / "mlflow.db")
    try:
        scheme = urlsplit(chosen).scheme.partition("+")[0]
    except ValueError:
        scheme = ""
    if scheme in ("http", "https", *_DATABASES):
        return Address(without_credentials(chosen), chosen)
    if scheme == "sqlite":
        name = chosen.partition("://")[2].removeprefix("/").partition("?")[0]
        if not name or name == ":memory:":
            raise UserError("MLFLOW_TRACKING_URI: an SQLite store needs a file: sqlite:///FILE")
        # Relative paths are relative to the repository, not to one of DVC's temporary copies.
        return _sqlite(root / workspace.expanded(name))
    raise UserError(
        f"MLFLOW_TRACKING_URI={redact(chosen)!r} is not a writable store: "
        "use sqlite:///FILE, a database URL or the http(s) address of a server"
    )


def _sqlite(database: Path) -> Address:
    """An SQLite address, relative to the repository if inside it, so that both can be moved."""
    root = workspace.repository_root()
    inside = database.relative_to(root) if database.is_relative_to(root) else database
    name = DEFAULT if inside == Path("mlflow.db") else f"sqlite:///{inside}"
    # A long busy timeout, because several trainings may share the file.
    return Address(name, f"sqlite:///{database}?timeout=60", database)
