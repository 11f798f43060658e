"""The records of a run, on disk before they are sent anywhere."""

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from saliencymixplus.errors import UserError
from saliencymixplus.files import read_json, write_json

_RECORDS, _HEADER, _PROGRESS, _LOCK, _BLOBS = (
    "journal.jsonl",
    "run.json",
    "progress.json",
    "lock",
    "files",
)


@dataclass(frozen=True)
class Record:
    """One thing to send. ``time``: milliseconds since 1970, kept however late it is sent."""

    seq: int
    kind: str
    time: int
    content: dict[str, Any] = field(default_factory=dict)
    files: str | None = None  # folder below the journal with what the record carries
    epoch: int | None = None  # that the record belongs to; a later one may be rewound


class JournalInUse(UserError):
    """Another process has the journal open."""


class Journal:
    """An append-only file of JSON lines with the files they refer to, owned by one process.

    ``header`` (run.json) says which run the records belong to; ``progress.json`` how far sending
    has come: ``sending`` is written before a record leaves, ``sent`` after it has arrived.
    """

    def __init__(self, path: Path, wait: float = 10.0) -> None:
        """Open or create the journal in the folder ``path``.

        Raises:
            JournalInUse: another process still has it after ``wait`` seconds.
            UserError: the folder cannot be written to.
        """
        self.path = path
        self.changed = threading.Condition()
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / _LOCK, thread_local=False)
            self._lock.acquire(timeout=wait)
        except Timeout as error:
            raise JournalInUse(f"{path} is in use by another process: wait for it") from error
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
        try:
            self.header: dict[str, Any] = self._read(_HEADER)
            progress = self._read(_PROGRESS)
            self.sending: int = progress.get("sending", 0)
            self.sent: int = progress.get("sent", 0)
            self.records = self._load()
            self._file = (path / _RECORDS).open("ab")
            self._clear_orphans()
        except BaseException:
            self._lock.release()
            raise

    def set_header(self, **values: Any) -> None:
        """Add to the header; the trainer and the sender both do."""
        with self.changed:
            self.header |= values
            write_json(self.path / _HEADER, self.header)

    def append(
        self,
        kind: str,
        content: dict[str, Any] | None = None,
        *,
        epoch: int | None = None,
        fill: Callable[[Path], Any] | None = None,
    ) -> Record:
        """Write a record; it is on the disk when this returns.

        ``fill`` is given an empty folder for the files that the record carries.
        """
        files = self._carry(fill) if fill else None
        with self.changed:
            last = self.records[-1].seq if self.records else self.sent
            record = Record(last + 1, kind, int(time.time() * 1000), content or {}, files, epoch)
            self._write(json.dumps(record.__dict__, ensure_ascii=False) + "\n")
            self.records.append(record)
            self.changed.notify_all()
        return record

    def rewind(self, epoch: int) -> None:
        """Drop the records of epochs after ``epoch`` that no server can have seen."""
        with self.changed:
            mark = {"epoch": epoch, "after": self.sending}
            if any(_dropped(record, mark) for record in self.records):
                self.append("rewind", mark)
                self.records = _without_rewound(self.records)

    def pending(self) -> list[Record]:
        """The records that are not known to have arrived, in order."""
        with self.changed:
            return [r for r in self.records if r.seq > self.sent and r.kind != "rewind"]

    def start_sending(self, seq: int) -> None:
        """Note that the records up to ``seq`` may have left."""
        with self.changed:
            if seq > self.sending:
                self.sending = seq
                self._write_progress()

    def mark_sent(self, seq: int) -> None:
        """Note that the records up to ``seq`` have arrived; their files are no longer needed."""
        with self.changed:
            done = [r.files for r in self.records if self.sent < r.seq <= seq and r.files]
            self.sent = seq
            self._write_progress()
        for files in done:
            shutil.rmtree(self.path / files, ignore_errors=True)

    def close(self) -> None:
        """Let another process open the journal."""
        self._file.close()
        self._lock.release()

    def remove(self) -> None:
        """Delete the journal, which must be open, and let go of it."""
        self._file.close()
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()

    def _carry(self, fill: Callable[[Path], Any]) -> str:
        """Let ``fill`` write a record's files; returns their folder. A failure leaves nothing."""
        files = f"{_BLOBS}/{uuid.uuid4().hex[:12]}"
        folder = self.path / files
        try:
            folder.mkdir(parents=True)
            fill(folder)
            for path in folder.rglob("*"):
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return files

    def _write(self, line: str) -> None:
        """Append a whole line or, when the disk is full, nothing of it."""
        end = self._file.seek(0, os.SEEK_END)
        try:
            self._file.write(line.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):  # of the rest in the buffer
                self._file.close()
            os.truncate(self.path / _RECORDS, end)
            self._file = (self.path / _RECORDS).open("ab")
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error

    def _write_progress(self) -> None:
        write_json(self.path / _PROGRESS, {"sending": self.sending, "sent": self.sent})

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        return read_json(path) if path.exists() else {}

    def _clear_orphans(self) -> None:
        """Files of records that a crash prevented, or that have arrived or been rewound."""
        wanted = {record.files for record in self.pending()}
        for folder in (self.path / _BLOBS).glob("*"):
            if f"{_BLOBS}/{folder.name}" not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def _load(self) -> list[Record]:
        path = self.path / _RECORDS
        data = path.read_bytes() if path.exists() else b""
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # torn by a crash while it was appended: it was never acted upon
            with path.open("r+b") as file:
                file.truncate(whole)
        records = []
        for line in data[:whole].splitlines():
            try:
                records.append(Record(**json.loads(line)))
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"{path} is damaged: move {self.path} away to go on without its records"
                ) from error
        return _without_rewound(records)


def _without_rewound(records: list[Record]) -> list[Record]:
    kept: list[Record] = []
    for record in records:
        if record.kind == "rewind":
            kept = [r for r in kept if not _dropped(r, record.content)]
        kept.append(record)
    return kept


def _dropped(record: Record, mark: dict[str, Any]) -> bool:
    return record.epoch is not None and record.epoch > mark["epoch"] and record.seq > mark["after"]
