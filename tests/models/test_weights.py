"""Initial weights from a file: loaded, adapted, ignored and refused tensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saliencymixplus.errors import UserError
from saliencymixplus.models import create_model
from saliencymixplus.models.weights import (
    fingerprint,
    load_into,
    read_weights,
    start_from,
)


@pytest.fixture(params=["safetensors", "pth"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[nn.Module, Path]:
    """A network of 10 classes and the file of its weights."""
    torch.manual_seed(1)
    model = create_model("resnet8", 10, 16)
    path = tmp_path / f"weights.{request.param}"
    if request.param == "pth":
        torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, path)
    else:
        save_file(model.state_dict(), path)
    return model, path


def test_all_tensors_but_the_head_are_taken(kept: tuple[nn.Module, Path]) -> None:
    given, path = kept
    torch.manual_seed(2)
    model = create_model("resnet8", 7, 16)
    head = model.fc.weight.clone()
    loaded = start_from(model, "resnet8", str(path), 7)
    assert loaded.new_head == ("fc.weight", "fc.bias")
    assert torch.equal(model.fc.weight, head)
    assert torch.equal(model.layer3[0].conv1.weight, given.layer3[0].conv1.weight)
    assert "new for these classes: fc.weight, fc.bias" in str(loaded)


def test_a_replaced_head_can_start_at_zero(kept: tuple[nn.Module, Path]) -> None:
    given, path = kept
    model = create_model("resnet8", 7, 16)
    start_from(model, "resnet8", str(path), 7, zero_head=True)
    assert not model.fc.weight.any()
    assert not model.fc.bias.any()
    assert torch.equal(model.conv1.weight, given.conv1.weight)
    same = create_model("resnet8", 10, 16)  # whose head is loaded, not replaced
    start_from(same, "resnet8", str(path), 10, zero_head=True)
    assert torch.equal(same.fc.weight, given.fc.weight)


def test_a_head_for_as_many_classes_is_kept(kept: tuple[nn.Module, Path]) -> None:
    given, path = kept
    model = create_model("resnet8", 10, 16)
    assert start_from(model, "resnet8", str(path), 10).new_head == ()
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(model.eval()(images), given.eval()(images))


def test_nothing_starts_at_random_in_silence(kept: tuple[nn.Module, Path]) -> None:
    given, path = kept
    with pytest.raises(UserError, match=r"missing: layer1\.1\.conv1\.weight.* and \d+ more"):
        start_from(create_model("resnet20", 10, 16), "resnet20", str(path), 10)
    fewer = {k: v for k, v in given.state_dict().items() if not k.startswith("bn1")}
    with pytest.raises(UserError, match=r"missing: bn1\.weight, bn1\.bias, bn1\.running_mean"):
        load_into(create_model("resnet8", 10, 16), fewer, 10, "a file")
    narrow = given.state_dict() | {"conv1.weight": torch.zeros(16, 1, 3, 3)}
    with pytest.raises(UserError, match=r"other shapes: conv1\.weight \(16, 1, 3, 3\)"):
        load_into(create_model("resnet8", 10, 16), narrow, 10, "a file")


def test_tensors_that_the_network_lacks_are_named(kept: tuple[nn.Module, Path]) -> None:
    more = kept[0].state_dict() | {"aux.weight": torch.zeros(2)}
    loaded = load_into(create_model("resnet8", 10, 16), more, 10, "a file")
    assert str(loaded).endswith("left out: aux.weight")


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code of the file ran",))


def test_bad_files_are_refused_and_run_no_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"weight": Runs()}, tmp_path / "code.pth")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, words in {
        "code.pth": "cannot be read as weights",
        "empty.safetensors": "cannot be read as weights",
        "list.pth": "is not a state dict",
        "none.pth": "does not exist",
    }.items():
        with pytest.raises(UserError, match=words):
            read_weights(tmp_path / name)
    assert "code of the file ran" not in capsys.readouterr().out


def test_a_digest_depends_on_the_content_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"one")
    (tmp_path / "b.pth").write_bytes(b"one")
    first, second = (fingerprint(str(tmp_path / name)) for name in ("a.pth", "b.pth"))
    assert first == second != "pretrained"
    (tmp_path / "b.pth").write_bytes(b"two")
    assert fingerprint(str(tmp_path / "b.pth")) != first
