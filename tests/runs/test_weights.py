"""Weights in a run folder: only intact, finite weights of this training are used."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from saliencymixplus.errors import UserError
from saliencymixplus.files import sha256_of
from saliencymixplus.runs.read import load_run


def changed(change: Callable[[Tensor], Tensor]) -> Callable[[Path], None]:
    """Save the weights again with every floating-point tensor changed."""

    def apply(path: Path) -> None:
        state = load_file(path)
        save_file({k: change(v) if v.is_floating_point() else v for k, v in state.items()}, path)

    return apply


def with_nan(tensor: Tensor) -> Tensor:
    return torch.where(torch.arange(tensor.numel()).view(tensor.shape) == 0, torch.nan, tensor)


def described(path: Path, **content: str) -> None:
    """Write the JSON file beside the weights."""
    run = json.loads((path.parents[1] / "settings.json").read_text())
    about = {"digest": run["digest"], "sha256": sha256_of(path)} | content
    path.with_suffix(".json").write_text(json.dumps(about))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is damaged or of another model"),
    "a pipe": (pipe, "has no weights 'last': train it again"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "has no weights 'last'"),
    "8-bit integers": (changed(lambda t: t.to(torch.int8)), "is torch.int8, not torch.float32"),
    "complex": (changed(lambda t: t.to(torch.complex64)), "is torch.complex64"),
    "double": (changed(lambda t: t.double()), "is torch.float64"),
    "twice as wide": (changed(lambda t: t.repeat(2, *[1] * (t.dim() - 1))), "size mismatch"),
    "not a number": (changed(with_nan), "are not finite: the training diverged"),
    "of another training": (
        lambda path: described(path, digest="0" * 16),
        "last.json: these weights are of another training",
    ),
    "replaced": (
        lambda path: (described(path), changed(torch.neg)(path)),
        "last.safetensors is damaged or was replaced (it has another SHA-256)",
    ),
    "described by nothing": (
        lambda path: path.with_suffix(".json").write_text("[]"),
        "last.json is damaged or of another version (Input should be",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_other_weights_are_refused(case: str, run_dir: Path) -> None:
    damage, culprit = BAD[case]
    damage(run_dir / "weights" / "last.safetensors")
    run = load_run(run_dir)
    with pytest.raises(UserError) as caught:
        run.model()
    assert culprit in str(caught.value)
    assert str(run_dir) in str(caught.value)


def test_weights_with_their_description_are_used(run_dir: Path) -> None:
    described(run_dir / "weights" / "last.safetensors")
    assert load_run(run_dir).model().training is False
