"""The training recipe, with defaults as published.

Uddin et al. 2021 (SaliencyMix) and the SaliencyMix+ code.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from saliencymixplus.settings.data import LARGEST_SIDE
from saliencymixplus.settings.section import Beta, Count, Fraction, NonNegative, Positive, Section


class TrainingSettings(Section):
    """The training recipe."""

    epochs: Count = 200
    """Passes over the training images."""
    batch_size: Count = 128
    """Images per batch, over all processes."""
    accumulate: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Batches per step of the optimizer, which gets the mean of their gradients (gradient
    accumulation). Mixing and batch norm stay within a batch; ``learning_rate`` is not changed."""
    learning_rate: Positive = 0.1
    """Peak learning rate."""
    optimizer: Annotated[str, Field(pattern=r"^(sgd|adamw|timm/\w+)$")] = "sgd"
    """``sgd``, ``adamw``, or ``timm/NAME``: an optimizer from timm's factory, such as
    ``timm/lamb``, whose steps are not captured in CUDA graphs."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of ``sgd``, and of timm's optimizers that have it."""
    nesterov: bool = True
    """Nesterov momentum, for ``sgd``."""
    betas: tuple[Beta, Beta] | None = None
    """Decay rates of the moments in ``adamw`` and similar. null: the optimizer's default."""
    eps: Positive | None = None
    """Added to the denominator in ``adamw`` and similar. null: the optimizer's default."""
    weight_decay: NonNegative = 5e-4
    """L2 penalty in ``sgd``, decoupled weight decay in ``adamw``."""
    no_decay: Literal["norm_bias"] | None = None
    """``norm_bias``: no weight decay on biases, norms and other vectors, nor on parameters that
    timm networks exclude, as in timm. null: on all parameters, as published."""
    backbone_lr: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning rate of all layers but the classification head, as a fraction of
    ``learning_rate``."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Each layer's learning rate as a fraction of the next one's, from the head down. A layer is
    what timm groups in its networks, a block in torchvision's ViT, Swin and ConvNeXt, and a
    top-level module in others."""
    freeze_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs at the start in which only the head is trained; the other layers keep their weights
    and batch-norm statistics."""
    clip_grad_norm: Positive | None = None
    """Largest L2 norm of all gradients together; larger ones are scaled down. null: no limit."""
    loss: Literal["ce", "bce"] = "ce"
    """``ce``: cross-entropy; ``bce``: binary cross-entropy of each class, as in timm."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing of both labels of a mixed image, as in timm."""
    schedule: Literal["steps", "cosine", "one_cycle"] = "steps"
    """``steps``: multiply by ``gamma`` at each of ``milestones``. ``cosine``: decay to ``min_lr``.
    ``one_cycle``: rise from 1/25 of the peak for 30 % of the steps, then fall to 1/250,000."""
    min_lr: NonNegative = 0.0
    """Learning rate at the end of ``schedule: cosine``."""
    milestones: tuple[Count, ...] = (75, 150, 225)
    """Epochs at which ``schedule: steps`` lowers the learning rate."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of each of these steps."""
    warmup_epochs: NonNegative = 0.0
    """Linear warm-up to the full learning rate; fractions of an epoch are allowed."""
    warmup_start_lr: NonNegative | None = None
    """Learning rate of the first step of the warm-up, as timm's ``--warmup-lr``. null: that of the
    last one, divided by the number of its steps."""
    mix_prob: Fraction = 0.5
    """Probability that a batch is mixed."""
    mix_start: Annotated[int, Field(ge=0)] = 0
    """Epochs without mixing at the start."""
    mix_off_epoch: Annotated[int, Field(ge=0)] = 0
    """Last epoch with mixing, like timm's ``--mixup-off-epoch``. 0: mixing never ends."""
    augment: Literal["none", "flip", "crop", "crop-flip", "resized-crop-flip"] = "flip"
    """Random crop and flip, before anything else."""
    crop_padding: Annotated[int, Field(ge=0, le=64)] = 4
    """Pixels of padding on each side, for ``augment: crop`` and ``crop-flip``."""
    crop_mode: Literal["constant", "reflect"] = "constant"
    """Content of the padding: black, or the reflected image."""
    crop_size: Annotated[int, Field(ge=8, le=LARGEST_SIDE)] | None = None
    """Side of the network's input, in pixels. null: as prepared."""
    test_crop: Literal["resize", "center"] = "resize"
    """Validation, test and new images with ``crop_size``. ``resize``: the whole image, resized.
    ``center``: its central ``crop_size`` pixels, as torchvision's ``CenterCrop``."""
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
    """Colour and geometric operations after the crop, drawn for each image, as in torchvision."""
    randaugment_ops: Annotated[int, Field(ge=1, le=14)] = 2
    """Operations per image, for ``auto_augment: randaugment``."""
    randaugment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Strength of these operations, 0 to 30."""
    randaugment_std: NonNegative = 0.0
    """Standard deviation of the strength, which is drawn for each operation, like timm's
    ``mstd``."""
    random_erasing: Fraction = 0.0
    """Probability of erasing a rectangle of an image before mixing, like timm's ``--reprob``."""
    erasing_mode: Literal["pixel", "const"] = "pixel"
    """Fill of this rectangle. ``pixel``: normal noise. ``const``: the mean colour."""
    repeated_augmentation: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of times an image occurs in an epoch, each augmented differently. The epoch does not
    get longer."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """``auto``: bf16 on a GPU that supports it, fp32 elsewhere. In fp32, a GPU's convolutions use
    TF32 if torch does so by default."""
    weight_average: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of an exponential moving average (EMA) of the weights. null: no average."""
    sample_epochs: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1)
    """Epochs after which a grid of mixed samples is logged. 0: before the first epoch."""
    weights_epochs: tuple[Count, ...] = ()
    """Epochs whose weights are also kept, as ``weights/epoch_0001`` and so on."""

    def mixes_in(self, epoch: int) -> bool:
        """Whether batches of ``epoch``, counted from 1, may be mixed."""
        return self.mix_start < epoch <= (self.mix_off_epoch or epoch)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("`milestones` must increase")
        if self.warmup_epochs >= self.epochs:
            raise ValueError("`warmup_epochs` must be fewer than `epochs`; 0 is none")
        if self.warmup_start_lr is not None and not self.warmup_epochs:
            raise ValueError("`warmup_start_lr` needs `warmup_epochs` above 0")
        if self.warmup_start_lr is not None and self.warmup_start_lr > self.learning_rate:
            raise ValueError("`warmup_start_lr` must not be above `learning_rate`")
        if self.schedule == "one_cycle" and self.warmup_epochs:
            raise ValueError("`schedule: one_cycle` has its own warm-up: set `warmup_epochs: 0`")
        if self.min_lr > self.learning_rate:
            raise ValueError("`min_lr` must not be above `learning_rate`")
        if self.min_lr and self.schedule != "cosine":
            raise ValueError("`min_lr` is only for `schedule: cosine`")
        if self.layer_decay < 1 and self.backbone_lr < 1:
            raise ValueError("give `layer_decay` or `backbone_lr`, not both")
        if self.freeze_epochs >= self.epochs:
            raise ValueError("`freeze_epochs` must be fewer than `epochs`")
        if self.mix_start >= self.epochs:
            raise ValueError("`mix_start` must be below `epochs`: use method none to never mix")
        if 0 < self.mix_off_epoch <= self.mix_start:
            raise ValueError("`mix_off_epoch` must be above `mix_start`: use none to never mix")
        if self.optimizer == "sgd":
            if self.nesterov and self.momentum == 0:
                raise ValueError("`nesterov` needs a `momentum` above 0")
            if self.betas is not None or self.eps is not None:
                raise ValueError("`betas` and `eps` are not for sgd: set another `optimizer`")
        return self
