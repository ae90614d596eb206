"""The ledger: what the slides claim, and what the records say of it, by stated rules.

A claim is data and one rule; no verdict is typed by hand, and adding a claim is one more entry.

- Only records on real images with trained backbone weights are evidence.
- Two means differ when they are further apart than twice the standard error that the published
  deviation between seeds gives them (`margin`): 5.5 points of I-AUROC for single runs.
- A training has *learned* when its last loss lies 10 % below that of a network that answers 0
  everywhere, and *saturated* when it is not even 1 % of it: nothing is left to learn from. It has
  *collapsed* when it diverged or ended above where it began. Else it is undecided: too short.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from ssn_lib import tables
from ssn_lib.efficiency import Comparison, Spread
from ssn_lib.losses import ignorance_loss
from ssn_lib.runs import Outcome, Record
from ssn_lib.supervision_tables import (
    KSDD2,
    LABEL_PRESETS,
    NEAR,
    PUBLISHED_MASKS,
    Chosen,
    best_label_only,
)

SCREW = "screw"
SATURATED_LOSS = 0.01 * ignorance_loss(True)
CHANCE = 0.05  # a cost differs when a sign test finds less than this
FULL = "`python -m ssn_lib study --profile full --only {}` decides it"

State = Literal["learned", "saturated", "collapsed", "undecided"]
Verdict = Literal["reproduced", "not reproduced", "explained otherwise", "not measurable here"]


@dataclass(frozen=True)
class Evidence:
    """What rules look at.

    Attributes:
        outcomes: runs asked for; those that are no evidence are passed over.
        histories: (outcome, history) of those that were made.
        comparison: of inference with and without learned noise, where it was measured.
        category: of the runs that the claims are about.
        points: thresholds of GAP + CAM and what they do, where they were chosen.
    """

    outcomes: Sequence[Outcome]
    histories: Sequence[tuple[Outcome, pd.DataFrame]] = field(default_factory=list)
    comparison: Comparison | None = None
    category: str = SCREW
    points: Sequence[Chosen] = ()

    def values(self, name: str, metric: str, changed: tuple[str, ...] = ()) -> list[float]:
        """A preset's metric, seed by seed; a diverged run has none."""
        real = [o for o in self.outcomes if _is_evidence(o)]
        return tables.values(real, name, self.category, metric, changed)

    def mean(self, name: str, metric: str) -> float:
        """Over the seeds.

        Raises:
            _MissingError: no such record on real images.
        """
        known = self.values(name, metric)
        if not known:
            raise _MissingError(f"no record of {name}, {self.category}, on real images")
        return _mean(known)

    def state(self, name: str) -> tuple[State, str]:
        """How a preset's trainings ended, all seeds together, and that in words."""
        runs = [
            (outcome.record, history["loss"].tolist())
            for outcome, history in self.histories
            if (outcome.preset, outcome.category, outcome.changes) == (name, self.category, ())
            and _is_evidence(outcome)
        ]
        if not runs:
            raise _MissingError(f"no record of {name}, {self.category}, on real images")
        diverged = [record for record, _ in runs if record.status == "diverged"]
        if diverged:
            return "collapsed", f"diverged in epoch {diverged[0].diverged_at}"
        first, last = (sum(loss[i] for _, loss in runs) / len(runs) for i in (0, -1))
        told = f"loss {first:.3g} → {last:.3g} in {runs[0][0].epochs_done} epochs"
        if last < SATURATED_LOSS:
            return "saturated", told
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
    notes = (
        f"Evidence: {caption}. Published: 300 epochs, one seed.",
        "Two means differ when they are further apart than twice the standard error by the "
        "published deviation between seeds.",
    )
    if evidence.histories:
        notes += (
            "Learned: the last loss lies 10 % below that of answering 0 everywhere; saturated: "
            "below 1 % of it; collapsed: diverged, or ended above its start.",
        )
    return tables.Table("Published claims", pd.DataFrame(rows), notes)


