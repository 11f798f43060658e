"""The archives of each data set, as torchvision names them, and the checksums they must have."""

import re
from dataclasses import dataclass

from saliencymixplus.errors import UserError, nearest
from saliencymixplus.settings import DownloadSettings


@dataclass(frozen=True)
class Archive:
    """One file of a publisher."""

    name: str
    url: str
    md5: str  # the publisher's, as torchvision records it


def archives_of(source: str) -> tuple[Archive, ...]:
    """The archives of ``cifar10``, ``cifar100`` or ``oxford_pet``; none for other sources."""
    # Imported here: torchvision takes seconds to import, and digits don't need it.
    if source in ("cifar10", "cifar100"):
        from torchvision.datasets import CIFAR10, CIFAR100

        cifar = CIFAR10 if source == "cifar10" else CIFAR100
        return (Archive(cifar.filename, cifar.url, cifar.tgz_md5),)
    if source == "oxford_pet":
        from torchvision.datasets import OxfordIIITPet

        return tuple(
            Archive(url.rpartition("/")[2], url, md5) for url, md5 in OxfordIIITPet._RESOURCES
        )
    return ()


def expected_sha256(settings: DownloadSettings, names: list[str]) -> dict[str, str]:
    """The checksums in the settings, in lower case, by archive name.

    Raises:
        UserError: a value is not a SHA-256, or its name is not in ``names``.
    """
    for name, value in settings.sha256.items():
        if name not in names:
            hint = nearest(name, names) if names else "this source has no archives"
            raise UserError(f"download.sha256: {settings.source} has no archive {name!r}: {hint}")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", value):
            raise UserError(
                f"download.sha256: {name}: {value!r} is not a SHA-256: give its 64 hexadecimal "
                "digits"
            )
    return {name: value.lower() for name, value in settings.sha256.items()}
