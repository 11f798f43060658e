"""From uint8 pixels to network input, against torchvision."""

import torch
from torchvision.transforms.functional import to_tensor
from torchvision.transforms.v2 import functional as tv

from saliencymixplus.loading.pixels import ByteNormalization, fit, normalize, per_channel, to_unit

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
PIXELS = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(2, 8, 16, 3)


def test_bytes_become_torchvisions_floats() -> None:
    expected = torch.stack([to_tensor(image.numpy()) for image in PIXELS])
    assert torch.equal(to_unit(PIXELS), expected)
    assert torch.equal(to_unit(PIXELS[..., 0]), to_unit(PIXELS)[:, 0])  # maps (B, H, W)


def test_both_ways_normalise_as_torchvision() -> None:
    unit = to_unit(PIXELS)
    expected = tv.normalize(unit, list(MEAN), list(STD))
    assert torch.equal(normalize(unit, per_channel(MEAN), per_channel(STD)), expected)
    found = ByteNormalization(MEAN, STD, torch.device("cpu"))(PIXELS.permute(0, 3, 1, 2).float())
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_images_are_resized_only_if_they_have_another_size() -> None:
    images = to_unit(PIXELS)
    assert fit(images, (8, 16)) is images
    expected = tv.resize(images, [5, 20], antialias=True)
    torch.testing.assert_close(fit(images, (5, 20)), expected, atol=2e-5, rtol=0)
