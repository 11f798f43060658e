"""Find an experiment's prepared images, or prepare them now.

DVC stages name their folders explicitly. Other commands use what DVC prepared if the settings are
equal, and otherwise a cache keyed by the settings, so that stale data are never used.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from saliencymixplus.datasets.download import download
from saliencymixplus.datasets.manifest import read_manifest, verified
from saliencymixplus.datasets.prepare import prepare
from saliencymixplus.datasets.prepared import load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.locks import locked
from saliencymixplus.progress import Report
from saliencymixplus.settings import DownloadSettings, ExperimentSettings
from saliencymixplus.version import __version__
from saliencymixplus.workspace import checkout_root, expanded, repository_root, state_root


def downloaded(section: ExperimentSettings, report: Report = print) -> Path:
    """The cache folder of an experiment's verified archives, which are fetched if necessary."""
    folder = _download_cache(section)
    with _lock(folder, report):
        if not _is_intact(folder, "manifest.json", verified, report):
            download(section.download, folder, report=report)
    return folder


def prepared(section: ExperimentSettings, experiment: str, report: Report = print) -> Path:
    """The folder of an experiment's prepared arrays, which are prepared if necessary."""
    made_by_dvc = _made_by_dvc(experiment)
    if _matches(made_by_dvc, section, report):
        return made_by_dvc
    folder = _prepared_cache(section, experiment)
    with _lock(folder, report):
        if not _is_intact(folder, "meta.json", load_prepared, report):
            prepare(section.data, downloaded(section, report), folder, report=report)
    return folder


def find_prepared(
    section: ExperimentSettings, experiment: str, report: Report = print
) -> Path | None:
    """The folder of an experiment's prepared arrays; None if they do not exist yet."""
    try:
        folders = [_prepared_cache(section, experiment)]
        if _matches(_made_by_dvc(experiment), section, report):
            folders.insert(0, _made_by_dvc(experiment))
    except UserError:  # the user's pictures no longer exist
        return None
    return next((folder for folder in folders if (folder / "meta.json").is_file()), None)


def _made_by_dvc(experiment: str) -> Path:
    return checkout_root() / "pipeline" / "prepared" / experiment


def _prepared_cache(section: ExperimentSettings, experiment: str) -> Path:
    key = _key(section.download, section.data, source_stamp(section.download), __version__)
    return state_root() / "prepared" / f"{experiment}-{key}"


def _lock(folder: Path, report: Report) -> AbstractContextManager[None]:
    """Lock ``folder``, so that processes that start together (torchrun's ranks) make it once."""
    lock = folder.parent / f".{folder.name}.lock"
    return locked(lock, f"another process is making {folder}", waiting=report)


def _is_intact(folder: Path, mark: str, check: Callable[[Path], object], report: Report) -> bool:
    """Whether a cached folder has the file ``mark`` and passes ``check``."""
    if not (folder / mark).is_file():
        return False
    try:
        check(folder)
    except UserError as error:
        report(f"{error} (doing so now)")
        return False
    return True


def _matches(folder: Path, section: ExperimentSettings, report: Report) -> bool:
    """Whether ``folder`` was prepared with these settings from the current pictures."""
    if not (folder / "meta.json").is_file():
        return False
    meta = load_prepared(folder).meta
    wanted = section.download
    same_settings = meta.settings == section.data.model_dump(mode="json")
    if not same_settings or meta.source != wanted.source:
        return False
    if wanted.path is not None:
        return meta.archives == _current(section, report)
    # Published archives never change, unless the settings give another checksum.
    return all(meta.archives.get(name) == s.lower() for name, s in wanted.sha256.items())


def _current(section: ExperimentSettings, report: Report) -> dict[str, str]:
    """Name and checksum of the user's current pictures (packed once, then cached)."""
    folder = _download_cache(section)
    if not (folder / "manifest.json").is_file():
        downloaded(section, report)
    return {entry.name: entry.sha256 for entry in read_manifest(folder).archives}


def _download_cache(section: ExperimentSettings) -> Path:
    return state_root() / "downloads" / _key(section.download, source_stamp(section.download))


def _key(*parts: object) -> str:
    texts = [part.model_dump_json() if hasattr(part, "model_dump_json") else part for part in parts]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def source_stamp(settings: DownloadSettings) -> str:
    """A hash of the names, sizes and modification times in the user's folder or archive."""
    if settings.path is None:
        return ""
    path = expanded(settings.path)
    if not path.exists():  # started from a subfolder, or in one of DVC's temporary copies
        path = repository_root() / path
    if not path.exists():
        raise UserError(
            f"download.path: {path} does not exist: correct it, or name what `prepare` wrote with "
            "--prepared"
        )
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    rows = [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
