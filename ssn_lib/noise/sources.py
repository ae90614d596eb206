"""Where the noise of synthetic anomalies comes from: several sources behind one interface.

Training only: none of this is part of the network that is kept and run.
"""

from __future__ import annotations

import importlib
import pkgutil

import torch
from torch import Tensor

from ssn_lib import machine, noise
from ssn_lib.config import NoiseConfig
from ssn_lib.models.supersimplenet import AdaptedDetector, Detector
from ssn_lib.noise.source import SOURCES, Source

for _module in pkgutil.iter_modules(noise.__path__):  # each registers the sources that it holds
    importlib.import_module(f"{noise.__name__}.{_module.name}")


def make_source(config: NoiseConfig, model: Detector, seed: int) -> Source:
    """The source that a configuration names.

    Args:
        config: names it.
        model: whose adapted features get the noise.
        seed: of the weights that the source starts with, if it learns.
    """
    with machine.seeded(seed):
        return SOURCES[config.source].of(config, model)


@torch.no_grad()
def noise_over_images(
    source: Source, model: AdaptedDetector, images: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Noise over whole images, and the features it is added to.

    Args:
        images: normalised, (B, 3, H, W).

    Returns:
        Noise and adapted features, (B, h, w, C) each, on the CPU.
    """
    adapted = model.adaptor(model.features(images)).permute(0, 2, 3, 1)
    pixels = torch.arange(adapted[..., 0].numel(), device=adapted.device)
    values = source(lambda: adapted, pixels, generator).values
    return values.view(adapted.shape).cpu(), adapted.cpu()
