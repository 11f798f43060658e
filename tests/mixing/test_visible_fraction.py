"""The true λ* by hand, and vectorised against a loop over pixels."""

import math

import numpy as np
import pytest
import torch

from saliencymixplus.mixing import METHODS, MixedBatch, create
from saliencymixplus.mixing.visible_fraction import truth
from tests.helpers import maps_for


def pasted(boxes, size, index_b, weight=1.0, source_boxes=None):
    """A mixed batch in which b's pixels fill ``boxes`` with the given weight."""
    count = len(boxes)
    mask = torch.zeros(count, 1, size, size)
    for i, (r0, c0, r1, c1) in enumerate(boxes):
        mask[i, :, r0:r1, c0:c1] = weight
    lam = 1 - mask.mean((1, 2, 3))
    blank = torch.zeros(count, 3, size, size)
    label = torch.zeros(count, dtype=torch.long)
    return MixedBatch(
        images=blank,
        labels_a=label,
        labels_b=label,
        lam=lam,
        index_a=torch.arange(count),
        index_b=torch.tensor(index_b),
        area_lam=lam,
        mask=mask,
        boxes=torch.tensor(boxes),
        source_boxes=None if source_boxes is None else torch.tensor(source_boxes),
    )


def rectangles(size, *boxes):
    masks = torch.zeros(len(boxes), size, size, dtype=torch.uint8)
    for i, (r0, c0, r1, c1) in enumerate(boxes):
        masks[i, r0:r1, c0:c1] = 1
    return masks


def test_half_covered_rectangle_by_hand():
    # a: 4×4 = 16 pixels in the corner; the box hides its right half, 8 of them.
    # b: 6×2 = 12 pixels, of which rows 0-4 of columns 2-4 lie in the box: 8.
    masks = rectangles(8, (0, 0, 4, 4), (0, 2, 6, 4))
    seen = truth(pasted([(0, 2, 4, 8), (0, 2, 4, 8)], 8, [1, 0]), masks)
    assert seen.visible_a[0] == 8 / 16
    assert seen.visible_b[0] == 8 / 12
    assert seen.relative[0].item() == pytest.approx((1 / 2) / (1 / 2 + 2 / 3))  # 3/7
    assert seen.pixels[0] == 8 / 16
    assert seen.region[0] == 24 / 64


def test_a_box_without_object_leaves_the_whole_label_to_a():
    masks = rectangles(8, (0, 0, 4, 4), (6, 6, 8, 8))
    seen = truth(pasted([(0, 4, 4, 8), (0, 4, 4, 8)], 8, [1, 0]), masks)
    assert (seen.visible_a[0], seen.visible_b[0], seen.relative[0]) == (1, 0, 1)


def test_an_empty_box_shows_a_alone_and_a_full_box_b_alone():
    masks = rectangles(8, (0, 0, 4, 4), (2, 2, 8, 8))
    seen = truth(pasted([(3, 3, 3, 3), (0, 0, 8, 8)], 8, [1, 0]), masks)
    assert seen.relative.tolist() == [1, 0]


def test_nothing_visible_is_no_truth():
    masks = rectangles(8, (0, 0, 2, 2), (6, 6, 8, 8))
    seen = truth(pasted([(0, 0, 4, 4), (0, 0, 4, 4)], 8, [1, 0]), masks)
    assert math.isnan(seen.relative[0])
    assert math.isnan(seen.pixels[0])


def test_an_image_without_object_has_no_share():
    masks = rectangles(8, (0, 0, 0, 0), (6, 6, 8, 8))
    seen = truth(pasted([(4, 4, 8, 8), (4, 4, 8, 8)], 8, [1, 0]), masks)
    assert math.isnan(seen.visible_a[0])
    assert math.isnan(seen.relative[0])


