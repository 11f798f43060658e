"""Grids of mixed samples, as the network in training mixes them at chosen epochs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from saliencymixplus.datasets.prepared import Meta
from saliencymixplus.engine.build import Assembly
from saliencymixplus.engine.randomness import batches_of_epoch, generator_for
from saliencymixplus.files import write_atomically
from saliencymixplus.settings import RunSettings
from saliencymixplus.tracking import Tracker

GROUP = "epoch"  # of MLflow's charts: it shows groups in alphabetical order, this one first
_IMAGES, _SHOWN = 16, 8


def log_samples(
    run: RunSettings, meta: Meta, parts: Assembly, epoch: int, folder: Path, tracker: Tracker
) -> None:
    """Draw the same training images, mixed after this epoch, and hand them to the tracker.

    Epoch 0 is before the first.
    The images are whole and upright; the random numbers are the same at every epoch, so that a
    series of grids shows what the network changes. Nothing of the training is touched.
    """
    from saliencymixplus.pictures.grid import mixed_grid

    step = parts.step
    count = min(_IMAGES, run.training.batch_size)
    rows = batches_of_epoch(meta.counts["train"], count, run.seed, epoch=0)[0]
    (inputs,) = step.source.inputs([rows])
    batch = step.source.assemble(inputs)
    generator = generator_for(run.seed, "samples", device=step.source.device)
    with torch.random.fork_rng(devices=[]), _buffers_kept(step.twin), parts.autocast():
        mixed = step.mixer(
            batch.images,
            batch.labels,
            generator=generator,
            model=step.twin,
            saliency=batch.saliency if step.mixer.needs_saliency else None,
        )
    image = mixed_grid(
        mixed,
        batch.images,
        batch.labels,
        mean=meta.mean,
        std=meta.std,
        classes=meta.classes,
        saliency=batch.saliency,
        count=_SHOWN,
        title=f"{run.mix.name}, " + (f"epoch {epoch}" if epoch else "before training"),
    )
    path = folder / "samples" / f"epoch_{epoch:04d}.png"
    write_atomically(path, lambda part: Image.fromarray(image).save(part, format="PNG"))
    tracker.log_image(f"{GROUP}/mixed samples", image, epoch)


@contextmanager
def _buffers_kept(network: nn.Module) -> Iterator[None]:
    """Put back what a pass does to the statistics: the published SaliencyMix+ updates them."""
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
