"""Run the command line inside the test process, which is fast, and capture its exit code."""

import shutil
import sys
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

from saliencymixplus.commands.app import main

REPOSITORY = Path(__file__).parents[2]
OF_AN_EXPERIMENT = {
    *("download", "prepare", "train", "audit", "compare", "report", "preview", "bench", "config")
}


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class Ready:
    """What the commands read, made once: digits of 8×8 pixels and one run of one epoch."""

    downloads: Path
    prepared: Path
    run: Path
    evaluated: Path


@pytest.fixture(scope="session")
def ready(tmp_path_factory):
    from saliencymixplus.commands.options import load, runtime
    from saliencymixplus.datasets.download import download
    from saliencymixplus.datasets.prepare import prepare
    from saliencymixplus.evaluation.evaluate import evaluate
    from saliencymixplus.training.trainer import train

    root = tmp_path_factory.mktemp("ready")
    made = Ready(root / "downloads", root / "prepared", root / "run", root / "run" / "evaluation")
    small = {"data.image_size": 8, "training.epochs": 1, "training.warmup_epochs": 0}
    params = load(REPOSITORY / "params.yaml", ["evaluation.parts=[]"], "digits", **small)
    how = runtime(tracker="none", device="cpu", progress="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SALIENCYMIXPLUS_STATE", str(root / "state"))
        section = params.experiment("digits")
        download(section.download, made.downloads)
        prepare(section.data, made.downloads, made.prepared)
        train(params.run("digits", "cutmix", 0), made.prepared, made.run, how)
        evaluate(made.run, made.prepared, made.evaluated, params.top.evaluation, how)
    return made


@pytest.fixture
def copied(ready, tmp_path):
    """``ready``, to be damaged."""
    root = Path(shutil.copytree(ready.run.parent, tmp_path / "copied"))
    return Ready(*(root / path.relative_to(ready.run.parent) for path in astuple(ready)))


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """``cli("train", "--epochs", "3")`` in an empty folder with a copy of params.yaml.

    The experiment is digits unless the test names another one: ``ready`` holds its data.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(
        (REPOSITORY / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")

    def run(*arguments: object) -> Outcome:
        words = [*map(str, arguments)]
        if words and words[0] in OF_AN_EXPERIMENT:  # of an option given twice the last one counts
            words[1:1] = ["--experiment", "digits"]
        monkeypatch.setattr(sys, "argv", ["cli.py", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        captured = capsys.readouterr()
        code = stopped.value.code
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run


@pytest.fixture
def refused(cli, tmp_path):
    """Runs a command that must fail in one line with ``culprit`` in it and leave no file behind.

    Whole, verified caches below the state folder may stay.
    """

    def run(*arguments: object, culprit: str) -> Outcome:
        before = everything(tmp_path)
        outcome = cli(*arguments)
        lines = [line for line in outcome.err.splitlines() if line.strip()]
        assert len(lines) == 1, outcome.err
        # What the parser refuses ends in a hint; docs/reference/commands.md has the exit codes.
        usage = lines[0].endswith(" (see --help)")
        assert outcome.code == (130 if lines[0] == "error: interrupted" else 2 if usage else 1)
        assert lines[0].startswith("error: ")
        assert culprit in lines[0]
        assert "Traceback" not in outcome.out + outcome.err
        assert everything(tmp_path) == before
        return outcome

    return run


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below ``folder`` with its content, the state's caches left out."""
    state = folder / "state"
    found = [p for p in folder.rglob("*") if not p.is_relative_to(state)]
    if state.is_dir():  # nothing half done, no run, nothing unsent
        found += [p for p in state.rglob("*") if p.suffix in (".part", ".old", ".pt")]
        found += list((state / "unsent").glob("*"))
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in found}
