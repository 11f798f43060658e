"""Trains in a process of its own, which may be told to stop or to die at a certain point.

As a program it imports everything first, which takes longer than the training in most tests:
``forked.py`` starts it without that.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saliencymixplus import files
from saliencymixplus.engine import build as assembly
from saliencymixplus.engine.context import Hook, TrainingContext
from saliencymixplus.runs import checkpoint
from saliencymixplus.runs import write as publish
from saliencymixplus.settings import RunSettings, RuntimeSettings
from saliencymixplus.training import hooks, trainer


def without_batch_norm(name: str, classes: int, size: Any, *more: Any) -> nn.Module:
    """A network whose result for an image does not depend on the others of its batch."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, classes),
    )


class AtStep(Hook):
    """Calls ``act`` once, at the end of a step (from 0) of an epoch (from 1)."""

    def __init__(self, epoch: int, index: int, act: Callable[[TrainingContext], object]) -> None:
        self.place, self.act = (epoch, index), act

    def on_step_end(self, context: TrainingContext, loss: float | None) -> None:
        if (context.state.epoch + 1, context.state.step - 1) == self.place:
            self.act(context)


def stop_at(epoch: int, index: int, number: int = signal.SIGTERM) -> list[Hook]:
    """Hooks that send this process a signal at the end of that step."""
    return [AtStep(epoch, index, lambda context: os.kill(os.getpid(), number))]


def die() -> None:
    """No handler runs, no file is closed."""
    os.kill(os.getpid(), signal.SIGKILL)


def nth_call(owner: Any, name: str, number: int, fatal: Callable[..., None]) -> None:
    """Replace the ``number``-th call (from 1) of ``owner.name`` by ``fatal``."""
    usual, calls = getattr(owner, name), []

    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            fatal(*arguments, **named)
        return usual(*arguments, **named)

    setattr(owner, name, call)


def kill_at(point: str, number: int) -> None:
    """SIGKILL at the ``number``-th time that ``point`` is reached."""

    def half(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            os.fsync(file.fileno())
        die()

    def dies(*arguments: Any, **named: Any) -> None:
        die()

    publish_folder = trainer.ReservedFolder.publish

    def published(place: trainer.ReservedFolder) -> None:
        publish_folder(place)
        die()

    points: dict[str, tuple[Any, str, Callable[..., None]]] = {
        "step": (hooks.StopOnSignal, "on_step_end", dies),
        "writing": (Path, "write_bytes", half),  # a checkpoint, half of it
        "written": (files.os, "fsync", dies),  # before it gets its name
        "sweeping": (checkpoint, "_sync_folder", dies),  # before the old ones go
        "logging": (hooks, "write_history", dies),
        "publishing": (publish, "_write_weights", dies),
        "published": (trainer.ReservedFolder, "publish", published),
        "removing": (trainer, "discard", dies),
    }
    owner, name, fatal = points[point]
    nth_call(owner, name, number, fatal)


def main(prepared: str, output: str, settings: str, text: str) -> None:
    """Train.

    Args:
        settings: the run's, as JSON.
        text: options as JSON: ``{"tracker": "none", "data_on": "auto", "batch_norm": true,
            "stop": [epoch, index], "kill": [point, number]}``.
    """
    torch.set_num_threads(1)
    options = json.loads(text)
    if not options.get("batch_norm", True):
        assembly.create_model = without_batch_norm
    if "kill" in options:
        kill_at(*options["kill"])
    trainer.train(
        RunSettings.model_validate_json(settings),
        Path(prepared),
        Path(output),
        RuntimeSettings(
            device="cpu",
            tracker=options.get("tracker", "none"),
            progress="lines",
            data_on=options.get("data_on", "auto"),
        ),
        stop_at(*options["stop"]) if "stop" in options else (),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
