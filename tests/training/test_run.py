"""Complete trainings on tiny data: output, repeatability, endings."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.engine.build import initial_model
from saliencymixplus.engine.context import TrainingContext
from saliencymixplus.epoch_row import COLUMNS
from saliencymixplus.errors import UserError
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.trainer import train
from tests.helpers import Recorder, run_settings, same_weights, timeless
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
