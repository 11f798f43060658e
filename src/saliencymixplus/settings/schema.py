"""Every setting of a run: its name, type, range, default and meaning.

Defaults are the published recipe (Uddin et al. 2021 and the SaliencyMix+ code). ``params.yaml``
holds what an experiment sets; ``settings.load`` combines the two with the command line.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from saliencymixplus.settings.names import Name

Fraction = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Channels = tuple[NonNegative, NonNegative, NonNegative]


class Section(BaseModel):
    """A group of settings: frozen, and an unknown key is an error.

    The string below a field says what the setting means; the reference of settings shows it.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )


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
        "imagenet",
    ]
    """A published data set, a synthetic one, or your own pictures."""
    path: str | None = None
    """``source: imagefolder``: a folder, a zip or a tar (plain, gz, bz2 or xz). ``imagenet``: the
    folder with ``train`` and ``val``."""
    mirror: str | None = None
    """A folder or https URL that holds the publisher's archives. null: the publisher's server."""
    sha256: dict[str, str] = {}
    """Checksum by archive name, for a mirror whose archives were repacked."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.path is None and self.source == "imagefolder":
            raise ValueError("`source: imagefolder` needs a `path`")
        if self.path is not None and self.source not in ("imagefolder", "imagenet"):
            raise ValueError("`path` goes with `source: imagefolder` or `imagenet` only")
        return self


class ClutterSettings(Section):
    """The pictures of ``source: clutter``: a digit among scraps of others. Sizes in pixels."""

    object_size: Annotated[int, Field(ge=4, le=1024)] = 10
    """Side of the digit."""
    object_size_max: Annotated[int, Field(ge=4, le=1024)] | None = None
    """If set, each digit's side is drawn between ``object_size`` and this."""
    scraps: Annotated[int, Field(ge=0, le=1000)] = 12
    """Pieces of other digits in each picture."""
    scrap_size: Annotated[int, Field(ge=1, le=1024)] = 5
    """Side of these pieces."""
    contrast: Annotated[int, Field(ge=1, le=100)] = 100
    """Opacity of digits and scraps, in percent."""
    train_digits: Annotated[int, Field(ge=20, le=1437)] | None = None
    """Number of different digits to train on. null: all 1437."""
    train_placements: Annotated[int, Field(ge=1, le=100)] = 1
    """Pictures of each training digit."""
    test_placements: Annotated[int, Field(ge=1, le=100)] = 1
    """Pictures of each test digit."""
    seed: Seed = 0
    """Of the pictures."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.object_size_max is not None and self.object_size_max < self.object_size:
            raise ValueError("`object_size_max` must not be below `object_size`")
        if self.scrap_size > self.object_size:
            raise ValueError("`scrap_size` must not be above `object_size`")
        return self


class DataSettings(Section):
    """How the images are prepared, whatever their source."""

    image_size: Annotated[int, Field(ge=8, le=1024)] = 32
    """Side of the prepared images, in pixels."""
    resize: Literal["squash", "crop"] | None = None
    """What becomes of pictures that are not square: squashed, or cropped to the middle. null: crop
    for ``imagefolder`` and ``imagenet``, squash for other data sets, as their papers do."""
    test_fraction: Annotated[float, Field(gt=0, le=0.5)] | None = None
    """Fraction of each class that becomes the test split, for an ``imagefolder`` without one."""
    validation_fraction: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Fraction of the training images that becomes the validation split, stratified by class."""
    split_seed: Seed = 0
    """Of both splits."""
    mean: Channels | None = None
    """Of each channel, of pixels in [0, 1]. null: measured on the training images."""
    std: tuple[Positive, Positive, Positive] | None = None
    """Standard deviation of each channel; goes with ``mean``."""
    clutter: ClutterSettings | None = None
    """How the pictures of ``source: clutter`` are made."""

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


class ModelSettings(Section):
    """The network and what its weights start from."""

    name: str = "resnet50"
    """A network for small images (``resnet8``, ``preact_resnet18``, ``wrn28_10``, …), a torchvision
    classifier, or ``timm/NAME``. ``python cli.py models`` lists them."""
    stem: Literal["auto", "small", "standard"] = "auto"
    """First layers of a torchvision network: ``small`` keeps the resolution of small images;
    ``auto`` is small up to 64 pixels."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Largest probability of skipping a residual branch (stochastic depth), for networks that
    have it."""
    weights: str | None = None
    """null: random. ``pretrained``: those of torchvision or timm. Otherwise a .safetensors or .pth
    file of the same network. The head is replaced if the number of classes differs. The weights
    bring their mean, std and input size unless ``data`` sets its own."""


