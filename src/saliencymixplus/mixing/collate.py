"""Mixing in the data loader: a ``collate_fn`` that stacks samples and mixes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate, get_worker_info

from saliencymixplus.mixing.batch import MixedBatch
from saliencymixplus.mixing.mixer import Mixer

# Keys of samples that are dictionaries → the mixer's arguments.
_KEYS = {
    "pixel_values": "images",
    "images": "images",
    "image": "images",
    "labels": "labels",
    "label": "labels",
    "saliency": "saliency",
    "masks": "masks",
    "mask": "masks",
}


def collate(mixer: Mixer, *, generator: torch.Generator | None = None) -> "Collate":
    """Create a ``collate_fn`` for ``DataLoader`` that stacks samples and mixes them.

    For methods that need no network. It can be pickled, so any way of starting workers is fine.

    Args:
        mixer: one whose ``needs_model`` is false.
        generator: source of the random numbers; None: torch's global one, which ``DataLoader``
            seeds in each worker. In a worker, the numbers depend on the seeds of the generator and
            of the worker; the latter differs between workers and epochs, and is reproducible if
            the ``DataLoader`` has a seeded generator as well.

    Returns:
        A function of samples ``(image, label)``, ``(image, label, map)`` or dictionaries with
        ``pixel_values`` (or ``image``), ``labels`` (or ``label``) and, if the method takes them,
        ``saliency`` or ``masks``. The map (H, W) is a mask if the mixer needs masks, else a
        saliency map.

    Raises:
        ValueError: the mixer needs the network.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> samples = [(torch.zeros(3, 8, 8), 0), (torch.ones(3, 8, 8), 1)]
        >>> mixed = collate(create("cutmix"))(samples)
        >>> mixed.images.shape, mixed.labels_b.tolist()
        (torch.Size([2, 3, 8, 8]), [1, 0])
    """
    return Collate(mixer, generator)


class Collate:
    """See ``collate``."""

    def __init__(self, mixer: Mixer, generator: torch.Generator | None = None) -> None:
        if mixer.needs_model:
            raise ValueError(f"{mixer.method} needs the network: mix in the training loop instead")
        self.mixer = mixer
        self.generator = generator
        self._worker: tuple[int, torch.Generator] | None = None  # this worker's seed and generator

    def __call__(self, samples: Sequence[Any]) -> MixedBatch:
        fields = self._stacked(samples)
        images, labels = fields.pop("images"), fields.pop("labels")
        return self.mixer(images, labels, generator=self._generator(), **fields)

    def _stacked(self, samples: Sequence[Any]) -> dict[str, Any]:
        if not samples:
            raise ValueError("there are no samples to collate")
        first = samples[0]
        if isinstance(first, Mapping):
            unknown = [key for key in first if key not in _KEYS]
            if unknown:
                raise ValueError(f"a mixed batch has no field for a sample's {unknown[0]!r}")
            names = [_KEYS[key] for key in first]
            columns = [[sample[key] for sample in samples] for key in first]
        else:
            extra = "masks" if self.mixer.needs_masks else "saliency"
            names = ["images", "labels", extra]
            if not isinstance(first, tuple | list) or len(first) not in (2, 3):
                raise ValueError("samples must be (image, label), (image, label, map) or dicts")
            columns = [list(column) for column in zip(*samples, strict=True)]
        fields = {name: _stack(name, column) for name, column in zip(names, columns, strict=False)}
        if missing := {"images", "labels"} - set(fields):
            raise ValueError(f"samples lack their {' and '.join(sorted(missing))}")
        return fields

    def __getstate__(self) -> dict[str, Any]:
        generator = self.generator
        if generator is None:
            return {"mixer": self.mixer, "generator": None}
        # As bytes: multiprocessing would send a tensor through shared memory, which is freed before
        # a spawned worker opens it.
        state = bytes(generator.get_state().tolist())
        return {"mixer": self.mixer, "generator": (generator.device, state)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        generator = None
        if state["generator"] is not None:
            device, numbers = state["generator"]
            generator = torch.Generator(device)
            generator.set_state(torch.tensor(list(numbers), dtype=torch.uint8))
        self.__init__(state["mixer"], generator)  # type: ignore[misc]

    def _generator(self) -> torch.Generator | None:
        worker = get_worker_info()
        if self.generator is None or worker is None:
            return self.generator
        if self._worker is None or self._worker[0] != worker.seed:
            seed = (self.generator.initial_seed() * 6364136223846793005 + worker.seed) % 2**63
            self._worker = worker.seed, torch.Generator().manual_seed(seed)
        return self._worker[1]


def _stack(name: str, values: list[Any]) -> Any:
    try:
        return default_collate(values)
    except (TypeError, RuntimeError) as error:
        kind = type(values[0]).__name__
        raise ValueError(f"the {name} of a batch ({kind}) cannot be stacked: {error}") from error
