"""The content of a checkpoint, and how to resume from it."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import saliencymixplus
from saliencymixplus.engine.context import TrainingContext, TrainingState, state_of
from saliencymixplus.engine.digest import changed_files, code_files
from saliencymixplus.engine.optimizer import load_named_state, named_state
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError, first_few


def pack(context: TrainingContext) -> dict[str, Any]:
    """The content of a checkpoint: tensors on the CPU, numbers and text."""
    state, parts, step = context.state, context.parts, context.parts.step
    evaluated = state_of(parts.evaluated)
    # The best weights are often the latest; torch.save then writes the shared tensors once.
    weights = {
        str(epoch): evaluated if epoch == state.epoch and state.step == 0 else tensors
        for epoch, tensors in state.weights.items()
    }
    return {
        "settings": context.run.model_dump(mode="json"),
        "data": context.meta.digest,
        "digest": context.digest,
        "code": code_files(*context.run.mix.methods),
        "torch": str(torch.__version__),
        "version": saliencymixplus.__version__,
        "epoch": state.epoch,
        "step": state.step,
        "seconds": state.elapsed if state.step else 0.0,
        "sums": step.metrics.sums.detach().cpu().clone() if state.step else None,
        "history": [asdict(row) for row in state.history],
        "best": state.best,
        "weights": weights,
        "model": evaluated if parts.evaluated is step.local else state_of(step.local),
        "ema": _average(context, evaluated),
        "optimizer": named_state(step.local, step.optimizer),
    }


def _average(context: TrainingContext, evaluated: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """The moving average; the tensors of ``evaluated`` themselves if that is the average."""
    parts, ema = context.parts, context.parts.step.ema
    if ema is None:
        return None
    return evaluated if parts.evaluated is ema.model else state_of(ema.model)


def unpack(content: dict[str, Any], context: TrainingContext, folder: Path) -> None:
    """Restore ``context`` from the content of a checkpoint, writing tensors in place.

    Raises:
        UserError: settings, data, code or the torch version have changed since the checkpoint, so
            that the result would not be reproducible from them.
    """
    changed = _changed(content, context)
    if changed:
        raise UserError(
            f"{' and '.join(changed)} changed since epoch {content.get('epoch')} of this run was "
            f"saved: restore what changed to resume, or start over with --no-resume (or delete "
            f"{folder})"
        )
    step = context.parts.step
    step.local.load_state_dict(content["model"])
    if step.ema:
        step.ema.model.load_state_dict(content["ema"])
    load_named_state(step.local, step.optimizer, content["optimizer"])
    context.state = TrainingState(
        epoch=content["epoch"],
        step=content["step"],
        seconds=content["seconds"],
        sums=content["sums"],
        history=[EpochRow(**row) for row in content["history"]],
        best=content["best"],
        weights={int(epoch): tensors for epoch, tensors in content["weights"].items()},
    )


def _changed(content: dict[str, Any], context: TrainingContext) -> list[str]:
    """Describe what has changed since the checkpoint was written."""
    changed = []
    if content.get("digest") != context.digest:
        if content.get("data") != context.meta.digest:
            changed.append("the prepared data")
        keys = _differing(content.get("settings"), context.run.model_dump(mode="json"))
        if keys or not changed:
            changed.append(f"the settings ({first_few(keys)})" if keys else "the settings")
    code = code_files(*context.run.mix.methods)
    if content.get("code") != code:
        files = changed_files(content.get("code"), code)
        changed.append(f"the code ({first_few(files)})" if files else "the code")
    version = str(torch.__version__)
    if content.get("torch") != version:
        changed.append(f"the torch version ({content.get('torch')} → {version})")
    return changed


def _differing(before: object, now: object, key: str = "") -> list[str]:
    """The dotted keys of values that differ."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return [] if before == now else [key]
    return [
        found
        for name in {**before, **now}
        for found in _differing(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    ]
