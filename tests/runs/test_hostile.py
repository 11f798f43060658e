"""Hostile files in a run folder are reported in one line."""

import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saliencymixplus.errors import UserError
from saliencymixplus.evaluation.read import read_table
from tests.runs.conftest import evaluated
from tests.runs.reading import refusal


def put(file: str, *keys: Any, value: Any) -> Callable[[Path], None]:
    """A change of one value in a JSON file."""

    def change(path: Path) -> None:
        content = json.loads(path.read_text())
        parent = content
        for key in keys[:-1]:
            parent = parent[key]
        parent[keys[-1]] = value
        path.write_text(json.dumps(content))

    change.file = file  # type: ignore[attr-defined]
    return change


def whole(file: str, content: bytes) -> Callable[[Path], None]:
    """Other content of the whole file."""

    def change(path: Path) -> None:
        path.write_bytes(content)

    change.file = file  # type: ignore[attr-defined]
    return change


def npz(**arrays: np.ndarray) -> bytes:
    """An archive of arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npz_with_header(header: str) -> bytes:
    """An archive with one array of a made-up header and no data."""
    text = header.encode() + b"\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(
            "labels.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"0" * 64
        )
    return buffer.getvalue()


LABELS, LOGITS, RANKS = (
    np.zeros(4, np.int32),
    np.zeros((4, 3), np.float16),
    np.zeros(4, np.uint16),
)


S, SUM, T, M, EV = (
    "settings.json",
    "summary.json",
    "tracking.json",
    "metrics.json",
    "evaluation.json",
)


HEADER = b"epoch,learning_rate,train_loss,seconds,images_per_second,forward_backward_passes\n"


DEEP = b"[" * 100_000 + b"]" * 100_000


HAND_MADE = [
    # Names that become paths.
    *(
        put(S, "settings", "mix", "name", value=name)
        for name in (
            "../README",
            "/etc/passwd",
            "a/b",
            "a\\b",
            "..",
            ".hidden",
            "-rf",
            "",
            "a b",
            "a\0b",
            "x" * 200,
            "a\nb",
            "=cmd",
            "[red]a",
            "<b>",
            "\x1b[2J",
            5,
            None,
            ["a"],
        )
    ),
    *(
        put(S, "settings", "experiment", value=name)
        for name in ("../../x", "/tmp/x", "", None, "a\x1b")
    ),
    # Sizes that would be allocated.
    put(S, "data", "image_size", value=[10**9, 10**9]),
    put(S, "data", "image_size", value=10**9),
    put(S, "data", "image_size", value=[8, 8, 8]),
    put(S, "data", "image_size", value=[0, 0]),
    put(S, "settings", "data", "image_size", value=10**9),
    put(S, "settings", "training", "crop_size", value=10**9),
    put(S, "data", "classes", value=["x"] * 60_000),
    put(S, "data", "classes", value="abc"),
    put(S, "data", "classes", value=["x"] * 10),
    put(S, "data", "classes", value=["x"]),
    put(S, "settings", "mix", "options", value={"../x": 1}),
    put(S, "data", "counts", value={"train": -1}),
    put(S, "data", "counts", value={"../x": 1}),
    put(S, "settings", "training", "epochs", value=10**18),
    put(SUM, "epochs", value=10**16),
    put(SUM, "epochs", value=4),
    put(SUM, "epochs", value=True),
    put(SUM, "seconds", value=-1),
    put(SUM, "last", "top1_error", value=101),
    put(SUM, "last", value=[]),
    # Values of another kind.
    put(S, "digest", value="../x"),
    put(S, "digest", value=7),
    put(S, "device", value="\x1b]0;x\x07"),
    put(S, "data", "name", value="a\nb"),
    put(S, "data", "mean", value=["a", 0, 0]),
    put(S, "settings", value=[]),
    put(S, "settings", "model", "name", value={"a": 1}),
    put(T, "attempt", value="../../outside"),
    put(T, "experiment", value="a/b"),
    put(T, "tracker", value="http://127.0.0.1"),
    put(T, "run_id", value="../x"),
    put(T, "uri", value="\x1b[2J"),
    put(M, "nll", value="abc"),
    put(M, "nll", value=None),
    put(M, "../x", value=1.0),
    put(M, "a b", value=1.0),
    put(EV, "run", value={}),
    put(EV, "skipped", value={"a": "\x1b[2J"}),
    put(EV, "test_images", value=-1),
    # Files that are not what their names say.
    *(
        whole(file, content)
        for file in (S, SUM, T, M, EV)
        for content in (
            b"",
            DEEP,
            b'{"digest": ' + b"9" * 5000 + b"}",
            b'{"a": NaN}',
            b'{"a": 1e999}',
            b'{"epochs": 1, "epochs": 2}',
            b"\xff\xfe\x00",
            b'"\\ud800"',
            b"[]",
            b"null",
            b"7",
            b"[" + b"0," * 9_000_000 + b"0]",
        )
    ),
    *(
        whole("history.csv", content)
        for content in (
            b"",
            b"\xff\xfe",
            b"epoch\n1\n",
            b"epoch,epoch\n1,1\n",
            HEADER + b"1,1,nan,1,1,1\n",
            HEADER + b"1,1,1,1,1,1,1,1\n",
            b"epoch,train_loss\n1,1,1\n",
            b"epoch,train_loss\n1\x00,1\n",
            b'epoch,train_loss\n"1,1\n',
            b"epoch\n" + b"9" * 200_000 + b"\n",
        )
    ),
    *(
        whole("attacks.csv", content)
        for content in (
            b"a,a\n1,2\n",
            b"images\n1,2\n",
            b"images\nnan\n",
            b"images\nx\n",
            b"images\n" + b"1" * 200_000 + b"\n",
            b"\xff",
        )
    ),
    *(
        whole("predictions.npz", content)
        for content in (
            b"",
            b"PK\x03\x04",
            npz(labels=LABELS),
            npz(labels=LABELS, logits=LOGITS),
            npz(labels=LABELS, logits=LOGITS, rank_last=RANKS[:2]),
            npz(labels=LABELS + 9, logits=LOGITS, rank_last=RANKS),
            npz(labels=LABELS.astype(np.int64), logits=LOGITS, rank_last=RANKS),
            npz(labels=LABELS, logits=LOGITS, rank_last=RANKS, rank_x=RANKS),
            npz(labels=np.array([{}], dtype=object), logits=LOGITS, rank_last=RANKS),
            npz_with_header("{'descr': '<i4', 'fortran_order': False, 'shape': (20000000000,), }"),
            npz_with_header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"),
            npz_with_header("__import__('os').system('x')"),
        )
    ),
    *(
        whole("last.safetensors", content)
        for content in (
            b"",
            struct.pack("<Q", 80 * 10**9) + b"{}",
            struct.pack("<Q", 2) + b"{}",
            struct.pack("<Q", 2**64 - 1) + b"{}",
            struct.pack("<Q", 64)
            + b'{"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,9]}}'[:64],
        )
    ),
]


@pytest.mark.parametrize("change", HAND_MADE, ids=range(len(HAND_MADE)))
def test_hostile_files_are_named_in_one_line(run_dir: Path, change: Any) -> None:
    (file,) = (
        found
        for root in (run_dir, evaluated(run_dir))
        for found in root.rglob("*")
        if found.name == change.file
    )
    change(file)
    said = refusal(run_dir)
    assert change.file in said
    assert len(said) < 1000
    assert said.isprintable()


def test_there_are_enough_of_them() -> None:
    assert len(HAND_MADE) >= 60


def test_a_pipe_in_place_of_a_file_is_not_waited_for(run_dir: Path) -> None:
    table = evaluated(run_dir) / "attacks.csv"
    table.unlink()
    os.mkfifo(table)
    with pytest.raises(UserError, match=r"attacks\.csv: it is not a file"):
        read_table(table)
