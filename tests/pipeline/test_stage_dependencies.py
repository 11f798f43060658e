"""What a stage of dvc.yaml depends on: every file that decides its numbers, as the imports say."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "src" / "saliencymixplus"
STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
ABLATION = yaml.safe_load((REPOSITORY / "ablation/dvc.yaml").read_text(encoding="utf-8"))["stages"]
# Stage: the file that its command calls, the folders whose files decide numbers, and what of them
# does not: it finds, names, moves or shows things.
CALLS = {
    "prepare": (
        "data/prepare.py",
        ("data/",),
        {"data/progress.py", "data/prepared.py", "data/publishers.py", "data/__init__.py"},
    ),
    "train": (
        "training/trainer.py",
        ("mixing/", "models/", "training/", "data/augment", "data/batches", "data/loader"),
        set(),
    ),
    "evaluate": ("evaluation/suite.py", ("evaluation/",), {"evaluation/__init__.py"}),
    "audit": ("audit/audit.py", ("audit/", "mixing/"), set()),
    "compare": (
        "evaluation/compare.py",
        ("evaluation/", "pictures/"),
        {"evaluation/__init__.py"},
    ),
    "report": (
        "reporting/report.py",
        ("reporting/", "pictures/", "evaluation/"),
        {"evaluation/__init__.py"},
    ),
}
UNUSED = ("attacks", "corruptions", "distortions", "localisation", "occlusion")  # in the ablation
SETTINGS = {"prepare": "schema", "train": "schema", "evaluate": "evaluation", "audit": "evaluation"}


@cache
def imported(file: Path) -> frozenset[Path]:
    """The files of this project that ``file`` imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("saliencymixplus"):
            base = SOURCE.parent / node.module.replace(".", "/")
            named = [base / f"{alias.name}.py" for alias in node.names]
            named += [base / alias.name / "__init__.py" for alias in node.names]
            found |= {*named, base.with_suffix(".py"), base / "__init__.py"}
    return frozenset(path for path in found if path.is_file())


def reached(entry: str) -> set[str]:
    """All that ``entry`` imports, directly or not, itself included."""
    found, open_ = set(), [SOURCE / entry]
    while open_:
        file = open_.pop()
        if file not in found:
            found.add(file)
            open_ += imported(file)
    return {file.relative_to(SOURCE).as_posix() for file in found}


def depended_on(stage: dict) -> set[str]:
    prefix = "src/saliencymixplus/"
    found = set()
    for dep in stage["deps"]:
        if dep.startswith(prefix):
            path = REPOSITORY / dep
            files = path.rglob("*.py") if path.is_dir() else [path]
            found |= {file.relative_to(SOURCE).as_posix() for file in files}
    return found


@pytest.mark.parametrize("name", CALLS)
def test_a_stage_names_what_decides_its_numbers(name: str) -> None:
    entry, folders, besides = CALLS[name]
    deciding = {file for file in reached(entry) if file.startswith(folders)} - besides
    assert entry in deciding
    assert deciding - depended_on(STAGES[name]) == set()
    if name in SETTINGS:
        assert f"settings/{SETTINGS[name]}.py" in depended_on(STAGES[name])


@pytest.mark.parametrize("name", sorted(set(ABLATION) & set(STAGES)))
def test_the_ablations_stages_name_the_same(name: str) -> None:
    unused = {f"evaluation/{part}.py" for part in UNUSED} if name == "evaluate" else set()
    assert depended_on(ABLATION[name]) == depended_on(STAGES[name]) - unused


def test_every_file_that_is_named_is_there() -> None:
    for stage in (*STAGES.values(), *ABLATION.values()):
        for dep in stage.get("deps", ()):
            assert not dep.startswith("src/") or (REPOSITORY / dep).exists(), dep
