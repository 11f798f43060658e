"""The pipeline as a user runs it: ``dvc repro`` in a fresh clone, what reruns, what it shows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DVC = shutil.which("dvc", path=str(Path(sys.executable).parent)) or shutil.which("dvc")
SMALL = {
    "methods: [none, cutmix, saliencymix, saliencymixplus]": "methods: [none, saliencymixplus]",
    "seeds: [0, 1]\n\n": "seeds: [0]\n\n",
    "    epochs: 12": "    epochs: 2",
    "sample_epochs: [0, 1, 6, 12]": "sample_epochs: [0, 2]",
    "parts: [calibration, corruptions, attacks, occlusion, localisation]": "parts: [calibration]",
    "  images: 1000 ": "  images: 64 ",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(DVC is None, reason="DVC is not installed"),
]


class Clone:
    """A clone of this checkout with a small experiment, and commands run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What is committed and what is not yet: the tests judge the working tree.
        names = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY,
            capture_output=True,
            check=True,
        ).stdout
        for name in filter(None, names.decode().split("\0")):
            if (REPOSITORY / name).is_file() and not name.startswith(("tests/", "dvc.lock")):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(REPOSITORY / name, folder / name)
        self.edit(SMALL)
        self.run("git", "init", "--quiet")
        self.commit()

    def edit(self, changes: dict[str, str]) -> None:
        path = self.folder / "params.yaml"
        text = path.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text, f"params.yaml no longer says {old!r}"
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")

    def commit(self) -> None:
        self.run("git", "add", "--all")
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
        self.run("git", *who, "commit", "--quiet", "--message", "State")

    def run(self, *command: str) -> str:
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        for name in ("MLFLOW_TRACKING_URI", "SALIENCYMIXPLUS_STATE"):
            environment.pop(name, None)
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (
            f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
        return done.stdout

    def changed(self) -> set[str]:
        """Stages and data files that ``dvc status`` says are to be run again."""
        return {*json.loads(self.run(str(DVC), "status", "--json"))}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    clone = Clone(tmp_path_factory.mktemp("a clone with spaces"))
    clone.run(str(DVC), "repro")
    clone.commit()
    return clone


def test_a_second_run_does_nothing(clone):
    assert clone.changed() == set()
    assert "Data and pipelines are up to date." in clone.run(str(DVC), "repro")


def test_everything_is_there(clone):
    expected = [
        "runs/digits/saliencymixplus/seed0/weights/last.safetensors",
        "runs/digits/saliencymixplus/seed0/samples/epoch_0002.png",
        "evaluations/digits/none/seed0/predictions.npz",
        "audits/digits/audit.json",
        "audits/digits/along_training.png",
        "reports/digits/comparison.md",
        "reports/digits/report.html",
    ]
    assert [name for name in expected if not (clone.folder / name).is_file()] == []


def test_git_sees_no_bulky_file(clone):
    tracked = clone.run("git", "ls-files").split("\n")
    heavy = (".safetensors", ".npz", ".npy", ".db", ".html", ".png")
    ours = ("docs/", "src/")  # pictures of the README, the report's template
    bulky = [name for name in tracked if name.endswith(heavy) and not name.startswith(ours)]
    assert bulky == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "position: null ",
            "position: mass ",
            {"train@digits-saliencymixplus-0"},
        ),
        ("images: 64 ", "images: 65 ", {"audit@digits"}),
        (
            "pgd_steps: 10",
            "pgd_steps: 11",
            {"evaluate@digits-none-0", "evaluate@digits-saliencymixplus-0"},
        ),
        ("epochs: 300", "epochs: 301", set()),
        (
            "    learning_rate: 0.1\n    schedule: cosine\n    warmup_epochs: 0.5\n",
            "    learning_rate: 0.2\n    schedule: cosine\n    warmup_epochs: 0.5\n",
            {"train@digits-none-0", "train@digits-saliencymixplus-0"},
        ),
        ("validation_fraction: 0.15", "validation_fraction: 0.2", {"prepare@digits"}),
    ],
)
def test_a_changed_parameter_reruns_only_what_depends_on_it(clone, old, new, expected):
    clone.edit({old: new})
    try:
        assert clone.changed() == expected
    finally:
        clone.edit({new: old})


def test_metrics_and_plots_are_shown(clone):
    shown = json.loads(clone.run(str(DVC), "metrics", "show", "--json"))
    (files,) = (found["data"] for found in shown.values())
    assert {Path(name).stem for name in files} == {"none", "saliencymixplus"}
    assert all("top1_error" in found["data"] for found in files.values())
    clone.run(str(DVC), "metrics", "diff")
    clone.run(str(DVC), "plots", "show")
    page = (clone.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    for part in ("learning_curves", "confusion", "saliencymixplus.png"):
        assert part in page


def test_mlflow_has_one_finished_run_per_training_with_its_evaluation(clone):
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "digits"]
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {"none · seed 0", "saliencymixplus · seed 0"} <= set(runs)
    for name in ("none · seed 0", "saliencymixplus · seed 0"):
        run = runs[name]
        assert run.info.status == "FINISHED"
        assert "results/top1_error" in run.data.metrics
        history = client.get_metric_history(run.info.run_id, "epoch/test_top1_error")
        assert [point.step for point in history] == [1, 2]
