"""The entry point of an MLflow model: MLflow imports this module and calls ``_load_pyfunc``.

``tracking/mlflow_model.py`` copies this file and the project files it imports into the model, so
keep those imports few.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from saliencymixplus.datasets.decode import decoding
from saliencymixplus.errors import UserError
from saliencymixplus.loading.pixels import fit, normalize, per_channel, to_unit
from saliencymixplus.serving.images import Preparation, image_names, items_in

if TYPE_CHECKING:
    from pandas import DataFrame

NETWORK, FACTS = "model.pt2", "preprocessing.json"
TOP = 5  # classes returned per image unless `params` sets `top`
_AT_ONCE = 64


class ServedClassifier:
    """Predicts class names and probabilities, most probable first, for images in any form.

    Args:
        network: maps normalised images (B, 3, S, S) to logits (B, K).
        facts: ``classes``, ``mean``, ``std``, ``image_size``, ``crop``, ``bits``, ``input_size``
            (S) and ``center_crop``.
    """

    def __init__(self, network: Callable[[Tensor], Tensor], facts: dict[str, Any]) -> None:
        self._network = network
        self._classes: list[str] = facts["classes"]
        self._preparation = Preparation(facts["image_size"], facts["crop"], facts["bits"])
        self._side: int = facts["input_size"]
        self._center: bool = facts["center_crop"]
        self._mean, self._std = per_channel(facts["mean"]), per_channel(facts["std"])

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> "DataFrame":
        """Return one row per image with the columns ``classes`` and ``probabilities``, both lists.

        Args:
            data: anything ``items_in`` accepts.
            params: ``top``, the number of classes to return.

        Raises:
            MlflowException: the input is not images; MLflow's server replies with the message.
        """
        from mlflow.exceptions import MlflowException
        from pandas import DataFrame

        top = int((params or {}).get("top", TOP))
        try:
            if top < 1:
                raise UserError(f"top is {top}: give at least 1")
            with decoding():
                items = items_in(data)
                named = zip(items, image_names(items), strict=True)
                pixels = [self._preparation.read(item, name) for item, name in named]
        except UserError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        rows = []
        for start in range(0, len(pixels), _AT_ONCE):
            values, order = ranked(self._logits(np.stack(pixels[start : start + _AT_ONCE])), top)
            for shares, labels in zip(values.tolist(), order.tolist(), strict=True):
                rows.append(([self._classes[label] for label in labels], shares))
        return DataFrame(rows, columns=["classes", "probabilities"])

    def _logits(self, pixels: np.ndarray) -> Tensor:
        unit = to_unit(torch.from_numpy(pixels))
        images = fit(unit, (self._side, self._side), center=self._center)
        with torch.inference_mode():
            return self._network(normalize(images, self._mean, self._std))


def ranked(logits: Tensor, top: int) -> tuple[Tensor, Tensor]:
    """Probabilities and class indices, both (B, top), of logits (B, K), most probable first."""
    values, order = logits.float().softmax(1).topk(min(top, logits.shape[1]), dim=1)
    return values, order


def _load_pyfunc(path: str) -> ServedClassifier:
    """Load the model that ``tracking/mlflow_model.py`` saved in the folder ``path``."""
    facts = json.loads((Path(path) / FACTS).read_text(encoding="utf-8"))
    with (Path(path) / NETWORK).open("rb") as file:
        network = torch.export.load(file).module()
    return ServedClassifier(network, facts)
