"""Kills a training again and again while its MLflow store comes and goes, then counts.

Run from the repository: ``python -m tests.tracking.kills KILLS [SEED]``. Prints what was done and
exits with 1 if an epoch, an image, a file or a run is missing or there twice.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from saliencymixplus.tracking.sync import sync
from tests.tracking.conftest import Room, Training

EPOCHS = 10**6  # never reached by a process that is killed


def main(kills: int, seed: int) -> int:
    """Do ``kills`` kills of one run, let it finish, and count."""
    chance = random.Random(seed)
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    for name in ("params.yaml", "dvc.yaml"):
        (folder / name).touch()
    os.chdir(folder)
    os.environ["SALIENCYMIXPLUS_STATE"] = str(folder / "state")
    os.environ["SALIENCYMIXPLUS_TRACKING_TIMEOUT"] = "60"
    sys.stderr = (folder / "stderr").open("a", buffering=1)
    room = Room(folder)
    _in_a_process(_create)
    outages = 0
    for number in range(kills):
        child = _start(room, EPOCHS, number)
        for _ in range(chance.randrange(3)):  # the store goes or comes back in mid-life
            time.sleep(chance.uniform(0.0, 0.4))
            outages += _toggle(room)
        time.sleep(chance.uniform(0.0, 0.6))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if chance.random() < 0.2:
            _present(room)
            _in_a_process(lambda: sync(lambda _: None))
    _present(room)
    done = _done(room)
    last = _start(room, done + 5, kills)
    _, status = os.waitpid(last, 0)
    _in_a_process(lambda: sync(lambda _: None))
    wrong = _wrong(room, done + 5)
    print(f"{kills} kills, {outages} times the store went away, {done + 5} epochs: ", end="")
    if wrong or status:
        print("; ".join(wrong), f"({folder})")
        return 1
    print("all once")
    shutil.rmtree(folder)
    return 0


def _start(room: Room, epochs: int, number: int) -> int:
    """Train in a forked process, as imports take longer than most lives last."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _train(room, epochs, random.Random(number))
        code = 0
    finally:
        os._exit(code)


def _train(room: Room, epochs: int, chance: random.Random) -> None:
    folder = room.state / "runs" / "digest0"
    checkpoint = folder / "checkpoint"
    training = Training(folder, room.settings(), _done(room))
    while len(training.rows) < epochs:
        time.sleep(0.02)
        training.epoch()
        epoch = len(training.rows)
        if epoch % 5 == 0:
            training.sample(epoch)
        if chance.random() < 0.5:  # as the real one, not after every epoch
            part = folder / "part"
            part.write_text(str(epoch))
            part.replace(checkpoint)
    training.publish(room.folder / "run")
    training.finish()


def _done(room: Room) -> int:
    path = room.state / "runs" / "digest0" / "checkpoint"
    return int(path.read_text()) if path.exists() else 0


def _toggle(room: Room) -> int:
    """Let the store go away, or come back; returns 1 if it went."""
    away = room.folder / "away.db"
    if away.exists():
        room.database.rmdir()
        away.rename(room.database)
        return 0
    room.database.rename(away)
    room.database.mkdir()
    return 1


def _present(room: Room) -> None:
    if (room.folder / "away.db").exists():
        _toggle(room)


def _in_a_process(action: object) -> None:
    """Do it in a forked process: this one must stay free of threads and connections."""
    child = os.fork()
    if not child:
        try:
            action()  # type: ignore[operator]
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def _create() -> None:
    from saliencymixplus.tracking import mlflow_store, stores

    mlflow_store.Store(stores.configured())


def _wrong(room: Room, epochs: int) -> list[str]:
    """What is missing, doubled or of the wrong value."""
    found = []
    for key in ("loss/train", "error/test_top1", "speed/seconds"):
        steps = Counter(room.epochs(key))
        if missing := set(range(1, epochs + 1)) - set(steps):
            found.append(f"{key} lacks {sorted(missing)[:5]}")
        if doubled := [step for step, count in steps.items() if count > 1]:
            found.append(f"{key} has {doubled[:5]} twice")
    steps = Counter(room.epochs("system_load/cpu_utilization_percentage"))
    if doubled := [step for step, count in steps.items() if count > 1]:
        found.append(f"system metrics {doubled[:5]} are there twice")
    values = room.query("SELECT step, value FROM metrics WHERE key = 'loss/train'")
    if any(abs(value - 1 / step) > 1e-6 for step, value in values):
        found.append("a loss is wrong")
    artifacts = room.artifacts()
    images = Counter(name.split("+")[2] for name in artifacts if name.endswith(".png"))
    if images != Counter(str(epoch) for epoch in range(5, epochs + 1, 5)):
        found.append(f"images {sorted(images.items())[:5]}")
    if "weights/last.safetensors" not in artifacts:
        found.append("no weights")
    if room.statuses() != ["FINISHED"]:
        found.append(f"runs {room.statuses()}")
    if room.waiting():
        found.append(f"{room.waiting()} wait")
    if b"Traceback" in (room.folder / "stderr").read_bytes():
        found.append("a traceback")
    return found


if __name__ == "__main__":
    import mlflow.store.tracking.sqlalchemy_store
    import mlflow.system_metrics.metrics.cpu_monitor  # noqa: F401

    from saliencymixplus.tracking import mlflow_library, tracker  # noqa: F401

    mlflow_library.require_mlflow()
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
