"""What the slides claim of Modification 2: learned noise."""

from __future__ import annotations

from collections.abc import Callable

from ssn_lib.study.claims.evidence import SCREW, Evidence, MissingError, State, margin, mean
from ssn_lib.study.claims.rules import CHANCE, Claim, Finding, whole_trainings
from ssn_lib.study.costs.records import Spread
from ssn_lib.study.published import last_epochs, published_figures, published_log
from ssn_lib.study.systems import (
    BETAS,
    LAST_EPOCHS,
    LEARNED_CATEGORIES,
    SWEEP_PRESETS,
    beta_changes,
)
from ssn_lib.study.tables.noise import sign_test
from ssn_lib.study.tables.table import EMPTY

NOTEBOOK = "02"


# What becomes of a training, of its preset as stated.
ENDS: dict[State, str] = {
    "learned": "it learns",
    "saturated": "the detector wins at once, and the generator is left without a gradient",
    "stuck": "it learns nothing, yet its loss does not rise",
    "collapsed": "it collapses",
    "undecided": "too short to tell",
}


def _v1_collapses(evidence: Evidence) -> Finding:
    published, published_told = evidence.state("learned_noise_v1_published")
    stated, stated_told = evidence.state("learned_noise_v1")
    told = f"as published: {published_told}; as stated: {stated_told}"
    if stated == "collapsed":
        return Finding(told, "reproduced", "the rule as stated collapses too")
    if "undecided" in (stated, published):
        raise MissingError("too short to tell", told)
    if published == "collapsed":
        why = "as published the gradients cancel and the detector never trains; as stated "
        return Finding(told, "explained otherwise", why + ENDS[stated])
    return Finding(told, "not reproduced", "neither form collapses")


def _v2_stabilises(evidence: Evidence) -> Finding:
    v1, v1_told = evidence.state("learned_noise_v1")
    v2, v2_told = evidence.state("learned_noise_v2")
    told = f"as stated: v1 {v1_told}; v2 {v2_told}"
    if v2 in ("collapsed", "stuck"):
        return Finding(told, "not reproduced", f"v2 as stated: {ENDS[v2]}; v1: {ENDS[v1]}")
    if "undecided" in (v1, v2):
        raise MissingError("too short to tell", told)
    if v1 == "collapsed":
        return Finding(told, "reproduced", "v1 collapses, v2 learns")
    why = f"v1 as stated: {ENDS[v1]}; the published v1 failed for its cancelled gradients"
    return Finding(told, "explained otherwise", why)


def _fluctuation(run: str, metric: str) -> str:
    """How far a published run's metric moved in its last epochs, by its log, in words."""
    last = last_epochs(published_log(run, SCREW), LAST_EPOCHS)[metric]
    return (
        f"in its last {LAST_EPOCHS} epochs the published run's {metric} moves from "
        f"{last.min():.0f} to {last.max():.0f}"
    )


def _against_a(metric: str, better: bool) -> Callable[[Evidence], Finding]:
    """v2 above (or below) Scenario A in one metric, in both forms."""
    forms = {"as published": "learned_noise_v2_published", "as stated": "learned_noise_v2"}

    def rule(evidence: Evidence) -> Finding:
        log = _fluctuation("learned_noise_v2_published", metric)
        try:
            even = evidence.alike("scenario_a", *forms.values())
            reference = even.mean("scenario_a", metric)
            means = {form: even.mean(name, metric) for form, name in forms.items()}
        except MissingError as missing:
            raise MissingError(f"{missing.why}; {log}") from None
        told = f"A {reference:.1f}; "
        told += ", ".join(f"v2 {form} {value:.1f}" for form, value in means.items())
        log += evidence.swing(metric)
        state, course = even.state("scenario_a")
        if state in ("undecided", "collapsed"):
            found = "has collapsed" if state == "collapsed" else "has not learned yet"
            raise MissingError(
                f"Scenario A {found} ({course}), so this compares nothing; {log}", told
            )
        sign = 1 if better else -1
        gains = {
            form: sign * (means[form] - reference) / even.margin(metric, name, "scenario_a")
            for form, name in forms.items()
        }  # in margins
        if gains["as stated"] >= 1:
            draw = _drawn(even, metric, sign)
            if draw:
                return Finding(told, "explained otherwise", f"{draw}; {log}")
            return Finding(told, "reproduced", f"holds for the rule as stated; but {log}")
        if gains["as published"] >= 1:
            why = "holds only for the published form, whose generator was never adversarial"
            return Finding(told, "explained otherwise", f"{why}; {log}")
        kind = "the opposite" if min(gains.values()) <= -1 else "no difference beyond the seeds'"
        return Finding(told, "not reproduced", f"{kind}; {log}")

    return rule


