"""Exported files give the network's probabilities for any batch size, or are not kept."""

from pathlib import Path

import numpy as np
import pytest
import torch

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.classifier import PixelClassifier, predict_logits
from saliencymixplus.inference import export as exporting
from saliencymixplus.runs.read import load_run


@pytest.mark.parametrize("form", ["onnx", "pt2", "torchscript"])
def test_a_file_gives_the_evaluations_probabilities(
    trained: tuple[Path, Path, Path], tmp_path: Path, form: str
) -> None:
    if form == "onnx":
        for name in ("onnx", "onnxruntime", "onnxscript"):
            pytest.importorskip(name)
    folder, prepared, _ = trained
    run, split = load_run(folder), load_prepared(prepared).split("test")
    pixels = np.array(split.images[:9]).transpose(0, 3, 1, 2)
    file = tmp_path / f"network.{form}"
    made = exporting.export(run, "last", form, file, pixels)
    assert made["largest_difference"] <= 1e-5
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    load = {"onnx": exporting._ONNX, "pt2": exporting._PT2, "torchscript": exporting._SCRIPT}
    classifier = PixelClassifier(run.model("last"), run.data.mean, run.data.std, 8)
    expected = predict_logits(classifier, split.images[:5], 5).softmax(1)
    found = load[form][1](file)(torch.from_numpy(pixels[:5]))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_a_file_that_differs_is_not_kept(
    trained: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, prepared, _ = trained
    pixels = np.array(load_prepared(prepared).split("test").images[:3]).transpose(0, 3, 1, 2)

    def wrong(path: Path) -> object:
        return lambda images: np.full((len(images), 3), 0.9, np.float32)

    monkeypatch.setattr(exporting, "_PT2", (lambda *a: a[2].write_bytes(b"file"), wrong))
    with pytest.raises(UserError, match="probabilities differ from the network's"):
        exporting.export(load_run(folder), "last", "pt2", tmp_path / "network.pt2", pixels)
    assert not list(tmp_path.iterdir())
