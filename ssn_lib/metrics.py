"""Metrics of industrial anomaly detection: AUROC, AP and AUPRO, of images and of pixels.

All of them depend on the order of the scores alone, so they take raw logits: a sigmoid or a
min-max normalisation could only merge scores that differ. Equal scores share one threshold. The
thresholds of a curve are scores themselves, so `score >= threshold` means "called defective" there;
with a limit chosen from good images (`Thresholds`) it is `score > threshold`. ±inf is an ordinary
score, NaN is none.

Exact at any size: a curve bends only at the score of a *positive* and at the lowest negative above
it, so the many negatives are sorted once (NumPy's vectorised sort) and then only looked up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ssn_lib.errors import InputError

IMAGE_QUANTILE = 0.99
PIXEL_QUANTILE = 0.999


@dataclass(frozen=True)
class Thresholds:
    """Decision thresholds on raw logits, from defect-free training images alone: those held out
    for validation where there are any. What lies above one is called defective; one that equals it
    is as high as a good image was.

    Attributes:
        score: quantile `IMAGE_QUANTILE` of the image scores.
        map: quantile `PIXEL_QUANTILE` of the map's pixels.
    """

    score: float
    map: float


BOOTSTRAP = 2000


class Metrics(dict[str, float]):
    """Metric name -> percent; NaN where undefined, and then `.undefined[name]` says why."""

    def __init__(self, percent: dict[str, float], undefined: dict[str, str] | None = None):
        super().__init__(percent)
        self.undefined: dict[str, str] = undefined or {}

    def as_json(self) -> dict[str, float | None]:
        """Percent by name; None where undefined, since JSON has no NaN."""
        return {name: None if math.isnan(value) else value for name, value in self.items()}

    def add(self, other: Metrics, prefix: str = "") -> None:
        """Take over another's values and reasons, each name behind a prefix."""
        self.update({f"{prefix}{name}": value for name, value in other.items()})
        self.undefined.update({f"{prefix}{name}": why for name, why in other.undefined.items()})


class Ranking(NamedTuple):
    """Counts at falling thresholds, from above every score (0, 0) down to all (P, N).

    Only thresholds where the curve bends are kept; straight lines between them are exact.
    """

    thresholds: NDArray  # (T,) falling; the first is +inf and stands for "above every score"
    tp: NDArray[np.int64]  # (T,) positives with score >= threshold
    fp: NDArray[np.int64]  # (T,) negatives with score >= threshold
    order: NDArray[np.int64]  # (P,) indices into scores[labels], highest score first


