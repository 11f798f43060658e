"""Damaged or hostile checkpoints, full disks, locks."""

import contextlib
import errno
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from saliencymixplus.engine.context import TrainingState
from saliencymixplus.engine.distributed import Processes
from saliencymixplus.errors import UserError
from saliencymixplus.runs import checkpoint
from saliencymixplus.runs.checkpoint import CheckpointStore, locked_state, read_checkpoint
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.hooks import Checkpoints, StopOnSignal
from saliencymixplus.training.signals import Interrupted, Signals
from saliencymixplus.training.trainer import train
from tests.helpers import run_settings, same_weights, timeless
from tests.train_apart import stop_at


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
    """Otherwise users would be told to start over although the checkpoint is intact."""

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
    monkeypatch.setattr("saliencymixplus.training.hooks.SAVING_FRACTION", 1e9)
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


def test_checkpoint_names_hold_the_digest() -> None:
    assert checkpoint._NAME.fullmatch("epoch00012-step0000000-" + "a" * 64 + ".pt")


def test_several_processes_that_are_stopped_name_the_checkpoint_there_is(tmp_path: Path) -> None:
    """They cannot save at a stop, and the last epochs may have had no checkpoint."""
    store = CheckpointStore(tmp_path)
    store.save({}, epoch=5, step=0)
    signals = Signals()
    signals.handle(signal.SIGTERM, None)
    context: Any = SimpleNamespace(state=TrainingState(epoch=7), processes=Processes(0, 2))
    with pytest.raises(Interrupted, match="SIGTERM; saved at epoch 5:"):
        StopOnSignal(signals, Checkpoints(store)).on_step_end(context, None)
    with pytest.raises(Interrupted, match=r"SIGTERM$"):
        StopOnSignal(signals, None).on_step_end(context, None)
