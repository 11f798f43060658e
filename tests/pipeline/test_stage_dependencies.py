"""A stage of dvc.yaml depends on all imported code that decides its numbers."""

import ast
from functools import cache
from pathlib import Path

import pytest
import yaml

from saliencymixplus.evaluation.current import CODE
from saliencymixplus.settings.top import StudySettings
from tests.helpers import REPOSITORY

SOURCE = REPOSITORY / "src" / "saliencymixplus"
STAGES = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
ABLATION = yaml.safe_load((REPOSITORY / "ablation/dvc.yaml").read_text(encoding="utf-8"))["stages"]
STUDY = yaml.safe_load((REPOSITORY / "study/dvc.yaml").read_text(encoding="utf-8"))["stages"]
# The file whose function a stage's command calls.
ENTRIES = {
    "prepare": "datasets/prepare.py",
    "resolve": "training/resolve.py",
    "train": "training/trainer.py",
    "evaluate": "evaluation/many.py",
    "audit": "audit/audit.py",
    "compare": "comparison/compare.py",
    "report": "reporting/report.py",
}
# Rooms that compute. The others start, find, move, record or show; settings and mixing reach a
# stage through params and pipeline/resolved, and datasets every stage after `prepare` as arrays.
COMPUTING = {
    "loading",
    "models",
    "engine",
    "evaluation",
    "comparison",
    "audit",
    "reporting",
    "bootstrap.py",
}


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
    """All files that ``entry`` imports, directly or not, itself included.

    Not those that only the readers of run folders and settings import: they can build the network
    of a run, or ask what its pretrained weights expect, for whoever needs it.
    """
    found: set[Path] = set()
    pending = [SOURCE / entry]
    while pending:
        file = pending.pop()
        if file not in found:
            found.add(file)
            if file.relative_to(SOURCE).parts[0] not in ("runs", "settings"):
                pending += imported(file)
    return {file.relative_to(SOURCE).as_posix() for file in found}


def named(stage: dict) -> set[str]:
    """The package files and folders that a stage names, relative to the package."""
    prefix = "src/saliencymixplus/"
    return {dep.removeprefix(prefix) for dep in stage["deps"] if dep.startswith(prefix)}


@pytest.mark.parametrize("name", ENTRIES)
def test_what_a_stage_imports_is_below_what_it_names(name: str) -> None:
    deciding = {
        "prepare": {"datasets"},
        "resolve": {"mixing", "settings"},
    }.get(name, COMPUTING)
    files = {file for file in reached(ENTRIES[name]) if file.partition("/")[0] in deciding}
    assert files, "the stage imports nothing that decides"
    below = named(STAGES[name])
    assert [f for f in files if not any(f == dep or f.startswith(f"{dep}/") for dep in below)] == []


@pytest.mark.parametrize("stage", ["train", "audit"])
def test_methods_reach_a_stage_through_the_resolved_recipes(stage: str) -> None:
    assert not any(name.startswith("mixing") for name in named(STAGES[stage]))
    assert any(dep.startswith("pipeline/resolved/recipes") for dep in STAGES[stage]["deps"])


def test_an_evaluation_is_current_by_the_code_that_its_stage_names() -> None:
    assert {*CODE} == named(STAGES["evaluate"])


def test_what_starts_records_and_shows_a_training_reruns_none() -> None:
    showing = {"training", "runs", "tracking", "pictures", "reporting", "commands", "progress.py"}
    assert not named(STAGES["train"]) & showing


@pytest.mark.parametrize("name", sorted(set(ABLATION) & set(STAGES)))
def test_the_ablations_stages_name_the_same(name: str) -> None:
    assert named(ABLATION[name]) == named(STAGES[name])


def test_a_cell_of_the_study_names_all_settings_that_it_reads() -> None:
    [named] = STUDY["cell"]["params"]
    # The experiment's name and its section, and the matrix, are in the stage's command.
    told = {"experiment", "object_sizes", "train_digits"}
    wanted = {f"study.{name}" for name in StudySettings.model_fields.keys() - told}
    assert {*named["../params.yaml"]} == {*wanted, "audit", "${study.experiment}"}


def test_a_cell_of_the_study_names_all_that_it_computes_with() -> None:
    deciding = {*COMPUTING, "datasets", "study"} - {"evaluation", "comparison"}
    files = {f for f in reached("study/cell.py") if f.partition("/")[0] in deciding}
    below = {*named(STUDY["cell"])}
    missing = [f for f in files if not any(f == dep or f.startswith(f"{dep}/") for dep in below)]
    assert [f for f in missing if not f.endswith("__init__.py")] == []


def test_everything_that_is_named_exists() -> None:
    for stage in (*STAGES.values(), *ABLATION.values(), *STUDY.values()):
        for dep in named(stage) if "deps" in stage else ():
            assert (SOURCE / dep).exists(), dep
