"""Grids of mixed training images, mixed using the network as it is at the chosen epochs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from saliencymixplus.engine.context import TrainingContext
from saliencymixplus.engine.randomness import batches_of_epoch, generator_for
from saliencymixplus.files import write_atomically
from saliencymixplus.mixing.trained_part import part_of

_IMAGES, _SHOWN = 16, 8


def save_samples(context: TrainingContext, folder: Path) -> None:
    """Draw mixed training images as ``folder``/samples/epoch_0001.png.

    Images (not augmented) and random numbers are the same after every epoch (0: before the first),
    so that a series of grids shows only the effect of the network. Each member of a switch mixes an
    equal number of images. The training is not affected.
    """
    from saliencymixplus.pictures.grid import draw_samples, samples_of
    from saliencymixplus.pictures.style import method_label

    run, meta, step, epoch = context.run, context.meta, context.parts.step, context.state.epoch
    count = min(_IMAGES, run.training.batch_size)
    rows = batches_of_epoch(meta.counts["train"], count, run.seed, epoch=0)[0]
    (inputs,) = step.source.inputs([rows])
    batch = step.source.assemble(inputs)
    samples = []
    for number, mixer in enumerate(step.mixer.members):
        with (
            torch.random.fork_rng(devices=[]),
            _buffers_kept(step.saliency_model),
            step.autocast(),
        ):
            mixed = mixer(
                batch.images,
                batch.labels,
                generator=generator_for(run.seed, "samples", device=step.source.device),
                model=step.saliency_model,
                saliency=batch.saliency if mixer.needs_saliency else None,
                masks=batch.masks if mixer.needs_masks else None,
                part=part_of(step.local),
            )
        samples += samples_of(
            mixed,
            batch.images,
            batch.labels,
            meta,
            saliency=batch.saliency,
            which=range(number, min(_SHOWN, len(mixed.images)), len(step.mixer.members)),
        )
    when = f"epoch {epoch}" if epoch else "before training"
    image = draw_samples(samples, title=f"{method_label(run.mix.name)}, {when}")
    path = folder / "samples" / f"epoch_{epoch:04d}.png"
    write_atomically(path, lambda part: Image.fromarray(image).save(part, format="PNG"))


@contextmanager
def _buffers_kept(network: nn.Module) -> Iterator[None]:
    """Restore the batch-norm statistics, which the published saliency pass updates."""
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
