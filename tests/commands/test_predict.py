"""``predict``: formats, contact sheet, refusals."""

import csv
import io
import json
import os

import pytest
import torch
from PIL import Image

from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.inference.predict import Predictor


def test_the_command(cli, ready, tmp_path, monkeypatch):
    folder, images = ready.run, tmp_path / "pictures"
    images.mkdir()
    for row, pixels in enumerate(load_prepared(ready.prepared).split("test").images[:10]):
        Image.fromarray(pixels).save(images / f"{row}.png")
    done = cli("predict", str(folder), str(images), "--format", "json", "--top", "2")
    assert done.code == 0
    listed = json.loads(done.out)
    assert len(listed) == 10
    assert len(listed[0]["classes"]) == 2
    done = cli("predict", str(folder), str(images), "--format", "csv", "--top", "1")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [row["class 1"] for row in rows] == [one["classes"][0]["class"] for one in listed]
    listed = io.BytesIO(f"{images / '3.png'}\n".encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(listed))
    done = cli("predict", str(folder), "-", "--sheet", str(tmp_path / "sheet.png"), "--cam")
    assert done.code == 0
    assert "3.png" in done.out
    assert Image.open(tmp_path / "sheet.png").size[0] > 100
    for given, said in (
        (None, "standard input names no pictures"),
        (b"\n", "standard input names no pictures"),
        (b"3.png\0", "null byte"),
        (b"\xff.png\n", "does not exist"),
    ):
        stream = None if given is None else io.TextIOWrapper(io.BytesIO(given))
        monkeypatch.setattr("sys.stdin", stream)
        done = cli("predict", str(folder), "-")
        assert done.code == 1
        assert said in done.err
    (tmp_path / "bad.png").write_bytes(b"no picture")
    done = cli("predict", str(folder), str(tmp_path / "bad.png"), str(images / "1.png"))
    assert done.code == 1
    assert "1.png" in done.out
    assert "bad.png" in done.err
    done = cli("predict", str(folder), str(images), "--cam")
    assert done.code == 1
    assert "--sheet" in done.err
    done = cli("predict", str(folder), str(images), "--weights", "lasst")
    assert "did you mean 'last'" in done.err


def test_what_is_not_a_file_is_named(refused, ready, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    for path in ("pipe.png", "/dev/null"):
        refused("predict", ready.run, path, culprit=f"cannot read {path}: it is not a file")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "allocate 2 GiB"),
        (MemoryError(), "MemoryError"),
    ],
    ids=["torch", "python"],
)
def test_too_little_memory_is_one_line(refused, ready, tmp_path, monkeypatch, error, reason):
    def full(*_):
        raise error

    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    monkeypatch.setattr(Predictor, "_classified", full)
    done = refused("predict", ready.run, tmp_path / "one.png", culprit=f"{reason}): try")
    assert done.err.startswith("error: out of memory")
