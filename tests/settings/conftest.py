"""Fixtures for the settings tests."""

from pathlib import Path

import pytest

from tests.settings.minimal import MINIMAL


@pytest.fixture
def params(tmp_path):
    def write(text: str = MINIMAL) -> Path:
        path = tmp_path / "params.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
