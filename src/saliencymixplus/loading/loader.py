"""Choose where a split's images are held, and load batches that do not fit on the device."""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from saliencymixplus.datasets.prepared import Prepared
from saliencymixplus.loading.augment import Augmentation, Draws
from saliencymixplus.loading.batches import (
    BatchSource,
    DeviceData,
    Inputs,
    LoadedBatch,
    ShardData,
    arrays_of,
)

_FRACTION = 0.4  # of the free memory; the rest is for the network
_AVAILABLE = re.compile(r"MemAvailable:\s*(\d+) kB")


class SplitRows(Dataset[Inputs]):
    """Reads whole batches of a split, indexed by a batch's row indices."""

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        # Workers get the file names of memory maps; pickled arrays would be copied in full.
        self._arrays: list[Any] = [_name_of(array) for array in arrays]

    def __getitem__(self, rows: Tensor) -> Inputs:
        for i, array in enumerate(self._arrays):
            if isinstance(array, Path):
                self._arrays[i] = np.load(array, mmap_mode="r", allow_pickle=False)
        index = rows.numpy()
        return tuple(torch.from_numpy(np.asarray(array[index])) for array in self._arrays)


@dataclass(eq=False)
class HostData(BatchSource):
    """Leaves the split on disk: workers read pixels, and the device does the rest.

    Neither the order nor the content of batches depends on the number of ``workers``.
    """

    workers: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        self._order: list[Tensor] = []  # changed in place, so that the loader keeps its workers
        self._loader = DataLoader(
            SplitRows(self.arrays.values()),
            batch_size=None,
            sampler=self._order,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            prefetch_factor=4 if self.workers else None,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # or the loader would draw from the global generator
        )

    def inputs(self, batches: Sequence[Tensor]) -> Iterator[Inputs]:
        """Yield each batch's rows of ``arrays``, sent to the device one batch ahead."""
        self._order[:] = batches
        ahead: deque[Inputs] = deque()
        for batch in self._loader:
            ahead.append(tuple(t.to(self.device, non_blocking=True) for t in batch))
            if len(ahead) > 1:
                yield ahead.popleft()
        yield from ahead

    def assemble(self, inputs: Inputs, draws: Draws | None = None) -> LoadedBatch:
        rows = torch.arange(len(inputs[0]), device=self.device)
        return self._batch(dict(zip(self.arrays, inputs, strict=True)), rows, draws)


def open_sources(
    prepared: Prepared,
    augmentation: Augmentation,
    device: torch.device,
    *,
    saliency: bool,
    masks: bool = False,
    place: str = "auto",
    workers: int = 2,
    processes: int = 1,
    say: Callable[[str], None] = print,
) -> dict[str, BatchSource]:
    """Open every split as batches on ``device``; only ``train`` is augmented.

    Args:
        saliency, masks: whether to include them in training batches.
        place: ``device`` holds everything on the device, ``shard`` only the process's part of an
            epoch; with ``host``, worker processes read from disk. ``auto`` is the first of these
            that takes less than 40 % of the device's free memory.
        say: receives a message on where the data are.
    """
    splits = {name: prepared.split(name) for name in prepared.splits}
    plain = Augmentation("none", augmentation.size, augmentation.output, center=augmentation.center)
    evaluated = [split for name, split in splits.items() if name != "train"]
    arrays = [
        *arrays_of(splits["train"], saliency=saliency, masks=masks).values(),
        *(a for s in evaluated for a in arrays_of(s, saliency=False, masks=False).values()),
    ]
    needed = sum(array.nbytes for array in arrays)
    free = free_memory(device)
    if place == "auto":
        fitting = {"device": needed, "shard": needed / processes}
        place = next((name for name, size in fitting.items() if size <= _FRACTION * free), "host")
    if place == "shard" and processes == 1:
        place = "device"  # a single process's part is everything
    where = {
        "device": f"on {device}",
        "shard": f"one part of {processes} on {device}, sent for each epoch",
        "host": f"read by {workers} worker processes",
    }[place]
    say(f"data: {needed / 1e6:,.0f} MB, {where} ({free / 1e9:,.1f} GB free)")
    kinds: dict[str, Any] = {
        "device": DeviceData,
        "shard": ShardData,
        "host": partial(HostData, workers=workers),
    }
    sources: dict[str, BatchSource] = {}
    for name, split in splits.items():
        train = name == "train"
        sources[name] = kinds[place](
            split,
            augmentation if train else plain,
            prepared.meta.mean,
            prepared.meta.std,
            device,
            saliency=saliency and train,
            masks=masks and train,
        )
    return sources


def free_memory(device: torch.device) -> int:
    """Free memory on ``device`` in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    meminfo = Path("/proc/meminfo")
    try:
        # MemAvailable, unlike sysconf, includes the page cache, which is freed on demand.
        if meminfo.is_file() and (found := _AVAILABLE.search(meminfo.read_text("ascii"))):
            return int(found[1]) * 1024
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):  # unknown on this system
        return 1 << 62


def _name_of(array: Any) -> Any:
    if isinstance(array, np.memmap) and array.filename is not None:
        return Path(array.filename)
    return array
