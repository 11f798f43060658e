"""What a checkpoint holds, and how a training takes it up again."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import saliencymixplus
from saliencymixplus.engine.build import Assembly
from saliencymixplus.engine.digest import changed_files, code_files
from saliencymixplus.engine.optimizer import momentum_of
from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.errors import UserError

FORMAT = 1


@dataclass
class Progressed:
    """How far a training is. Nothing here is a generator's state: see ``randomness``."""

    epoch: int = 0  # finished epochs
    step: int = 0  # steps done in the epoch after them
    seconds: float = 0.0  # spent on that epoch so far
    totals: Tensor | None = None  # of that epoch so far
    history: list[EpochRow] = field(default_factory=list)
    bests: dict[str, int] = field(default_factory=dict)  # best_validation, best_test: epoch
    weights: dict[int, dict[str, Tensor]] = field(default_factory=dict)  # those, and asked for


def pack(progressed: Progressed, parts: Assembly, digest: str) -> dict[str, Any]:
    """The content of a checkpoint."""
    now = state_of(parts.evaluated)
    # The best weights are often the latest: torch.save then writes them once.
    weights = {
        str(epoch): now if epoch == progressed.epoch and progressed.step == 0 else state
        for epoch, state in progressed.weights.items()
    }
    average = parts.step.average
    return {
        "format": FORMAT,
        "digest": digest,
        "code": code_files(),
        "torch": str(torch.__version__),
        "version": saliencymixplus.__version__,
        "epoch": progressed.epoch,
        "step": progressed.step,
        "seconds": progressed.seconds,
        "totals": progressed.totals,
        "history": [asdict(row) for row in progressed.history],
        "bests": progressed.bests,
        "weights": weights,
        "model": state_of(parts.step.local) if average else now,
        "average": now if average else None,
        "momentum": _copies(momentum_of(parts.step.local, parts.step.optimiser)),
    }


def unpack(content: dict[str, Any], parts: Assembly, digest: str, folder: Path) -> Progressed:
    """Put a checkpoint's tensors into place, in place, and return how far it was.

    Raises:
        UserError: it was written by other code or another torch: the rest of the run would not be
            what the settings and the code say.
    """
    if content.get("format") != FORMAT or content["digest"] != digest:
        raise UserError(f"{folder} holds the checkpoint of another run: delete that folder")
    code, version = code_files(), str(torch.__version__)
    changed = []
    if content["code"] != code:
        files = changed_files(content["code"], code)
        shown = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        changed.append(f"code ({shown})" if files else "code")
    if content["torch"] != version:
        changed.append(f"torch version ({content['torch']} → {version})")
    if changed:
        raise UserError(
            f"the {' and the '.join(changed)} changed since epoch {content['epoch']} of this run "
            f"was saved: restore them to resume, or start over with --no-resume (or delete "
            f"{folder})"
        )
    step = parts.step
    step.local.load_state_dict(content["model"])
    if step.average:
        step.average.model.load_state_dict(content["average"])
    momentum = momentum_of(step.local, step.optimiser)
    with torch.no_grad():
        for name, value in content["momentum"].items():
            momentum[name].copy_(value)
    return Progressed(
        epoch=content["epoch"],
        step=content["step"],
        seconds=content["seconds"],
        totals=content["totals"],
        history=[EpochRow(**row) for row in content["history"]],
        bests=content["bests"],
        weights={int(epoch): state for epoch, state in content["weights"].items()},
    )


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the model's state on the CPU."""
    return _copies(model.state_dict())


def _copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: t.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, t in tensors.items()
    }
