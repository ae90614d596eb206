"""The words of a reading follow from numbers, and what has no record is not said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ssn_lib.runs.record import Outcome
from ssn_lib.study.claims.evidence import Evidence, MissingError
from ssn_lib.study.readings.reading import FAR, Sentence, beside, pair, read


@pytest.fixture
def evidence(record):
    """evidence(*records): of made-up records of screw."""
    return lambda *records: Evidence([Outcome.of(one) for one in records])


@pytest.fixture
def two(record, evidence):
    """two(first, second): Scenario B and A with those I-AUROC on screw, one of each seed."""

    def make(first, second):
        made = [
            record(name, "screw", seed=seed, **{"I-AUROC": value})
            for name, values in (("scenario_b", first), ("scenario_a", second))
            for seed, value in enumerate(values)
        ]
        own = evidence(*made)
        return pair("I-AUROC", own.runs("scenario_b"), own.runs("scenario_a"))

    return make


@pytest.mark.parametrize(
    ("first", "second", "step"),
    [
        (90.0, 50.0, "far above"),
        (57.0, 50.0, "above"),
        (52.0, 50.0, "level with"),
        (48.0, 50.0, "level with"),
        (43.0, 50.0, "below"),
        (10.0, 50.0, "far below"),
    ],
)
def test_the_step_follows_the_margin_and_what_is_far(first, second, step, two):
    found = two([first], [second])
    assert found.step == step
    assert (found.is_above, found.is_below) == ("above" in step, "below" in step)
    assert 5 < found.margin < 7 < FAR  # single runs on screw, by the published deviation


def test_more_seeds_narrow_the_margin_and_a_wide_spread_widens_it(two):
    calm = two([60.0, 60.1, 59.9], [50.0, 50.1, 49.9])
    assert calm.margin < two([60.0], [50.0]).margin
    assert calm.step == "above"  # by ten points, and no more
    wild = two([85.0, 65.0, 51.0], [60.0])
    assert wild.step == "level with"
    assert wild.told == ("67.0 ± 17.1 (n=3)", "60.0")


def test_chance_has_no_deviation_of_its_own(record, evidence):
    made = evidence(record("scenario_a", "screw", **{"I-AUROC": 55.0}))
    assert beside("I-AUROC", made.runs("scenario_a"), 50.0).is_above
    assert beside("I-AUROC", made.runs("scenario_a"), 52.0).step == "level with"


def test_a_sentence_says_what_it_rests_on_and_a_missing_one_why(record, evidence):
    made = evidence(record("scenario_a", "screw", seed=7, epochs=300, **{"I-AUROC": 55.0}))

    def known(own):
        runs = own.runs("scenario_a")
        return Sentence(f"It has {runs.mean('I-AUROC'):.1f}.", (runs,))

    def unknown(own):
        raise MissingError("no run of another")

    def published(own):
        return Sentence("The slides say so.")

    told = read("Seen", (known, unknown, published), made, ["First."])
    assert told.sentences == (
        "First.",
        "It has 55.0. *(256×256 px, 300 epochs in batches of 32, seed 7; CPU, 2 threads "
        "(a processor))*",
        "The slides say so.",
    )
    assert "no run of another" in told.notes[-1]
    text = told.to_markdown()
    assert text.startswith("**Seen**\n\n- First.\n- It has 55.0.")
    assert len(read("Seen", (published,), made, ()).notes) == 1


def test_a_rendered_or_untrained_run_is_not_told(record, evidence):
    made = record("scenario_a", "screw")
    untrained = replace(made, config=replace(made.config, weights="untrained"))
    with pytest.raises(MissingError, match="no run of scenario_a"):
        evidence(untrained).runs("scenario_a")
