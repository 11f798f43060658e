"""Choosing and opening a store, and tracking without MLflow."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.tracking import record_report, stores
from saliencymixplus.tracking.redact import redact, redact_all, without_credentials


@pytest.mark.parametrize("project", ["", "ablation"])
def test_the_default_store_is_the_same_from_everywhere(
    room: Any, monkeypatch: pytest.MonkeyPatch, project: str
) -> None:
    assert stores.configured().database == room.database
    copy = room.folder / project / ".dvc" / "tmp" / "exps" / "tmp1" / "src"
    copy.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        (copy.parent / name).touch()
    monkeypatch.chdir(copy)
    assert stores.configured().database == room.database
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")
    assert stores.configured().database == room.folder / "own.db"


@pytest.mark.parametrize(
    ("uri", "recorded"),
    [
        ("", "default"),
        ("http://me:secret@host:5000/", "http://host:5000/"),
        ("https://host", "https://host"),
        ("postgresql+psycopg2://me:secret@host/db", "postgresql+psycopg2://host/db"),
        ("sqlite:////data/mlflow.db?timeout=3", "sqlite:////data/mlflow.db"),
        ("sqlite:///own.db", "sqlite:///own.db"),
        ("sqlite:///mlflow.db", "default"),
    ],
)
def test_what_is_written_down_and_what_is_connected_to(
    room: Any, monkeypatch: pytest.MonkeyPatch, uri: str, recorded: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    address = stores.configured()
    assert address.name == recorded
    if not address.database:
        assert address.uri == uri


@pytest.mark.parametrize(
    "uri", ["./mlruns", "file:///tmp/mlruns", "sqlite://", "ftp://host", "http://[::1"]
)
def test_other_stores_are_refused(room: Any, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI"):
        room.start()


def test_the_ui_command_binds_to_loopback(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1 --port 5000"
    assert stores.configured().ui_command == command
    shown = stores.configured().runs_address("7")
    assert shown.startswith("http://127.0.0.1:5000/#/experiments/7/runs?")
    assert shown.endswith(f"(after `{command}`)")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{room.database}")
    monkeypatch.chdir("/")
    assert f"'sqlite:///{room.database}'" in stores.configured().ui_command
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://host/")
    assert stores.configured().runs_address("") == "https://host"
    assert stores.configured().runs_address("7").startswith("https://host/#/experiments/7/runs?")


def test_credentials_are_taken_out_of_texts() -> None:
    assert redact("see https://me:pw@host/x?a=1&access_token=zz now") == (
        "see https://***@host/x?a=1&access_token=*** now"
    )
    assert redact_all({"a": ["ftp://u:p@h"], "b": 1}) == {"a": ["ftp://***@h"], "b": 1}
    assert redact("mail me@host, https://host/a@b") == "mail me@host, https://host/a@b"
    assert without_credentials("http://u:p@h:5/x?token=1") == "http://h:5/x"


@pytest.mark.parametrize("password", ["a#b", "a?b", "a/b", "1#2", "a:b", "%40"])
def test_odd_passwords_are_taken_out_whole(password: str) -> None:
    """SQLAlchemy takes them unescaped; a URL's own grammar would end the host before them."""
    uri = f"postgresql://me:{password}@host:5432/db"
    assert without_credentials(uri) == "postgresql://host:5432/db"
    assert redact(f"at {uri}, see") == "at postgresql://***@host:5432/db, see"


@pytest.mark.parametrize(
    "uri", ["http://h:5/a@b", "http://h:5000", "https://h/a@b", "http://[::1]:5/a@b"]
)
def test_an_at_sign_in_a_path_is_no_credential(uri: str) -> None:
    assert without_credentials(uri) == uri
    assert redact(uri) == uri


def test_without_mlflow_training_says_what_to_do(
    room: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"pip install .*mlflow.*--tracker none"):
        room.start()
    assert record_report("digits", []) is None
    assert "pip install" in capsys.readouterr().err


def test_no_tracker_needs_no_mlflow_and_writes_nothing(room: Any) -> None:
    """In a fresh Python, as this one has MLflow imported already."""
    code = """
import sys, pathlib
sys.modules["mlflow"] = None
from saliencymixplus.tracking import open_tracker, record_evaluation, record_report
from saliencymixplus.files import write_json
folder = pathlib.Path("x")
tracker = open_tracker("none", run=None, identity="d", data={}, folder=folder)
tracker.update(); tracker.publish(folder); assert tracker.finish("FINISHED")
assert tracker.url_hint is None
write_json(pathlib.Path("tracking.json"), tracker.reference)
record_evaluation(pathlib.Path("."), folder, {"a": 1.0})
record_evaluation(folder, folder, {"a": 1.0}, "none")
assert record_report("digits", [], "none") is None
assert not any(name.split(".")[0] == "torch" for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    names = {path.name for path in Path.cwd().iterdir()}
    assert names == {"params.yaml", "dvc.yaml", "mlflow.db", "tracking.json"}


@pytest.mark.parametrize("text", ["soon", "nan", "-1", "inf", "1e300", "1,5"])
def test_a_timeout_that_is_no_number_is_refused_before_the_training(
    room: Any, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SALIENCYMIXPLUS_TRACKING_TIMEOUT", text)
    with pytest.raises(UserError, match=r"SALIENCYMIXPLUS_TRACKING_TIMEOUT=.*number of seconds"):
        room.start()
    assert not any(room.state.rglob("tracking.json"))


def test_an_empty_timeout_is_the_usual_one(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALIENCYMIXPLUS_TRACKING_TIMEOUT", "")
    room.start().finish()
    assert room.statuses() == ["FINISHED"]
