"""``train-all``: the same results as one by one, kept runs, failures, signals."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import RunSettings, RuntimeSettings
from saliencymixplus.training import many, worker_process
from saliencymixplus.training.many import Training, default_jobs, train_all
from saliencymixplus.training.signals import Interrupted
from saliencymixplus.training.trainer import state_folder
from tests.helpers import REPOSITORY, run_settings, same_weights, timeless


def trainings(folder: Path, *methods: str, seeds: int = 1, **recipe: Any) -> list[Training]:
    return [
        Training(run_settings(name, seed=seed, **recipe), folder / name / f"seed{seed}")
        for name in methods
        for seed in range(seeds)
    ]


def test_finished_runs_are_kept_and_the_rest_is_trained(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    wanted = trainings(tmp_path, "none", "cutmix", epochs=1)
    train_all(wanted[:1], tiny, runtime, jobs=1)
    before = (wanted[0].output / "history.csv").stat().st_mtime_ns
    train_all(wanted, tiny, runtime, jobs=1, live=tmp_path / "live.csv")
    rows = (tmp_path / "live.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["method", "No mixing", "CutMix"]
    assert "1 of 2 runs are already finished" in capsys.readouterr().out
    assert (wanted[0].output / "history.csv").stat().st_mtime_ns == before
    assert load_run(wanted[1].output).settings.mix.name == "cutmix"

    # Killed after publishing: the run is complete.
    left = state_folder(load_run(wanted[0].output).digest)
    left.mkdir(parents=True)
    (left / "history.csv").write_text("")
    train_all(wanted, tiny, runtime)
    assert "2 of 2 runs are already finished" in capsys.readouterr().out
    assert not left.exists()

    # With other code it is a different run, even with the same settings.
    monkeypatch.setattr("saliencymixplus.training.trainer.code_digest", lambda *methods: "0" * 16)
    train_all(wanted[:1], tiny, runtime, jobs=1)
    assert "kept" not in capsys.readouterr().out
    assert (wanted[0].output / "history.csv").stat().st_mtime_ns != before


def test_a_failure_does_not_stop_the_others(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    bad = Training(run_settings("none", batch_size=4096), tmp_path / "bad")
    (good,) = trainings(tmp_path, "cutmix", epochs=1)
    message = r"1 of 2 trainings failed, first none, seed 0: .*batch_size 4096"
    with pytest.raises(UserError, match=message):
        train_all([bad, good], tiny, runtime, jobs=1)
    assert load_run(good.output).weights[0] == "last"
    assert not bad.output.exists()


def test_a_disk_that_fails_and_a_second_interrupt_are_no_tracebacks(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, and in one that trains for another."""
    bad, good = trainings(tmp_path, "none", "cutmix", epochs=1)
    usual = many.train

    def train(run: Any, *arguments: Any, **named: Any) -> Any:
        if run.mix.name == "none":
            raise OSError(errno.EIO, os.strerror(errno.EIO), "a file")
        return usual(run, *arguments, **named)

    monkeypatch.setattr(many, "train", train)
    with pytest.raises(UserError, match=r"1 of 2 .* none, seed 0: a file: Input/output error"):
        train_all([bad, good], tiny, runtime, jobs=1)
    assert load_run(good.output).weights[0] == "last"

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt  # as a second Ctrl-C does

    monkeypatch.setattr(worker_process, "train", train)
    ours, theirs = Pipe()
    worker = threading.Thread(target=worker_process._work, args=(theirs, tiny, runtime))
    worker.start()
    ours.send((bad.run, bad.output))
    assert ours.recv() == ("failed", "a file: Input/output error")
    monkeypatch.setattr(worker_process, "train", interrupted)
    ours.send((bad.run, bad.output))
    assert ours.recv() == ("stopped", None)
    ours.close()
    worker.join(30)
    assert not worker.is_alive()
    assert "Traceback" not in capsys.readouterr().err


