"""The method recipe in docs/extend.md, word for word, passes the tests it mentions."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY
from tests.pipeline.test_documented_commands import blocks

GENERAL = ["tests/mixing", "tests/test_methods_page.py", "tests/commands/test_help.py"]


@pytest.mark.slow
def test_the_example_method_passes_every_methods_tests(tmp_path: Path) -> None:
    for name in ("src", "tests", "docs", "pyproject.toml", "params.yaml", "cli.py"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, tmp_path / name)
    method, section, oracle, described = (
        next(b.text for b in blocks(REPOSITORY / "docs" / "extend.md") if start in b.text)
        for start in ("METHOD = Method(", "mix:\n", "def test_a_loop", "## StripeMix")
    )
    (tmp_path / "src/saliencymixplus/mixing/methods/stripemix.py").write_text(method, "utf-8")
    (tmp_path / "tests/mixing/methods/test_stripemix.py").write_text(oracle, "utf-8")
    params = tmp_path / "params.yaml"
    text = params.read_text("utf-8")
    assert text.count("\nmix:\n") == 1
    params.write_text(text.replace("\nmix:\n", f"\n{section}"), "utf-8")
    page = tmp_path / "docs/methods.md"
    page.write_text(f"{page.read_text('utf-8')}\n{described}", "utf-8")

    def python(*arguments: str) -> str:
        environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{tmp_path}"}
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    python("-m", "tests.methods_table")
    assert "| StripeMix | `stripemix` | – | – | ✓ |" in page.read_text("utf-8")
    own = ("-k", "stripemix or test_methods_page or test_what_may_be_chosen", "-m", "not slow")
    said = python("-m", "pytest", *own, "-p", "no:cacheprovider", "--verbose", *GENERAL)
    assert "test_stripemix.py" in said
    python("-m", "ruff", "check", "src", "tests")
