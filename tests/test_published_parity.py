"""Parity with the published code on recorded cases: tests/golden, or the folder GOLDEN_DIR."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.mixing.methods.saliencymix import fine_grained_of_floats

FOLDER = Path(os.environ.get("GOLDEN_DIR") or Path(__file__).parent / "golden")
CASES = sorted(FOLDER.glob("*.npz"))
TOLERANCE = {"rtol": 0.0, "atol": 1e-5}
COMMON = {"images", "labels", "lam0", "perm", "labels_a", "labels_b", "mixed", "lam"}
FURTHER = {
    "cutmix": {"centre"},
    "saliencymix": {"saliency_of_first_partner", "box"},
    "saliencymixplus": {"saliency", "loss"},
}

Case = dict[str, np.ndarray]


def read_case(path: Path) -> tuple[str, Case]:
    """The method and the arrays of a recorded case; fails with its name if it is malformed."""
    method = path.name.split("_")[0].removesuffix(".npz")
    if method not in FURTHER:
        pytest.fail(f"{path.name}: no parity check for a method called {method!r}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            case = {name: archive[name] for name in archive.files}
    except Exception as error:
        pytest.fail(f"{path.name} is no readable npz file: {error}")
    missing = (COMMON | FURTHER[method]) - set(case)
    if missing:
        pytest.fail(f"{path.name} lacks {', '.join(sorted(missing))}")
    return method, case


def tensor(case: Case, name: str) -> torch.Tensor:
    """One array as a tensor with at least one dimension."""
    return torch.from_numpy(np.atleast_1d(case[name]))


def network(case: Case) -> nn.Sequential:
    """The recorded network in the state before the step."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    state = {
        name.removeprefix("model."): torch.from_numpy(value)
        for name, value in case.items()
        if name.startswith("model.")
    }
    model.load_state_dict(state)
    return model.train()


def close(actual: torch.Tensor, recorded: np.ndarray, what: str) -> None:
    expected = torch.from_numpy(np.asarray(recorded)).to(actual.dtype)
    expected = expected.expand(actual.shape) if expected.ndim == 0 else expected
    torch.testing.assert_close(actual, expected, **TOLERANCE, msg=lambda text: f"{what}: {text}")


def same_images_and_labels(mixed: mixing.MixedBatch, case: Case) -> None:
    assert torch.equal(mixed.images, tensor(case, "mixed")), "mixed pixels differ"
    assert torch.equal(mixed.labels_a, tensor(case, "labels_a"))
    assert torch.equal(mixed.labels_b, tensor(case, "labels_b"))
    close(mixed.lam, case["lam"], "lam")


def check_cutmix(case: Case) -> None:
    draw = mixing.Draw(
        tensor(case, "perm"), tensor(case, "lam0"), centre=tensor(case, "centre")[None]
    )
    mixed = mixing.create("cutmix")(tensor(case, "images"), tensor(case, "labels"), draw=draw)
    same_images_and_labels(mixed, case)
    close(mixed.area_lam, case["lam"], "area share")


def check_saliencymix(case: Case) -> None:
    images, labels = tensor(case, "images"), tensor(case, "labels")
    unused = torch.zeros(1, 2, dtype=torch.int64)
    draw = mixing.Draw(tensor(case, "perm"), tensor(case, "lam0"), centre=unused)
    mixer = mixing.create("saliencymix", variant="published")
    recorded = torch.zeros(images.shape[0], *images.shape[2:])
    first = int(case["perm"][0])
    recorded[first] = tensor(case, "saliency_of_first_partner")
    close(fine_grained_of_floats(images[first : first + 1])[0], recorded[first].numpy(), "saliency")
    for saliency in (recorded, None):  # None: OpenCV is called, as in training
        mixed = mixer(images, labels, saliency=saliency, draw=draw)
        assert mixed.boxes is not None
        assert torch.equal(mixed.boxes, tensor(case, "box").expand_as(mixed.boxes))
        same_images_and_labels(mixed, case)


def check_saliencymixplus(case: Case) -> None:
    images, labels, perm = (tensor(case, name) for name in ("images", "labels", "perm"))
    half = images.shape[0] // 2
    unused = torch.zeros(1, 2, dtype=torch.int64)
    draw = mixing.Draw(perm + half, tensor(case, "lam0"), centre=unused)
    model = network(case)
    mixer = mixing.create("saliencymixplus", variant="published")
    step = mixing.backward(model, mixer, images, labels, draw=draw)
    assert step.mixed is not None
    assert step.mixed.saliency is not None
    close(step.mixed.saliency, case["saliency"], "saliency")
    same_images_and_labels(step.mixed, case)
    close(step.loss, case["loss"], "loss")
    gradients = {name: value.grad for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())
    assert {f"grad.{name}" for name in gradients} == {n for n in case if n.startswith("grad.")}
    assert {f"after.{name}" for name in buffers} == {n for n in case if n.startswith("after.")}
    for name, gradient in gradients.items():
        assert gradient is not None, f"{name} has no gradient"
        close(gradient, case[f"grad.{name}"], f"gradient of {name}")
    for name, buffer in buffers.items():
        close(buffer, case[f"after.{name}"], f"buffer {name}")


CHECKS = {
    "cutmix": check_cutmix,
    "saliencymix": check_saliencymix,
    "saliencymixplus": check_saliencymixplus,
}


def test_there_are_cases() -> None:
    assert CASES, f"no *.npz files in {FOLDER}: GOLDEN_DIR must name a folder of recorded cases"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_published_results(path: Path) -> None:
    method, case = read_case(path)
    CHECKS[method](case)
