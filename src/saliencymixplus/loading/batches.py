"""Batches from uint8 arrays that live on the training device: gathered, augmented, normalised."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from saliencymixplus.datasets.prepared import Split
from saliencymixplus.loading.augment import Augmentation, Boxes, gather, resize, whole

Inputs = tuple[Tensor, ...]
_PIECE = 8192  # images that go to the device at once


class Batch(NamedTuple):
    """What a step trains on."""

    images: Tensor  # (B, 3, H, W) float32, normalised, channels last
    labels: Tensor  # (B,) int64
    saliency: Tensor | None  # (B, H, W) float32 in [0, 1], moved with the images


class Source:
    """One split, as batches on ``device``.

    ``inputs`` gives what the host sends for each batch (fixed shapes, so that a captured step can
    keep buffers for it), and ``assemble`` turns that into the batch, on the device alone.
    """

    def __init__(
        self,
        split: Split,
        augmentation: Augmentation,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        *,
        saliency: bool = False,
    ) -> None:
        self.split = split
        self.augmentation = augmentation
        self.device = device
        self.with_saliency = saliency and split.saliency is not None
        # (x / 255 − mean) / std as one multiplication and one addition.
        deviation = torch.tensor(std, dtype=torch.float64)
        scale = 1.0 / (255.0 * deviation)
        shift = -torch.tensor(mean, dtype=torch.float64) / deviation
        self._scale = scale.float().view(1, 3, 1, 1).to(device)
        self._shift = shift.float().view(1, 3, 1, 1).to(device)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.split)

    def inputs(self, batches: Sequence[Tensor]) -> Iterator[Inputs]:
        """For each of ``batches`` (row numbers (B,) int64 on the CPU) what ``assemble`` takes."""
        raise NotImplementedError

    def assemble(self, inputs: Inputs, boxes: Boxes | None = None) -> Batch:
        """The batch; ``boxes`` None: whole images, resized to the network's input, not mirrored."""
        raise NotImplementedError

    def _batch(
        self, pixels: Tensor, labels: Tensor, maps: Tensor | None, rows: Tensor, boxes: Boxes | None
    ) -> Batch:
        """Cut ``rows`` (B,) out of ``pixels`` (N, H, W, 3) and ``maps`` (N, H, W)."""
        how = self.augmentation
        resized = how.resized if boxes is not None else how.output != how.size
        if boxes is None:
            boxes = whole(len(rows), how.size, self.device)
        chosen = None
        if resized:
            images = pixels.index_select(0, rows).permute(0, 3, 1, 2).float()
            images = resize(images, boxes, how.output)
            if maps is not None:
                chosen = resize(maps.index_select(0, rows)[:, None].float(), boxes, how.output)[
                    :, 0
                ]
        else:
            images = gather(pixels, rows, boxes, how.output).permute(0, 3, 1, 2).float()
            if maps is not None:
                chosen = gather(maps, rows, boxes, how.output).float()
        images = torch.addcmul(self._shift, images, self._scale)
        return Batch(
            images.contiguous(memory_format=torch.channels_last),
            labels,
            None if chosen is None else chosen / 255.0,
        )


class DeviceData(Source):
    """The whole split as uint8 tensors on the device; the host sends row numbers only."""

    def __init__(
        self,
        split: Split,
        augmentation: Augmentation,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        *,
        saliency: bool = False,
    ) -> None:
        super().__init__(split, augmentation, mean, std, device, saliency=saliency)
        self._hold(None)

    def inputs(self, batches: Sequence[Tensor]) -> Iterator[Inputs]:
        """Row numbers (B,) on the device; an epoch's go there in one piece."""
        if not batches:
            return
        rows = torch.cat(list(batches))
        if self.device.type == "cuda":
            rows = rows.pin_memory().to(self.device, non_blocking=True)
        else:
            rows = rows.to(self.device)
        for part in rows.split([len(batch) for batch in batches]):
            yield (part,)

    def assemble(self, inputs: Inputs, boxes: Boxes | None = None) -> Batch:
        (rows,) = inputs
        labels = self._labels.index_select(0, rows)
        return self._batch(self._pixels, labels, self._maps, rows, boxes)

    def _hold(self, rows: Tensor | None) -> None:
        """Have these rows of the split on the device; None: all."""
        self._pixels = _on(self.split.images, rows, self.device)
        self._labels = _on(self.split.labels, rows, self.device)
        maps = self.split.saliency if self.with_saliency else None
        self._maps = None if maps is None else _on(maps, rows, self.device)


class ShardData(DeviceData):
    """Of several processes, each has its own part of an epoch on its device, and nothing else.

    Which images these are changes with the epoch, as the order of the images must not depend on
    the number of processes: they are sent at its start.
    """

    def inputs(self, batches: Sequence[Tensor]) -> Iterator[Inputs]:
        """Send all images of ``batches``, then give their places on the device."""
        if not batches:
            return
        self._hold(torch.cat(list(batches)))
        sizes = [len(batch) for batch in batches]
        yield from super().inputs(torch.arange(sum(sizes)).split(sizes))

    def _hold(self, rows: Tensor | None) -> None:
        # The last epoch's go first: both would not fit.
        self._pixels = self._labels = torch.empty(0, device=self.device)
        self._maps = None
        super()._hold(torch.empty(0, dtype=torch.int64) if rows is None else rows)


def bytes_of(split: Split, *, saliency: bool) -> int:
    """What ``DeviceData`` takes on its device."""
    maps = split.saliency.nbytes if saliency and split.saliency is not None else 0
    return split.images.nbytes + split.labels.nbytes + maps


def _on(array: np.ndarray, rows: Tensor | None, device: torch.device) -> Tensor:
    """These rows of ``array``, or all, on ``device``; a piece at a time: they may be many."""
    count = len(array) if rows is None else len(rows)
    found = torch.empty((count, *array.shape[1:]), dtype=_dtype(array), device=device)
    for start in range(0, count, _PIECE):
        piece = slice(start, start + _PIECE)
        taken = array[piece if rows is None else rows[piece].numpy()]
        found[piece].copy_(torch.from_numpy(np.array(taken)))  # a copy: memory maps are read-only
    return found


def _dtype(array: np.ndarray) -> torch.dtype:
    return torch.from_numpy(np.empty(0, array.dtype)).dtype
