"""Download from a mirror: interrupted, corrupt and wrong archives are never accepted."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from saliencymixplus.datasets import fetch
from saliencymixplus.datasets.manifest import verified
from saliencymixplus.datasets.sources.digits import embedded
from saliencymixplus.errors import UserError
from saliencymixplus.settings import DownloadSettings
from tests.datasets.mirror import NAME, Mirror


def test_fetches_and_records(settings: Any, bench: Any, mirror: Mirror) -> None:
    folder = bench.download(settings)
    assert (folder / NAME).read_bytes() == mirror.files[NAME]
    entry = json.loads((folder / "manifest.json").read_text())["archives"][0]
    assert entry["sha256"] == settings.sha256[NAME]
    assert entry["bytes"] == len(mirror.files[NAME])
    assert sorted(path.name for path in folder.iterdir()) == [NAME, "manifest.json"]
    assert mirror.asked == [f"/data/{NAME}"]


def test_a_second_download_fetches_nothing(settings: Any, bench: Any, mirror: Mirror) -> None:
    bench.download(settings)
    bench.download(settings)
    assert len(mirror.asked) == 1
    assert "already" in bench.lines[-1]


@pytest.mark.parametrize("fault", ["cut", "503", "500"])
def test_a_passing_fault_is_retried(fault: str, settings: Any, bench: Any, mirror: Mirror) -> None:
    mirror.faults = [fault, fault]
    bench.download(settings)
    assert len(mirror.asked) == 3
    verified(bench.downloads)


@pytest.mark.parametrize(
    ("fault", "culprit", "attempts"),
    [
        ("cut", "broke off after", 3),
        ("503", "503", 3),
        ("404", f"/data/{NAME}: the server answers 404", 1),
        ("403", "403", 1),
        ("flip", "SHA-256", 1),
        ("redirect http://example.org/x", "only https", 1),
        ("redirect http://localhost/x", "redirects to http://localhost/x: only https", 1),
        ("redirect https://localhost:1/x", "an address of this machine or a private network", 1),
        ("redirect https://10.1.2.3/x", "an address of this machine or a private network", 1),
        ("redirect https://[::ffff:192.168.0.1]/x", "a private network", 1),
        ("redirect ftp://127.0.0.1/x", "only https", 1),
        ("redirect file:///etc/passwd", "not allowed", 1),
    ],
)
def test_a_lasting_fault_leaves_nothing_and_a_retry_works(
    fault: str, culprit: str, attempts: int, settings: Any, bench: Any, mirror: Mirror
) -> None:
    mirror.faults = [fault] * attempts
    bench.refused(settings, culprit)
    assert len(mirror.asked) == attempts
    assert bench.run(settings).meta.counts == {"train": 20, "test": 4}


def test_no_server(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PAUSES", (0.0,))
    settings = DownloadSettings(source="cifar10", mirror="http://127.0.0.1:9/data")
    bench.refused(settings, f"http://127.0.0.1:9/data/{NAME}")
    assert any("trying again" in line for line in bench.lines)


def test_a_failed_download_keeps_the_good_one(
    settings: Any, bench: Any, mirror: Mirror, make: Any
) -> None:
    bench.download(settings)
    other = settings.model_copy(update={"sha256": {NAME: "0" * 64}})
    with pytest.raises(UserError, match="SHA-256"):
        bench.download(other)
    assert (bench.downloads / NAME).read_bytes() == mirror.files[NAME]
    verified(bench.downloads)


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "manifest gone", "manifest cut"])
def test_a_damaged_download_is_refused_and_replaced(
    damage: str, settings: Any, bench: Any, mirror: Mirror
) -> None:
    folder = bench.download(settings)
    archive, manifest = folder / NAME, folder / "manifest.json"
    content = archive.read_bytes()
    if damage == "cut":
        archive.write_bytes(content[:-1])
    elif damage == "flipped":
        archive.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    elif damage == "missing":
        archive.unlink()
    elif damage == "manifest gone":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:40])
    with pytest.raises(UserError, match=r"download|manifest|cannot read"):
        verified(folder)
    bench.download(settings)
    verified(folder)
    assert len(mirror.asked) == 2


def test_a_manifest_must_not_lead_out_of_its_folder(settings: Any, bench: Any) -> None:
    manifest = bench.download(settings) / "manifest.json"
    manifest.write_text(manifest.read_text().replace(NAME, f"../{NAME}"))
    with pytest.raises(UserError, match="damaged"):
        verified(bench.downloads)


def test_the_publishers_checksum_holds_without_one_of_ones_own(
    bench: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    from torchvision.datasets import CIFAR10

    content = make.tarred(make.cifar())
    settings = bench.published("cifar10", {NAME: content}).model_copy(update={"sha256": {}})
    bench.refused(settings, "not the publisher's c58f30108f718f92721af3b95e74349a")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(content, usedforsecurity=False).hexdigest())
    bench.download(settings)
    origin = json.loads((bench.downloads / "manifest.json").read_text())["archives"][0]["origin"]
    assert origin == CIFAR10.url
    # An archive forged together with its manifest still fails the publisher's checksum.
    monkeypatch.setattr(CIFAR10, "tgz_md5", "0" * 32)
    with pytest.raises(UserError, match="has changed"):
        verified(bench.downloads)


def test_the_same_bytes_give_the_same_folder_from_anywhere(
    settings: Any, bench: Any, mirror: Mirror
) -> None:
    first = {path.name: path.read_bytes() for path in bench.download(settings).iterdir()}
    (bench.mirror / NAME).write_bytes(mirror.files[NAME])
    bench.downloads = bench.folder / "elsewhere"
    from_folder = settings.model_copy(update={"mirror": str(bench.mirror)})
    second = {path.name: path.read_bytes() for path in bench.download(from_folder).iterdir()}
    assert first == second


def test_another_source_replaces_the_download(settings: Any, bench: Any) -> None:
    bench.download(settings)
    bench.download(DownloadSettings(source="digits"))
    assert verified(bench.downloads).source == "digits"
    bench.download(settings)
    assert verified(bench.downloads).source == "cifar10"


def test_digits_need_no_network(bench: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", None)
    folder: Path = bench.download(DownloadSettings(source="digits"))
    entry = verified(folder).archives[0]
    assert (entry.name, entry.sha256) == ("digits.csv.gz", make.sha256(embedded()))


@pytest.mark.parametrize("where", ["file", "file above"])
def test_a_file_where_the_folder_belongs(where: str, bench: Any) -> None:
    path = bench.downloads if where == "file" else bench.downloads.parent
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(UserError, match=bench.downloads.name):
        bench.download(DownloadSettings(source="digits"))
    assert path.read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc, not writable")
def test_a_folder_that_cannot_be_written_is_named(bench: Any) -> None:
    bench.downloads = Path("/proc/self/downloads")
    with pytest.raises(UserError, match="cannot write /proc/self/downloads"):
        bench.download(DownloadSettings(source="digits"))
