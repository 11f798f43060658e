"""Talking to an MLflow store. Every call here can be repeated safely."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock

from saliencymixplus.tracking import stores
from saliencymixplus.tracking.journal import Record

ATTEMPT_TAG = "saliencymixplus.attempt"
# Without it the UI takes the experiment for one of language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
# A few per request: MLflow's own limits are 1000 metrics, 100 parameters and 100 tags.
BATCHED = {"metrics", "params", "tags"}
_MAX_METRICS = 500
_REFUSALS = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}


class RunGoneError(Exception):
    """The run that records belong to was deleted from the store."""


def is_refusal(error: Exception) -> bool:
    """Whether sending the same again would fail again: the content is at fault, not the server."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return error.error_code in _REFUSALS
    return isinstance(error, FileNotFoundError | TypeError | ValueError | KeyError)


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
        # A link, for it never takes the place of what another program has just made there.
        database.hardlink_to(part)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not database.exists():
            part.replace(database)
    part.unlink(missing_ok=True)


class Store:
    """A connection to an MLflow store."""

    def __init__(self, recorded: str) -> None:
        """Connect to the store ``recorded``; a database that does not exist yet is created."""
        from mlflow import MlflowClient
        from mlflow.store.db import utils

        # MLflow would wait for a database that is down for an hour, without a setting to say less.
        utils.MAX_RETRY_COUNT = 1
        self.recorded = recorded
        database = stores.database_of(recorded)
        guard: Any = nullcontext()
        if database:
            database.parent.mkdir(parents=True, exist_ok=True)
            # Several processes that migrate one fresh database at once break it.
            guard = FileLock(database.with_name(database.name + ".lock"), timeout=120)
        with guard:
            if database and not database.exists():
                _create(database)
            self.client: MlflowClient = MlflowClient(stores.connection_uri(recorded))
            self.client.search_experiments(max_results=1)

    def ensure_run(self, header: dict[str, Any]) -> tuple[str, bool]:
        """The id of the run that ``header`` describes, and whether it was made just now.

        A run is found again by the tag of its attempt, so that a crash between making it and
        remembering its id does not make a second.

        Raises:
            RunGoneError: the run was known and is no longer there.
        """
        from mlflow.entities import LifecycleStage
        from mlflow.exceptions import MlflowException

        if known := header.get("run_id"):
            try:
                info = self.client.get_run(known).info
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise RunGoneError(known) from error
            if info.lifecycle_stage != LifecycleStage.ACTIVE:
                raise RunGoneError(known)
            return known, False
        experiment = self._experiment(header["experiment"])
        attempt = header["attempt"]
        found = self.client.search_runs(
            [experiment], f"tags.`{ATTEMPT_TAG}` = '{attempt}'", max_results=1
        )
        if found:
            return found[0].info.run_id, False
        run = self.client.create_run(
            experiment,
            start_time=header["created"],
            tags={ATTEMPT_TAG: attempt},
            run_name=header["run_name"],
        )
        return run.info.run_id, True

    def send(self, run_id: str, records: Sequence[Record], folder: Path) -> None:
        """Send ``records``: several of the ``BATCHED`` kinds, or one of another kind."""
        if records[0].kind in BATCHED:
            self._send_batch(run_id, records)
            return
        (record,) = records
        files = folder / record.files if record.files else folder
        getattr(self, f"_send_{record.kind}")(run_id, record, files)

    def _experiment(self, name: str) -> str:
        from mlflow.entities import LifecycleStage
        from mlflow.exceptions import MlflowException

        experiment = self.client.get_experiment_by_name(name)
        if experiment is None:
            root = stores.artifact_root(self.recorded)
            location = (root / name).as_uri() if root else None
            try:
                return self.client.create_experiment(
                    name, artifact_location=location, tags=_EXPERIMENT_TAGS
                )
            except MlflowException as error:  # another process was faster
                experiment = self.client.get_experiment_by_name(name)
                if experiment is None:
                    raise error
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            self.client.restore_experiment(experiment.experiment_id)
        return experiment.experiment_id

    def _send_batch(self, run_id: str, records: Sequence[Record]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        metrics = [
            Metric(key, value, record.time, record.content["step"])
            for record in records
            if record.kind == "metrics"
            for key, value in record.content["values"].items()
        ]
        params = [Param(k, v) for r in records if r.kind == "params" for k, v in r.content.items()]
        tags = [RunTag(k, v) for r in records if r.kind == "tags" for k, v in r.content.items()]
        for start in range(0, max(len(metrics), 1), _MAX_METRICS):
            self.client.log_batch(
                run_id,
                metrics=metrics[start : start + _MAX_METRICS],
                params=params if start == 0 else [],
                tags=tags if start == 0 else [],
            )

    def _send_results(self, run_id: str, record: Record, _: Path) -> None:
        from mlflow.entities import Metric

        there = self.client.get_run(run_id).data.metrics
        fresh = [
            Metric(key, value, record.time, record.content["step"])
            for key, value in record.content["values"].items()
            if there.get(key) != value
        ]
        if fresh:
            self.client.log_batch(run_id, metrics=fresh)

    def _send_dataset(self, run_id: str, record: Record, _: Path) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tags = [InputTag("mlflow.data.context", "training")]
        self.client.log_inputs(run_id, [DatasetInput(Dataset(**record.content), tags)])

    def _send_files(self, run_id: str, record: Record, files: Path) -> None:
        self.client.log_artifacts(run_id, str(files), record.content.get("folder"))
        if tags := record.content.get("tags"):
            self._send_batch(run_id, [Record(record.seq, "tags", record.time, tags)])

    def _send_status(self, run_id: str, record: Record, _: Path) -> None:
        status = record.content["status"]
        if status == "RUNNING":
            self.client.update_run(run_id, status=status)
        else:
            self.client.set_terminated(run_id, status=status, end_time=record.time)

    def _send_model(self, run_id: str, record: Record, files: Path) -> None:
        """Register and upload an exported model, unless that was done; finish it if half done."""
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        run = self.client.get_run(run_id)
        name = record.content["name"]
        found = self.client.search_logged_models(
            [run.info.experiment_id], f"source_run_id = '{run_id}' AND name = '{name}'"
        )
        model = (
            found[0]
            if found
            else self.client.create_logged_model(
                run.info.experiment_id, name=name, source_run_id=run_id, params=run.data.params
            )
        )
        if str(model.status) == "READY":
            return
        outputs = run.outputs.model_outputs if run.outputs else []
        if not any(output.model_id == model.model_id for output in outputs):
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        description = Model.load(str(files / "MLmodel"))
        description.run_id = run_id
        description.model_id = description.model_uuid = model.model_id
        description.artifact_path = model.artifact_location
        description.save(str(files / "MLmodel"))
        self.client.log_model_artifacts(model.model_id, str(files))
        self.client.finalize_logged_model(model.model_id, "READY")
