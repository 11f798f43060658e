"""A complete evaluation of a trained run: its files, and that they agree."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from saliencymixplus.errors import UserError
from saliencymixplus.evaluation import calibration
from saliencymixplus.evaluation import evaluate as suite
from saliencymixplus.evaluation.classifier import PixelClassifier, predict_logits
from saliencymixplus.evaluation.evaluate import evaluate, write_evaluation
from saliencymixplus.evaluation.measures import Report
from saliencymixplus.evaluation.predictions import load_predictions
from saliencymixplus.evaluation.read import default_output, read_table
from saliencymixplus.files import sha256_of
from saliencymixplus.folders import reserved
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.settings.evaluation import EvaluationSettings
from saliencymixplus.training.trainer import train
from tests.helpers import run_settings, write_prepared

RUNTIME = RuntimeSettings(device="cpu", tracker="none", progress="none")
QUICK = EvaluationSettings(
    corruptions=("gaussian_noise", "contrast"),
    epsilons=(8.0,),
    pgd_steps=2,
    occlusion_shares=(0.5,),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Prepared data and a run of three epochs on them."""
    root = tmp_path_factory.mktemp("suite")
    prepared = write_prepared(root / "prepared", {"train": 24, "val": 9, "test": 21}, masks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SALIENCYMIXPLUS_STATE", str(root / "state"))
        settings = run_settings(
            "none", weights_epochs=[1], batch_size=8, augment="none", precision="fp32"
        )
        train(settings, prepared, root / "runs/tiny/none/seed0", RUNTIME)
    return prepared, root / "runs/tiny/none/seed0"


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    prepared, run = trained
    output = tmp_path_factory.mktemp("evaluated") / "out"
    return output, evaluate(run, prepared, output, QUICK, RUNTIME)


def table(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_files_and_columns(evaluated):
    output, metrics = evaluated
    assert json.loads((output / "metrics.json").read_text()) == metrics
    assert all(isinstance(value, float) for value in metrics.values())
    columns = {
        "confusion": "actual predicted",
        "per_class": "class images top1_error top5_error most_taken_for times",
        "reliability": "scaling bin_low bin_high images share confidence accuracy",
        "corruptions": "corruption family severity images top1_error",
        "attacks": "attack epsilon epsilon_255 steps images top1_error",
        "occlusion": "kind share images top1_error",
        "localisation": "class images mask_share energy pointing iou",
    }
    for name, expected in columns.items():
        assert list(table(output, name)[0]) == expected.split()
    assert json.loads((output / "evaluation.json").read_text())["skipped"] == {}


def test_the_files_agree(evaluated):
    output, metrics = evaluated
    predictions = load_predictions(output / "predictions.npz")
    for which, prefix in (
        ("last", ""),
        ("best_validation", "best_validation_"),
        ("best_test", "best_test_"),
    ):
        assert metrics[f"{prefix}top1_error"] == pytest.approx(
            100 * predictions.wrong(which).mean()
        )
    confusion = table(output, "confusion")
    assert metrics["top1_error"] == pytest.approx(
        100 * np.mean([row["actual"] != row["predicted"] for row in confusion])
    )
    classes = table(output, "per_class")
    weighted = sum(int(row["images"]) * float(row["top1_error"]) for row in classes)
    assert metrics["top1_error"] == pytest.approx(weighted / 21)
    corruptions = [float(row["top1_error"]) for row in table(output, "corruptions")]
    assert metrics["mean_corruption_error"] == pytest.approx(np.mean(corruptions))
    assert len(corruptions) == 10
    assert metrics["pgd_eps8_error"] == pytest.approx(
        float(table(output, "attacks")[-1]["top1_error"])
    )


def test_the_measured_weights_are_named(trained, evaluated):
    about = json.loads((evaluated[0] / "evaluation.json").read_text())
    assert about["run"]["weights"] == sha256_of(trained[1] / "weights/last.safetensors")


def test_weights_of_single_epochs_are_left_to_the_audit(trained, evaluated):
    output, metrics = evaluated
    assert "epoch_0001" in load_run(trained[1]).weights
    assert not [name for name in metrics if name.startswith("epoch")]
    ranks = load_predictions(output / "predictions.npz").ranks
    assert set(ranks) == {"last", "best_validation", "best_test"}


def test_errors_are_those_of_the_training(trained, evaluated):
    summary = json.loads((trained[1] / "summary.json").read_text())
    _, metrics = evaluated
    assert metrics["top1_error"] == pytest.approx(summary["last"]["top1_error"], abs=1e-4)
    assert metrics["best_test_top1_error"] == pytest.approx(
        summary["best_test"]["top1_error"], abs=1e-4
    )


def test_temperature_is_fitted_on_validation_data(trained, evaluated):
    prepared, run = trained
    model = load_run(run).model("last")
    classifier = PixelClassifier(model, (0.4,) * 3, (0.25,) * 3, 8)
    logits = predict_logits(classifier, np.load(prepared / "val_images.npy"), 4)
    labels = torch.from_numpy(np.load(prepared / "val_labels.npy"))
    assert evaluated[1]["temperature"] == pytest.approx(
        calibration.fit_temperature(logits, labels), rel=1e-3
    )


def test_a_second_evaluation_is_the_same(trained, evaluated, tmp_path):
    evaluate(trained[1], trained[0], tmp_path / "again", QUICK, RUNTIME)
    for path in evaluated[0].iterdir():
        if path.name != "evaluation.json":  # holds seconds
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_parts_can_be_left_out(trained, tmp_path):
    metrics = evaluate(
        trained[1], trained[0], tmp_path / "out", EvaluationSettings(parts=()), RUNTIME
    )
    assert "top1_error" in metrics
    assert not {"ece", "mean_corruption_error", "localisation_iou"} & set(metrics)
    assert not (tmp_path / "out/attacks.csv").exists()


def test_fewer_images_for_the_costly_parts(trained, tmp_path):
    settings = EvaluationSettings(parts=("occlusion",), occlusion_shares=(0.5,), images=6)
    evaluate(trained[1], trained[0], tmp_path / "out", settings, RUNTIME)
    assert {row["images"] for row in table(tmp_path / "out", "occlusion")} == {"6"}
    assert len(table(tmp_path / "out", "confusion")) == 21


def test_what_the_data_lack_is_said_not_invented(tmp_path):
    prepared = write_prepared(tmp_path / "bare", {"train": 24, "test": 9})
    train(run_settings("none", epochs=1), prepared, tmp_path / "run", RUNTIME)
    settings = EvaluationSettings(parts=("calibration", "localisation"))
    metrics = evaluate(tmp_path / "run", prepared, tmp_path / "out", settings, RUNTIME)
    assert "ece" in metrics
    assert not {"ece_scaled", "temperature", "best_validation_top1_error"} & set(metrics)
    skipped = json.loads((tmp_path / "out/evaluation.json").read_text())["skipped"]
    assert "no validation split" in skipped["temperature"]
    assert "no object masks" in skipped["localisation"]


def test_a_second_evaluation_at_the_same_time_is_refused_before_it_measures(
    trained, tmp_path, monkeypatch
):
    prepared, run = trained
    monkeypatch.setattr(suite, "predict_logits", lambda *_: pytest.fail("measured in vain"))
    with (
        reserved(tmp_path / "out"),
        pytest.raises(UserError, match=r"another process .* is writing"),
    ):
        evaluate(run, prepared, tmp_path / "out", QUICK, RUNTIME)


def test_other_data_are_refused(trained, tmp_path):
    prepared = write_prepared(tmp_path / "other", {"train": 24, "val": 9, "test": 21}, masks=True)
    meta = json.loads((prepared / "meta.json").read_text())
    (prepared / "meta.json").write_text(json.dumps(meta | {"digest": "1" * 64}))
    with pytest.raises(UserError, match="was trained on data with digest"):
        evaluate(trained[1], prepared, tmp_path / "out", QUICK, RUNTIME)
    (prepared / "meta.json").write_text(json.dumps(meta | {"std": [0.5, 0.5, 0.5]}))
    with pytest.raises(UserError, match="differ in the data's std: give the folder"):
        evaluate(trained[1], prepared, tmp_path / "out", QUICK, RUNTIME)
    assert not (tmp_path / "out").exists()


def test_weights_that_diverged_are_named(trained, tmp_path):
    prepared, run = trained
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    state = load_file(copy / "weights/best_test.safetensors")
    state["fc.bias"][0] = torch.finfo(torch.float32).max
    state["fc.weight"][:] = torch.finfo(torch.float32).max
    save_file(state, copy / "weights/best_test.safetensors")
    (copy / "weights/best_test.json").unlink()  # it has the checksum
    with pytest.raises(UserError, match="best_test weights produce non-finite outputs"):
        evaluate(copy, prepared, tmp_path / "out", QUICK, RUNTIME)


def test_results_go_to_the_trainings_run(trained, tmp_path, monkeypatch):
    recorded = []
    monkeypatch.setattr(suite, "record_evaluation", lambda *given: recorded.append(given))
    settings = EvaluationSettings(parts=())
    metrics = evaluate(trained[1], trained[0], tmp_path / "out", settings, RUNTIME)
    assert recorded == [(trained[1], tmp_path / "out", metrics, "none")]
    assert (tmp_path / "out" / "predictions.npz").stat().st_size > 0


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A state folder of the test's own."""
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(tmp_path / "state"))


def test_evaluating_by_hand_leaves_the_pipelines_folders_alone(tmp_path):
    (tmp_path / "dvc.yaml").touch()
    run = tmp_path / "runs/digits/none/seed0"
    assert default_output(run) == tmp_path / "outputs/evaluations/digits/none/seed0"
    assert default_output(tmp_path / "outputs/digits/x") == tmp_path / "outputs/digits/x/evaluation"
    (tmp_path / "dvc.yaml").unlink()  # runs/ is only a name there
    assert default_output(run) == run / "evaluation"


def test_class_names_are_no_formulas_in_csv(tmp_path):
    names = ["=cmd|' /C calc'!A1", "-1.5", "+x", "'=y", "plain"]
    tables = {"per_class": [{"class": name, "top1_error": -0.5} for name in names]}
    write_evaluation(Report(tables=tables), tmp_path)
    lines = (tmp_path / "per_class.csv").read_text().splitlines()[1:]
    assert [line[0] for line in lines] == ["'", "-", "'", "'", "p"]
    assert [line["class"] for line in read_table(tmp_path / "per_class.csv")] == names
