"""Preview mixed samples of any data set and method, with or without a trained network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from saliencymixplus.datasets.prepared import Prepared, load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.loading.batches import LoadedBatch
from saliencymixplus.loading.load_batch import load_batch
from saliencymixplus.mixing import MixedBatch, create, gradient_saliency
from saliencymixplus.mixing.methods.saliencymix import SaliencyMixOptions, fine_grained_of_floats
from saliencymixplus.models import create_model
from saliencymixplus.pictures.drawing import save_picture
from saliencymixplus.pictures.grid import draw_samples, samples_of
from saliencymixplus.pictures.style import method_label
from saliencymixplus.reporting.gallery import GalleryRow, draw_gallery
from saliencymixplus.runs.read import load_run
from saliencymixplus.settings import ExperimentSettings, MixSettings, ModelSettings


@dataclass(frozen=True)
class Preview:
    """How many samples were drawn and, if fewer than requested, why."""

    samples: int
    fewer: str


def preview(
    experiment: ExperimentSettings,
    prepared: Path,
    mixes: Sequence[MixSettings],
    output: Path,
    *,
    run: Path | None = None,
    count: int = 8,
    seed: int = 0,
    split: str = "train",
    outlines: bool = False,
) -> Preview:
    """Draw mixed samples to the PNG ``output``: one method in full, several as a gallery.

    One method: for each sample a, b, their saliency, the box, the mixed image, λ and the area. A
    method that uses no saliency is shown beside the run's gradient saliency, or the stored maps.
    Several methods: the same pairs for all, one row per method. The members of a switch are shown
    like several methods.

    Args:
        mixes: the recipes to draw, at least one.
        run: a trained run whose last weights give the gradient saliency; None: if a method needs a
            network, an untrained one of the experiment's model, initialised with ``seed``.
        count: samples to draw, at least 1; the split may have fewer images.
        outlines: trace annotated objects, if the data have masks.

    Raises:
        UserError: the data or the run are missing, or do not fit together.
    """
    data = load_prepared(prepared)
    images = data.split(split)
    recipes = [(mix, recipe) for mix in mixes for _, recipe in mix.members]
    single = len(recipes) == 1
    shown = min(count, len(images))
    # Larger than what is shown: published variants mix only half of the batch, and normalise over
    # all of it.
    size = min(max(2 * shown, 16), len(images))
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(images), generator=generator)[:size].tolist()
    batch = load_batch(images, rows, data.meta, experiment.training.crop_size)
    model, note = None, ""
    if run is not None:
        model = _trained(run, data)
    elif any(create(recipe.method, **recipe.options).needs_model for _, recipe in recipes):
        model = _untrained(experiment.model, len(data.meta.classes), batch, seed)
        note = "saliency of an untrained network"
    mixed = [_mix(recipe, batch, model, seed) for _, recipe in recipes]
    maps = None
    if single and mixed[0].saliency is None:
        maps, note = _unused_maps(batch, model)
    masks = batch.masks if outlines else None
    described = [
        GalleryRow(
            _title(recipe) if recipe is mix else f"{method_label(mix.name)}: {_title(recipe)}",
            samples_of(
                result,
                batch.images,
                batch.labels,
                data.meta,
                saliency=maps,
                masks=masks,
                count=shown,
            ),
        )
        for (mix, recipe), result in zip(recipes, mixed, strict=True)
    ]
    if single:
        title = ": ".join(part for part in (described[0].title, note) if part)
        picture = draw_samples(described[0].samples, title=title)
    else:
        picture = draw_gallery(described, note=note)
    save_picture(picture, output)
    drawn = max(len(row.samples) for row in described)
    why = f"the {split} split has {len(images)} images" if drawn < count else ""
    return Preview(drawn, why)


def _mix(mix: MixSettings, batch: LoadedBatch, model: nn.Module | None, seed: int) -> MixedBatch:
    mixer = create(mix.method, **mix.options)
    if mixer.needs_saliency and batch.saliency is None:
        raise UserError(f"{mix.name} needs stored saliency maps: run `prepare` again")
    if mixer.needs_masks and batch.masks is None:
        raise UserError(f"{mix.name} needs object masks, which these data do not have")
    count, _, height, width = batch.images.shape
    draw = mixer.draw(count, height, width, generator=torch.Generator().manual_seed(seed))
    if mix.method != "none":
        # Every method gets the same partner, the next in the batch, so that rows can be compared.
        partner = torch.arange(1, count + 1)[: draw.size] % count
        draw = replace(draw, index_b=partner)
    saliency = batch.saliency if mixer.needs_saliency else None
    if isinstance(mixer.options, SaliencyMixOptions) and not mixer.options.on_device:
        saliency = fine_grained_of_floats(batch.images)  # the same boxes, with maps to show
    return mixer(
        batch.images,
        batch.labels,
        draw=draw,
        model=model if mixer.needs_model else None,
        saliency=saliency,
        masks=batch.masks if mixer.needs_masks else None,
    )


def _unused_maps(batch: LoadedBatch, model: nn.Module | None) -> tuple[Tensor | None, str]:
    """Maps (B, H, W) to show beside a method that uses none, and a note that says so."""
    if model is not None:
        maps, _ = gradient_saliency(model, batch.images, batch.labels)
        return maps, "it uses no saliency; shown is the network's"
    if batch.saliency is not None:
        return batch.saliency, "it uses no saliency; shown are the stored maps"
    return None, ""


def _trained(run: Path, data: Prepared) -> nn.Module:
    trained = load_run(run)
    if trained.data.classes != data.meta.classes:
        raise UserError(f"{run} was trained on classes other than those of these data")
    return trained.model("last")


def _untrained(model: ModelSettings, classes: int, batch: LoadedBatch, seed: int) -> nn.Module:
    height, width = batch.images.shape[2:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = create_model(
            model.name,
            classes,
            (height, width),
            model.stem,
            zero_init_residual=model.zero_init_residual,
        )
    return network.eval()


def _title(mix: MixSettings) -> str:
    """The recipe's label, with its variant unless the name has it."""
    variant = mix.options.get("variant", "")
    return method_label(mix.name) + (f", {variant}" if variant not in mix.name else "")
