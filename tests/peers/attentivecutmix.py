"""Attentive CutMix: cells of recorded features, mixed bytes and label."""

import torch

from saliencymixplus import mixing
from saliencymixplus.mixing.methods.attentivemix import most_attentive
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images = tensor(case, "images_uint8").permute(0, 3, 1, 2)
    partners = tensor(case, "partner_uint8").permute(0, 3, 1, 2)
    attention, count = tensor(case, "features")[:, -1], len(images)
    top_k = int(case["top_k"])
    cells = most_attentive(attention, torch.tensor([top_k]))
    equal(cells.to(torch.uint8), case["cells"], "cells")
    mixer = mixing.create("attentivecutmix", variant="published", top_k=top_k)
    # The images and their partners as one batch, of which the first half counts.
    index_b = torch.arange(count).repeat(2) + torch.tensor([count, 0]).repeat_interleave(count)
    mixed = mixer(
        torch.cat((images, partners)),
        tensor(case, "labels").T.flatten(),
        saliency=attention.repeat(2, 1, 1),
        draw=mixing.Draw(index_b),
    )
    equal(mixed.labels_a[:count], case["labels"][:, 0], "first labels")
    equal(mixed.labels_b[:count], case["labels"][:, 1], "second labels")
    close(mixed.lam, case["lam"], "lam")
    recorded = torch.from_numpy(case["mixed_uint8"]).permute(0, 3, 1, 2)
    apart = (mixed.images[:count].int() - recorded.int()).abs()
    # Equal with the recorder's Pillow; torch rounds its weights otherwise.
    assert apart.max() <= 2, f"mixed images: {apart.max()} grey levels apart"
