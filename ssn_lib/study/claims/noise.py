"""What the slides claim of Modification 2: learned noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ssn_lib.study.claims.evidence import (
    Evidence,
    MissingError,
    Runs,
    State,
    swing,
    whole_trainings,
)
from ssn_lib.study.claims.rules import CHANCE, Claim, Finding
from ssn_lib.study.costs.records import Spread
from ssn_lib.study.profiles import SCREW
from ssn_lib.study.published import last_epochs, published_figures, published_log
from ssn_lib.study.records import is_whole
from ssn_lib.study.statistics import sign_test
from ssn_lib.study.systems import (
    BETAS,
    LAST_EPOCHS,
    LEARNED_CATEGORIES,
    SWEEP_PRESETS,
    V2_FORMS,
    beta_changes,
    short,
)
from ssn_lib.study.tables.table import EMPTY

NOTEBOOK = "02"

# What becomes of a training, of its preset as stated.
ENDS: dict[State, str] = {
    "learned": "it learns",
    "saturated": "the detector wins at once, and the generator is left without a gradient",
    "stuck": "it learns nothing, yet its loss does not rise",
    "collapsed": "it collapses",
    "undecided": "too short to tell",
    "mixed": "its seeds end differently",
}


def _v1_collapses(evidence: Evidence) -> Finding:
    basis = tuple(map(evidence.runs, ("learned_noise_v1_published", "learned_noise_v1")))
    (published, published_course), (stated, stated_course) = (runs.state() for runs in basis)
    measured = f"as published: {published_course}; as stated: {stated_course}"
    if stated == "collapsed":
        return Finding(measured, "reproduced", "the rule as stated collapses too", rests_on=basis)
    _check_ends((stated, published), measured, basis)
    if published == "collapsed":
        why = "as published the gradients cancel and the detector never trains; as stated "
        return Finding(measured, "explained otherwise", why + ENDS[stated], rests_on=basis)
    return Finding(measured, "not reproduced", "neither form collapses", rests_on=basis)


def _v2_stabilises(evidence: Evidence) -> Finding:
    basis = tuple(map(evidence.runs, ("learned_noise_v1", "learned_noise_v2")))
    (v1, v1_course), (v2, v2_course) = (runs.state() for runs in basis)
    relapses = basis[1].late_collapses() if v2 == "learned" else ""
    if v2 not in ("learned", "undecided", "mixed") or relapses:  # whatever became of v1
        why = f"{ENDS[v2]}{relapses and f', but {relapses}'}"
        measured, published = f"as stated: {v2_course}", _published_v2_holds(evidence)
        if published is None:
            return Finding(measured, "not reproduced", why, rests_on=basis[1:])
        whole_trainings(measured, basis[1:])
        course, runs = published
        why = (
            "as published v1 collapses and v2 does not, but nothing adversarial is stabilised: its "
            "detector always trains, and its generator only makes the noise smaller; as stated "
            f"{why}"
        )
        basis = (*runs, basis[1])
        return Finding(f"{course}; {measured}", "explained otherwise", why, rests_on=basis)
    measured = f"as stated: v1 {v1_course}; v2 {v2_course}"
    _check_ends((v1, v2), measured, basis)
    if v1 == "collapsed":
        return Finding(measured, "reproduced", "v1 collapses, v2 learns", rests_on=basis)
    why = f"v1 as stated: {ENDS[v1]}; the published v1 failed for its cancelled gradients"
    return Finding(measured, "explained otherwise", why, rests_on=basis)


def _published_v2_holds(evidence: Evidence) -> tuple[str, tuple[Runs, ...]] | None:
    """The courses of v1 and v2 as published, in words, and their runs: if v1 collapses, and a whole
    training of v2 learns and stands in none of its last epochs where it would count as collapsed.
    Else None."""
    try:
        v1, v2 = map(evidence.runs, ("learned_noise_v1_published", V2_FORMS["as published"]))
        ends, courses = zip(v1.state(), v2.state(), strict=True)
    except MissingError:
        return None
    whole = all(map(is_whole, v2.records))
    if not whole or ends != ("collapsed", "learned") or v2.late_collapses():
        return None
    return f"as published: v1 {courses[0]}, v2 {courses[1]}", (v1, v2)


def _check_ends(states: Sequence[State], measured: str, basis: Sequence[Runs]) -> None:
    """Raise MissingError where one of these ends decides nothing."""
    for end in ("undecided", "mixed"):
        if end in states:
            raise MissingError(ENDS[end], measured, basis)


def _fluctuation(run: str, metric: str) -> str:
    """How far a published run's metric moved in its last epochs, by its log, in words."""
    last = last_epochs(published_log(run, SCREW), LAST_EPOCHS)[metric]
    return (
        f"in its last {LAST_EPOCHS} epochs the published run's {metric} moves from "
        f"{last.min():.0f} to {last.max():.0f}"
    )


