"""Mixing with Hugging Face's ``Trainer``: a collator that mixes, and a loss for soft labels."""

import tempfile
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from saliencymixplus.mixing import collate, create


class MixingCollator:
    """Stacks samples ``{"pixel_values", "labels"}`` and mixes them; labels become soft labels.

    Args:
        method: any method or preset that needs no network.
        num_classes: length of the soft labels.
        options: options of the method.
    """

    def __init__(self, method: str, num_classes: int, **options: Any) -> None:
        self.collate = collate(create(method, **options))
        self.num_classes = num_classes

    def __call__(self, samples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        mixed = self.collate(samples)
        return {"pixel_values": mixed.images, "labels": mixed.soft_labels(self.num_classes)}


def soft_cross_entropy(
    outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None
) -> Tensor:
    """The loss for ``Trainer(compute_loss_func=…)``: image models expect class indices.

    ``num_items_in_batch`` counts the entries of ``labels`` (B, K) over all accumulated batches.
    """
    items = labels.numel() if num_items_in_batch is None else num_items_in_batch
    loss = F.cross_entropy(outputs["logits"], labels, reduction="sum")
    return loss * labels.shape[1] / items


class Pictures(Dataset[dict[str, Any]]):
    """Random images."""

    def __init__(self, count: int) -> None:
        self.images = torch.rand(count, 3, 16, 16)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": self.images[index], "labels": index % 10}


def train(steps: int = 2) -> list[float]:
    """Train a tiny vision transformer; returns the losses."""
    torch.manual_seed(0)
    config = ViTConfig(
        image_size=16,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=10,
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=ViTForImageClassification(config),
            args=TrainingArguments(
                folder,
                max_steps=steps,
                per_device_train_batch_size=8,
                remove_unused_columns=False,
                logging_steps=1,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
                use_cpu=True,
            ),
            train_dataset=Pictures(8 * steps),
            data_collator=MixingCollator("cutmix", num_classes=10),
            compute_loss_func=soft_cross_entropy,
        )
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


if __name__ == "__main__":
    print([round(loss, 3) for loss in train()])
