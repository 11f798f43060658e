"""Damages run folders at random and lets the commands that read them find out.

Run from the repository: ``python -m tests.reliability.mutations CHANGES [SEED [COMMANDS]]``. Every
change is one wrong value, cut, flipped, missing or replaced file of a trained and evaluated run or
of a record that ``sync`` is to send; COMMANDS (default 3) of the ``READERS`` meet it, in turn.
Prints one line per broken promise, and exits with 1 if there is any:

- no traceback, no hang, no control characters, and one line ``error: …`` last if it failed;
- a command that failed leaves no output, and none writes anywhere else or changes the run.
"""

import itertools
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.reliability.small_repository import (
    COMMANDS,
    EXPERIMENT,
    RUN,
    TRAIN,
    import_all,
    make_repository,
    run_forked,
)
from tests.runs.mutating import mutated

DATA = ["--prepared", "prepared"]
OUTPUT = "out"
READERS = {
    "evaluate": ["evaluate", RUN, *DATA, "--output", f"{OUTPUT}/evaluation"],
    "audit": ["audit", RUN, *EXPERIMENT, *DATA, "--output", f"{OUTPUT}/audit"],
    "compare": ["compare", "runs/tiny", *EXPERIMENT, "--output", f"{OUTPUT}/comparison"],
    "report": ["report", *EXPERIMENT, *DATA, "--output", f"{OUTPUT}/report"],
    "predict": ["predict", RUN, "pictures/test", "--sheet", f"{OUTPUT}/sheet.png"],
    "export": ["export", RUN, *DATA, "--output", f"{OUTPUT}/net.pt2"],
    "register": ["register", RUN, "--promote"],
    "preview": [
        *("preview", *EXPERIMENT, *DATA, "--mix-aug", "saliencymixplus"),
        *("--run", RUN, "--output", f"{OUTPUT}/preview.png"),
    ],
    "train": ["train", *TRAIN, "--mix-aug", "none", "--output", RUN],
    "sync": ["sync"],
}
# What a command may write besides its output.
OWN = (OUTPUT, ".saliencymixplus", "mlflow.db", "mlartifacts")
RECORD = Path(".saliencymixplus/unsent/record")


def main(changes: int, seed: int, commands: int) -> int:
    """Make ``changes`` changes, each met by ``commands`` commands; returns an exit code."""
    names = itertools.cycle(READERS)
    counts = Counter[str]()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        whole, place = Path(folder).resolve() / "whole", Path(folder).resolve() / "place"
        learn(whole, Path(folder))
        for number in range(changes):
            chosen = [next(names) for _ in range(commands)]
            for name in chosen:
                choose = random.Random(f"{seed} {number}")
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(whole, place)
                what = change(place, RECORD if name == "sync" else Path(RUN), choose)
                status, found = meet(name, place, Path(folder))
                counts["commands"] += 1
                counts["refused"] += status != 0
                if found:
                    wrong += 1
                    print(f"{number}, {name}: {what}: {'; '.join(found)}", flush=True)
            if (number + 1) % 20 == 0 or number + 1 == changes:
                print(
                    f"{number + 1} changes met by {counts['commands']} commands, "
                    f"{counts['refused']} refused: {wrong} wrong",
                    flush=True,
                )
    return 1 if wrong else 0


def learn(whole: Path, folder: Path) -> None:
    """Make a repository with evaluated runs, and a record for ``sync``, without any damage."""
    make_repository(whole)
    away = {"MLFLOW_TRACKING_URI": "", "SALIENCYMIXPLUS_TRACKING_TIMEOUT": "0"}
    for name in (
        "download",
        "prepare",
        "train",
        "train again",
        "evaluate",
        "evaluate RUN",
        "audit",
    ):
        run(COMMANDS[name][0], whole, folder)
    run(["train", *TRAIN, "--mix-aug", "mixup"], whole, folder, away)
    (left,) = (whole / RECORD.parent).iterdir()
    left.rename(whole / RECORD)
    for name, words in READERS.items():
        if name not in ("train", "sync"):
            run(words, whole, folder)
    shutil.rmtree(whole / OUTPUT)


def run(
    words: list[str], place: Path, folder: Path, environment: dict[str, str] | None = None
) -> None:
    status, said = run_forked(words, place, folder / "log", environment)
    assert status == 0, f"{words}: {said}"


def change(place: Path, of: Path, choose: random.Random) -> str:
    """Damage one file of the run or record ``of``; returns what was done."""
    folders = [place / of]
    if of != RECORD:
        folders.append(place / "evaluations" / of.relative_to("runs"))
    found = [path for folder in folders for path in sorted(folder.rglob("*"))]
    files = [path for path in found if path.is_file() and path.stat().st_size]  # no lock files
    kinds = Counter(path.suffix for path in files)
    weights = [1 / kinds[path.suffix] for path in files]  # not mostly tables or pictures
    (file,) = choose.choices(files, weights)
    content = mutated(file, choose)
    file.unlink()
    how = choose.choice(["changed"] * 8 + ["empty", "missing", "a folder", "a link", "a pipe"])
    if how == "changed":
        file.write_bytes(content)
    elif how == "empty":
        file.touch()
    elif how == "a folder":
        file.mkdir()
    elif how == "a link":
        file.symlink_to(choose.choice(["/dev/zero", "/etc/passwd", "nowhere", file.name]))
    elif how == "a pipe":
        os.mkfifo(file)
    return f"{file.relative_to(place)} {how}"


def meet(name: str, place: Path, folder: Path) -> tuple[int, list[str]]:
    """Run a command on the damaged run; returns its exit code and what it did wrong."""
    before = listing(place, name)
    status, said = run_forked(READERS[name], place, folder / "log")
    lines = said.splitlines() or [""]
    found = []
    if any(word in said for word in ("Traceback", "Exception ignored", "Exception in thread")):
        found.append("a traceback: " + " / ".join(lines[-3:]))
    if status not in (0, 1):
        found.append(f"exit code {status}: {said[-300:]}")
    if status == 1 and not lines[-1].startswith("error: "):
        found.append(f"no error at the end: {said[-300:]}")
    if not all(line.isprintable() for line in lines) or max(map(len, lines)) > 1000:
        found.append(f"not a printable line: {said[-300:]!r}")
    if status and any((place / OUTPUT).rglob("*")):
        found.append(f"left {sorted(map(str, (place / OUTPUT).rglob('*')))[:5]}")
    if other := before ^ listing(place, name):
        found.append(f"changed {sorted(map(str, other))[:5]}")
    return status, found


def listing(place: Path, name: str) -> set[tuple[str, int, int]]:
    """Every file that the command must leave alone, with its size and time."""
    own = (*OWN, RUN) if name == "train" else OWN
    roots = (place.parent, place)
    found = set()
    for root in roots:
        for path in root.rglob("*") if root == place else root.iterdir():
            relative = str(path.relative_to(place.parent))
            if root == place and path.relative_to(place).as_posix().startswith(own):
                continue
            if relative in ("log", "whole", "place") or path.is_dir():
                continue
            state = path.lstat()
            found.add((relative, state.st_size, state.st_mtime_ns))
    return found


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    for variable in ("MLFLOW_TRACKING_URI", "SALIENCYMIXPLUS_STATE"):
        os.environ.pop(variable, None)
    import_all()
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*given, *[0, 3][len(given) - 1 :]))
