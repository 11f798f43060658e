"""Two ways to use the mixers in plain PyTorch: in the training loop, and in the data loader."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from saliencymixplus import mixing


def train(steps: int = 4) -> list[float]:
    """Train a small network on random images; returns the losses."""
    torch.manual_seed(0)
    data = TensorDataset(torch.rand(64, 3, 16, 16), torch.randint(0, 10, (64,)))
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    model(torch.rand(1, 3, 16, 16))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []

    # In the loop: any method, also those that take saliency from the network being trained.
    # `backward` does the saliency pass, the mixing, the forward pass and both backward passes.
    mixer = mixing.create("saliencymixplus-published")
    for images, labels in DataLoader(data, batch_size=64 // steps, shuffle=True):
        optimizer.zero_grad()
        losses.append(mixing.backward(model, mixer, images, labels).loss.item())
        optimizer.step()

    # In the data loader: methods that need no network.
    collate = mixing.collate(mixing.create("cutmix", box="sample"))
    for mixed in DataLoader(data, batch_size=64 // steps, shuffle=True, collate_fn=collate):
        optimizer.zero_grad()
        loss = mixed.loss(model(mixed.images))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    print([round(loss, 3) for loss in train()])
