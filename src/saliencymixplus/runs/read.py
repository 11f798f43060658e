"""Reading a finished run's folder: settings, history, summary, weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError, nearest
from saliencymixplus.files import read_json
from saliencymixplus.models import create_model
from saliencymixplus.runs.history import read_history
from saliencymixplus.settings import RunSettings

WEIGHTS = ("last", "best_validation", "best_test")


@dataclass(frozen=True)
class Run:
    """A finished training."""

    path: Path
    settings: RunSettings
    digest: str
    data: dict[str, Any]  # digest, name, classes, image_size, mean, std, counts
    history: list[EpochRow]
    summary: dict[str, Any]

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the network's input."""
        side = self.settings.training.crop_size
        height, width = self.data["image_size"]
        return (side, side) if side else (height, width)

    @property
    def weights(self) -> list[str]:
        """Which weights there are: ``last``, ``best_…``, and of single epochs ``epoch_0001`` …"""
        kept = {path.stem for path in (self.path / "weights").glob("*.safetensors")}
        epochs = sorted(name for name in kept if name.startswith("epoch_"))
        return [*(which for which in WEIGHTS if which in kept), *epochs]

    def model(self, which: str = "last") -> nn.Module:
        """The trained network on the CPU, in evaluation mode.

        Raises:
            UserError: there are no such weights, or they are damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if which not in self.weights:
            hint = nearest(which, self.weights) if self.weights else "train it again"
            raise UserError(f"{self.path} has no weights {which!r}: {hint}")
        settings = self.settings.model
        classes = len(self.data["classes"])
        model = create_model(settings.name, classes, self.input_size, settings.stem)
        path = self.path / "weights" / f"{which}.safetensors"
        try:
            model.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{path} is damaged or of another model: {reason}") from error
        return model.eval()


def load_run(path: Path) -> Run:
    """Read the folder that ``train`` wrote.

    Raises:
        UserError: it is missing, unfinished or damaged.
    """
    if not (path / "settings.json").is_file():
        raise UserError(f"{path} is no finished run (it has no settings.json): train it first")
    content = read_json(path / "settings.json")
    try:
        settings = RunSettings.model_validate(content["settings"])
        digest, data = content["digest"], content["data"]
    except (KeyError, TypeError, ValidationError) as error:
        raise UserError(f"{path / 'settings.json'} is of another version: train again") from error
    history, summary = read_history(path / "history.csv"), read_json(path / "summary.json")
    if not isinstance(summary, dict) or not isinstance(summary.get("epochs"), int):
        raise UserError(f"{path / 'summary.json'} is damaged: train again")
    if [row.epoch for row in history] != list(range(1, summary["epochs"] + 1)):
        raise UserError(f"{path / 'history.csv'} does not have every epoch once: train again")
    return Run(path, settings, digest, data, history, summary)