def _drawn(even: Evidence, metric: str, sign: int) -> str:
    """Why v2's lead over Scenario A (times `sign`) is its last epoch's alone; empty where it is
    not, or where no course tells."""
    names = ("learned_noise_v2", "scenario_a")
    v2, a = (even.late_mean(name, metric) for name in names)
    if v2 is None or a is None or sign * (v2 - a) >= even.margin(metric, *names):
        return ""
    return (
        f"the last epoch's draw: over the last {LAST_EPOCHS} epochs v2 as stated has "
        f"{v2:.1f} on average and A {a:.1f}, no further apart than two seeds of one system"
    )


def _best_beta(metric: str, best: float, run: str) -> Callable[[Evidence], Finding]:
    """One β leads the sweep in one metric by the margin, in either form."""

    def rule(evidence: Evidence) -> Finding:
        log = _fluctuation(run, metric)
        told, leads = [], {}
        for form, name in (
            ("as published", "learned_noise_v2_published"),
            ("as stated", "learned_noise_v2"),
        ):
            ran = {
                beta: (name, beta_changes(beta))
                for beta in BETAS
                if evidence.ran(name, changed=beta_changes(beta))
            }
            if not ran:
                continue
            even = evidence.alike(*ran.values())
            swept = {
                beta: values
                for beta, (_, changed) in ran.items()
                if (values := even.values(name, metric, changed))
            }
            known = {beta: mean(values) for beta, values in swept.items()}
            values = ", ".join(f"β {beta:g}: {value:.1f}" for beta, value in known.items())
            told.append(f"{form} {values}")
            if len(known) == len(BETAS):
                seeds = {beta: len(values) for beta, values in swept.items()}
                late = {beta: even.late_mean(name, metric, ran[beta][1]) for beta in ran}
                leads[form] = _leader(metric, known, seeds)
                if None not in late.values() and leads[form] != _leader(metric, late, seeds):
                    leads[form] = None
        measured = "; ".join(told)
        log += evidence.swing(metric)
        if "as stated" not in leads:
            raise MissingError(f"no whole sweep on real images; {log}", measured or EMPTY)
        if leads["as stated"] == best:
            return Finding(measured, "reproduced", f"β = {best:g} leads as stated; but {log}")
        if leads.get("as published") == best:
            whole_trainings(evidence, measured)
            why = f"β = {best:g} leads only in the published form"
            return Finding(measured, "explained otherwise", f"{why}; {log}")
        leader = leads["as stated"]
        why = f"β = {leader:g} leads" if leader else "none leads by more than the seeds' deviation"
        return Finding(measured, "not reproduced", f"{why}; {log}")

    return rule


def _leader(metric: str, values: dict[float, float], seeds: dict[float, int]) -> float | None:
    """The β whose value is the highest by more than the margin; None without one."""
    leader, second = sorted(values, key=values.__getitem__)[:-3:-1]
    wide = values[leader] - values[second] >= margin(metric, seeds[leader], seeds[second])
    return leader if wide else None