def _against_a(metric: str, better: bool) -> Callable[[Evidence], Finding]:
    """v2 above (or below) Scenario A in one metric, in both forms."""
    sign = 1 if better else -1

    def rule(evidence: Evidence) -> Finding:
        log = _fluctuation("learned_noise_v2_published", metric)
        try:
            basis = evidence.alike("scenario_a", *V2_FORMS.values())
            reference, *means = (runs.mean(metric) for runs in basis)
        except MissingError as missing:
            raise MissingError(f"{missing.why}; {log}", rests_on=missing.rests_on) from None
        a, *forms = basis
        measured = f"A {reference:.1f}; " + ", ".join(
            f"v2 {form} {value:.1f}" for form, value in zip(V2_FORMS, means, strict=True)
        )
        log += swing(metric, basis)
        state, course = a.state()
        unfit = {
            "undecided": "has not learned yet",
            "collapsed": "has collapsed",
            "mixed": f"tells nothing, as {ENDS['mixed']}",
        }
        if state in unfit:
            why = f"Scenario A {unfit[state]} ({course}), so this compares nothing; {log}"
            raise MissingError(why, measured, basis)
        published, stated = (
            sign * (value - reference) / runs.margin(metric, a)
            for runs, value in zip(forms, means, strict=True)
        )  # gains in margins
        if max(published, stated) >= 1:
            form, v2 = ("as stated", forms[1]) if stated >= 1 else ("as published", forms[0])
            lead = v2.lead(a, metric) if better else a.lead(v2, metric)
            if lead < v2.margin(metric, a):
                why = f"{_draw(a, v2, form, metric)}; {log}"
                return Finding(measured, "explained otherwise", why, rests_on=basis)
            if form == "as stated":
                why = f"holds for the rule as stated; but {log}"
                return Finding(measured, "reproduced", why, rests_on=basis)
            why = "holds only for the published form, whose generator was never adversarial"
            return Finding(measured, "explained otherwise", f"{why}; {log}", rests_on=basis)
        opposite = min(published, stated) <= -1
        why = "the opposite" if opposite else "no difference beyond the seeds'"
        return Finding(measured, "not reproduced", f"{why}; {log}", rests_on=basis)

    return rule


def _draw(a: Runs, v2: Runs, form: str, metric: str) -> str:
    """That v2 in that form differs from Scenario A in its last epoch alone, in words."""
    return (
        f"the last epoch's draw: over the last {LAST_EPOCHS} epochs v2 {form} has "
        f"{v2.late_mean(metric):.1f} on average and A {a.late_mean(metric):.1f}, no further apart "
        "than two seeds of one system"
    )


