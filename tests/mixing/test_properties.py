"""Properties of every mixing method, for any batch."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saliencymixplus import mixing
from saliencymixplus.mixing.draws import Draw
from tests.helpers import maps_for

# Every method and variant; those that OpenCV serves on the CPU get their map injected.
KINDS: list[tuple[str, dict[str, Any]]] = [
    *[(name, {}) for name in mixing.METHODS],
    ("cutmix", {"box": "sample", "box_size": "exact"}),
    ("mixup", {"lam0": "sample"}),
    ("fmix", {"mask": "sample"}),
    ("resizemix", {"box": "sample"}),
    ("guidedsr", {"pairs": "full"}),
    ("fmix", {"variant": "published"}),
    ("resizemix", {"variant": "published"}),
    ("guidedsr", {"variant": "published"}),
    ("oacutmix", {"variant": "published"}),
    ("rmix", {"variant": "published"}),
    ("attentivemix", {"variant": "published"}),
    ("snapmix", {"box": "sample", "box_size": "halves"}),
    ("puzzlemix", {"variant": "published"}),
    ("puzzlemix", {"lam0": "sample", "transport": "off"}),
    ("transmix", {"pairs": "reversed"}),
    ("attentivecutmix", {"channels": "last"}),
    ("saliencymix", {"variant": "published"}),
    ("saliencymixplus", {"variant": "published"}),
    ("saliencymixplus", {"position": "mass", "smoothing": 1.0}),
    ("saliencymixplus", {"position": "sampled"}),
    ("saliencymixplus", {"position": "random", "label": "area"}),
]
IDS = ["-".join([name, *map(str, options.values())]) for name, options in KINDS]
MAPPED = [
    kind
    for kind in KINDS
    if maps_for(mixing.create(kind[0], **kind[1]), torch.ones(1, 1, 1)).get("saliency") is not None
]

every_kind = pytest.mark.parametrize(("method", "options"), KINDS, ids=IDS)
few = settings(max_examples=8, deadline=None, derandomize=True)
batches = st.tuples(st.integers(1, 9), st.integers(2, 24), st.integers(2, 24))
seeds = st.integers(0, 2**31)


def inputs(size: tuple[int, int, int], seed: int) -> tuple[torch.Tensor, torch.Tensor, Any]:
    generator = torch.Generator().manual_seed(seed)
    count, height, width = size
    images = torch.randn(count, 3, height, width, generator=generator)
    return images, torch.arange(count), torch.rand(count, height, width, generator=generator)


def mix(method: str, options: dict[str, Any], images: Any, labels: Any, saliency: Any, **how: Any):
    mixer = mixing.create(method, **options)
    return mixer(images, labels, **maps_for(mixer, saliency), **how)


@every_kind
@few
@given(size=batches, seed=seeds)
def test_pixels_labels_and_shares(method: str, options: Any, size: Any, seed: int) -> None:
    images, labels, saliency = inputs(size, seed)
    before = images.clone()
    mixed = mix(method, options, images, labels, saliency, generator=torch.manual_seed(seed))
    assert torch.equal(images, before), "the input was changed"
    count = len(mixed.index_b)
    a, b = images[mixed.index_a], images[mixed.index_b]
    assert torch.equal(mixed.labels_a, labels[mixed.index_a])
    assert torch.equal(mixed.labels_b, labels[mixed.index_b])
    assert ((mixed.lam >= 0) & (mixed.lam <= 1)).all()
    assert ((mixed.area_lam >= -1e-6) & (mixed.area_lam <= 1 + 1e-6)).all()
    if method == "none":
        return
    if method == "puzzlemix":  # cells move within both images, and leave black behind
        both = torch.cat((a.flatten(1), b.flatten(1)), dim=1)
        assert (mixed.images.flatten(1).amin(1) >= both.amin(1).clamp_max(0) - 1e-5).all()
        assert (mixed.images.flatten(1).amax(1) <= both.amax(1).clamp_min(0) + 1e-5).all()
        return
    if mixed.weights is not None:  # of more than two images
        torch.testing.assert_close(mixed.weights.sum(1), torch.ones(count))
        assert (mixed.images.amax((0, 2, 3)) <= images.amax((0, 2, 3)) + 1e-5).all()
        only_a = (mixed.mask_a == 1).expand_as(a)
        torch.testing.assert_close(mixed.images[only_a], a[only_a], atol=1e-5, rtol=0)
        return
    cut = ((mixed.mask == 0) | (mixed.mask == 1)).all()
    if mixed.source_boxes is not None:  # b was moved or resized
        outside = (mixed.mask == 0).expand_as(a)
        assert torch.equal(mixed.images[outside], a[outside])
        highest, lowest = b.amax((2, 3), keepdim=True), b.amin((2, 3), keepdim=True)
        highest, lowest = torch.maximum(a, highest), torch.minimum(a, lowest)
        inside = (mixed.images <= highest + 1e-5) & (mixed.images >= lowest - 1e-5)
        assert (inside | outside).all()
    elif cut:
        assert torch.equal(mixed.images, torch.where(mixed.mask.bool(), b, a))
    else:
        blended = a * (1 - mixed.mask) + b * mixed.mask
        torch.testing.assert_close(mixed.images, blended, atol=1e-5, rtol=0)
    if mixed.boxes is not None and cut:
        sides = mixed.boxes[:, 2:] - mixed.boxes[:, :2]
        assert (sides >= 0).all()
        share = sides.prod(1) / (size[1] * size[2])
        torch.testing.assert_close(share, 1 - mixed.area_lam, atol=1e-6, rtol=0)
    if count > 1 and mixing.create(method, **options).options.pairs not in (
        "permutation",
        "reversed",
    ):
        assert (mixed.index_a != mixed.index_b).all()


@every_kind
@few
@given(size=batches, seed=seeds)
def test_the_same_generator_gives_the_same(method: str, options: Any, size: Any, seed: int) -> None:
    images, labels, saliency = inputs(size, seed)
    runs = [
        mix(method, options, images, labels, saliency, generator=torch.Generator().manual_seed(7))
        for _ in range(2)
    ]
    torch.manual_seed(seed)  # the global generator plays no part
    assert torch.equal(runs[0].images, runs[1].images)
    assert torch.equal(runs[0].lam, runs[1].lam)


@every_kind
@few
@given(size=batches, seed=seeds)
def test_permuting_the_batch_permutes_the_result(
    method: str, options: Any, size: Any, seed: int
) -> None:
    mixer = mixing.create(method, **options)
    first_decides = getattr(mixer.options, "box", "") == "batch" or (
        getattr(mixer.options, "area", "") == "first"
    )
    if mixer.options.pairs in ("half", "greedy") or first_decides or method == "comixup":
        # Who is paired, or which image decides for all, depends on the order by definition.
        return
    images, labels, saliency = inputs(size, seed)
    generator = torch.Generator().manual_seed(seed)
    draw = mixer.draw(*size, generator=generator)
    order = torch.randperm(size[0], generator=generator)
    place = order.argsort()

    def moved(value: Any) -> Any:
        each = isinstance(value, torch.Tensor) and len(value) == size[0]
        return value[order] if each else value

    numbers = {n: moved(v) for n, v in vars(draw).items() if n != "index_b"}
    permuted = Draw(index_b=place[draw.index_b[order]], **numbers)
    first = mix(method, options, images, labels, saliency, draw=draw)
    second = mix(method, options, images[order], labels[order], saliency[order], draw=permuted)
    torch.testing.assert_close(second.images, first.images[order], atol=1e-5, rtol=0)
    torch.testing.assert_close(second.lam, first.lam[order], atol=1e-5, rtol=0)
    assert torch.equal(second.labels_b, first.labels_b[order])


MAPS = {
    "zero": torch.zeros(5, 12, 16),
    "constant": torch.full((5, 12, 16), 3.0),
    "tiny": torch.full((5, 12, 16), 1e-42),
    "huge": torch.full((5, 12, 16), 3e38),
    "infinite": torch.rand(5, 12, 16).index_fill(1, torch.tensor([3]), torch.inf),
    "nan": torch.rand(5, 12, 16).index_fill(0, torch.tensor([1, 2]), torch.nan),
    "half": torch.rand(5, 12, 16).half() * 6e4,
    "bfloat16": torch.rand(5, 12, 16).bfloat16() * 1e38,
    "bytes": torch.randint(0, 256, (5, 12, 16), dtype=torch.uint8),
    "one pixel": torch.zeros(5, 12, 16).index_put((torch.tensor(2),), torch.eye(12, 16)),
}


@pytest.mark.parametrize("saliency", MAPS.values(), ids=MAPS)
@pytest.mark.parametrize(("method", "options"), MAPPED)
def test_no_map_gives_nan(method: str, options: Any, saliency: torch.Tensor) -> None:
    images = torch.randn(5, 3, 12, 16)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        mixed = mix(method, options, images, torch.arange(5), saliency, generator=generator)
        assert torch.isfinite(mixed.images).all()
        assert torch.isfinite(mixed.lam).all()
        assert ((mixed.lam >= 0) & (mixed.lam <= 1)).all()


@pytest.mark.parametrize("bad", [0.0, torch.nan, torch.inf])
def test_a_map_without_shares_gives_area_shares(bad: float) -> None:
    saliency = torch.rand(6, 12, 16)
    saliency[2] = bad
    draw = mixing.create("saliencymixplus").draw(6, 12, 16)
    mixed = mix("saliencymixplus", {}, torch.randn(6, 3, 12, 16), torch.arange(6), saliency,
                draw=draw)  # fmt: skip
    touched = (mixed.index_a == 2) | (mixed.index_b == 2)
    assert torch.equal(mixed.lam[touched], mixed.area_lam[touched])
    assert (mixed.lam[~touched] != mixed.area_lam[~touched]).any()


def test_what_a_map_shows_everywhere_does_not_weigh_in_the_excess() -> None:
    """With a floor under every map the saliency label nears the area's; the excess stays."""
    generator = torch.Generator().manual_seed(0)
    saliency = torch.rand(6, 12, 16, generator=generator) ** 4
    mixer = mixing.create("saliencymixplus-excess")
    draw = mixer.draw(6, 12, 16, generator=generator)
    images, labels = torch.randn(6, 3, 12, 16), torch.arange(6)
    lam = mixer(images, labels, saliency=saliency, draw=draw).lam
    raised = mixer(images, labels, saliency=saliency + 5, draw=draw)
    torch.testing.assert_close(raised.lam, lam, atol=1e-4, rtol=0)
    whole = mixing.create("saliencymixplus")(images, labels, saliency=saliency + 5, draw=draw).lam
    assert (whole - raised.area_lam).abs().max() < 0.01 < (lam - raised.area_lam).abs().max()


