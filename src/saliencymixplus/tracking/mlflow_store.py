"""The connection to an MLflow store: opening it, and finding or creating experiments and runs."""

import sqlite3
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from saliencymixplus import workspace
from saliencymixplus.runs.folder import TrackingFile
from saliencymixplus.tracking.record import comparison_card
from saliencymixplus.tracking.stores import Address

if TYPE_CHECKING:
    from mlflow.entities import Run

ATTEMPT_TAG = "saliencymixplus.attempt"
# Without it the UI takes the experiment for one of language models.
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


class RunDeletedError(Exception):
    """The user has deleted the run from the store."""


def is_refusal(error: Exception) -> bool:
    """Whether the store would refuse the same content again, rather than being out of order."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.error_code in _REFUSALS


class Store:
    """A connection to the MLflow store at ``address``; its database is created if need be."""

    def __init__(self, address: Address) -> None:
        from mlflow import MlflowClient
        from mlflow.store.db import utils

        # MLflow would wait for a database that is down for an hour, and has no setting for it.
        utils.MAX_RETRY_COUNT = 1
        self.address = address
        database = address.database
        guard: Any = nullcontext()
        if database:
            database.parent.mkdir(parents=True, exist_ok=True)
            # Several processes that migrate one fresh database at once break it.
            guard = FileLock(database.with_name(database.name + ".lock"), timeout=120)
        with guard:
            if database:
                if database.exists():
                    relocate_artifacts(database)
                else:
                    _create(database)
            self.client: MlflowClient = MlflowClient(address.uri)
            self.client.search_experiments(max_results=1)

    def ensure_run(self, card: TrackingFile) -> "Run":
        """The run of ``card``, created if the store does not have it.

        Runs are found by their attempt's tag: the ids of another store mean nothing here, and a
        process killed right after creating a run leaves one that the next process finds.

        Raises:
            RunDeletedError: the run was deleted in the user interface.
        """
        # Held while creating: the records of a training and of its evaluation share a run.
        lock = workspace.state_root() / "create-run.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            return self.find_run(card) or self._created(card)

    def comparison_of(self, card: TrackingFile) -> dict[str, str]:
        """The tag that makes the experiment's comparison the parent of a training's run.

        The comparison's run is created if need be; a deleted one stays deleted.
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
        from mlflow.entities import LifecycleStage

        if self.client.get_run(run_id).info.lifecycle_stage != LifecycleStage.ACTIVE:
            raise RunDeletedError(run_id)

    def find_run(self, card: TrackingFile) -> "Run | None":
        """The run of ``card``, if the store has it; raises as ``ensure_run``."""
        from mlflow.entities import LifecycleStage, ViewType

        runs = self.client.search_runs(
            [self._experiment(card.experiment)],
            f"tags.`{ATTEMPT_TAG}` = '{card.attempt}'",
            run_view_type=ViewType.ALL,
        )
        active = [run for run in runs if run.info.lifecycle_stage == LifecycleStage.ACTIVE]
        if runs and not active:
            raise RunDeletedError(runs[0].info.run_id)
        return active[-1] if active else None

    def _created(self, card: TrackingFile) -> "Run":
        return self.client.create_run(
            self._experiment(card.experiment),
            start_time=card.created,
            tags={ATTEMPT_TAG: card.attempt},
            run_name=card.run_name,
        )

    def _experiment(self, name: str) -> str:
        from mlflow.entities import LifecycleStage
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            root = self.address.artifact_root
            location = (root / name).as_uri() if root else None
            try:
                return self.client.create_experiment(
                    name, artifact_location=location, tags=_EXPERIMENT_TAGS
                )
            except MlflowException:  # another process was faster
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            self.client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id


def relocate_artifacts(database: Path) -> None:
    """Let the artifacts follow an SQLite database that was moved or copied with its repository.

    MLflow stores their absolute addresses. Those of the form ``…/mlartifacts/EXPERIMENT`` are
    rewritten if the folder beside the database has that experiment, or the old place is gone.
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
            return  # of another program, or of an MLflow that will migrate it first
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
    """Make an MLflow database that appears under its name only when it is whole.

    A process killed half-way through MLflow's migrations leaves tables without a version, and
    MLflow could never open that file again.
    """
    from mlflow import MlflowClient

    part = database.with_name(f".{database.name}.part")
    for left in (part, part.with_name(f"{part.name}-journal")):
        left.unlink(missing_ok=True)
    MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
    try:
        # A link, because it never replaces what another program has just made there.
        database.hardlink_to(part)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not database.exists():
            part.replace(database)
    part.unlink(missing_ok=True)
