"""R-Mix: map of a recorded network, pooled map, thresholds, weights, mixed batch and label."""

import torch
from torch import nn

from saliencymixplus import mixing
from saliencymixplus.mixing.maps import sum_to_one
from saliencymixplus.mixing.methods.rmix import patches, quantiles, salient
from tests.peers.common import Case, close, equal, tensor


def network(case: Case) -> nn.Sequential:
    """The recorded network in the state before the clean pass."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
    kept = {name: tensor(case, name) for name in case if name.startswith("model.")}
    state = {
        name.removeprefix("model."): value.reshape(()) if name.endswith("tracked") else value
        for name, value in kept.items()
    }
    model.load_state_dict(state)
    return model.train()


def check(case: Case) -> None:
    images, labels, perm = (tensor(case, name) for name in ("images", "labels", "perm"))
    patch = int(case["patch"])
    mixer = mixing.create("rmix", variant="published", patch=patch)
    # Any number of the action's tenth.
    chance = (tensor(case, "action") + 0.5) / 10
    draw = mixing.Draw(
        perm, tensor(case, "lam0")[:1], uniform=torch.stack((chance, chance), dim=1).float()
    )
    mixed = mixer(images, labels, saliency=tensor(case, "saliency"), draw=draw)
    pooled = sum_to_one(patches(tensor(case, "saliency"), patch), at_once=True)
    close(pooled, case["pooled"], "pooled map")
    close(quantiles(chance.float()), case["quantile"], "quantiles")
    equal(salient(pooled, quantiles(chance.float())).float(), case["mask_grid"], "masks")
    assert mixed.mask is not None
    weights = 1.0 - mixed.mask[:, 0, ::patch, ::patch]
    close(weights, case["weight_grid"], "weights")
    _results(mixed, case)
    if any(name.startswith("model.") for name in case):
        mixed = mixer(images, labels, model=network(case), draw=draw)
        assert mixed.saliency is not None
        close(mixed.saliency * 2 / 10, case["saliency"], "map of the network", atol=1e-6)
        _results(mixed, case)


def _results(mixed: mixing.MixedBatch, case: Case) -> None:
    close(mixed.images, case["mixed"], "mixed images")
    equal(mixed.labels_b, case["labels_b"], "second labels")
    close(mixed.lam, case["lam"], "lam")
    close(mixed.soft_labels(case["target"].shape[1]), case["target"], "target")
