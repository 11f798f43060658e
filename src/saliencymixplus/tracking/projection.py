"""Bring an MLflow run up to date with its record. Every call is idempotent.

The store is first asked which metrics (by name and step), parameters, tags and large files it has,
and asked again after a request whose response was lost. A repeated metric row keeps its original
time and is therefore stored only once, even if the first request is still in progress: MLflow's
primary key is (run, name, time, step, value).
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from PIL import Image

from saliencymixplus.epoch_row import EpochRow
from saliencymixplus.runs.folder import TrackingFile
from saliencymixplus.tracking import describe, metrics
from saliencymixplus.tracking.mlflow_model import epoch_of, upload_model
from saliencymixplus.tracking.mlflow_store import Store, is_refusal
from saliencymixplus.tracking.record import ARTIFACTS, MODELS
from saliencymixplus.tracking.redact import brief

_BATCH = 500  # metrics per request; MLflow accepts up to 1000
_THUMBNAIL = 256  # pixels, as in MLflow
_NOTE_TAG, _LONGEST_NOTE = "mlflow.note.content", 8000
_SAMPLE = re.compile(r"epoch_(\d+)\.png")


class Projection:
    """One record's run in one store. ``run_id`` is empty until the store has responded."""

    def __init__(self, folder: Path, store: Store, say: Callable[[str], None]) -> None:
        self.folder, self.store, self._say = folder, store, say
        self.run_id = self.experiment_id = ""
        self._models: set[str] = set()  # sent by this process
        self._files: dict[str, tuple[int, int]] = {}  # sent by this process: size, mtime

    def send(self, card: TrackingFile) -> int:
        """Send what is missing; returns the number of metrics and files sent.

        Items that the store rejects are reported and skipped. After any exception, call again.
        """
        if not self.run_id:
            self._ask(self.store.ensure_run(card), card)
        try:
            # A file that cannot be stored must not hold up the metrics or the run's end.
            rows, results = metrics.history(self.folder), metrics.results(self.folder)
            self._send_texts(card, rows, results)
            sent = self._send_metrics(card, rows, results)
            self._send_status(card)
            return sent + self._send_files(card) + self._send_models(card, rows)
        except Exception:
            self.run_id = ""
            raise

    def _ask(self, run: Run, card: TrackingFile) -> None:
        client, run_id = self.store.client, run.info.run_id
        self._steps = {
            (name, metric.step)
            for name in run.data.metrics
            for metric in client.get_metric_history(run_id, name)
        }
        self._latest = dict(run.data.metrics)
        self._params, self._tags = set(run.data.params), dict(run.data.tags)
        self._parent = self.store.comparison_of(card)
        self._status = run.info.status
        self._has_dataset = bool(run.inputs and run.inputs.dataset_inputs)
        self._stored = {
            file.path: file.file_size
            for folder in ("images", "weights")
            for file in client.list_artifacts(run_id, folder)
        }
        self.run_id, self.experiment_id = run_id, run.info.experiment_id

    def _send_texts(
        self, card: TrackingFile, rows: Sequence[EpochRow], results: Sequence[Metric]
    ) -> None:
        params = [Param(k, v) for k, v in card.params.items() if k not in self._params]
        wanted = {**card.tags, **self._parent, **self._note(card, rows, results)}
        tags = [RunTag(k, v) for k, v in wanted.items() if self._tags.get(k) != v]
        self._batch(params, lambda some: self.store.client.log_batch(self.run_id, params=some))
        self._batch(tags, lambda some: self.store.client.log_batch(self.run_id, tags=some))
        self._params |= {param.key for param in params}
        self._tags |= wanted
        if card.dataset and not self._has_dataset:
            context = [InputTag("mlflow.data.context", "training")]
            fields = {name: card.dataset.get(name, "") for name in describe.DATASET_FIELDS}
            used = [DatasetInput(Dataset(**fields), context)]
            self._batch(used, lambda some: self.store.client.log_inputs(self.run_id, some))
            self._has_dataset = True

    def _note(
        self, card: TrackingFile, rows: Sequence[EpochRow], results: Sequence[Metric]
    ) -> dict[str, str]:
        """The run's description, unless the user wrote one or an evaluation gave a fuller one."""
        before = self._tags.get(_NOTE_TAG)
        comparison = self.folder / ARTIFACTS / "comparison.md"
        if before is not None and not before.startswith(describe.NOTE):
            return {}
        if comparison.is_file():
            text = comparison.read_text(encoding="utf-8")[: _LONGEST_NOTE - 100]
            return {_NOTE_TAG: f"{describe.NOTE}\n{text.rpartition(chr(10))[0]}"}
        if card.status != "FINISHED" or not rows or (before and not results):
            return {}
        values = {metric.key: metric.value for metric in results}
        return {_NOTE_TAG: describe.note(rows, values)[:_LONGEST_NOTE]}

    def _send_metrics(
        self, card: TrackingFile, rows: Sequence[EpochRow], results: Sequence[Metric]
    ) -> int:
        found = [
            *metrics.epochs(card, rows),
            *metrics.headlines(card, rows),
            *metrics.system_samples(self.folder),
        ]
        fresh = {(m.key, m.step): m for m in found if (m.key, m.step) not in self._steps}
        changed = [m for m in results if self._latest.get(m.key) != m.value]
        missing = [*fresh.values(), *changed]
        for start in range(0, len(missing), _BATCH):
            some = missing[start : start + _BATCH]
            self._batch(some, lambda part: self.store.client.log_batch(self.run_id, metrics=part))
            self._steps |= {(metric.key, metric.step) for metric in some}
            self._latest |= {metric.key: metric.value for metric in some}
        return len(missing)

    def _send_status(self, card: TrackingFile) -> None:
        if card.status == self._status:
            return
        if card.status == "RUNNING":
            self.store.client.update_run(self.run_id, status="RUNNING")
        else:
            self.store.client.set_terminated(self.run_id, card.status, card.ended)
        self._status = card.status

    def _send_files(self, card: TrackingFile) -> int:
        root, count = self.folder / ARTIFACTS, 0
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".part":  # a .part is still being written
                count += self._send_file(path, str(path.relative_to(root).parent))
        samples = sorted((self.folder / "samples").glob("*.png"))
        with tempfile.TemporaryDirectory() as scratch:
            for path in samples:
                if match := _SAMPLE.fullmatch(path.name):
                    count += self._send_sample(card, path, int(match[1]), Path(scratch))
        return count

    def _send_file(self, path: Path, folder: str) -> int:
        """Upload a file, unless this process already did or the store has it and it is final."""
        state = path.stat()
        target = str(Path(folder, path.name))
        seen = (state.st_size, state.st_mtime_ns)
        if self._files.get(target) == seen or self._stored.get(target) == state.st_size:
            return 0
        to = None if folder == "." else folder
        self._batch([path], lambda _: self.store.client.log_artifact(self.run_id, str(path), to))
        self._files[target] = seen
        return 1

    def _send_sample(self, card: TrackingFile, path: Path, epoch: int, to: Path) -> int:
        """Upload a sample grid and its thumbnail under the names that MLflow expects of images.

        MLflow's ``log_image`` puts a random part and the current time into the names, so that an
        image sent twice would be shown twice.
        """
        key = describe.SAMPLES
        part = uuid5(NAMESPACE_OID, f"{card.attempt}/{key}/{epoch}")
        stem = f"{key.replace('/', '~')}+step+{epoch}+timestamp+{card.created}+{part}"
        image, thumbnail = to / f"{stem}.png", to / f"{stem}+compressed.webp"
        size = path.stat().st_size
        target = f"images/{image.name}"
        if self._stored.get(target) == size or target in self._files:
            return 0
        shutil.copyfile(path, image)
        with Image.open(image) as picture:
            picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
            picture.save(thumbnail)
        self._send_file(thumbnail, "images")
        return self._send_file(image, "images")

    def _batch(self, items: Sequence[Any], send: Callable[[Any], Any]) -> None:
        """Send ``items``; if the store rejects them, one by one to find and report the culprit."""
        if not items:
            return
        try:
            send(items)
        except Exception as error:
            if not is_refusal(error):
                raise
            self.store.check_active(self.run_id)
            if len(items) > 1:
                for item in items:
                    self._batch([item], send)
                return
            name = getattr(items[0], "key", getattr(items[0], "name", "dataset"))
            self._say(f"MLflow rejected {name}: {brief(error)}")

    def _send_models(self, card: TrackingFile, rows: Sequence[EpochRow]) -> int:
        if card.status != "FINISHED":
            return 0
        count = 0
        for file in sorted((self.folder / MODELS).glob("*/MLmodel")):
            which = file.parent.name
            if which not in self._models:
                final = metrics.headlines(card, rows[: epoch_of(file.parent)])
                name = describe.model_name(card, which)
                upload_model(self.store.client, self.run_id, name, file.parent, final)
                self._models.add(which)
                count += 1
        return count
