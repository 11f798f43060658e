"""manifest.json: the content of a download folder, verified before use."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from saliencymixplus.datasets.publishers import archives_of, expected_sha256
from saliencymixplus.errors import UserError
from saliencymixplus.files import read_json, write_json
from saliencymixplus.folders import check_folder, check_only
from saliencymixplus.settings import DownloadSettings

NAME = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """One downloaded file."""

    name: str
    sha256: str
    bytes: int
    origin: str  # the publisher's address or a description, never a local path


@dataclass(frozen=True)
class Manifest:
    """The content of a download folder; equal content gives equal manifests on all machines."""

    source: str
    name: str  # the data set's display name
    archives: tuple[Entry, ...]

    def write(self, folder: Path) -> None:
        """Write ``folder/manifest.json``."""
        write_json(folder / NAME, asdict(self))


def check_download_folder(folder: Path) -> None:
    """Refuse to replace a download folder with content that is not in its manifest.

    Raises:
        UserError: there is such a file or folder; the message names it.
    """
    check_folder(folder, NAME)
    if not folder.exists():
        return
    try:
        known = {entry.name for entry in read_manifest(folder).archives}
    except UserError:  # damaged or unfinished: all but the manifest may be the user's
        known = set()
    check_only(folder, {NAME, *known})


def checksums(path: Path) -> tuple[str, str]:
    """(SHA-256, MD5) of a file, read once."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                sha256.update(piece)
                md5.update(piece)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    return sha256.hexdigest(), md5.hexdigest()


def check_archive(settings: DownloadSettings, path: Path, name: str) -> str:
    """Check that the file ``path`` is the archive ``name``, and return its SHA-256.

    Compares the SHA-256 in the settings if given, otherwise the publisher's MD5.

    Raises:
        UserError: the file is missing or its checksum differs.
    """
    published = {archive.name: archive for archive in archives_of(settings.source)}
    wanted = expected_sha256(settings, [name, *published]).get(name)
    sha256, md5 = checksums(path)
    if wanted is not None:
        if sha256 != wanted:
            raise UserError(
                f"{path.name} has SHA-256 {sha256}, not {wanted} as in download.sha256: "
                "it is damaged or a different file"
            )
    elif name in published and md5 != published[name].md5:
        raise UserError(
            f"{path.name} has MD5 {md5}, not the publisher's {published[name].md5}: it is damaged, "
            f"or repacked (then give its SHA-256 {sha256} under download.sha256)"
        )
    return sha256


def read_manifest(folder: Path) -> Manifest:
    """Read ``folder/manifest.json``.

    Raises:
        UserError: it does not exist, or is not a manifest.
    """
    path = folder / NAME
    if not path.is_file():
        raise UserError(f"{folder} holds no finished download ({NAME} is missing): run `download`")
    content = read_json(path)
    try:
        archives = tuple(Entry(**entry) for entry in content["archives"])
        manifest = Manifest(content["source"], content["name"], archives)
        texts = [manifest.source, manifest.name]
        texts += [text for entry in archives for text in (entry.name, entry.sha256, entry.origin)]
        names = [entry.name for entry in archives]
        if not all(isinstance(text, str) for text in texts) or not names:
            raise TypeError("fields of the wrong type")
        # A manifest must not point outside its folder.
        if any(Path(name).name != name for name in names):
            raise ValueError("an archive's name is a path")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): run `download` again") from error
    return manifest


def verified(folder: Path) -> Manifest:
    """Verify the checksums of all archives in ``folder`` and return the manifest.

    Raises:
        UserError: the download is missing or unfinished, or an archive has changed.
    """
    manifest = read_manifest(folder)
    published = {archive.name: archive for archive in archives_of(manifest.source)}
    for name in published:
        if name not in {entry.name for entry in manifest.archives}:
            raise UserError(f"{folder} lacks {name}: run `download` again")
    for entry in manifest.archives:
        sha256, md5 = checksums(folder / entry.name)
        archive = published.get(entry.name)
        # If the manifest gives the publisher as origin, the publisher's checksum must match.
        claims = archive is not None and entry.origin == archive.url
        if sha256 != entry.sha256 or (claims and archive is not None and md5 != archive.md5):
            raise UserError(
                f"{folder / entry.name} has changed since its download: run `download` again"
            )
    return manifest
