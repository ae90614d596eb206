"""The ledger: what the slides claim, and what the records say of it, by stated rules.

A claim is data and one rule. No verdict is typed by hand: a rule compares means over the seeds at
hand, and a difference of fewer than `MARGIN` points counts as none (the published deviation between
seeds on screw is 1.5 to 1.9 points). Adding a claim is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from ssn_lib import tables
from ssn_lib.efficiency import Comparison, Spread
from ssn_lib.losses import ignorance_loss
from ssn_lib.runs import Outcome, Record

MARGIN = 2.5  # points of a percent metric
SCREW = "screw"

Verdict = Literal["reproduced", "not reproduced", "explained otherwise", "not measurable here"]


@dataclass(frozen=True)
class Evidence:
    """What rules look at.

    Attributes:
        outcomes: runs asked for.
        histories: (outcome, history) of those that were made.
        comparison: of inference with and without learned noise, where it was measured.
    """

    outcomes: Sequence[Outcome]
    histories: Sequence[tuple[Outcome, pd.DataFrame]] = field(default_factory=list)
    comparison: Comparison | None = None

    def mean(
        self, name: str, metric: str, category: str = SCREW, beta: float | None = None
    ) -> float | None:
        """Mean over the seeds of a preset's metric; None where there is none on real images."""
        usual = tables.preset(name).training.noise.generator.beta
        changed = () if beta in (None, usual) else (f"{tables.BETA}={beta}",)
        real = [o for o in self.outcomes if o.record is not None and _is_real(o.record)]
        return tables.mean(real, name, category, metric, changed)

    def losses(self, name: str, category: str = SCREW) -> list[float] | None:
        """The mean losses by epoch of a preset's first seed; None without a run."""
        for outcome, history in self.histories:
            asked = (outcome.preset, outcome.category, outcome.changes) == (name, category, ())
            if asked and _is_real(outcome.record):
                return history["loss"].tolist()
        return None

    def diverged(self, name: str, category: str = SCREW) -> bool:
        """Whether a run of the preset ended so."""
        return any(
            o.record is not None and o.record.status == "diverged"
            for o in self.outcomes
            if (o.preset, o.category, o.changes) == (name, category, ())
        )


@dataclass(frozen=True)
class Finding:
    """What a rule found: the figures in words, its verdict, and why."""

    measured: str
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Claim:
    """One checkable statement of the slides.

    Attributes:
        id: short and stable.
        text: what is claimed.
        published: the slides' figures for it.
        rule: the computation that checks it.
    """

    id: str
    text: str
    published: str
    rule: Callable[[Evidence], Finding]


class _MissingError(Exception):
    """A rule's evidence is not there: it says what is missing."""

    def __init__(self, run: str):
        super().__init__(f"no record on real images with trained weights: {run}")


def judge(claims: Sequence[Claim], evidence: Evidence, caption: str) -> tables.Table:
    """The ledger of those claims as a table."""
    rows = []
    for claim in claims:
        try:
            finding = claim.rule(evidence)
        except _MissingError as missing:
            finding = Finding(tables.EMPTY, "not measurable here", str(missing))
        rows.append(
            {
                "claim": claim.text,
                "published": claim.published,
                "measured": finding.measured,
                "verdict": finding.verdict,
                "why": finding.why,
            }
        )
    return tables.Table(
        "Published claims",
        pd.DataFrame(rows),
        (
            f"Measured: {caption}. A verdict holds for trainings of that length and number of "
            "seeds; published: 300 epochs, one seed.",
            f"Differences under {MARGIN} points count as none.",
        ),
    )


def _is_real(record: Record) -> bool:
    return record.config.data.dataset != "demo" and record.config.weights == "imagenet"


def _known(value: float | None, what: str) -> float:
    if value is None:
        raise _MissingError(what)
    return value


def _metric(evidence: Evidence, name: str, metric: str, **where: object) -> float:
    told = ", ".join([name, SCREW, *(f"{key} {value}" for key, value in where.items())])
    return _known(evidence.mean(name, metric, **where), told)


def _collapses(evidence: Evidence, name: str) -> tuple[bool, str]:
    """Whether a run's loss ends above where it began or its detection lies below Scenario A's."""
    if evidence.diverged(name):
        return True, "diverged"
    losses = evidence.losses(name)
    if losses is None:
        raise _MissingError(f"{name}, {SCREW}")
    value = _metric(evidence, name, "I-AUROC")
    reference = _metric(evidence, "scenario_a", "I-AUROC")
    told = f"loss {losses[0]:.2f} → {losses[-1]:.2f}, I-AUROC {value:.1f} (A: {reference:.1f})"
    return losses[-1] > losses[0] or value < reference - MARGIN, told


def _v1_collapses(evidence: Evidence) -> Finding:
    published, published_told = _collapses(evidence, "learned_noise_v1_published")
    stated, stated_told = _collapses(evidence, "learned_noise_v1")
    told = f"as published: {published_told}; as stated: {stated_told}"
    if stated:
        return Finding(told, "reproduced", "the rule as stated collapses too")
    if published:
        why = "only with cancelling gradients, where the detector never trains"
        return Finding(told, "explained otherwise", why)
    return Finding(told, "not reproduced", "neither form collapses")


