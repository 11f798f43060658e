"""Reading zip and tar files that may be hostile: streamed, never unpacked to disk."""

import bz2
import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from saliencymixplus.errors import UserError

# Beyond these an archive is taken for a decompression bomb: at most MAX_RATIO bytes out of one,
# after a first FREE_BYTES; one file; the number of files.
FREE_BYTES = 1 << 30
MAX_RATIO = 200
MAX_FILE = 256 << 20
MAX_MEMBERS = 5_000_000

# ValueError: numbers and names of a header that are none, which the libraries let through.
_DAMAGE = (
    OSError,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Member:
    """A file or folder in an archive. ``read`` works until the next member is asked for."""

    name: str  # safe, relative, with "/", in Unicode's composed form (NFC)
    is_folder: bool
    size: int  # bytes
    read: Callable[[], bytes]


def members(path: Path, name: str = "") -> Iterator[Member]:
    """Go through an archive (zip, tar, tar.gz, tar.bz2, tar.xz; told by its first bytes).

    Args:
        path: The archive.
        name: What errors call it, if not by its file's name.

    Raises:
        UserError: it is no archive or a damaged one, encrypted, too large when decompressed, or a
            member is a link or a device, leads out of the folder (absolute, ``..``), or would
            overwrite another on a file system that ignores case.
    """
    check = _Names(name or path.name)
    with _sound(name or path.name):
        kind = _kind(path)
        yield from _from_zip(path, check) if kind == "zip" else _from_tar(path, kind, check)


def is_clutter(name: str) -> bool:
    """Whether a member is what operating systems leave behind: hidden files, Thumbs.db, …"""
    parts = name.split("/")
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or (
        parts[-1].casefold() in ("thumbs.db", "desktop.ini")
    )


@contextmanager
def _sound(archive: str) -> Iterator[None]:
    """Turn what the libraries raise on damage into one line."""
    try:
        yield
    except _DAMAGE as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{archive} is damaged or cut short ({text}): fetch it again") from error


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(512)
    for magic, kind in (
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"\x1f\x8b", "gz"),
        (b"BZh", "bz2"),
        (b"\xfd7zXZ\x00", "xz"),
    ):
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar" or (len(head) == 512 and not any(head)):
        return "tar"
    raise UserError(f"{path.name} is no zip and no tar(.gz/.bz2/.xz) archive")


class _Names:
    """Turns member names into safe ones and refuses the rest."""

    def __init__(self, archive: str) -> None:
        self._archive = archive
        self._known: dict[str, str] = {}
        self._files: set[str] = set()

    def safe(self, raw: str, is_folder: bool) -> str:
        """The name to use, "" for the archive's own top folder."""
        parts = [part for part in raw.split("/") if part not in ("", ".")]
        if raw.startswith("/") or re.match(r"[A-Za-z]:", raw):
            raise self.refuse(raw, "has an absolute path")
        if ".." in parts:
            raise self.refuse(raw, "leads out of its folder ('..')")
        if "\\" in raw or any(ord(letter) < 32 for letter in raw):
            raise self.refuse(raw, "has a backslash or a control character in its name")
        if any("\ud800" <= letter <= "\udfff" for letter in raw):
            raise self.refuse(raw, "has a name that is no UTF-8")
        name = unicodedata.normalize("NFC", "/".join(parts))
        folder = ""
        for part in name.split("/") if name else []:
            folder = f"{folder}/{part}" if folder else part
            other = self._known.setdefault(folder.casefold(), folder)
            if other != folder:
                raise self.refuse(raw, f"differs from {other!r} only in upper and lower case")
        if not is_folder:
            if not name or name in self._files:
                raise self.refuse(raw, "is there twice" if name else "has no name")
            self._files.add(name)
            if len(self._files) > MAX_MEMBERS:
                raise UserError(f"{self._archive} holds more than {MAX_MEMBERS} files")
        return name

    def refuse(self, name: str, what: str) -> UserError:
        """The error about one member."""
        return UserError(f"{self._archive}: member {name[:200]!r} {what}: refused")

    def size(self, name: str, size: int) -> None:
        """Refuse a file that is too large to be a picture or a table."""
        if size > MAX_FILE:
            raise self.refuse(name, f"is larger than {MAX_FILE >> 20} MiB")


def _budget(path: Path) -> int:
    return FREE_BYTES + MAX_RATIO * path.stat().st_size


def _bomb(name: str) -> UserError:
    return UserError(
        f"{name} decompresses to more than {MAX_RATIO} times its size: "
        "refused as a decompression bomb"
    )


def _from_zip(path: Path, check: _Names) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > _budget(path):
            raise _bomb(path.name)
        for info in infos:
            # orig_filename: zipfile itself silently cuts names at a NUL.
            name = check.safe(info.orig_filename, info.is_dir())
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise check.refuse(info.filename, "is a link or a device")
            if info.flag_bits & 0x1:
                raise check.refuse(info.filename, "is encrypted")
            check.size(info.filename, info.file_size)
            yield Member(name, info.is_dir(), info.file_size, _zip_reader(archive, info, path.name))


def _zip_reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        with _sound(name), archive.open(info) as file:
            return file.read(info.file_size)

    return read


class _Metered(io.RawIOBase):
    """A decompressed stream that ends in an error once it has yielded too much."""

    def __init__(self, stream: IO[bytes], budget: int, name: str) -> None:
        super().__init__()
        self._stream, self._left, self._name = stream, budget, name

    def read(self, size: int = -1) -> bytes:
        """Read at most ``size`` bytes."""
        data = self._stream.read(size if 0 <= size < 1 << 20 else 1 << 20)
        self._left -= len(data)
        if self._left < 0:
            raise _bomb(self._name)
        return data


class _StrictInfo(tarfile.TarInfo):
    """A header whose damage is an error: tarfile itself takes it for the end of the archive."""

    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        """Read the next header."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the block of zeros that ends it
                raise
            raise tarfile.ReadError(str(error) or "no end of archive") from error


def _from_tar(path: Path, kind: str, check: _Names) -> Iterator[Member]:
    opened: Any = {"gz": gzip.open, "bz2": bz2.open, "xz": lzma.open, "tar": open}[kind]
    with opened(path, "rb") as stream:
        metered = _Metered(stream, _budget(path), path.name)
        with tarfile.open(
            fileobj=metered,  # type: ignore[call-overload]
            mode="r|",
            tarinfo=_StrictInfo,
            encoding="utf-8",
        ) as archive:
            for info in archive:
                if info.issym() or info.islnk():
                    raise check.refuse(info.name, f"is a link (to {info.linkname[:200]!r})")
                if not (info.isreg() or info.isdir()) or info.issparse():
                    raise check.refuse(info.name, "is a device or another special file")
                name = check.safe(info.name, info.isdir())
                check.size(info.name, info.size)
                yield Member(name, info.isdir(), info.size, _tar_reader(archive, info, path.name))
                # tarfile would keep all headers in memory.
                archive.members.clear()  # type: ignore[attr-defined]
        while metered.read(1 << 20):
            pass  # to the end, where the checksum of the whole is


def _tar_reader(archive: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        with _sound(name):
            file = archive.extractfile(info)
            data = file.read() if file else b""
            if len(data) != info.size:
                raise tarfile.ReadError(f"{info.name} is cut short")
        return data

    return read
