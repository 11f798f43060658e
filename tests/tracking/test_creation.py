"""A process killed while MLflow creates its database leaves nothing in the way."""

import subprocess
import sys
import time

import pytest

from saliencymixplus.tracking import mlflow_store

pytest.importorskip("mlflow")
pytestmark = pytest.mark.slow
OPEN = """
import sys
import pathlib
from saliencymixplus.tracking import mlflow_store, stores
import mlflow.store.tracking.sqlalchemy_store
print("ready", flush=True)
mlflow_store.Store(stores.Address("x", "sqlite:///" + sys.argv[1], pathlib.Path(sys.argv[1])))
print("open", flush=True)
"""


def test_killed_in_the_creation_the_next_process_opens_the_store(tmp_path):
    database = tmp_path / "mlflow.db"
    caught = 0
    for delay in (0.2, 0.4, 0.7, 1.0):
        process = subprocess.Popen(
            [sys.executable, "-c", OPEN, str(database)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        caught += process.poll() is None
        process.kill()
        process.wait()
        process.stdout.close()
    assert caught, "every process was done before it was killed"
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(database)], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["ready", "open"], done.stderr[-2000:]
    assert [p.name for p in tmp_path.iterdir() if ".part" in p.name] == []


def test_a_database_made_by_another_program_meanwhile_is_kept(tmp_path, monkeypatch):
    """MLflow's UI, say, takes no part in the lock."""
    import mlflow

    database = tmp_path / "mlflow.db"

    class Client(mlflow.MlflowClient):
        def search_experiments(self, *given, **named):
            found = super().search_experiments(*given, **named)
            database.write_text("of another program")
            return found

    monkeypatch.setattr(mlflow_store, "MlflowClient", Client)
    mlflow_store._create(database)
    assert database.read_text() == "of another program"
    assert [p.name for p in tmp_path.iterdir()] == ["mlflow.db"]
