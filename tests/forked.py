"""Start ``train_apart`` in a process forked from one that has imported everything."""

import json
import multiprocessing
import os
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.settings import RunSettings
from tests import train_apart
from tests.helpers import REPOSITORY

_FORKS = multiprocessing.get_context("forkserver")
# Imported before the fork. None of these starts a thread of ours; numpy's OpenBLAS may have some,
# and stops them at a fork.
_FORKS.set_forkserver_preload([__name__, "torch._dynamo", "mlflow.store.tracking.sqlalchemy_store"])


def arguments(prepared: Path, output: Path, run: RunSettings, **options: Any) -> list[str]:
    """What ``train_apart.main`` takes."""
    return [str(prepared), str(output), run.model_dump_json(), json.dumps(options)]


def start(log: Path, given: list[str], **environment: str) -> BaseProcess:
    """Start ``train_apart.main(*given)``; what it says goes to ``log``.

    The environment is this process's, with ``environment`` added.
    """
    with pytest.MonkeyPatch.context() as patch:  # for the server, which the first call starts
        patch.setenv("PYTHONPATH", str(REPOSITORY), prepend=os.pathsep)
        process = _FORKS.Process(target=_forked, args=(log, {**os.environ, **environment}, given))
        process.start()
    return process


def run(log: Path, given: list[str], code: int | None = 0, **environment: str) -> str:
    """Run it to its end, which must have this exit code (None: any); returns what it said."""
    process = start(log, given, **environment)
    found = end_of(process)
    said = log.read_text()
    assert found is not None, said
    assert code is None or found == code, said[-2000:]
    return said


def end_of(process: BaseProcess) -> int | None:
    """Wait for its exit code; after 200 seconds kill it and return None.

    pytest would otherwise wait for it at its own end, without a limit.
    """
    process.join(200)
    code = process.exitcode
    if code is None:
        process.kill()
        process.join()
    return code


def _forked(log: Path, environment: dict[str, str], given: list[str]) -> None:
    with log.open("wb") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    os.environ.clear()
    os.environ.update(environment)
    train_apart.main(*given)
