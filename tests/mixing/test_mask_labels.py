"""``label: mask``, ``label: mask_pixels`` and ``position: object``."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from saliencymixplus.mixing import METHODS, Draw, create
from saliencymixplus.mixing.visible_fraction import truth
from tests.helpers import Pooling

COUNT, SIZE = 12, 16
LABELLED = [name for name, m in METHODS.items() if "label" in {f.name for f in fields(m.options)}]
PLACED = {
    "cutmix": {"box": "sample"},
    "saliencymix": {},
    "saliencymixplus": {"label": "area"},
}
RECORDED = Path(__file__).parents[1] / "golden_peers"


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Rectangular objects; the last image has none."""
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(COUNT, SIZE, SIZE, dtype=torch.uint8)
    for i in range(COUNT - 1):
        row, column = torch.randint(0, SIZE - 6, (2,), generator=generator).tolist()
        masks[i, row : row + 4, column : column + 6] = 1
        masks[i, row, column] = 2  # unknown: counts as nothing
    return {
        "images": torch.rand(COUNT, 3, SIZE, SIZE, generator=generator),
        "labels": torch.arange(COUNT) % 3,
        "saliency": torch.rand(COUNT, SIZE, SIZE, generator=generator),
        "masks": masks,
    }


def mix(method: str, batch: dict[str, Tensor], seed: int = 3, **options: Any) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return create(method, **options)(**batch, model=Pooling(), generator=generator)


@pytest.mark.parametrize("label", ["mask", "mask_pixels"])
@pytest.mark.parametrize("method", LABELLED)
def test_the_label_is_the_visible_fraction(
    method: str, label: str, batch: dict[str, Tensor]
) -> None:
    own, mixed = mix(method, batch), mix(method, batch, label=label)
    assert torch.equal(mixed.images, own.images)
    assert mixed.lam_b is None
    seen = truth(own, batch["masks"])
    undefined = seen.relative.isnan()
    expected = seen.relative if label == "mask" else seen.pixels
    expected = torch.where(undefined, own.area_lam.double(), expected)
    torch.testing.assert_close(mixed.lam.double(), expected, atol=1e-6, rtol=0)
    # The image without an object is in two pairs.
    bare = (mixed.index_a == COUNT - 1) | (mixed.index_b == COUNT - 1)
    assert undefined[bare].all()
    assert not torch.equal(mixed.lam, own.area_lam)


def test_two_methods_at_least_have_such_labels() -> None:
    assert {"cutmix", "saliencymix", "saliencymixplus", "resizemix", "fmix"} <= {*LABELLED}


@pytest.mark.parametrize("case", sorted(RECORDED.glob("oacutmix_*.npz")), ids=lambda p: p.stem)
def test_cutmix_with_masks_is_oa_cutmix(case: Path) -> None:
    """The recorded code differs where the label is undefined: there ours is the area fraction."""
    with np.load(case) as file:
        kept = {name: torch.from_numpy(file[name]) for name in file.files}
    count = len(kept["masks"])
    draw = Draw(
        index_b=kept["perm"].long(),
        lam0=kept["lam0"].double().reshape(1),
        centre=kept["centre"].long().reshape(1, 2),
        uniform=torch.zeros(1, 2),
    )
    height, width = kept["masks"].shape[1:]
    images, labels = torch.zeros(count, 3, height, width), torch.zeros(count, dtype=torch.long)
    for label, name in (("mask", "lam_relative"), ("mask_pixels", "lam_absolute")):
        mixer = create("cutmix", label=label, pairs="permutation")
        mixed = mixer(images, labels, masks=kept["masks"], draw=draw)
        assert mixed.boxes[0].tolist() == kept["box"].tolist()
        defined = ~truth(mixed, kept["masks"]).relative.isnan()
        assert defined.any()
        torch.testing.assert_close(mixed.lam[defined], kept[name][defined], atol=2e-6, rtol=0)


@pytest.mark.parametrize("method", PLACED)
def test_the_box_lies_on_the_object(method: str, batch: dict[str, Tensor]) -> None:
    """With boxes of one pixel, that pixel belongs to the object."""
    options = PLACED[method] | {"position": "object", "box_size": "exact"}
    mixer = create(method, **options)
    assert mixer.needs == {"masks"}
    del batch["saliency"]
    found = set()
    for seed in range(30):
        draw = mixer.draw(COUNT, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
        small = torch.full_like(draw.lam0, 1 - (1.2 / SIZE) ** 2)
        draw = replace(draw, lam0=small)
        mixed = mixer(**batch, draw=draw)
        for i, (row, column, bottom, right) in enumerate(mixed.boxes.tolist()):
            assert (bottom - row, right - column) == (1, 1)
            partner = int(mixed.index_b[i])
            if partner == COUNT - 1:  # no object: the drawn place
                assert [row, column] == draw.centre[i].tolist()
            else:
                assert batch["masks"][partner, row, column] == 1
            found.add((partner, row, column))
    objects = int((batch["masks"] == 1).sum())
    assert len(found) > 0.7 * objects  # any pixel of it, not one


def test_a_box_for_the_whole_batch_lies_on_the_first_partners_object(
    batch: dict[str, Tensor],
) -> None:
    mixed = mix("cutmix", batch, position="object", alpha=100.0)
    assert len({tuple(box) for box in mixed.boxes.tolist()}) == 1
    seen = truth(mixed, batch["masks"])
    assert seen.visible_b[0] > 0


@pytest.mark.parametrize("options", [{"label": "mask"}, {"position": "object"}])
def test_masks_that_are_missing_are_asked_for(
    options: dict[str, str], batch: dict[str, Tensor]
) -> None:
    del batch["masks"]
    with pytest.raises(ValueError, match="pass masks="):
        mix("cutmix", batch, **options)
    assert not create("cutmix").needs_masks


@pytest.mark.parametrize(("fraction", "count"), [(1.0, COUNT), (0.5, COUNT // 2)])
@pytest.mark.parametrize("label", ["area", "mask"])
def test_exchanged_labels_are_the_same_values_at_other_images(
    label: str, fraction: float, count: int, batch: dict[str, Tensor]
) -> None:
    own = mix("cutmix", batch, box="sample", label=label)
    mixed = mix("cutmix", batch, box="sample", label=label, shuffled_labels=fraction)
    assert torch.equal(mixed.images, own.images)
    assert torch.equal(mixed.area_lam, own.area_lam)
    assert mixed.lam.tolist() == [
        *(own.lam[(i - 1) % count].item() for i in range(count)),
        *own.lam[count:].tolist(),
    ]


def test_exchanging_equal_labels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shuffled_labels: .* use box: sample"):
        create("cutmix", shuffled_labels=1.0)
    assert create("cutmix", shuffled_labels=1.0, label="mask").options.shuffled_labels == 1.0