class TrainingSettings(Section):
    """The training recipe."""

    epochs: Count = 200
    """Passes over the training images."""
    batch_size: Count = 128
    """Images per step, over all processes."""
    learning_rate: Positive = 0.1
    """Peak learning rate."""
    optimizer: Annotated[str, Field(pattern=r"^(sgd|adamw|timm/\w+)$")] = "sgd"
    """``sgd``, ``adamw``, or ``timm/NAME``: an optimizer of timm's factory, such as ``timm/lamb``,
    whose steps are not captured in CUDA graphs."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of ``sgd``, and of timm's optimizers that have it."""
    nesterov: bool = True
    """Nesterov's momentum, for ``sgd``."""
    betas: tuple[Beta, Beta] | None = None
    """Decay rates of the moments of ``adamw`` and its kin. null: the optimizer's own."""
    eps: Positive | None = None
    """Added to the denominator by ``adamw`` and its kin. null: the optimizer's own."""
    weight_decay: NonNegative = 5e-4
    """L2 penalty of ``sgd``, decoupled weight decay of ``adamw``."""
    no_decay: Literal["norm_bias"] | None = None
    """``norm_bias``: no weight decay on biases, norms and other vectors, nor on what timm's network
    excludes, as in timm. null: on all parameters, as published."""
    backbone_lr: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of all layers but the classification head, as a fraction of
    ``learning_rate``."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer's learning rate as a fraction of the next one's, from the head down. Layers are
    timm's for its networks, the top-level modules for others."""
    freeze_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs at the start in which the head alone is trained; the other layers keep their weights
    and batch-norm statistics."""
    clip_grad_norm: Positive | None = None
    """Largest L2 norm of all gradients together; larger ones are scaled down. null: any."""
    loss: Literal["ce", "bce"] = "ce"
    """``ce``: cross-entropy; ``bce``: binary cross-entropy of each class, as timm's."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of both labels of a mixed image alike, as timm does."""
    schedule: Literal["steps", "cosine", "one_cycle"] = "steps"
    """``steps``: times ``gamma`` at each of ``milestones``. ``cosine``: down to ``min_lr``.
    ``one_cycle``: from 1/25 of the peak up for 30 % of the steps, then down to 1/250,000 of it."""
    min_lr: NonNegative = 0.0
    """Learning rate at the end of ``schedule: cosine``."""
    milestones: tuple[Count, ...] = (75, 150, 225)
    """Epochs at which ``schedule: steps`` lowers the learning rate."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of each of these steps."""
    warmup_epochs: NonNegative = 0.0
    """Linear warm-up from 0 to the full learning rate; fractions of an epoch are allowed."""
    mix_prob: Fraction = 0.5
    """Probability that a batch is mixed."""
    mix_start: Annotated[int, Field(ge=0)] = 0
    """Epochs without mixing at the start."""
    mix_off_epoch: Annotated[int, Field(ge=0)] = 0
    """Last epoch with mixing, as timm's ``--mixup-off-epoch``. 0: mixing never ends."""
    augment: Literal["none", "flip", "crop", "crop-flip", "resized-crop-flip"] = "flip"
    """Random crop and flip, before anything else."""
    crop_padding: Annotated[int, Field(ge=0, le=64)] = 4
    """Pixels of padding on each side, for ``augment: crop`` and ``crop-flip``."""
    crop_mode: Literal["constant", "reflect"] = "constant"
    """What the padding shows: black, or the reflected image."""
    crop_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Side of the network's input, in pixels. null: as prepared."""
    crop_scale: Annotated[float, Field(gt=0, le=1)] = 0.08
    """Smallest fraction of the image's area in a crop, for ``augment: resized-crop-flip``."""
    auto_augment: (
        Literal[
            "randaugment",
            "trivialaugment",
            "autoaugment-cifar10",
            "autoaugment-imagenet",
            "autoaugment-svhn",
        ]
        | None
    ) = None
    """Colour and geometric operations after the crop, drawn for each image, as torchvision's."""
    randaugment_ops: Annotated[int, Field(ge=1, le=14)] = 2
    """Operations per image, for ``auto_augment: randaugment``."""
    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Their strength, of 30."""
    random_erasing: Fraction = 0.0
    """Probability that a rectangle of an image is erased before mixing, as timm's ``--reprob``."""
    erasing_mode: Literal["pixel", "const"] = "pixel"
    """``pixel``: filled with normal noise. ``const``: with the mean colour."""
    repeated_augmentation: Annotated[int, Field(ge=1, le=100)] = 1
    """Times that an image occurs in an epoch, augmented differently; the epoch is no longer."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 on a GPU that supports it, fp32 elsewhere."""
    weight_average: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of an exponential moving average (EMA) of the weights. null: no average."""
    sample_epochs: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1)
    """Epochs after which a grid of mixed samples is logged. 0: before the first one."""
    weights_epochs: tuple[Count, ...] = ()
    """Epochs whose weights are kept as well, as ``weights/epoch_0001`` and so on."""

    def mixes_in(self, epoch: int) -> bool:
        """Whether batches of ``epoch``, counted from 1, may be mixed."""
        return self.mix_start < epoch <= (self.mix_off_epoch or epoch)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("`milestones` must rise")
        if self.warmup_epochs >= self.epochs:
            raise ValueError("`warmup_epochs` must be fewer than `epochs`; 0 is none")
        if self.schedule == "one_cycle" and self.warmup_epochs:
            raise ValueError("`schedule: one_cycle` has its own warm-up: set `warmup_epochs: 0`")
        if self.min_lr > self.learning_rate:
            raise ValueError("`min_lr` must not be above `learning_rate`")
        if self.min_lr and self.schedule != "cosine":
            raise ValueError("`min_lr` goes with `schedule: cosine`")
        if self.layer_decay < 1 and self.backbone_lr < 1:
            raise ValueError("give `layer_decay` or `backbone_lr`, not both")
        if self.freeze_epochs >= self.epochs:
            raise ValueError("`freeze_epochs` must be fewer than `epochs`")
        if self.mix_start >= self.epochs:
            raise ValueError("`mix_start` must be fewer than `epochs`: method none never mixes")
        if 0 < self.mix_off_epoch <= self.mix_start:
            raise ValueError("`mix_off_epoch` must be above `mix_start`: method none never mixes")
        if self.optimizer == "sgd":
            if self.nesterov and self.momentum == 0:
                raise ValueError("`nesterov` needs a `momentum` above 0")
            if self.betas is not None or self.eps is not None:
                raise ValueError("`betas` and `eps` go with another `optimizer`, such as adamw")
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


class SwitchMember(BaseModel):
    """One of the recipes of a switch; its other keys are the method's options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    probability: Annotated[float, Field(gt=0, le=1)]
    method: str


