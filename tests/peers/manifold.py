"""Manifold Mixup: the forward pass mixed at a recorded layer, its loss and two gradients."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saliencymixplus.mixing.methods import manifold
from tests.peers.common import Case, close, equal, tensor


class Block(nn.Module):
    """A pre-activation block as the README describes it."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(x).relu()
        skip = self.shortcut(out) if hasattr(self, "shortcut") else x
        return self.conv2(self.bn2(self.conv1(out)).relu()) + skip


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 2, 3, 1, 1, bias=False)
        self.layer1 = nn.Sequential(Block(2, 2, 1))
        self.layer2 = nn.Sequential(Block(2, 4, 2))
        self.layer3 = nn.Sequential(Block(4, 8, 2))
        self.layer4 = nn.Sequential(Block(8, 16, 2))
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return self.linear(F.avg_pool2d(x, 4).flatten(1))


def check(case: Case) -> None:
    images, labels, perm = tensor(case, "images"), tensor(case, "labels"), tensor(case, "perm")
    model = Network().train()
    weights = {k.removeprefix("model."): tensor(case, k) for k in case if k.startswith("model.")}
    missing = model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys
    assert all("running" in k or "num_batches" in k for k in missing.missing_keys)
    lam = tensor(case, "lam0").float()
    stages = [nn.Identity(), model.layer1, model.layer2]
    chosen = [lam if layer == int(case["layer"]) else torch.ones(1) for layer in range(3)]
    seen: list[Tensor] = []
    with manifold.mixing_after(stages, chosen, perm):
        watch = stages[int(case["layer"])].register_forward_hook(
            lambda module, inputs, output: seen.append(output)
        )
        logits = model(stages[0](images))
        watch.remove()
    assert not any(module._forward_hooks for module in model.modules()), "hooks are left behind"
    close(seen[0][:2], case["hidden_mixed_first2"], "hidden_mixed_first2")
    if "hidden_shape" in case and int(case["layer"]):
        equal(torch.tensor(seen[0].shape), case["hidden_shape"], "hidden_shape")
    close(logits, case["logits"], "logits")
    one_hot = F.one_hot(labels, 10).float()
    target = lam * one_hot + (1 - lam) * one_hot[perm]
    close(target, case["target"], "target")
    loss = F.binary_cross_entropy(logits.softmax(1), target)
    close(loss, case["loss"], "loss")
    loss.backward()
    for name in ("linear.weight", "conv1.weight"):
        close(model.get_parameter(name).grad, case[f"grad.{name}"], name)
    for key in case:
        if key.startswith("after."):
            close(model.get_buffer(key.removeprefix("after.")), case[key], key)
