"""Interrupted trainings resume to the same result, only from intact checkpoints, one at a time."""

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.digest import code_files
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError
from saliencymixplus.runs.history import read_history, write_history
from saliencymixplus.settings import RunSettings, RuntimeSettings, settings_digest
from saliencymixplus.training.signals import Interrupted
from saliencymixplus.training.trainer import train
from tests.helpers import Recorder, run_settings, same_weights, timeless, write_prepared
from tests.train_apart import stop_at

METHODS = ["none", "cutmix", "saliencymix", "saliencymixplus", "automix", "switch"]


OPTIONS = {"switch": {"members": {"cutmix": 0.5, "saliencymix": 0.25, "mixup": 0.25}}}


@pytest.mark.parametrize("policy", ["randaugment", "autoaugment-cifar10", "trivialaugment"])
def test_policies_and_erasing_are_resumed_bit_for_bit(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, policy: str
) -> None:
    settings = run_settings("cutmix", auto_augment=policy, random_erasing=0.5, epochs=2)
    train(settings, tiny, tmp_path / "whole", runtime)
    with pytest.raises(Interrupted):
        train(settings, tiny, tmp_path / "resumed", runtime, stop_at(1, 2))
    train(settings, tiny, tmp_path / "resumed", runtime)
    assert same_weights(tmp_path / "whole", tmp_path / "resumed")
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "resumed")
    plain = run_settings("cutmix", random_erasing=0.5, epochs=2)
    train(plain, tiny, tmp_path / "plain", runtime)
    assert not same_weights(tmp_path / "whole", tmp_path / "plain"), "the policy does something"


