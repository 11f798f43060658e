"""A network as an MLflow model: exporting and uploading it."""

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
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


def upload_model(
    client: "MlflowClient", run_id: str, name: str, folder: Path, metrics: "Iterable[Metric]"
) -> None:
    """Register and upload an exported model with its final metrics; finish it if half done."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    run = client.get_run(run_id)
    experiment = run.info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    model = (
        found[0]
        if found
        else client.create_logged_model(
            experiment, name=name, source_run_id=run_id, params=run.data.params
        )
    )
    if str(model.status) == "READY":
        return
    outputs = run.outputs.model_outputs if run.outputs else []
    if not any(output.model_id == model.model_id for output in outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    known = {metric.key for metric in model.metrics or ()}
    for m in metrics:
        if m.key not in known:
            client.log_metric(run_id, m.key, m.value, m.timestamp, m.step, model_id=model.model_id)
    description = Model.load(str(folder / "MLmodel"))
    description.run_id = run_id
    description.model_id = description.model_uuid = model.model_id
    description.artifact_path = model.artifact_location
    description.save(str(folder / "MLmodel"))
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
