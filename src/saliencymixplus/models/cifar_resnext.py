"""ResNeXt for small images (Xie et al. 2017, arXiv:1611.05431, section 5.3)."""

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck


class CifarResNeXt(nn.Module):
    """ResNeXt-29: three stages of three bottlenecks.

    Args:
        groups: number of groups (cardinality) of the 3×3 convolutions.
        width: channels per group in the first stage; doubles with each stage.
    """

    def __init__(self, groups: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs, stages = 64, []
        for number, planes in enumerate((64, 128, 256), start=1):
            stage = nn.Sequential()
            for block in range(3):
                stride = 2 if number > 1 and block == 0 else 1
                outputs = planes * Bottleneck.expansion
                shortcut = None
                if stride != 1 or inputs != outputs:
                    shortcut = nn.Sequential(
                        nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                    )
                stage.append(Bottleneck(inputs, planes, stride, shortcut, groups, width))
                inputs = outputs
            stages.append(stage)
        self.layer1, self.layer2, self.layer3 = stages
        self.fc = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, 3, H, W) → logits (B, num_classes)."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits
