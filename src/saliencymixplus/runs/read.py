"""The only reader of finished run folders: settings, history, summary, weights."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError, nearest, one_line
from saliencymixplus.files import sha256_of
from saliencymixplus.models import create_model
from saliencymixplus.runs.folder import (
    DataFacts,
    GitFacts,
    RunFile,
    Summary,
    WeightsFile,
    read_record,
)
from saliencymixplus.runs.history import read_history
from saliencymixplus.settings import RunSettings

MOST_FOLDERS = 20_000  # to search for runs, which takes seconds
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
    def center_crop(self) -> bool:
        """Whether the network's input is the centre of an image, rather than the whole, resized."""
        return self.settings.training.test_crop == "center"

    @property
    def weights(self) -> list[str]:
        """Names of the available weights: ``last``, ``best_…``, then ``epoch_0001`` and so on."""
        files = (self.path / "weights").glob("*.safetensors")
        kept = {path.stem for path in files if path.is_file()}  # a pipe would be waited for
        epochs = sorted(name for name in kept if _EPOCH.fullmatch(name))
        return [*(which for which in WEIGHTS if which in kept), *epochs]

    def epoch_of(self, which: str) -> int:
        """The epoch after which the weights ``last`` or ``best_validation`` were saved."""
        best = self.summary.best_validation
        return best.epoch if which == "best_validation" and best else self.summary.last.epoch

    def weights_digest(self, which: str) -> str | None:
        """SHA-256 of the weights ``which``; None if the run lacks it, as those of version 0.1.0."""
        beside = self.path / "weights" / f"{which}.json"
        return read_record(beside, WeightsFile).sha256 if beside.is_file() else None

    def model(self, which: str = "last") -> nn.Module:
        """The trained network on the CPU, in evaluation mode.

        Raises:
            UserError: the weights do not exist, are damaged or not finite, or belong to a different
                training or network.
        """
        if which not in self.weights:
            hint = nearest(which, self.weights) if self.weights else "train it again"
            raise UserError(f"{self.path} has no weights {which!r}: {hint}")
        settings = self.settings.model
        classes = len(self.data.classes)
        model = create_model(settings.name, classes, self.input_size, settings.stem)
        try:
            mixer = mixing.create(self.settings.mix.method, **self.settings.mix.options)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{self.path / 'settings.json'} is damaged or of another version "
                f"(mix.options: {one_line(error)}): train again"
            ) from error
        if mixer.trains_part:
            mixer.attach(model, torch.zeros(2, 3, *self.input_size))
        path = self.path / "weights" / f"{which}.safetensors"
        _check_origin(path, self.digest)
        _load_weights(model, path)
        return model.eval()


def load_run(path: Path) -> Run:
    """Read and validate the folder that ``train`` wrote."""
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
    return Run(path=path, history=history, summary=summary, **dict(described))


def _check_origin(path: Path, run_digest: str) -> None:
    """Compare weights with the JSON file beside them, which version 0.1.0 may not have written."""
    beside = path.with_suffix(".json")
    if not beside.exists():
        return
    about = read_record(beside, WeightsFile)
    if about.digest != run_digest:
        raise UserError(f"{beside}: these weights are of another training: put back this run's")
    if about.sha256 not in (None, sha256_of(path)):
        raise UserError(
            f"{path} is damaged or was replaced (it has another SHA-256): copy the run again"
        )


def _load_weights(model: nn.Module, path: Path) -> None:
    """Load the weights that a training wrote; ``load_state_dict`` would cast any type."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
        for name, tensor in model.state_dict().items():
            given = state.get(name, tensor)
            if given.dtype != tensor.dtype:
                raise ValueError(f"{name} is {given.dtype}, not {tensor.dtype}")
        model.load_state_dict(state)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} is damaged or of another model: {one_line(error)}") from error
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise UserError(
                f"{path} has values in {one_line(name)} that are not finite: the training "
                "diverged; lower training.learning_rate and train again"
            )


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The run folders among and below ``paths``, sorted, plus any path that contains none.

    A run folder has a settings.json. Folders with a leading dot are incomplete and skipped. A link
    to a run counts as one, unless the run itself is below the same path.

    Raises:
        UserError: there are more than ``MOST_FOLDERS`` below a path.
    """
    found: list[Path] = []
    for path in paths:
        below = [path] if (path / "settings.json").is_file() else _runs_below(path)
        found += below or [path]
    return list(dict.fromkeys(found))


def _runs_below(path: Path) -> list[Path]:
    found: list[Path] = []
    linked: list[Path] = []
    for count, (folder, folders, files) in enumerate(os.walk(path)):
        if count > MOST_FOLDERS:
            raise UserError(
                f"{path} has more than {MOST_FOLDERS:,} folders, too many to search for runs "
                "(folders with a settings.json): name a folder nearer to the runs"
            )
        folders[:] = [name for name in folders if not name.startswith(".")]
        linked += (link for name in folders if (link := Path(folder, name)).is_symlink())
        if "settings.json" in files:
            found.append(Path(folder))
    known = {run.resolve() for run in found}
    for link in sorted(linked):  # to a run, whose folder is not walked
        if (link / "settings.json").is_file() and (run := link.resolve()) not in known:
            known.add(run)
            found.append(link)
    return sorted(found)
