"""The pipeline as a user runs it: ``dvc repro`` in a fresh clone, reruns, metrics and plots."""

import json
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

SMALL = {
    "experiments: [clutter]": "experiments: [digits]",
    "methods: [none, cutmix, saliencymixplus, saliencymixplus-excess]": (
        "methods: [none, saliencymixplus]"
    ),
    "seeds: [0, 1, 2]\n\n": "seeds: [0]\n\n",
    "    epochs: 12": "    epochs: 2",
    "sample_epochs: [0, 1, 6, 12]": "sample_epochs: [0, 2]",
    "parts: [calibration, occlusion, localisation]": "parts: [calibration]",
    "  images: 1000 ": "  images: 64 ",
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def clone(new_clone):
    clone = new_clone()
    clone.edit(SMALL)
    clone.run("dvc", "repro")
    clone.commit()
    return clone


def test_a_second_run_does_nothing(clone):
    assert clone.changed() == set()
    assert "Data and pipelines are up to date." in clone.run("dvc", "repro")


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
    ours = ("docs/", "src/", ".dvc/")  # pictures of the README, templates of pages
    bulky = [name for name in tracked if name.endswith(heavy) and not name.startswith(ours)]
    assert bulky == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("images: 64 ", "images: 65 ", {"audit@digits"}),
        (
            "pgd_steps: 10",
            "pgd_steps: 11",
            {"evaluate@digits"},
        ),
        ("epochs: 300", "epochs: 301", set()),
        (
            "    learning_rate: 0.1\n    schedule: cosine\n    warmup_epochs: 0.5\n",
            "    learning_rate: 0.2\n    schedule: cosine\n    warmup_epochs: 0.5\n",
            {"train@digits"},
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


def test_a_changed_option_reruns_its_recipe(clone):
    clone.params(mix={"saliencymixplus": {"position": "mass"}})
    runs = clone.folder / "runs/digits"
    before = {path: path.read_bytes() for path in (runs / "none/seed0").rglob("*.*")}
    try:
        assert clone.changed() == {"train@digits", "audit@digits"}
        assert "1 of 2 runs are already finished" in clone.run("dvc", "repro", "train")
        settings = json.loads((runs / "saliencymixplus/seed0/settings.json").read_text())
        assert settings["settings"]["mix"]["options"]["position"] == "mass"
        assert {path: path.read_bytes() for path in before} == before
        assert "evaluate@digits" in clone.changed()
        assert "1 of 2 evaluations are current" in clone.run("dvc", "repro", "evaluate")
    finally:
        clone.params(mix={"saliencymixplus": {"position": None}})
        clone.run("git", "checkout", "dvc.lock")
        clone.run("dvc", "checkout", "--force", "train@digits", "evaluate@digits")
    assert clone.changed() == set()


NEW_METHOD = (REPOSITORY / "src/saliencymixplus/mixing/methods/mixup.py").read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        (
            "mixing/methods/another.py",
            "",
            NEW_METHOD.replace('name="mixup"', 'name="another"'),
            set(),
        ),
        ("progress.py", '"""', '"""More. ', set()),
        ("runs/read.py", '"""', '"""More. ', set()),
        ("pictures/palette.py", "#0072B2", "#0072B3", {"compare@digits", "report@digits"}),
        ("engine/optimizer.py", "momentum=", "dampening=0, momentum=", {"train@digits"}),
        (
            "mixing/methods/saliencymixplus.py",
            "p_a / (p_a + p_b)",
            "p_a / (p_a + p_b) ",
            {"train@digits", "audit@digits"},
        ),
        (
            "settings/training.py",
            "momentum: Annotated",
            "nothing: int = 0\n    momentum: Annotated",
            {"train@digits"},
        ),
        ("settings/data.py", '"""', '"""More. ', {"prepare@digits"}),
        ("mixing/options.py", '"""', '"""More. ', {"train@digits", "audit@digits"}),
    ],
)
def test_changed_sources_rerun_only_what_they_decide(clone, file, old, new, expected):
    path = clone.folder / "src" / "saliencymixplus" / file
    before = path.read_text("utf-8") if old else None
    path.write_text(before.replace(old, new, 1) if before else new, "utf-8")
    try:
        assert clone.changed() == expected
    finally:
        path.write_text(before, "utf-8") if before else path.unlink()


def test_metrics_and_plots_are_shown(clone):
    shown = json.loads(clone.run("dvc", "metrics", "show", "--json"))
    (files,) = (found["data"] for found in shown.values())
    assert {Path(name).stem for name in files} == {"none", "saliencymixplus"}
    assert all("top1_error" in found["data"] for found in files.values())
    clone.run("dvc", "metrics", "diff")
    clone.run("dvc", "plots", "show")
    page = (clone.folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    for part in ("live", "learning.png", "confusion.png", "samples_saliencymixplus.png"):
        assert part in page


def test_mlflow_has_one_finished_run_per_training_with_its_evaluation(clone):
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "digits"]
    found = client.search_runs([experiment.experiment_id])
    runs = {run.data.params["mix"]: run for run in found if "mix" in run.data.params}
    assert {"none", "saliencymixplus"} <= set(runs)
    for name in ("none", "saliencymixplus"):
        run = runs[name]
        # The clone's settings were not committed yet: they are in the name.
        assert run.info.run_name.startswith(f"{name} · seed 0")
        assert run.info.status == "FINISHED"
        assert "results/test_top1" in run.data.metrics
        history = client.get_metric_history(run.info.run_id, "error/test_top1")
        assert [point.step for point in history] == [1, 2]
