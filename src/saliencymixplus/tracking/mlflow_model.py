"""Export a run's weights as MLflow models that map images in any form to class names."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import PIL
import torch
from mlflow import MlflowClient, pyfunc
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.models import Model, ModelSignature
from mlflow.types import DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import Array, ColSpec

from saliencymixplus.files import write_json
from saliencymixplus.runs.read import Run
from saliencymixplus.serving.program import exported_program
from saliencymixplus.serving.pyfunc import FACTS, NETWORK, TOP
from saliencymixplus.version import __version__

SERVED = ("last", "best_validation")  # the weights to export
# The files needed to turn an image into a prediction. The model contains them as a package under a
# different name, so that loading it neither needs this project nor shadows an installed one.
_CODE = (
    "errors",
    "datasets/decode",
    "datasets/formats",
    "loading/crops",
    "loading/pixels",
    "serving/images",
    "serving/pyfunc",
)
_PACKAGE = "saliencymixplus_served"
_INPUT = (
    "RGB images of any size: uint8 or float in [0, 1], (H, W, 3) or (3, H, W), one or a batch; or "
    "a table with a column `path` (files) or `image` (encoded files as bytes or base64 text)"
)


def export_model(run: Run, which: str, folder: Path) -> None:
    """Export the weights ``which`` of ``run`` as an MLflow model to the empty ``folder``.

    The model has two flavours. ``python_function`` preprocesses like ``predict`` and returns
    ranked class names. ``pytorch`` is the bare network, from normalised images to logits. The
    network is a traced graph (pt2), not a pickle. Requirements are listed explicitly, because
    inferring them would start a second Python process.
    """
    facts = _facts(run)
    side = run.input_size
    program = exported_program(run.model(which), torch.zeros(2, 3, *side))
    signature = ModelSignature(
        # No input schema: MLflow would enforce it, and it cannot express "any of these forms".
        outputs=Schema(
            [
                ColSpec(Array(DataType.string), "classes"),
                ColSpec(Array(DataType.double), "probabilities"),
            ]
        ),
        params=ParamSchema([ParamSpec("top", DataType.long, TOP)]),
    )
    model = Model()
    with tempfile.TemporaryDirectory() as scratch:
        network, code = Path(scratch, "network"), Path(scratch, _PACKAGE)
        network.mkdir()
        torch.export.save(program, str(network / NETWORK))
        write_json(network / FACTS, facts)
        _copy_code(code)
        model.add_flavor(
            "pytorch", model_data=f"data/{network.name}", pytorch_version=str(torch.__version__)
        )
        pyfunc.save_model(
            str(folder),
            loader_module=f"{_PACKAGE}.serving.pyfunc",
            data_path=str(network),
            code_paths=[str(code)],
            mlflow_model=model,
            signature=signature,
            # Small, because it is stored as text.
            input_example=np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3),
            metadata={
                **facts,
                "input": _INPUT,
                "weights": which,
                "epoch": run.epoch_of(which),
                "data_digest": run.data.digest,
                "run_digest": run.digest,
                "saliencymixplus_version": __version__,
            },
            pip_requirements=[
                f"mlflow=={mlflow.__version__}",
                f"torch=={torch.__version__.partition('+')[0]}",
                f"numpy=={np.__version__}",
                f"pillow=={PIL.__version__}",
                "pandas",
            ],
        )


def epoch_of(folder: Path) -> int:
    """The epoch after which an exported model's weights were saved."""
    return int((Model.load(str(folder / "MLmodel")).metadata or {})["epoch"])


def upload_model(
    client: MlflowClient, run_id: str, name: str, folder: Path, metrics: Iterable[Metric]
) -> None:
    """Log and upload an exported model with its final metrics, resuming a partial upload."""
    run = client.get_run(run_id)
    model = find_model(client, run_id, name) or client.create_logged_model(
        run.info.experiment_id, name=name, source_run_id=run_id, params=run.data.params
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


def find_model(client: MlflowClient, run_id: str, name: str) -> LoggedModel | None:
    """A run's logged model ``name``, finished or not; None if there is none."""
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_logged_models([experiment], f"source_run_id = '{run_id}'")
    return next((model for model in found if model.name == name), None)


def _facts(run: Run) -> dict[str, Any]:
    """What ``ServedClassifier`` needs for preprocessing and for naming classes."""
    return {
        "classes": list(run.data.classes),
        "mean": list(run.data.mean),
        "std": list(run.data.std),
        "image_size": run.data.image_size[0],
        "crop": run.settings.data.crops(run.settings.download.source),
        "bits": run.data.bits,
        "input_size": run.input_size[0],
        "center_crop": run.center_crop,
    }


def _copy_code(target: Path) -> None:
    """Copy ``_CODE`` into the package ``target``, with its imports renamed."""
    root = Path(__file__).parents[1]
    for name in _CODE:
        path = (target / name).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in {target, path.parent}:
            (folder / "__init__.py").touch()
        text = (root / name).with_suffix(".py").read_text(encoding="utf-8")
        renamed = text.replace("from saliencymixplus.", f"from {target.name}.")
        path.write_text(renamed, encoding="utf-8")
