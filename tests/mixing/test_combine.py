"""On the CPU, images are combined by slices and in chunks, bit for bit like all at once."""

from typing import Any

import pytest
import torch

from saliencymixplus import mixing
from saliencymixplus.mixing import combine

# Batches of one part, of several with a smaller last one, and of images large enough for slices.
SHAPES = [(1, 3, 8, 8), (5, 3, 32, 24), (7, 1, 17, 16), (70, 3, 32, 32), (6, 3, 70, 65)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("cutmix", {}),
        ("cutmix", {"box": "sample"}),
        ("cutmix", {"box": "sample", "pairs": "half"}),
        ("mixup", {}),
        ("mixup", {"lam0": "sample"}),
        ("gridmix", {"mask": "sample"}),
        ("smoothmix", {"mask": "sample"}),
        ("resizemix", {}),
        ("resizemix", {"smallest": 0.01, "largest": 0.02}),
        ("resizemix", {"smallest": 1.0, "largest": 1.0}),
    ],
)
def test_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, method: str, options: dict[str, Any]
) -> None:
    mixer = mixing.create(method, **options)
    generator = torch.Generator().manual_seed(1)
    for layout in (torch.contiguous_format, torch.channels_last):
        for shape in SHAPES:
            images = (255 * torch.rand(shape, generator=generator)).to(dtype)
            images = images.contiguous(memory_format=layout)
            before, labels = images.clone(), torch.arange(len(images))
            draw = mixer.draw(*shape[:1], *shape[2:], generator=generator)
            found = []
            for device in ("cpu", "none"):
                monkeypatch.setattr(combine, "IN_PARTS", device)
                found.append(mixer(images, labels, draw=draw))
            assert torch.equal(found[0].images, found[1].images)
            assert found[0].images.stride() == found[1].images.stride()
            assert torch.equal(images, before)


def test_recorded_gradients_take_the_way_that_has_them() -> None:
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    for method in ("cutmix", "mixup", "resizemix"):
        mixed = mixing.create(method)(images, torch.arange(4), differentiable=True)
        mixed.images.sum().backward()
    assert images.grad is not None
    assert not mixing.create("mixup")(images, torch.arange(4)).images.requires_grad