def test_unknown_pixels_count_as_nothing():
    masks = rectangles(8, (0, 0, 4, 4), (0, 2, 6, 4))
    bordered = masks.clone()
    bordered[:, 7] = 2
    bordered[0, 3, 4:] = 2
    mixed = pasted([(0, 2, 4, 8), (0, 2, 4, 8)], 8, [1, 0])
    assert torch.equal(truth(mixed, bordered).relative, truth(mixed, masks).relative)


def test_blending_shows_a_share_of_both_objects():
    # mixup: whatever the objects, λ* = λ, so its labels are right by construction.
    masks = rectangles(8, (0, 0, 4, 4), (1, 1, 7, 7))
    seen = truth(pasted([(0, 0, 8, 8)] * 2, 8, [1, 0], weight=0.3), masks)
    assert seen.relative.tolist() == pytest.approx([0.7, 0.7])
    assert seen.pixels[0].item() == pytest.approx(0.7 * 16 / (0.7 * 16 + 0.3 * 36))


def test_a_resized_source_is_seen_whole_and_its_pixels_shrink():
    # The whole 8×8 image b in a 4×4 box: all of its object's 16 pixels, at a quarter of the area.
    masks = rectangles(8, (4, 4, 8, 8), (0, 0, 4, 4))
    mixed = pasted([(0, 0, 4, 4)] * 2, 8, [1, 0], source_boxes=[(0, 0, 8, 8)] * 2)
    seen = truth(mixed, masks)
    assert (seen.visible_a[0], seen.visible_b[0], seen.relative[0]) == (1, 1, 0.5)
    assert seen.pixels_b[0] == 4
    assert seen.pixels[0] == 16 / 20


def weight_of(mixed, weights, i, row, column):
    """How visible the pixel of b at that place of b is."""
    if mixed.source_boxes is None:
        return weights[row][column]
    r0, c0, r1, c1 = mixed.source_boxes[i].tolist()
    top, left, bottom, right = mixed.boxes[i].tolist()
    if not (r0 <= row < r1 and c0 <= column < c1) or top == bottom or left == right:
        return 0.0
    row = top + int((row - r0 + 0.5) * (bottom - top) / (r1 - r0))
    column = left + int((column - c0 + 0.5) * (right - left) / (c1 - c0))
    return weights[row][column]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "none"])
def test_every_method_against_a_loop_over_pixels(method):
    size, count = 10, 9
    drawn = np.random.default_rng(1).integers(0, 3, (count, size, size))
    masks = torch.from_numpy(drawn.astype(np.uint8))
    images = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    mixer = create(method)
    needed = maps_for(mixer, torch.rand(count, size, size)) | {"masks": masks}
    generator = torch.Generator().manual_seed(3)
    mixed = mixer(images, torch.arange(count) % 3, generator=generator, **needed)
    seen = truth(mixed, masks)
    weights = mixed.mask[:, 0].tolist()
    weights_a = (1 - mixed.mask if mixed.mask_a is None else mixed.mask_a)[:, 0].tolist()
    for i in range(len(mixed.images)):
        a, b = int(mixed.index_a[i]), int(mixed.index_b[i])
        visible_a = visible_b = whole_a = whole_b = 0.0
        for r in range(size):
            for c in range(size):
                if masks[a, r, c] == 1:
                    whole_a += 1
                    visible_a += weights_a[i][r][c]
                if masks[b, r, c] == 1:
                    whole_b += 1
                    visible_b += weight_of(mixed, weights[i], i, r, c)
        assert seen.visible_a[i].item() == pytest.approx(visible_a / whole_a)
        assert seen.visible_b[i].item() == pytest.approx(visible_b / whole_b)
        relative = visible_a / whole_a / (visible_a / whole_a + visible_b / whole_b)
        assert seen.relative[i].item() == pytest.approx(relative)


def test_masks_of_another_size_are_refused():
    with pytest.raises(ValueError, match="masks"):
        truth(pasted([(0, 0, 2, 2)], 8, [0]), torch.zeros(1, 6, 6))