def margin(metric: str, first: int, second: int, strips: bool = False) -> float:
    """How far two means of so many seeds must be apart to differ, in points; see the module.

    Args:
        strips: by the deviation on KSDD2 with labels alone, else by that on screw.
    """
    jims = tables.published()["supersimplenet_jims2025"]
    row = jims[KSDD2][PUBLISHED_MASKS[0]] if strips else jims["mvtec_ad"][SCREW]
    return 2 * row[metric]["std"] * math.sqrt(1 / first + 1 / second)


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
        raise _MissingError(f"{told}: too short; {FULL.format('02')}")
    if stated == "collapsed":
        return Finding(told, "reproduced", "the rule as stated collapses too")
    if published == "collapsed":
        why = "published were cancelling gradients: the detector never trained; as stated "
        why += (
            "it wins at once, and the generator is left without a gradient"
            if stated == "saturated"
            else "it learns"
        )
        return Finding(told, "explained otherwise", why)
    return Finding(told, "not reproduced", "neither form collapses")


def _v2_stabilises(evidence: Evidence) -> Finding:
    v1, v1_told = evidence.state("learned_noise_v1")
    v2, v2_told = evidence.state("learned_noise_v2")
    told = f"as stated: v1 {v1_told}; v2 {v2_told}"
    if v2 == "collapsed":
        return Finding(told, "not reproduced", f"v2 as stated collapses; v1 has {v1}")
    if "undecided" in (v1, v2):
        raise _MissingError(f"{told}: too short; {FULL.format('02')}")
    if v1 == "collapsed":
        return Finding(told, "reproduced", "v1 collapses, v2 learns")
    why = f"v1 as stated has {v1}; the published v1 failed for its cancelled gradients"
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
                f"Scenario A has not learned yet ({course}), so {told} compares nothing; "
                f"{FULL.format('02')}; {log}"
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
            swept = {
                beta: evidence.values(name, metric, tables.beta_changes(beta))
                for beta in tables.BETAS
            }
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


def _from_labels(metric: str) -> Callable[[Evidence], Finding]:
    """GAP + CAM reaches the slides' figure on KSDD2; other images only show where it stands."""

    def rule(evidence: Evidence) -> Finding:
        found = evidence.mean("gap_cam", metric)
        published = tables.published()["slides"]["weak_ksdd2_gap_cam"][metric]
        told = f"{evidence.category}: {found:.1f}"
        if evidence.category != KSDD2:
            raise _MissingError(f"{told}; other images than KSDD2's; {FULL.format('03')}")
        short = published - found
        wide = margin(metric, len(evidence.values("gap_cam", metric)), 1, strips=True)
        if short > wide:
            return Finding(told, "not reproduced", f"{short:.1f} below, more than {wide:.1f}")
        return Finding(told, "reproduced", f"within {wide:.1f} points, or above")

    return rule


def _youden(evidence: Evidence) -> Finding:
    evidence.mean("gap_cam", "I-AUROC")  # the scores must be of real images
    if len(evidence.points) < 2:
        raise _MissingError("no threshold chosen without test labels: its folds were not run")
    on_test, without = (chosen.point for chosen in evidence.points[:2])
    gain = (on_test.tpr.value - on_test.fpr.value) - (without.tpr.value - without.fpr.value)
    told = "; ".join(
        f"{chosen.how}: TPR {100 * chosen.point.tpr.value:.1f}, "
        f"FPR {100 * chosen.point.fpr.value:.1f}"
        for chosen in evidence.points
    )
    if evidence.category != KSDD2:
        raise _MissingError(
            f"{told} ({100 * gain:.1f} points of J come from choosing on the test); other images "
            f"than KSDD2's; {FULL.format('03')}"
        )
    slides = tables.published()["slides"]["weak_ksdd2_gap_cam"]
    inside = (
        100 * on_test.tpr.low <= slides["TPR"] <= 100 * on_test.tpr.high
        and 100 * on_test.fpr.low <= slides["FPR"] <= 100 * on_test.fpr.high
    )
    why = f"chosen on the test scores, as published; without them {100 * gain:.1f} points of J less"
    return Finding(told, "reproduced" if inside else "not reproduced", why)


