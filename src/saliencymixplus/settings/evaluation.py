"""Settings of what is done with a trained run."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from saliencymixplus.settings.schema import Count, Positive, Section, Seed

# Accuracy is always measured.
Part = Literal["calibration", "corruptions", "attacks", "occlusion", "localisation"]
Corruption = Literal[
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic",
    "pixelate",
    "jpeg",
]


class EvaluationSettings(Section):
    """``evaluation:`` in params.yaml, for every experiment alike."""

    batch_size: Count = 256
    parts: tuple[Part, ...] = get_args(Part)  # what is measured besides accuracy
    images: Count | None = 2000  # test images for corruptions, attacks, occlusion, localisation
    seed: Seed = 0  # of that choice and of every random corruption, attack and occlusion
    calibration_bins: Count = 15
    corruptions: tuple[Corruption, ...] = get_args(Corruption)
    epsilons: tuple[Positive, ...] = (1.0, 4.0, 8.0)  # attacks; in 255ths of the pixel range
    pgd_steps: Count = 10
    occlusion_shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.1, 0.2, 0.35, 0.5, 0.7)
    localisation_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.2  # of the map's maximum

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("parts", "corruptions", "epsilons", "occlusion_shares"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"`{name}` names something twice")
        if "corruptions" in self.parts and not self.corruptions:
            raise ValueError("`corruptions` is empty: leave it out of `parts` instead")
        return self


class AuditSettings(Section):
    """``audit:`` in params.yaml: the label-noise audit."""

    images: Count = 1000  # mixed images of each recipe
    split: Literal["train", "val", "test"] = "train"  # labels are mixed in training
    # Small: many methods draw one box a batch, and the bootstrap draws batches.
    batch_size: Annotated[int, Field(ge=2)] = 16
    seed: Seed = 0  # of the choice of images, of the mixing and of the bootstrap
    resamples: Count = 2000  # of the bootstrap
    worst: Count = 6  # samples in each gallery of the worst labels
    epoch_images: Count = 300  # mixed images of each saved epoch, along training
