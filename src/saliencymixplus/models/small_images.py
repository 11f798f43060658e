"""Networks for small images, by name: they keep the full resolution in the first stage.

ResNet: He et al. 2016 (arXiv:1512.03385), section 4.2. Pre-activation ResNet: He et al. 2016,
"Identity Mappings in Deep Residual Networks" (arXiv:1603.05027). Wide ResNet: Zagoruyko and
Komodakis 2016 (arXiv:1605.07146). ResNeXt: Xie et al. 2017 (arXiv:1611.05431), section 5.3.
"""

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn


class SmallImageNetwork(nn.Module):
    """A 3×3 stem, stages of blocks, global average pooling and a linear layer.

    Each stage but the first halves the resolution.

    Args:
        block: makes a block with (inputs, outputs, stride).
        blocks: number of blocks in each stage.
        channels: number of channels of the stem and of each stage.
        stem_norm: batch norm and ReLU after the stem.
        final_norm: batch norm and ReLU after the last stage.
    """

    def __init__(
        self,
        block: Callable[[int, int, int], nn.Module],
        blocks: tuple[int, ...],
        channels: tuple[int, ...],
        num_classes: int,
        *,
        stem_norm: bool = False,
        final_norm: bool = False,
    ) -> None:
        super().__init__()
        inputs, *widths = channels
        self.conv1 = nn.Conv2d(3, inputs, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inputs) if stem_norm else None
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            stage = nn.Sequential()
            for stride in (1 if number == 1 else 2, *[1] * (count - 1)):
                stage.append(block(inputs, width, stride))
                inputs = width
            setattr(self, f"layer{number}", stage)
        self.stages = len(blocks)
        self.norm = nn.BatchNorm2d(inputs) if final_norm else None
        self.fc = nn.Linear(inputs, num_classes)

    def initialise(self) -> None:
        """Initialise the convolutions as in He et al. 2015, by their outputs."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → logits (B, num_classes)."""
        x = self.conv1(x)
        if self.bn1 is not None:
            x = F.relu(self.bn1(x))
        for number in range(1, self.stages + 1):
            x = getattr(self, f"layer{number}")(x)
        if self.norm is not None:
            x = F.relu(self.norm(x))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


class Block(nn.Module):
    """Two 3×3 convolutions and a parameter-free shortcut ("option A")."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.extra = outputs - inputs

    def shortcut(self, x: Tensor) -> Tensor:
        """Subsample and append zero channels: (B, C, H, W) → (B, C + extra, ⌈H/s⌉, ⌈W/s⌉)."""
        if self.stride == 1 and self.extra == 0:
            return x
        # Not a slice: its gradient, and so every sum with it, would not be channels-last.
        x = F.avg_pool2d(x, kernel_size=1, stride=self.stride)
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class CifarResNet(SmallImageNetwork):
    """ResNet whose ``depth`` is 6n + 2: three stages of n blocks with 16, 32 and 64 channels."""

    def __init__(self, depth: int, num_classes: int) -> None:
        blocks = ((depth - 2) // 6,) * 3
        super().__init__(Block, blocks, (16, 16, 32, 64), num_classes, stem_norm=True)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)


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


class PreActResNet(SmallImageNetwork):
    """Stages of pre-activation blocks.

    Wide ResNets have a final norm, the PreActResNet-18 of the mixup papers' code has none.
    """

    def __init__(
        self, blocks: tuple[int, ...], channels: tuple[int, ...], num_classes: int, final_norm: bool
    ) -> None:
        super().__init__(PreActBlock, blocks, channels, num_classes, final_norm=final_norm)
        self.initialise()


def wide_resnet(depth: int, width: int, num_classes: int) -> PreActResNet:
    """WRN-``depth``-``width`` without dropout; ``depth`` is 6n + 4."""
    channels = (16, 16 * width, 32 * width, 64 * width)
    return PreActResNet(((depth - 4) // 6,) * 3, channels, num_classes, final_norm=True)


class CifarResNeXt(SmallImageNetwork):
    """ResNeXt-29: three stages of three bottlenecks.

    Args:
        groups: number of groups (cardinality) of the 3×3 convolutions.
        width: channels per group in the first stage; doubles with each stage.
    """

    def __init__(self, groups: int, width: int, num_classes: int) -> None:
        # torchvision's models take a second or two to import.
        from torchvision.models.resnet import Bottleneck

        def bottleneck(inputs: int, outputs: int, stride: int) -> nn.Module:
            shortcut = None
            if stride != 1 or inputs != outputs:
                shortcut = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )
            planes = outputs // Bottleneck.expansion
            block: nn.Module = Bottleneck(inputs, planes, stride, shortcut, groups, width)
            return block

        super().__init__(bottleneck, (3,) * 3, (64, 256, 512, 1024), num_classes, stem_norm=True)
        self.initialise()


# Each takes the number of classes, and always has the small stem.
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    **{f"resnet{depth}": partial(CifarResNet, depth) for depth in (8, 20, 32, 44, 56, 110)},
    "preact_resnet18": partial(
        PreActResNet, (2, 2, 2, 2), (64, 64, 128, 256, 512), final_norm=False
    ),
    "wrn16_8": partial(wide_resnet, 16, 8),
    "wrn28_8": partial(wide_resnet, 28, 8),
    "wrn28_10": partial(wide_resnet, 28, 10),
    "resnext29_32x4d": partial(CifarResNeXt, 32, 4),
}
