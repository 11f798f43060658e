"""The documentation builds without warnings, is complete, and loads nothing from other hosts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from saliencymixplus.commands.app import app
from saliencymixplus.mixing import METHODS
from saliencymixplus.settings import TrainingSettings
from tests.helpers import REPOSITORY

LOADED = re.compile(r"<(?:script|img|iframe)[^>]* src=\"([^\"]+)|<link[^>]* href=\"([^\"]+)")


@pytest.mark.slow
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "not included in" not in done.stderr, "a page is missing from the nav of mkdocs.yml"
    pages = {file: file.read_text("utf-8") for file in tmp_path.rglob("*.html")}
    loaded = {"".join(names) for text in pages.values() for names in LOADED.findall(text)}
    assert len(loaded) > 5
    assert [name for name in loaded if re.match(r"(https?:)?//", name)] == []
    assert not any("<!-- reference" in text for text in pages.values())
    settings, commands, library = (
        pages[tmp_path / "reference" / f"{name}.html"]
        for name in ("settings", "commands", "library")
    )
    assert all(f"<code>{name}</code>" in settings for name in TrainingSettings.model_fields)
    names = [command.callback.__name__ for command in app.registered_commands if command.callback]
    assert len(names) > 15
    assert all(f"python cli.py {name.replace('_', '-')}<" in commands for name in names)
    assert all(method.options.__name__ in library for method in METHODS.values())