def _inference_free(evidence: Evidence) -> Finding:
    made = evidence.comparison
    if made is None:
        raise MissingError(
            "inference with and without learned noise was not compared; `python -m ssn_lib study "
            "--only 02` does"
        )
    evidence.used.append(made.first)
    extra = made.second.parameters - made.first.parameters
    kinds = (
        ("latency", made.latency_ms),
        ("throughput", made.throughput_img_s),
        ("memory", made.memory_mb),
    )
    tested = [(kind, values) for kind, values in kinds if values]
    differs = [kind for kind, v in tested if sign_test(v) < CHANCE / len(tested)]
    latency = Spread.of(made.latency_ms)
    told = (
        f"{extra:+,} parameters, {latency.median:+.2f} ms [{latency.low:+.2f} to "
        f"{latency.high:+.2f}]"
    )
    if extra or differs:
        what = ", ".join(differs) or "the number of parameters"
        return Finding(told, "not reproduced", f"the two differ in {what}")
    published = published_figures()["slides"]["table_efficiency"]["learned_noise"]
    counts = published_figures()["parameter_counts_256"]
    more = published["parameters"] - counts["scenario_a_resnet18"]
    why = (
        "the generator is no part of the kept network. The slides measured it along with the "
        f"network ({more:+,} parameters); their +2.10 MB are 2 MiB, one block of the allocator"
    )
    return Finding(told, "reproduced", why)


def _key_to_accuracy(evidence: Evidence) -> Finding:
    """Against the simplest remedy: Gaussian noise that is larger."""
    gains, told = [], []  # gains in margins
    for category in LEARNED_CATEGORIES:
        even = evidence.alike("scenario_a_relative", *SWEEP_PRESETS, category=category)
        simple = even.mean("scenario_a_relative", "I-AUROC", category)
        learned = {name: even.mean(name, "I-AUROC", category) for name in SWEEP_PRESETS}
        best = max(learned, key=learned.__getitem__)
        wide = even.margin("I-AUROC", best, "scenario_a_relative", category)
        gains.append((learned[best] - simple) / wide)
        told.append(f"{category}, I-AUROC: larger σ {simple:.1f}, v2 {learned[best]:.1f} ({best})")
    measured, swing = "; ".join(told), evidence.swing("I-AUROC")
    if min(gains) > 1:
        return Finding(measured, "reproduced", "learned noise does better on both" + swing)
    if max(gains) > 1:
        why = "it does better on one of two categories"
        return Finding(measured, "not reproduced", why + swing)
    why = "Gaussian noise of 12 % of the features' spread does as well or better, without a network"
    return Finding(measured, "not reproduced", why + swing)


LEARNED_NOISE = (
    Claim(
        "v1-collapses",
        "v1, the naive adversarial generator, collapses",
        "I-AUROC 39.9 (A: 51.1)",
        _v1_collapses,
        NOTEBOOK,
    ),
    Claim(
        "v2-stabilises",
        "v2 stabilises the adversarial training",
        "figure",
        _v2_stabilises,
        NOTEBOOK,
    ),
    Claim(
        "v2-detection",
        "v2 (β = 0.1) improves detection on screw",
        "I-AUROC 67.8 (A: 51.1)",
        _against_a("I-AUROC", better=True),
        NOTEBOOK,
    ),
    Claim(
        "v2-localisation",
        "v2 pays for it in localisation",
        "AP-loc 2.1 (A: 15.1)",
        _against_a("AP-loc", better=False),
        NOTEBOOK,
    ),
    Claim(
        "beta-detection",
        "β = 0.05 is best for detection",
        "I-AUROC 72.3",
        _best_beta("I-AUROC", 0.05, "learned_noise_v2_published beta=0.05"),
        NOTEBOOK,
    ),
    Claim(
        "beta-localisation",
        "β = 0.1 is best for localisation",
        "P-AUROC 84.8",
        _best_beta("P-AUROC", 0.1, "learned_noise_v2_published"),
        NOTEBOOK,
    ),
    Claim(
        "inference-free",
        "Learned noise costs nothing at inference",
        "+0.05 ms, −1.89 images/s, +2.10 MB",
        _inference_free,
        None,
    ),
    Claim(
        "key-to-accuracy",
        "Learned noise is the key to accuracy on limited hardware",
        "conclusion, no figure",
        _key_to_accuracy,
        NOTEBOOK,
    ),
)
