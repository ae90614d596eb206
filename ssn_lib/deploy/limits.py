"""What a threshold is worth, one that a person chose, and whether new images are like the old.

No PyTorch: numbers and small files alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssn_lib.data.appearance import APPEARANCE
from ssn_lib.errors import InputError
from ssn_lib.metrics import IMAGE_QUANTILE
from ssn_lib.runs.record import REFERENCE, read_record
from ssn_lib.storage import shown, unreadable

CONFIDENCE = 0.95
OF_NEW = 1_000  # new good parts, of which people are told how many will be called anomalous
THRESHOLD_KIND = "ssn_lib threshold"
EXCEPTIONAL = 0.5  # share of new images that may differ in any way, as defective ones do
FALSE_WARNINGS = 0.01  # at most, of inspections of images like the reference
LEVELS = (0.25, 0.5, 1.0)  # of the reference's values: where new ones are counted
_NODES = 200  # of an integral
_TAIL = 1e-12


@dataclass(frozen=True)
class Reference:
    """The defect-free images that a run's threshold was chosen from.

    Attributes:
        scores: (n,), raw logits.
        seen: whether the network trained on them.
        looks: (n, 3), their `APPEARANCE`; None where it was not kept.
    """

    scores: NDArray[np.float64]
    seen: bool
    looks: NDArray[np.float64] | None = None

    def to_json(self) -> dict[str, Any]:
        """As an exported file holds it."""
        looks = None if self.looks is None else self.looks.tolist()
        return {"scores": self.scores.tolist(), "seen": self.seen, "looks": looks}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Reference:
        """See `to_json`.

        Args:
            content: of the file.
        """
        looks = None if content["looks"] is None else np.array(content["looks"], np.float64)
        return cls(np.array(content["scores"], np.float64), content["seen"], looks)


@dataclass(frozen=True)
class Drift:
    """Whether new images differ from the reference throughout.

    Attributes:
        message: one line; None where there is nothing to warn of.
        p_value: how often images like the reference, half of them defective, would differ as much
            or more; None without images to compare.
    """

    message: str | None
    p_value: float | None


@dataclass(frozen=True)
class ChosenThreshold:
    """A threshold that a person chose on the page of an inspection.

    Attributes:
        run: whose scores it is for, see `precision.scorer_id`.
        score: the threshold, a raw logit.
        images: how many images were looked at.
        chosen: when, as ISO 8601.
    """

    run: str
    score: float
    images: int
    chosen: str

    def to_json(self) -> dict[str, Any]:
        """As an exported file holds it."""
        return asdict(self)


def reference_of(run: Path) -> Reference | None:
    """The reference in a run's folder; None where it was not kept, as in older runs.

    Raises:
        InputError: not a finished run, or the file is damaged.
    """
    config = read_record(run).config
    path = run / REFERENCE
    if not path.is_file():
        return None
    try:
        table = pd.read_csv(path, encoding_errors="replace")
        values = table[["score", *APPEARANCE]].to_numpy(np.float64)
    except (KeyError, ValueError):  # pandas' own errors are ValueErrors
        values = np.empty((0, 0))
    if not len(values) or not np.isfinite(values).all():
        raise InputError(
            f"{shown(path)}: not as the run wrote it; bring it back, or remove it to do without"
        )
    return Reference(values[:, 0], not config.training.validation_fraction, values[:, 1:])


def above_share(
    count: int, quantile: float = IMAGE_QUANTILE, confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Of new good images, the share above a quantile of `count` good ones like them: an interval.

    It holds whatever the scores' distribution. Of n scores in rising order, the share of new ones
    above the k-th is distributed as Beta(n − k + 1, k). The quantile lies between two of them
    (NumPy interpolates), so the lower bound comes from the upper one and the upper bound from the
    lower one. Scores that tie with the quantile are not above it.

    Args:
        count: of the good images; without any nothing is known.
        quantile: of their scores, by linear interpolation.
        confidence: of the interval, which is two-sided.

    Returns:
        Fractions, from low to high.

    Source: Wilks, "Determination of Sample Sizes for Setting Tolerance Limits", Annals of
    Mathematical Statistics 12, 1941.
    """
    from scipy.stats import beta  # slow to import

    if count == 0:
        return 0.0, 1.0
    lower, upper = _ranks(count, quantile)
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, count - upper + 1, upper)
    high = beta.ppf(1 - tail, count - lower + 1, lower)
    return float(low), float(high)


