"""Image-mixing augmentation on tensors: a library for any PyTorch training loop.

In a plain loop::

    mixer = mixing.create("saliencymixplus")
    for images, labels in loader:
        mixed = mixer(images, labels, model=model)
        mixed.loss(model(mixed.images)).backward()
        optimizer.step(), optimizer.zero_grad()

In the data loader, for methods that need no network::

    loader = DataLoader(dataset, 128, collate_fn=mixing.collate(mixing.create("cutmix")))

``backward(model, mixer, images, labels)`` runs the whole step up to the optimizer. Only it applies
``clean_gradient``, which ``variant="published"`` of SaliencyMix+ sets, and ``saliency_weights``;
``MixedBatch.loss`` warns about a clean gradient that it leaves out.

Examples:
    >>> import torch
    >>> from saliencymixplus import mixing
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 10))
    >>> images, labels = torch.rand(4, 3, 8, 8), torch.arange(4)
    >>> mixed = mixing.create("saliencymixplus")(images, labels, model=network)
    >>> mixed.loss(network(mixed.images)).backward()
    >>> mixed.soft_labels(10).sum(1).round().tolist()
    [1.0, 1.0, 1.0, 1.0]
"""

from saliencymixplus.mixing.batch import MixedBatch
from saliencymixplus.mixing.by_name import create, resolve_options
from saliencymixplus.mixing.collate import Collate, collate
from saliencymixplus.mixing.criterion import Criterion
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.method import Method
from saliencymixplus.mixing.mixer import Mixer
from saliencymixplus.mixing.registry import METHODS, PRESETS
from saliencymixplus.mixing.saliency import gradient_saliency, input_only
from saliencymixplus.mixing.step import Step, backward, passes
from saliencymixplus.mixing.switch import Switch

__all__ = [
    "METHODS",
    "PRESETS",
    "Collate",
    "Criterion",
    "Draw",
    "Method",
    "MixedBatch",
    "Mixer",
    "Step",
    "Switch",
    "backward",
    "collate",
    "create",
    "gradient_saliency",
    "input_only",
    "passes",
    "resolve_options",
]
