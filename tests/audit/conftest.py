"""Fixtures for the audit tests."""

import pytest

from tests.audit.recipes import run_of


@pytest.fixture
def trained(monkeypatch):
    run = run_of(["one", "two", "three"], ("last", "epoch_0001", "epoch_0005"))
    monkeypatch.setattr("saliencymixplus.runs.read.load_run", lambda path: run)
    return run
