"""Fixtures shared by tests of several rooms; plain functions are in helpers.py."""

import tempfile
from collections.abc import Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image
from torch import nn

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.evaluation.classifier import PixelClassifier
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.trainer import train
from tests.helpers import SIZE, Recorder, run_settings, write_prepared, write_rectangles

# A slow machine must not fail a test.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Unseeded random numbers do not depend on which tests ran before in the same process."""
    torch.default_generator.manual_seed(2026)


@pytest.fixture(scope="session", autouse=True)
def system_temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A temporary folder in place of the system's, removed at the end.

    Libraries leave files there: Inductor its kernels, DVC an index of each repository, torchrun
    logs, MLflow locks. It is not below pytest's, because paths of Unix sockets must be short.
    """
    tmp_path_factory.getbasetemp()  # pytest's own folder stays in the system's,
    get_temp_dir()  # and that of multiprocessing, which removes it after this fixture has ended
    scratch = tempfile.TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True)
    with scratch as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setenv("DVC_SITE_CACHE_DIR", str(Path(folder, "dvc")))
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a prepared data set of 50 training images of 8×8 pixels, without masks."""
    return write_prepared(tmp_path_factory.mktemp("prepared") / "tiny")


@pytest.fixture(scope="session")
def tiny_with_masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same data set with object masks."""
    return write_prepared(tmp_path_factory.mktemp("prepared") / "tiny", masks=True)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run, its prepared data, and its test images as PNG files."""
    folder = tmp_path_factory.mktemp("predict")
    prepared, run = write_prepared(folder / "prepared"), folder / "run"
    runtime = RuntimeSettings(device="cpu", tracker="none", progress="none")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SALIENCYMIXPLUS_STATE", str(folder / "state"))
        train(run_settings("none", epochs=1), prepared, run, runtime)
    split = load_prepared(prepared).split("test")
    (folder / "pictures").mkdir()
    for row in range(10):
        Image.fromarray(split.images[row]).save(folder / "pictures" / f"{row}.png")
    return run, prepared, folder / "pictures"


@pytest.fixture
def rectangles(tmp_path: Path) -> Path:
    """The folder of a small prepared data set with object masks."""
    return write_rectangles(tmp_path / "rectangles")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate state folder for the test."""
    path = tmp_path / "state"
    monkeypatch.setenv("SALIENCYMIXPLUS_STATE", str(path))
    return path


@pytest.fixture
def runtime(state: Path) -> RuntimeSettings:
    """On the CPU, silent and untracked, with a separate state folder for the test."""
    return RuntimeSettings(device="cpu", tracker="none", progress="none")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A ``Recorder`` in place of the training's tracker."""
    tracker = Recorder()
    monkeypatch.setattr("saliencymixplus.training.trainer.open_tracker", tracker.open)
    return tracker


@pytest.fixture
def classifier() -> PixelClassifier:
    """An untrained classifier of three classes whose result depends on every pixel."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * SIZE * SIZE, 3)
    )
    return PixelClassifier(layers, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), SIZE)
