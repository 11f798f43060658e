"""Boxes, masks and labels for inputs with only one right answer."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.mixing import positions
from saliencymixplus.mixing.boxes import BoxSize, box_around
from saliencymixplus.mixing.maps import scaled_to_peak
from tests.helpers import maps_for

NOWHERE = torch.full((1, 2), -1)


def spot(row: int, column: int, height: int = 9, width: int = 12) -> torch.Tensor:
    """One map (1, H, W) with a single salient pixel."""
    saliency = torch.zeros(1, height, width)
    saliency[0, row, column] = 2.0
    return saliency


@pytest.mark.parametrize("size", ["exact", "halves"])
@pytest.mark.parametrize("place", [(0, 0), (0, 11), (8, 0), (8, 11), (4, 6)])
@pytest.mark.parametrize("sides", [(1, 1), (4, 5), (5, 4), (8, 12)])
def test_the_heaviest_window_is_whole_and_holds_the_spot(
    sides: tuple[int, int], place: tuple[int, int], size: BoxSize
) -> None:
    maps = scaled_to_peak(spot(*place))
    centre = positions.heaviest(maps, torch.tensor([sides]), size, NOWHERE)
    ((r0, c0, r1, c1),) = box_around(centre, torch.tensor([sides]), 9, 12, size).tolist()
    whole = sides if size == "exact" else tuple(side // 2 * 2 for side in sides)
    assert (r1 - r0, c1 - c0) == whole
    if all(whole):
        assert r0 <= place[0] < r1
        assert c0 <= place[1] < c1


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1.0 - 2.0**-24])
def test_a_sampled_pixel_is_salient(uniform: float) -> None:
    maps = scaled_to_peak(spot(3, 7))
    assert positions.sampled(maps, torch.tensor([uniform]), NOWHERE).tolist() == [[3, 7]]


def test_the_first_of_equal_peaks_is_taken() -> None:
    saliency = spot(2, 9) + spot(2, 4) + spot(6, 1)
    assert positions.peak(saliency, NOWHERE).tolist() == [[2, 4]]
    assert positions.peak(torch.zeros_like(saliency), NOWHERE).tolist() == NOWHERE.tolist()


def test_negative_saliency_counts_as_none() -> None:
    generator = torch.Generator().manual_seed(0)
    signed = torch.randn(6, 9, 12, generator=generator)
    images, labels = torch.rand(6, 3, 9, 12), torch.arange(6)
    for position in ("peak", "mass", "sampled"):
        mixer = mixing.create("saliencymixplus", position=position)
        draw = mixer.draw(6, 9, 12, generator=generator)
        found = mixer(images, labels, saliency=signed, draw=draw)
        expected = mixer(images, labels, saliency=signed.clamp_min(0), draw=draw)
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.lam, expected.lam)


def test_a_box_over_all_of_a_and_none_of_b_has_area_shares() -> None:
    """Both p are 0, as neither object is visible."""
    saliency = torch.cat((spot(0, 0), spot(8, 11)))
    lam0 = torch.tensor([0.75], dtype=torch.float64)
    draw = mixing.Draw(torch.tensor([1, 0]), lam0, centre=torch.tensor([[2, 2]]))
    mixer = mixing.create("saliencymixplus", lam0="batch", position="random")
    mixed = mixer(torch.rand(2, 3, 9, 12), torch.arange(2), saliency=saliency, draw=draw)
    assert mixed.boxes is not None
    assert mixed.boxes.tolist() == [[0, 0, 4, 5]] * 2
    torch.testing.assert_close(mixed.lam, torch.tensor([1 - 20 / 108, 0.5]))


@pytest.mark.parametrize("lam0", [0.0, 1.0])
def test_fmix_at_its_ends_is_one_of_the_images(lam0: float) -> None:
    images = torch.rand(3, 3, 9, 12)
    mixer = mixing.create("fmix")
    draw = replace(mixer.draw(3, 9, 12), lam0=torch.tensor([lam0], dtype=torch.float64))
    mixed = mixer(images, torch.arange(3), draw=draw)
    assert torch.equal(mixed.images, images if lam0 else images[draw.index_b])


def test_guidedsr_halves_what_neither_map_speaks_of() -> None:
    images = torch.rand(2, 3, 9, 12)
    saliency = torch.cat((spot(0, 0), spot(8, 11)))
    mixer = mixing.create("guidedsr", smoothing=0.0)
    mixed = mixer(images, torch.arange(2), saliency=saliency)
    expected = torch.full((9, 12), 0.5)
    expected[0, 0], expected[8, 11] = 0.0, 1.0
    assert mixed.mask is not None
    assert torch.equal(mixed.mask[0, 0], expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2)])
@pytest.mark.parametrize("method", mixing.METHODS)
def test_the_smallest_images_mix(method: str, size: tuple[int, int]) -> None:
    images, saliency = torch.rand(3, 3, *size), torch.rand(3, *size)
    mixer = mixing.create(method)
    mixed = mixer(images, torch.arange(3), **maps_for(mixer, saliency))
    assert torch.isfinite(mixed.images).all()
    assert ((mixed.lam >= 0) & (mixed.lam <= 1)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e9])
def test_guidedsrs_own_maps_are_finite(dtype: torch.dtype, scale: float) -> None:
    highest = torch.finfo(dtype).max
    images = (torch.rand(4, 3, 9, 12) * 2 - 1).mul(min(scale, 1.0)).to(dtype)
    if scale > 1:
        images = torch.where(images > 0, highest, -highest).to(dtype)
    mixed = mixing.create("guidedsr")(images, torch.arange(4))
    assert mixed.saliency is not None
    for values in (mixed.saliency, mixed.images, mixed.lam):
        assert torch.isfinite(values).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("resolution", [1.0, 0.5])
def test_a_network_of_any_precision_gives_its_saliency(
    dtype: torch.dtype, resolution: float
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).to(dtype)
    images = torch.rand(4, 3, 10, 12).to(dtype)
    mixer = mixing.create("saliencymixplus", saliency_resolution=resolution)
    mixed = mixer(images, torch.arange(4), model=model)
    assert mixed.saliency is not None
    assert mixed.saliency.dtype == torch.promote_types(dtype, torch.float32)
    assert mixed.images.dtype == dtype
    assert torch.isfinite(mixed.lam).all()


def test_published_saliencymix_takes_the_first_of_peaks_that_are_equal_as_bytes() -> None:
    saliency = torch.zeros(2, 9, 12)
    saliency[:, 2, 3], saliency[:, 7, 9] = 0.9990, 0.9999  # 254 both
    mixer = mixing.create("saliencymix", variant="published")
    draw = replace(mixer.draw(2, 9, 12), lam0=torch.tensor([0.8], dtype=torch.float64))
    mixed = mixer(torch.rand(2, 3, 9, 12), torch.arange(2), saliency=saliency, draw=draw)
    assert mixed.boxes is not None
    assert mixed.boxes.tolist() == [[0, 1, 4, 5]] * 2


def test_an_unmixed_batch_belongs_to_its_first_labels() -> None:
    images, labels = torch.rand(3, 3, 9, 12), torch.tensor([2, 0, 1])
    mixed = mixing.create("none")(images, labels)
    assert torch.equal(mixed.images, images)
    assert mixed.lam.tolist() == mixed.area_lam.tolist() == [1.0] * 3
    assert mixed.index_a.tolist() == mixed.index_b.tolist() == [0, 1, 2]
    assert torch.equal(mixed.soft_labels(3).argmax(1), labels)


def test_only_a_resized_source_has_a_box_of_its_own() -> None:
    images, labels = torch.rand(3, 3, 9, 12), torch.arange(3)
    assert mixing.create("cutmix")(images, labels).source_boxes is None
    resized = mixing.create("resizemix")(images, labels)
    assert resized.source_boxes is not None
    assert resized.source_boxes.tolist() == [[0, 0, 9, 12]] * 3


def test_images_that_ask_for_gradients_are_mixed_as_numbers() -> None:
    images = torch.rand(3, 3, 9, 12, requires_grad=True)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for method in ("cutmix", "guidedsr", "saliencymix", "saliencymixplus"):
        variant = {"variant": "published"} if method.startswith("saliency") else {}
        mixed = mixing.create(method, **variant)(images, torch.arange(3), model=model)
        assert not mixed.images.requires_grad
        assert not mixed.lam.requires_grad
    assert images.grad is None
    assert images.requires_grad
    maps = torch.rand(3, 9, 12, requires_grad=True)
    given = mixing.create("saliencymix")(images, torch.arange(3), saliency=maps)
    assert given.saliency is not None
    assert not given.saliency.requires_grad
