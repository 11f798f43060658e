"""This project's mixers in timm's training script, by a class that replaces ``timm.data.Mixup``.

In ``train.py``, replace ``from timm.data import Mixup`` with ``from timm_mixup import Mixup``, and
run it with ``--no-prefetcher``: with the prefetcher, the script mixes in its collate function.
Unlike timm's class, this one leaves its input unchanged, draws partners at random instead of
reversing the batch, and mixes whole batches or elements, not pairs.
"""

import torch
from torch import Tensor

from saliencymixplus.mixing import create


class Mixup:
    """mixup, or another method with probability ``switch_prob``, as timm's ``Mixup``.

    Args:
        mixup_alpha: α of mixup; 0: never use mixup.
        cutmix_alpha: α of ``method``; 0: never use ``method``.
        prob: probability of mixing a batch.
        switch_prob: probability of ``method`` if both are used.
        mode: ``batch`` draws once per batch, ``elem`` for each image.
        label_smoothing: probability that is spread over all classes.
        num_classes: length of the soft labels.
        method: any method or preset that needs no network and has the option ``alpha``.
    """

    def __init__(
        self,
        mixup_alpha: float = 1.0,
        cutmix_alpha: float = 0.0,
        cutmix_minmax: list[float] | None = None,
        prob: float = 1.0,
        switch_prob: float = 0.5,
        mode: str = "batch",
        correct_lam: bool = True,
        label_smoothing: float = 0.1,
        num_classes: int = 1000,
        *,
        method: str = "cutmix",
    ) -> None:
        if cutmix_minmax is not None or mode not in ("batch", "elem") or not correct_lam:
            raise ValueError("cutmix_minmax, mode='pair' and correct_lam=False are not supported")
        scope = "sample" if mode == "elem" else "batch"
        mixers = []
        if mixup_alpha > 0:
            mixers.append(create("mixup", alpha=mixup_alpha, lam0=scope))
        if cutmix_alpha > 0:
            options = {"box": scope} if method == "cutmix" else {}
            mixers.append(create(method, alpha=cutmix_alpha, **options))
        if not mixers:
            raise ValueError("one of mixup_alpha and cutmix_alpha must be above 0")
        self.mixers, self.prob, self.switch_prob = mixers, prob, switch_prob
        self.label_smoothing, self.num_classes = label_smoothing, num_classes
        self.mixup_enabled = True  # timm's script sets it to False after --mixup-off-epoch

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) and soft labels (B, num_classes) of images and class indices (B,)."""
        if self.mixup_enabled and torch.rand(()) < self.prob:
            second = len(self.mixers) == 2 and torch.rand(()) < self.switch_prob
            mixed = self.mixers[int(second)](images, labels)
        else:
            mixed = create("none")(images, labels)
        soft = mixed.soft_labels(self.num_classes)
        smoothing = self.label_smoothing
        return mixed.images, soft * (1 - smoothing) + smoothing / self.num_classes


def train(steps: int = 2) -> list[float]:
    """A few steps as timm's script takes them; returns the losses."""
    import timm
    from timm.loss import SoftTargetCrossEntropy

    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=10, pretrained=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    mixup_fn = Mixup(mixup_alpha=0.2, cutmix_alpha=1.0, num_classes=10)
    loss_fn, losses = SoftTargetCrossEntropy(), []
    for _ in range(steps):
        images, target = mixup_fn(torch.rand(8, 3, 32, 32), torch.randint(0, 10, (8,)))
        loss = loss_fn(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    print([round(loss, 3) for loss in train()])
