"""The published losses, on logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ssn_lib.config import FOCAL_GAMMA, MARGIN


def truncated_l1(map_logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Hinge loss on the map: normal pixels below −0.5, anomalous ones above 0.5.

    The mean over the normal pixels plus the mean over the anomalous ones; an absent kind counts 0.

    Args:
        map_logits, masks: (B, 1, h, w); masks 0/1.
        weights: of the pixels, likewise; one of weight 0 is not counted in the mean.

    Source: Liu et al., SimpleNet, CVPR 2023, eq. 5, with the sign turned: anomalous is positive.
    Weights: Rolih et al., JIMS 2025; a mean is divided by the number of pixels, not their weights.
    """
    normal = (map_logits + MARGIN).clamp(min=0) * (1 - masks)
    anomalous = (MARGIN - map_logits).clamp(min=0) * masks
    count = masks.sum()
    total = torch.full_like(count, masks.numel())  # no copy from the host, which a GPU waits for
    if weights is not None:
        normal, anomalous = normal * weights, anomalous * weights
        counted = weights > 0
        count, total = (masks * counted).sum(), counted.sum()
    return normal.sum() / (total - count).clamp(min=1) + anomalous.sum() / count.clamp(min=1)


def focal(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Focal loss with γ = 4, without class weights: mean of (1 − p_t)^γ · (−log p_t).

    Args:
        logits, targets: any one shape; targets 0/1.
        weights: as in `truncated_l1`.

    Source: Lin et al., Focal Loss, ICCV 2017, eq. 4. Computed on logits: the public code takes the
    logarithm of a float32 sigmoid, which loses what small probabilities say.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    wrong = torch.sigmoid(torch.where(targets > 0.5, -logits, logits))  # 1 − p_t
    losses = wrong**FOCAL_GAMMA * cross_entropy
    if weights is None:
        return losses.mean()
    return (losses * weights).sum() / (weights > 0).sum().clamp(min=1)


def detection_loss(
    map_logits: Tensor,
    score_logits: Tensor,
    masks: Tensor,
    labels: Tensor,
    with_focal: bool,
    weights: Tensor | None = None,
) -> Tensor:
    """The whole loss of a duplicated batch: truncated L1 on the map and, in SSN, focal losses.

    Args:
        map_logits, masks: (2B, 1, h, w).
        score_logits, labels: (2B,).
        with_focal: False is SimpleNet's loss, on the map alone.
        weights: of the map's pixels, (2B, 1, h, w), 0 where the truth is unknown.

    Source: Rolih et al., ICPR 2024, eq. 5.
    """
    loss = truncated_l1(map_logits, masks, weights)
    if with_focal:
        loss = loss + focal(map_logits, masks, weights) + focal(score_logits, labels)
    return loss