def _best_beta(metric: str, best: float, run: str) -> Callable[[Evidence], Finding]:
    """One β leads the sweep in one metric by the margin, in either form. That it leads takes all β;
    that it does not takes one that it does not beat."""

    def rule(evidence: Evidence) -> Finding:
        sweeps = {form: _sweep(evidence, name, metric) for form, name in V2_FORMS.items()}
        basis = tuple(runs for sweep in sweeps.values() for runs in sweep.values())
        figures = "; ".join(
            f"{form} " + ", ".join(_at_the_end(beta, runs, metric) for beta, runs in sweep.items())
            for form, sweep in sweeps.items()
            if sweep
        )
        if any(runs.late_values(metric) for runs in basis):
            figures += f" (last epoch / mean over the last {LAST_EPOCHS})"
        log = _fluctuation(run, metric) + swing(metric, basis)
        leads = {form: _leads(metric, best, sweep) for form, sweep in sweeps.items()}
        published, stated = leads["as published"], leads["as stated"]
        if stated is None:
            why = f"as stated: {_to_run(best, sweeps['as stated'])}; {log}"
            if published is False:
                lead = f"β = {best:g} is not ahead by more than the seeds' deviation"
                why = f"as published {lead}; {why}"
            raise MissingError(why, figures or EMPTY, basis)
        if stated:
            why = f"β = {best:g} leads as stated; but {log}"
            return Finding(figures, "reproduced", why, rests_on=basis)
        if published:
            whole_trainings(figures, basis)
            why = f"β = {best:g} leads only in the published form; {log}"
            return Finding(figures, "explained otherwise", why, rests_on=basis)
        why = f"as stated β = {best:g} {_behind(metric, best, sweeps['as stated'])}"
        if published is None:
            why += f"; as published: {_to_run(best, sweeps['as published'])}"
        return Finding(figures, "not reproduced", f"{why}; {log}", rests_on=basis)

    return rule


def _sweep(evidence: Evidence, name: str, metric: str) -> dict[float, Runs]:
    """A preset's runs by their β, equally long: the whole ones, or else the longest of several β,
    or as long as all β have in common. A run without the metric is left out."""
    ran = [beta for beta in BETAS if evidence.ran(name, changed=beta_changes(beta))]
    if not ran:
        return {}
    sweep = {beta: evidence.runs(name, changed=beta_changes(beta)) for beta in ran}
    most = max(runs.epochs for runs in sweep.values())
    longest = {beta: runs for beta, runs in sweep.items() if runs.epochs == most}
    whole = all(is_whole(record) for runs in longest.values() for record in runs.records)
    if len(longest) == 1 and not whole:
        equal = evidence.alike(*((name, beta_changes(beta)) for beta in ran))
        longest = dict(zip(ran, equal, strict=True))
    return {beta: runs for beta, runs in longest.items() if runs.values(metric)}


def _leads(metric: str, best: float, sweep: dict[float, Runs]) -> bool | None:
    """Whether a β beats all others by the margin. None where that would take more runs."""
    if best not in sweep:
        return None
    leader = sweep[best]
    for beta, runs in sweep.items():
        if beta != best and leader.lead(runs, metric) < leader.margin(metric, runs):
            return False
    return True if len(sweep) == len(BETAS) else None


def _at_the_end(beta: float, runs: Runs, metric: str) -> str:
    """A β's figure after the last epoch and, where it is known, its mean over the last ones."""
    late = runs.late_mean(metric)
    return f"β {beta:g}: {runs.mean(metric):.1f}{'' if late is None else f' / {late:.1f}'}"


def _behind(metric: str, best: float, sweep: dict[float, Runs]) -> str:
    """That a β does not lead, in words."""
    first = max(sweep, key=lambda beta: sweep[beta].mean(metric))
    short = sweep[first].mean(metric) - sweep[best].mean(metric)
    if short > 0:
        return f"is {short:.1f} points behind β = {first:g}"
    return "does not lead by more than the seeds' deviation"


def _to_run(best: float, sweep: dict[float, Runs]) -> str:
    """What a verdict would take, in words."""
    absent = [beta for beta in BETAS if beta not in sweep]
    wanted = [best] if best in absent else absent
    return f"no whole run of β = {', '.join(f'{beta:g}' for beta in wanted)} on real images"


