"""A logged model predicts like ``predict``, without this project installed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("mlflow")

from saliencymixplus.inference.collect import pictures
from saliencymixplus.inference.predict import Predictor
from saliencymixplus.runs.read import load_run
from saliencymixplus.tracking import mlflow_library
from saliencymixplus.tracking.mlflow_model import export_model

_ALONE = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "saliencymixplus":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import mlflow.pyfunc
from pandas import DataFrame
model = mlflow.pyfunc.load_model(sys.argv[1])
found = model.predict(DataFrame({"path": sys.argv[2:]}), params={"top": 3})
print(json.dumps(found.to_dict("list")))
"""


@pytest.fixture(scope="module")
def model(trained: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    mlflow_library.require_mlflow()
    folder = tmp_path_factory.mktemp("model") / "model"
    export_model(load_run(trained[0]), "best_validation", folder)
    return folder


@pytest.mark.slow
def test_it_answers_as_predict_does_where_this_project_is_absent(
    trained: tuple[Path, Path, Path], model: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file, shape in zip(files, [(31, 50, 3), (8, 8, 3), (90, 40, 3)], strict=True):
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(file)
    predictor = Predictor(load_run(trained[0]), "best_validation", torch.device("cpu"))
    expected = list(predictor(pictures(files), 3))
    command = [sys.executable, "-c", _ALONE, str(model), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    found = json.loads(done.stdout)
    assert found["classes"] == [list(one.classes) for one in expected]
    probabilities = [list(one.probabilities) for one in expected]
    np.testing.assert_allclose(found["probabilities"], probabilities, atol=1e-5)
    assert found["probabilities"] == [sorted(row, reverse=True) for row in found["probabilities"]]


def test_it_describes_itself_and_holds_no_pickle(
    trained: tuple[Path, Path, Path], model: Path
) -> None:
    import mlflow.pytorch
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc import load_model

    run, loaded = load_run(trained[0]), load_model(str(model))
    metadata = loaded.metadata.metadata
    assert metadata["classes"] == ["left", "right", "both"]
    assert metadata["mean"] == pytest.approx([0.4] * 3)
    assert metadata["std"] == pytest.approx([0.25] * 3)
    assert (metadata["input_size"], metadata["data_digest"]) == (8, run.data.digest)
    best = run.summary.best_validation
    assert best is not None
    assert (metadata["weights"], metadata["epoch"]) == ("best_validation", best.epoch)
    assert [column.name for column in loaded.metadata.signature.outputs] == [
        "classes",
        "probabilities",
    ]
    (row,) = loaded.predict(np.zeros((5, 7, 3), np.uint8)).to_dict("records")
    assert sum(row["probabilities"]) == pytest.approx(1)
    with pytest.raises(MlflowException, match="not RGB"):
        loaded.predict(np.zeros((1, 5, 7, 4)))
    with pytest.raises(MlflowException, match="top is 0"):
        loaded.predict(np.zeros((5, 7, 3)), params={"top": 0})
    network = mlflow.pytorch.load_model(str(model))
    logits = network(torch.ones(3, 3, 8, 8))
    torch.testing.assert_close(logits, run.model("best_validation")(torch.ones(3, 3, 8, 8)))
    assert not [path for path in model.rglob("*") if path.suffix in (".pkl", ".pth")]
