"""The only reader of finished run folders: settings, history, summary, weights."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError, nearest, one_line
from saliencymixplus.models import create_model
from saliencymixplus.runs.folder import DataFacts, GitFacts, RunFile, Summary, read_record
from saliencymixplus.runs.history import read_history
from saliencymixplus.settings import RunSettings

WEIGHTS = ("last", "best_validation", "best_test")
_EPOCH = re.compile(r"epoch_\d{4,7}")


@dataclass(frozen=True)
class Run:
    """A finished run: everything in its folder except the weights, which ``model`` reads."""

    path: Path
    settings: RunSettings
    digest: str
    code: str | None  # digest of the training code; None for runs of version 0.1.0
    data: DataFacts
    history: list[EpochRow]
    summary: Summary
    device: str
    versions: dict[str, str]
    git: GitFacts

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the network's input."""
        side = self.settings.training.crop_size
        return (side, side) if side else self.data.image_size

    @property
    def weights(self) -> list[str]:
        """Names of the available weights: ``last``, ``best_…``, then ``epoch_0001`` and so on."""
        kept = {path.stem for path in (self.path / "weights").glob("*.safetensors")}
        epochs = sorted(name for name in kept if _EPOCH.fullmatch(name))
        return [*(which for which in WEIGHTS if which in kept), *epochs]

    def model(self, which: str = "last") -> nn.Module:
        """The trained network on the CPU, in evaluation mode.

        Raises:
            UserError: the weights do not exist, are damaged or belong to a different network.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if which not in self.weights:
            hint = nearest(which, self.weights) if self.weights else "train it again"
            raise UserError(f"{self.path} has no weights {which!r}: {hint}")
        settings = self.settings.model
        classes = len(self.data.classes)
        model = create_model(settings.name, classes, self.input_size, settings.stem)
        mixer = mixing.create(self.settings.mix.method, **self.settings.mix.options)
        if mixer.trains_part:
            mixer.attach(model, torch.zeros(2, 3, *self.input_size))
        path = self.path / "weights" / f"{which}.safetensors"
        try:
            model.load_state_dict(load_file(path))
        except (SafetensorError, OSError, RuntimeError) as error:
            raise UserError(f"{path} is damaged or of another model: {one_line(error)}") from error
        return model.eval()


def load_run(path: Path) -> Run:
    """Read and validate the folder that ``train`` wrote.

    Raises:
        UserError: the run is missing, unfinished or damaged, or has content that no training
            writes; the message names the file.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist: train it first")
    for name in ("settings.json", "summary.json", "history.csv"):
        if not (path / name).is_file():
            raise UserError(f"{path} is not a finished run (it has no {name}): train it first")
    described = read_record(path / "settings.json", RunFile)
    summary = read_record(path / "summary.json", Summary)
    history = read_history(path / "history.csv")
    epochs = [row.epoch for row in history]
    promised = described.settings.training.epochs
    if not promised == summary.epochs == len(epochs) or epochs != list(range(1, promised + 1)):
        raise UserError(
            f"{path / 'history.csv'} must have each epoch exactly once, up to the number in "
            "settings.json and summary.json: train again"
        )
    return Run(
        path=path,
        settings=described.settings,
        digest=described.digest,
        code=described.code,
        data=described.data,
        history=history,
        summary=summary,
        device=described.device,
        versions=described.versions,
        git=described.git,
    )


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The run folders among and below ``paths``, sorted, plus any path that contains none.

    Folders with a leading dot are incomplete and skipped.
    """
    found: list[Path] = []
    for path in paths:
        below = [path] if (path / "settings.json").is_file() else []
        below = below or sorted(
            file.parent
            for file in path.rglob("settings.json")
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
        )
        found += below or [path]
    return list(dict.fromkeys(found))
