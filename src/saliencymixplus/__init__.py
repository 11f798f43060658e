"""SaliencyMix+ and other image-mixing augmentations: train, track and compare them."""

from saliencymixplus.version import __version__

__all__ = ["__version__"]
