"""What a training step is, whichever form computes it: a duplicated batch, noise added, logits out.

`training.step` is the form as published, `fast.training_step` its twin of less arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ssn_lib.models.supersimplenet import AdaptedDetector
from ssn_lib.noise.source import Source


class Logits(NamedTuple):
    """What the forward pass gives.

    Attributes:
        map: (2B, 1, h, w).
        score: (2B,).
        power: mean square of the noise, see `noise.source.Noise`.
        adapted: makes the features that the noise is added to, (B, h, w, C).
    """

    map: Tensor
    score: Tensor
    power: Tensor
    adapted: Callable[[], Tensor]


# Model, stage outputs, noisy pixels, source, its randomness, precision: see `training.step.plain`.
Form = Callable[
    [AdaptedDetector, list[Tensor], Tensor, Source, torch.Generator, torch.dtype], Logits
]
