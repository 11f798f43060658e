"""Compare our mixing with torchvision's, timm's and kornia's, if installed."""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from operator import itemgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from saliencymixplus.bench.clock import Clock
from saliencymixplus.engine.device import choose_device, device_settings
from saliencymixplus.mixing import create
from saliencymixplus.progress import progress
from saliencymixplus.runs.provenance import device_name
from saliencymixplus.tables import Column, Getter, Table

Mix = Callable[..., object]
Say = Callable[[str], None]

CLASSES = 100
SIZES = ((32, 128), (224, 32))  # side in pixels and batch size


@dataclass(frozen=True)
class Pair:
    """One of our recipes and its equivalent elsewhere.

    Attributes:
        peer: library and call, for the table.
        make: creates the peer's function of images (B, C, H, W) and labels (B,).
        options: options of our recipe that make both do the same work.
        soft: whether the peer returns soft labels; ours are then computed as well.
        maps: whether both are given saliency maps.
    """

    method: str
    peer: str
    make: Callable[[], Mix]
    options: Mapping[str, Any] = field(default_factory=dict)
    soft: bool = True
    maps: bool = False


def bench_peers(
    *, device: str = "auto", rounds: int = 20, say: Say = print, sizes: Any = SIZES
) -> dict[str, Any]:
    """Measure each pair of functions in alternating rounds on the same random images.

    Libraries that are not installed are skipped and reported to ``say``.
    """
    where = choose_device(device)
    clock = Clock(where, rounds)
    found = [(side, count, pair) for side, count in sizes for pair in installed_pairs(say)]
    rows: list[dict[str, Any]] = []
    with (
        device_settings(where, deterministic=False),
        progress("measuring", len(found), say, "pairs") as advance,
    ):
        for side, count, pair in found:
            advance(1)
            rows.append(_measured(pair, side, count, clock, where))
            say(f"{pair.method}, {side} px: {rows[-1]['ratio']:.2f} × {pair.peer}")
        threads = torch.get_num_threads()
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": device_name(where),
        "threads": threads if where.type == "cpu" else None,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)}
        | {name: version(name) for name in _LIBRARIES if find_spec(name)},
        "peers": rows,
    }


def peers_table(result: dict[str, Any]) -> Table:
    """The result of ``bench_peers`` as a table, one row per pair and size."""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    count = result["threads"]
    threads = f", {count} thread{'s' if count > 1 else ''}" if count else ""
    columns: list[Getter[dict[str, Any]]] = [
        (Column("Ours", "left"), itemgetter("ours")),
        (Column("Peer", "left"), itemgetter("peer")),
        (Column("px", format=str), itemgetter("side")),
        (Column("Batch", format=str), itemgetter("batch")),
        (Column("Ours (ms)"), itemgetter("ms")),
        (Column("Peer (ms)"), itemgetter("peer_ms")),
        (Column("Ours / peer"), itemgetter("ratio")),
    ]
    title = f"{result['hardware']}{threads}, {versions}, {result['when']}"
    return Table.of(result["peers"], columns, title)


def _measured(
    pair: Pair, side: int, count: int, clock: Clock, device: torch.device
) -> dict[str, Any]:
    torch.manual_seed(0)
    images = torch.rand(count, 3, side, side, device=device)
    labels = torch.randint(0, CLASSES, (count,), device=device)
    mixer, peer = create(pair.method, **pair.options), pair.make()
    given: dict[str, Any] = (
        {"saliency": torch.rand(count, side, side, device=device)} if pair.maps else {}
    )
    theirs = images.clone()  # some mix in place

    def ours() -> object:
        mixed = mixer(images, labels, **given)
        return mixed.soft_labels(CLASSES) if pair.soft else mixed

    def other() -> object:
        return peer(theirs, labels, **given)

    timing = clock.compare(ours, other)
    chosen = ", ".join(f"{key} {value}" for key, value in pair.options.items())
    return {
        "ours": f"{pair.method} ({chosen})" if chosen else pair.method,
        "peer": pair.peer,
        "side": side,
        "batch": count,
        "ms": timing.ms,
        "peer_ms": timing.reference_ms,
        "ratio": timing.ratio,
    }


