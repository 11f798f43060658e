"""Finding an experiment's prepared images, and making them where there are none.

DVC's stages name their folders. Commands run by hand use what DVC has prepared if it was made
with the same settings, else a cache keyed by the settings: nothing stale is ever picked up.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from saliencymixplus.errors import UserError
from saliencymixplus.settings import DownloadSettings, ExperimentSettings
from saliencymixplus.version import __version__
from saliencymixplus.workspace import checkout_root, state_root

Report = Callable[[str], None]


def downloaded(section: ExperimentSettings, report: Report = print) -> Path:
    """The cached, verified archives of an experiment, fetched now if need be."""
    folder = state_root() / "downloads" / _key(section.download, _stamp(section.download))
    with _alone(folder):
        if not (folder / "manifest.json").is_file():
            download_to(section, folder, report)
    return folder


def download_to(section: ExperimentSettings, output: Path, report: Report = print) -> None:
    """Fetch and verify an experiment's archives into ``output``."""
    from saliencymixplus.data.download import download

    download(section.download, output, report=report)


def prepared(section: ExperimentSettings, experiment: str, report: Report = print) -> Path:
    """The prepared arrays of an experiment, made now if need be."""
    made_by_dvc = checkout_root() / "prepared" / experiment
    if _matches(made_by_dvc, section):
        return made_by_dvc
    key = _key(section.download, section.data, _stamp(section.download), __version__)
    folder = state_root() / "prepared" / f"{experiment}-{key}"
    with _alone(folder):
        if not (folder / "meta.json").is_file():
            prepare_to(section, downloaded(section, report), folder, report)
    return folder


def prepare_to(
    section: ExperimentSettings, source: Path, output: Path, report: Report = print
) -> None:
    """Prepare the archives in ``source`` into ``output``."""
    from saliencymixplus.data.prepare import prepare

    prepare(section.data, source, output, report=report)


def _alone(folder: Path) -> FileLock:
    """Several trainings that start at once (torchrun's ranks, say) make ``folder`` only once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.parent / f".{folder.name}.lock")


def _matches(folder: Path, section: ExperimentSettings) -> bool:
    from saliencymixplus.data.prepared import load_prepared

    if not (folder / "meta.json").is_file():
        return False
    meta = load_prepared(folder).meta
    same_settings = meta.settings == section.data.model_dump(mode="json")
    return same_settings and meta.source == section.download.source


def _key(*parts: object) -> str:
    texts = [part.model_dump_json() if hasattr(part, "model_dump_json") else part for part in parts]
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _stamp(settings: DownloadSettings) -> str:
    """What tells one state of the user's own folder or archive from another: names, sizes, times."""
    if settings.path is None:
        return ""
    path = Path(settings.path).expanduser()
    if not path.exists():
        raise UserError(f"download.path: {path} does not exist")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    rows = [(str(f.relative_to(path)), f.stat().st_size, f.stat().st_mtime_ns) for f in files]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
