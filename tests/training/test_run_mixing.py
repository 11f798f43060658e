"""When and how a training mixes."""

from pathlib import Path

import numpy as np
import pytest

from saliencymixplus.engine.randomness import saliency_flags_of_epoch
from saliencymixplus.errors import UserError
from saliencymixplus.runs.history import read_history
from saliencymixplus.settings import RuntimeSettings
from saliencymixplus.training.trainer import train
from tests.helpers import run_settings, timeless, write_rectangles


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
    """Up to then the run equals plain training; then it mixes."""
    histories = []
    for method, more in (("none", {}), ("cutmix", {"mix_start": 2})):
        train(run_settings(method, mix_prob=1.0, **more), tiny, tmp_path / method, runtime)
        histories.append(timeless(tmp_path / method))
    plain, late = histories
    assert plain[:2] == late[:2]
    assert late[2]["train_clean_top1_error"] is None
    assert late[2]["mean_lam"] is not None


def test_mixing_may_stop(tiny: Path, tmp_path: Path, runtime: RuntimeSettings) -> None:
    """Up to then the run equals one that keeps mixing; then nothing is mixed."""
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
    """Every third mixed step of an epoch has one, starting with the first."""
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
