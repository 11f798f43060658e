"""The order of an epoch's images."""

import pytest
import torch

from saliencymixplus.engine.randomness import batches_of_epoch


def test_each_image_once_without_repeats() -> None:
    order = torch.cat(batches_of_epoch(50, 16, seed=0, epoch=1))
    assert sorted(order.tolist()) == [*range(50)]


@pytest.mark.parametrize(("count", "repeats"), [(50, 3), (50, 2), (7, 3), (4, 9)])
def test_repeated_images_come_together_in_an_epoch_of_the_same_length(
    count: int, repeats: int
) -> None:
    rows = torch.cat(batches_of_epoch(count, 16, seed=0, epoch=1, repeats=repeats)).tolist()
    first = torch.cat(batches_of_epoch(count, 16, seed=0, epoch=1)).tolist()
    # As timm's RepeatAugSampler: the order, each so many times, cut to the number of images.
    assert rows == [row for row in first for _ in range(repeats)][:count]
    other = torch.cat(batches_of_epoch(count, 16, seed=0, epoch=2, repeats=repeats)).tolist()
    assert rows != other


@pytest.mark.parametrize(
    ("count", "processes", "last"), [(17, 1, 16), (18, 1, 2), (19, 2, 16), (20, 2, 4), (23, 4, 16)]
)
def test_the_last_batch_has_two_images_for_each_process_or_is_dropped(
    count: int, processes: int, last: int
) -> None:
    batches = batches_of_epoch(count, 16, seed=0, epoch=1, processes=processes)
    assert len(batches[-1]) == last
