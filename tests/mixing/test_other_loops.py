"""The mixers in other people's loops: pickling, workers, dtypes, outputs, and clear refusals."""

import copy
import pickle
import subprocess
import sys
import warnings
from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from saliencymixplus import mixing
from saliencymixplus.mixing.draws import Draw
from tests.helpers import maps_for

METHODS = [name for name in mixing.METHODS if name != "none"]


class Network(nn.Module):
    """Logits in whatever ``wrap`` makes of them."""

    def __init__(self, wrap: Any = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
        self.wrap = wrap

    def forward(self, images: Tensor) -> Any:
        logits = self.layers(images)
        return self.wrap(logits) if self.wrap else logits


def batch(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, 8, 8, generator=generator), torch.arange(count) % 5


def given(mixer: mixing.Mixer, count: int = 6) -> dict[str, Any]:
    """Maps and masks where the mixer needs them."""
    return maps_for(mixer, torch.rand(count, 8, 8, generator=torch.Generator().manual_seed(2)))


def seeded(mixer: mixing.Mixer, *arguments: Any, **more: Any) -> mixing.MixedBatch:
    return mixer(*arguments, generator=torch.Generator().manual_seed(3), **more)


def pickled(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))  # noqa: S301


@pytest.mark.parametrize("method", mixing.METHODS)
@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_mixers_and_batches_pickle(method: str, copied: Any) -> None:
    mixer = mixing.create(method)
    other = copied(mixer)
    assert (other.method, other.options, repr(other)) == (method, mixer.options, repr(mixer))
    mixed = seeded(mixer, *batch(), **given(mixer))
    again = seeded(other, *batch(), **given(mixer))
    assert again.images.equal(mixed.images)
    assert copied(mixed).lam.equal(mixed.lam)
    if not mixer.needs_model:
        assert copied(mixing.collate(mixer)).mixer.options == mixer.options


def test_a_compiled_mixer_pickles_and_is_compiled_again() -> None:
    torch._dynamo.reset()  # what other tests compiled counts towards its limit
    mixer = mixing.create("cutmix").compiled(backend="eager")
    other = pickled(mixer)
    assert other._how == {"backend": "eager"}
    assert seeded(other, *batch()).images.equal(seeded(mixer, *batch()).images)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "forkserver", "spawn"])
def test_workers_mix_however_they_are_started(start: str) -> None:
    data = TensorDataset(*batch(16))
    collate = mixing.collate(mixing.create("cutmix", box="sample"))
    loader = DataLoader(data, 8, collate_fn=collate, num_workers=2, multiprocessing_context=start)
    mixed = list(loader)
    assert len(mixed) == 2
    assert not mixed[0].lam.equal(mixed[1].lam)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_draw_apart_from_each_other_and_every_epoch(persistent: bool) -> None:
    data = TensorDataset(*batch(16))

    def epochs() -> list[list[float]]:
        collate = mixing.collate(mixing.create("mixup"), generator=torch.Generator().manual_seed(0))
        loader = DataLoader(
            data,
            4,
            collate_fn=collate,
            num_workers=2,
            multiprocessing_context="fork",
            persistent_workers=persistent,
            generator=torch.Generator().manual_seed(5),
        )
        return [[mixed.lam[0].item() for mixed in loader] for _ in range(2)]

    first = epochs()
    assert len({lam for epoch in first for lam in epoch}) == 8
    assert epochs() == first  # both generators are seeded


def test_without_workers_the_generator_itself_is_used() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = list(zip(*batch(), strict=True))
    collate = mixing.collate(mixing.create("mixup"), generator=generator)
    found = [collate(samples).lam[0].item() for _ in range(2)]
    generator.manual_seed(0)
    assert found == [
        mixing.create("mixup")(*batch(), generator=generator).lam[0].item() for _ in range(2)
    ]


@pytest.mark.parametrize("keys", [("pixel_values", "labels"), ("image", "label")])
def test_dict_samples_are_collated(keys: tuple[str, str]) -> None:
    images, labels = batch()
    samples = [dict(zip(keys, pair, strict=True)) for pair in zip(images, labels, strict=True)]
    generator = torch.Generator().manual_seed(3)
    mixed = mixing.collate(mixing.create("cutmix"), generator=generator)(samples)
    assert mixed.images.equal(seeded(mixing.create("cutmix"), images, labels).images)


