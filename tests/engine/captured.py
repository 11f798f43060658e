"""A fake CUDA graph capturer, and the parts of a training."""

from pathlib import Path
from typing import Any

import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine import build
from saliencymixplus.engine.build import assemble
from saliencymixplus.engine.context import Assembly
from saliencymixplus.settings import RuntimeSettings
from tests.helpers import SIZE, run_settings
from tests.mixing.networks import network_for

CPU = torch.device("cpu")


def with_its_network(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TransMix takes a transformer, and none of those by name takes so small images."""
    if method == "transmix":
        monkeypatch.setattr(build, "create_model", lambda *how: network_for(method, SIZE))


def parts_for(tiny: Path, method: str, **training: Any) -> Assembly:
    run = run_settings(method, batch_size=8, **training)
    return assemble(run, load_prepared(tiny), RuntimeSettings(device="cpu"), CPU, say=str)
