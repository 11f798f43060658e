"""Hostile and damaged archives: one line that names the culprit, no leftovers."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from saliencymixplus.datasets import archives
from saliencymixplus.errors import UserError


def _tar_with(name: str, content: Any = b"x", mode: str = "w:gz") -> Callable[[Any], bytes]:
    return lambda make: make.tarred(make.photos() | {name: content}, mode)


def _tar_special(kind: bytes, target: str = "") -> Callable[[Any], bytes]:
    return lambda make: make.tarred(
        make.photos() | {"x": make.special("train/cat/odd.png", kind, target)}
    )


def _zip_of(info: zipfile.ZipInfo) -> Callable[[Any], bytes]:
    def build(make: Any) -> bytes:
        buffer = io.BytesIO(make.zipped(make.photos()))
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(info, b"/etc/passwd")
        return buffer.getvalue()

    return build


def _zip_link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("train/cat/odd.png")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    return info


def _encrypted(make: Any) -> bytes:
    """The flag "encrypted" set in both of the first member's headers."""
    data = bytearray(make.zipped({"train/cat/odd.png": b"x"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _corrupt_header(make: Any) -> bytes:
    """One bit of the second header flipped; tarfile would take it for the end of the archive."""
    data = bytearray(make.tarred(make.photos(), "w"))
    data[1024 + 3] ^= 0x10
    return bytes(data)


def _tar_header(**headers: str) -> Callable[[Any], bytes]:
    """The last member with extended headers of its own; "_" stands for "."."""

    def build(make: Any) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
            info = tarfile.TarInfo("train/cat/odd.png")
            info.pax_headers = {key.replace("_", "."): text for key, text in headers.items()}
            archive.addfile(info)
        return buffer.getvalue()

    return build


def _zip_name_not_utf8(make: Any) -> bytes:
    """The flag "UTF-8", and a byte that no UTF-8 has."""
    data = bytearray(make.zipped({"train/cat/ü.png": b"x"}))
    return bytes(data).replace("ü".encode(), b"\xff\xff")


def _bit_flip(make: Any) -> bytes:
    """One bit of a stored picture flipped."""
    data = bytearray(make.zipped(make.photos()))
    data[60] ^= 0x40
    return bytes(data)


# Archives: bytes, the file name, and the culprit.
ARCHIVES: dict[str, tuple[Callable[[Any], bytes], str, str]] = {
    "tar ..": (_tar_with("../evil.png"), "p.tar.gz", "../evil.png"),
    "tar inner ..": (_tar_with("train/../../evil.png"), "p.tar.gz", "train/../../evil.png"),
    "tar absolute": (_tar_with("/etc/evil.png"), "p.tar.gz", "/etc/evil.png"),
    "tar drive": (_tar_with("C:evil.png"), "p.tar.gz", "C:evil.png"),
    "tar backslash": (_tar_with("train\\..\\evil.png"), "p.tar.gz", "backslash"),
    "tar newline": (_tar_with("train/cat/a\nb.png"), "p.tar.gz", "control character"),
    "tar not utf-8": (_tar_with("train/cat/\udcff.png"), "p.tar.gz", "UTF-8"),
    "tar symlink": (_tar_special(tarfile.SYMTYPE, "/etc/passwd"), "p.tar.gz", "train/cat/odd.png"),
    "tar hard link": (_tar_special(tarfile.LNKTYPE, "x"), "p.tar.gz", "train/cat/odd.png"),
    "tar char device": (_tar_special(tarfile.CHRTYPE), "p.tar.gz", "train/cat/odd.png"),
    "tar block device": (_tar_special(tarfile.BLKTYPE), "p.tar.gz", "train/cat/odd.png"),
    "tar fifo": (_tar_special(tarfile.FIFOTYPE), "p.tar.gz", "train/cat/odd.png"),
    "tar twice": (
        lambda make: make.tarred(make.photos() | {"./train/cat/0.png": b"x"}),
        "p.tar.gz",
        "train/cat/0.png",
    ),
    "tar case collision": (_tar_with("train/cat/0.PNG"), "p.tar.gz", "train/cat/0.PNG"),
    "tar class case collision": (_tar_with("train/Cat/9.png"), "p.tar.gz", "train/Cat/9.png"),
    "tar.gz cut": (lambda make: make.tarred(make.photos())[:-50], "p.tar.gz", "p.tar.gz"),
    "tar.gz bad end": (
        lambda make: make.tarred(make.photos())[:-8] + bytes(8),
        "p.tar.gz",
        "p.tar.gz",
    ),
    "tar.xz cut": (lambda make: make.tarred(make.photos(), "w:xz")[:-60], "p.tar.xz", "p.tar.xz"),
    "tar cut at a header": (
        lambda make: make.tarred(make.photos(), "w")[:2048],
        "p.tar",
        "p.tar is damaged",
    ),
    "tar corrupt header": (_corrupt_header, "p.tar", "p.tar is damaged"),
    "tar header no number": (_tar_header(GNU_sparse_size="abc"), "p.tar", "p.tar is damaged"),
    "tar header no map": (_tar_header(GNU_sparse_map="a,b"), "p.tar", "p.tar is damaged"),
    "tar header no sparse": (
        _tar_header(GNU_sparse_major="1", GNU_sparse_minor="0"),
        "p.tar",
        "p.tar is damaged",
    ),
    "tar bomb": (
        lambda make: make.tarred(make.photos() | {"train/cat/b.png": bytes(4 << 20)}, "w:xz"),
        "p.tar.xz",
        "decompression bomb",
    ),
    "zip bomb": (
        lambda make: make.zipped(make.photos() | {"train/cat/b.png": bytes(4 << 20)}),
        "p.zip",
        "decompression bomb",
    ),
    "zip large file": (
        lambda make: make.zipped(
            make.photos() | {"train/cat/b.png": np.random.default_rng(0).bytes(3 << 20)}
        ),
        "p.zip",
        "train/cat/b.png",
    ),
    "zip ..": (_zip_of(zipfile.ZipInfo("../evil.png")), "p.zip", "../evil.png"),
    "zip absolute": (_zip_of(zipfile.ZipInfo("/etc/evil.png")), "p.zip", "/etc/evil.png"),
    "zip link": (_zip_of(_zip_link()), "p.zip", "train/cat/odd.png"),
    "zip name not utf-8": (_zip_name_not_utf8, "p.zip", "p.zip is damaged"),
    "zip encrypted": (_encrypted, "p.zip", "encrypted"),
    "zip cut": (lambda make: make.zipped(make.photos())[:-40], "p.zip", "p.zip"),
    "no archive": (lambda make: b"plain text" * 100, "p.zip", "p.zip"),
    "empty file": (lambda make: b"", "p.tar", "p.tar"),
    "7z": (lambda make: b"7z\xbc\xaf\x27\x1c" + bytes(100), "p.7z", "p.7z"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_bad_archive_is_named(case: str, bench: Any, make: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(archives, "MAX_FILE", 2 << 20 if case == "zip large file" else 8 << 20)
    content, name, culprit = ARCHIVES[case]
    bench.refused(bench.own(content(make), name), culprit)


def test_a_flipped_bit_in_a_zip_is_found(bench: Any, make: Any) -> None:
    bench.refused(bench.own(_bit_flip(make), "p.zip"), "p.zip", stage="prepare")


def _without_utf8_flag(path: Path, encoding: str) -> list[str]:
    """Member names of a zip with names in ``encoding`` and no UTF-8 flag (bit 11)."""
    name = "train/Grünfink/0.png"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    content = path.read_bytes().replace(name.encode(), name.encode(encoding).ljust(21, b"x"))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.index(signature) + offset
        content = content[:at] + b"\0\0" + content[at + 2 :]
    path.write_bytes(content)
    return [member.name for member in archives.iter_members(path)]


def test_zip_names_are_utf8_without_the_flag_too(tmp_path: Path) -> None:
    assert _without_utf8_flag(tmp_path / "a.zip", "utf-8") == ["train/Grünfink/0.png"]


def test_zip_names_in_an_old_code_page_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="old code page"):
        _without_utf8_flag(tmp_path / "a.zip", "latin-1")
