"""A small repository, and commands in it, each in a forked process.

Imports take longer than most of these commands, so the forking process imports everything first
(``import_all``).
"""

import itertools
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from tests.helpers import REPOSITORY

TIMEOUT = 900  # seconds for one command, on a busy machine
EXPERIMENT = ["--experiment", "tiny"]
RUN = "runs/tiny/none/seed0"
TRAIN = [*EXPERIMENT, "--seed", "0", "--prepared", "prepared", "--device", "cpu"]
# In this order; where each writes (None: it is MLflow that is looked at).
COMMANDS: dict[str, tuple[list[str], str | None]] = {
    "download": (["download", *EXPERIMENT, "--output", "archives"], "archives"),
    "prepare": (
        ["prepare", *EXPERIMENT, "--source", "archives", "--output", "prepared"],
        "prepared",
    ),
    "resolve": (["resolve", "--output", "resolved"], "resolved"),
    "train": (["train", *TRAIN, "--mix-aug", "none", "--output", RUN], RUN),
    "train again": (
        ["train", *TRAIN, "--mix-aug", "cutmix", "--output", "runs/tiny/cutmix/seed0"],
        "runs/tiny/cutmix/seed0",
    ),
    "evaluate": (
        [
            "evaluate",
            *EXPERIMENT,
            "--mix-aug",
            "none",
            "--prepared",
            "prepared",
            "--output",
            "evaluations/tiny/none",
        ],
        "evaluations/tiny/none",
    ),
    "evaluate RUN": (
        [
            "evaluate",
            "runs/tiny/cutmix/seed0",
            "--prepared",
            "prepared",
            "--output",
            "evaluations/tiny/cutmix/seed0",
        ],
        "evaluations/tiny/cutmix/seed0",
    ),
    "audit": (["audit", *EXPERIMENT, "--prepared", "prepared"], "audits/tiny"),
    "compare": (["compare", *EXPERIMENT], "reports/tiny"),
    "report": (["report", *EXPERIMENT, "--prepared", "prepared"], "reports/tiny"),
    "export": (["export", RUN, "--prepared", "prepared", "--output", "net.onnx"], "net.onnx"),
    "predict": (["predict", RUN, "pictures/test", "--sheet", "sheet.png"], "sheet.png"),
    "preview": (
        [
            "preview",
            *EXPERIMENT,
            "--prepared",
            "prepared",
            "--mix-aug",
            "cutmix",
            "--output",
            "preview.png",
        ],
        "preview.png",
    ),
    "sync": (["sync"], None),
}


def run_forked(
    words: list[str],
    place: Path,
    log: Path,
    environment: dict[str, str] | None = None,
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> tuple[int, str]:
    """Run ``cli.py WORDS`` in ``place``; returns its exit code (-1: it hangs) and its output.

    Args:
        log: the file for the output.
        before: is called in the process just before the command, and ``after`` just after it.
    """
    child = os.fork()
    if not child:
        code = 70
        try:
            os.chdir(place)
            os.environ |= environment or {}
            with log.open("wb") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            sys.argv = ["cli.py", *words]
            from saliencymixplus.commands.app import main as run

            before()
            try:
                run()
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
            after()
            sys.stdout.flush()
        finally:
            os._exit(code)
    end = time.monotonic() + TIMEOUT
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), log.read_text(errors="replace")
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -1, "hangs: " + log.read_text(errors="replace")
        time.sleep(0.02)


def make_repository(root: Path) -> None:
    """Settings, and 24 pictures of two classes with masks."""
    yaml = YAML(typ="safe")
    params = yaml.load(REPOSITORY / "params.yaml")
    params |= {"experiments": ["tiny"], "methods": ["none", "cutmix"], "seeds": [0]}
    params["evaluation"] |= {"parts": ["calibration"], "images": 8}
    params["audit"]["images"] = 8
    params["tiny"] = {
        "download": {"source": "imagefolder", "path": "pictures"},
        "data": {"image_size": 8},
        "model": {"name": "resnet8"},
        "training": {"epochs": 2, "batch_size": 8, "sample_epochs": [1]},
    }
    root.mkdir()
    yaml.dump(params, root / "params.yaml")
    shutil.copy(REPOSITORY / "dvc.yaml", root)
    rng = np.random.default_rng(0)
    for split, kind, number in itertools.product(("train", "test"), ("robin", "wren"), range(6)):
        name = Path(split, kind, f"{number}.png")
        mask = np.zeros((12, 12), np.uint8)
        mask[3:9, 3:9] = 255
        for folder, pixels in (
            ("pictures", rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)),
            ("pictures/masks", mask),
        ):
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(root / folder / name)


def import_all() -> None:
    """Import what the commands need, none of which starts a thread."""
    import mlflow.store.tracking.sqlalchemy_store
    import mlflow.system_metrics.metrics.cpu_monitor  # noqa: F401

    from saliencymixplus.commands import app  # noqa: F401
    from saliencymixplus.evaluation import evaluate  # noqa: F401
    from saliencymixplus.tracking import mlflow_library, tracker  # noqa: F401
    from saliencymixplus.training import trainer  # noqa: F401

    mlflow_library.require_mlflow()
