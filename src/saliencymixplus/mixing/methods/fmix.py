"""FMix: binary masks of random shape, cut from low-frequency noise.

Harris et al., "FMix: Enhancing Mixed Sample Data Augmentation", 2020 (arXiv:2002.12047), section 4:
Gaussian noise with its spectrum divided by frequency^δ, of which the highest share λ belongs to the
first image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from saliencymixplus.mixing.batch import Blend, Sources, paste
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.options import MixingOptions, Scope, number


@dataclass(frozen=True, kw_only=True)
class FMixOptions(MixingOptions):
    """λ₀ ~ Beta(alpha, alpha); ``decay`` is δ: the higher, the larger the shapes."""

    alpha: float = number(1.0, 0.05, 100.0)
    mask: Scope = "batch"
    decay: float = number(3.0, 0.0, 10.0)

    @property
    def per_sample(self) -> bool:
        return self.mask == "sample"


def spectrum_noise(options: FMixOptions, height: int, width: int) -> tuple[int, ...]:
    """Real and imaginary parts of half a spectrum."""
    return (height, width // 2 + 1, 2)


def fmix(sources: Sources, draw: Draw, options: FMixOptions) -> Blend:
    """λ is λ₀ itself; the mask's share is λ₀ to within a pixel."""
    assert draw.lam0 is not None
    assert draw.noise is not None
    assert draw.uniform is not None
    height, width = sources.height, sources.width
    grey = low_frequency(draw.noise, height, width, options.decay)
    # The paper's code rounds the number of pixels up or down by chance.
    count = draw.lam0 * (height * width)
    count = torch.where(draw.uniform[:, 0] < 0.5, count.floor(), count.ceil()).long()
    mask = ~highest(grey, count)[:, None]
    return Blend(paste(sources, mask), mask, draw.lam0)


def low_frequency(noise: Tensor, height: int, width: int, decay: float) -> Tensor:
    """Noise (N, H, W) whose spectrum falls with frequency^decay."""
    rows = torch.fft.fftfreq(height, device=noise.device)
    columns = torch.fft.rfftfreq(width, device=noise.device)
    frequency = torch.sqrt(rows[:, None] ** 2 + columns[None, :] ** 2)
    weight = frequency.clamp_min(1.0 / max(height, width)) ** -decay
    spectrum = torch.view_as_complex(noise.contiguous()) * weight
    return torch.fft.irfft2(spectrum, s=(height, width))


def highest(values: Tensor, count: Tensor) -> Tensor:
    """True at the ``count[n]`` highest of each map (N, H, W)."""
    flat = values.flatten(1)
    ordered = flat.sort(dim=1, descending=True).values
    threshold = ordered.gather(1, (count[:, None] - 1).clamp_min(0))
    above = (flat >= threshold) & (count[:, None] > 0)
    return above.view_as(values)
