"""Invalid download settings: one line that names the key."""

from typing import Any

import pytest

from saliencymixplus.settings import DownloadSettings

# Settings that cannot be followed.
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "path missing": ({"source": "imagefolder", "path": "/no/such/folder"}, "/no/such/folder"),
    "mirror missing": ({"source": "cifar10", "mirror": "/no/such/folder"}, "/no/such/folder"),
    "mirror without the archive": (
        {"source": "cifar10", "mirror": "."},
        "has no cifar-10-python.tar.gz",
    ),
    "mirror over http": ({"source": "cifar10", "mirror": "http://example.org/x"}, "only https"),
    "mirror over ftp": ({"source": "cifar10", "mirror": "ftp://example.org/x"}, "only https"),
    "mirror as a file address": ({"source": "cifar10", "mirror": "file:///tmp"}, "has no host"),
    "mirror without host": ({"source": "cifar10", "mirror": "https:///x"}, "has no host"),
    "mirror with a bad port": ({"source": "cifar10", "mirror": "https://x:y/"}, "https://x:y/"),
    "mirror with a password": (
        {"source": "cifar10", "mirror": "https://me:secret@localhost/x"},
        "as for https://localhost/x, are not supported",
    ),
    "mirror for digits": ({"source": "digits", "mirror": "."}, "download.mirror"),
    "checksum of no archive": (
        {"source": "oxford_pet", "mirror": ".", "sha256": {"image.tar.gz": "0" * 64}},
        "did you mean 'images.tar.gz'?",
    ),
    "checksum too short": (
        {"source": "cifar10", "mirror": ".", "sha256": {"cifar-10-python.tar.gz": "12"}},
        "64 hexadecimal digits",
    ),
    "checksum for digits": (
        {"source": "digits", "sha256": {"digits.csv.gz": "0" * 64}},
        "'digits.csv.gz'",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_bad_download_settings_are_named(case: str, bench: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(bench.folder)
    fields, culprit = SETTINGS[case]
    bench.refused(DownloadSettings(**fields), culprit)
