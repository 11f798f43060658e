"""AutoMix: the mixing block, its images, its loss and its gradients, from recorded features."""

import torch

from saliencymixplus.mixing.batch import Sources
from saliencymixplus.mixing.combine import weighted_sum
from saliencymixplus.mixing.draws import Draw
from saliencymixplus.mixing.maps import enlarged
from saliencymixplus.mixing.methods import automix
from tests.peers.common import Case, close, tensor


def check(case: Case) -> None:
    images, features, labels = (tensor(case, name) for name in ("images", "features", "labels"))
    block = automix.MixBlock(features.shape[1])
    layers = {"query": block.query, "value": block.value}
    for name, layer in layers.items():
        layer.weight.data = tensor(case, f"{name}_weight")[:, :, None, None]
        layer.bias.data = tensor(case, f"{name}_bias")
    perm = tensor(case, "perm_mixer")
    mask = block(features, features[perm])
    mixed = weighted_sum(images, images[perm], enlarged(mask, *images.shape[2:])[:, None])
    close(mixed, case["mixed_mixer"], "mixed_mixer")
    loss = automix.mask_loss(mask, float(case["lam_mixer"]))
    close(loss, case["mask_loss"], "mask_loss")
    ((mixed * tensor(case, "cotangent") / 4).sum() + loss).backward()
    for name, layer in layers.items():
        weight = layer.weight.grad
        assert weight is not None
        assert layer.bias.grad is not None
        scale = float(abs(case[f"grad.{name}_weight"]).max()) + 1e-3
        close(weight[:, :, 0, 0], case[f"grad.{name}_weight"], f"{name}_weight", atol=1e-5 * scale)
        close(layer.bias.grad, case[f"grad.{name}_bias"], f"{name}_bias", atol=1e-5 * scale)
    perm, lam = tensor(case, "perm_network"), tensor(case, "lam_network")
    with torch.no_grad():
        mask = block(features, features[perm])
    close(mask, case["mask_b_small"], "mask_b_small")
    draw = Draw(perm, lam0=lam.reshape(1))
    sources = Sources(images, perm, labels, plan=mask)
    found = automix.automix(sources, draw, automix.AutoMixOptions())
    close(found.images, case["mixed_network"], "mixed_network")
    close(found.lam, lam.reshape(1), "lam")
