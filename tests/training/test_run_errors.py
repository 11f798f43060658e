"""Trainings that cannot start or continue end with one line."""

from pathlib import Path
from typing import Any

import pytest
import torch

from saliencymixplus.engine.context import TrainingContext
from saliencymixplus.errors import UserError
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.trainer import train
from tests.helpers import Recorder, run_settings
from tests.train_apart import AtStep


def test_a_place_that_cannot_be_written_is_an_error_before_the_first_step(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    def taken(context: TrainingContext) -> None:
        raise AssertionError("a step was taken")

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    for place in (Path("/proc/run"), tmp_path / "mine"):
        with pytest.raises(UserError, match=str(place)):
            train(run_settings("none"), tiny, place, runtime, [AtStep(1, 0, taken)])


def test_a_loss_that_is_not_finite_ends_the_run(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    runtime: RuntimeSettings,
    recorder: Recorder,
) -> None:
    def break_weights(context: TrainingContext) -> None:
        next(context.parts.step.local.parameters()).data.fill_(float("nan"))

    broken = [AtStep(2, 0, break_weights)]  # before the second step of epoch 2
    with pytest.raises(UserError, match=r"epoch 2, step 2 of 4 \(learning rate 0\.1\).*epoch 1 is"):
        train(run_settings("cutmix"), tiny, tmp_path / "run", runtime, broken)
    assert recorder.status == "FAILED"
    assert recorder.epochs == [1]
    assert not (tmp_path / "run").exists()
    (folder,) = (state / "runs").iterdir()
    assert len(list(folder.glob("epoch00001-*.pt"))) == 1


def test_an_exploding_loss_is_caught(tiny: Path, tmp_path: Path, runtime: RuntimeSettings) -> None:
    with pytest.raises(
        UserError, match=r"not finite in epoch 1, step \d of 4 \(learning rate 1e\+25"
    ):
        train(run_settings("none", learning_rate=1e25), tiny, tmp_path / "run", runtime)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError(),
    ],
    ids=["torch", "driver", "library", "cpu", "python"],
)
def test_out_of_memory_says_which_batch_size_to_try(
    error: Exception,
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
    recorder: Recorder,
) -> None:
    def full(context: TrainingContext) -> None:
        raise error

    for size, advice in (
        (16, "training.batch_size 8 with training.accumulate 2"),
        (18, "training.batch_size 16"),
        (2, "a smaller network or smaller images"),
    ):
        with pytest.raises(UserError, match=rf"batch size {size}: try {advice}$"):
            train(
                run_settings(batch_size=size), tiny, tmp_path / "run", runtime, [AtStep(1, 0, full)]
            )
        assert recorder.status == "FAILED"


def test_another_error_is_not_taken_for_too_little_memory(
    tiny: Path,
    tmp_path: Path,
    runtime: RuntimeSettings,
) -> None:
    def broken(context: TrainingContext) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(run_settings(), tiny, tmp_path / "run", runtime, [AtStep(1, 0, broken)])


@pytest.mark.parametrize(
    ("training", "says"),
    [
        ({"batch_size": 51}, "batch_size 51 is larger than the 50 training images"),
        ({"batch_size": 1}, "at least 2"),
        ({"crop_size": 11}, "crop_size 11 is larger than the 8×8 images"),
        ({"crop_mode": "reflect", "crop_padding": 8}, "needs images larger than 8 pixels"),
    ],
)
def test_settings_that_do_not_fit_the_data(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, training: Any, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        train(run_settings(**training), tiny, tmp_path / "run", runtime)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "xla"])
def test_a_device_that_is_not_there(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, name: str
) -> None:
    with pytest.raises(UserError, match="device"):
        train(run_settings(), tiny, tmp_path / "run", runtime.model_copy(update={"device": name}))


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a finished run"):
        load_run(tmp_path)


def test_damaged_weights_are_named(tiny: Path, tmp_path: Path, runtime: RuntimeSettings) -> None:
    train(run_settings("none", epochs=1), tiny, tmp_path / "run", runtime)
    run = load_run(tmp_path / "run")
    with pytest.raises(UserError, match="did you mean 'best_test'"):
        run.model("best_tst")
    path = tmp_path / "run" / "weights" / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"last\.safetensors is damaged"):
        run.model()
