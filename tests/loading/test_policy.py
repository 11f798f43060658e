"""RandAugment, TrivialAugment and AutoAugment against torchvision, image by image."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.loading.augment import Augmentation
from saliencymixplus.loading.batches import DeviceData
from saliencymixplus.loading.policy import OPS, OpDraws, Policy
from saliencymixplus.loading.policy_ops import apply_policy
from tests.helpers import write_rectangles

CPU = torch.device("cpu")
NAMES = (
    *("randaugment", "trivialaugment"),
    *("autoaugment-cifar10", "autoaugment-imagenet", "autoaugment-svhn"),
)


def pictures(count: int, height: int = 24, width: int = 20) -> Tensor:
    """Smooth and noisy images, as equalising and sharpening treat them differently."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.integers(0, 256, (count, 3, 4, 4))).float()
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noise = torch.from_numpy(rng.normal(0, 20, smooth.shape)).float()
    noise[::2] = 0
    return (smooth + noise).clamp(0, 255).byte()


def by_torchvision(image: Tensor, name: str, magnitude: float) -> Tensor:
    apply = v2.RandAugment()._apply_image_or_video_transform
    return apply(image, name, magnitude, v2.InterpolationMode.NEAREST, {})


def strengths_of(name: str) -> list[float]:
    """Every strength that any policy has for an operation, with both signs where it has them."""
    found = {0.0}
    for transform, bins in (
        (v2.RandAugment, 31),
        (v2.TrivialAugmentWide, 31),
        (v2.AutoAugment, 10),
    ):
        strengths, signed = transform._AUGMENTATION_SPACE.get(name, (lambda *size: None, False))
        values = strengths(bins, 24, 20)
        if values is not None:
            found |= {sign * float(v) for v in values for sign in ((1, -1) if signed else (1,))}
    return sorted(found - {0.0} if name == "Posterize" else found)


@pytest.mark.parametrize("name", OPS)
def test_each_operation_is_torchvisions(name: str) -> None:
    strengths = strengths_of(name)
    images = pictures(len(strengths))
    draws = OpDraws(
        torch.full((len(strengths), 1), OPS.index(name)), torch.tensor(strengths)[:, None]
    )
    found, _ = apply_policy(images, (), draws)
    expected = torch.stack(
        [by_torchvision(image, name, m) for image, m in zip(images, strengths, strict=True)]
    )
    different = found != expected
    if name in ("Brightness", "Color", "Contrast", "Sharpness"):
        # Blends are cut off to whole numbers: a rounding error may cross one.
        assert (found.int() - expected.int()).abs().max() <= 1
        assert different.float().mean() < 0.002
    elif name in ("Rotate", "ShearX", "ShearY"):
        assert different.float().mean() < 0.002  # a pixel half-way between two
    else:
        assert not different.any()


def test_operations_follow_each_other_and_each_image_has_its_own() -> None:
    images = pictures(3)
    names = [("Invert", "Rotate"), ("Posterize", "Invert"), ("TranslateX", "Equalize")]
    strengths = [(0.0, 90.0), (3.0, 0.0), (-5.6, 0.0)]
    square = images[:, :, :20]
    found, _ = apply_policy(
        square,
        (),
        OpDraws(
            torch.tensor([[OPS.index(name) for name in pair] for pair in names]),
            torch.tensor(strengths),
        ),
    )
    for image, pair, values, one in zip(square, names, strengths, found, strict=True):
        for name, value in zip(pair, values, strict=True):
            image = by_torchvision(image, name, value)
        assert torch.equal(one, image), pair


def test_randaugment_draws_as_torchvision() -> None:
    draws = Policy("randaugment", (32, 40), ops=3, magnitude=12).draw(
        4000, torch.Generator().manual_seed(0), CPU
    )
    assert draws.op.shape == draws.magnitude.shape == (4000, 3)
    space = v2.RandAugment._AUGMENTATION_SPACE
    counts = Counter(draws.op.flatten().tolist())
    assert {OPS[op] for op in counts} == {*space}
    for count in counts.values():
        assert count == pytest.approx(12_000 / 14, abs=5 * (12_000 / 14) ** 0.5)
    for name, (strengths, signed) in space.items():
        values = draws.magnitude[draws.op == OPS.index(name)]
        found = strengths(31, 32, 40)
        expected = 0.0 if found is None else float(found[12])
        assert sorted(values.unique().tolist()) == pytest.approx(
            sorted({-expected, expected} if signed else {expected})
        )
        if signed:
            assert (values < 0).float().mean().item() == pytest.approx(0.5, abs=0.09)


def test_trivialaugment_draws_every_strength() -> None:
    draws = Policy("trivialaugment", (32, 32)).draw(20_000, torch.Generator().manual_seed(0), CPU)
    assert draws.op.shape == (20_000, 1)
    for name, (strengths, signed) in v2.TrivialAugmentWide._AUGMENTATION_SPACE.items():
        found = strengths(31, 32, 32)
        expected = {0.0} if found is None else {float(value) for value in found}
        expected |= {-value for value in expected} if signed else set()
        assert {*draws.magnitude[draws.op == OPS.index(name)].tolist()} == expected


