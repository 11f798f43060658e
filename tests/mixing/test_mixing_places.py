"""Where boxes go and what labels weigh, on maps made so that there is one right answer."""

import pytest
import torch

from saliencymixplus import mixing
from saliencymixplus.mixing import positions
from saliencymixplus.mixing.boxes import BoxSize, box_around
from saliencymixplus.mixing.maps import prepare

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
    maps = prepare(spot(*place))
    centre = positions.heaviest(maps, torch.tensor([sides]), size, NOWHERE)
    ((r0, c0, r1, c1),) = box_around(centre, torch.tensor([sides]), 9, 12, size).tolist()
    whole = sides if size == "exact" else tuple(side // 2 * 2 for side in sides)
    assert (r1 - r0, c1 - c0) == whole
    if all(whole):
        assert r0 <= place[0] < r1
        assert c0 <= place[1] < c1


@pytest.mark.parametrize("uniform", [0.0, 0.5, 1.0 - 2.0**-24])
def test_a_sampled_pixel_is_salient(uniform: float) -> None:
    maps = prepare(spot(3, 7))
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
    """Both p are 0: nothing of either object is to be seen."""
    saliency = torch.cat((spot(0, 0), spot(8, 11)))
    lam0 = torch.tensor([0.75], dtype=torch.float64)
    draw = mixing.Draw(torch.tensor([1, 0]), lam0, centre=torch.tensor([[2, 2]]))
    mixer = mixing.create("saliencymixplus", lam0="batch", position="random")
    mixed = mixer(torch.rand(2, 3, 9, 12), torch.arange(2), saliency=saliency, draw=draw)
    assert mixed.boxes is not None
    assert mixed.boxes.tolist() == [[0, 0, 4, 5]] * 2
    torch.testing.assert_close(mixed.lam, torch.tensor([1 - 20 / 108, 0.5]))
