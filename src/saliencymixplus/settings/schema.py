"""Every setting of a run: its name, type, range, default and meaning.

Defaults are the published recipe (Uddin et al. 2021 and the SaliencyMix+ code). ``params.yaml``
holds what an experiment sets; ``settings.load`` combines the two with the command line.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from saliencymixplus.settings.names import Name

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Channels = tuple[NonNegative, NonNegative, NonNegative]


class Section(BaseModel):
    """A group of settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, validate_default=True)


class DownloadSettings(Section):
    """Where the images come from."""

    source: Literal[
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
    ]
    path: str | None = None  # imagefolder only: a folder, a zip or a tar(.xz/.gz)
    mirror: str | None = None  # folder or https URL with the publisher's archives
    sha256: dict[str, str] = {}  # archive name -> checksum, for a mirror's repacked archives

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.path is not None) != (self.source == "imagefolder"):
            raise ValueError("`path` goes with `source: imagefolder`, and only with it")
        return self


class ClutterSettings(Section):
    """The pictures of ``source: clutter``: a digit among scraps of others. Sizes in pixels."""

    object_size: Annotated[int, Field(ge=4, le=1024)] = 10  # side of the digit
    object_size_max: Annotated[int, Field(ge=4, le=1024)] | None = None  # then a random side up to
    scraps: Annotated[int, Field(ge=0, le=1000)] = 12  # pieces of other digits in each picture
    scrap_size: Annotated[int, Field(ge=1, le=1024)] = 5  # their side
    contrast: Annotated[int, Field(ge=1, le=100)] = 100  # opacity of all digits and scraps, in %
    train_digits: Annotated[int, Field(ge=20, le=1437)] | None = None  # to train on; null: all
    train_placements: Annotated[int, Field(ge=1, le=100)] = 1  # pictures of each training digit
    test_placements: Annotated[int, Field(ge=1, le=100)] = 1
    seed: Seed = 0

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.object_size_max is not None and self.object_size_max < self.object_size:
            raise ValueError("`object_size_max` must not be below `object_size`")
        if self.scrap_size > self.object_size:
            raise ValueError("`scrap_size` must not be above `object_size`")
        return self


class DataSettings(Section):
    """How the images are prepared, whatever their source."""

    image_size: Annotated[int, Field(ge=8, le=1024)] = 32  # side in pixels after preparation
    # Pictures that are not square: squashed, or the middle of them. null: crop for imagefolder,
    # squash for published data sets, as their papers do.
    resize: Literal["squash", "crop"] | None = None
    # Of all pictures of each class, where the data come without a test split (imagefolder).
    test_fraction: Annotated[float, Field(gt=0, le=0.5)] | None = None
    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # of train, stratified
    split_seed: Seed = 0  # of both
    mean: Channels | None = None  # of pixels in [0, 1]; null: measured on train
    std: tuple[Positive, Positive, Positive] | None = None
    clutter: ClutterSettings | None = None  # source: clutter; null: its defaults

    def crops(self, source: str) -> bool:
        """Whether pictures from ``source`` that are not square are cropped, not squashed."""
        if self.resize is None:
            return source == "imagefolder"
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


class ModelSettings(Section):
    """The network and what its weights start from."""

    # resnet8, preact_resnet18, wrn28_10, … (CIFAR), any torchvision classifier, or timm/NAME
    name: str = "resnet50"
    stem: Literal["auto", "small", "standard"] = "auto"  # auto: small up to 64 pixels
    # null: random. pretrained: those of torchvision or timm. Else a .safetensors or .pth file of
    # the same network; the head is replaced where it has another number of classes. Their mean,
    # std and input size are used unless `data` sets its own.
    weights: str | None = None


class TrainingSettings(Section):
    """The recipe: what happens between the first and the last epoch."""

    epochs: Count = 200
    batch_size: Count = 128  # over all processes
    learning_rate: Positive = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    weight_decay: NonNegative = 5e-4
    schedule: Literal["steps", "cosine"] = "steps"
    milestones: tuple[Count, ...] = (75, 150, 225)  # epochs; schedule: steps
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    warmup_epochs: NonNegative = 0.0  # linear, from 0 to the full rate
    mix_prob: Fraction = 0.5  # fraction of the batches that are mixed
    mix_start: Annotated[int, Field(ge=0)] = 0  # epochs without mixing before the first with it
    # Epochs after which no batch is mixed any more, as timm's --mixup-off-epoch; 0: none.
    mix_off_epoch: Annotated[int, Field(ge=0)] = 0
    augment: Literal["none", "flip", "crop", "crop-flip", "resized-crop-flip"] = "flip"
    crop_padding: Annotated[int, Field(ge=0, le=64)] = 4  # augment: crop, crop-flip
    crop_size: Annotated[int, Field(ge=8, le=1024)] | None = (
        None  # network input; null: as prepared
    )
    precision: Literal["auto", "fp32", "bf16"] = "auto"  # auto: bf16 on a GPU that has it
    weight_average: Annotated[float, Field(ge=0, lt=1)] | None = None  # decay of a moving average
    # After which a grid of mixed samples is logged; 0: before the first, where MLflow's slider is.
    sample_epochs: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1)
    weights_epochs: tuple[Count, ...] = ()  # whose weights are kept as well: weights/epoch_0001

    def mixes_in(self, epoch: int) -> bool:
        """Whether batches of ``epoch``, counted from 1, may be mixed."""
        return self.mix_start < epoch <= (self.mix_off_epoch or epoch)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("`milestones` must rise")
        if self.warmup_epochs >= self.epochs:
            raise ValueError("`warmup_epochs` must be fewer than `epochs`; 0 is none")
        if self.mix_start >= self.epochs:
            raise ValueError("`mix_start` must be fewer than `epochs`: method none never mixes")
        if 0 < self.mix_off_epoch <= self.mix_start:
            raise ValueError("`mix_off_epoch` must be above `mix_start`: method none never mixes")
        if self.nesterov and self.momentum == 0:
            raise ValueError("`nesterov` needs a `momentum` above 0")
        return self


class ExperimentSettings(Section):
    """One section of params.yaml: a data set, a model and a recipe."""

    download: DownloadSettings
    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.data.clutter is not None and self.download.source != "clutter":
            raise ValueError("`data.clutter` goes with `download.source: clutter` only")
        return self


class MixSettings(Section):
    """A mixing recipe: a method of the registry and every option of it, resolved."""

    name: Name  # in runs and tables; the method's own unless params.yaml gives another
    method: str
    options: dict[str, Any] = {}


class RunSettings(ExperimentSettings):
    """All that decides what a training computes; equal settings give equal weights (on one CPU)."""

    experiment: Name
    mix: MixSettings
    seed: Seed = 0


class RuntimeSettings(Section):
    """How a training is carried out, not what it computes: not part of the digest."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N, mps
    tracker: Literal["mlflow", "none"] = "mlflow"
    workers: Annotated[int, Field(ge=0, le=256)] = 2  # loader processes, where data don't fit
    data_on: Literal["auto", "device", "shard", "host"] = "auto"
    engine: Literal["auto", "eager", "graph"] = "auto"  # auto: whole-step CUDA graphs on CUDA
    compile: bool = False
    deterministic: bool = False
    resume: bool = True
    progress: Literal["auto", "bar", "lines", "none"] = "auto"
