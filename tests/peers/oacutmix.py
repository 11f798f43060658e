"""OA-CutMix: box, mixed batch, and the five recorded labels."""

from saliencymixplus import mixing
from tests.peers.common import Case, close, equal, tensor

LABELS = {
    "lam_relative": {},
    "lam_absolute": {"absolute": 1.0},
    "lam_mode03": {"absolute": 0.3},
    "lam_relative_w05": {"object_weight": 0.5},
    "lam_absolute_w05": {"absolute": 1.0, "object_weight": 0.5},
}


def check(case: Case) -> None:
    images, labels, masks = (tensor(case, name) for name in ("images", "labels", "masks"))
    if masks.max() > 1:
        masks = masks // 255
    draw = mixing.Draw(
        tensor(case, "perm"), tensor(case, "lam0"), centre=tensor(case, "centre")[None]
    )
    for name, options in LABELS.items():
        mixer = mixing.create("oacutmix", variant="published", **options)
        mixed = mixer(images, labels, masks=masks, draw=draw)
        close(mixed.lam, case[name], name)
        assert mixed.boxes is not None
        equal(mixed.boxes[0], case["box"], "box")
        equal(mixed.images, case["mixed"], "mixed images")
        equal(mixed.labels_b, case["labels_b"], "second labels")
        close(mixed.area_lam, case["lam_area"], "area label")
