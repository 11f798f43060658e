"""A version becomes the champion only if it is not worse on the same test images."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import typer
from mlflow import MlflowClient
from PIL import Image

from saliencymixplus.commands.register import register as register_command
from saliencymixplus.errors import UserError
from saliencymixplus.tracking.record import read_card
from tests.helpers import write_run

WRONG = np.arange(1000) < 200


def register(run: Path, **options: Any) -> None:
    """The command, called as a function: no option comes from a command line."""
    register_command(typer.Context(click.Command("register")), run, **options)


def _run(room: Any, model: Path, seed: int, wrong: Any) -> Path:
    """A finished, evaluated run in MLflow with a model, whose errors are those of ``wrong``."""
    training = room.start(seed).epochs(3)
    training.tracker.log_models(model)
    folder = write_run(room.folder, wrong, seed=seed)
    assert training.sent()
    card = read_card(training.folder)
    training.finish()
    (folder / "tracking.json").write_text(json.dumps(card.model_dump() | {"status": "FINISHED"}))
    client = MlflowClient(f"sqlite:///{room.database}")
    measured = room.folder / "evaluations" / "tiny" / "none" / f"seed{seed}"
    run_id = room.runs()[-1][0]
    client.log_artifact(run_id, str(measured / "predictions.npz"), "evaluation")
    return folder


@pytest.mark.parametrize("store", ["http://127.0.0.1:9", "sqlite:///params.yaml"])
def test_a_store_that_cannot_be_used_is_one_line(
    room: Any, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    run = write_run(room.folder, WRONG)
    (room.folder / "params.yaml").write_text("not a database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with pytest.raises(UserError, match=r"^MLflow \(.+\): .+"):
        register(run)


@pytest.mark.slow
def test_a_worse_challenger_stays_one(
    room: Any, trained: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient(f"sqlite:///{room.database}")

    def aliases() -> dict[str, str]:
        found = client.get_registered_model("tiny").aliases
        return {alias: str(number) for alias, number in found.items()}

    first = _run(room, trained[0], 0, WRONG)
    register(first)
    assert aliases() == {"challenger": "1"}
    register(first, promote=True)  # the first: nothing to compare with
    assert aliases() == {"champion": "1"}

    worse = _run(room, trained[0], 1, np.arange(1000) < 250)
    with pytest.raises(UserError, match="not promoted"):
        register(worse, promote=True)
    assert aliases() == {"champion": "1", "challenger": "2"}
    assert "+5.00 points" in capsys.readouterr().out
    register(worse, promote=True, margin=10.0)
    assert aliases() == {"champion": "2"}

    better = _run(room, trained[0], 2, WRONG)
    register(better, promote=True)
    assert aliases() == {"champion": "3"}
    assert "-5.00 points" in capsys.readouterr().out
    assert len(client.search_model_versions("name = 'tiny'")) == 3

    described = json.loads((better / "settings.json").read_text())
    described["data"]["digest"] = "1" * 64
    (better / "settings.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="other data"):
        register(better, promote=True)


@pytest.mark.slow
def test_mlflow_serves_the_champion(room: Any, trained: tuple[Path, Path, Path]) -> None:
    register(_run(room, trained[0], 0, WRONG), promote=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--model-uri", "models:/tiny@champion", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{room.database}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    server = subprocess.Popen(command, env=environment, start_new_session=True)

    def asked(content: dict[str, Any]) -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["predictions"]

    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5)
                break
            except OSError:
                assert server.poll() is None
                time.sleep(0.5)
        file = trained[2] / "0.png"
        (by_path,) = asked({"dataframe_split": {"columns": ["path"], "data": [[str(file)]]}})
        assert sorted(by_path["classes"]) == ["both", "left", "right"]
        text = base64.b64encode(file.read_bytes()).decode()
        assert asked({"dataframe_records": [{"image": text}]}) == [by_path]
        with Image.open(file) as picture:
            assert asked({"inputs": np.asarray(picture).tolist()}) == [by_path]
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked({"inputs": [1, 2, 3]})
        assert refused.value.code == 400
        assert b"not RGB" in refused.value.read()
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
