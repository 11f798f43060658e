"""Settings of a benchmark."""

from dataclasses import dataclass, field
from typing import Any

from saliencymixplus.settings import ExperimentSettings, MixSettings, TrainingSettings


@dataclass(frozen=True)
class BenchSettings:
    """Settings of a benchmark.

    Attributes:
        image_size: side of the network's input in pixels.
        prepared_size: side of the images that the input is cropped from.
        training: the recipe whose augmentation and optimizer are used.
        images, epochs: size of the experiment whose duration is estimated.
        mix_prob: fraction of the experiment's steps that are mixed.
        rounds: measurements per number, of which the median is taken.
    """

    device: str = "auto"
    model: str = "resnet18"
    batch_size: int = 128
    image_size: int = 32
    prepared_size: int = 32
    classes: int = 100
    training: TrainingSettings = field(default_factory=TrainingSettings)
    precision: str = "auto"
    engine: str = "auto"
    compile: bool = False
    mixes: tuple[MixSettings, ...] = ()
    images: int = 50_000
    epochs: int = 200
    mix_prob: float = 0.5
    rounds: int = 20
    warmup: int = 5
    seconds: float = 0.05  # minimum duration of a round


# Training images and classes, to estimate an experiment's duration before its data are downloaded.
OFFICIAL = {
    "digits": (1_437, 10),
    "clutter": (1_437, 10),  # of each placement
    "cifar10": (50_000, 10),
    "cifar100": (50_000, 100),
    "oxford_pet": (3_680, 37),
    "cub200": (5_994, 200),
    "flowers102": (1_020, 102),
    "food101": (75_750, 101),
    "aircraft": (6_667, 100),
    "cars": (8_144, 196),
    "tiny_imagenet": (100_000, 200),
    "stl10": (5_000, 10),
    "imagenet": (1_281_167, 1000),
}


def settings_for(section: ExperimentSettings, **given: Any) -> BenchSettings:
    """The settings of an experiment, overridden by ``given`` (fields of ``BenchSettings``).

    The number of a user's own images is unknown until they are prepared; estimates assume as many
    as in CIFAR-10.
    """
    training = section.training
    images, classes = OFFICIAL.get(section.download.source, OFFICIAL["cifar10"])
    if section.data.clutter is not None:
        images = section.data.clutter.train_digits or images
        images *= section.data.clutter.train_placements
    return BenchSettings(
        model=section.model.name,
        batch_size=training.batch_size,
        image_size=training.crop_size or section.data.image_size,
        prepared_size=section.data.image_size,
        training=training,
        classes=classes,
        images=images,
        epochs=training.epochs,
        mix_prob=training.mix_prob,
        precision=training.precision,
        **given,
    )
