"""Settings of evaluation and audit."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from saliencymixplus.settings.names import Distinct
from saliencymixplus.settings.section import Count, Positive, Section, Seed

# Accuracy is always measured.
ProperFraction = Annotated[float, Field(gt=0, lt=1)]
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
    """``evaluation:`` in params.yaml, shared by all experiments."""

    batch_size: Count = 128
    """Images per forward pass."""
    parts: Annotated[tuple[Part, ...], Distinct] = get_args(Part)
    """Measures besides accuracy."""
    images: Count | None = 2000
    """Test images for corruptions, attacks, occlusion and localisation. null: all."""
    seed: Seed = 0
    """Seed of the choice of these images and of all random corruptions, attacks and occlusions."""
    calibration_bins: Count = 15
    """Bins of the expected calibration error."""
    corruptions: Annotated[tuple[Corruption, ...], Distinct] = get_args(Corruption)
    """Corruptions to apply, each at five severities."""
    epsilons: Annotated[tuple[Positive, ...], Distinct] = (1.0, 4.0, 8.0)
    """Largest change of a pixel by FGSM and PGD, in 255ths of the pixel range."""
    pgd_steps: Count = 10
    """Steps of each PGD attack."""
    occlusion_shares: Annotated[tuple[ProperFraction, ...], Distinct] = (0.1, 0.2, 0.35, 0.5, 0.7)
    """Fractions of the image that are covered."""
    localisation_threshold: ProperFraction = 0.2
    """Fraction of a class activation map's maximum above which a pixel counts as the object."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "corruptions" in self.parts and not self.corruptions:
            raise ValueError("`corruptions` is empty: leave it out of `parts` instead")
        return self


class AuditSettings(Section):
    """``audit:`` in params.yaml."""

    images: Count = 1000
    """Mixed images per recipe."""
    split: Literal["train", "val", "test"] = "train"
    """Split whose images are mixed; training mixes ``train``."""
    batch_size: Annotated[int, Field(ge=2)] = 16
    """Images per mixed batch. Small, as many methods draw one box per batch and the bootstrap
    resamples batches."""
    seed: Seed = 0
    """Seed of the choice of images, the mixing and the bootstrap."""
    resamples: Count = 2000
    """Number of bootstrap resamples."""
    worst: Count = 6
    """Samples in each gallery of the worst labels."""
    epoch_images: Count = 300
    """Mixed images per saved epoch, for the label error during training."""
