"""The forward pass of a training step, as the method is stated.

It builds the upscaled features, duplicates the batch and sends all of it through the heads. Its
twin, `fast.training_step`, gives the same logits and gradients (tests/training/test_step.py) with
less arithmetic, but more and smaller operations: `fit` takes the one that is faster.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from ssn_lib.models.supersimplenet import AdaptedDetector
from ssn_lib.noise.perturbed import Logits
from ssn_lib.noise.source import Source


def plain(
    model: AdaptedDetector,
    layers: list[Tensor],
    pixels: Tensor,
    source: Source,
    generator: torch.Generator,
    compute_dtype: torch.dtype,
) -> Logits:
    """The plain form of a training step: the published operations one by one.

    Args:
        layers: the backbone's outputs for a batch, (B, C_l, h_l, w_l).
        pixels: (M,) those that get noise, positions in (2B, h, w), flattened.
        source: of the noise.
        generator: sole source of the noise's randomness, on the batch's device.
        compute_dtype: of the matrix products and of what lies between them.

    Source: Rolih et al., ICPR 2024, section 3.
    """
    low = compute_dtype in (torch.float16, torch.bfloat16)
    with torch.autocast(pixels.device.type, compute_dtype) if low else nullcontext():
        features = model.upscale(layers)
        adapted = model.adaptor(features)
        rows = adapted.permute(0, 2, 3, 1)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        noise = source(lambda: rows, pixels, generator)

        def perturbed(images: Tensor) -> Tensor:
            """(B, C, h, w), twice, with the noise at its pixels: (2B, C, h, w)."""
            both = torch.cat((images, images)).permute(0, 2, 3, 1)
            flat = both.flatten(0, 2).index_add(0, pixels, noise.values.to(both.dtype))
            return flat.view(both.shape).permute(0, 3, 1, 2)

        map_logits, score = model.heads(perturbed(features), perturbed(adapted))
    return Logits(map_logits.to(rows.dtype), score.to(rows.dtype), noise.power, lambda: rows)
