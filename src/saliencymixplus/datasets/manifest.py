"""manifest.json: the content of a download folder, verified before use."""

import glob
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from saliencymixplus.datasets.publishers import archives_of
from saliencymixplus.errors import UserError, one_line, os_errors
from saliencymixplus.files import read_json, write_json
from saliencymixplus.outputs import Output, check_folder, writing
from saliencymixplus.settings import DownloadSettings

NAME = "manifest.json"


def _inside(name: str) -> str:
    if Path(name).name != name:
        raise ValueError("an archive's name is a path")
    return name


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Entry:
    """One downloaded file."""

    name: Annotated[str, AfterValidator(_inside)]
    sha256: str
    bytes: int
    origin: str  # the publisher's address or a description, never a local path

    @classmethod
    def of(cls, path: Path, sha256: str, origin: str) -> "Entry":
        """Describe the file ``path``."""
        return cls(path.name, sha256, path.stat().st_size, origin)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Manifest:
    """The content of a download folder; equal content gives equal manifests on all machines."""

    source: str
    name: str  # the data set's display name
    archives: Annotated[tuple[Entry, ...], Field(min_length=1)]

    def write(self, folder: Path) -> None:
        """Write ``folder/manifest.json``."""
        write_json(folder / NAME, asdict(self))


def check_download_folder(folder: Path) -> None:
    """Refuse to replace a download folder with content that is not in its manifest."""
    try:
        with writing(folder):
            known = [entry.name for entry in read_manifest(folder).archives]
    except UserError:  # missing or damaged: all but the manifest may be the user's
        known = []
    check_folder(folder, Output({NAME: '"archives"'}, (NAME, *map(glob.escape, known))))


def checksums(path: Path) -> tuple[str, str]:
    """(SHA-256, MD5) of a file, read once."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with os_errors(f"cannot read {path}"), path.open("rb") as file:
        while piece := file.read(1 << 20):
            sha256.update(piece)
            md5.update(piece)
    return sha256.hexdigest(), md5.hexdigest()


def check_archive(settings: DownloadSettings, path: Path, name: str) -> str:
    """Check that the file ``path`` is the archive ``name``, and return its SHA-256.

    Compares the SHA-256 in the settings if given, otherwise the publisher's MD5.

    Raises:
        UserError: the file is missing or its checksum differs.
    """
    wanted = settings.sha256.get(name, "").lower()
    published = {archive.name: archive.md5 for archive in archives_of(settings.source)}
    sha256, md5 = checksums(path)
    if wanted and sha256 != wanted:
        raise UserError(
            f"{path.name} has SHA-256 {sha256}, not {wanted} as in download.sha256: "
            "it is damaged or a different file"
        )
    if not wanted and published.get(name, md5) != md5:
        raise UserError(
            f"{path.name} has MD5 {md5}, not the publisher's {published[name]}: it is damaged, "
            f"or repacked (then give its SHA-256 {sha256} under download.sha256)"
        )
    return sha256


def read_manifest(folder: Path) -> Manifest:
    """Read ``folder/manifest.json``."""
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"{folder} holds no finished download ({NAME} is missing): run `download`")
    try:
        return TypeAdapter(Manifest).validate_python(read_json(path))
    except ValidationError as error:
        reason = one_line(error.errors()[0]["msg"])
        raise UserError(f"{path} is damaged ({reason}): run `download` again") from error


def verified(folder: Path) -> Manifest:
    """Verify the checksums of all archives in ``folder`` and return the manifest."""
    manifest = read_manifest(folder)
    published = archives_of(manifest.source)
    for archive in published:
        if archive.name not in {entry.name for entry in manifest.archives}:
            raise UserError(f"{folder} lacks {archive.name}: run `download` again")
    expected = {(archive.name, archive.url): archive.md5 for archive in published}
    for entry in manifest.archives:
        sha256, md5 = checksums(folder / entry.name)
        # If the manifest gives the publisher as origin, the publisher's checksum must match.
        if (sha256, md5) != (entry.sha256, expected.get((entry.name, entry.origin), md5)):
            raise UserError(
                f"{folder / entry.name} has changed since its download: run `download` again"
            )
    return manifest
