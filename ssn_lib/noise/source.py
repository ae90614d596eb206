"""What every source of noise is: adapted features in, noise out. Training only.

A new source is a module of this folder with a class under `@register("its name")`, and that name
among those that `NoiseConfig.source` may have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ssn_lib.config import NoiseConfig
from ssn_lib.models.supersimplenet import Detector

SOURCES: dict[str, type[Source]] = {}  # by name; filled by `register`
Kind = TypeVar("Kind", bound="type[Source]")


def register(name: str) -> Callable[[Kind], Kind]:
    """Make the class under it the source of that name."""

    def add(kind: Kind) -> Kind:
        SOURCES[name] = kind
        return kind

    return add


class Noise(NamedTuple):
    """What a source gives.

    Attributes:
        values: (M, C), for the pixels asked for.
        power: mean square of the noise: of every pixel's for a generator, otherwise of the M asked
            for.
    """

    values: Tensor
    power: Tensor


class UpdateRule(Protocol):
    """How a source that learns and the detector are trained against each other.

    Attributes:
        optimiser: of the source's weights.
    """

    optimiser: torch.optim.Optimizer

    def backward_and_update(
        self, loss: Tensor, power: Tensor, batch: int, batch_of_training: int
    ) -> bool:
        """Run the backward pass of a step and, where it is due, the source's own optimiser step.
        The detector has no gradients before.

        Args:
            loss: the detector's.
            power: mean square of the noise.
            batch: numbered from 1 in the epoch.
            batch_of_training: numbered from 1 in the training.

        Returns:
            Whether the detector is to move by the gradients that it now has.
        """


@register("none")
class Source(nn.Module):
    """Adapted features in, noise out. This class itself, for trainings without noise, gives none.

    Args:
        config: which noise.
        channels: C of the features.
    """

    def __init__(self, config: NoiseConfig, channels: int):
        super().__init__()
        self.config, self.channels = config, channels

    @classmethod
    def of(cls, config: NoiseConfig, model: Detector) -> Source:
        """The source of a model's noise."""
        return cls(config, sum(model.backbone.channels))

    def rule(self, detector: list[nn.Parameter]) -> UpdateRule | None:
        """How it learns against a detector of those weights; None for what learns nothing."""
        return None

    def forward(
        self, features: Callable[[], Tensor], pixels: Tensor, generator: torch.Generator
    ) -> Noise:
        """Noise for some pixels of a duplicated batch.

        Args:
            features: makes the adapted features of the batch before it is duplicated, (B, h, w, C).
                A function, because Gaussian noise of an absolute σ needs none, and building them
                costs.
            pixels: (M,) positions in (2B, h, w), flattened.
            generator: sole source of randomness.
        """
        raise NotImplementedError

    @torch.no_grad()
    def std(self, features: Callable[[], Tensor]) -> float | Tensor:
        """σ of the Gaussian noise, in the features' units."""
        if self.config.std_unit == "absolute":
            return self.config.std
        return self.config.std * features().std()  # on its device, which need not wait


def mean_square(noise: Tensor) -> Tensor:
    """Of all values; 0 where there are none."""
    return noise.square().sum() / max(1, noise.numel())
