"""A network as an MLflow model."""

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn


def export_model(model: "nn.Module", example: np.ndarray, folder: Path) -> None:
    """Write ``model`` as an MLflow model into the empty ``folder``, in PyTorch's pt2 format.

    A pt2 file is a traced graph with its weights: no pickle, and loading it needs none of this
    project's code. The requirements are given, as inferring them would start a second Python.
    """
    import torch
    from mlflow import pytorch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    # A copy on the CPU in the plain layout: channels-last weights make the exporter warn.
    model = deepcopy(model).cpu().to(memory_format=torch.contiguous_format).eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(example)).numpy()
    signature = ModelSignature(
        inputs=Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]))]),
        outputs=Schema([TensorSpec(logits.dtype, (-1, *logits.shape[1:]))]),
    )
    pytorch.save_model(
        model,
        str(folder),
        signature=signature,
        input_example=example,
        serialization_format="pt2",
        pip_requirements=[
            f"torch=={torch.__version__.partition('+')[0]}",
            f"numpy=={np.__version__}",
        ],
    )
