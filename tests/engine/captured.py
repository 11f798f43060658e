"""A fake recorder of CUDA graphs, and the parts of a training."""

from pathlib import Path
from typing import Any

import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.build import assemble
from saliencymixplus.engine.context import Assembly
from saliencymixplus.settings import RuntimeSettings
from tests.helpers import run_settings

CPU = torch.device("cpu")


def parts_for(tiny: Path, method: str, **training: Any) -> Assembly:
    run = run_settings(method, batch_size=8, **training)
    return assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), CPU, say=str)
