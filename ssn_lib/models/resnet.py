"""The residual networks that serve as backbones, with torchvision's names and weights.

They are torchvision's (a test holds them against it), so that training and inference need PyTorch
alone: a machine with a GPU often has nothing else.

Sources: He et al., Deep Residual Learning, CVPR 2016; Zagoruyko and Komodakis, Wide Residual
Networks, BMVC 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512)  # of the four stages


@dataclass(frozen=True)
class Architecture:
    """What tells one residual network from another.

    Attributes:
        blocks: in each of the four stages.
        bottleneck: blocks of three convolutions, of which the middle one is narrow.
        widening: of that middle one.
        file: of its IMAGENET1K_V1 weights, as torchvision names it, with the start of its SHA-256.
    """

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    file: str
    widening: int = 1


RESNETS = {
    "resnet18": Architecture((2, 2, 2, 2), False, "resnet18-f37072fd.pth"),
    "resnet34": Architecture((3, 4, 6, 3), False, "resnet34-b627a593.pth"),
    "resnet50": Architecture((3, 4, 6, 3), True, "resnet50-0676ba61.pth"),
    "resnet101": Architecture((3, 4, 23, 3), True, "resnet101-63fe2227.pth"),
    "wide_resnet50_2": Architecture((3, 4, 6, 3), True, "wide_resnet50_2-95faca4d.pth", 2),
    "wide_resnet101_2": Architecture((3, 4, 23, 3), True, "wide_resnet101_2-32ee1156.pth", 2),
}


def stem() -> nn.Sequential:
    """(B, 3, H, W) to (B, 64, H / 4, W / 4)."""
    return nn.Sequential(
        nn.Conv2d(3, WIDTHS[0], kernel_size=7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(WIDTHS[0]),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
    )


def stage(name: str, number: int) -> nn.Sequential:
    """Stage 1 to 4 of a network: torchvision's `layer1` to `layer4`."""
    network = RESNETS[name]
    expansion = 4 if network.bottleneck else 1
    before = WIDTHS[0] if number == 1 else WIDTHS[number - 2] * expansion
    width, after = WIDTHS[number - 1], WIDTHS[number - 1] * expansion
    blocks = []
    for index in range(network.blocks[number - 1]):
        stride = 2 if index == 0 and number > 1 else 1
        inputs = after if index else before
        if network.bottleneck:
            blocks.append(Bottleneck(inputs, width * network.widening, after, stride))
        else:
            blocks.append(BasicBlock(inputs, after, stride))
    return nn.Sequential(*blocks)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.conv1 = _conv(before, after, 3, stride)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv(after, after, 3)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = _shortcut(before, after, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, h, w) to (B, after, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut; the middle one takes the stride."""

    def __init__(self, before: int, width: int, after: int, stride: int):
        super().__init__()
        self.conv1 = _conv(before, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = _conv(width, after, 1)
        self.bn3 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(before, after, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, before, h, w) to (B, after, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


def _conv(before: int, after: int, side: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False)


def _shortcut(before: int, after: int, stride: int) -> nn.Sequential | None:
    if before == after and stride == 1:
        return None
    return nn.Sequential(_conv(before, after, 1, stride), nn.BatchNorm2d(after))