def test_maps_of_dict_samples_reach_the_mixer() -> None:
    mixer = mixing.create("saliencymix")
    images, labels = batch()
    maps = given(mixer)["saliency"]
    samples = [
        {"pixel_values": x, "labels": y, "saliency": s}
        for x, y, s in zip(images, labels, maps, strict=True)
    ]
    mixed = mixing.collate(mixer)(samples)
    assert mixed.saliency is not None
    assert mixed.saliency.equal(maps)


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ([], "no samples"),
        ([(torch.zeros(3, 8, 8), "cat")] * 2, "labels must be a tensor, not list"),
        ([(torch.zeros(3, 8, 8), None)] * 2, r"labels of a batch \(NoneType\) cannot be stacked"),
        ([(object(), 0)] * 2, r"images of a batch \(object\) cannot be stacked"),
        ([(torch.zeros(3, 8, 8), 0), (torch.zeros(3, 9, 9), 0)], "cannot be stacked"),
        ([(torch.zeros(3, 8, 8), 0, 17)] * 2, r"saliency must be \(2, 8, 8\), not \(2,\)"),
        ([(torch.zeros(3, 8, 8), 0, "a.png")] * 2, "saliency must be a tensor"),
        ([(torch.zeros(3, 8, 8), 0, 1, 2)] * 2, "samples must be"),
        ([torch.zeros(3, 8, 8)] * 2, "samples must be"),
        ([{"pixel_values": torch.zeros(3, 8, 8)}] * 2, "samples lack their labels"),
        ([{"image": torch.zeros(3, 8, 8), "label": 0, "file": "a"}] * 2, "'file'"),
    ],
)
def test_samples_that_cannot_be_mixed_are_refused(samples: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        mixing.collate(mixing.create("cutmix"))(samples)


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


def functional_loss(method: str, maps: dict[str, Tensor]) -> Tensor:
    """The gradient of the weights, by ``torch.func.grad`` of a mixed loss."""
    network, (images, labels) = Network(), batch()

    def loss(weights: dict[str, Tensor]) -> Tensor:
        mixed = seeded(mixing.create(method), images, labels, model=network, **maps)
        return mixed.loss(torch.func.functional_call(network, weights, (mixed.images,)))

    weights = {name: weight.detach() for name, weight in network.named_parameters()}
    return torch.func.grad(loss)(weights)["layers.1.weight"]


@pytest.mark.parametrize("method", ["cutmix", "mixup", "saliencymixplus"])
def test_mixing_inside_a_functional_gradient(method: str) -> None:
    images, labels = batch()
    maps = given(mixing.create(method))
    network = Network()
    mixed = seeded(mixing.create(method), images, labels, **maps)
    mixed.loss(network(mixed.images)).backward()
    assert network.layers[1].weight.grad is not None
    torch.testing.assert_close(functional_loss(method, maps), network.layers[1].weight.grad)


def test_a_saliency_pass_inside_a_functional_gradient_is_refused() -> None:
    with pytest.raises(ValueError, match=r"inside torch\.func\.grad .* pass saliency="):
        functional_loss("saliencymixplus", {})


@pytest.mark.parametrize("method", METHODS)
def test_gradients_flow_through_mixed_images_if_asked(method: str) -> None:
    mixer = mixing.create(method)
    images, labels = batch()
    images.requires_grad_()
    extra = given(mixer)
    assert not seeded(mixer, images, labels, **extra).images.requires_grad
    mixed = seeded(mixer, images, labels, differentiable=True, **extra)
    mixed.images.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert mixed.images.detach().equal(seeded(mixer, images, labels, **extra).images)


def test_gradients_of_a_pasted_box_are_where_the_pixels_come_from() -> None:
    images, labels = batch()
    images.requires_grad_()
    mixed = seeded(mixing.create("cutmix"), images, labels, differentiable=True)
    mixed.images.sum().backward()
    assert mixed.mask is not None
    kept, taken = 1 - mixed.mask, torch.zeros_like(mixed.mask)
    taken[mixed.index_b] = mixed.mask
    torch.testing.assert_close(images.grad, (kept + taken).expand_as(images))


def test_a_clean_gradient_that_is_left_out_is_said_once_where_the_loss_is_taken() -> None:
    images, labels = batch()
    network, mixer = Network(), mixing.create("saliencymixplus-published")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            mixed = mixer(images, labels, model=network)
            mixed.loss(network(mixed.images)).backward()
    (warning,) = caught
    assert "clean_gradient: 1 is left out of this loss" in str(warning.message)
    assert warning.filename == __file__


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
