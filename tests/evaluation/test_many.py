"""``evaluate_all``: what is current is kept, everything else is evaluated, two at once."""

import json
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import saliencymixplus
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation import evaluate as evaluate_module
from saliencymixplus.evaluation import many
from saliencymixplus.evaluation.current import CODE, MADE_FROM
from saliencymixplus.evaluation.evaluate import evaluate
from saliencymixplus.evaluation.many import evaluate_all
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.settings.evaluation import EvaluationSettings
from saliencymixplus.training.trainer import train
from tests.helpers import REPOSITORY, run_settings, write_prepared

RUNTIME = RuntimeSettings(device="cpu", tracker="none", progress="none")
QUICK = EvaluationSettings(parts=("calibration",))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Prepared data and three runs."""
    root = tmp_path_factory.mktemp("many")
    prepared = write_prepared(root / "prepared", {"train": 16, "test": 9})
    runs = [root / "runs" / name for name in ("a", "b", "c")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SALIENCYMIXPLUS_STATE", str(root / "state"))
        train(run_settings("none", epochs=1), prepared, runs[0], RUNTIME)
    for run in runs[1:]:
        shutil.copytree(runs[0], run)
    return prepared, runs


@pytest.fixture
def outputs(trained, tmp_path):
    """Copies of the runs to evaluation folders."""
    runs = [Path(shutil.copytree(run, tmp_path / "runs" / run.name)) for run in trained[1]]
    return {run: tmp_path / "evaluations" / run.name for run in runs}


def contents(outputs):
    return {
        path: path.read_bytes()
        for folder in outputs.values()
        for path in sorted(folder.iterdir())
        if path.name not in ("evaluation.json", MADE_FROM)  # with seconds, and their digest
    }


def evaluated_again(outputs, prepared, settings=QUICK):
    """The names of the folders that a call wrote."""
    before = {folder: folder.stat().st_ino for folder in outputs.values()}
    evaluate_all(outputs, prepared, settings, RUNTIME)
    return [folder.name for folder in outputs.values() if folder.stat().st_ino != before[folder]]


def test_two_at_once_write_what_single_evaluations_do(trained, outputs, tmp_path):
    evaluate_all(outputs, trained[0], QUICK, RUNTIME, jobs=2)
    found = contents(outputs)
    run = next(iter(outputs))
    evaluate(run, trained[0], tmp_path / "one", QUICK, RUNTIME)
    for path in contents({run: tmp_path / "one"}):
        assert path.read_bytes() == found[outputs[run] / path.name]
    assert len(found) == 3 * len(contents({run: tmp_path / "one"}))


def test_only_what_is_not_current_is_evaluated(trained, outputs, capsys):
    prepared = trained[0]
    evaluate_all(outputs, prepared, QUICK, RUNTIME)
    assert evaluated_again(outputs, prepared) == []
    assert "3 of 3 evaluations are current" in capsys.readouterr().out

    runs = list(outputs)
    weights = runs[1] / "weights/last.safetensors"
    state = load_file(weights)
    save_file(state | {"fc.bias": state["fc.bias"] + 1}, weights)
    weights.with_suffix(".json").unlink()  # it has the checksum
    assert evaluated_again(outputs, prepared) == ["b"]

    (outputs[runs[0]] / "predictions.npz").unlink()
    (outputs[runs[2]] / "metrics.json").write_text("{}")
    assert evaluated_again(outputs, prepared) == ["a", "c"]
    assert json.loads((outputs[runs[2]] / "metrics.json").read_text())

    more_bins = QUICK.model_copy(update={"calibration_bins": 3})
    assert evaluated_again(outputs, prepared, more_bins) == ["a", "b", "c"]
    assert evaluated_again(outputs, prepared, more_bins) == []


def test_changed_code_makes_every_evaluation_stale(trained, outputs, tmp_path, monkeypatch):
    evaluate_all(outputs, trained[0], QUICK, RUNTIME)
    source = REPOSITORY / "src/saliencymixplus"
    for name in CODE:
        for file in [*(source / name).rglob("*.py")] or [source / name]:
            copy = tmp_path / "package" / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    monkeypatch.setattr(saliencymixplus, "__file__", str(tmp_path / "package/__init__.py"))
    assert evaluated_again(outputs, trained[0]) == []
    with (tmp_path / "package/engine/device.py").open("a") as file:
        file.write("# changed\n")
    assert evaluated_again(outputs, trained[0]) == ["a", "b", "c"]


def test_weights_replaced_during_an_evaluation_are_evaluated_again(trained, outputs, monkeypatch):
    replaced = next(iter(outputs)) / "weights/last.safetensors"
    measure = many.measure_run

    def replacing(run, *rest):
        metrics = measure(run, *rest)
        state = load_file(replaced)
        save_file(state | {"fc.bias": state["fc.bias"] + 1}, replaced)
        replaced.with_suffix(".json").unlink(missing_ok=True)  # it has the checksum
        return metrics

    with monkeypatch.context() as patch:
        patch.setattr(many, "measure_run", replacing)
        evaluate_all(outputs, trained[0], QUICK, RUNTIME)
    assert evaluated_again(outputs, trained[0]) == ["a"]


def test_weights_replaced_while_they_are_measured_are_not_taken_for_the_measured(
    trained, outputs, monkeypatch
):
    (run, output), *_ = outputs.items()
    about = run / "weights/last.json"
    measure = evaluate_module.measure

    def replacing(*arguments):
        content = json.loads(about.read_text())
        about.write_text(json.dumps(content | {"sha256": "b" * 64}))
        return measure(*arguments)

    monkeypatch.setattr(evaluate_module, "measure", replacing)
    before = json.loads(about.read_text())["sha256"]
    evaluate(run, trained[0], output, QUICK, RUNTIME)
    found = json.loads((output / "evaluation.json").read_text())["run"]["weights"]
    assert found == before != "b" * 64


def test_one_that_fails_does_not_stop_the_others(trained, outputs):
    runs = list(outputs)
    (runs[1] / "weights/last.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"1 of 3 evaluations failed, first .*b: .* is damaged"):
        evaluate_all(outputs, trained[0], QUICK, RUNTIME)
    assert [folder.name for folder in outputs.values() if folder.exists()] == ["a", "c"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_too_little_memory_for_one_does_not_stop_the_others(trained, outputs, monkeypatch, jobs):
    kept = []

    def measured(run, *rest):
        if run.path.name == "b":
            tensor = torch.zeros(2)
            kept.append(weakref.ref(tensor))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        if kept and jobs == 1:  # "c" has the memory of "b"
            assert kept[0]() is None
        return whole(run, *rest)

    whole = evaluate_module._measured
    monkeypatch.setattr(evaluate_module, "_measured", measured)
    advice = "out of memory on cpu with evaluation.batch_size 128: try evaluation.batch_size 64"
    with pytest.raises(UserError, match=f"1 of 3 evaluations failed, first .*b: {advice} "):
        evaluate_all(outputs, trained[0], QUICK, RUNTIME, jobs)
    assert [folder.name for folder in outputs.values() if folder.exists()] == ["a", "c"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interruption_ends_all_and_what_was_not_recorded_is_repeated(
    trained, outputs, monkeypatch, jobs
):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(many, "record_evaluation", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate_all(outputs, trained[0], QUICK, RUNTIME, jobs)
    folder = next(iter(outputs.values())).parent
    assert not list(folder.glob(".*"))
    assert not list(folder.glob(f"*/{MADE_FROM}"))
    recorded = []
    monkeypatch.setattr(many, "record_evaluation", lambda run, *_: recorded.append(run))
    evaluate_all(outputs, trained[0], QUICK, RUNTIME)
    assert sorted(recorded) == list(outputs)


def test_a_current_evaluation_that_mlflow_lacks_is_added(trained, outputs, monkeypatch):
    """One made with ``--tracker none``; ``tests/tracking`` asks a real store."""
    evaluate_all(outputs, trained[0], QUICK, RUNTIME)
    asked, recorded, second = [], [], list(outputs)[1]
    monkeypatch.setattr(
        many, "unrecorded_evaluations", lambda found, kind: asked.append((found, kind)) or [second]
    )
    monkeypatch.setattr(many, "record_evaluation", lambda *given: recorded.append(given))
    runtime = RUNTIME.model_copy(update={"tracker": "mlflow"})
    evaluate_all(outputs, trained[0], QUICK, runtime)
    metrics = {
        run: json.loads((folder / "metrics.json").read_text()) for run, folder in outputs.items()
    }
    assert asked == [(metrics, "mlflow")]
    assert recorded == [(second, outputs[second], metrics[second], "mlflow")]


def test_the_users_files_are_refused_before_anything_is_measured(trained, outputs, monkeypatch):
    last = list(outputs.values())[-1]
    last.mkdir(parents=True)
    (last / "notes.txt").write_text("mine")
    monkeypatch.setattr(many, "measure_run", lambda *_: pytest.fail("measured in vain"))
    with pytest.raises(UserError, match="holds other files"):
        evaluate_all(outputs, trained[0], QUICK, RUNTIME)
    assert (last / "notes.txt").read_text() == "mine"
