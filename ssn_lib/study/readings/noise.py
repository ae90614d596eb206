"""What the records show of Modification 2."""

from __future__ import annotations

from itertools import pairwise

from ssn_lib.study.claims.evidence import Evidence, MissingError
from ssn_lib.study.claims.noise import ENDS
from ssn_lib.study.profiles import SCREW
from ssn_lib.study.published import last_epochs, published_log
from ssn_lib.study.readings.reading import FAR, Rule, Sentence, after, pair
from ssn_lib.study.systems import (
    BETAS,
    LAST_EPOCHS,
    LEARNED_CATEGORIES,
    V2_FORMS,
    beta_changes,
)

V1 = {"as published": "learned_noise_v1_published", "as stated": "learned_noise_v1"}


def _last_epoch(metric: str) -> Rule:
    """v2 in both forms against Scenario A, at the end of equally long trainings."""

    def rule(evidence: Evidence) -> Sentence:
        even = evidence.alike("scenario_a", *V2_FORMS.values())
        forms = zip(V2_FORMS, even[1:], strict=True)
        found = {form: pair(metric, runs, even[0]) for form, runs in forms}
        told = [f"v2 {form}, with {one.told[0]}, is {one.step} it" for form, one in found.items()]
        reference = found["as stated"].told[1]
        text = f"On screw Scenario A ends with an {metric} of {reference}; {'; '.join(told)}."
        return Sentence(text, even)

    return rule


def _over_the_end(evidence: Evidence) -> Sentence:
    """The same, averaged over the last epochs: a lead of the last one alone is a draw."""
    both = evidence.alike("learned_noise_v2", "scenario_a")
    end = pair("I-AUROC", *both)
    late = [runs.late_values("I-AUROC") for runs in both]
    if not all(late):
        raise MissingError("the courses of whole trainings, which tell of more than the last epoch")
    average = pair("I-AUROC", *late)
    kept = "the last epoch says the same"
    if (average.is_above, average.is_below) != (end.is_above, end.is_below):
        kept = "what the last epoch says is a draw"
    return Sentence(
        f"Over the last {LAST_EPOCHS} epochs v2 as stated has an I-AUROC of {average.told[0]} on "
        f"average, {average.step} Scenario A with {average.told[1]}: {kept}.",
        both,
    )


def _published_swing(evidence: Evidence) -> Sentence:
    """No measurement: how far the author's own last epochs move."""
    last = last_epochs(published_log(V2_FORMS["as published"], SCREW), LAST_EPOCHS)["I-AUROC"]
    end = "it is steady"
    if last.max() - last.min() > FAR:
        end = "a figure of one epoch says little"
    return Sentence(
        f"In the author's log the I-AUROC of v2 moves from {last.min():.0f} to {last.max():.0f} "
        f"within its last {LAST_EPOCHS} epochs: {end}."
    )


def _v1(evidence: Evidence) -> Sentence:
    """How its trainings ended."""
    told, basis = [], []
    for form, name in V1.items():
        runs = evidence.runs(name)
        state, course = runs.state()
        told.append(f"{form}, {course}: {ENDS[state]}")
        basis.append(runs)
    return Sentence(f"v1 {'; '.join(told)}.", basis)


def _simplest(evidence: Evidence) -> Sentence:
    """Learned noise against Gaussian noise that is larger."""
    told, basis, better, once = [], [], 0, []
    for category in LEARNED_CATEGORIES:
        names = ("scenario_a_relative", *V2_FORMS.values())
        simple, *learned = evidence.alike(*names, category=category)
        best = max(learned, key=lambda runs: runs.mean("I-AUROC"))
        found = pair("I-AUROC", best, simple)
        late = [runs.late_values("I-AUROC") for runs in (best, simple)]
        text, is_above = f"{category} {found.told[0]}, {found.step} {found.told[1]}", found.is_above
        if all(late):  # the last epoch alone is a draw
            average = pair("I-AUROC", *late)
            text += f" (over the last {LAST_EPOCHS} epochs {average.told[0]} and {average.told[1]})"
            if is_above and not average.is_above:
                is_above = False
                once.append(category)
        told.append(text)
        basis += [simple, best]
        better += is_above
    end = "learned noise is no better than larger noise on any of them"
    if better:
        end = f"learned noise is better on {better} of {len(LEARNED_CATEGORIES)}"
    elif once:
        end = (
            f"on {' and '.join(once)} learned noise is ahead in the last epoch alone, which does "
            "not count as better"
        )
    return Sentence(
        "The better v2 against Gaussian noise that is larger (12 % of the features' spread), "
        f"I-AUROC: {'; '.join(told)}; {end}.",
        basis,
    )


def _beta(evidence: Evidence) -> Sentence:
    """Which β has the highest figure, and whether there is an order."""
    name = V2_FORMS["as stated"]
    ran = [beta for beta in BETAS if evidence.ran(name, changed=beta_changes(beta))]
    if len(ran) < 3:
        raise MissingError("a sweep of β on real images")
    even = evidence.alike(*((name, beta_changes(beta)) for beta in ran))
    known = {beta: runs.mean("I-AUROC") for beta, runs in zip(ran, even, strict=True)}
    steps = [after - before for before, after in pairwise(known.values())]
    ordered = all(step > 0 for step in steps) or all(step < 0 for step in steps)
    best = max(known, key=known.__getitem__)
    values = ", ".join(f"{value:.1f} at {beta:g}" for beta, value in known.items())
    order = "it goes one way with β" if ordered else "it does not go one way with β"
    return Sentence(
        f"v2 as stated by β, {after(even[0])}, I-AUROC on screw: {values}; the highest is that of "
        f"β = {best:g}, and {order}.",
        even,
    )


NOISE: tuple[Rule, ...] = (
    _last_epoch("I-AUROC"),
    _over_the_end,
    _last_epoch("AP-loc"),
    _published_swing,
    _v1,
    _simplest,
    _beta,
)
