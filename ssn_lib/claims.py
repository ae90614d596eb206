"""The ledger: what the slides claim, and what the records say of it, by stated rules.

A claim is data and one rule; no verdict is typed by hand, and adding a claim is one more entry.

- Only records on real images with trained backbone weights are evidence.
- Two means differ when they are further apart than twice the standard error that the published
  deviation between seeds gives them (`margin`): 5.5 points of I-AUROC for single runs.
- A training has *learned* when its last loss lies 10 % below that of a network that answers 0
  everywhere; it has *collapsed* when it diverged or ended above where it began. Else it is
  undecided: it was too short.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from ssn_lib import tables
from ssn_lib.efficiency import Comparison, Spread
from ssn_lib.runs import Outcome, Record

SCREW = "screw"
CHANCE = 0.05  # a cost differs when a sign test finds less than this
FULL = "`python -m ssn_lib study --profile full --only 02` decides it"

Verdict = Literal["reproduced", "not reproduced", "explained otherwise", "not measurable here"]


@dataclass(frozen=True)
class Evidence:
    """What rules look at.

    Attributes:
        outcomes: runs asked for; those that are no evidence are passed over.
        histories: (outcome, history) of those that were made.
        comparison: of inference with and without learned noise, where it was measured.
    """

    outcomes: Sequence[Outcome]
    histories: Sequence[tuple[Outcome, pd.DataFrame]] = field(default_factory=list)
    comparison: Comparison | None = None

    def values(self, name: str, metric: str, beta: float | None = None) -> list[float]:
        """A preset's metric on screw, seed by seed; a diverged run has none."""
        real = [o for o in self.outcomes if _is_evidence(o)]
        return tables.values(real, name, SCREW, metric, tables.beta_changes(beta))

    def state(self, name: str) -> tuple[Literal["learned", "collapsed", "undecided"], str]:
        """How a preset's trainings on screw ended, all seeds together, and that in words."""
        runs = [
            (outcome.record, history["loss"].tolist())
            for outcome, history in self.histories
            if (outcome.preset, outcome.category, outcome.changes) == (name, SCREW, ())
            and _is_evidence(outcome)
        ]
        if not runs:
            raise _MissingError(f"no record of {name}, {SCREW}, on real images")
        diverged = [record for record, _ in runs if record.status == "diverged"]
        if diverged:
            return "collapsed", f"diverged in epoch {diverged[0].diverged_at}"
        first, last = (sum(loss[i] for _, loss in runs) / len(runs) for i in (0, -1))
        told = f"loss {first:.2f} → {last:.2f} in {runs[0][0].epochs_done} epochs"
        if last < tables.LEARNED_LOSS:
            return "learned", told
        return ("collapsed" if last > first else "undecided"), told


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
    """A rule's evidence is not there, or too weak: it says what is missing."""


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
            f"Evidence: {caption}. Published: 300 epochs, one seed.",
            "Learned: the last loss lies 10 % below that of answering 0 everywhere; collapsed: "
            "diverged, or ended above its start. Two means differ when they are further apart than "
            "twice the standard error by the published deviation between seeds.",
        ),
    )


def margin(metric: str, first: int, second: int) -> float:
    """How far two means of so many seeds must be apart to differ, in points; see the module."""
    std = tables.published()["supersimplenet_jims2025"]["mvtec_ad"][SCREW][metric]["std"]
    return 2 * std * math.sqrt(1 / first + 1 / second)


