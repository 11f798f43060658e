"""A Lightning callback that mixes the training batches of any module."""

from typing import Any

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from saliencymixplus.mixing import create


class Mixing(Callback):
    """Mixes every training batch ``(images, labels)`` after its transfer to the device.

    The module gets images and soft labels (B, num_classes), which ``F.cross_entropy`` takes.

    Args:
        method: any method or preset; those that need a network get the module itself.
        num_classes: length of the soft labels.
        options: options of the method.
    """

    def __init__(self, method: str, num_classes: int, **options: Any) -> None:
        self.mixer = create(method, **options)
        self.num_classes = num_classes
        self._transferred: Any = None

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Mix in the module's own hook, because callbacks cannot replace a batch."""
        if stage == "fit":
            self.module = pl_module
            self._transferred = pl_module.on_after_batch_transfer
            pl_module.on_after_batch_transfer = self._mix

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Restore the module's own hook."""
        if stage == "fit":
            del pl_module.on_after_batch_transfer

    def _mix(self, batch: Any, dataloader_idx: int) -> Any:
        images, labels = self._transferred(batch, dataloader_idx)
        if not self.module.trainer.training:
            return images, labels
        model = self.module if self.mixer.needs_model else None
        mixed = self.mixer(images, labels, model=model)
        return mixed.images, mixed.soft_labels(self.num_classes)


class Classifier(lightning.LightningModule):
    """A small network that knows nothing of mixing."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))
        self.losses: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


def train(method: str = "saliencymixplus", steps: int = 2) -> list[float]:
    """Train on random images; returns the losses."""
    lightning.seed_everything(0, verbose=False)
    data = TensorDataset(torch.rand(8 * steps, 3, 16, 16), torch.arange(8 * steps) % 10)
    module = Classifier()
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[Mixing(method, num_classes=10)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(data, batch_size=8))
    return module.losses


if __name__ == "__main__":
    print([round(loss, 3) for loss in train()])
