"""The ablation: its recipes differ only as stated, and its pipeline runs beside the main one."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from saliencymixplus.settings import load_params

REPOSITORY = Path(__file__).parents[2]
DVC = shutil.which("dvc", path=str(Path(sys.executable).parent)) or shutil.which("dvc")
PARAMS = load_params(REPOSITORY / "params.yaml")
ABLATION = PARAMS.top.ablation
assert ABLATION is not None
ONE_OPTION = [name for name in ABLATION.methods if name.startswith("plus-")]


def changed(name: str, base: str) -> set[str]:
    """Options in which two recipes of one method differ."""
    first, second = PARAMS.mix(name), PARAMS.mix(base)
    assert first.method == second.method
    return {key for key in first.options if first.options[key] != second.options[key]}


@pytest.mark.parametrize("name", ONE_OPTION)
def test_each_recipe_changes_what_its_name_says(name: str) -> None:
    expected = {"saliency_mode", "batch_norm"} if name == "plus-double-norm" else None
    options = changed(name, "saliencymixplus")
    assert options == expected if expected else len(options) == 1


def test_the_recipes_cover_all_that_was_published_otherwise() -> None:
    quirks = changed("saliencymixplus-published", "saliencymixplus") - {"variant"}
    covered = set().union(*(changed(name, "saliencymixplus") for name in ONE_OPTION))
    assert quirks <= covered
    ideas = {"label", "position"}
    cheaper = {"saliency_resolution", "saliency_fraction", "saliency_every"}
    assert covered - quirks == ideas | cheaper


def test_the_controls_and_the_baseline_are_there() -> None:
    assert {"none", "saliencymixplus", "cutmix-sample-box", "cutmix-clean-gradient"} <= {
        *ABLATION.methods
    }
    assert changed("cutmix-sample-box", "cutmix") == {"box"}
    assert changed("cutmix-clean-gradient", "cutmix") == {"clean_gradient"}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(DVC is None, reason="DVC is not installed")
def test_one_command_makes_the_table_in_a_fresh_clone(tmp_path: Path) -> None:
    for name in ("cli.py", "dvc.yaml", "data.dvc", ".gitignore", ".dvcignore"):
        shutil.copyfile(REPOSITORY / name, tmp_path / name)
    shutil.copytree(REPOSITORY / "src", tmp_path / "src")
    for name in (".dvc/config", ".dvcignore", "dvc.yaml", "src"):
        copy = tmp_path / "ablation" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / "ablation" / name, copy, follow_symlinks=False)
    text = (REPOSITORY / "params.yaml").read_text(encoding="utf-8")
    few = "ablation:\n  experiment: digits\n  methods: [cutmix, saliencymixplus]\n  seeds: [0]\n\n"
    text, count = re.subn(r"(?ms)^ablation:\n.*?\n\n", few, text)
    assert count == 1
    (tmp_path / "params.yaml").write_text(text.replace("    epochs: 12", "    epochs: 2"))
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    # Python's caches beside the sources must not make the stages run again.
    for name in ("MLFLOW_TRACKING_URI", "SALIENCYMIXPLUS_STATE", "PYTHONDONTWRITEBYTECODE"):
        environment.pop(name, None)
    environment["PYTHONPATH"] = str(tmp_path / "src")

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    run("git", "init", "--quiet")
    run(str(DVC), "init", "--quiet")
    run(str(DVC), "--cd", "ablation", "repro")
    assert list((tmp_path / "src").rglob("__pycache__"))
    assert json.loads(run(str(DVC), "--cd", "ablation", "status", "--json")) == {}
    assert "top1_error" in run(str(DVC), "--cd", "ablation", "metrics", "show")
    assert (tmp_path / "mlflow.db").is_file()
    table = (tmp_path / "ablation/comparison/comparison.md").read_text(encoding="utf-8")
    assert "Difference to SaliencyMix+" in table
    assert re.search(r"(?m)^\| CutMix \|", table)
    # Nothing of the main pipeline's ran, or was needed.
    assert not any((tmp_path / name).exists() for name in ("pipeline", "runs"))
