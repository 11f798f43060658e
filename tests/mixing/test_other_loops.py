"""Mixers in other training loops: pickling, workers, dtypes, outputs, and clear errors."""

import subprocess
import sys
import warnings
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from saliencymixplus import mixing
from saliencymixplus.mixing.checks import class_indices
from saliencymixplus.mixing.draws import Draw
from tests.mixing.loops import Network, batch, given, seeded


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        ("picture", torch.arange(2), "images must be a tensor .* not str"),
        (None, torch.arange(2), "not NoneType"),
        ([torch.zeros(3, 8, 8)], torch.arange(1), "not list"),
        (torch.zeros(2, 3, 0, 4), torch.arange(2), "empty dimension"),
        (torch.zeros(2, 3, 4, 0), torch.arange(2), "empty dimension"),
        (torch.zeros(0, 3, 4, 4), torch.arange(0), "empty dimension"),
        (torch.zeros(3, 4, 4), torch.arange(3), r"must be \(B, C, H, W\)"),
        (torch.zeros(2, 3, 4, 4), "label", "labels must be a tensor, not str"),
        (torch.zeros(2, 3, 4, 4), None, "not NoneType"),
        (torch.zeros(2, 3, 4, 4), torch.rand(2), "must be integers, not torch.float32"),
        (torch.zeros(2, 3, 4, 4), torch.arange(3), "do not fit"),
    ],
)
def test_wrong_batches_are_refused(images: Any, labels: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mixing.create("cutmix")(images, labels)


@pytest.mark.parametrize("method", ["none", "cutmix", "comixup", "saliencymixplus"])
@pytest.mark.parametrize("wrong", [5, 7, -2, -100])  # -100: torch's ignore_index
def test_a_class_that_does_not_exist_is_named(method: str, wrong: int) -> None:
    mixer, network = mixing.create(method), Network()
    images, _ = batch()
    labels = torch.full((len(images),), 2)
    labels[1] = wrong  # 5 classes
    message = f"class {wrong}, but there are 5 classes: .* from 0 to 4"
    for loss in ("ce", "bce"):
        with pytest.raises(ValueError, match=message):
            mixing.backward(network, mixer, images, labels, criterion=mixing.Criterion(loss))
    mixed = seeded(mixer, images, labels, **given(mixer))
    for use in (lambda: mixed.loss(network(mixed.images)), lambda: mixed.soft_labels(5)):
        with pytest.raises(ValueError, match=message):
            use()


def test_another_failure_of_the_loss_is_not_blamed_on_the_labels() -> None:
    with pytest.raises(RuntimeError, match="another"), class_indices(torch.arange(5), 5):
        raise RuntimeError("another failure")


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int16])
def test_class_indices_of_any_integer_type_give_a_loss(dtype: torch.dtype) -> None:
    images, labels = batch()
    mixed = seeded(mixing.create("cutmix"), images, labels.to(dtype))
    expected = seeded(mixing.create("cutmix"), images, labels)
    logits = Network()(images)
    assert mixed.loss(logits).equal(expected.loss(logits))
    assert mixed.soft_labels(5).equal(expected.soft_labels(5))
    steps = []
    for given_labels in (labels, labels.to(dtype)):
        generator = torch.Generator().manual_seed(3)
        mixer = mixing.create("saliencymixplus-published")
        steps.append(mixing.backward(Network(), mixer, images, given_labels, generator=generator))
    assert steps[0].loss.equal(steps[1].loss)


@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", mixing.METHODS)
def test_the_default_dtype_changes_nothing(method: str, default: torch.dtype) -> None:
    mixer = mixing.create(method)
    images, labels = batch()
    expected = seeded(mixer, images, labels, **given(mixer))
    maps = given(mixer)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        mixed = seeded(mixer, images, labels, **maps)
    finally:
        torch.set_default_dtype(before)
    for name in ("images", "lam", "area_lam", "mask", "index_b"):
        found, wanted = getattr(mixed, name), getattr(expected, name)
        assert (found is None and wanted is None) or found.equal(wanted), name
        assert wanted is None or found.dtype == wanted.dtype, name


def test_mixup_weighs_float64_images_exactly() -> None:
    images = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    lam, index = torch.tensor([0.1], dtype=torch.float64), torch.arange(4).roll(1)
    mixed = mixing.create("mixup")(images, torch.arange(4), draw=Draw(index, lam))
    expected = lam * images + (1 - lam) * images[index]
    torch.testing.assert_close(mixed.images, expected, rtol=0, atol=1e-15)


OUTPUTS = [
    lambda logits: (logits, None),
    lambda logits: [logits],
    lambda logits: {"logits": logits, "aux": None},
    lambda logits: OrderedDict(loss=None, logits=logits),
    lambda logits: SimpleNamespace(logits=logits, aux_logits=None),
]


@pytest.mark.parametrize("wrap", OUTPUTS)
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_logits_are_found_in_what_a_network_returns(wrap: Any, variant: str) -> None:
    images, labels = batch()
    losses = []
    for network in (Network(wrap), Network()):
        mixer = mixing.create("saliencymixplus", variant=variant)
        generator = torch.Generator().manual_seed(3)
        step = mixing.backward(network, mixer, images, labels, generator=generator)
        assert network.layers[1].weight.grad is not None
        mixed = seeded(mixer, images, labels, model=network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            losses.append((step.loss, mixed.loss(network(mixed.images)).detach()))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("wrap", [lambda logits: {"scores": logits}, lambda logits: None])
def test_an_output_without_logits_is_refused(wrap: Any) -> None:
    with pytest.raises(ValueError, match="the network returns"):
        mixing.create("saliencymixplus")(*batch(), model=Network(wrap))


class Constant(nn.Module):
    """Logits that do not depend on the images."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(5))

    def forward(self, images: Tensor) -> Tensor:
        return self.bias.expand(len(images), 5)


@pytest.mark.parametrize("network", [Constant(), Network(Tensor.detach)])
@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_network_without_a_path_from_its_input_is_refused(network: Any, variant: str) -> None:
    mixer = mixing.create("saliencymixplus", variant=variant)
    with pytest.raises(ValueError, match="does not depend differentiably on the images"):
        mixing.backward(network, mixer, *batch())


def test_a_whole_step_leaves_nothing_out() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixing.backward(Network(), mixing.create("saliencymixplus-published"), *batch())
        mixed = mixing.create("cutmix")(*batch())
        mixed.loss(Network()(mixed.images))


def test_the_mixers_need_torch_and_nothing_else() -> None:
    heavy = (
        "numpy cv2 torchvision PIL sklearn scipy matplotlib pydantic typer rich ruamel mlflow dvc"
    )
    code = f"""
import sys
sys.modules.update(dict.fromkeys({heavy.split()!r}))  # None: importing it raises
import torch
from saliencymixplus import mixing
assert len(mixing.METHODS) >= 10
mixed = mixing.create("cutmix")(torch.rand(4, 3, 8, 8), torch.arange(4))
mixed.loss(torch.rand(4, 4))
try:
    mixing.create("saliencymix-published")(torch.rand(4, 3, 8, 8), torch.arange(4))
except ImportError as error:
    assert "OpenCV" in str(error), error
else:
    raise AssertionError("OpenCV was found")
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_the_installed_command_says_what_it_needs() -> None:
    code = "import sys; sys.modules['typer'] = None; import saliencymixplus.__main__ as m; m.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'saliencymixplus[train]'" in done.stderr
    assert "Traceback" not in done.stderr
