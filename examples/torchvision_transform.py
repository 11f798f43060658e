"""A transform of batches, for use like torchvision's ``v2.CutMix`` and ``v2.MixUp``."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, default_collate
from torchvision.transforms import v2

from saliencymixplus.mixing import create


class Mix(nn.Module):
    """Maps images and class indices (B,) to mixed images and soft labels (B, num_classes).

    Args:
        method: any method or preset that needs no network.
        num_classes: length of the soft labels.
        options: options of the method.
    """

    def __init__(self, method: str, *, num_classes: int, **options: Any) -> None:
        super().__init__()
        self.mixer = create(method, **options)
        self.num_classes = num_classes

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mixed = self.mixer(images, labels, differentiable=True)
        return mixed.images, mixed.soft_labels(self.num_classes)

    def extra_repr(self) -> str:
        return repr(self.mixer)


# It combines with torchvision's own transforms: each batch is mixed by one of these.
transform = v2.RandomChoice(
    [
        Mix("fmix", num_classes=10),
        Mix("resizemix", num_classes=10),
        v2.MixUp(num_classes=10),
    ],
    p=[0.4, 0.4, 0.2],
)


def mix(samples: list[Any]) -> Any:
    """The ``collate_fn``, at module level so that spawned workers can import it."""
    return transform(*default_collate(samples))


def train(steps: int = 4) -> list[float]:
    """Train on random images; returns the losses."""
    torch.manual_seed(0)
    data = TensorDataset(torch.rand(8 * steps, 3, 16, 16), torch.arange(8 * steps) % 10)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for images, labels in DataLoader(data, batch_size=8, collate_fn=mix):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    print([round(loss, 3) for loss in train()])
