"""The archives of each published data set, named as in torchvision, and their checksums."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Archive:
    """One archive from a publisher."""

    name: str
    url: str
    md5: str  # the publisher's, as torchvision records it


# Archives that torchvision does not have or no longer fetches, with their well-known checksums.
CUB = Archive(
    "CUB_200_2011.tgz",
    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
    "97eceeb196236b17998738112f37df78",
)
TINY_IMAGENET = Archive(
    "tiny-imagenet-200.zip",
    "https://cs231n.stanford.edu/tiny-imagenet-200.zip",
    "90528d7ca1a48142e341f4ef8d21d0de",
)
AIRCRAFT = Archive(
    "fgvc-aircraft-2013b.tar.gz",
    "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
    "d4acdd33327262359767eeaa97a4f732",
)
_CARS = "https://ai.stanford.edu/~jkrause"
CARS = (
    Archive("car_devkit.tgz", f"{_CARS}/cars/car_devkit.tgz", "c3b158d763b6e2245038c8ad08e45376"),
    Archive("cars_train.tgz", f"{_CARS}/car196/cars_train.tgz", "065e5b463ae28d29e77c1b4b166cfe61"),
    Archive("cars_test.tgz", f"{_CARS}/car196/cars_test.tgz", "4ce7ebf6a94d07f1952d94dd34c4d501"),
    Archive(
        "cars_test_annos_withlabels.mat",
        f"{_CARS}/car196/cars_test_annos_withlabels.mat",
        "b0a2b23655a3edd16d84508592a98d10",
    ),
)
_FIXED = {
    "cub200": (CUB,),
    "tiny_imagenet": (TINY_IMAGENET,),
    "aircraft": (AIRCRAFT,),
    "cars": CARS,
}
# Address and MD5 of the archives of torchvision's data sets.
_TORCHVISION: dict[str, Callable[[Any], Iterable[tuple[str, str]]]] = {
    "cifar10": lambda datasets: [(datasets.CIFAR10.url, datasets.CIFAR10.tgz_md5)],
    "cifar100": lambda datasets: [(datasets.CIFAR100.url, datasets.CIFAR100.tgz_md5)],
    "oxford_pet": lambda datasets: datasets.OxfordIIITPet._RESOURCES,
    "flowers102": lambda datasets: [
        (f"{datasets.Flowers102._download_url_prefix}{name}", md5)
        for name, md5 in datasets.Flowers102._file_dict.values()
    ],
    "food101": lambda datasets: [(datasets.Food101._URL, datasets.Food101._MD5)],
    "stl10": lambda datasets: [(datasets.STL10.url, datasets.STL10.tgz_md5)],
}


def archives_of(source: str) -> tuple[Archive, ...]:
    """The archives of a published data set; none for ``digits``, ``clutter``, ``imagefolder``."""
    if source in _FIXED:
        return _FIXED[source]
    if source not in _TORCHVISION:
        return ()
    # Imported late, because torchvision takes seconds to import and digits do not need it.
    from torchvision import datasets

    return tuple(
        Archive(url.rpartition("/")[2], url.replace("http:", "https:", 1), md5)
        for url, md5 in _TORCHVISION[source](datasets)
    )