@pytest.mark.parametrize("data", ["cifar10", "imagenet", "svhn"])
def test_autoaugment_draws_its_sub_policies(data: str) -> None:
    count = 20_000
    draws = Policy(f"autoaugment-{data}", (32, 32)).draw(
        count, torch.Generator().manual_seed(0), CPU
    )
    expected: Counter[tuple[str, str]] = Counter()
    for (a, p, _), (b, q, _) in v2.AutoAugment(v2.AutoAugmentPolicy(data))._policies:
        for one, chance in ((a, p), ("Identity", 1 - p)):
            for two, other in ((b, q), ("Identity", 1 - q)):
                expected[one, two] += count / 25 * chance * other
    found = Counter((OPS[one], OPS[two]) for one, two in draws.op.tolist())
    assert {*found} <= {*(pair for pair, number in expected.items() if number > 0)}
    for pair, number in expected.items():
        assert found[pair] == pytest.approx(number, abs=6 * number**0.5 + 1), pair
    space = v2.AutoAugment._AUGMENTATION_SPACE
    allowed = {
        (name, round(abs(float(space[name][0](10, 32, 32)[index])), 4))
        for pair in v2.AutoAugment(v2.AutoAugmentPolicy(data))._policies
        for name, _, index in pair
        if index is not None
    }
    for op, name in enumerate(OPS):
        if name in {name for name, _ in allowed}:
            strengths = draws.magnitude[draws.op == op].abs().unique().tolist()
            assert {(name, round(strength, 4)) for strength in strengths} <= allowed


@pytest.mark.parametrize("name", NAMES)
def test_maps_and_masks_move_with_their_images(tmp_path: Path, name: str) -> None:
    split = load_prepared(write_rectangles(tmp_path / "data")).split("train")
    marks = (np.asarray(split.masks) == 1).astype(np.uint8)
    split = replace(split, masks=marks, saliency=marks * 255)
    how = Augmentation(
        "crop-flip", (12, 12), (12, 12), 2, reflect=True, policy=Policy(name, (12, 12))
    )
    data = DeviceData(split, how, (0.0,) * 3, (1.0,) * 3, CPU, saliency=True, masks=True)
    (inputs,) = data.inputs([torch.arange(24)])
    draws = how.draw(24, torch.Generator().manual_seed(1), CPU)
    batch = data.assemble(inputs, draws)
    assert batch.saliency is not None
    assert batch.masks is not None
    assert torch.equal(batch.masks, (batch.saliency >= 0.5).byte())
    # An image that shows its mask moves like it.
    shown = replace(split, images=np.repeat(marks[..., None] * 255, 3, axis=3))
    geometric = torch.isin(draws.ops.op, torch.tensor([OPS.index(n) for n in OPS[:6]])).all(1)
    data = DeviceData(shown, how, (0.0,) * 3, (1.0,) * 3, CPU)
    images = data.assemble(inputs, draws).images[:, 0]
    assert geometric.any()
    assert torch.equal(images[geometric], batch.masks[geometric].float())


@pytest.mark.parametrize("kind", ["crop-flip", "resized-crop-flip"])
def test_a_batch_is_cut_then_changed_then_normalised(tiny: Path, kind: str) -> None:
    split = load_prepared(tiny).split("train")
    policy = Policy("randaugment", (6, 6), magnitude=20)
    how = Augmentation(kind, (8, 8), (6, 6), 1 if kind == "crop-flip" else 0, policy=policy)
    data = DeviceData(split, how, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), CPU)
    (inputs,) = data.inputs([torch.arange(12)])
    draws = how.draw(12, torch.Generator().manual_seed(1), CPU)
    bytes_ = DeviceData(split, replace(how, policy=None), (0.0,) * 3, (1 / 255,) * 3, CPU)
    crops = bytes_.assemble(inputs, replace(draws, ops=None)).images
    changed, _ = apply_policy(crops.round().byte(), (), draws.ops)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)))
    expected = (changed.float() / 255 - mean) / std
    torch.testing.assert_close(data.assemble(inputs, draws).images, expected, atol=1e-5, rtol=0)


def test_each_process_takes_its_part_of_the_draws() -> None:
    how = Augmentation("flip", (8, 8), (8, 8), policy=Policy("trivialaugment", (8, 8)))
    draws = how.draw(8, torch.Generator().manual_seed(0), CPU)
    part = draws.part(2, 6)
    assert torch.equal(part.ops.op, draws.ops.op[2:6])
    assert torch.equal(part.boxes.flip, draws.boxes.flip[2:6])
    assert part.erased is None


def test_strengths_of_randaugment_are_normally_distributed() -> None:
    cpu = torch.device("cpu")
    same = Policy("randaugment", (32, 32), ops=1, magnitude=27)
    varied = Policy("randaugment", (32, 32), ops=1, magnitude=27, std=1.5)
    one, other = (
        policy.draw(20_000, torch.Generator().manual_seed(0), cpu) for policy in (same, varied)
    )
    assert torch.equal(one.op, other.op)
    rotated = other.op[:, 0] == OPS.index("Rotate")
    degrees = other.magnitude[rotated].abs()  # one in 30 is 1 degree
    assert one.magnitude[rotated].abs().unique().tolist() == [27.0]
    assert degrees.max() == 30
    # Rounding and the end of the range change mean and deviation a little.
    assert degrees.mean() == pytest.approx(27, abs=0.15)
    assert degrees.std() == pytest.approx(1.5, abs=0.15)
