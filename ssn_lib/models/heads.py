"""What is trained of SuperSimpleNet: the adaptor, the segmentation and the classification head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssn_lib.models.cam import CLS_CHANNELS

SEG_HIDDEN = 1024
LEAKY_SLOPE = 0.2


class SegmentationHead(nn.Sequential):
    """(B, C, h, w) to map logits (B, 1, h, w), pixel by pixel."""

    def __init__(self, channels: int):
        super().__init__(
            nn.Conv2d(channels, SEG_HIDDEN, kernel_size=1),
            nn.BatchNorm2d(SEG_HIDDEN),
            nn.LeakyReLU(LEAKY_SLOPE, inplace=True),
            nn.Conv2d(SEG_HIDDEN, 1, kernel_size=1, bias=False),
        )


class ClassificationHead(nn.Module):
    """Features (B, C, h, w) and map logits (B, 1, h, w) to score logits (B,)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(channels + 1, CLS_CHANNELS, kernel_size=5, padding=2),
            nn.BatchNorm2d(CLS_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(2 * CLS_CHANNELS + 2, 1)

    def forward(self, features: Tensor, map_logits: Tensor) -> Tensor:
        """See the class."""
        hidden = self.conv(torch.cat((features, map_logits), dim=1))
        return self.score(hidden, map_logits)

    def score(self, hidden: Tensor, map_logits: Tensor) -> Tensor:
        """What the convolution block made, (B, 128, h, w), and map logits to score logits (B,)."""
        pooled = [
            pool for part in (hidden, map_logits) for pool in (part.amax((2, 3)), part.mean((2, 3)))
        ]
        return self.fc(torch.cat(pooled, dim=1))[:, 0]


def make_adaptor(kind: str, channels: int) -> nn.Module:
    """(B, C, h, w) to the same shape: "linear" or "nonlinear", as in `ModelConfig.adaptor`."""
    if kind == "linear":
        return nn.Conv2d(channels, channels, kernel_size=1)
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size=3, padding=1),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
    )
