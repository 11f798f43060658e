"""What MLflow shows for a run: names, parameters, tags, description."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus import workspace
from saliencymixplus.settings import load_params, settings_digest
from saliencymixplus.tracking import record_evaluation
from saliencymixplus.tracking.describe import changed_settings, parameters, run_name
from tests.helpers import run_settings
from tests.tracking.mlflow_runs import client_of, only_run


def test_git_and_dvc_are_named(room: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "train@digits-cutmix-0")
    monkeypatch.setenv("DVC_EXP_NAME", "bold-name")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "params.yaml", "dvc.yaml"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "start"], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout

    def tags(seed: int) -> dict[str, str]:
        room.start(seed).finish()
        run_id, _ = room.runs()[-1]
        return dict(client_of(room).get_run(run_id).data.tags)

    clean = tags(0)
    assert clean["mlflow.source.git.commit"] == commit.strip()
    assert clean["git.dirty"] == "false"
    assert (clean["dvc.stage"], clean["dvc.experiment"]) == ("train@digits-cutmix-0", "bold-name")
    Path("params.yaml").write_text("seeds: [1]\n")
    assert tags(1)["git.dirty"] == "true"


def test_a_description_has_the_results_and_is_the_users_once_edited(
    room: Any, tmp_path: Path
) -> None:
    training = room.start().epochs(4)
    run = training.publish(tmp_path / "run")
    training.finish()
    note = only_run(room).data.tags["mlflow.note.content"]
    assert "| test error, top-1 | 12.50 |" in note
    assert (
        "| lowest test error of any epoch (optimistic: the test images select it) | 12.50 |" in note
    )
    assert "calibration" not in note
    (tmp_path / "evaluation").mkdir()
    record_evaluation(run, tmp_path / "evaluation", {"ece": 3.0, "best_test_top1_error": 2.0})
    found = only_run(room)
    assert "| expected calibration error | 3.00 |" in found.data.tags["mlflow.note.content"]
    assert found.data.metrics["test_selected_optimistic/best_test_top1_error"] == 2.0
    client_of(room).set_tag(found.info.run_id, "mlflow.note.content", "my own")
    record_evaluation(run, tmp_path / "evaluation", {"ece": 4.0})
    assert only_run(room).data.tags["mlflow.note.content"] == "my own"


def test_the_errors_can_be_searched_without_quotes(room: Any) -> None:
    room.start().epochs(4).finish()
    client = client_of(room)
    experiment = only_run(room).info.experiment_id
    for condition, count in (("< 12.6", 1), ("> 12.6", 0)):
        found = client.search_runs([experiment], f"metrics.test_top1_error {condition}")
        assert len(found) == count


def test_what_sets_two_runs_apart_is_in_their_names_and_parameters(
    room: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both what the command line changes and what `dvc exp run -S` writes into params.yaml."""
    text = """
digits:
  download: {source: digits}
  model: {name: resnet8}
  training: {epochs: 3}
"""
    Path("params.yaml").write_text(text)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-q", "-m", "start"]):
        subprocess.run([*git, *command], check=True)
    Path("params.yaml").write_text(text.replace("epochs: 3", "epochs: 3, mix_prob: 0.3"))
    monkeypatch.setenv("DVC_EXP_NAME", "bold-name")
    usual = room.settings().training
    folders = []
    for seed, changes in enumerate(
        (
            {},
            {"mix_prob": 0.3},
            {"weight_decay": 0.01, "schedule": "cosine"},
            {"weight_decay": 0.01, "schedule": "cosine", "momentum": 0.5, "gamma": 0.5},
        )
    ):
        training = room.start(seed, training=usual.model_copy(update=changes))
        training.finish()
        folders.append(training.folder.name)
    runs = [client_of(room).get_run(run_id) for run_id, _ in room.runs()]
    assert [run.info.run_name for run in runs] == [
        "cutmix · seed 0",
        "cutmix · seed 1 · mix_prob 0.3",
        "cutmix · seed 2 · weight_decay 0.01 · schedule cosine",
        "cutmix · seed 3 · momentum 0.5 · weight_decay 0.01 · schedule cosine · 1 more"
        f" · {folders[3][:8]}",
    ]
    assert runs[1].data.params["mix_prob"] == "0.3"
    assert runs[2].data.params["weight_decay"] == "0.01"
    assert runs[3].data.params["gamma"] == "0.5"
    assert "gamma" not in runs[2].data.params
    assert all(run.data.params["dvc_experiment"] == "bold-name" for run in runs)


def test_without_a_committed_recipe_the_name_ends_in_the_digest_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "checkout_root", lambda: tmp_path)
    first, second = run_settings("none"), run_settings("none", weight_decay=0.01)
    names = []
    for run in (first, second):
        changes, identity = changed_settings(run), settings_digest(run, "0" * 64)
        assert changes is None
        names.append(run_name(run, changes, identity))
        assert names[-1] == f"none · seed 0 · {identity[:8]}"
    assert names[0] != names[1]


def test_the_folder_of_ones_own_pictures_is_in_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text(
        "photos: {download: {source: imagefolder, path: a}, model: {name: resnet8}}\n"
    )
    monkeypatch.setattr(workspace, "checkout_root", lambda: tmp_path)
    long = "pictures/" + 30 * "x"
    for path, name in (
        ("a", "none · seed 0"),
        ("pets", "none · seed 0 · download.path pets"),
        (long, f"none · seed 0 · download.path {long[:30]} · 01234567"),
    ):
        given = [f"photos.download.path={path}"]
        run = load_params(tmp_path / "params.yaml", given).run("photos", "none", 0)
        assert run_name(run, changed_settings(run), "0123456789abcdef") == name


def test_a_switch_is_described_by_its_members() -> None:
    cutmix = {"probability": 0.75, "alpha": 0.2}
    run = run_settings("switch", options={"members": {"cutmix": cutmix, "mixup": 0.25}})
    found = parameters(run, {})
    assert {key: value for key, value in found.items() if "." in key} == {
        "mix.cutmix.probability": "0.75",
        "mix.cutmix.alpha": "0.2",
        "mix.mixup.probability": "0.25",
    }