def test_no_training_starts_after_ctrl_c(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a worker, which Ctrl-C reaches too, has stopped before it is told to."""
    given: list[Path] = []

    class Worker:
        def __init__(self, *_: object) -> None:
            self.pipe, self.theirs = Pipe()

        def give(self, run: RunSettings, output: Path) -> None:
            given.append(output)

        def receive(self) -> tuple[str, None]:
            return "stopped", None

        def stop(self) -> None: ...

        def end(self) -> None: ...

    def interrupted_wait(pipes: list[Any], timeout: float) -> list[Any]:
        if len(given) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return pipes

    monkeypatch.setattr(many, "TrainingProcess", Worker)
    monkeypatch.setattr(many, "wait", interrupted_wait)
    wanted = trainings(tmp_path, "none", "cutmix", seeds=2)
    with pytest.raises(Interrupted, match="stopped by SIGINT"):
        train_all(wanted, tiny, runtime, jobs=2)
    assert given == [training.output for training in wanted[:2]]


def test_as_many_at_once_as_cores_and_memory_allow(
    tiny: Path, runtime: RuntimeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = load_prepared(tiny).meta
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(many, "usable_cores", lambda: 8)
    monkeypatch.setattr("saliencymixplus.engine.device.usable_cores", lambda: 8)
    monkeypatch.setattr(many, "free_memory", lambda device: 64e9)
    assert default_jobs(run_settings(), meta, runtime) == 8
    assert default_jobs(run_settings(model="resnet50", batch_size=256), meta, runtime) == 1
    monkeypatch.setattr(many, "free_memory", lambda device: 5e9)
    assert default_jobs(run_settings(), meta, runtime) == 3
    monkeypatch.setattr(many, "free_memory", lambda device: 1e9)
    assert default_jobs(run_settings(), meta, runtime) == 1


@pytest.mark.slow
def test_two_at_once_give_the_runs_of_one_by_one(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    runtime: RuntimeSettings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone = trainings(tmp_path / "alone", "none", "saliencymixplus", seeds=2, epochs=2)
    train_all(alone, tiny, runtime, jobs=1)
    capsys.readouterr()
    both = trainings(tmp_path / "both", "none", "saliencymixplus", seeds=2, epochs=2)
    bad = Training(run_settings("cutmix", batch_size=4096), tmp_path / "bad")
    with pytest.raises(UserError, match=r"1 of 5 trainings failed, first cutmix, seed 0: .*4096"):
        train_all([*both, bad], tiny, runtime, jobs=2, live=tmp_path / "live.csv")
    for one, other in zip(alone, both, strict=True):
        assert same_weights(one.output, other.output)
        assert timeless(one.output) == timeless(other.output)
    assert len((tmp_path / "live.csv").read_text().splitlines()) == 1 + 4 * 2
    said = capsys.readouterr().out
    assert "training 5 runs, 2 at once" in said
    assert all(f"{training.name}: test error " in said for training in both)
    assert "(5 of 5)" in said
    assert len(list((state / "runs").iterdir())) == 1, "of the one that failed"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_saves_what_runs_and_the_same_command_resumes(
    tiny: Path, tmp_path: Path, state: Path, number: signal.Signals
) -> None:
    """SIGINT goes to all processes, as Ctrl-C does; the others to the one that started them."""
    params = tmp_path / "params.yaml"
    training = "{epochs: 20, batch_size: 16, sample_epochs: []}"
    params.write_text(
        "methods: [none, cutmix]\nseeds: [0, 1]\nexperiments: [mine]\nmine: {download: "
        "{source: digits}, data: {image_size: 8}, model: {name: resnet8}, training: "
        f"{training}}}\n"
    )
    command = [sys.executable, str(REPOSITORY / "cli.py"), "train-all", "--params", str(params)]
    command += ["--experiment", "mine", "--prepared", str(tiny), "--output", str(tmp_path / "runs")]
    command += ["--tracker", "none", "--jobs", "2"]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while _unfinished(state) < 2:
        assert started.poll() is None, started.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if number == signal.SIGINT:
        os.killpg(started.pid, number)
    else:
        started.send_signal(number)
    said, _ = started.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert started.returncode == 128 + number, said
        assert f"error: stopped by {number.name}" in said
    assert "Traceback" not in said
    while number == signal.SIGKILL and _running(started.pid):
        assert time.monotonic() < deadline, "the processes outlive the one that started them"
        time.sleep(0.1)
    assert _unfinished(state) == 2
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed after epoch" in done.stdout
    assert len([*(tmp_path / "runs").glob("*/*/summary.json")]) == 4


def _unfinished(state: Path) -> int:
    return len({path.parent for path in state.glob("runs/*/epoch*.pt")})


def _running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
