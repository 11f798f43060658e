"""Parity with the official code of other methods, on recorded cases.

The cases are in tests/golden_peers, or in the folder that PEER_GOLDEN_DIR names; the README there
describes them. ``METHOD_N_name.npz`` is checked by ``check(case)`` of ``tests/peers/METHOD.py``.
"""

import importlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.peers.common import CHECKS, Case

FOLDER = Path(os.environ.get("PEER_GOLDEN_DIR") or Path(__file__).parent / "golden_peers")
CASES = sorted(FOLDER.glob("*.npz"))


class Arrays(dict[str, np.ndarray]):
    """The arrays of a case; one that is asked for and missing fails the test by name."""

    def __missing__(self, name: str) -> np.ndarray:
        pytest.fail(f"the recorded case has no array called {name!r}")


def read_case(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return Arrays({name: archive[name] for name in archive.files})
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        pytest.fail(f"{path.name} is not a readable npz file: {error}")


def check_of(method: str) -> Callable[[Case], None]:
    if method not in CHECKS:
        pytest.skip(f"{method}: no implementation yet")
    return importlib.import_module(f"tests.peers.{method}").check


def test_there_are_cases() -> None:
    assert CASES, f"no *.npz files in {FOLDER}: PEER_GOLDEN_DIR must name a folder of cases"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_official_results(path: Path) -> None:
    check = check_of(path.name.split("_")[0])
    check(read_case(path))


def test_every_check_has_cases() -> None:
    kept = Path(__file__).parent / "golden_peers"
    recorded = {path.name.split("_")[0] for path in kept.glob("*.npz")}
    assert recorded >= CHECKS, f"checks without a recorded case: {sorted(CHECKS - recorded)}"
