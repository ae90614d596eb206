"""What the records show of Modification 2."""

from __future__ import annotations

from ssn_lib.study.claims.evidence import SCREW, Evidence, MissingError, mean
from ssn_lib.study.claims.noise import ENDS
from ssn_lib.study.published import last_epochs, published_log
from ssn_lib.study.readings.reading import FAR, Rule, Step, against, is_above
from ssn_lib.study.systems import BETAS, LAST_EPOCHS, LEARNED_CATEGORIES, beta_changes

FORMS = {"as published": "learned_noise_v2_published", "as stated": "learned_noise_v2"}
LEVEL: tuple[Step, ...] = ("level with",)


def _last_epoch(metric: str) -> Rule:
    """v2 in both forms against Scenario A after whole trainings."""

    def rule(evidence: Evidence) -> str:
        even = evidence.alike("scenario_a", *FORMS.values())
        reference = even.mean("scenario_a", metric)
        told = [
            f"v2 {form} has {even.mean(name, metric):.1f}, "
            + against(even.mean(name, metric), reference, even.margin(metric, name, "scenario_a"))
            for form, name in FORMS.items()
        ]
        return f"On screw, {metric}: {' and '.join(told)} Scenario A with {reference:.1f}."

    return rule


def _over_the_end(evidence: Evidence) -> str:
    """The same, averaged over the last epochs: a lead of the last one alone is a draw."""
    names = ("learned_noise_v2", "scenario_a")
    even = evidence.alike(*names)
    last = [even.mean(name, "I-AUROC") for name in names]
    late = [even.late_mean(name, "I-AUROC") for name in names]
    if None in late:
        raise MissingError("the courses of these trainings, which tell of more than the last epoch")
    wide = even.margin("I-AUROC", *names)
    step, end = against(*late, wide), against(*last, wide)
    kept = "so it is no draw of the last epoch" if step == end else "the last epoch drew otherwise"
    return (
        f"Over the last {LAST_EPOCHS} epochs v2 as stated has an I-AUROC of {late[0]:.1f} on "
        f"average, {step} Scenario A with {late[1]:.1f}: {kept}."
    )


def _published_swing(evidence: Evidence) -> str:
    """No measurement: how far the author's own last epochs move."""
    last = last_epochs(published_log("learned_noise_v2_published", SCREW), LAST_EPOCHS)["I-AUROC"]
    end = "so a figure of its last epoch says little" if last.max() - last.min() > FAR else "steady"
    return (
        f"In the author's log the I-AUROC of v2 moves from {last.min():.0f} to {last.max():.0f} "
        f"within its last {LAST_EPOCHS} epochs: {end}."
    )


def _v1(evidence: Evidence) -> str:
    told = []
    for form, name in (
        ("as published", "learned_noise_v1_published"),
        ("as stated", "learned_noise_v1"),
    ):
        state, course = evidence.state(name)
        told.append(f"{form} {course}: {ENDS[state]}")
    return f"v1 {'; '.join(told)}."


def _simplest(evidence: Evidence) -> str:
    """Learned noise against Gaussian noise that is larger."""
    told, steps = [], []
    for category in LEARNED_CATEGORIES:
        even = evidence.alike("scenario_a_relative", *FORMS.values(), category=category)
        simple = even.mean("scenario_a_relative", "I-AUROC", category)
        means = {name: even.mean(name, "I-AUROC", category) for name in FORMS.values()}
        best = max(means, key=means.__getitem__)
        wide = even.margin("I-AUROC", best, "scenario_a_relative", category)
        steps.append(is_above(means[best], simple, wide))
        told.append(f"{category} {simple:.1f} against {means[best]:.1f}")
    learned = {0: "on none", len(steps): "on each"}.get(sum(steps), "on one")
    return (
        "Gaussian noise that is simply larger (12 % of the features' spread) against the better v2, "
        f"I-AUROC: {'; '.join(told)}. Learned noise is above it {learned} of them."
    )


def _ascent(evidence: Evidence) -> str:
    told = []
    for category in LEARNED_CATEGORIES:
        even = evidence.alike("gradient_ascent", "scenario_a", category=category)
        first, second = (
            even.mean(name, "I-AUROC", category) for name in ("gradient_ascent", "scenario_a")
        )
        step = against(
            first, second, even.margin("I-AUROC", "gradient_ascent", "scenario_a", category)
        )
        told.append(f"{category} {first:.1f}, {step} Scenario A with {second:.1f}")
    return f"Gradient ascent, which needs no generator, I-AUROC: {'; '.join(told)}."


def _beta(evidence: Evidence) -> str:
    """Whether one β leads, and whether there is an order."""
    name = FORMS["as stated"]
    ran = [beta for beta in BETAS if evidence.ran(name, changed=beta_changes(beta))]
    if len(ran) < 3:
        raise MissingError("a sweep of β on real images")
    even = evidence.alike(*((name, beta_changes(beta)) for beta in ran))
    known = {beta: mean(even.values(name, "I-AUROC", beta_changes(beta))) for beta in ran}
    steps = [known[b] - known[a] for a, b in zip(ran, ran[1:], strict=False)]
    ordered = all(step > 0 for step in steps) or all(step < 0 for step in steps)
    best = max(known, key=known.__getitem__)
    values = ", ".join(f"{value:.1f} at {beta:g}" for beta, value in known.items())
    order = "it goes one way with β" if ordered else "there is no order in β"
    return f"v2 as stated over β, I-AUROC: {values}; the best is β = {best:g}, and {order}."


NOISE: tuple[Rule, ...] = (
    _last_epoch("I-AUROC"),
    _over_the_end,
    _last_epoch("AP-loc"),
    _published_swing,
    _v1,
    _simplest,
    _beta,
)
