"""Interrupted trainings: resumed to the same end, from whole checkpoints only, one at a time."""

import contextlib
import errno
import os
import random
import re
import signal
import subprocess
import sys
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
from saliencymixplus.runs import checkpoint
from saliencymixplus.runs.checkpoint import CheckpointStore, locked_state, read_checkpoint
from saliencymixplus.runs.history import read_history, write_history
from saliencymixplus.settings import RuntimeSettings, settings_digest
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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", [(1, 0), (2, 1), (2, 3), (3, 2)])
def test_a_signal_saves_and_the_rest_is_bit_identical(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    method: str,
    place: tuple[int, int],
) -> None:
    settings = run_settings(
        method,
        options=OPTIONS.get(method),
        weight_average=0.9 if method == "cutmix" else None,
        mix_prob=1.0 if method == "switch" else 0.5,
        sample_epochs=(3,) if method == "switch" else (),
    )
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(settings, tiny, whole, runtime)
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
    assert "resumed after epoch 1, step 2 of 3 (--no-resume starts over)" in capsys.readouterr().out


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


def damaged(path: Path, how: str) -> None:
    """Cut the file short, or flip one bit of it."""
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[len(data) // 2 :]
    elif how == "empty":
        data.clear()
    else:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_used(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    runtime: RuntimeSettings,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    lines = runtime.model_copy(update={"progress": "lines"})
    train(run_settings(), tiny, tmp_path / "whole", runtime)
    with pytest.raises(Interrupted):
        train(run_settings(), tiny, tmp_path / "run", lines, stop_at(3, 1))
    (folder,) = (state / "runs").iterdir()
    saved = sorted(folder.glob("*.pt"))
    assert len(saved) == 2
    damaged(saved[-1], how)
    train(run_settings(), tiny, tmp_path / "run", lines)
    said = capsys.readouterr().out
    assert "the checkpoint of epoch 2, step 2 is damaged" in said
    assert re.search(r"using the previous checkpoint, of epoch \d", said)
    assert same_weights(tmp_path / "whole", tmp_path / "run")
    assert timeless(tmp_path / "whole") == timeless(tmp_path / "run")


def test_when_no_checkpoint_is_whole_the_training_starts_over(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    for epoch in (1, 2, 3):
        store.save({"epoch": epoch, "weights": torch.ones(5)}, epoch=epoch, step=0)
    files = sorted(tmp_path.glob("*.pt"))
    assert [f.name[:10] for f in files] == ["epoch00002", "epoch00003"], "the last two are kept"
    said: list[str] = []
    data = store.load(said.append)
    assert data is not None
    assert read_checkpoint(data)["epoch"] == 3
    assert not said
    for file in files:
        damaged(file, "flip")
    assert store.load(said.append) is None
    assert said[-1] == "no intact checkpoint left: training starts over"
    assert store.load(said.append) is None


def test_nothing_in_a_checkpoint_can_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save(Evil(), tmp_path / "evil.pt")
    with pytest.raises(UserError, match="something other than numbers"):
        read_checkpoint((tmp_path / "evil.pt").read_bytes())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("seed", range(40))
def test_bytes_that_are_no_checkpoint_are_one_line(tmp_path: Path, seed: int) -> None:
    """Random ones, and a checkpoint with three bytes changed, cut short, or of another kind."""
    chance = random.Random(seed)
    torch.save({"epoch": 1, "weights": torch.ones(3)}, tmp_path / "whole.pt")
    torch.save([torch.ones(3)], tmp_path / "list.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    flipped = bytearray(whole)
    for _ in range(3):
        flipped[chance.randrange(len(flipped))] ^= chance.randrange(1, 256)
    for data in (
        b"",
        chance.randbytes(chance.randrange(400)),
        (tmp_path / "list.pt").read_bytes(),
        whole[: chance.randrange(len(whole))],
    ):
        with pytest.raises(UserError, match="something other than numbers"):
            read_checkpoint(data)
    with contextlib.suppress(UserError):  # a byte may not count
        assert isinstance(read_checkpoint(bytes(flipped)), dict)


def test_too_little_memory_says_nothing_against_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who is told to start over would throw a whole checkpoint away."""

    def load(*given: Any, **named: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError):
        read_checkpoint(b"")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_disk_keeps_the_last_good_checkpoint(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
    error: int,
) -> None:
    train(run_settings(), tiny, tmp_path / "whole", runtime)
    usual = os.fsync

    def full(handle: int) -> None:
        if list(state.rglob("epoch00001*.pt")):
            raise OSError(error, os.strerror(error))
        usual(handle)

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("saliencymixplus.training.hooks._SAVING_FRACTION", 1e9)
    with pytest.raises(UserError, match=rf"cannot write .*{os.strerror(error)}"):
        train(run_settings(), tiny, tmp_path / "run", runtime)
    monkeypatch.setattr(os, "fsync", usual)
    (folder,) = (state / "runs").iterdir()
    assert sorted(p.name[:10] for p in folder.iterdir()) == [
        "epoch00001", "history.cs", "lock", "settings.j",
    ]  # fmt: skip
    train(run_settings(), tiny, tmp_path / "run", runtime)
    assert same_weights(tmp_path / "whole", tmp_path / "run")


def test_a_state_folder_that_cannot_be_made_is_named(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(tmp_path / "file" / "state"))
    with pytest.raises(UserError, match=r"cannot write .*file/state"):
        train(run_settings(), tiny, tmp_path / "run", runtime)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only folders")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save({"epoch": 1}, epoch=1, step=0)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(UserError, match="epoch 1 is kept"):
            store.save({"epoch": 2}, epoch=2, step=0)
    finally:
        tmp_path.chmod(0o755)
    assert store.load() is not None


HOLD = """
import sys, time
from pathlib import Path
from saliencymixplus.runs.checkpoint import locked_state
with locked_state(Path(sys.argv[1]), keep=True):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_refuses_and_a_dead_one_leaves_no_lock(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is training this run"):
            locked_state(folder, keep=True).__enter__()
        process.kill()
    with locked_state(folder, keep=True):
        pass


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".epoch00001.pt.12345678.part").write_text("half")
    with locked_state(tmp_path, keep=True):
        assert [p.name for p in tmp_path.iterdir()] == ["lock"]


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


def test_checkpoint_names_hold_the_digest() -> None:
    assert checkpoint._NAME.fullmatch("epoch00012-step0000000-" + "a" * 64 + ".pt")
