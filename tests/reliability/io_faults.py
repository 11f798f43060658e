"""Lets the file system fail under every command, at a random call, and then recover.

Run from the repository: ``python -m tests.reliability.io_faults FAULTS [SEED [COMMAND…]]`` (Linux,
with a C compiler; default: all of COMMANDS). Every fault is one errno at one kind of system call
(open for writing, read, write, fsync, rename, truncate, lock, mkdir, link, unlink) on a file below
the repository, once or from then on. Prints one line per fault that broke a promise, and exits
with 1 if there is any:

- no traceback, no hang, and one line ``error: …`` last if the command failed;
- exit code 0 only if the whole result is there;
- with a working disk the same command succeeds (a training to the same bits), and MLflow has every
  training once, FINISHED, with every epoch once.
"""

import ctypes
import errno
import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.reliability.small_repository import COMMANDS, import_all, make_repository, run_forked

ERRORS = {
    "open": (errno.EACCES, errno.EROFS, errno.ENOSPC),
    "read": (errno.EIO,),
    "write": (errno.ENOSPC, errno.EIO),
    "fsync": (errno.EIO, errno.ENOSPC),
    "rename": (errno.EACCES, errno.EROFS, errno.ENOSPC),
    "truncate": (errno.EROFS, errno.EIO),
    "lock": (errno.ENOLCK, errno.ENOSYS),
    "mkdir": (errno.EACCES, errno.ENOSPC),
    "link": (errno.EPERM, errno.ENOSPC),
    "unlink": (errno.EACCES, errno.EROFS),
}
OPERATIONS = list(ERRORS)  # in the order of io_faults.c
FOREVER = 10**9