@pytest.fixture(scope="module", params=METHODS)
def uninterrupted(
    request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunSettings, Path]:
    """The settings of a run with the method, and its training in one go."""
    method: str = request.param
    settings = run_settings(
        method,
        options=OPTIONS.get(method),
        weight_average=0.9 if method == "cutmix" else None,
        mix_prob=1.0 if method == "switch" else 0.5,
        sample_epochs=(3,) if method == "switch" else (),
    )
    folder = tmp_path_factory.mktemp(method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SALIENCYMIXPLUS_STATE", str(folder / "state"))
        how = RuntimeSettings(device="cpu", tracker="none", progress="none")
        train(settings, tiny, folder / "whole", how)
    return settings, folder / "whole"


@pytest.mark.parametrize("place", [(1, 0), (2, 1), (2, 3), (3, 2)])
def test_a_signal_saves_and_the_rest_is_bit_identical(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    uninterrupted: tuple[RunSettings, Path],
    place: tuple[int, int],
) -> None:
    settings, whole = uninterrupted
    resumed = tmp_path / "resumed"
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM; saved at epoch") as caught:
        train(settings, tiny, resumed, runtime, stop_at(*place))
    assert caught.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not resumed.exists()
    train(settings, tiny, resumed, runtime)
    for which in ("last", "best_validation", "best_test"):
        assert same_weights(whole, resumed, which)
    assert timeless(whole) == timeless(resumed)


@pytest.mark.parametrize("optimizer", ["adamw", "timm/lamb"])
def test_every_optimizer_resumes_bit_for_bit(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, optimizer: str
) -> None:
    if optimizer.startswith("timm/"):
        pytest.importorskip("timm")
    settings = run_settings("cutmix", optimizer=optimizer, learning_rate=0.01, no_decay="norm_bias")
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(settings, tiny, whole, runtime)
    with pytest.raises(Interrupted):
        train(settings, tiny, resumed, runtime, stop_at(2, 1))
    train(settings, tiny, resumed, runtime)
    assert same_weights(whole, resumed)
    assert timeless(whole) == timeless(resumed)


def test_an_interrupt_marks_the_run_and_says_how_to_go_on(
    tiny: Path,
    tmp_path: Path,
    recorder: Recorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = RuntimeSettings(device="cpu", tracker="none", progress="lines")
    with pytest.raises(Interrupted) as caught:
        train(run_settings(), tiny, tmp_path / "run", lines, stop_at(2, 1, signal.SIGINT))
    assert caught.value.exit_code == 130
    assert recorder.status == "KILLED"
    train(run_settings(), tiny, tmp_path / "run", lines)
    assert recorder.status == "FINISHED"
    assert recorder.epochs == [1, 2, 3]
    said = "resumed after epoch 1 of 3 and 2 steps of the next (--no-resume starts over)"
    assert said in capsys.readouterr().out


def test_the_state_folder_has_each_epoch_once_with_its_time(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What tracking reads: settings and history, cut back to the checkpoint before it starts."""
    seen: list[list[EpochRow]] = []

    def open_tracker(kind: str, *, folder: Path, **rest: Any) -> Recorder:
        assert (folder / "settings.json").is_file()
        seen.append(read_history(folder / "history.csv"))
        return Recorder().open(kind, folder=folder)

    monkeypatch.setattr("saliencymixplus.training.trainer.open_tracker", open_tracker)
    with pytest.raises(Interrupted):
        train(run_settings(), tiny, tmp_path / "run", runtime, stop_at(3, 1))
    (folder,) = (state / "runs").iterdir()
    done = read_history(folder / "history.csv")
    assert [row.epoch for row in done] == [1, 2]
    assert all(row.time_ms and abs(row.time_ms / 1000 - time.time()) < 600 for row in done)
    # Killed after a third epoch was written down and before its checkpoint.
    write_history(folder / "history.csv", [*done, replace(done[1], epoch=3)], times=True)
    train(run_settings(), tiny, tmp_path / "run", runtime)
    assert seen == [[], done]
    published = read_history(tmp_path / "run" / "history.csv")
    assert [replace(row, time_ms=None) for row in done] == published[:2]
    assert len(published) == 3
    assert "time_ms" not in (tmp_path / "run" / "history.csv").read_text()


def test_no_resume_and_changed_settings_start_over(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = runtime.model_copy(update={"progress": "lines"})
    with pytest.raises(Interrupted):
        train(run_settings(), tiny, tmp_path / "run", lines, stop_at(3, 1))
    train(run_settings(learning_rate=0.05), tiny, tmp_path / "other", lines)
    train(run_settings(), tiny, tmp_path / "run", lines.model_copy(update={"resume": False}))
    assert "resumed" not in capsys.readouterr().out


def test_a_checkpoint_of_other_code_is_refused(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Interrupted):
        train(run_settings(), tiny, tmp_path / "run", runtime, stop_at(3, 1))
    other = code_files("saliencymixplus") | {"engine/optimizer.py": "other"}
    monkeypatch.setattr("saliencymixplus.engine.state.code_files", lambda *methods: other)
    with pytest.raises(UserError, match=r"the code \(engine/optimizer.py\) changed since epoch 2"):
        train(run_settings(), tiny, tmp_path / "run", runtime)


def test_a_refused_checkpoint_names_all_that_changed(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Settings and data too, which get there only with a folder that was moved or copied."""
    with pytest.raises(Interrupted):
        train(run_settings(), tiny, tmp_path / "run", runtime, stop_at(3, 1))
    (folder,) = (state / "runs").iterdir()
    other = write_prepared(tmp_path / "other", size=10)
    settings = run_settings(learning_rate=0.05, schedule="cosine")
    digest = settings_digest(settings, load_prepared(other).meta.digest)
    folder.rename(folder.with_name(digest))
    monkeypatch.setattr(torch, "__version__", "9.9")
    with pytest.raises(UserError) as caught:
        train(settings, other, tmp_path / "run", runtime)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        "the prepared data and the settings (training.learning_rate, training.schedule) and the "
        "torch version ("
    )
    assert message.endswith(f"start over with --no-resume (or delete {state / 'runs' / digest})")


def test_two_experiments_of_a_queue_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saliencymixplus.training.trainer import state_folder

    copy = tmp_path / ".dvc" / "tmp" / "exps" / "abc"
    copy.mkdir(parents=True)
    for folder in (tmp_path, copy):
        (folder / "params.yaml").write_text("")
        (folder / "dvc.yaml").write_text("")
    monkeypatch.setenv("DVC_EXP_NAME", "shy-fox")
    monkeypatch.chdir(copy)
    assert state_folder("0123").name == "0123-shy-fox"
    monkeypatch.chdir(tmp_path)
    assert state_folder("0123").name == "0123"
