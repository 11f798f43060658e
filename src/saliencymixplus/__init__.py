"""SaliencyMix+ and its peers: image-mixing augmentation, trained, tracked and compared."""

from saliencymixplus.version import __version__

__all__ = ["__version__"]
