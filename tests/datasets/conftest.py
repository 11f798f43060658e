"""Run small archives through ``download`` and ``prepare``."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saliencymixplus.datasets import fetch
from saliencymixplus.datasets.download import download
from saliencymixplus.datasets.prepare import prepare
from saliencymixplus.datasets.prepared import Prepared, load_prepared
from saliencymixplus.errors import UserError
from saliencymixplus.settings import DataSettings, DownloadSettings
from tests.archives import (
    SIZE,
    cifar,
    encoded,
    pet,
    pet_lists,
    photos,
    python2_pickle,
    sha256,
    special,
    tarred,
    zipped,
)
from tests.datasets.mirror import NAME, Mirror


class Bench:
    """A temporary folder with a mirror in it, and the two stages run on that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mirror = folder / "mirror"
        self.downloads = folder / "out" / "downloads"
        self.prepared = folder / "out" / "prepared"
        self.lines: list[str] = []
        self.mirror.mkdir()

    def own(self, content: bytes, name: str = "photos.tar.gz") -> DownloadSettings:
        """Settings for the user's archive with these bytes."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return DownloadSettings(source="imagefolder", path=str(path))

    def published(self, source: Any, archives: dict[str, bytes]) -> DownloadSettings:
        """Settings for a folder mirror that holds ``archives``, with their true checksums."""
        for name, content in archives.items():
            (self.mirror / name).write_bytes(content)
        sums = {name: sha256(content) for name, content in archives.items()}
        return DownloadSettings(source=source, mirror=str(self.mirror), sha256=sums)

    def download(self, settings: DownloadSettings) -> Path:
        """Run the first stage."""
        download(settings, self.downloads, report=self.lines.append)
        return self.downloads

    def run(self, settings: DownloadSettings, **data: Any) -> Prepared:
        """Run both stages."""
        self.download(settings)
        chosen = DataSettings(**({"image_size": SIZE} | data))
        prepare(chosen, self.downloads, self.prepared, report=self.lines.append)
        return load_prepared(self.prepared)

    def leftovers(self) -> list[str]:
        """Names of temporary files or folders beside the outputs, hidden ones too."""
        out = self.folder / "out"
        names = [path.name for path in out.iterdir()] if out.is_dir() else []
        return [name for name in names if name not in ("downloads", "prepared")]

    def refused(self, settings: DownloadSettings, culprit: str, stage: str = "download") -> None:
        """The run ends at ``stage`` in one line with ``culprit`` and leaves no trace of it."""
        with pytest.raises(UserError) as caught:
            self.run(settings)
        message = str(caught.value)
        assert culprit in message
        assert "\n" not in message
        assert not self.prepared.exists()
        assert self.downloads.exists() == (stage == "prepare")
        assert self.leftovers() == []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh bench."""
    return Bench(tmp_path)


@pytest.fixture
def make() -> SimpleNamespace:
    """The makers of tests/archives.py."""
    return SimpleNamespace(
        encoded=encoded,
        tarred=tarred,
        zipped=zipped,
        special=special,
        photos=photos,
        cifar=cifar,
        pet=pet,
        pet_lists=pet_lists,
        python2_pickle=python2_pickle,
        sha256=sha256,
        size=SIZE,
    )


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A running mirror; retries don't wait."""
    monkeypatch.setattr(fetch, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be asked for this machine
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(mirror: Mirror, make: Any) -> DownloadSettings:
    """CIFAR-10 from the mirror, with its checksum."""
    mirror.files[NAME] = make.tarred(make.cifar())
    sums = {NAME: make.sha256(mirror.files[NAME])}
    return DownloadSettings(source="cifar10", mirror=mirror.url, sha256=sums)
