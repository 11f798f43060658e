"""Export a trained network with its preprocessing as a single file for other programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from saliencymixplus.errors import UserError, one_line
from saliencymixplus.evaluation.classifier import classifier_of, predict_logits
from saliencymixplus.files import write_atomically
from saliencymixplus.loading.crops import central_start, resize_boxes, whole
from saliencymixplus.loading.pixels import UNIT, normalize, per_channel
from saliencymixplus.runs.folder import DataFacts
from saliencymixplus.runs.read import Run
from saliencymixplus.serving.images import Preparation
from saliencymixplus.serving.program import exported_program

TOLERANCE = 1e-4  # largest accepted difference between exported and original probabilities
Classify = Callable[[Tensor], NDArray[np.float32]]  # uint8 images to probabilities


class Format(NamedTuple):
    """A file format, and the functions that write and load its files."""

    suffix: str
    save: Callable[[nn.Module, Tensor, Path], None]
    load: Callable[[Path], Classify]


class ExportedClassifier(nn.Module):
    """Maps RGB pixels (B, 3, H, W) uint8 of any size to class probabilities (B, K) float32.

    The images are brought to the size of the prepared data as ``datasets.decode.resize`` does, then
    to the network's input size, and normalised.

    Args:
        model: maps normalised images to logits.
        data: mean, std and size of the prepared data.
        crop: whether images that are not square are cropped to the centre, not squashed.
        input_size: side of the network's input in pixels.
        center: whether the input is the centre of the prepared image instead of the whole, resized.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, model: nn.Module, data: DataFacts, crop: bool, input_size: int, *, center: bool
    ) -> None:
        super().__init__()
        self.model = model.eval()
        self.side, self.crop = data.image_size[0], crop
        self.input_size, self.center = input_size, center
        self.register_buffer("mean", per_channel(data.mean))
        self.register_buffer("std", per_channel(data.std))

    def forward(self, pixels: Tensor) -> Tensor:
        images = _as_prepared(pixels, self.side, self.crop) / UNIT
        if self.center:
            start = central_start(self.side, self.input_size)
            images = images[..., start : start + self.input_size, start : start + self.input_size]
        elif self.input_size != self.side:
            box = whole(1, (self.side, self.side), images.device)  # the same for all images
            images = resize_boxes(images, box, (self.input_size, self.input_size))
        logits: Tensor = self.model(normalize(images, self.mean, self.std))
        return logits.float().softmax(1)


def _as_prepared(pixels: Tensor, side: int, crop: bool) -> Tensor:
    """Pixels (B, 3, side, side) float32, whole numbers, of pixels (B, 3, H, W) in [0, 255].

    Bilinear with antialiasing, bit for bit as Pillow's: weights of 22 bits, first along the rows,
    then along the columns, each result rounded. (Pillow 13 takes the columns of tall images first,
    which changes some pixels by 1.) In float64 these sums of integers are exact. No Python number
    depends on the images' size, so that every tracer keeps it variable.
    """
    images = pixels.double()
    row, column = images[0, 0, 0, :], images[0, 0, :, 0]
    width, height = torch.ones_like(row), torch.ones_like(column)
    shorter = torch.minimum(width.sum(), height.sum())
    across = _filter(width, shorter if crop else width.sum(), side)
    down = _filter(height, shorter if crop else height.sum(), side)
    images = (images @ across.T / _ONE + 0.5).floor()
    return (down @ images / _ONE + 0.5).floor().float()


_ONE = 2.0**22  # the weight 1 in Pillow's fixed-point numbers


def _filter(ones: Tensor, length: Tensor, side: int) -> Tensor:
    """Weights (side, N) of N pixels, of which the ``length`` in the middle become ``side``.

    ``ones`` are N ones in float64; the weights are integers, and ``_ONE`` in sum.
    """
    start = (ones.sum() - length) / 2
    scale = length / side
    places = torch.arange(side, dtype=torch.float64, device=ones.device)
    centre = start + (places[:, None] + 0.5) * scale
    # In Pillow's order: weights that end in a half would be rounded otherwise.
    distance = (ones.cumsum(0)[None] - 1.0 - centre + 0.5).abs()
    weights = (1.0 - distance * (1.0 / torch.maximum(scale, torch.ones_like(scale)))).relu()
    return (weights * (1.0 / weights.sum(1, keepdim=True)) * _ONE + 0.5).floor()


