"""A trained run for everything that uses one."""

from pathlib import Path

import pytest
from PIL import Image

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.trainer import train
from tests.helpers import run_settings, write_prepared


@pytest.fixture(scope="package")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run, its prepared data, and its test images as PNG files."""
    folder = tmp_path_factory.mktemp("predict")
    prepared, run = write_prepared(folder / "prepared"), folder / "run"
    how = RuntimeSettings(device="cpu", tracker="none", progress="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SALIENCYMIXPLUS_STATE", str(folder / "state"))
        train(run_settings("none", epochs=1), prepared, run, how)
    split = load_prepared(prepared).split("test")
    (folder / "pictures").mkdir()
    for row in range(10):
        Image.fromarray(split.images[row]).save(folder / "pictures" / f"{row}.png")
    return run, prepared, folder / "pictures"
