"""Fetch and verify a data set's archives, into a folder that is either complete or absent."""

import re
import shutil
from importlib import import_module
from pathlib import Path
from urllib.parse import urlsplit

from saliencymixplus.datasets.fetch import check_address, fetch
from saliencymixplus.datasets.manifest import Entry, Manifest, check_archive, verified
from saliencymixplus.datasets.publishers import Archive, archives_of
from saliencymixplus.datasets.user_images import PACKED
from saliencymixplus.errors import UserError, nearest, os_errors
from saliencymixplus.files import sha256_of
from saliencymixplus.folders import whole_directory
from saliencymixplus.progress import Report
from saliencymixplus.settings import DownloadSettings
from saliencymixplus.workspace import expanded, repository_root


def download(settings: DownloadSettings, destination: Path, *, report: Report = print) -> None:
    """Fill ``destination`` with the verified archives of a data set and a manifest.json.

    * ``digits``, ``clutter``: scikit-learn's bundled table; no network.
    * ``cifar10``, ``cifar100``, ``oxford_pet``: the publisher's archives, or those of
      ``settings.mirror`` (a folder, an https address, or http on this machine). Each must match
      the SHA-256 in the settings if given, otherwise the publisher's MD5.
    * ``imagefolder``: ``settings.path``; an archive is copied, a folder becomes ``images.tar``.
    * ``imagenet``: the folder ``settings.path`` becomes ``images.tar``; it is not downloaded.

    Existing archives that verify are kept. A relative ``path`` or ``mirror`` is looked up in the
    working directory, then in the repository.

    Raises:
        UserError: an archive cannot be fetched or verified; ``destination`` is unchanged.
    """
    _check_settings(settings)
    own = settings.source in ("imagefolder", "imagenet")
    if not own and _is_there(settings, destination):
        report(f"{settings.source}: already in {destination}, checksums verified")
        return
    with whole_directory(destination) as part:
        if settings.source in ("digits", "clutter"):
            manifest = _digits(settings.source, part)
        elif own:
            name = "user_images" if settings.source == "imagefolder" else "imagenet_folder"
            module = import_module(f"saliencymixplus.datasets.{name}")
            manifest = module.collect(settings, _resolved(settings.path or ""), part, report)
        else:
            manifest = _published(settings, part, report)
        manifest.write(part)
    size = sum(entry.bytes for entry in manifest.archives)
    report(f"{manifest.name}: {len(manifest.archives)} archive(s), {size / 1e6:.1f} MB, verified")


def _check_settings(settings: DownloadSettings) -> None:
    names = [archive.name for archive in archives_of(settings.source)]
    if settings.mirror is not None and not names:
        raise UserError(f"download.mirror: {settings.source} is not downloaded: remove the key")
    if settings.source == "imagefolder":
        names = [Path(settings.path or "").name]
    if settings.source == "imagenet":
        names = [PACKED]
    for name, value in settings.sha256.items():
        if name not in names:
            hint = nearest(name, names) if names else "this source has no archives"
            raise UserError(f"download.sha256: {settings.source} has no archive {name!r}: {hint}")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise UserError(
                f"download.sha256: {name}: {value!r} is not a SHA-256: give its 64 hexadecimal "
                "digits"
            )


def _is_there(settings: DownloadSettings, destination: Path) -> bool:
    if not destination.is_dir():
        return False
    try:
        manifest = verified(destination)
        for entry in manifest.archives:
            check_archive(settings, destination / entry.name, entry.name)
    except UserError:
        return False  # unfinished, changed or for other settings: fetch it again
    return manifest.source == settings.source


def _digits(source: str, part: Path) -> Manifest:
    from saliencymixplus.datasets.sources.digits import ARCHIVE, embedded

    path = part / ARCHIVE
    path.write_bytes(embedded())
    origin = "scikit-learn, sklearn/datasets/data/digits.csv.gz"
    return Manifest(source, source, (Entry.of(path, sha256_of(path), origin),))


def _published(settings: DownloadSettings, part: Path, report: Report) -> Manifest:
    entries = []
    for archive in archives_of(settings.source):
        path = part / archive.name
        _obtain(settings, archive, path, report)
        sha256 = check_archive(settings, path, archive.name)
        own = archive.name in settings.sha256
        origin = "checksum given in the settings" if own else archive.url
        entries.append(Entry.of(path, sha256, origin))
    return Manifest(settings.source, settings.source, tuple(entries))


def _obtain(settings: DownloadSettings, archive: Archive, path: Path, report: Report) -> None:
    if settings.mirror is None:
        fetch(archive.url, path, report=report)
    elif "://" in settings.mirror:
        check_address(settings.mirror)
        parts = urlsplit(settings.mirror)
        folder = parts.path.rstrip("/")
        fetch(parts._replace(path=f"{folder}/{archive.name}").geturl(), path, report=report)
    else:
        mirror = _resolved(settings.mirror)
        if not mirror.is_dir():
            raise UserError(
                f"download.mirror: {mirror} is not a folder: give a folder or an https URL"
            )
        if not (mirror / archive.name).is_file():
            raise UserError(f"download.mirror: {mirror} has no {archive.name}")
        report(f"copying {archive.name} from the mirror")
        with os_errors(f"cannot copy {mirror / archive.name}"):
            shutil.copyfile(mirror / archive.name, path)


def _resolved(text: str) -> Path:
    """Resolve a path in the settings, also in the repository copies of DVC's queue."""
    path = expanded(text)
    if path.is_absolute() or path.exists():
        return path
    return repository_root() / path
