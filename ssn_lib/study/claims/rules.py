"""The ledger: what the slides claim, and what the records say of it, by stated rules.

A claim is data and one rule; no verdict is typed by hand, and adding a claim is one more entry. A
rule returns its finding together with what it rests on; it changes nothing.

- What is evidence, and when two figures differ, is told in `study/README.md`.
- Too short a training refutes nothing (`judge`), unless what it does is claimed to be impossible
  (`Claim.notebook`); nor does it show that there is no difference (`evidence.whole_trainings`).
- Where a claim's own images (`Claim.data`) do not decide it, as where they were not at hand, its
  rule is asked a second time, about others. What it says there is no verdict and is never counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import pandas as pd

from ssn_lib.study.claims.evidence import (
    Basis,
    Evidence,
    MissingError,
    sources,
    whole_trainings,
)
from ssn_lib.study.tables.table import EMPTY, Table

CHANCE = 0.05  # costs differ when a sign test finds less than this, shared among the costs tested
HIGH = 90.0  # percent from which on a network sees, by its I-AUROC, or a precision is near 1
MEMORY_POINTS = 5  # within which a published change of memory is reproduced
DECIDES = "notebook {} by the profile `full` decides it"
Verdict = Literal["reproduced", "not reproduced", "explained otherwise", "not measurable here"]
ELSEWHERE: dict[Verdict, str] = {  # the same, of other images than the claim's
    "reproduced": "agrees on",
    "not reproduced": "disagrees on",
    "explained otherwise": "explained otherwise on",
    "not measurable here": "not decided on",
}


@dataclass(frozen=True)
class Finding:
    """What a rule found.

    Attributes:
        measured: the figures in words.
        verdict: on the claim.
        why: the reason for the verdict.
        rests_on: the runs and costs that the figures were taken from; empty where they are all
            published ones. The ledger's evidence is made of it.
    """

    measured: str
    verdict: Verdict
    why: str
    rests_on: Basis


@dataclass(frozen=True)
class Claim:
    """One checkable statement of the slides.

    Attributes:
        id: short and stable.
        text: what is claimed.
        published: the slides' figures for it.
        rule: the computation that checks it.
        notebook: the one whose whole trainings decide it; None where their length does not matter,
            since short ones can refute it too or none is looked at.
        data: the category that its figures are of, which the rule is asked about first. None where
            the rule names its categories itself, or where the claim is of no particular images: a
            cause, or a remedy.
    """

    id: str
    text: str
    published: str
    rule: Callable[[Evidence], Finding]
    notebook: str | None
    data: str | None = None


def judge(claims: Sequence[Claim], evidence: Evidence) -> pd.DataFrame:
    """The verdict on each of those claims, a row each; too short a training refutes none."""
    return pd.DataFrame([_row(claim, evidence) for claim in claims])


def _row(claim: Claim, evidence: Evidence) -> dict[str, str]:
    own = evidence.on(claim.data or evidence.category)
    finding = _finding(claim, own)
    why, basis, elsewhere = finding.why, sources(finding.rests_on), EMPTY
    undecided = finding.verdict == "not measurable here"
    if undecided and claim.notebook is not None:
        absent = claim.data is not None and not own.has(own.category)
        why += f"; {DECIDES.format(claim.notebook)}" + (", given these images" if absent else "")
    if undecided and evidence.category != own.category:
        other = _finding(claim, evidence)
        words = [text for text in (other.measured, other.why) if text != EMPTY]
        elsewhere = f"{ELSEWHERE[other.verdict]} {evidence.title}: {'; '.join(words)}"
        if other.rests_on:
            known = [] if basis == EMPTY else [basis]
            basis = "; ".join([*known, f"elsewhere: {sources(other.rests_on)}"])
    return {
        "claim": claim.text,
        "verdict": finding.verdict,
        "elsewhere": elsewhere,
        "published": claim.published,
        "measured here": finding.measured,
        "why": why,
        "evidence": basis,
        "id": claim.id,
    }


def _finding(claim: Claim, evidence: Evidence) -> Finding:
    """What the claim's rule finds, unless too short a training refutes it."""
    try:
        finding = claim.rule(evidence)
        if finding.verdict == "not reproduced" and claim.notebook is not None:
            whole_trainings(finding.measured, finding.rests_on)
    except MissingError as missing:
        return Finding(missing.measured, "not measurable here", missing.why, missing.rests_on)
    return finding


def _by_tables(frame: pd.DataFrame) -> str:
    """How many verdicts compare published figures alone, in words."""
    decided = frame[frame["verdict"] != "not measurable here"]
    count = (decided["evidence"] == EMPTY).sum()
    return f" {count} of the verdicts compare published figures and need no run." if count else ""


def ledger(*judged: pd.DataFrame) -> Table:
    """The ledger: verdicts on claims, by `judge`, and how they are come to."""
    frame = pd.concat(judged, ignore_index=True)
    counts = frame["verdict"].value_counts()
    sums = ", ".join(f"{counts[name]} {name}" for name in get_args(Verdict) if name in counts)
    return Table(
        "Verdicts on the published claims, and what they rest on",
        frame,
        (
            f"{len(frame)} claims: {sums}." + _by_tables(frame),
            "A notebook that decides a claim: `python -m ssn_lib study --profile full --only 03 "
            "--data-root …` runs 03 by the profile `full`.",
            "Elsewhere: where a claim's own images do not decide it, as where they were not at "
            "hand, what the same rule finds on others. Figures of other images do not compare, so "
            "that is a hint, no verdict, and is not counted. A "
            "claim of a cause or of a remedy is of no particular images; it is judged on those at "
            "hand, which are named.",
            "`make gpu` runs the published protocol on a GPU, a training in minutes.",
            "Published: 300 epochs, one seed, Tesla P100. After `… --profile full`, the verdicts "
            "are in `runs/full/report.html`; after it, or after `make bench` on a GPU, `python -m "
            "ssn_lib report --add-runs runs` brings them here.",
            "A training is whole when it has seen as many images as the published one, in batches "
            "of any size: as many epochs. What only shorter ones would refute is not measurable "
            "here. Trainings whose figures are compared are equally long.",
            "Two means differ when they are further apart than twice their standard error; the "
            "deviation between seeds is taken to be the published one, the one measured here, or "
            "1 point, whichever is largest. "
            "Learned noise counts as better only where it is better twice: in the last epoch, and "
            "in the mean of the evaluations within the last 100 epochs (every 20, the last "
            "included), where the test metrics were kept as long as that. A single epoch may be a "
            "matter of chance. Of a published run the evaluations count that are kept of its log.",
            f"Other bounds: a change of memory is reproduced within {MEMORY_POINTS} points; a "
            f"network sees, or a precision is near 1, from {HIGH:g} % on; two costs differ where a "
            f"sign test finds less than {CHANCE:g}.",
            "screw-blind cannot come out as reproduced: in the slides' own table the maximum of "
            "the same network's map tells more than its score.",
            "How a training ended is told by its last loss, set against the loss of a network that "
            "answers 0 everywhere. Saturated: it is below 1 % of that loss. Learned: it is at "
            "least 10 % below that loss. Collapsed: it is not finite, or 10 % above both that loss "
            "and the first epoch's. Stuck: none of these after a whole training. Not stable: in "
            "one of the last 100 epochs of a whole training the loss is where it would count as "
            "collapsed.",
        ),
    )
