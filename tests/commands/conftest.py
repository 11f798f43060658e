"""Running the command line inside the test's process: fast, and its exit code and lines at hand."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from saliencymixplus.commands.app import main

REPOSITORY = Path(__file__).parents[2]


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """``cli("train", "--epochs", "3")`` in an empty folder with a copy of params.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(
        (REPOSITORY / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["cli.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run