@every_kind
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scale", [0.0, 1.0, 6e4], ids=["constant", "usual", "saturated"])
def test_dtype_layout_and_range_are_kept(
    method: str, options: Any, dtype: torch.dtype, scale: float
) -> None:
    images = (torch.rand(5, 3, 12, 16) * 2 - 1).mul(scale).to(dtype)
    images = images.contiguous(memory_format=torch.channels_last)
    mixed = mix(method, options, images, torch.arange(5), torch.rand(5, 12, 16))
    assert mixed.images.dtype == dtype
    assert mixed.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.isfinite(mixed.images).all()
    assert mixed.lam.dtype == torch.float32


@every_kind
def test_bytes_are_rounded_not_cut_off(method: str, options: Any) -> None:
    if mixing.METHODS[method].part is not None:
        pytest.skip("takes floats only")
    images, labels = torch.randint(0, 256, (5, 3, 12, 16), dtype=torch.uint8), torch.arange(5)
    maps, seed = torch.rand(5, 12, 16), 1
    mixed, exact = (
        mix(method, options, each, labels, maps, generator=torch.Generator().manual_seed(seed))
        for each in (images, images.float())
    )
    torch.testing.assert_close(mixed.images.float(), exact.images, atol=0.51, rtol=0)


@every_kind
def test_bytes_and_soft_labels(method: str, options: Any) -> None:
    images = torch.randint(0, 256, (5, 3, 12, 16), dtype=torch.uint8)
    labels = torch.eye(5)
    if mixing.METHODS[method].part is not None:
        with pytest.raises(ValueError, match="give floats"):
            mix(method, options, images, labels, torch.rand(5, 12, 16))
        return
    mixed = mix(method, options, images, labels, torch.rand(5, 12, 16))
    assert mixed.images.dtype == torch.uint8
    soft = mixed.soft_labels(5)
    total = mixed.lam + mixed.weight_b if mixed.weights is None else torch.ones(5)
    torch.testing.assert_close(soft.sum(1), total)
    hard = mix(method, options, images, labels.argmax(1), torch.rand(5, 12, 16))
    assert hard.soft_labels(5).shape == soft.shape
    logits = torch.randn(len(soft), 5)
    if mixed.reduction == "per_sample":
        expected = torch.nn.functional.cross_entropy(logits, soft)
        torch.testing.assert_close(mixed.loss(logits), expected)
