"""A local view beside the decoder's: each place by itself, and how wrong is usual there.

The decoder of `reconstruction` sees a place among what lies around it. That finds what does not
belong there, and judges a rough but harmless surface as hard as a crack, since neither can be
foretold. An autoencoder of single places sees no surroundings; it learns which features occur at
all, and, from what is left of a place behind its bottleneck, how large its own error usually is
there. With e the share of the layers' variance that it does not give back, σ² what it expects of
e, and σ̄² the mean of σ² over the training images,

    r = e / (σ² + σ̄²)        M = z(log Σ_l e_l) + w · z(log r):

the map, where Σ_l e_l is the decoder's, z subtracts the mean over the places of sound images and
divides by their standard deviation, and w is `config.LOCAL_WEIGHT`.

Sources: an autoencoder of single places by 1×1 convolutions, Shi et al., DFR, Neurocomputing 424,
2021; an expected error of its own, Kendall and Gal, What Uncertainties Do We Need, NeurIPS 2017;
the Itakura-Saito distance, by which it is learned (`LocalView.loss`), Itakura and Saito, 1968.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ssn_lib.config import LOCAL_WEIGHT
from ssn_lib.models.reconstruction import StandardScaler, convolution

POOL = 3  # places over whose squares features are averaged first, as PatchCore does it
# In training every second place of every second row is looked at: neighbours, averaged over the
# same places, say much the same, and four times as many double the time of a step.
STRIDE = 2
LEAST = 1e-6  # error, so that it has a logarithm
# Weight of the loss that teaches the expected error. Its gradients are long while that error is
# still far off: at a weight of 1 they would be most of the gradient, which is clipped as a whole.
SHARE = 0.1


class LocalView(nn.Module):
    """The decoder's map and the layers to both views' map M (B, 1, h_1, w_1).

    Args:
        standards: the decoder's: of C_l channels each, the finest layer first.
        width: hidden channels; half of them pass the bottleneck.
    """

    def __init__(self, standards: Sequence[StandardScaler], width: int):
        super().__init__()
        self.standards = nn.ModuleList(standards)
        self.channels = [len(standard.mean) for standard in standards]
        # Moving averages of a training's last batches: of σ², and what z subtracts and divides by.
        # Before the convolutions, as `fuse` folds a BatchNorm that follows one.
        self.register_buffer("usual", torch.ones(()))
        self.scale = nn.BatchNorm2d(2, affine=False)
        self.hidden = nn.Sequential(
            convolution(sum(self.channels), width, kernel=1),
            convolution(width, width // 2, kernel=1),
            convolution(width // 2, width, kernel=1),
        )
        self.out = nn.Conv2d(width, sum(self.channels), kernel_size=1)
        self.expected = nn.Conv2d(width, 1, kernel_size=1)

    def forward(self, context: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """See the class.

        Args:
            context: the decoder's map Σ_l e_l, (B, 1, h_1, w_1).
            layers: (B, C_l, h_l, w_l), not standardised.
        """
        return self._both(context, *self.errors(layers))

    def errors(self, layers: Sequence[Tensor], stride: int = 1) -> tuple[Tensor, Tensor]:
        """e and σ², (B, 1, h_1, w_1), or those of every `stride`-th place of both sides."""
        features = self._features(layers, stride)
        hidden = self.hidden(torch.cat(features, dim=1))
        rebuilt = self.out(hidden).float().split(self.channels, dim=1)
        error = torch.stack(
            [
                standard.squared(back.to(feature) - feature)
                for standard, back, feature in zip(self.standards, rebuilt, features, strict=True)
            ]
        ).sum(0)
        # What is expected learns from the hidden values, and does not bend them.
        return error, self.expected(hidden.detach()).to(error).exp()

    def loss(self, context: Tensor, layers: Sequence[Tensor]) -> Tensor:
        """mean(e) and a share of the Itakura-Saito distance of e from σ², q − log q − 1 of their
        quotient q, which is 0 where they agree; of every `STRIDE`-th place of both sides. In
        training mode, also move the averages.

        Args:
            context, layers: of sound images, as for `forward`.
        """
        error, expected = self.errors(layers, STRIDE)
        if self.training:
            with torch.no_grad():
                self.usual.lerp_(expected.mean(), self.scale.momentum)
                self._both(context[..., ::STRIDE, ::STRIDE], error, expected)
        quotient = (error.detach() / expected).clamp(min=LEAST)
        return error.mean() + SHARE * (quotient - quotient.log() - 1).mean()

    def _features(self, layers: Sequence[Tensor], stride: int) -> list[Tensor]:
        """The layers, standardised and averaged over neighbours, on the finest one's grid, or every
        `stride`-th place of it."""
        grid, features = layers[0].shape[-2:], []
        for standard, layer in zip(self.standards, layers, strict=True):
            feature = F.avg_pool2d(standard(layer), POOL, 1, POOL // 2, count_include_pad=False)
            if feature.shape[-2:] != grid:
                feature = F.interpolate(feature, size=grid, mode="bilinear", align_corners=False)
            features.append(feature[..., ::stride, ::stride])
        return features

    def _both(self, context: Tensor, error: Tensor, expected: Tensor) -> Tensor:
        """M; in training mode `scale` takes the batch's statistics, and remembers them."""
        both = torch.cat((context, error / (expected + self.usual)), dim=1)
        # A network may be in 16 bits as a whole; its errors are in 32.
        logs = both.clamp(min=LEAST).log().to(self.scale.running_mean.dtype)
        decoder, local = self.scale(logs).split(1, dim=1)
        return decoder + LOCAL_WEIGHT * local
