"""What a stage of dvc.yaml depends on: every room whose files decide its numbers."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.helpers import REPOSITORY

SOURCE = REPOSITORY / "src" / "saliencymixplus"
STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
ABLATION = yaml.safe_load((REPOSITORY / "ablation/dvc.yaml").read_text(encoding="utf-8"))["stages"]
# Stage: the function's file that its command calls, and the rooms whose files decide its numbers.
# The other rooms find, move, record or show things.
DECIDING = {
    "prepare": ("datasets/prepare.py", {"datasets"}),
    "train": ("training/trainer.py", {"engine", "loading", "models", "mixing"}),
    "evaluate": ("evaluation/evaluate.py", {"evaluation"}),
    "audit": ("audit/audit.py", {"audit", "mixing"}),
    "compare": ("comparison/compare.py", {"comparison", "evaluation", "pictures"}),
    "report": ("reporting/report.py", {"reporting", "comparison", "evaluation", "pictures"}),
}
SETTINGS = {"prepare": "schema", "train": "schema", "evaluate": "evaluation", "audit": "evaluation"}


@cache
def imported(file: Path) -> frozenset[Path]:
    """The files of this project that ``file`` imports, wherever in it."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("saliencymixplus"):
            base = SOURCE.parent / (node.module or "").replace(".", "/")
            named = [base / f"{alias.name}.py" for alias in node.names]
            named += [base / alias.name / "__init__.py" for alias in node.names]
            found |= {*named, base.with_suffix(".py"), base / "__init__.py"}
    return frozenset(path for path in found if path.is_file())


def reached(entry: str) -> set[str]:
    """All files that ``entry`` imports, directly or not, itself included."""
    found: set[Path] = set()
    pending = [SOURCE / entry]
    while pending:
        file = pending.pop()
        if file not in found:
            found.add(file)
            pending += imported(file)
    return {file.relative_to(SOURCE).as_posix() for file in found}


def named(stage: dict) -> set[str]:
    """What of the package a stage names, relative to it."""
    prefix = "src/saliencymixplus/"
    return {dep.removeprefix(prefix) for dep in stage["deps"] if dep.startswith(prefix)}


@pytest.mark.parametrize("name", DECIDING)
def test_a_stage_names_the_rooms_that_decide_its_numbers(name: str) -> None:
    entry, rooms = DECIDING[name]
    files = reached(entry)
    assert entry in files
    assert {file.partition("/")[0] for file in files} >= rooms, "a room that is not used"
    assert rooms <= named(STAGES[name])
    if name in SETTINGS:
        assert f"settings/{SETTINGS[name]}.py" in named(STAGES[name])


def test_what_starts_records_and_shows_a_training_reruns_none() -> None:
    showing = {"training", "runs", "tracking", "pictures", "reporting", "commands", "progress.py"}
    assert not named(STAGES["train"]) & showing


@pytest.mark.parametrize("name", sorted(set(ABLATION) & set(STAGES)))
def test_the_ablations_stages_name_the_same(name: str) -> None:
    assert named(ABLATION[name]) == named(STAGES[name])


def test_everything_that_is_named_exists() -> None:
    for stage in (*STAGES.values(), *ABLATION.values()):
        for dep in named(stage) if "deps" in stage else ():
            assert (SOURCE / dep).exists(), dep
