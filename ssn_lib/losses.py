"""The published losses, on logits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 0.5
FOCAL_GAMMA = 4.0


def truncated_l1(map_logits: Tensor, masks: Tensor) -> Tensor:
    """Hinge loss on the map: normal pixels below −0.5, anomalous ones above 0.5.

    The mean over the normal pixels plus the mean over the anomalous ones; an absent kind counts 0.

    Args:
        map_logits, masks: (B, 1, h, w); masks 0/1.

    Source: Liu et al., SimpleNet, CVPR 2023, eq. 5, with the sign turned: anomalous is positive.
    """
    normal = (map_logits + MARGIN).clamp(min=0) * (1 - masks)
    anomalous = (MARGIN - map_logits).clamp(min=0) * masks
    count = masks.sum()
    return normal.sum() / (masks.numel() - count).clamp(min=1) + anomalous.sum() / count.clamp(
        min=1
    )


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss with γ = 4, without class weights: mean of (1 − p_t)^γ · (−log p_t).

    Args:
        logits, targets: any one shape; targets 0/1.

    Source: Lin et al., Focal Loss, ICCV 2017, eq. 4. Computed on logits: the public code takes the
    logarithm of a float32 sigmoid, which loses what small probabilities say.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    wrong = torch.sigmoid(torch.where(targets > 0.5, -logits, logits))  # 1 − p_t
    return (wrong**FOCAL_GAMMA * cross_entropy).mean()


def detection_loss(
    map_logits: Tensor, score_logits: Tensor, masks: Tensor, labels: Tensor, with_focal: bool
) -> Tensor:
    """The whole loss of a duplicated batch: truncated L1 on the map and, in SSN, focal losses.

    Args:
        map_logits, masks: (2B, 1, h, w). score_logits, labels: (2B,).
        with_focal: False is SimpleNet's loss, on the map alone.

    Source: Rolih et al., ICPR 2024, eq. 5.
    """
    loss = truncated_l1(map_logits, masks)
    if with_focal:
        loss = loss + focal(map_logits, masks) + focal(score_logits, labels)
    return loss


def ignorance_loss(with_focal: bool) -> float:
    """`detection_loss` of a network that answers 0 everywhere: 1, and with focal losses 1.087.

    A training that stays near it has not learned to see its anomalies.
    """
    focals = 2 * 0.5**FOCAL_GAMMA * math.log(2) if with_focal else 0.0
    return 2 * MARGIN + focals