def image_metrics(scores: ArrayLike, labels: ArrayLike) -> Metrics:
    """Detection, in percent: {"I-AUROC", "AP-det"}.

    Args:
        scores: (N,), one real number per image, higher = more anomalous.
        labels: (N,), 0/1 or bool, 1 = defective.

    Returns:
        Both are NaN, with a reason, for an empty set, a NaN score or a single class. (AP without
        normal images would be 100 whatever the scores, so it is called undefined as well.)

    Raises:
        InputError: shapes differ or are not (N,), scores are not real, labels are not 0/1.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 1 or labels.ndim != 1:
        raise InputError(f"scores {scores.shape} and labels {labels.shape} must both be (N,)")
    scores, labels = _checked(scores, labels, "scores", "labels")
    if reason := _why_undefined(scores, labels, "image"):
        return _all_undefined(("I-AUROC", "AP-det"), reason)
    ranking = rank(scores, labels)
    return Metrics({"I-AUROC": 100 * roc_auc(ranking), "AP-det": 100 * average_precision(ranking)})


def pixel_metrics(maps: ArrayLike, masks: ArrayLike) -> Metrics:
    """Localisation, in percent: {"P-AUROC", "AUPRO", "AP-loc"}, pooled over all pixels.

    Args:
        maps: (N, H, W) or (N, 1, H, W), real scores, higher = more anomalous.
        masks: of the same shape, 0/1 or bool, 1 = defective.

    Returns:
        All three are NaN, with a reason, for an empty set, a NaN score, no defective pixel (so no
        region) or no normal pixel.

    Raises:
        InputError: shapes differ or are none of the two, maps are not real, masks are not 0/1.
    """
    maps, masks = np.asarray(maps), np.asarray(masks)
    if not all(a.ndim == 3 or (a.ndim == 4 and a.shape[1] == 1) for a in (maps, masks)):
        raise InputError(
            f"maps {maps.shape} and masks {masks.shape} must be (N, H, W) or (N, 1, H, W)"
        )
    maps, masks = (a[:, 0] if a.ndim == 4 else a for a in (maps, masks))
    maps, masks = _checked(maps, masks, "maps", "masks")
    if reason := _why_undefined(maps, masks, "pixel"):
        return _all_undefined(("P-AUROC", "AUPRO", "AP-loc"), reason)
    ranking = rank(maps, masks)
    return Metrics(
        {
            "P-AUROC": 100 * roc_auc(ranking),
            "AUPRO": 100 * aupro(ranking, masks),
            "AP-loc": 100 * average_precision(ranking),
        }
    )


def roc_curve(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """ROC: (fpr, tpr, thresholds), fractions, each (T,), from (0, 0) at +inf to (1, 1).

    scores and labels of any one shape (images or pixels). Join the points by straight lines: the
    area is AUROC. Raises InputError as image_metrics does, and where the curve is undefined.
    """
    ranking = _curve_ranking(scores, labels)
    tp, fp = ranking.tp, ranking.fp
    return fp / fp[-1], tp / tp[-1], ranking.thresholds


def pr_curve(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    """Precision and recall: (precision, recall, thresholds), fractions, each (T,), recall rising.

    One point per distinct score of a positive, with no invented point at recall 0. Draw it as
    steps of height P_n over (R_{n-1}, R_n] (`where="pre"`): the area is AP.
    scores and labels of any one shape. Raises InputError as roc_curve does.
    """
    ranking = _curve_ranking(scores, labels)
    rises = 1 + np.flatnonzero(np.diff(ranking.tp))
    tp, fp = ranking.tp[rises], ranking.fp[rises]
    return tp / (tp + fp), tp / tp[-1], ranking.thresholds[rises]


class Interval(NamedTuple):
    """A fraction and its 95 % confidence interval; all NaN where undefined."""

    value: float
    low: float
    high: float


class OperatingPoint(NamedTuple):
    """What a threshold does on a set of images: "defective" is called where score >= threshold."""

    threshold: float
    tpr: Interval
    fpr: Interval
    precision: Interval
    f1: Interval


def youden(scores: ArrayLike, labels: ArrayLike) -> float:
    """The threshold of the largest J = TPR − FPR (Youden, Cancer 3, 1950); of several the highest.

    It is itself a score. Raises InputError as roc_curve does.
    """
    ranking = _curve_ranking(scores, labels)
    tp, fp = ranking.tp, ranking.fp
    j = tp * fp[-1] - fp * tp[-1]  # in whole counts: rounding would part equal ones
    return float(ranking.thresholds[1 + np.argmax(j[1:])])


def operating_point(scores: ArrayLike, labels: ArrayLike, threshold: float) -> OperatingPoint:
    """Rates at a threshold, with Wilson's intervals; of F1 by the bootstrap (images drawn anew
    within their class, 2000 times, seeded).

    Args:
        scores, labels: (N,), as in `image_metrics`.
        threshold: an image is called defective where its score is as high or higher.

    Returns:
        The rates as fractions; precision is NaN where nothing is called defective.

    Raises:
        InputError: as in `roc_curve`.
    """
    _curve_ranking(scores, labels)
    called, labels = np.asarray(scores) >= threshold, np.asarray(labels).astype(bool)
    tp, fp = np.count_nonzero(called & labels), np.count_nonzero(called & ~labels)
    positives, negatives = np.count_nonzero(labels), np.count_nonzero(~labels)
    draws = np.random.default_rng(0)
    hits = draws.binomial(positives, tp / positives, BOOTSTRAP)
    alarms = draws.binomial(negatives, fp / negatives, BOOTSTRAP)
    low, high = np.quantile(2 * hits / (hits + alarms + positives), (0.025, 0.975))
    return OperatingPoint(
        threshold,
        _wilson(tp, positives),
        _wilson(fp, negatives),
        _wilson(tp, tp + fp),
        Interval(2 * tp / (tp + fp + positives), float(low), float(high)),
    )


def _wilson(hits: int, total: int) -> Interval:
    from scipy.stats import binomtest  # slow to import, and seldom asked for

    if total == 0:
        return Interval(*[float("nan")] * 3)
    interval = binomtest(hits, total).proportion_ci(method="wilson")
    return Interval(hits / total, float(interval.low), float(interval.high))


def rank(scores: NDArray, labels: NDArray[np.bool_]) -> Ranking:
    """Count the positives and negatives at or above each threshold where the curve bends.

    scores: real, without NaN; labels: bool, same shape, both classes present.
    Extra memory: one copy of the negatives, in the scores' own dtype (a cast could make ties).
    """
    positives, negatives = scores[labels], scores[~labels]
    order = np.argsort(positives)
    positives = positives[order]
    negatives.sort()
    # Between two positive scores the curve is flat, up to the smallest negative above the lower
    # one; there it turns towards the lower one's point (slanted if that score has negatives too).
    levels = np.unique(positives)
    above = np.searchsorted(negatives, levels, side="right")
    turns = negatives[above[above < negatives.size]]
    # The lowest negative ends the curve, should no positive lie below it.
    thresholds = np.unique(np.concatenate([levels, turns, negatives[:1]]))[::-1]
    tp = positives.size - np.searchsorted(positives, thresholds, side="left")
    fp = negatives.size - np.searchsorted(negatives, thresholds, side="left")
    return Ranking(
        np.concatenate([[np.inf], thresholds]),
        np.concatenate([[0], tp]),
        np.concatenate([[0], fp]),
        order[::-1],
    )


def roc_auc(ranking: Ranking) -> float:
    """AUROC = P(s+ > s-) + P(s+ = s-) / 2, a fraction: the trapezoid area in whole counts."""
    tp, fp = ranking.tp, ranking.fp
    twice_area = int(np.sum(np.diff(fp) * (tp[1:] + tp[:-1])))
    return twice_area / (2 * int(tp[-1]) * int(fp[-1]))


def average_precision(ranking: Ranking) -> float:
    """AP = sum_n (R_n - R_{n-1}) P_n, a fraction; equal scores grouped (as in scikit-learn)."""
    tp, fp = ranking.tp, ranking.fp
    return float(np.sum(np.diff(tp) * (tp[1:] / (tp[1:] + fp[1:]))) / tp[-1])


def aupro(ranking: Ranking, masks: NDArray[np.bool_], limit: float = 0.3) -> float:
    """Area under PRO over FPR in [0, limit], divided by limit: a fraction.

    PRO(t) = mean, over the 8-connected regions of all masks, of the share of the region's pixels
    with score >= t; FPR(t) = share of all normal pixels with score >= t. Trapezoids between the
    points of the distinct scores, from (0, 0), interpolated linearly at `limit`.

    Args:
        ranking: of all pixels by their score.
        masks: (N, H, W) bool, the labels that `ranking` was made from.
        limit: the greatest FPR, 0 < limit <= 1.

    Source: Bergmann et al., "The MVTec Anomaly Detection Dataset: A Comprehensive Real-World
    Dataset for Unsupervised Anomaly Detection", IJCV 2021.
    """
    shares = np.cumsum(_region_shares(masks)[ranking.order])
    # The last sum is the number of regions; dividing by it as rounded makes PRO end at exactly 1.
    pro = np.concatenate([[0.0], shares / shares[-1]])[ranking.tp]
    fpr = ranking.fp / ranking.fp[-1]
    end = np.searchsorted(fpr, limit, side="left")  # so fpr[end - 1] < limit <= fpr[end]
    part = (limit - fpr[end - 1]) / (fpr[end] - fpr[end - 1])
    x = np.append(fpr[:end], limit)
    y = np.append(pro[:end], pro[end - 1] + part * (pro[end] - pro[end - 1]))
    area = np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2
    return min(float(area / limit), 1.0)  # the sum may round to just above one


def _region_shares(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """1 / size of its 8-connected region, of each defective pixel in the order of maps[masks]."""
    shares = []
    for mask in masks[masks.any(axis=(1, 2))]:
        regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
        shares.append(1 / np.bincount(regions.ravel())[regions[mask]])
    return np.concatenate(shares)


def _checked(
    scores: NDArray, labels: NDArray, scores_name: str, labels_name: str
) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return scores as they are and labels as bool; InputError unless same shape, real, 0/1."""
    shapes = f"{scores_name} {scores.shape}, {labels_name} {labels.shape}"
    if scores.shape != labels.shape:
        raise InputError(f"shapes differ: {shapes}")
    if scores.dtype.kind not in "biuf":
        raise InputError(f"{scores_name} must be real numbers, not {scores.dtype}: {shapes}")
    if labels.dtype.kind not in "biuf":
        raise InputError(f"{labels_name} must be 0/1 or bool, not {labels.dtype}: {shapes}")
    if labels.dtype.kind == "b":
        return scores, labels
    wrong = (labels != 0) & (labels != 1)
    if wrong.any():
        raise InputError(f"{labels_name} must be 0 or 1, found {labels[wrong][0]}: {shapes}")
    return scores, labels.astype(bool)


def _why_undefined(scores: NDArray, labels: NDArray[np.bool_], noun: str) -> str:
    """Return the reason why no metric is defined, or "" if all are."""
    total, defective = labels.size, np.count_nonzero(labels)
    if total == 0:
        return f"no {noun} at all"
    if nans := np.count_nonzero(np.isnan(scores)):
        return f"{nans} of {total} {noun} scores are NaN"
    if defective == 0:
        return f"no defective {noun} among {total}"
    return f"no normal {noun} among {total}" if defective == total else ""


def _all_undefined(names: Iterable[str], reason: str) -> Metrics:
    return Metrics(dict.fromkeys(names, float("nan")), dict.fromkeys(names, reason))


def _curve_ranking(scores: ArrayLike, labels: ArrayLike) -> Ranking:
    scores, labels = _checked(np.asarray(scores), np.asarray(labels), "scores", "labels")
    if reason := _why_undefined(scores, labels, "score"):
        raise InputError(f"no curve to draw: {reason}")
    return rank(scores, labels)