def _is_evidence(outcome: Outcome) -> bool:
    record: Record | None = outcome.record
    return (
        record is not None
        and record.config.data.dataset != "demo"
        and record.config.weights == "imagenet"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _v1_collapses(evidence: Evidence) -> Finding:
    published, published_told = evidence.state("learned_noise_v1_published")
    stated, stated_told = evidence.state("learned_noise_v1")
    told = f"as published: {published_told}; as stated: {stated_told}"
    if stated == "undecided":
        raise _MissingError(f"{told}: too short; {FULL}")
    if stated == "collapsed":
        return Finding(told, "reproduced", "the rule as stated collapses too")
    if published == "collapsed":
        why = "as stated it learns; published were cancelling gradients: the detector never trained"
        return Finding(told, "explained otherwise", why)
    return Finding(told, "not reproduced", "neither form collapses")


def _v2_stabilises(evidence: Evidence) -> Finding:
    v1, v1_told = evidence.state("learned_noise_v1")
    v2, v2_told = evidence.state("learned_noise_v2")
    told = f"as stated: v1 {v1_told}; v2 {v2_told}"
    if v2 == "collapsed":
        return Finding(told, "not reproduced", "v2 collapses too")
    if "undecided" in (v1, v2):
        raise _MissingError(f"{told}: too short; {FULL}")
    if v1 == "collapsed":
        return Finding(told, "reproduced", "v1 collapses, v2 learns")
    why = "v1 as stated learns too; the published v1 failed for its cancelled gradients"
    return Finding(told, "explained otherwise", why)


def _fluctuation(run: str, metric: str) -> str:
    """How far a published run's metric moved in its last hundred epochs, by its log, in words."""
    log = tables.published_log(run, SCREW)
    last = log[log["epochs_done"] >= 200]
    low, high = last[metric].min(), last[metric].max()
    return f"in its last 100 epochs the published run's {metric} moves from {low:.0f} to {high:.0f}"


def _against_a(metric: str, better: bool) -> Callable[[Evidence], Finding]:
    """v2 above (or below) Scenario A in one metric, in both forms."""

    def rule(evidence: Evidence) -> Finding:
        log = _fluctuation("learned_noise_v2_published", metric)
        forms = {
            "as published": evidence.values("learned_noise_v2_published", metric),
            "as stated": evidence.values("learned_noise_v2", metric),
        }
        reference = evidence.values("scenario_a", metric)
        if not reference or not all(forms.values()):
            raise _MissingError(
                f"no record of Scenario A and both forms of v2 on real images; {log}"
            )
        told = f"A {_mean(reference):.1f}; " + ", ".join(
            f"v2 {form} {_mean(values):.1f}" for form, values in forms.items()
        )
        state, course = evidence.state("scenario_a")
        if state != "learned":
            raise _MissingError(
                f"Scenario A has not learned yet ({course}), so {told} compares nothing; {FULL}; "
                f"{log}"
            )
        sign = 1 if better else -1
        gains = {
            form: sign
            * (_mean(values) - _mean(reference))
            / margin(metric, len(values), len(reference))
            for form, values in forms.items()
        }  # in margins
        if gains["as stated"] >= 1:
            return Finding(told, "reproduced", f"holds for the rule as stated; but {log}")
        if gains["as published"] >= 1:
            why = "holds only for the published form, whose generator was never adversarial"
            return Finding(told, "explained otherwise", f"{why}; {log}")
        kind = "the opposite" if min(gains.values()) <= -1 else "no difference beyond the seeds'"
        return Finding(told, "not reproduced", f"{kind}; {log}")

    return rule


def _best_beta(metric: str, best: float, run: str) -> Callable[[Evidence], Finding]:
    """One β leads the sweep in one metric by the margin, in either form."""

    def rule(evidence: Evidence) -> Finding:
        log = _fluctuation(run, metric)
        told, leads = [], {}
        for form, name in (
            ("as published", "learned_noise_v2_published"),
            ("as stated", "learned_noise_v2"),
        ):
            swept = {beta: evidence.values(name, metric, beta) for beta in tables.BETAS}
            known = {beta: _mean(values) for beta, values in swept.items() if values}
            if known:
                values = ", ".join(f"β {beta:g}: {value:.1f}" for beta, value in known.items())
                told.append(f"{form} {values}")
            if len(known) == len(tables.BETAS):
                leader, second = sorted(known, key=known.__getitem__)[:-3:-1]
                ahead = known[leader] - known[second]
                wide = ahead >= margin(metric, len(swept[leader]), len(swept[second]))
                leads[form] = leader if wide else None
        measured = "; ".join(told)
        if "as stated" not in leads:
            raise _MissingError(f"no whole sweep ({measured or 'no record on real images'}); {log}")
        if leads["as stated"] == best:
            return Finding(measured, "reproduced", f"β = {best:g} leads as stated; but {log}")
        if leads.get("as published") == best:
            why = f"β = {best:g} leads only in the published form"
            return Finding(measured, "explained otherwise", f"{why}; {log}")
        leader = leads["as stated"]
        why = f"β = {leader:g} leads" if leader else "none leads by more than the seeds' deviation"
        return Finding(measured, "not reproduced", f"{why}; {log}")

    return rule


def _inference_free(evidence: Evidence) -> Finding:
    made = evidence.comparison
    if made is None:
        raise _MissingError("inference with and without learned noise was not compared")
    extra = made.second.parameters - made.first.parameters
    kinds = (
        ("latency", made.latency_ms),
        ("throughput", made.throughput_img_s),
        ("memory", made.memory_mb),
    )
    differs = [kind for kind, values in kinds if values and tables.sign_test(values) < CHANCE]
    latency = Spread.of(made.latency_ms)
    told = (
        f"{extra:+,} parameters, {latency.median:+.2f} ms [{latency.low:+.2f} to "
        f"{latency.high:+.2f}]"
    )
    if extra or differs:
        what = ", ".join(differs) or "the number of parameters"
        return Finding(told, "not reproduced", f"the two differ in {what}")
    published = tables.published()["slides"]["table_efficiency"]["learned_noise"]
    counts = tables.published()["parameter_counts_256"]
    more = published["parameters"] - counts["scenario_a_resnet18"]
    why = (
        "the generator is no part of the kept network. The slides measured it along with the "
        f"network ({more:+,} parameters); their +2.10 MB are 2 MiB, one block of the allocator"
    )
    return Finding(told, "reproduced", why)


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
