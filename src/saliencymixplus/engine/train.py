"""The training loop: epochs of steps, each followed by an evaluation. All else is done by hooks.

One step, from batch to optimizer, is ``step.TrainStep.__call__``. The engine calls it, or replays
a CUDA graph captured from it.
"""

import math
import time
from collections.abc import Sequence

from saliencymixplus import mixing
from saliencymixplus.engine.accumulation import turns
from saliencymixplus.engine.context import Hook, TrainingContext
from saliencymixplus.engine.epoch_metrics import EpochMetrics
from saliencymixplus.engine.evaluate_split import evaluate_split
from saliencymixplus.engine.optimizer import set_lr
from saliencymixplus.engine.randomness import (
    batches_of_epoch,
    members_of_epoch,
    mix_flags_of_epoch,
    saliency_flags_of_epoch,
)
from saliencymixplus.engine.schedule import lr_at
from saliencymixplus.engine.step import Kind, TrainStep
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError

_SPLITS = {"val": "validation", "test": "test"}  # with the prefix of their columns


def train_epochs(context: TrainingContext, hooks: Sequence[Hook] = ()) -> None:
    """Train the remaining epochs.

    Raises:
        UserError: the loss is not finite.
    """
    while context.state.epoch < context.run.training.epochs:
        train_one_epoch(context, hooks)


def train_one_epoch(context: TrainingContext, hooks: Sequence[Hook] = ()) -> EpochRow:
    """Train and evaluate the next epoch, starting at the step in ``context.state``.

    Raises:
        UserError: the loss is not finite.
    """
    recipe, seed, state = context.run.training, context.run.seed, context.state
    step, engine, monitor = context.parts.step, context.parts.engine, context.monitor
    epoch = state.epoch + 1

    count, repeats = context.meta.counts["train"], recipe.repeated_augmentation
    world = context.processes.world
    batches = batches_of_epoch(count, recipe.batch_size, seed, epoch, repeats, world)
    kinds = _kinds_of_epoch(context, len(batches), epoch)
    rows = [context.processes.part(batch) for batch in batches]
    places = turns([len(part) for part in rows], recipe.accumulate)
    steps = sum(turn.last for turn in places)
    step.freeze(epoch <= recipe.freeze_epochs)
    state.start_epoch(steps)
    step.metrics.reset(state.sums)
    monitor.start()
    for hook in hooks:
        hook.on_epoch_start(context)

    done = state.step * recipe.accumulate
    for index, inputs in enumerate(step.source.inputs(rows[done:]), start=done):
        turn = places[index]
        if turn.first:
            total = (epoch - 1) * steps + state.step
            set_lr(step.optimizer, lr_at(recipe, total, steps))
            if step.ema:
                step.ema.set_step(total)
        engine.run(inputs, kinds[index], epoch=epoch, index=index, turn=turn)
        if not turn.last:
            continue
        state.step += 1
        loss, bad_batch = monitor.look(state.step - 1) or (None, None)
        _require_finite(context, bad_batch)
        for hook in hooks:
            hook.on_step_end(context, loss)
    _require_finite(context, monitor.wait()[1])

    images = world * sum(len(part) for part in rows)
    row = _evaluated(context, images, sum(_passes(step, kind) for kind in kinds))
    state.end_epoch(row)
    if context.processes.first:
        state.keep_weights(context.parts.evaluated, recipe.weights_epochs)
    for hook in hooks:
        hook.on_epoch_end(context, row)
    return row


def _kinds_of_epoch(context: TrainingContext, steps: int, epoch: int) -> list[Kind]:
    """What each step of the epoch does with its batch."""
    recipe, seed, mixer = context.run.training, context.run.seed, context.parts.step.mixer
    mix_prob = recipe.mix_prob if recipe.mixes_in(epoch) else 0.0
    members = members_of_epoch(steps, mixer.probabilities, seed, epoch)
    mix_flags = [
        mix and mixer.members[member].method != "none"
        for mix, member in zip(
            mix_flags_of_epoch(steps, mix_prob, seed, epoch), members, strict=True
        )
    ]
    every = [member.options.saliency_every for member in mixer.members]
    saliency_flags = saliency_flags_of_epoch(mix_flags, members, every)
    return [Kind(*flags) for flags in zip(mix_flags, members, saliency_flags, strict=True)]


def _passes(step: TrainStep, kind: Kind) -> float:
    """Forward-backward passes of a step."""
    if not kind.mix:
        return 1.0
    mixer = step.mixer.members[kind.member]
    return mixing.passes(mixer, use_saliency=kind.use_saliency, criterion=step.criterion)


def _evaluated(context: TrainingContext, images: int, passes: float) -> EpochRow:
    """Evaluate the network after an epoch's last step; returns the epoch's metrics.

    Args:
        images: number of images that the epoch took, before mixing.
        passes: number of forward-backward passes that it took.
    """
    recipe, parts, state = context.run.training, context.parts, context.state
    sums = parts.step.metrics.sums.clone()
    context.processes.sum(sums)
    averages = EpochMetrics.averages(sums)
    trained = state.elapsed
    errors: dict[str, float | None] = {}
    for split, prefix in _SPLITS.items():
        if split not in parts.sources:
            continue
        measured = evaluate_split(
            parts.evaluated,
            parts.sources[split],
            batch_size=parts.eval_batch_size,
            autocast=parts.eval_autocast,
            processes=context.processes,
        )
        for name, value in measured.items():
            # Running batch statistics that lag behind the first steps may overflow; keep going.
            errors[f"{prefix}_{name}"] = value if math.isfinite(value) else None
    epoch = state.epoch + 1
    return EpochRow(
        epoch=epoch,
        learning_rate=lr_at(recipe, epoch * state.steps - 1, state.steps),
        train_loss=averages.loss,
        train_clean_top1_error=averages.clean_top1_error,
        train_mixed_top1_error=averages.mixed_top1_error,
        **errors,
        mean_lam=averages.mean_lam,
        seconds=state.elapsed,
        images_per_second=images / trained,
        forward_backward_passes=passes,
        time_ms=time.time_ns() // 1_000_000,
    )


def _require_finite(context: TrainingContext, bad_batch: int | None) -> None:
    if bad_batch is None:
        return
    recipe, epoch, steps = context.run.training, context.state.epoch + 1, context.state.steps
    step = bad_batch // recipe.accumulate
    lr = lr_at(recipe, (epoch - 1) * steps + step, steps)
    raise UserError(
        f"the loss is not finite in epoch {epoch}, step {step + 1} of {steps} "
        f"(learning rate {lr:g}): lower training.learning_rate or add warm-up"
    )
