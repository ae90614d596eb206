"""Class activation maps: where a classifier that saw image labels alone finds the defect.

With H_k the 128 activations of the head, each a small image, and w_k and b the weights and the bias
of its linear layer,

    M = Σ_k w_k H_k        s = pool(M) + b.

With global average pooling (GAP) as the pool this is the published head, s = Σ_k w_k · mean(H_k)
+ b, because the mean and the sum over k commute. The maximum, which does not commute, is taken of M
itself, so that map and score agree there too.

Sources: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, eq. 1 and
2; the slides' Modification 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CLS_CHANNELS = 128


class CamHead(nn.Module):
    """Adapted features (B, C, h, w) to the activation map (B, 1, h, w) and score logits (B,).

    Args:
        channels: C.
        pooling: "mean", "max" or "mixed"; see `ModelConfig.cam_pooling`.
    """

    def __init__(self, channels: int, pooling: str):
        super().__init__()
        self.pooling = pooling
        self.conv = nn.Sequential(
            nn.Conv2d(channels, CLS_CHANNELS, kernel_size=5, padding=2),
            nn.BatchNorm2d(CLS_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.fc = nn.Linear(CLS_CHANNELS, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        cam = self.activation(self.conv(features))
        return cam, self.score(cam)

    def activation(self, hidden: Tensor) -> Tensor:
        """The convolution block's output (B, 128, h, w) to M (B, 1, h, w)."""
        return torch.einsum("bkhw,ok->bohw", hidden, self.fc.weight)

    def score(self, cam: Tensor) -> Tensor:
        """M (B, 1, h, w) to score logits (B,)."""
        return pool(cam, self.pooling) + self.fc.bias


def pool(cam: Tensor, pooling: str) -> Tensor:
    """A map (B, 1, h, w) to one number an image, (B,)."""
    if pooling == "mean":
        return cam.mean((1, 2, 3))
    if pooling == "max":
        return cam.amax((1, 2, 3))
    return (cam.mean((1, 2, 3)) + cam.amax((1, 2, 3))) / 2