def _v2_stabilises(evidence: Evidence) -> Finding:
    v1, v1_told = _collapses(evidence, "learned_noise_v1")
    losses = evidence.losses("learned_noise_v2")
    if losses is None:
        raise _MissingError(f"learned_noise_v2, {SCREW}")
    limit = ignorance_loss(True)
    stable = not evidence.diverged("learned_noise_v2") and losses[-1] < limit
    told = f"v2 as stated: loss {losses[0]:.2f} → {losses[-1]:.2f}; v1 as stated: {v1_told}"
    if not stable:
        return Finding(told, "not reproduced", f"v2's loss does not fall below {limit:.3f}")
    if v1:
        return Finding(told, "reproduced", "v1 as stated collapses, v2 as stated learns")
    why = "v1 as stated is stable too: the published v1 failed for its cancelled gradients"
    return Finding(told, "explained otherwise", why)


def _fluctuation(run: str, metric: str) -> tuple[float, str]:
    """How far a published run's metric moved in its last hundred epochs, by its log; in words."""
    logs = tables.published_logs()
    last = logs[(logs["run"] == run) & (logs["category"] == SCREW) & (logs["epochs_done"] >= 200)]
    low, high = last[metric].min(), last[metric].max()
    told = f"in its last 100 epochs the published run's {metric} moves from {low:.0f} to {high:.0f}"
    return high - low, told


def _against_a(metric: str, better: bool) -> Callable[[Evidence], Finding]:
    """v2 above (or below) Scenario A in one metric, in both forms."""

    def rule(evidence: Evidence) -> Finding:
        reference = _metric(evidence, "scenario_a", metric)
        sign = 1 if better else -1
        gains = {
            form: sign * (_metric(evidence, name, metric) - reference)
            for form, name in (
                ("as published", "learned_noise_v2_published"),
                ("as stated", "learned_noise_v2"),
            )
        }
        told = f"A {reference:.1f}; " + ", ".join(
            f"v2 {form} {reference + sign * gain:.1f}" for form, gain in gains.items()
        )
        holds = {form: gain >= MARGIN for form, gain in gains.items()}
        _, log = _fluctuation("learned_noise_v2_published", metric)
        if holds["as stated"]:
            return Finding(told, "reproduced", f"holds for the rule as stated; but {log}")
        if holds["as published"]:
            why = "holds only for the published form, whose generator was never adversarial"
            return Finding(told, "explained otherwise", f"{why}; {log}")
        return Finding(told, "not reproduced", f"no difference of {MARGIN} points; {log}")

    return rule


def _best_beta(metric: str, best: float, run: str) -> Callable[[Evidence], Finding]:
    """One β leads the sweep in one metric by the margin, as stated.

    Without a sweep the published log decides: a lead within the run's own ups and downs is none.
    """

    def rule(evidence: Evidence) -> Finding:
        moves, log = _fluctuation(run, metric)
        try:
            values = {
                beta: _metric(evidence, "learned_noise_v2", metric, beta=beta)
                for beta in tables.BETAS
            }
        except _MissingError as missing:
            slides = tables.published()["slides"]["table_beta_sweep_screw"]
            known = sorted(row[metric] for row in slides if row["beta"] is not None)
            lead = known[-1] - known[-2]
            if moves <= lead:
                raise
            why = f"a lead of {lead:.1f} points, while {log}; {missing}"
            return Finding(tables.EMPTY, "explained otherwise", why)
        leader = max(values, key=values.__getitem__)
        told = ", ".join(f"β {beta:g}: {value:.1f}" for beta, value in values.items())
        second = max(value for beta, value in values.items() if beta != leader)
        if leader == best and values[leader] - second >= MARGIN:
            why = f"β = {best:g} leads by {MARGIN} points or more; but {log}"
            return Finding(told, "reproduced", why)
        if leader == best:
            why = f"β = {best:g} leads, but by less than {MARGIN} points"
        else:
            why = f"β = {leader:g} leads"
        return Finding(told, "not reproduced", f"{why}; {log}")

    return rule


def _inference_free(evidence: Evidence) -> Finding:
    made = evidence.comparison
    if made is None:
        raise _MissingError("inference with and without learned noise")
    extra = made.second.parameters - made.first.parameters
    latency = Spread.of(made.latency_ms)
    told = (
        f"{extra:+,} parameters, {latency.median:+.2f} ms [{latency.low:+.2f} to "
        f"{latency.high:+.2f}]"
    )
    if extra == 0:
        why = "the generator is no part of the inference network; what differs is noise"
        return Finding(told, "reproduced", why)
    return Finding(told, "not reproduced", "the inference network has grown")


LEARNED_NOISE = (
    Claim(
        "v1-collapses",
        "v1, the naive adversarial generator, collapses",
        "I-AUROC 39.9 (A: 51.1)",
        _v1_collapses,
    ),
    Claim("v2-stabilises", "v2 stabilises the adversarial training", "figure", _v2_stabilises),
    Claim(
        "v2-detection",
        "v2 (β = 0.1) improves detection on screw",
        "I-AUROC 67.8 (A: 51.1)",
        _against_a("I-AUROC", better=True),
    ),
    Claim(
        "v2-localisation",
        "v2 pays for it in localisation",
        "AP-loc 2.1 (A: 15.1)",
        _against_a("AP-loc", better=False),
    ),
    Claim(
        "beta-detection",
        "β = 0.05 is best for detection",
        "I-AUROC 72.3",
        _best_beta("I-AUROC", 0.05, "learned_noise_v2_published beta=0.05"),
    ),
    Claim(
        "beta-localisation",
        "β = 0.1 is best for localisation",
        "P-AUROC 84.8",
        _best_beta("P-AUROC", 0.1, "learned_noise_v2_published"),
    ),
    Claim(
        "inference-free",
        "Learned noise costs nothing at inference",
        "+0.05 ms, −1.89 images/s, +2.10 MB",
        _inference_free,
    ),
)
