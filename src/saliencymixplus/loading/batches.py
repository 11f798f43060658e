"""Make batches from uint8 arrays on the training device: gather, augment, normalise."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from saliencymixplus.datasets.prepared import OBJECT, Split
from saliencymixplus.loading.augment import Augmentation, Draws
from saliencymixplus.loading.crops import central, gather, resize_boxes, whole
from saliencymixplus.loading.erasing import erase, inside
from saliencymixplus.loading.pixels import UNIT, ByteNormalization

Inputs = tuple[Tensor, ...]
PIECE = 8192  # images copied to the device at once


class LoadedBatch(NamedTuple):
    """A batch. In training, maps and masks are augmented with the images, and 0 where erased."""

    images: Tensor  # (B, 3, H, W) float32, normalised
    labels: Tensor  # (B,) int64
    saliency: Tensor | None  # (B, H, W) float32 in [0, 1]
    masks: Tensor | None = None  # (B, H, W) uint8: 1 object, 0 anything else


@dataclass(eq=False)
class BatchSource:
    """One split as batches on ``device``.

    ``inputs`` yields what the host sends for each batch, in fixed shapes, so that a captured step
    can keep buffers for it; ``assemble`` turns that into the batch, entirely on the device.

    Attributes:
        mean, std: per-channel statistics of pixels in [0, 1].
        saliency, masks: whether to include them in the batches, if the split has them.
    """

    split: Split
    augmentation: Augmentation
    mean: Sequence[float]
    std: Sequence[float]
    device: torch.device
    _: KW_ONLY
    saliency: bool = False
    masks: bool = False

    def __post_init__(self) -> None:
        self.arrays = arrays_of(self.split, saliency=self.saliency, masks=self.masks)
        self._normalize = ByteNormalization(self.mean, self.std, self.device)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.split)

    def inputs(self, batches: Sequence[Tensor]) -> Iterator[Inputs]:
        """Yield the inputs of ``assemble`` for ``batches`` of row indices (B,) int64 on the CPU."""
        raise NotImplementedError

    def assemble(self, inputs: Inputs, draws: Draws | None = None) -> LoadedBatch:
        """The batch, augmented by ``draws``; if None, as for evaluation."""
        raise NotImplementedError

    def _batch(self, held: Mapping[str, Tensor], rows: Tensor, draws: Draws | None) -> LoadedBatch:
        """Assemble the batch of ``rows`` (B,) from the tensors ``held``, keyed like ``arrays``."""
        how = self.augmentation
        if draws is not None:
            boxes, resized = draws.boxes, how.resized
        elif how.center:
            boxes, resized = central(len(rows), how.size, how.output, self.device), False
        else:
            boxes, resized = whole(len(rows), how.size, self.device), how.output != how.size

        def cut(pixels: Tensor, read: Callable[[Tensor], Tensor] = Tensor.float) -> Tensor:
            """(N, H, W[, 3]) to float32 (B, *output[, 3]); ``read`` converts the values."""
            if not resized:
                return read(gather(pixels, rows, boxes, how.output, reflect=how.reflect))
            chosen = read(pixels.index_select(0, rows))
            channels = chosen.permute(0, 3, 1, 2) if chosen.ndim == 4 else chosen[:, None]
            found = resize_boxes(channels, boxes, how.output)
            return found.permute(0, 2, 3, 1) if chosen.ndim == 4 else found[:, 0]

        images = cut(held["images"]).permute(0, 3, 1, 2)
        saliency = cut(held["saliency"]) if "saliency" in held else None
        masks = None
        if "masks" in held:
            masks = cut(held["masks"], lambda values: (values == OBJECT).float())
        if draws is not None and draws.ops is not None:
            from saliencymixplus.loading.policy_ops import apply_policy

            pixels = images.round().clamp(0, UNIT).byte()
            pixels, (saliency, masks) = apply_policy(pixels, (saliency, masks), draws.ops)
            images = pixels.float()
        images = self._normalize(images)
        if draws is not None and draws.erased is not None:
            images = erase(images, draws.erased)
            hidden = inside(draws.erased, how.output)
            saliency = None if saliency is None else saliency.masked_fill(hidden, 0.0)
            masks = None if masks is None else masks.masked_fill(hidden, 0.0)
        return LoadedBatch(
            images.contiguous(memory_format=torch.channels_last),
            held["labels"].index_select(0, rows),
            None if saliency is None else saliency / UNIT,
            # After resizing, a pixel belongs to the object if at least half of it does.
            None if masks is None else (masks >= 0.5).byte(),
        )


class DeviceData(BatchSource):
    """The whole split as uint8 tensors on the device; the host sends only row indices."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._hold(None)

    def inputs(self, batches: Sequence[Tensor]) -> Iterator[Inputs]:
        """Yield row indices (B,) on the device, sent for the whole epoch at once."""
        if not batches:
            return
        rows = torch.cat(list(batches))
        if self.device.type == "cuda":
            rows = rows.pin_memory().to(self.device, non_blocking=True)
        else:
            rows = rows.to(self.device)
        for part in rows.split([len(batch) for batch in batches]):
            yield (part,)

    def assemble(self, inputs: Inputs, draws: Draws | None = None) -> LoadedBatch:
        (rows,) = inputs
        return self._batch(self._held, rows, draws)

    def _hold(self, rows: Tensor | None) -> None:
        """Copy these rows of the split to the device; None: all."""
        self._held = {kind: _on(a, rows, self.device) for kind, a in self.arrays.items()}


class ShardData(DeviceData):
    """Holds only this process's part of an epoch on its device.

    The order of images does not depend on the number of processes, so the part differs from epoch
    to epoch and is sent at the start of each.
    """

    def inputs(self, batches: Sequence[Tensor]) -> Iterator[Inputs]:
        """Copy all images of ``batches`` to the device, then yield their indices there."""
        if not batches:
            return
        self._hold(torch.cat(list(batches)))
        sizes = [len(batch) for batch in batches]
        yield from super().inputs(torch.arange(sum(sizes)).split(sizes))

    def _hold(self, rows: Tensor | None) -> None:
        self._held = {}  # free the previous epoch's images first: both might not fit
        super()._hold(torch.empty(0, dtype=torch.int64) if rows is None else rows)


def arrays_of(split: Split, *, saliency: bool, masks: bool) -> dict[str, np.ndarray]:
    """Images and labels, and the saliency maps and masks that are requested and exist."""
    arrays: dict[str, np.ndarray] = {"images": split.images, "labels": split.labels}
    if saliency and split.saliency is not None:
        arrays["saliency"] = split.saliency
    if masks and split.masks is not None:
        arrays["masks"] = split.masks
    return arrays


def _on(array: np.ndarray, rows: Tensor | None, device: torch.device) -> Tensor:
    """Copy these rows of ``array``, or all, to ``device``, in pieces to limit host memory.

    On the CPU, a whole memory map is used in place, so that parallel trainings share its memory.
    """
    if rows is None and device.type == "cpu" and isinstance(array, np.memmap):
        with warnings.catch_warnings():  # about read-only maps; batches are copies
            warnings.simplefilter("ignore", UserWarning)
            return torch.from_numpy(array)
    count = len(array) if rows is None else len(rows)
    dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
    found = torch.empty((count, *array.shape[1:]), dtype=dtype, device=device)
    for start in range(0, count, PIECE):
        piece = slice(start, start + PIECE)
        taken = array[piece if rows is None else rows[piece].numpy()]
        found[piece].copy_(torch.from_numpy(np.array(taken)))  # copy: the map is read-only
    return found
