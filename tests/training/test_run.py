"""Whole trainings on tiny data: what they write, that they repeat, how they end."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.build import initial_model
from saliencymixplus.engine.context import TrainingContext
from saliencymixplus.engine.randomness import saliency_flags_of_epoch
from saliencymixplus.epoch_row import COLUMNS
from saliencymixplus.errors import UserError
from saliencymixplus.runs.history import read_history
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.trainer import train
from tests.helpers import Recorder, run_settings, same_weights, timeless, write_rectangles
from tests.train_apart import AtStep


def test_a_run_leaves_all_that_is_promised(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    runtime: RuntimeSettings,
    recorder: Recorder,
) -> None:
    settings = run_settings(sample_epochs=(0, 3))
    output = tmp_path / "run"
    summary = train(settings, tiny, output, runtime)
    header = (output / "history.csv").read_text().splitlines()[0]
    assert header.split(",") == list(COLUMNS)
    assert summary == json.loads((output / "summary.json").read_text())
    assert {"last", "best_validation", "best_test", "seconds", "parameters"} <= summary.keys()
    assert [p.name for p in sorted((output / "samples").iterdir())] == [
        "epoch_0000.png",
        "epoch_0003.png",
    ]
    assert recorder.epochs == [1, 2, 3]
    assert recorder.images == [0, 3]
    assert recorder.status == "FINISHED"
    assert not list((state / "runs").iterdir()), "the resume state is gone"

    run = load_run(output)
    assert run.settings == settings
    assert [row.epoch for row in run.history] == [1, 2, 3]
    assert run.weights == ["last", "best_validation", "best_test"]
    best = min(run.history, key=lambda row: row.test_top1_error or 0.0)
    assert summary["best_test"]["epoch"] == best.epoch
    assert summary["last"]["top1_error"] == run.history[-1].test_top1_error

    # The weights give the errors that the history says.
    data = load_prepared(tiny)
    split = data.split("test")
    pixels = torch.from_numpy(split.images.copy()).permute(0, 3, 1, 2) / 255
    images = (pixels - torch.tensor(data.meta.mean)[:, None, None]) / torch.tensor(data.meta.std)[
        :, None, None
    ]
    for which in run.weights:
        predicted = run.model(which)(images).argmax(1).numpy()
        assert 100 * (predicted != split.labels).mean() == pytest.approx(
            summary[which]["top1_error"], abs=1e-4
        )
        about = json.loads((output / "weights" / f"{which}.json").read_text())
        assert about["epoch"] == summary[which]["epoch"]
        assert about["classes"] == data.meta.classes


def test_weights_of_the_epochs_asked_for_are_those_of_a_shorter_run(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    steady: dict[str, Any] = {"schedule": "steps", "milestones": (99,)}
    train(
        run_settings(epochs=3, weights_epochs=(1, 2, 9), **steady), tiny, tmp_path / "long", runtime
    )
    train(run_settings(epochs=2, **steady), tiny, tmp_path / "short", runtime)
    run = load_run(tmp_path / "long")
    assert run.weights == ["last", "best_validation", "best_test", "epoch_0001", "epoch_0002"]
    kept, short = run.model("epoch_0002"), load_run(tmp_path / "short").model("last")
    expected = short.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in kept.state_dict().items())
    about = json.loads((tmp_path / "long" / "weights" / "epoch_0002.json").read_text())
    assert about["epoch"] == 2


def test_a_finished_run_is_not_trained_again_unless_told_to(
    tiny: Path,
    tmp_path: Path,
    state: Path,
    runtime: RuntimeSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened: list[Recorder] = []

    def open_tracker(kind: str, *, folder: Path, **rest: Any) -> Recorder:
        opened.append(Recorder())
        opened[-1].folder = folder
        return opened[-1]

    monkeypatch.setattr("saliencymixplus.training.trainer.open_tracker", open_tracker)
    output, settings = tmp_path / "run", run_settings("none", epochs=1)
    first = train(settings, tiny, output, runtime)
    before = (output / "history.csv").stat().st_mtime_ns
    assert train(settings, tiny, output, runtime) == first
    said = capsys.readouterr().out
    assert f"already finished: {output / 'summary.json'}" in said
    assert "--no-resume" in said
    assert len(opened) == 1
    assert (output / "history.csv").stat().st_mtime_ns == before
    assert not list((state / "runs").iterdir())
    train(settings, tiny, output, runtime.model_copy(update={"resume": False}))
    assert len(opened) == 2
    train(run_settings("none", epochs=1, seed=1), tiny, output, runtime)
    assert len(opened) == 3, "other settings are another run"
    (output / "weights" / "last.safetensors").unlink()
    train(run_settings("none", epochs=1, seed=1), tiny, output, runtime)
    assert len(opened) == 4, "a run without weights has to be trained again"
    assert "already" not in capsys.readouterr().out


def test_the_output_is_reserved_at_the_start_and_nothing_of_others_is_lost(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    """A link is followed; a second training of another recipe is refused; new files are kept."""
    real = tmp_path / "disk" / "run"
    link = tmp_path / "run"
    link.symlink_to(real)

    def interfere(context: TrainingContext) -> None:
        with pytest.raises(UserError, match="is writing"):
            train(run_settings("none", seed=1), tiny, real, runtime)
        real.mkdir()
        (real / "notes.txt").write_text("only copy")

    train(run_settings("none", epochs=1), tiny, link, runtime, [AtStep(1, 0, interfere)])
    assert link.is_symlink()
    assert load_run(real).weights[0] == "last"
    assert (real / "notes.txt").read_text() == "only copy"
    assert [path.name for path in real.parent.iterdir()] == ["run"]
    modes = {oct(path.stat().st_mode & 0o777) for path in real.rglob("*.*")}
    assert len(modes) == 1, "weights too have the mode that the umask gives"


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


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_drawing_grids_leaves_the_training_as_it_is(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, variant: str
) -> None:
    mix = {"variant": variant}
    train(run_settings("saliencymixplus", options=mix, epochs=2), tiny, tmp_path / "none", runtime)
    drawn = run_settings("saliencymixplus", options=mix, epochs=2, sample_epochs=(0, 1, 2))
    train(drawn, tiny, tmp_path / "drawn", runtime)
    assert len(list((tmp_path / "drawn" / "samples").iterdir())) == 3
    assert same_weights(tmp_path / "none", tmp_path / "drawn")


@pytest.mark.parametrize("method", ["none", "cutmix", "saliencymix", "saliencymixplus"])
def test_a_repeated_run_is_bit_identical(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings, method: str
) -> None:
    settings = run_settings(method, epochs=2, augment="resized-crop-flip")
    first, second = tmp_path / "first", tmp_path / "second"
    train(settings, tiny, first, runtime)
    torch.rand(100)  # the state of torch's own generator does not matter
    train(settings, tiny, second, runtime.model_copy(update={"workers": 0, "data_on": "host"}))
    assert same_weights(first, second)
    assert timeless(first) == timeless(second)
    other = tmp_path / "other"
    train(run_settings(method, epochs=2, augment="resized-crop-flip", seed=1), tiny, other, runtime)
    assert not same_weights(first, other)


def test_initial_weights_depend_on_the_seed_only(tiny: Path) -> None:
    meta = load_prepared(tiny).meta
    before = torch.random.get_rng_state()
    models = [
        initial_model(run_settings(m, seed=s), meta, (8, 8))
        for m, s in (("none", 0), ("cutmix", 0))
    ]
    other = initial_model(run_settings("none", seed=1), meta, (8, 8))
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in (*models, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_without_mixing_there_are_no_mixed_figures(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    train(run_settings("none", epochs=1), tiny, tmp_path / "plain", runtime)
    train(run_settings("cutmix", epochs=1, mix_prob=1.0), tiny, tmp_path / "mixed", runtime)
    (plain,) = read_history(tmp_path / "plain" / "history.csv")
    (mixed,) = read_history(tmp_path / "mixed" / "history.csv")
    assert plain.train_mixed_top1_error is None
    assert plain.mean_lam is None
    assert plain.forward_backward_passes == 4
    assert mixed.train_clean_top1_error is None
    assert 0 < (mixed.mean_lam or 0) < 1


def test_labels_from_masks(
    tmp_path: Path, runtime: RuntimeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The masks reach the mixer, those without an object are counted, and data need them."""
    data = write_rectangles(tmp_path / "data")
    masks = np.load(data / "train_masks.npy")
    masks[:2] = 0
    np.save(data / "train_masks.npy", masks)
    histories, runtime = [], runtime.model_copy(update={"progress": "lines"})
    for label in ("area", "mask"):
        settings = run_settings("cutmix", options={"label": label}, mix_prob=1.0, batch_size=12)
        train(settings, data, tmp_path / label, runtime)
        histories.append(timeless(tmp_path / label))
        counted = "2 of 24 training images have no object" in capsys.readouterr().out
        assert counted == (label == "mask")
    area, mask = histories
    assert area[0]["mean_lam"] != mask[0]["mean_lam"]
    without = write_rectangles(tmp_path / "without", masks=False)
    with pytest.raises(UserError, match="needs object masks"):
        train(settings, without, tmp_path / "none", runtime)


