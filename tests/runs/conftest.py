"""A small finished run with weights and evaluation, to be damaged."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from saliencymixplus.models import create_model
from tests.helpers import SIZE, write_run

TABLES = {
    "confusion": "actual,predicted\nclass 0,class 1\n",
    "attacks": "attack,epsilon,epsilon_255,steps,images,top1_error\nfgsm,0.004,1,1,40,12.5\n",
    "reliability": "scaling,bin_low,bin_high,images,share,confidence,accuracy\nnone,0,1,40,1,,\n",
}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """``runs/tiny/cutmix/seed0``, evaluated in ``evaluations/tiny/cutmix/seed0``."""
    folder = write_run(tmp_path, np.arange(40) < 5, mix="cutmix")
    (folder / "weights").mkdir()
    save_file(
        create_model("resnet8", 10, SIZE).state_dict(), folder / "weights" / "last.safetensors"
    )
    for name, text in TABLES.items():
        (evaluated(folder) / f"{name}.csv").write_text(text)
    return folder


def evaluated(run_dir: Path) -> Path:
    """The evaluation's folder of ``run_dir``."""
    return run_dir.parents[3] / "evaluations" / run_dir.relative_to(run_dir.parents[2])
