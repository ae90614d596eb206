"""The forward pass of a training step: the method as it is stated, and its fast twin.

Both give the same logits and gradients (tests/training/test_step.py). The plain form is the one to
read. It builds the upscaled features, duplicates the batch and sends all of it through the heads.
The split form (`fast.training_step`) never builds the features and computes once what both copies
share: several times less arithmetic, but more and smaller operations. On a processor the split form
is always faster; on a GPU it depends on the model and the precision, so `fit` measures both there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor

from ssn_lib.fast import training_step
from ssn_lib.fast.interpolation import Upscaled
from ssn_lib.models.supersimplenet import SuperSimpleNet
from ssn_lib.noise.source import Source
from ssn_lib.training.batches import Batch


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


Form = Callable[[SuperSimpleNet, Batch, Source, torch.Generator, torch.dtype], Logits]


def plain(
    model: SuperSimpleNet,
    batch: Batch,
    source: Source,
    generator: torch.Generator,
    products: torch.dtype,
) -> Logits:
    """The published operations one by one.

    Args:
        model: any with an adaptor.
        source: of the noise.
        generator: sole source of the noise's randomness, on the batch's device.
        products: what products of matrices are computed in; what lies between them, too.

    Source: Rolih et al., ICPR 2024, section 3.
    """
    low = products in (torch.float16, torch.bfloat16)
    with torch.autocast(batch.pixels.device.type, products) if low else nullcontext():
        features = model.upscale(batch.layers)
        adapted = model.adaptor(features)
        rows = adapted.permute(0, 2, 3, 1)
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        noise = source(lambda: rows, batch.pixels, generator)

        def perturbed(images: Tensor) -> Tensor:
            """(B, C, h, w), twice, with the noise at its pixels."""
            both = torch.cat((images, images)).permute(0, 2, 3, 1)
            flat = both.flatten(0, 2).index_add(0, batch.pixels, noise.values.to(both.dtype))
            return flat.view(both.shape).permute(0, 3, 1, 2)

        map_logits, score = model.heads(perturbed(features), perturbed(adapted))
    return Logits(map_logits.to(rows.dtype), score.to(rows.dtype), noise.power, lambda: rows)


def split_form(
    model: SuperSimpleNet,
    batch: Batch,
    source: Source,
    generator: torch.Generator,
    products: torch.dtype,
) -> Logits:
    """As `plain`, by exact algebra; what lies between the products is float32."""
    config = model.config
    features = Upscaled(batch.layers, config.upscale, config.align_corners, products)
    adapted = training_step.adapt(model.adaptor, features)
    noise = source(adapted.values, batch.pixels, generator)
    map_logits, score = training_step.heads(model, features, adapted, batch.pixels, noise.values)
    return Logits(map_logits, score, noise.power, adapted.values)
