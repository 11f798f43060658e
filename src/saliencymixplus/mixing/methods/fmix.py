"""FMix: binary masks of random shape, cut from low-frequency noise.

Harris et al., "FMix: Enhancing Mixed Sample Data Augmentation", 2020 (arXiv:2002.12047), section 4:
the spectrum of Gaussian noise is divided by frequency^δ; the pixels with the highest values, a
fraction λ of all, show the first image.

``variant: published`` is the released code (ecs-vlc/FMix). It takes the first two *rows* of the
scaled noise as real and imaginary part, and thus the two normal numbers of each entry as the
frequencies 0 and 1 along the width, so that a mask varies by at most one cycle along a row. The
default follows the paper.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources
from saliencymixplus.mixing.combine import blend, paste
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import ranks
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.options import Label, MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class FMixOptions(MixingOptions):
    """Options of FMix.

    Args:
        variant: ``corrected`` follows the paper, ``published`` the released code, see above.
        alpha: λ₀ ~ Beta(alpha, alpha), the first image's fraction of the pixels; 0.05 … 100.
        mask: one mask for the ``batch``, as published, or one for each ``sample``.
        decay: δ, 0 … 10; amplitudes fall with frequency^δ, so shapes are larger for higher values.
        max_soft: width of the mask's soft edge on either side of the threshold, as a fraction of
            all pixels, 0 … 1; limited to λ₀ and 1 − λ₀. 0: a binary mask.
        spectrum: ``complex``: two normal numbers for each frequency; ``two_rows``: as released.

    Examples:
        >>> from saliencymixplus.mixing import create
        >>> mixed = create("fmix", decay=2.0)(torch.rand(4, 3, 8, 8), torch.arange(4))
        >>> mixed.mask.unique().tolist()
        [0.0, 1.0]
    """

    PUBLISHED = {"pairs": "permutation", "spectrum": "two_rows"}

    variant: Literal["corrected", "published"] = "corrected"
    alpha: float = number(1.0, 0.05, 100.0)
    label: Label = "area"
    mask: Scope = "batch"
    decay: float = number(3.0, 0.0, 10.0)
    max_soft: float = number(0.0, 0.0, 1.0)
    spectrum: Literal["complex", "two_rows"] = "complex"


def spectrum_noise(options: FMixOptions, height: int, width: int) -> tuple[int, ...]:
    """Real and imaginary parts of half a spectrum (published: one more column if W is odd)."""
    columns = width // 2 + 1
    if options.spectrum == "two_rows":
        columns = min(columns + width % 2, width)
    return (height, columns, 2)


def fmix(sources: Sources, draw: Draw, options: FMixOptions) -> Blend:
    """λ is λ₀ itself; the mask's mean is λ₀ to within a pixel."""
    lam0, noise, uniform = draw.take("lam0", "noise", "uniform")
    height, width = sources.height, sources.width
    grey = low_frequency(
        noise, height, width, options.decay, two_rows=options.spectrum == "two_rows"
    )
    # The paper's code rounds the number of pixels up or down at random.
    count = lam0 * (height * width)
    count = torch.where(uniform[:, 0] < 0.5, count.floor(), count.ceil()).long()
    if options.max_soft == 0:
        mask = ~top_pixels(grey, count)[:, None]
        return Blend(paste(sources, mask), mask, lam0)
    narrowest = torch.minimum(lam0, 1.0 - lam0).clamp_max(options.max_soft)
    weight = 1.0 - soft_highest(grey, count, (narrowest * (height * width)).long())[:, None]
    return Blend(blend(sources, weight), weight, lam0)


def low_frequency(
    noise: Tensor, height: int, width: int, decay: float, *, two_rows: bool = False
) -> Tensor:
    """Noise (N, H, W) whose spectrum falls with frequency^decay.

    Args:
        noise: (N, H, K, 2), see ``spectrum_noise``.
        two_rows: as released, see the module's docstring.
    """
    like: dict[str, Any] = {"device": noise.device, "dtype": noise.dtype}
    rows = torch.fft.fftfreq(height, **like)
    columns = torch.fft.fftfreq(width, **like)[: noise.shape[2]].abs()
    frequency = torch.sqrt(rows[:, None] ** 2 + columns[None, :] ** 2)
    weight = frequency.clamp_min(1.0 / max(height, width)) ** -decay
    if two_rows:
        scaled = noise * weight[:, :, None]
        # (N, K, 2), which irfft2 crops or pads with zeros to H × (⌊W/2⌋ + 1).
        spectrum = torch.complex(scaled[:, 0], scaled[:, 1 if height > 1 else 0])
    else:
        spectrum = torch.view_as_complex(noise.contiguous()) * weight
    field: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return field


def top_pixels(values: Tensor, count: Tensor) -> Tensor:
    """True at the ``count`` (N,) highest values of each map (N, H, W)."""
    flat = values.flatten(1)
    ordered = flat.sort(dim=1, descending=True).values
    threshold = ordered.gather(1, (count[:, None] - 1).clamp_min(0))
    above = (flat >= threshold) & (count[:, None] > 0)
    return above.view_as(values)


def soft_highest(values: Tensor, count: Tensor, soft: Tensor) -> Tensor:
    """Like ``top_pixels``, but falls linearly to 0 over the ranks count − soft … count + soft.

    ``values`` is (N, H, W), ``count`` and ``soft`` are (N,) int64.
    """
    beyond = ranks(values) - (count - soft)[:, None]
    edge = 1.0 - beyond / (2 * soft - 1).clamp_min(1)[:, None]
    inside = torch.where(beyond < 2 * soft[:, None], edge, 0.0)
    return torch.where(beyond < 0, 1.0, inside).view_as(values)


METHOD = Method(
    name="fmix",
    label="FMix",
    year=2020,
    summary="masks of random shape",
    paper="arXiv:2002.12047",
    options=FMixOptions,
    apply=fmix,
    noise=spectrum_noise,
)
