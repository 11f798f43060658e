"""Export a trained network with its normalisation as a single file for other programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliencymixplus.errors import UserError, one_line
from saliencymixplus.files import write_atomically
from saliencymixplus.loading.pixels import UNIT, normalize, per_channel
from saliencymixplus.runs.read import Run
from saliencymixplus.serving.program import exported_program

FORMATS = {"onnx": ".onnx", "pt2": ".pt2", "torchscript": ".pt"}
TOLERANCE = 1e-4  # largest accepted difference between exported and original probabilities


class ExportedClassifier(nn.Module):
    """Maps RGB pixels (B, 3, H, W) uint8, at the input size, to probabilities (B, K) float32.

    Args:
        model: maps normalised images to logits.
        mean, std: per-channel statistics of pixels in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Any, std: Any) -> None:
        super().__init__()
        self.model = model.eval()
        self.register_buffer("mean", per_channel(mean))
        self.register_buffer("std", per_channel(std))

    def forward(self, pixels: Tensor) -> Tensor:
        images = normalize(pixels.float() / UNIT, self.mean, self.std)
        logits: Tensor = self.model(images)
        return logits.float().softmax(1)


def export(
    run: Run, which: str, form: str, output: Path, pictures: NDArray[np.uint8]
) -> dict[str, Any]:
    """Export the weights ``which`` of ``run`` and check the file against the original network.

    Args:
        form: a key of ``FORMATS``.
        pictures: (N, 3, H, W), N ≥ 2, real images at the input size for the comparison.

    Returns:
        The file, its format, input and output, the classes, and the largest difference found.

    Raises:
        UserError: the network cannot be exported, or the file's probabilities differ from the
            network's by more than ``TOLERANCE``. No file is left behind.
    """
    if form not in FORMATS:
        raise UserError(f"--format: {form!r} is not one of {', '.join(FORMATS)}")
    network = ExportedClassifier(run.model(which), run.data.mean, run.data.std)
    network = network.requires_grad_(False)
    example = torch.from_numpy(np.array(pictures))
    with torch.no_grad():
        expected = network(example).numpy()
    save, load = _ONNX if form == "onnx" else _PT2 if form == "pt2" else _SCRIPT
    difference = 0.0

    def write(part: Path) -> None:
        nonlocal difference
        try:
            save(network, example[:2], part)
            run_file = load(part)
            # Also checks batch sizes other than the traced one.
            found = np.concatenate([run_file(example[:1]), run_file(example[1:])])
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
        "input": f"uint8 (B, 3, {pictures.shape[2]}, {pictures.shape[3]}), RGB",
        "output": f"float32 (B, {expected.shape[1]}), probabilities",
        "classes": list(run.data.classes),
        "largest_difference": difference,
        "compared_on": len(pictures),
    }


Save = Callable[[nn.Module, Tensor, Path], None]
Load = Callable[[Path], Callable[[Tensor], NDArray[np.float32]]]


def _save_onnx(network: nn.Module, example: Tensor, path: Path) -> None:
    import onnx
    import onnxscript  # noqa: F401 - torch reports it missing only after a page of output

    made = torch.onnx.export(
        exported_program(network, example),
        input_names=["pixels"],
        output_names=["probabilities"],
        dynamo=True,
        verbose=False,
    )
    assert made is not None
    onnx.save(made.model_proto, str(path))


def _load_onnx(path: Path) -> Callable[[Tensor], NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(None, {"pixels": pixels.numpy()})[0]


def _save_pt2(network: nn.Module, example: Tensor, path: Path) -> None:
    with path.open("wb") as file:
        torch.export.save(exported_program(network, example), file)


def _load_pt2(path: Path) -> Callable[[Tensor], NDArray[np.float32]]:
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return lambda pixels: module(pixels).detach().numpy()


def _save_script(network: nn.Module, example: Tensor, path: Path) -> None:
    torch.jit.trace(network, example).save(str(path))


def _load_script(path: Path) -> Callable[[Tensor], NDArray[np.float32]]:
    module = torch.jit.load(str(path))
    return lambda pixels: module(pixels).detach().numpy()


_ONNX: tuple[Save, Load] = (_save_onnx, _load_onnx)
_PT2: tuple[Save, Load] = (_save_pt2, _load_pt2)
_SCRIPT: tuple[Save, Load] = (_save_script, _load_script)