def _blob(evidence: Evidence) -> Finding:
    log = tables.published_log("gap_cam", KSDD2)["AP-loc"]
    fell = f"the published run had {log.max():.1f} early and {log.iloc[-1]:.1f} at the end"
    published = evidence.mean("gap_cam", "sigmoid-AP-loc")
    raw = evidence.mean("gap_cam", "AP-loc")
    real = [outcome for outcome in evidence.outcomes if _is_evidence(outcome)]
    name, best = best_label_only(real, evidence.category)
    told = f"sigmoid {published:.1f}, raw {raw:.1f}, best label-only map {best:.1f} ({name})"
    wide = margin("AP-loc", 1, 1, strips=True)
    if max(raw, best) - published > wide:
        why = f"maps of the same resolution do better without a mask; {fell}, at one resolution"
        return Finding(told, "explained otherwise", why)
    absent = [name for name in LABEL_PRESETS if not evidence.values(name, "AP-loc")]
    if absent:
        raise _MissingError(f"{told}; no record yet of {', '.join(absent)}; {fell}")
    return Finding(told, "reproduced", f"no label-only map does better by {wide:.1f}; but {fell}")


def _cure(evidence: Evidence) -> Finding:
    before, after = (evidence.mean(name, "AP-loc") for name in ("gap_cam", "mixed_ssn"))
    weak = evidence.mean("weak_ssn", "AP-loc")
    wide = margin("AP-loc", 1, 1, strips=True)
    told = f"AP-loc: GAP + CAM {before:.1f}, SSN without masks {weak:.1f}, with 10 % {after:.1f}"
    if after - before <= wide:
        return Finding(told, "not reproduced", f"no gain beyond {wide:.1f} points")
    if after - weak <= wide:
        why = "the gain is the segmentation head's, which needs no mask"
        return Finding(told, "explained otherwise", why)
    return Finding(told, "reproduced", f"each step gains more than {wide:.1f} points")


def _comparison_rows(evidence: Evidence) -> Finding:
    """No measurement: whether the slides' AP-loc figures occur in the published tables of KSDD2."""
    jims = tables.published()["supersimplenet_jims2025"][KSDD2]
    icpr = tables.published()["supersimplenet_icpr2024"]["ksdd2_full_supervision"]
    known = [row["AP-loc"]["mean"] for row in (*jims.values(), icpr)]
    cited = [
        row["AP-loc"]
        for row in tables.published()["slides"]["table_ksdd2_comparison"]
        if row["method"] != "GAP+CAM"
    ]
    told = f"published AP-loc on KSDD2: {min(known):.1f} to {max(known):.1f}"
    if all(min(abs(figure - value) for value in known) <= NEAR for figure in cited):
        return Finding(told, "reproduced", "the figures are in the published tables")
    return Finding(told, "not reproduced", "the figures occur in no published table of KSDD2")


def _cost_of_labels(evidence: Evidence) -> Finding:
    weak, full = (evidence.mean(name, "AP-det") for name in ("gap_cam", "full_ssn"))
    told = f"GAP + CAM {weak:.1f}, all masks {full:.1f}: {weak - full:+.1f} ({evidence.category})"
    wide = margin("AP-det", 1, 1, strips=True)
    if weak < full - 2.9 - wide:
        return Finding(told, "not reproduced", "labels alone cost more")
    return Finding(told, "reproduced", f"no more than the published 2.9 points (± {wide:.1f})")


WEAK = (
    Claim(
        "labels-detect",
        "Image labels alone suffice to detect",
        "I-AUROC 98.6",
        _from_labels("I-AUROC"),
    ),
    Claim("labels-ap", "…and to rank", "AP-det 94.5", _from_labels("AP-det")),
    Claim(
        "labels-cost",
        "They cost 2.9 points of AP-det against full supervision",
        "−2.9",
        _cost_of_labels,
    ),
    Claim("youden", "Youden's threshold 0.2489", "TPR 91.8, FPR 2.2", _youden),
    Claim(
        "blob",
        "AP-loc is low because CAMs have a low resolution (blob effect)",
        "AP-loc 7.4",
        _blob,
    ),
    Claim(
        "comparison-rows",
        "SimpleNet and SuperSimpleNet localise with AP-loc 89.6 and 93",
        "89.6, 93",
        _comparison_rows,
    ),
)
MIXED = (
    Claim(
        "mixed-cures",
        "90 % labels and 10 % masks cure the blob effect",
        "outlook, no figure",
        _cure,
    ),
)
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
