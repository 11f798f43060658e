"""Pre-activation residual networks for small images: PreActResNet-18 and Wide ResNets.

He et al. 2016, "Identity Mappings in Deep Residual Networks" (arXiv:1603.05027); Zagoruyko and
Komodakis 2016, "Wide Residual Networks" (arXiv:1605.07146).
"""

import torch.nn.functional as F
from torch import Tensor, nn


class PreActBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, and a shortcut.

    If shapes change, the shortcut is a 1×1 convolution after the first batch norm and ReLU.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        y = F.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        residual: Tensor = self.conv2(F.relu(self.bn2(self.conv1(y))))
        return residual + skip


class PreActResNet(nn.Module):
    """Stages of pre-activation blocks, global average pooling and a linear layer.

    The first stage works at full resolution; each further one halves it.

    Args:
        blocks: number of blocks in each stage.
        channels: number of channels of the stem and of each stage.
        final_norm: batch norm and ReLU after the last stage, as in Wide ResNets. The CIFAR
            PreActResNet-18 of the mixup papers' code has none.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        channels: tuple[int, ...],
        num_classes: int,
        *,
        final_norm: bool,
    ) -> None:
        super().__init__()
        stem, *widths = channels
        self.conv1 = nn.Conv2d(3, stem, 3, 1, 1, bias=False)
        inputs = stem
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            strides = [1 if number == 1 else 2, *[1] * (count - 1)]
            stage = nn.Sequential()
            for stride in strides:
                stage.append(PreActBlock(inputs, width, stride))
                inputs = width
            setattr(self, f"layer{number}", stage)
        self.stages = len(blocks)
        self.norm = nn.BatchNorm2d(inputs) if final_norm else None
        self.fc = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → logits (B, num_classes)."""
        x = self.conv1(x)
        for number in range(1, self.stages + 1):
            x = getattr(self, f"layer{number}")(x)
        if self.norm is not None:
            x = F.relu(self.norm(x))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def preact_resnet18(num_classes: int) -> PreActResNet:
    """PreActResNet-18 for small images, 11.2 million parameters."""
    return PreActResNet((2, 2, 2, 2), (64, 64, 128, 256, 512), num_classes, final_norm=False)


def wide_resnet(depth: int, width: int, num_classes: int) -> PreActResNet:
    """WRN-``depth``-``width`` without dropout; ``depth`` must be 6n + 4."""
    blocks, rest = divmod(depth - 4, 6)
    if rest or blocks < 1:
        raise ValueError(f"the depth of a wide ResNet must be 6n + 4, not {depth}")
    channels = (16, 16 * width, 32 * width, 64 * width)
    return PreActResNet((blocks,) * 3, channels, num_classes, final_norm=True)
