"""The tracker that records into a journal, from which a background thread sends to MLflow."""

import json
import os
import re
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saliencymixplus.errors import UserError
from saliencymixplus.tracking import mlflow_model, stores
from saliencymixplus.tracking.base import Status, Tracker
from saliencymixplus.tracking.journal import Journal
from saliencymixplus.tracking.redact import redact, redact_all
from saliencymixplus.tracking.sender import Sender, say
from saliencymixplus.tracking.system import SystemSampler

if TYPE_CHECKING:
    from torch import nn

_TIMEOUT = 30.0  # seconds that `finish` waits
_THUMBNAIL = 256  # pixels, MLflow's own
_KEY = re.compile(r"[\w\-./ ]+", re.ASCII)


class JournaledTracker(Tracker):
    """Writes every record to disk first; sending is another thread's affair."""

    def __init__(
        self, journal: Journal, *, ends_run: bool, report: Callable[[str], None] = say
    ) -> None:
        """Take over an open ``journal`` and send from it.

        ``ends_run``: this is the run's training, whose end is the end of the run.
        """
        self.journal = journal
        self._ends_run = ends_run
        self._report = report
        self._finished = False
        self._logged = {
            (record.content["step"], key)
            for record in journal.records
            if record.kind == "metrics"
            for key in record.content["values"]
        }
        self._models = {r.content["name"] for r in journal.records if r.kind == "model"}
        self._images = {
            (r.content["key"], r.epoch)
            for r in journal.records
            if r.kind == "files" and "key" in r.content
        }
        self._sampler: SystemSampler | None = None
        self._sender = Sender(journal, report)
        self._sender.start()

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        fresh = {
            key: float(value) for key, value in metrics.items() if (epoch, key) not in self._logged
        }
        if fresh:
            self._logged |= {(epoch, key) for key in fresh}
            self.journal.append("metrics", {"step": epoch, "values": fresh}, epoch=epoch)

    def log_results(self, metrics: Mapping[str, float], step: int = 0) -> None:
        values = {key: float(value) for key, value in metrics.items()}
        self.journal.append("results", {"step": step, "values": values})

    def watch_system(self) -> None:
        """Record what the machine does until the run ends."""
        steps = [
            record.content["step"] + 1
            for record in self.journal.records
            if record.kind == "metrics" and record.epoch is None
        ]
        self._sampler = SystemSampler(self.log_system, self._report, max(steps, default=0))
        self._sampler.start()

    def log_system(self, metrics: Mapping[str, float], step: int) -> None:
        """Record a sample of what the machine does."""
        self.journal.append("metrics", {"step": step, "values": dict(metrics)})

    def log_image(self, key: str, image: np.ndarray, step: int) -> None:
        from PIL import Image

        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"image is {image.dtype} {image.shape}, not uint8 (H, W, 3)")
        if not _KEY.fullmatch(key):
            raise ValueError(f"image key {key!r}: letters, digits and _ - . / and space only")
        if (key, step) in self._images:
            return
        self._images.add((key, step))
        attempt = self.journal.header["attempt"]
        names = _image_names(attempt, key, step, int(time.time() * 1000))

        def fill(folder: Path) -> None:
            picture = Image.fromarray(image)
            picture.save(folder / names[0], compress_level=3)
            picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
            picture.save(folder / names[1])

        content = {"folder": "images", "key": key, "tags": {"mlflow.loggedImages": "True"}}
        self.journal.append("files", content, epoch=step, fill=fill)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        if not path.is_file():
            raise UserError(f"cannot record {path}: there is no such file")
        self.journal.append(
            "files", {"folder": folder}, fill=lambda to: shutil.copyfile(path, to / path.name)
        )

    def log_dict(self, value: Any, name: str) -> None:
        text = json.dumps(redact_all(value), indent=2, ensure_ascii=False, default=str) + "\n"
        folder, _, file = name.rpartition("/")
        self.journal.append(
            "files",
            {"folder": folder or None},
            fill=lambda to: (to / file).write_text(text, encoding="utf-8"),
        )

    def log_model(self, model: "nn.Module", example: np.ndarray, name: str = "model") -> None:
        if name in self._models:
            return

        def fill(folder: Path) -> None:
            mlflow_model.export_model(model, example, folder)

        try:
            self.journal.append("model", {"name": name}, fill=fill)
        except UserError:
            raise
        except Exception as error:  # a model that cannot be traced must not cost its training
            reason = " ".join(str(error).split())[:200]
            self._report(f"the model is not stored as an MLflow model: {reason}")
            return
        self._models.add(name)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.journal.append("tags", {key: redact(str(value)) for key, value in tags.items()})

    def rewind(self, epoch: int) -> None:
        self.journal.rewind(epoch)
        kept = self.journal.records
        self._logged = {
            (r.content["step"], key)
            for r in kept
            if r.kind == "metrics"
            for key in r.content["values"]
        }
        self._images = {
            (r.content["key"], r.epoch) for r in kept if r.kind == "files" and "key" in r.content
        }

    def finish(self, status: Status = "FINISHED", timeout: float | None = None) -> None:
        if self._finished:
            return
        self._finished = True
        if self._sampler:
            self._sampler.stop()
        if self._ends_run:
            self.journal.append("status", {"status": status})
            self.journal.set_header(status=status)
        if timeout is None:
            timeout = usual_timeout()
        complete = self._sender.drain(timeout)
        self._sender.stop()
        if not complete:
            waiting = len(self.journal.pending())
            reason = self._sender.failure or f"the MLflow store is slow (waited {timeout:g} s)"
            self._report(f"{reason}: {waiting} records wait; `python cli.py sync` sends them")

    @property
    def reference(self) -> dict[str, Any]:
        header = self.journal.header
        keys = ("run_id", "uri", "experiment", "run_name", "attempt", "created")
        return {"tracker": "mlflow", **{key: header.get(key) for key in keys}}

    @property
    def url_hint(self) -> str | None:
        return stores.ui_command(self.journal.header["uri"])


def usual_timeout() -> float:
    """Seconds that ``finish`` waits unless told otherwise.

    Raises:
        UserError: ``SALIENCYMIXPLUS_TRACKING_TIMEOUT`` is no number of seconds.
    """
    text = os.environ.get("SALIENCYMIXPLUS_TRACKING_TIMEOUT", "").strip()
    try:
        seconds = float(text or _TIMEOUT)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < threading.TIMEOUT_MAX:
        raise UserError(f"SALIENCYMIXPLUS_TRACKING_TIMEOUT={text!r}: give a number of seconds")
    return seconds


def _image_names(attempt: str, key: str, step: int, time: int) -> tuple[str, str]:
    """File names of an image of a series and of its thumbnail, as MLflow's UI reads them.

    MLflow's ``log_image`` puts a random part into the name, so that sending twice shows twice.
    """
    part = uuid.uuid5(uuid.NAMESPACE_OID, f"{attempt}/{key}/{step}")
    stem = f"{key.replace('/', '~')}+step+{step}+timestamp+{time}+{part}"
    return f"{stem}.png", f"{stem}+compressed.webp"
