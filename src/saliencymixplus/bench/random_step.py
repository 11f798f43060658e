"""Build the real training step on random images, for the benchmark."""

import numpy as np
import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.bench.settings import BenchSettings
from saliencymixplus.datasets.prepared import Split
from saliencymixplus.engine.build import make_step
from saliencymixplus.engine.device import autocast_for
from saliencymixplus.engine.step import TrainStep
from saliencymixplus.loading.augment import augmentation_for
from saliencymixplus.loading.batches import DeviceData, Inputs
from saliencymixplus.models import create_model


def step_on_random_images(
    settings: BenchSettings, mixer: mixing.Mixer, device: torch.device, dtype: torch.dtype
) -> tuple[TrainStep, Inputs]:
    """A training step as ``engine.build`` would assemble it, and a batch of random images."""
    sizes = {"batch_size": settings.batch_size, "crop_size": settings.image_size}
    recipe = settings.training.model_copy(update=sizes | {"accumulate": 1})
    side, count = settings.prepared_size, 4 * settings.batch_size
    rng = np.random.default_rng(0)
    split = Split(
        "train",
        rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        rng.integers(0, settings.classes, count),
        rng.integers(0, 256, (count, side, side), dtype=np.uint8),
        rng.integers(0, 2, (count, side, side), dtype=np.uint8),
        [],
    )
    augmentation = augmentation_for(recipe, (side, side))
    source = DeviceData(
        split,
        augmentation,
        (0.5,) * 3,
        (0.25,) * 3,
        device,
        saliency=mixer.needs_saliency,
        masks=mixer.needs_masks,
    )
    torch.manual_seed(0)
    local: nn.Module = create_model(settings.model, settings.classes, settings.image_size).train()
    if mixer.trains_part:
        mixer.attach(local, torch.zeros(2, 3, settings.image_size, settings.image_size))
    local = local.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    autocast = autocast_for(dtype, device)
    step = make_step(local, mixer, source, recipe, autocast=autocast, compiled=settings.compile)
    (inputs,) = source.inputs([torch.arange(settings.batch_size)])
    return step, inputs