class MixSettings(Section):
    """A mixing recipe: a method of the registry and every option of it, resolved.

    ``method: switch`` draws one of several recipes for each batch; its only option ``members``
    maps their names to ``SwitchMember``.
    """

    name: Name
    """In runs and tables: the method's own name unless params.yaml gives another."""
    method: str
    """Which method of the registry it is."""
    options: dict[str, Any] = {}
    """Every option of the method."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.method == "switch":
            TypeAdapter(dict[Name, SwitchMember]).validate_python(self.options.get("members"))
        return self

    @property
    def members(self) -> tuple[tuple[float, "MixSettings"], ...]:
        """Probability and recipe of each member of a switch; any other recipe is its own member."""
        if self.method != "switch":
            return ((1.0, self),)
        found = []
        for name, member in self.options["members"].items():
            options = {k: v for k, v in member.items() if k not in ("probability", "method")}
            recipe = MixSettings(name=name, method=member["method"], options=options)
            found.append((member["probability"], recipe))
        return tuple(found)

    @property
    def flat_options(self) -> dict[str, Any]:
        """The options, those of a switch's members as ``MEMBER.OPTION``."""
        if self.method != "switch":
            return self.options
        members = self.options["members"].items()
        return {f"{name}.{key}": value for name, own in members for key, value in own.items()}

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it mixes with."""
        return tuple(sorted({recipe.method for _, recipe in self.members}))


class RunSettings(ExperimentSettings):
    """Everything that decides a run's weights: equal settings give equal weights on one machine."""

    experiment: Name
    """Name of its section in params.yaml."""
    mix: MixSettings
    seed: Seed = 0
    """Of every random number of the training."""


class RuntimeSettings(Section):
    """How a training is executed, not what it computes: not part of the digest."""

    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``."""
    tracker: Literal["mlflow", "none"] = "mlflow"
    """Where runs are recorded besides their folders."""
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Loader processes, where the images do not fit on the device."""
    data_on: Literal["auto", "device", "shard", "host"] = "auto"
    """Where the images are kept: all on each device, each process's part, or in host memory."""
    engine: Literal["auto", "eager", "graph"] = "auto"
    """``graph`` captures the whole step as a CUDA graph; ``auto`` does so on CUDA."""
    compile: bool = False
    """Compile the step with ``torch.compile``."""
    deterministic: bool = False
    """Bit-identical repetitions on CUDA too, at lower speed."""
    resume: bool = True
    """Resume an unfinished run with the same settings."""
    progress: Literal["auto", "bar", "lines", "none"] = "auto"
    """How progress is displayed."""