def main(faults: int, seed: int, names: list[str]) -> int:
    """Inject ``faults`` faults, spread over commands, calls and errors; returns an exit code."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="io-faults-") as folder:
        trial = Trial(Path(folder).resolve())
        trial.learn(names or list(COMMANDS))
        done, wrong = Counter[str](), 0
        for name, operation, code in itertools.islice(trial.faults(chance), faults):
            first = chance.randint(1, trial.calls[name][operation])
            times = chance.choice([1, FOREVER])
            done[os.strerror(code)] += 1
            what = (
                f"{name}: {operation} {first} {'on ' if times > 1 else ''}{errno.errorcode[code]}"
            )
            found = trial.inject(name, operation, code, first, times)
            if found:
                wrong += 1
                print(f"{what}: {'; '.join(found)}", flush=True)
    print(
        f"{done.total()} faults ({', '.join(f'{n} {k}' for k, n in done.items())}), "
        f"{trial.met} met: {wrong} wrong"
    )
    return 1 if wrong else 0


class Trial:
    """A small repository, and what it held before and after each command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / "place"
        self.calls: dict[str, dict[str, int]] = {}  # command -> operation -> number of calls
        self.results: dict[str, dict[str, bytes]] = {}
        self.met = 0  # faults that a command ran into; the number of its calls may vary
        self.injector = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self.injector.fault_count.restype = ctypes.c_long
        self.injector.fault_arm.argtypes = [
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_long,
            ctypes.c_long,
        ]

    def learn(self, names: list[str]) -> None:
        """Run the commands without a fault."""
        make_repository(self.place)
        for name in names:
            if name == "sync":  # what a store that was away left to do
                shutil.rmtree(self.place)
                shutil.copytree(self.folder / "before train again", self.place)
                more = {"MLFLOW_TRACKING_URI": "", "SALIENCYMIXPLUS_TRACKING_TIMEOUT": "0"}
                assert self.command("train again", **more)[0] == 0
            shutil.copytree(self.place, self.folder / f"before {name}")
            code, said = self.command(name)
            assert code == 0, f"{name}: {said}"
            self.calls[name] = dict(zip(OPERATIONS, self.counts(), strict=True))
            self.results[name] = self.result(name)

    def faults(self, chance: random.Random) -> Iterator[tuple[str, str, int]]:
        """Command, operation and errno: all that can happen, in random order, again and again."""
        possible = [
            (name, operation, code)
            for name, calls in self.calls.items()
            for operation, codes in ERRORS.items()
            for code in codes
            if calls[operation]
        ]
        while True:
            chance.shuffle(possible)
            yield from possible

    def inject(self, name: str, operation: str, code: int, first: int, times: int) -> list[str]:
        """One fault and the recovery from it; returns what went wrong."""
        shutil.rmtree(self.place)
        shutil.copytree(self.folder / f"before {name}", self.place)
        armed = (OPERATIONS.index(operation), code, first, times)
        status, said = self.command(name, armed)
        self.met += self.counts()[armed[0]] >= first
        found = []
        if any(word in said for word in ("Traceback", "Exception ignored", "Exception in thread")):
            found.append("a traceback: " + " / ".join(said.splitlines()[-3:]))
        if status not in (0, 1):
            found.append(f"exit code {status}: {said[-300:]}")
        if status == 1 and not said.splitlines()[-1].startswith("error: "):
            found.append(f"no error at the end: {said[-300:]}")
        if status == 0 and (lacks := self.differences(name)):
            found.append(f"exit code 0, but {lacks}; {said[-300:]}")
        status, again = self.command(name)
        if status or "Traceback" in again:
            found.append(f"not recovered ({said[-300:]}): {again[-1000:]}")
        elif lacks := self.differences(name):
            found.append(f"recovered, but {lacks}")
        if "train" in name or name == "sync":
            status, again = self.command("sync")
            found += [f"sync: {again[-300:]}"] if status else []
            found += self.tracked()
        left = [path for path in self.place.rglob("*") if path.suffix in (".part", ".old")]
        if left:
            found.append(f"left {[str(path.relative_to(self.place)) for path in left]}")
        return found

    def command(
        self, name: str, armed: tuple[int, int, int, int] | None = None, **environment: str
    ) -> tuple[int, str]:
        """Run it in a forked process and count its system calls."""

        def arm() -> None:
            self.injector.fault_watch(str(self.place).encode() + b"/")
            if armed:
                self.injector.fault_arm(*armed)

        def disarm() -> None:
            counts = [self.injector.fault_count(i) for i in range(len(OPERATIONS))]
            self.injector.fault_watch(b"")
            (self.folder / "counts").write_text(" ".join(map(str, counts)))

        log = self.folder / "log"
        return run_forked(COMMANDS[name][0], self.place, log, environment, arm, disarm)

    def counts(self) -> list[int]:
        """How often the last command made each kind of system call."""
        return [int(count) for count in (self.folder / "counts").read_text().split()]

    def result(self, name: str) -> dict[str, bytes]:
        """The files that a command wrote."""
        place = COMMANDS[name][1]
        if place is None:
            return {}
        path = self.place / place
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        return {
            str(file.relative_to(self.place)): file.read_bytes() for file in files if file.is_file()
        }

    def differences(self, name: str) -> str:
        """What a result lacks of the one without faults, or has of other content."""
        found, right = self.result(name), self.results[name]
        if found.keys() != right.keys():
            return f"lacks {sorted(right.keys() - found.keys())}, " + (
                f"has {sorted(found.keys() - right.keys())}"
            )
        exact = (".safetensors", ".npy", ".npz")  # without a time in them
        other = [file for file in right if file.endswith(exact) and found[file] != right[file]]
        return f"{other} differ" if other else ""

    def tracked(self) -> list[str]:
        """What is missing or doubled in MLflow."""
        with closing(sqlite3.connect(self.place / "mlflow.db")) as connection:
            runs = connection.execute(
                "SELECT run_uuid, name, status FROM runs WHERE name NOT LIKE '%: comparison'"
            ).fetchall()
            found = [f"{name} is {status}" for _, name, status in runs if status != "FINISHED"]
            trained = sum(path.is_dir() for path in self.place.glob("runs/tiny/*/seed0"))
            if len(runs) != trained:
                found.append(f"{len(runs)} MLflow runs of {trained} trainings")
            for run_id, name, _ in runs:
                rows = connection.execute(
                    "SELECT step FROM metrics WHERE key = 'loss/train' AND run_uuid = ?", (run_id,)
                ).fetchall()
                if sorted(rows) != [(1,), (2,)]:
                    found.append(f"{name} has epochs {sorted(rows)}")
        return found


def restart_with_injector() -> None:
    """Compile io_faults.c and run this module again with it in front of the C library."""
    library = Path(tempfile.mkdtemp(prefix="io-faults-")) / "io_faults.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    for name in ("MLFLOW_TRACKING_URI", "SALIENCYMIXPLUS_STATE"):
        environment.pop(name, None)
    arguments = [sys.executable, "-m", "tests.reliability.io_faults", *sys.argv[1:]]
    try:
        code = subprocess.run(arguments, env=environment).returncode
    finally:
        shutil.rmtree(library.parent)
    sys.exit(code)


if __name__ == "__main__":
    if not os.environ.get("LD_PRELOAD", "").endswith("io_faults.so"):
        restart_with_injector()
    # Before the forks, and no file of these is below the repository.
    import_all()
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, sys.argv[3:]))