def _inference_free(evidence: Evidence) -> Finding:
    comparison = evidence.comparison
    if comparison is None:
        raise MissingError(
            "inference with and without learned noise was not compared; `python -m ssn_lib study "
            "--only 02` does"
        )
    basis = (comparison.first,)
    extra = comparison.second.parameters - comparison.first.parameters
    kinds = (
        ("latency", comparison.latency_ms),
        ("throughput", comparison.throughput_img_s),
        ("memory", comparison.memory_mb),
    )
    tested = [(kind, values) for kind, values in kinds if values]
    differs = [kind for kind, v in tested if sign_test(v) < CHANCE / len(tested)]
    latency = Spread.of(comparison.latency_ms)
    measured = (
        f"{extra:+,} parameters, {latency.median:+.2f} ms [{latency.low:+.2f} to "
        f"{latency.high:+.2f}]"
    ).replace("-", "−")
    if extra or differs:
        what = ", ".join(differs) or "the number of parameters"
        return Finding(measured, "not reproduced", f"the two differ in {what}", rests_on=basis)
    repetitions = len(comparison.latency_ms)
    if sign_test([1.0] * repetitions) >= CHANCE / len(tested):  # even if all had the same sign
        why = f"{repetitions} repetitions are too few to tell two latencies apart"
        raise MissingError(f"{why}; the profile `quick` makes more", measured, basis)
    published = published_figures()["slides"]["table_efficiency"]["learned_noise"]
    counts = published_figures()["parameter_counts_256"]
    more = published["parameters"] - counts["scenario_a_resnet18"]
    why = (
        "the generator is no part of the kept network. The slides measured it along with the "
        f"network ({more:+,} parameters); their +2.10 MB are 2 MiB, one block of the allocator"
    )
    return Finding(measured, "reproduced", why, rests_on=basis)


def _key_to_accuracy(evidence: Evidence) -> Finding:
    """Against the simplest remedy: Gaussian noise that is larger."""
    gains, told, basis, once = [], [], (), []  # gains in margins
    for category in LEARNED_CATEGORIES:
        runs = evidence.alike("scenario_a_relative", *SWEEP_PRESETS, category=category)
        basis += runs
        larger, *learned = runs
        best = max(learned, key=lambda one: one.mean("I-AUROC"))
        pairs = [(larger.mean("I-AUROC"), best.mean("I-AUROC"))]
        late = (larger.late_mean("I-AUROC"), best.late_mean("I-AUROC"))
        if None not in late:
            pairs.append(late)
        wide = best.margin("I-AUROC", larger)
        gains.append(best.lead(larger, "I-AUROC") / wide)
        if gains[-1] <= 1 and best.mean("I-AUROC") - larger.mean("I-AUROC") > wide:
            once.append(category)
        simple, value = (
            " and ".join(f"{figure:.1f}" for figure in figures)
            for figures in zip(*pairs, strict=True)
        )
        text = f"{category}, I-AUROC: larger σ {simple}, {short(best.name)} {value}"
        if len(pairs) > 1:
            text += f" (last epoch and mean over the last {LAST_EPOCHS})"
        told.append(text)
    measured, moves = "; ".join(told), swing("I-AUROC", basis)
    if min(gains) > 1:
        why = "learned noise does better on both" + moves
        return Finding(measured, "reproduced", why, rests_on=basis)
    if max(gains) > 1:
        why = "it does better on one of two categories" + moves
        return Finding(measured, "not reproduced", why, rests_on=basis)
    why = "Gaussian noise of 12 % of the features' spread does as well or better, without a network"
    if once:
        ahead = f"on {' and '.join(once)} learned noise is ahead in the last epoch alone"
        why = f"{ahead}; over the last {LAST_EPOCHS} {why}"
    return Finding(measured, "not reproduced", why + moves, rests_on=basis)


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
