"""The images that a run uses, and their preparation."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from saliencymixplus.settings.section import NonNegative, Positive, Section, Seed

LARGEST_SIDE = 1024  # pixels

SourceName = Literal[
    "digits",
    "clutter",
    "imagefolder",
    "cifar10",
    "cifar100",
    "oxford_pet",
    "cub200",
    "flowers102",
    "food101",
    "aircraft",
    "cars",
    "tiny_imagenet",
    "stl10",
    "imagenet",
]
Channels = tuple[NonNegative, NonNegative, NonNegative]


class DownloadSettings(Section):
    """Where the images come from."""

    source: SourceName
    """A published data set, a synthetic one, or your own pictures."""
    path: str | None = None
    """``source: imagefolder``: a folder, a zip or a tar (plain, gz, bz2 or xz). ``imagenet``: the
    folder with ``train`` and ``val``."""
    mirror: str | None = None
    """A folder or https URL with the publisher's archives. null: the publisher's server."""
    sha256: dict[str, str] = {}
    """Checksum by archive name, for a mirror whose archives were repacked."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path is None and self.source == "imagefolder":
            raise ValueError("`source: imagefolder` needs a `path`")
        if self.path is not None and self.source not in ("imagefolder", "imagenet"):
            raise ValueError("`path` is only for `source: imagefolder` and `imagenet`")
        return self


class ClutterSettings(Section):
    """The pictures of ``source: clutter``: a digit among fragments of others. Sizes in pixels."""

    object_size: Annotated[int, Field(ge=4, le=1024)] = 10
    """Side of the digit."""
    object_size_max: Annotated[int, Field(ge=4, le=1024)] | None = None
    """If set, each digit's side is drawn from ``object_size`` to this."""
    scraps: Annotated[int, Field(ge=0, le=1000)] = 12
    """Fragments of other digits in each picture."""
    scrap_size: Annotated[int, Field(ge=1, le=1024)] = 5
    """Side of these fragments."""
    contrast: Annotated[int, Field(ge=1, le=100)] = 100
    """Opacity of digits and fragments, in percent."""
    train_digits: Annotated[int, Field(ge=20, le=1437)] | None = None
    """Number of different digits to train on. null: all 1437."""
    train_placements: Annotated[int, Field(ge=1, le=100)] = 1
    """Pictures of each training digit."""
    test_placements: Annotated[int, Field(ge=1, le=100)] = 1
    """Pictures of each test digit."""
    seed: Seed = 0
    """Seed of the pictures."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.object_size_max is not None and self.object_size_max < self.object_size:
            raise ValueError("`object_size_max` must not be below `object_size`")
        if self.scrap_size > self.object_size:
            raise ValueError("`scrap_size` must not be above `object_size`")
        return self


class DataSettings(Section):
    """How the images are prepared, whatever their source."""

    image_size: Annotated[int, Field(ge=8, le=LARGEST_SIDE)] = 32
    """Side of the prepared images, in pixels."""
    resize: Literal["squash", "crop"] | None = None
    """Whether pictures that are not square are squashed or centre-cropped. null: crop for
    ``imagefolder`` and ``imagenet``, squash for other data sets, as their papers do."""
    test_fraction: Annotated[float, Field(gt=0, le=0.5)] | None = None
    """Fraction of each class that becomes the test split, for an ``imagefolder`` without one."""
    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Fraction of the training images that becomes the validation split, stratified by class."""
    split_seed: Seed = 0
    """Seed of both splits."""
    mean: Channels | None = None
    """Mean of each channel, of pixels in [0, 1]. null: measured on the training images."""
    std: tuple[Positive, Positive, Positive] | None = None
    """Standard deviation of each channel; to be set together with ``mean``."""
    clutter: ClutterSettings | None = None
    """Settings of ``source: clutter``."""

    def crops(self, source: str) -> bool:
        """Whether pictures from ``source`` that are not square are cropped, not squashed."""
        if self.resize is None:
            return source in ("imagefolder", "imagenet")
        return self.resize == "crop"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both `mean` and `std`, or neither")
        if self.clutter is not None:
            largest = self.clutter.object_size_max or self.clutter.object_size
            if largest > self.image_size:
                raise ValueError(
                    f"clutter: an object of {largest} pixels does not fit an `image_size` of "
                    f"{self.image_size}"
                )
            if self.validation_fraction > 0 and self.clutter.train_placements > 1:
                raise ValueError(
                    "`validation_fraction` must be 0 with several clutter.train_placements: the "
                    "validation images would show training digits"
                )
        return self
