"""Random disk failures under the main commands; io_faults.py tests more of them."""

import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY

COMMANDS = ("download", "prepare", "train", "train again", "evaluate", "sync")
FAULTS, SEED = 8, 7


@pytest.mark.slow
@pytest.mark.timeout(900)  # on a busy machine; under a minute on an idle one
@pytest.mark.skipif(sys.platform != "linux", reason="preloads a library, as Linux does")
@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_a_failing_disk_is_one_line_and_the_next_try_succeeds() -> None:
    pytest.importorskip("mlflow")
    program = [sys.executable, "-m", "tests.reliability.io_faults"]
    command = [*program, str(FAULTS), str(SEED), *COMMANDS]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=850)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    met = re.search(rf"{FAULTS} faults .*, (\d+) met: 0 wrong", done.stdout)
    assert met, done.stdout
    assert int(met[1]) >= FAULTS // 2
