"""The runs in a test's MLflow store."""

from typing import Any

from mlflow import MlflowClient


def client_of(room: Any) -> MlflowClient:
    return MlflowClient(f"sqlite:///{room.database}")


def only_run(room: Any) -> Any:
    """The only run."""
    ((run_id, _),) = room.runs()
    return client_of(room).get_run(run_id)
