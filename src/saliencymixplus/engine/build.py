"""Assemble a training: data, network, optimizer, step, engine."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.datasets.prepared import Meta, Prepared
from saliencymixplus.engine.context import Assembly
from saliencymixplus.engine.cuda_graph import create_engine
from saliencymixplus.engine.device import autocast_for, choose_dtype, threads_for
from saliencymixplus.engine.distributed import Processes
from saliencymixplus.engine.ema import EMA
from saliencymixplus.engine.epoch_metrics import EpochMetrics
from saliencymixplus.engine.flops import training_flops
from saliencymixplus.engine.optimizer import create_optimizer
from saliencymixplus.engine.randomness import Streams, seed_of
from saliencymixplus.engine.step import Pieces, TrainStep
from saliencymixplus.errors import UserError
from saliencymixplus.loading.augment import augmentation_for
from saliencymixplus.loading.batches import BatchSource
from saliencymixplus.loading.loader import open_sources
from saliencymixplus.models import create_model
from saliencymixplus.models.weights import start_from
from saliencymixplus.settings import RunSettings, RuntimeSettings, TrainingSettings


def assemble(
    run: RunSettings,
    prepared: Prepared,
    runtime: RuntimeSettings,
    device: torch.device,
    processes: Processes = Processes(),  # noqa: B008
    say: Callable[[str], None] = print,
) -> Assembly:
    """Build all parts of a training. The initial weights depend only on the seed and the network.

    Args:
        say: receives messages, such as where the data are and which engine is used.

    Raises:
        UserError: the settings do not fit each other, the data or the device.
    """
    recipe, meta = run.training, prepared.meta
    mixer = mixing.create(run.mix.method, **run.mix.options)
    _check(run, meta, mixer, processes)
    augmentation = augmentation_for(recipe, meta.image_size)
    dtype = choose_dtype(recipe.precision, device)
    autocast = autocast_for(dtype, device)
    local = initial_model(run, meta, augmentation.output, say)
    batch_size = recipe.batch_size // processes.world
    if device.type == "cpu":
        torch.set_num_threads(threads_for(training_flops(local, batch_size, augmentation.output)))
    local = local.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    sources = open_sources(
        prepared,
        augmentation,
        device,
        saliency=mixer.needs_saliency,
        masks=mixer.needs_masks,
        place=runtime.data_on,
        workers=runtime.workers,
        processes=processes.world,
        say=say,
    )
    if mixer.needs_masks:
        train = sources["train"].split
        if missing := len(train) - len(train.annotated()):
            say(
                f"masks: {missing} of {len(train)} training images have no object; their labels "
                "are area fractions and their boxes are placed at random"
            )
    step = make_step(
        local,
        mixer,
        sources["train"],
        recipe,
        autocast=autocast,
        compiled=runtime.compile,
        seed=run.seed,
        processes=processes,
    )
    engine, why = create_engine(step, runtime.engine, device, say)
    name = "bf16" if dtype == torch.bfloat16 else "fp32"
    say(f"engine: {why}, {name}, {device}{', compiled' if runtime.compile else ''}")
    # Without gradients a larger batch fits in memory, and small images need one to keep a GPU busy.
    # On a CPU, a larger batch would exceed the caches.
    larger = 1 if device.type == "cpu" else 8 if max(augmentation.output) <= 64 else 2
    # CPUs evaluate in full precision, like the `evaluate` command; on a GPU, that would take a
    # large part of an epoch's time.
    exact = nullcontext if device.type == "cpu" else autocast
    return Assembly(
        sources=sources,
        step=step,
        engine=engine,
        eval_autocast=exact,
        eval_batch_size=larger * recipe.batch_size,
        evaluated=step.ema.model if step.ema and recipe.weight_average else local,
    )


def make_step(
    local: nn.Module,
    mixer: mixing.Mixer,
    source: BatchSource,
    recipe: TrainingSettings,
    *,
    autocast: Callable[[], AbstractContextManager[object]],
    compiled: bool,
    seed: int = 0,
    processes: Processes = Processes(),  # noqa: B008
) -> TrainStep:
    """The training step of ``local`` on batches of ``source``, as a recipe says."""
    device = source.device
    decay = recipe.weight_average or mixer.options.average_decay
    ema = EMA(local, decay) if decay else None
    salient = ema.model if ema and "average" in _saliency_weights(mixer) else local
    metrics = EpochMetrics(device)
    plain = Pieces(
        model=processes.wrap(local, device),
        # In training mode, so that a layer in evaluation mode is known to be frozen.
        saliency_model=mixing.input_only(salient).train(),
        mixer=mixer,
        assemble=source.assemble,
        count=metrics.add,
    )
    return TrainStep(
        local=local,
        plain=plain,
        compiled=plain.compiled() if compiled else None,
        optimizer=create_optimizer(local, recipe),
        source=source,
        streams=Streams(seed, device, processes.rank),
        metrics=metrics,
        autocast=autocast,
        batch_size=recipe.batch_size // processes.world,
        ema=ema,
        clip_grad_norm=recipe.clip_grad_norm,
        accumulate=recipe.accumulate,
        criterion=mixing.Criterion(recipe.loss, recipe.label_smoothing),
        rank=processes.rank,
        world=processes.world,
    )


def initial_model(
    run: RunSettings,
    meta: Meta,
    size: tuple[int, int],
    say: Callable[[str], None] = print,
) -> nn.Module:
    """Create the initial network on the CPU, without changing torch's global generator.

    Raises:
        UserError: the network does not exist, or the initial weights do not fit it.
    """
    chosen, classes = run.model, len(meta.classes)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(run.seed, "weights"))
        model = create_model(
            chosen.name,
            classes,
            size,
            chosen.stem,
            chosen.drop_path,
            chosen.zero_init_residual,
        )
    if chosen.weights is not None:
        loaded = start_from(
            model, chosen.name, chosen.weights, classes, zero_head=chosen.head_init == "zero"
        )
        say(f"weights of {chosen.weights}: {loaded}")
    mixer = mixing.create(run.mix.method, **run.mix.options)
    if mixer.trains_part:
        mixer.attach(model, torch.zeros(2, 3, *size), seed_of(run.seed, "mixing part"))
    return model.train()


def _check(run: RunSettings, meta: Meta, mixer: mixing.Mixer, processes: Processes) -> None:
    recipe, images = run.training, meta.counts["train"]
    if recipe.batch_size > images:
        raise UserError(
            f"training.batch_size {recipe.batch_size} is larger than the {images} training "
            f"images of {meta.name}: lower it"
        )
    if recipe.accumulate * recipe.batch_size > images:
        raise UserError(
            f"training.accumulate {recipe.accumulate} × batch_size {recipe.batch_size} is more "
            f"than the {images} training images of {meta.name}: lower one of them"
        )
    if recipe.batch_size % processes.world:
        raise UserError(
            f"training.batch_size {recipe.batch_size} is the total over all processes and must be "
            f"divisible by their number, {processes.world}"
        )
    if recipe.batch_size // processes.world < 2:
        raise UserError("training.batch_size must be at least 2 for each process")
    if mixer.needs_saliency and not meta.has_saliency:
        raise UserError(f"{meta.name} was prepared without saliency maps: run `prepare` again")
    if mixer.needs_masks and not meta.has_masks:
        raise UserError(
            f"{run.mix.name} needs object masks, but {meta.name} has none: choose a method "
            "without `label: mask`, `label: mask_pixels` and `position: object`"
        )
    if "average" in _saliency_weights(mixer):
        if not (recipe.weight_average or mixer.options.average_decay):
            raise UserError(
                "saliency_weights: average needs training.weight_average, such as 0.999"
            )
        if len(_saliency_weights(mixer)) > 1:
            raise UserError(
                f"{run.mix.name}: saliency_weights must be the same for all members of a switch "
                "that use the network's saliency"
            )
    if recipe.freeze_epochs and processes.world > 1:
        raise UserError("training.freeze_epochs needs a single process: set it to 0")
    if mixer.trains_part and processes.world > 1:
        raise UserError(f"{run.mix.name} trains its own module, which needs a single process")


def _saliency_weights(mixer: mixing.Mixer) -> set[str]:
    """The values of ``saliency_weights`` of all members that use the network's saliency."""
    return {member.options.saliency_weights for member in mixer.members if member.needs_model}
