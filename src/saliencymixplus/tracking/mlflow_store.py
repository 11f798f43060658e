"""Open an MLflow store, and find or create experiments and runs in it."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.store.db import utils

from saliencymixplus import workspace
from saliencymixplus.errors import UserError
from saliencymixplus.locks import locked
from saliencymixplus.runs.folder import TrackingFile
from saliencymixplus.tracking.record import comparison_card
from saliencymixplus.tracking.stores import Address

_LONGEST_WAIT = 120.0  # seconds, for another process
ATTEMPT_TAG = "saliencymixplus.attempt"
# Without this tag, the UI shows the experiment as one on language models.
_EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.experiment.primaryMetric.name": "error/test_top1",
}
_REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}


class StoreError(Exception):
    """The store cannot be used at the moment."""


class RunDeletedError(Exception):
    """The user deleted the run from the store."""


def is_refusal(error: Exception) -> bool:
    """Whether the store rejected the content for good, as opposed to a temporary failure."""
    return isinstance(error, MlflowException) and error.error_code in _REFUSALS


class Store:
    """A connection to the MLflow store at ``address``, creating its database if necessary."""

    def __init__(self, address: Address) -> None:
        # MLflow would wait an hour for a database that is down, with no setting to shorten that.
        utils.MAX_RETRY_COUNT = 1
        self.address = address
        database = address.database
        guard: Any = nullcontext()
        if database:
            # Concurrent migrations by several processes would corrupt a new database.
            guard = _locked(
                database.with_name(f"{database.name}.lock"),
                "another process is creating this database",
                elsewhere="choose one that has, with MLFLOW_TRACKING_URI=sqlite:///FILE",
            )
        with guard:
            if database:
                if database.exists():
                    relocate_artifacts(database)
                else:
                    _create(database)
            self.client = MlflowClient(address.uri)
            self.client.search_experiments(max_results=1)

    def ensure_run(self, card: TrackingFile) -> Run:
        """Find or create the run of ``card``.

        Runs are looked up by their attempt tag, because ids from another store are meaningless
        here, and so that a run whose creator was killed right after creating it is found again.

        Raises:
            RunDeletedError: the user deleted the run.
        """
        # Locked, because the records of a training and of its evaluation share a run.
        lock = workspace.state_root() / "create-run.lock"
        with _locked(lock, "another process is creating a run"):
            self._experiment(card.experiment)  # restores a deleted one with its runs
            return self.find_run(card) or self._created(card)

    def comparison_of(self, card: TrackingFile) -> dict[str, str]:
        """The tag that makes the experiment's comparison the parent of a training's run.

        The comparison's run is created if necessary; if the user deleted it, it stays deleted.
        """
        parent = comparison_card(card.experiment, card.created)
        if card.attempt == parent.attempt:
            return {}
        try:
            run = self.ensure_run(parent)
        except RunDeletedError:
            return {}
        if run.info.status == "RUNNING":
            self.client.set_terminated(run.info.run_id, "FINISHED", card.created)
        return {"mlflow.parentRunId": run.info.run_id}

    def check_active(self, run_id: str) -> None:
        """Raise ``RunDeletedError`` if the run has been deleted."""
        if self.client.get_run(run_id).info.lifecycle_stage != LifecycleStage.ACTIVE:
            raise RunDeletedError(run_id)

    def find_run(self, card: TrackingFile) -> Run | None:
        """The run of ``card``, or None if the store has none. Changes nothing in the store.

        Raises:
            RunDeletedError: the user deleted the run or its experiment.
        """
        experiment = self.client.get_experiment_by_name(card.experiment)
        if experiment is None:
            return None
        runs = self.client.search_runs(
            [experiment.experiment_id],
            f"tags.`{ATTEMPT_TAG}` = '{card.attempt}'",
            run_view_type=ViewType.ALL,
        )
        active = [run for run in runs if run.info.lifecycle_stage == LifecycleStage.ACTIVE]
        if runs and not active:
            raise RunDeletedError(runs[0].info.run_id)
        return active[-1] if active else None

    def _created(self, card: TrackingFile) -> Run:
        return self.client.create_run(
            self._experiment(card.experiment),
            start_time=card.created,
            tags={ATTEMPT_TAG: card.attempt},
            run_name=card.run_name,
        )

    def _experiment(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            root = self.address.artifact_root
            location = (root / name).as_uri() if root else None
            try:
                return self.client.create_experiment(
                    name, artifact_location=location, tags=_EXPERIMENT_TAGS
                )
            except MlflowException:  # another process created it first
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            self.client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id


@contextmanager
def _locked(path: Path, busy: str, **options: Any) -> Iterator[None]:
    """Like ``locked``, with errors of the store: a ``UserError`` would mean a damaged record."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(path, busy, timeout=_LONGEST_WAIT, **options))
        except UserError as error:
            raise StoreError(str(error)) from error
        yield


def relocate_artifacts(database: Path) -> None:
    """Fix artifact locations in an SQLite database that was moved or copied with its repository.

    MLflow stores absolute locations. Those of the form ``…/mlartifacts/EXPERIMENT`` are rewritten
    if the folder next to the database has that experiment, or the old location no longer exists.
    """
    root = database.parent / "mlartifacts"
    columns = {
        "experiments": "artifact_location",
        "runs": "artifact_uri",
        "logged_models": "artifact_location",
    }
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if not tables >= columns.keys():
            return  # another program's database, or one that MLflow will migrate first
        query = "SELECT experiment_id, name, artifact_location FROM experiments"
        for experiment, name, old in connection.execute(query).fetchall():
            new = (root / name).as_uri()
            if old in (None, new) or not old.endswith("/mlartifacts/" + new.rpartition("/")[2]):
                continue
            if (root / name).exists() or not Path(unquote(urlsplit(old).path)).exists():
                for table, column in columns.items():
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                        (new, len(old) + 1, experiment, len(old), old),
                    )


def _create(database: Path) -> None:
    """Create an MLflow database under a temporary name and rename it once complete.

    A process killed halfway through MLflow's migrations would leave tables without a version, a
    file that MLflow could never open again.
    """
    part = database.with_name(f".{database.name}.part")
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
    try:
        # A link, unlike a rename, never replaces a file that another process has just created.
        database.hardlink_to(part)
    except FileExistsError:
        pass
    except OSError:  # the file system has no hard links
        if not database.exists():
            part.replace(database)
    part.unlink(missing_ok=True)
