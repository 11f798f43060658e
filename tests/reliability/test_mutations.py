"""A damaged run folder under each of the commands that read one; more: mutations.py."""

import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a busy machine; under a minute on an idle one
@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_damaged_runs_are_one_line_and_leave_nothing() -> None:
    pytest.importorskip("mlflow")
    command = [sys.executable, "-m", "tests.reliability.mutations", "10", "7", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "10 changes met by 10 commands" in done.stdout