def _ranks(count: int, quantile: float) -> tuple[int, int]:
    """The ranks, from 1 upwards, of the two values that a quantile of `count` ones lies between."""
    place = (count - 1) * quantile
    return math.floor(place) + 1, math.ceil(place) + 1


def worth(reference: Reference | None, chosen: ChosenThreshold | None = None) -> str:
    """What a threshold rests on, for people: one line.

    Args:
        reference: of the run; None where it was not kept.
        chosen: the threshold, where it is not the run's own.
    """
    if chosen is not None:
        text = (
            f"A person chose the threshold on {chosen.chosen[:10]}, with "
            f"{_images(chosen.images)} in sight."
        )
        if reference is None:
            return text
        above = np.count_nonzero(reference.scores > chosen.score)
        known = "training " if reference.seen else "held-out "
        return (
            f"{text} Of the run's {_images(len(reference.scores), 'good ' + known)}, {above} "
            f"{'scores' if above == 1 else 'score'} higher."
        )
    if reference is None:
        return (
            "How far to trust the threshold is not known: the run does not hold the scores that it "
            "comes from. Train again to have them, or choose a threshold on the page."
        )
    count = len(reference.scores)
    low, high = above_share(count)
    place = _beside_the_highest(reference.scores)
    parts = [
        f"The threshold comes from {_images(count, 'good ')}{place}.",
        f"Of {OF_NEW:,} new good parts like them, {math.floor(OF_NEW * low)} to "
        f"{math.ceil(OF_NEW * high)} will be called anomalous "
        f"({100 * CONFIDENCE:.0f} % confidence).",
    ]
    if reference.seen:
        parts.append("It may be more, since the network was trained on these images.")
    return " ".join(parts)


def _beside_the_highest(scores: NDArray[np.float64]) -> str:
    """Where the threshold of these scores lies, if it moves with the highest of them; else ""."""
    if _ranks(len(scores), IMAGE_QUANTILE)[1] != len(scores):
        return ""
    if np.quantile(scores, IMAGE_QUANTILE) < scores.max():
        return ", and lies just below the highest score"
    return ", and is its score" if len(scores) == 1 else ", and is the highest score"


def _images(count: int, kind: str = "") -> str:
    return f"{count} {kind}image" + ("" if count == 1 else "s")


# What is said of what has risen or fallen, and what to check then.
_WORDS = {
    "score": ("score higher", "score lower", "that part, position and camera are as they were"),
    "brightness": ("are brighter", "are darker", "lamp and exposure"),
    "warmth": ("are redder", "are bluer", "lamp and white balance"),
    "sharpness": ("are sharper", "are less sharp", "lens and focus"),
}


@dataclass(frozen=True)
class _Direction:
    """A way in which images may have moved: what is said of it, and what to look at."""

    name: str
    verb: str
    check: str
    old: NDArray[np.float64]
    new: NDArray[np.float64]
    sign: int

    def p_value(self) -> float:
        return _higher(self.sign * self.old, self.sign * self.new)

    def sentence(self) -> str:
        now, then = np.median(self.new), np.median(self.old)
        return f"{self.verb} (median {self.name} {now:.4g}, was {then:.4g})"


def drift(
    reference: Reference,
    scores: NDArray[np.float64],
    looks: NDArray[np.float64] | None = None,
) -> Drift:
    """Whether new images differ from the reference throughout, as by another lamp or lens.

    Compared are scores and the three numbers of `APPEARANCE`, each upwards and downwards, by one
    test (`_higher`). It allows for half of the new images being defective, and with that for small
    differences: those under about half a standard deviation are never warned of. Higher scores are
    no sign where the network was trained on the reference, since those of any other image are
    higher then; there the photographs alone tell.

    Args:
        reference: of the run.
        scores: (N,), of the new images, raw logits.
        looks: (N, 3), their `APPEARANCE`; None compares scores alone.
    """
    if not len(scores):
        return Drift(None, None)
    directions = list(_directions(reference, scores, looks))
    p_values = [min(1.0, len(directions) * way.p_value()) for way in directions]
    moved = [way for way, p in zip(directions, p_values, strict=True) if p <= FALSE_WARNINGS]
    lowest = min(p_values)
    if not moved:
        return Drift(None, lowest)
    sure = "p < 0.0001" if lowest < 1e-4 else f"p = {lowest:.1g}"
    message = (
        f"The {len(scores)} new images differ from the {len(reference.scores)} that the threshold "
        f"comes from: they {', '.join(way.sentence() for way in moved)}. That is not by chance "
        f"({sure}), even if half of them are defective, and the threshold may not hold for them: "
        f"check {', '.join(dict.fromkeys(way.check for way in moved))}, or train again on images "
        "like the new ones."
    )
    return Drift(message, lowest)


