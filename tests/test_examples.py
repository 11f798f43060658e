"""The examples run with the libraries that they are written for."""

import inspect
import math
import re
import runpy
from typing import Any

import pytest
import torch

from tests.helpers import REPOSITORY

# And what they import besides this project and torch; `pip install '.[examples]'` brings it.
EXAMPLES = {
    "plain_torch": None,
    "torchvision_transform": "torchvision",
    "timm_mixup": "timm",
    "lightning_callback": "lightning",
    "hugging_face_trainer": "transformers",
}


def example(name: str) -> dict[str, Any]:
    """What the file defines."""
    if library := EXAMPLES[name]:
        pytest.importorskip(library)
    return runpy.run_path(str(REPOSITORY / "examples" / f"{name}.py"), run_name=name)


def test_every_example_is_run() -> None:
    assert {file.stem for file in (REPOSITORY / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trains(name: str) -> None:
    losses = example(name)["train"]()
    assert len(losses) >= 2
    assert all(0.5 * math.log(10) < loss < 2 * math.log(10) for loss in losses)


@pytest.mark.slow
def test_the_notebook_runs() -> None:
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient")
    notebook = nbformat.read(REPOSITORY / "examples" / "own_loop.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they would go stale
    client.NotebookClient(notebook, timeout=240).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    text = "".join(out.get("text", "") for out in outputs)
    assert any("image/png" in out.get("data", ()) for out in outputs)
    cutmix, plus = re.findall(r"label error (0\.\d+)", text)
    assert float(plus) < float(cutmix)
    assert float(re.findall(r"test error (\d+\.\d) %", text)[-1]) < 50


def test_the_mixup_class_has_timms_call() -> None:
    timm = pytest.importorskip("timm.data")
    ours = example("timm_mixup")["Mixup"]
    expected = inspect.signature(timm.Mixup).parameters
    found = inspect.signature(ours).parameters
    shared = [name for name in found if name != "method"]
    assert shared == [*expected][: len(shared)]  # newer releases of timm have more
    assert all(found[name].default == expected[name].default for name in shared)
    images, labels = torch.rand(6, 3, 8, 8), torch.arange(6)
    for options in ({"mixup_alpha": 0.0, "cutmix_alpha": 1.0}, {"mode": "elem"}, {"prob": 0.0}):
        mixed, soft = ours(**options, num_classes=10)(images, labels)
        wanted, target = timm.Mixup(**options, num_classes=10)(images.clone(), labels)
        assert (mixed.shape, soft.shape, soft.dtype) == (wanted.shape, target.shape, target.dtype)
        torch.testing.assert_close(soft.sum(1), target.sum(1))
        torch.testing.assert_close(soft.min(), target.min(), atol=1e-6, rtol=0)
    off = ours(num_classes=10)
    off.mixup_enabled = False
    assert off(images, labels)[0].equal(images)


def test_lightning_validates_on_unmixed_batches() -> None:
    found = example("lightning_callback")
    module = found["Classifier"]()
    mixing = found["Mixing"]("mixup", num_classes=10)
    trainer = type("Trainer", (), {"training": False})()
    module._trainer = trainer
    mixing.setup(trainer, module, "fit")
    batch = (torch.rand(4, 3, 16, 16), torch.arange(4))
    assert module.on_after_batch_transfer(batch, 0)[0] is batch[0]
    trainer.training = True
    images, labels = module.on_after_batch_transfer(batch, 0)
    assert labels.shape == (4, 10)
    assert not images.equal(batch[0])
    mixing.teardown(trainer, module, "fit")
    assert module.on_after_batch_transfer(batch, 0) is batch