def installed_pairs(say: Say) -> Iterator[Pair]:
    """The pairs to compare, of the libraries that are installed; reports the others to ``say``."""
    for name, pairs in _LIBRARIES.items():
        if find_spec(name):
            yield from pairs()
        else:
            say(f"{name} is not installed and was skipped: pip install 'saliencymixplus[peers]'")
    yield Pair("resizemix", "naive, nearest neighbour", lambda: naive_resizemix, soft=False)
    yield Pair(
        "saliencymixplus-published",
        "naive loop, given maps",
        lambda: naive_saliencymixplus,
        soft=False,
        maps=True,
        options={"clean_gradient": 0.0},
    )


def _torchvision() -> Iterator[Pair]:
    from torchvision.transforms import v2

    yield Pair("cutmix", "torchvision v2.CutMix", lambda: v2.CutMix(num_classes=CLASSES))
    yield Pair("mixup", "torchvision v2.MixUp", lambda: v2.MixUp(num_classes=CLASSES))


def _timm() -> Iterator[Pair]:
    from timm.data.mixup import Mixup

    for mode, scope in (("batch", "batch"), ("elem", "sample")):
        for method, option in (("cutmix", "box"), ("mixup", "lam0")):
            alphas = {"mixup_alpha": 0.0, "cutmix_alpha": 0.0} | {f"{method}_alpha": 1.0}
            options = {**alphas, "mode": mode, "label_smoothing": 0.0, "num_classes": CLASSES}
            made = partial(Mixup, **options)
            yield Pair(method, f"timm Mixup, {mode}, in place", made, {option: scope})


def _kornia() -> Iterator[Pair]:
    from kornia import augmentation as K

    keys = ["input", "class"]
    cutmix, mixup = K.RandomCutMixV2, K.RandomMixUpV2
    yield Pair(
        "cutmix",
        "kornia RandomCutMixV2",
        lambda: cutmix(p=1.0, data_keys=keys, use_correct_lambda=True),
        {"box": "sample"},
        soft=False,
    )
    yield Pair(
        "mixup",
        "kornia RandomMixUpV2",
        lambda: mixup(p=1.0, data_keys=keys),
        {"lam0": "sample"},
        soft=False,
    )


_LIBRARIES = {"torchvision": _torchvision, "timm": _timm, "kornia": _kornia}


def naive_resizemix(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, float]:
    """ResizeMix with one box per batch, by ``F.interpolate`` and slicing (arXiv:2012.11101).

    Sizes and positions are read on the host, which waits for the device.
    """
    height, width = images.shape[2:]
    tau = 0.1 + 0.7 * float(torch.rand(()))
    tall, wide = max(1, int(tau * height)), max(1, int(tau * width))
    row = int(torch.randint(0, height - tall + 1, ()))
    column = int(torch.randint(0, width - wide + 1, ()))
    partners = torch.randperm(len(images), device=images.device)
    mixed = images.clone()
    mixed[:, :, row : row + tall, column : column + wide] = F.interpolate(
        images[partners], (tall, wide), mode="nearest"
    )
    return mixed, labels, labels[partners], 1 - tall * wide / (height * width)


def naive_saliencymixplus(
    images: Tensor, labels: Tensor, saliency: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """SaliencyMix+ as in its published code, with a loop over the first half of the batch.

    λ = p_a / (p_a + p_b), where p is the fraction of an image's saliency that is still visible.
    """
    half, (height, width) = len(images) // 2, images.shape[2:]
    partners = torch.randperm(half) + half
    mixed, lam = images[:half].clone(), torch.empty(half)
    for i in range(half):
        j = int(partners[i])
        ratio = float(1 - torch.rand(())) ** 0.5
        row, column = divmod(int(saliency[j].argmax()), width)
        up, left = int(height * ratio) // 2, int(width * ratio) // 2
        rows = slice(max(row - up, 0), min(row + up, height))
        columns = slice(max(column - left, 0), min(column + left, width))
        mixed[i, :, rows, columns] = images[j, :, rows, columns]
        hidden = saliency[i, rows, columns].sum() / saliency[i].sum()
        shown = saliency[j, rows, columns].sum() / saliency[j].sum()
        lam[i] = (1 - hidden) / (1 - hidden + shown)
    return mixed, labels[:half], labels[partners], lam
