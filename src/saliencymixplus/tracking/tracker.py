"""The MLflow tracker: writes to the run's record and wakes the background thread."""

import os
import threading
from pathlib import Path
from typing import Any

from saliencymixplus.errors import UserError
from saliencymixplus.folders import whole_directory
from saliencymixplus.runs.read import load_run
from saliencymixplus.tracking import mlflow_model, record
from saliencymixplus.tracking.base import Status, Tracker
from saliencymixplus.tracking.redact import brief, say
from saliencymixplus.tracking.system import SystemSampler
from saliencymixplus.tracking.worker import Worker

_TIMEOUT = 30.0  # seconds that `finish` waits


class MLflowTracker(Tracker):
    """Records a training (in its state folder) or additions to a run (below ``unsent/``)."""

    def __init__(self, worker: Worker, sampler: SystemSampler | None = None) -> None:
        """Start the background threads; only trainings have a ``sampler``."""
        self.worker, self.sampler = worker, sampler
        self._finished = False
        worker.start()
        worker.update()
        if sampler:
            sampler.start()

    @property
    def folder(self) -> Path:
        """The record."""
        return self.worker.folder

    def update(self) -> None:
        self.worker.update()

    def publish(self, output: Path) -> None:
        try:
            record.add_run(output, self.folder)
        except (OSError, UserError) as error:
            say(f"the run's files were not recorded: {brief(error)}")
        self.update()

    def log_models(self, output: Path) -> None:
        try:
            run = load_run(output)
            for which in mlflow_model.SERVED:
                if which in run.weights:
                    with whole_directory(self.folder / record.MODELS / which) as part:
                        mlflow_model.export_model(run, which, part)
        except Exception as error:  # a model that cannot be traced must not fail the training
            say(f"the model was not stored as an MLflow model: {brief(error)}")
        self.update()

    def finish(self, status: Status, timeout: float | None = None) -> bool:
        if self._finished:
            return True
        self._finished = True
        if self.sampler:
            self.sampler.stop()
        card = record.ended(self.worker.card, status)
        try:
            record.write_card(self.folder, card)
        except UserError as error:
            say(str(error))
        self.worker.update(card)
        limit = usual_timeout() if timeout is None else timeout
        complete = self.worker.drain(limit)
        self.worker.stop()
        if complete:
            return True
        reason = self.worker.failure or f"the MLflow store is slow (waited {limit:g} s)"
        say(f"{reason}: `python cli.py sync` sends the rest later")
        return status == "FINISHED" and _moved_to_unsent(self.folder, card.attempt)

    @property
    def reference(self) -> dict[str, Any]:
        return record.content_of(record.ended(self.worker.card, "FINISHED"))

    @property
    def url_hint(self) -> str | None:
        return self.worker.address.runs_address(self.worker.experiment_id)


def usual_timeout() -> float:
    """The default timeout of ``finish`` in seconds."""
    text = os.environ.get("SALIENCYMIXPLUS_TRACKING_TIMEOUT", "").strip()
    try:
        seconds = float(text or _TIMEOUT)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < threading.TIMEOUT_MAX:
        raise UserError(f"SALIENCYMIXPLUS_TRACKING_TIMEOUT={text!r}: give a number of seconds")
    return seconds


def _moved_to_unsent(folder: Path, name: str) -> bool:
    """Move the state folder of a run that will not be resumed to where ``sync`` finds it."""
    root = record.unsent_root()
    if folder.parent == root:
        return False
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder.replace(root / name)
        for checkpoint in (root / name).glob("*.pt"):
            checkpoint.unlink()
    except OSError as error:
        say(f"cannot write {root / name}: {error.strerror or error}")
        return False
    return True