def export(
    run: Run, which: str, form: str, output: Path, pictures: NDArray[np.uint8]
) -> dict[str, Any]:
    """Export the weights ``which`` of ``run`` and check the file against the original network.

    They are compared on the pictures as they are, and on the pictures scaled to another shape, for
    which the original network uses the preprocessing of ``predict``.

    Args:
        form: a key of ``FORMATS``.
        pictures: (N, S, S, 3), N ≥ 2, real images as prepared.

    Returns:
        The file, its format, input and output, the classes, and the largest difference found.

    Raises:
        UserError: the network cannot be exported, or the file's probabilities differ from the
            network's by more than ``TOLERANCE``. No file is left behind.
    """
    crop = run.settings.data.crops(run.settings.download.source)
    classifier = classifier_of(run, which)
    network = ExportedClassifier(
        classifier.model, run.data, crop, classifier.input_size, center=classifier.center
    )
    others = _in_another_shape(pictures)
    preparation = Preparation(run.data.image_size[0], crop)
    fitted = np.stack([preparation.fitted(picture, "a picture") for picture in others])
    logits = predict_logits(classifier, np.concatenate([pictures, fitted]), len(pictures))
    expected = logits.softmax(1).numpy()
    example, resized = (
        torch.from_numpy(images.transpose(0, 3, 1, 2).copy()) for images in (pictures, others)
    )
    _, save, load = FORMATS[form]
    difference = 0.0

    def write(part: Path) -> None:
        nonlocal difference
        try:
            save(network, example[:2], part)
            run_file = load(part)
            # Also checks batch sizes other than the traced one.
            parts = (example[:1], example[1:], resized)
            found = np.concatenate([run_file(images) for images in parts])
        except ImportError as error:
            raise UserError(
                f"{form} needs {error.name}: pip install 'saliencymixplus[export]'"
            ) from error
        except Exception as error:  # each exporter has its own exceptions for untraceable models
            raise UserError(
                f"{run.settings.model.name} cannot be exported as {form} ({one_line(error)}): "
                "try another --format"
            ) from error
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"the {form} file's probabilities differ from the network's by up to "
                f"{difference:.2g}, so it was not kept: try another --format"
            )

    write_atomically(output, write)
    return {
        "file": str(output),
        "format": form,
        "input": "uint8 (B, 3, H, W), RGB, of any size",
        "output": f"float32 (B, {expected.shape[1]}), probabilities",
        "classes": list(run.data.classes),
        "largest_difference": difference,
        "compared_on": len(expected),
    }


def _in_another_shape(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pictures (N, S, S, 3), larger and wider: (N, 1.3 S, 1.9 S, 3)."""
    side = pictures.shape[1]
    size = (round(1.9 * side), round(1.3 * side))
    return np.stack([np.asarray(Image.fromarray(picture).resize(size)) for picture in pictures])


def _save_onnx(network: nn.Module, example: Tensor, path: Path) -> None:
    import onnx
    import onnxscript  # noqa: F401 - torch reports it missing only after a page of output

    made = torch.onnx.export(
        exported_program(network, example, any_size=True),
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamo=True,
        verbose=False,
    )
    assert made is not None
    onnx.save(made.model_proto, str(path))


def _load_onnx(path: Path) -> Classify:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels.numpy()})[0]


def _save_pt2(network: nn.Module, example: Tensor, path: Path) -> None:
    with path.open("wb") as file:
        torch.export.save(exported_program(network, example, any_size=True), file)


def _load_pt2(path: Path) -> Classify:
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda pixels: module(pixels).detach().numpy()


def _save_script(network: nn.Module, example: Tensor, path: Path) -> None:
    torch.jit.trace(network, example).save(str(path))


def _load_script(path: Path) -> Classify:
    module = torch.jit.load(str(path))
    return lambda pixels: module(pixels).detach().numpy()


FORMATS = {
    "onnx": Format(".onnx", _save_onnx, _load_onnx),
    "pt2": Format(".pt2", _save_pt2, _load_pt2),
    "torchscript": Format(".pt", _save_script, _load_script),
}