def _directions(
    reference: Reference, scores: NDArray[np.float64], looks: NDArray[np.float64] | None
) -> Iterator[_Direction]:
    pairs = [("score", reference.scores, scores)]
    if reference.looks is not None and looks is not None:
        pairs += zip(APPEARANCE, reference.looks.T, looks.T, strict=True)
    for name, old, new in pairs:
        rising, falling, check = _WORDS[name]
        if not (name == "score" and reference.seen):
            yield _Direction(name, rising, check, old, new, 1)
        yield _Direction(name, falling, check, old, new, -1)


def _higher(old: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """The p-value of: more than half of the new values lie higher than the old ones do.

    At a few of the old values it counts the new ones that are not above. Were half of the new
    values drawn as the old ones are and the others anywhere, so few would be there with this
    probability or a lower one, whatever the distribution; ties make it higher. For several places
    it is multiplied (Bonferroni).
    """
    ordered = np.sort(old)
    ranks = sorted({math.ceil(level * len(old)) for level in LEVELS})
    counts = [np.count_nonzero(new <= ordered[rank - 1]) for rank in ranks]
    chances = [
        _chance_of_so_few(count, len(new), rank, len(old))
        for rank, count in zip(ranks, counts, strict=True)
    ]
    return min(1.0, len(ranks) * min(chances))


def _chance_of_so_few(count: int, new: int, rank: int, old: int) -> float:
    """P(C <= count): of `new` values, C are at or below the `rank`-th of `old` ones.

    The share u of all values below that one is distributed as Beta(rank, old − rank + 1); given
    it, C is binomial with (1 − EXCEPTIONAL) u, should the exceptional lie above. The integral over
    u is Gauss's and Legendre's.
    """
    from scipy.stats import beta, binom  # slow to import

    share = beta(rank, old - rank + 1)
    first, last = share.ppf((_TAIL, 1 - _TAIL))
    nodes, weights = _gauss_legendre(_NODES)
    u = first + (last - first) * (nodes + 1) / 2
    values = share.pdf(u) * binom.cdf(count, new, (1 - EXCEPTIONAL) * u)
    return float((last - first) / 2 * (weights @ values))


_gauss_legendre = cache(np.polynomial.legendre.leggauss)  # slow, and always the same


def read_threshold(path: str | Path, *scorer_ids: str) -> ChosenThreshold:
    """The threshold in a file that the page of an inspection saved.

    Args:
        path: of the file.
        scorer_ids: whose scores it may be of, see `precision.scorer_id`; the first is named where
            it is of none of them.

    Raises:
        InputError: the file cannot be read, is no such file, or is of another run.
    """
    path = Path(path)
    again = "save the threshold again on the page of an inspection"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"threshold {shown(path)}: no such file; {again}") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, RecursionError):
        raise InputError(f"{shown(path)}: not JSON; {again}") from None
    if not isinstance(content, dict) or content.get("kind") != THRESHOLD_KIND:
        raise InputError(f"{shown(path)}: no threshold file of ssn_lib; {again}")
    for name, (fits, what) in _FIELDS.items():
        if name not in content:
            raise InputError(f"{shown(path)}: {name} is missing; {again}")
        if not fits(content[name]):
            raise InputError(f"{shown(path)}: {name} must be {what}; {again}")
    if content["run"] not in scorer_ids:
        raise InputError(
            f"{shown(path)}: the threshold of run {content['run']}, not of {scorer_ids[0]}; choose "
            "one on the page of an inspection with this run"
        )
    return ChosenThreshold(
        content["run"], float(content["score_threshold"]), content["images"], content["chosen"]
    )


def _is_finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _is_date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


_FIELDS = {
    "run": (lambda value: isinstance(value, str), "the id of a run"),
    "score_threshold": (_is_finite, "a finite number"),
    "images": (lambda value: type(value) is int and value >= 0, "a number of images"),
    "chosen": (_is_date, "a date as of ISO 8601"),
}