def test_mixing_may_start_later(tiny: Path, tmp_path: Path, runtime: RuntimeSettings) -> None:
    """Until then the run is that of plain training, and then it mixes."""
    histories = []
    for method, more in (("none", {}), ("cutmix", {"mix_start": 2})):
        train(run_settings(method, mix_prob=1.0, **more), tiny, tmp_path / method, runtime)
        histories.append(timeless(tmp_path / method))
    plain, late = histories
    assert plain[:2] == late[:2]
    assert late[2]["train_clean_top1_error"] is None
    assert late[2]["mean_lam"] is not None


def test_mixing_may_stop(tiny: Path, tmp_path: Path, runtime: RuntimeSettings) -> None:
    """Until then the run is the same as without stopping, and then nothing is mixed."""
    histories = []
    for name, more in (("on", {}), ("off", {"mix_off_epoch": 2})):
        train(run_settings("cutmix", mix_prob=1.0, **more), tiny, tmp_path / name, runtime)
        histories.append(timeless(tmp_path / name))
    on, off = histories
    assert on[:2] == off[:2]
    assert off[2]["train_mixed_top1_error"] is None
    assert off[2]["mean_lam"] is None


def test_a_saliency_pass_every_few_mixed_steps(
    tiny: Path, tmp_path: Path, runtime: RuntimeSettings
) -> None:
    """Every third of an epoch's mixed steps takes one, the first to begin with."""
    assert saliency_flags_of_epoch([True, False, True, True, False, True], [0] * 6, [3]) == [
        True, False, False, False, True, True,
    ]  # fmt: skip
    settings = run_settings(
        "saliencymixplus", options={"saliency_every": 3}, epochs=1, mix_prob=1.0
    )
    train(settings, tiny, tmp_path / "run", runtime)
    (row,) = read_history(tmp_path / "run" / "history.csv")
    assert row.forward_backward_passes == 4 + 2  # of four steps the first and the fourth
    train(run_settings("saliencymixplus", epochs=1, mix_prob=1.0), tiny, tmp_path / "each", runtime)
    (each,) = read_history(tmp_path / "each" / "history.csv")
    assert each.forward_backward_passes == 8


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
