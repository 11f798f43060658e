"""Mix annotated images and record each result's label and visible objects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from saliencymixplus.audit.records import Indices, Records, joined
from saliencymixplus.datasets.prepared import Meta, Split
from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.map_agreement import measures
from saliencymixplus.loading.batches import LoadedBatch
from saliencymixplus.loading.load_batch import load_batch
from saliencymixplus.mixing import MixedBatch, Mixer
from saliencymixplus.mixing.visible_fraction import truth
from saliencymixplus.pictures.grid import Sample, samples_of


@dataclass
class Worst:
    """The ``size`` mixed samples with the largest label errors, worst first."""

    size: int
    samples: list[tuple[float, Sample]] = field(default_factory=list)

    def add(self, mixed: MixedBatch, batch: LoadedBatch, records: Records, meta: Meta) -> None:
        """Keep a batch's samples whose errors are among the largest so far."""
        errors = np.nan_to_num(np.abs(records.lam - records.true_lam), nan=-1.0)
        least = self.samples[-1][0] if len(self.samples) == self.size else -np.inf
        order = [int(i) for i in np.argsort(-errors)[: self.size] if errors[i] > least]
        found = samples_of(mixed, batch.images, batch.labels, meta, masks=batch.masks, which=order)
        for i, sample in zip(order, found, strict=True):
            note = (
                f"true λ {records.true_lam[i]:.2f}: "
                f"{records.visible_a[i]:.0%} of a's object, {records.visible_b[i]:.0%} of b's"
            )
            self.samples.append((float(errors[i]), replace(sample, note=note)))
        self.samples = sorted(self.samples, key=lambda entry: -entry[0])[: self.size]


def batches(rows: Indices, images: int, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Yield at least one batch of positions, about ``images`` in total.

    ``rows`` are reshuffled on each pass. A batch has at least two images and no duplicates, and
    batch sizes within a pass differ by at most one.
    """
    generator = np.random.default_rng(seed)
    left = max(images, 2)
    while left > 1:
        chosen = generator.permutation(rows)[:left]
        left -= len(chosen)
        parts = min(-(-len(chosen) // batch_size), len(chosen) // 2)
        for part in np.array_split(chosen, parts):
            yield part.tolist()


def mix_and_record(
    split: Split,
    rows: Indices,
    meta: Meta,
    mixer: Mixer,
    models: Sequence[nn.Module],
    *,
    images: int,
    batch_size: int,
    seed: int,
    size: int | None = None,
    device: torch.device | str = "cpu",
    worst: Worst | None = None,
) -> Records:
    """Mix about ``images`` annotated images from ``rows``, recording each mixed image.

    Batches depend only on ``seed``, so that every mixer gets the same ones. A mixer that needs a
    network's saliency cycles through ``models``, one per batch. The members of a switch are drawn
    with their probabilities, as in training; batches that stay unmixed are not recorded.

    Raises:
        UserError: stored saliency maps are missing, or no batch was mixed.
    """
    parts: list[Records] = []
    generator = torch.Generator().manual_seed(seed)
    for number, chosen in enumerate(batches(rows, images, batch_size, seed)):
        batch = load_batch(split, chosen, meta, size, device)
        model = models[number % len(models)] if mixer.needs_model else None
        saliency = batch.saliency if mixer.needs_saliency else None
        if mixer.needs_saliency and saliency is None:
            raise UserError(f"{mixer.method} needs stored saliency maps: run `prepare` again")
        mixed = mixer(
            batch.images,
            batch.labels,
            generator=generator,
            model=model,
            saliency=saliency,
            masks=batch.masks if mixer.needs_masks else None,
        )
        if mixed.mask is None:  # a switch drew its member `none`
            continue
        records = record(mixed, batch, np.asarray(chosen), number)
        parts.append(records)
        if worst is not None:
            worst.add(mixed, batch, records, meta)
    if not parts:
        raise UserError("no batch was mixed: raise audit.images")
    return joined(parts)


def record(mixed: MixedBatch, batch: LoadedBatch, rows: Indices, number: int = 0) -> Records:
    """Record each mixed image; ``rows`` are the positions of the batch's images in the split."""
    assert batch.masks is not None
    seen = truth(mixed, batch.masks)
    labels = batch.labels.cpu().numpy()
    a, b = mixed.index_a.cpu().numpy(), mixed.index_b.cpu().numpy()
    lam = mixed.label_fraction.double().cpu().numpy()
    masks = batch.masks.cpu()
    maps = None if mixed.saliency is None else mixed.saliency.float().cpu()
    located = measures(torch.zeros(masks.shape) if maps is None else maps, masks, threshold=0.5)
    with_map = np.nan if maps is None else 1.0
    averaged = getattr(mixed, "reduction", "per_sample") == "batch_mean"
    return Records(
        batch=np.full(len(lam), number),
        image_a=rows[a],
        image_b=rows[b],
        label_a=labels[a],
        label_b=labels[b],
        lam=lam,
        effective_lam=np.full_like(lam, lam.mean()) if averaged else lam,
        area_lam=mixed.area_lam.double().cpu().numpy(),
        visible_a=seen.visible_a.cpu().numpy(),
        visible_b=seen.visible_b.cpu().numpy(),
        true_lam=seen.relative.cpu().numpy(),
        true_pixel_lam=seen.pixels.cpu().numpy(),
        region=seen.region.cpu().numpy(),
        map_on_object=with_map * located["energy"][a],
        object_area=located["mask_share"][a],
        peak_on_object=with_map * located["pointing"][a],
    )
