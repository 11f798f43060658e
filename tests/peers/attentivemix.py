"""AttentiveMix+: attention of recorded features, cells, mixed batch and label."""

from saliencymixplus import mixing
from tests.peers.common import Case, close, equal, tensor


def check(case: Case) -> None:
    images, labels, perm = (tensor(case, name) for name in ("images", "labels", "perm"))
    attention = tensor(case, "features").mean(1)
    close(attention, case["attention"], "attention")
    fixed = int(case["top_k"]) if case["top_k_fixed"] else 0
    mixer = mixing.create("attentivemix", variant="published", top_k=fixed)
    draw = mixing.Draw(perm, tensor(case, "lam0"))
    mixed = mixer(images, labels, saliency=attention, draw=draw)
    assert mixed.mask is not None
    equal(1.0 - mixed.mask[:, 0], case["mask"], "masks")
    equal(mixed.images, case["mixed"], "mixed images")
    equal(mixed.labels_b, case["labels_b"], "second labels")
    close(mixed.lam, case["lam"], "lam")
