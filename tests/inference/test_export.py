"""Exported files give the network's probabilities for any batch size, or are not kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from saliencymixplus.datasets.decode import resize
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.classifier import PixelClassifier, predict_logits
from saliencymixplus.inference import export as exporting
from saliencymixplus.outputs import check_file
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
    pixels = np.array(split.images[:9])
    file = tmp_path / f"network.{form}"
    made = exporting.export(run, "last", form, file, pixels)
    assert made["largest_difference"] <= 1e-5
    assert made["compared_on"] == 18
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    check_file(file, "ExportedClassifier")  # as the command does, to overwrite it
    classifier = PixelClassifier(run.model("last"), run.data.mean, run.data.std, 8)
    expected = predict_logits(classifier, split.images[:5], 5).softmax(1)
    classify = exporting.FORMATS[form].load(file)
    found = classify(torch.from_numpy(pixels[:5].transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(16, 16), (33, 45), (20, 97), (8, 9), (5, 16), (217, 300), (31, 18)]
)
@pytest.mark.parametrize("crop", [False, True])
def test_resizing_in_the_file_is_that_of_the_pipeline(shape: tuple[int, int], crop: bool) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    expected = np.stack([resize(image, 16, crop) for image in images])
    pixels = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    found = exporting._as_prepared(pixels, 16, crop).numpy().transpose(0, 2, 3, 1)
    if shape[0] > shape[1]:  # Pillow 13 may take the columns first
        np.testing.assert_allclose(found, expected, atol=1)
    else:
        np.testing.assert_array_equal(found, expected)


def test_a_file_that_differs_is_not_kept(
    trained: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, prepared, _ = trained
    pixels = np.array(load_prepared(prepared).split("test").images[:3])

    class Wrong:
        def module(self) -> Callable[[torch.Tensor], torch.Tensor]:
            return lambda images: torch.full((len(images), 3), 0.9)

    monkeypatch.setattr(torch.export, "load", lambda file: Wrong())
    with pytest.raises(UserError, match="probabilities differ from the network's"):
        exporting.export(load_run(folder), "last", "pt2", tmp_path / "network.pt2", pixels)
    assert not list(tmp_path.iterdir())
