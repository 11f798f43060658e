"""Stream the members of untrusted zip and tar files, without unpacking to disk."""

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
from typing import Any

from saliencymixplus.errors import UserError, one_line

# An archive is rejected as a decompression bomb if it expands to more than FREE_BYTES plus
# MAX_RATIO times its size, or if a member has more than MAX_FILE bytes.
FREE_BYTES = 1 << 30
MAX_RATIO = 200
MAX_FILE = 256 << 20

# What the libraries raise on damaged files; ValueError for malformed header fields.
_DAMAGE = (
    *(OSError, EOFError, ValueError, OverflowError, MemoryError, struct.error, zlib.error),
    *(lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
)
# Patterns of rejected names. tarfile's `data` filter is more lenient: it strips a leading slash and
# allows links within the archive.
_UNSAFE = (
    (r"^(/|[A-Za-z]:)", "has an absolute path"),
    (r"(^|/)\.\.(/|$)", "leads out of its folder ('..')"),
    (r"[\\\x00-\x1f\x7f-\x9f]", "has a backslash or a control character in its name"),
    (r"[\ud800-\udfff]", "has a name that is not UTF-8"),
)


@dataclass(frozen=True)
class Member:
    """A file or folder in an archive. ``read`` is valid until the iteration advances."""

    name: str  # safe, relative, with "/", in Unicode form NFC
    is_folder: bool
    read: Callable[[], bytes]


def iter_members(path: Path, name: str = "", *, largest: int | None = None) -> Iterator[Member]:
    """Iterate over an archive (zip, tar, tar.gz, tar.bz2, tar.xz; recognised by its content).

    Args:
        name: its name in error messages; default: the file's name.
        largest: largest member size in bytes; default: MAX_FILE.

    Raises:
        UserError: the file is not an archive, or is damaged, encrypted or too large when
            decompressed; or a member is a link or device, points outside the folder (absolute,
            ``..``), or would overwrite another on a case-insensitive file system.
    """
    name = name or path.name
    with _damage_reported(name):
        with path.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        yield from (_from_zip if is_zip else _from_tar)(path, _Names(name, largest or MAX_FILE))


def is_clutter(name: str) -> bool:
    """Whether a member is operating-system clutter: hidden files, Thumbs.db and the like."""
    parts = name.split("/")
    return any(part.startswith(".") or part == "__MACOSX" for part in parts) or (
        parts[-1].casefold() in ("thumbs.db", "desktop.ini")
    )


@contextmanager
def _damage_reported(archive: str) -> Iterator[None]:
    """Turn the libraries' exceptions into one line."""
    try:
        yield
    except NotImplementedError as error:
        raise UserError(f"{archive} cannot be read ({error}): pack it again as .tar.gz") from error
    except _DAMAGE as error:
        reason = one_line(error) or type(error).__name__
        raise UserError(f"{archive} is damaged or cut short ({reason}): replace it") from error


class _Names:
    """Makes member names safe and rejects those that cannot be."""

    def __init__(self, archive: str, largest: int) -> None:
        self.archive, self._largest = archive, largest
        self._known: dict[str, str] = {}
        self._files: set[str] = set()

    def safe(self, raw: str, is_folder: bool) -> str:
        """The name to use; "" for the archive's root folder."""
        for pattern, what in _UNSAFE:
            if re.search(pattern, raw):
                raise self.refuse(raw, what)
        parts = [part for part in raw.split("/") if part not in ("", ".")]
        name = unicodedata.normalize("NFC", "/".join(parts))
        for end in range(1, len(parts) + 1):
            path = "/".join(name.split("/")[:end])
            other = self._known.setdefault(path.casefold(), path)
            if other != path:
                raise self.refuse(raw, f"is {other!r} to a disk that ignores case (rename one)")
        if not is_folder:
            if not name or name in self._files:
                raise self.refuse(raw, "occurs twice" if name else "has no name")
            self._files.add(name)
        return name

    def refuse(self, member: str, what: str) -> UserError:
        """The error for one member."""
        return UserError(f"{self.archive}: member {member[:200]!r} {what}: refused")

    def check_size(self, member: str, size: int, total: int, path: Path) -> None:
        """Reject a member of ``size`` bytes or an archive of ``total`` bytes that is too large."""
        if size > self._largest:
            raise self.refuse(member, f"is larger than {self._largest >> 20} MiB")
        if total > FREE_BYTES + MAX_RATIO * path.stat().st_size:
            raise UserError(
                f"{self.archive} decompresses to more than {MAX_RATIO} times its size: "
                "refused as a decompression bomb"
            )


def _from_zip(path: Path, names: _Names) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        total = 0
        for info in archive.infolist():
            name = names.safe(_zip_name(info, names), info.is_dir())
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise names.refuse(name, "is a link or a device")
            if info.flag_bits & 0x1:
                raise names.refuse(name, "is encrypted")
            total += info.file_size
            names.check_size(name, info.file_size, total, path)

            def read(info: zipfile.ZipInfo = info) -> bytes:
                with _damage_reported(names.archive), archive.open(info) as file:
                    return file.read(info.file_size)

            yield Member(name, info.is_dir(), read)


def _zip_name(info: zipfile.ZipInfo, names: _Names) -> str:
    """A member's name; without the UTF-8 flag, zipfile decodes it as code page 437.

    Uses ``orig_filename``, because zipfile truncates ``filename`` at a NUL.
    """
    name = info.orig_filename
    if info.flag_bits & 0x800 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")  # Info-ZIP and macOS do not set the flag
    except UnicodeDecodeError as error:
        what = "has a name in an old code page instead of UTF-8 (pack it again)"
        raise names.refuse(name, what) from error


class _StrictInfo(tarfile.TarInfo):
    """A header that raises an error if damaged; tarfile would treat it as the end of archive."""

    @classmethod
    def frombuf(cls, *header: Any) -> Any:
        """Parse a header, limiting the extended headers of long names, which are read in full."""
        info = super().frombuf(*header)
        if info.size > MAX_FILE:
            raise tarfile.ReadError(f"{info.name[:200]!r} is larger than {MAX_FILE >> 20} MiB")
        return info

    @classmethod
    def fromtarfile(cls, archive: Any) -> Any:
        """Read the next header."""
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the block of zeros at the end
                raise
            raise tarfile.ReadError(str(error) or "no end of archive") from error


def _from_tar(path: Path, names: _Names) -> Iterator[Member]:
    try:
        archive: Any = tarfile.open(path, tarinfo=_StrictInfo, encoding="utf-8")  # noqa: SIM115
    except tarfile.ReadError as error:
        raise UserError(
            f"{names.archive} is not a zip or tar(.gz/.bz2/.xz) archive, or its beginning is "
            "damaged: replace it, or pack the pictures as .zip or .tar.gz"
        ) from error
    with archive:
        while info := archive.next():
            if not (info.isreg() or info.isdir()) or info.issparse():
                raise names.refuse(info.name, "is a link, a device or another special file")
            name = names.safe(info.name, info.isdir())
            names.check_size(name, info.size, archive.offset, path)

            def read(info: tarfile.TarInfo = info) -> bytes:
                with _damage_reported(names.archive):
                    data: bytes = archive.extractfile(info).read()
                    if len(data) != info.size:
                        raise tarfile.ReadError(f"{info.name} is cut short")
                return data

            yield Member(name, info.isdir(), read)
            archive.members.clear()  # tarfile would keep every header in memory
        while archive.fileobj.read(1 << 20):  # up to the overall checksum at the end
            names.check_size("", 0, archive.fileobj.tell(), path)
