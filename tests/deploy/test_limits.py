import bisect
import json
import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.stats import betabinom, binom, binomtest

from ssn_lib.data.appearance import APPEARANCE
from ssn_lib.data.sets.ksdd2 import KSDD2_SIZE
from ssn_lib.deploy import limits
from ssn_lib.deploy.limits import (
    ChosenThreshold,
    Reference,
    above_share,
    drift,
    read_threshold,
    reference_of,
    worth,
)
from ssn_lib.metrics import IMAGE_QUANTILE
from ssn_lib.presets import preset
from ssn_lib.runs.record import REFERENCE, read_record
from ssn_lib.storage import REPOSITORY

RUN = "scenario_a-widget-s42"


@pytest.fixture
def draw():
    return np.random.default_rng(0)


# What a threshold is worth


@pytest.mark.parametrize("count", [1, 2, 10, 100, 101, 209])
def test_the_interval_holds_what_new_images_do(count, draw):
    # Of uniform scores, the share above a threshold t is 1 − t.
    scores = draw.uniform(size=(20_000, count))
    above = 1 - np.quantile(scores, IMAGE_QUANTILE, axis=1)
    low, high = above_share(count)
    assert np.mean(above < low) <= 0.028
    assert np.mean(above > high) <= 0.028


def test_the_interval_is_no_wider_than_it_must_be(draw):
    # Of 101 scores the 99th percentile is the 100th one itself, so nothing is given away.
    above = 1 - np.quantile(draw.uniform(size=(20_000, 101)), IMAGE_QUANTILE, axis=1)
    low, high = above_share(101)
    assert np.mean((low <= above) & (above <= high)) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("count", [1, 10, 101, 301])
def test_an_interval_is_that_of_so_many_failures_in_as_many_trials(count):
    # P(share above the k-th of n scores <= s) is P(at least n − k + 1 of n uniform values <= s).
    # Clopper's and Pearson's upper bound for n − k failures solves the same equation.
    rank = math.floor((count - 1) * IMAGE_QUANTILE) + 1
    bounds = binomtest(count - rank, count).proportion_ci(method="exact")
    assert above_share(count)[1] == pytest.approx(bounds.high)


def test_more_images_narrow_the_interval_around_one_in_a_hundred():
    widths = [high - low for low, high in map(above_share, (10, 50, 200, 1000, 5000))]
    assert widths == sorted(widths, reverse=True)
    low, high = above_share(100_000)
    assert low < 0.01 < high < 0.011
    assert above_share(0) == (0, 1)


def test_ties_put_no_more_images_above_the_threshold(draw):
    _, high = above_share(50)
    scores = draw.integers(0, 4, (2_000, 50))
    shares = (3 - np.floor(np.quantile(scores, IMAGE_QUANTILE, axis=1))) / 4
    assert np.mean(shares > high) <= 0.028


def reference(count=200, seen=False):
    return Reference(np.arange(float(count)), seen)


def test_a_threshold_says_what_it_rests_on():
    low, high = above_share(200)
    text = worth(reference())
    assert "comes from 200 good images." in text
    few, many = map(
        int, re.search(r"Of 1,000 new good parts like them, (\d+) to (\d+) ", text).groups()
    )
    assert few <= 1000 * low < few + 1 and many - 1 < 1000 * high <= many
    assert "\n" not in text
    assert "trained on" not in text
    assert "highest" not in text
    assert "trained on these" in worth(reference(seen=True))
    assert "not known" in worth(None) and "Train again" in worth(None)
    assert "1 good image, " in worth(reference(1))


@pytest.mark.parametrize("count", [2, 24, 100, 101])
def test_of_up_to_a_hundred_images_it_is_said_that_the_highest_decides(count):
    scores = np.arange(float(count))
    higher = np.append(scores[:-1], scores[-1] + 100)
    decides = np.quantile(higher, IMAGE_QUANTILE) != np.quantile(scores, IMAGE_QUANTILE)
    assert ("just below the highest score" in worth(reference(count))) == decides


def test_a_threshold_that_is_the_highest_score_is_not_said_to_lie_below_it():
    assert "comes from 1 good image, and is its score." in worth(reference(1))
    tied = Reference(np.array([0.0, 3.0, 3.0]), seen=False)
    assert "comes from 3 good images, and is the highest score." in worth(tied)


def test_a_chosen_threshold_says_who_lies_above_it():
    chosen = ChosenThreshold(RUN, 196.5, 160, "2026-11-27T08:00:00Z")
    text = worth(reference(), chosen)
    assert "on 2026-11-27, with 160 images in sight" in text
    assert "Of the run's 200 good held-out images, 3 score higher." in text
    one = ChosenThreshold(RUN, 198.0, 160, "2026-11-27T08:00:00Z")
    assert "200 good training images, 1 scores higher" in worth(reference(seen=True), one)
    assert worth(None, chosen).endswith("in sight.")


README = (REPOSITORY / "ssn_lib/deploy/README.md").read_text(encoding="utf-8")
PROSE = " ".join(README.split())


def test_the_readmes_intervals_are_those_computed():
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) to ([\d.]+) % \|$", README, re.MULTILINE)
    assert [int(count) for count, *_ in rows] == [10, 50, 200, 1000]
    for count, *bounds in rows:
        assert bounds == [f"{100 * share:.2g}" for share in above_share(int(count))]


def test_the_readmes_shares_above_seen_thresholds_are_those_of_the_records():
    highest = {}
    for path in (REPOSITORY / "results").glob("*-mvtec_ad-*/record.json"):
        record = read_record(path.parent)
        training = record.config.training
        if record.thresholds and not (training.validation_fraction or training.good_images):
            scores = pd.read_csv(path.parent / "scores.csv").query("label == 0")["score"]
            above = (scores > record.thresholds.score).mean()
            highest[record.epochs_done] = max(above, highest.get(record.epochs_done, 0))
    said = re.search(r"after 10 epochs up to (\d+) % .* after 300 epochs, up to (\d+) %", PROSE)
    assert [int(percent) for percent in said.groups()] == [
        round(100 * highest[epochs]) for epochs in (10, 300)
    ]


def test_the_readmes_shares_above_held_out_thresholds_are_those_of_the_records():
    own, above = preset("evolved"), {}
    for path in (REPOSITORY / "results").glob("evolved-*/record.json"):
        record = read_record(path.parent)
        config, size = record.config, record.config.data.image_size
        same = (config.model, config.training.epochs) == (own.model, own.training.epochs)
        rendered = config.data.dataset == "demo"
        if same and not rendered and size in (own.image_size, KSDD2_SIZE):
            scores = pd.read_csv(path.parent / "scores.csv").query("label == 0")["score"]
            share = 100 * (scores > record.thresholds.score).mean()
            above.setdefault(config.data.category, []).append(round(share))
    screws, bottles = sorted(above.pop("screw")), sorted(above.pop("bottle"))
    (strips,) = map(sorted, above.values())
    said = re.search(
        r"(\d+) to (\d+) % of the good screws .* of the strips (\d+), (\d+) and "
        r"(\d+) %, of the bottles (\d+), (\d+) and (\d+) %",
        PROSE,
    )
    ends = [screws[0], screws[-1]]
    assert [int(percent) for percent in said.groups()] == [*ends, *strips, *bottles]


# Whether new images are like the old


@pytest.mark.parametrize(
    ("count", "new", "rank", "old"),
    [(0, 5, 10, 10), (3, 50, 5, 10), (3, 30, 1, 1), (40, 200, 100, 400), (10, 60, 60, 60)],
)
def test_the_chance_of_so_few_is_that_of_a_second_derivation(count, new, rank, old):
    # Of `good` images like the old ones, those at or below the rank-th are beta-binomial.
    good = np.arange(new + 1)
    chance = binom.pmf(good, new, 1 - limits.EXCEPTIONAL)
    few = betabinom.cdf(count, good, rank, old - rank + 1)
    assert limits._chance_of_so_few(count, new, rank, old) == pytest.approx(chance @ few, rel=1e-6)


@pytest.mark.parametrize("old", [1, 10, 400])
@pytest.mark.parametrize("new", [5, 50, 2000])
def test_chance_alone_seldom_warns_even_if_half_are_defective(old, new, draw):
    """At the worst: where the defective half lies above everything. Over many inspections."""
    level, inspections = 0.05, 1000
    ranks = sorted({math.ceil(place * old) for place in limits.LEVELS})
    references = np.sort(draw.uniform(size=(inspections, old)), axis=1)
    images = draw.uniform(size=(inspections, new))
    images[draw.random(images.shape) < limits.EXCEPTIONAL] = 2
    warned = np.zeros(inspections, bool)
    for rank in ranks:
        significant = bisect.bisect_right(
            range(new + 1),
            level / len(ranks),
            key=lambda count, rank=rank: limits._chance_of_so_few(count, new, rank, old),
        )
        counts = (images <= references[:, [rank - 1]]).sum(axis=1)
        warned |= counts < significant
    assert warned.mean() <= level + 3 * math.sqrt(level / inspections)


def test_the_test_counts_at_its_places_and_takes_the_most_telling():
    old = np.arange(4.0)
    chances = [
        limits._chance_of_so_few(count, 7, rank, 4) for count, rank in ((0, 1), (1, 2), (7, 4))
    ]
    new = np.array([0.5, 2, 2, 2, 2, 2, 3])
    assert limits._higher(old, new) == pytest.approx(min(1, 3 * min(chances)))


def warned(draw, old, new, shift=0.0, defective=0.0, seen=False):
    """Whether normal scores are warned of, the new ones shifted and some of them defective."""
    scores = draw.standard_normal(new) + shift
    scores[: round(defective * new)] += 5
    return drift(Reference(draw.standard_normal(old), seen), scores).message is not None


@pytest.mark.parametrize("old", [10, 100, 400])
@pytest.mark.parametrize("new", [5, 50, 2000])
def test_without_drift_nothing_is_warned_of(old, new, draw):
    assert not any(warned(draw, old, new, defective=share) for share in (0, 0.1, 0.3, 0.45))


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_shift_of_one_standard_deviation_is_warned_of_from_enough_images(shift, draw):
    assert warned(draw, 400, 1000, shift)


@pytest.mark.parametrize("shift", [-4, 4])
def test_a_large_shift_is_warned_of_from_few_images(shift, draw):
    assert warned(draw, 50, 20, shift)
    assert not warned(draw, 50, 3, shift)  # of three images, even all of them may be by chance


def test_a_shift_that_matters_little_is_not_warned_of_however_many_images_show_it(draw):
    assert not warned(draw, 400, 20_000, 0.3)
    assert not warned(draw, 400, 20_000, -0.3)


def test_higher_scores_than_those_of_images_that_were_trained_on_are_no_sign(draw):
    assert not warned(draw, 200, 200, shift=3, seen=True)
    assert warned(draw, 200, 200, shift=-3, seen=True)


@pytest.fixture
def looks(draw):
    """Of 200 and of 60 images that look alike."""
    middle, spread = np.array([150, 5, 0.1]), np.array([3, 1, 0.01])
    old = middle + spread * draw.standard_normal((200, 3))
    return old, middle + spread * draw.standard_normal((60, 3))


@pytest.mark.parametrize(
    ("name", "change", "said", "check"),
    [
        ("brightness", -12, "are darker", "lamp and exposure"),
        ("brightness", 12, "are brighter", "lamp and exposure"),
        ("warmth", 4, "are redder", "white balance"),
        ("warmth", -4, "are bluer", "white balance"),
        ("sharpness", -0.05, "are less sharp", "focus"),
        ("sharpness", 0.05, "are sharper", "focus"),
    ],
)
def test_another_lamp_or_lens_is_named(name, change, said, check, looks, draw):
    old, new = looks
    reference = Reference(draw.standard_normal(200), True, old)
    scores = draw.standard_normal(60)
    assert drift(reference, scores, new).message is None
    new[:, APPEARANCE.index(name)] += change
    found = drift(reference, scores, new)
    assert said in found.message
    assert check in found.message
    assert "The 60 new images differ from the 200 that the threshold comes from" in found.message
    assert "\n" not in found.message
    assert found.message.count("median") == 1
    assert found.p_value < 1e-4
    assert drift(Reference(reference.scores, True), scores, new).message is None
    assert drift(reference, scores).message is None


def test_whatever_has_moved_is_in_one_line(looks, draw):
    old, new = looks
    reference = Reference(draw.standard_normal(200), False, old)
    found = drift(reference, draw.standard_normal(60) + 9, new + np.array([-12, 0, -0.05]))
    assert re.search("score higher .*, are darker .*, are less sharp", found.message)


def test_grey_images_have_no_warmth_to_lose(looks, draw):
    old, new = looks
    old[:, 1] = new[:, 1] = 0
    assert drift(Reference(draw.standard_normal(200), True, old), np.zeros(0)).p_value is None
    assert drift(Reference(draw.standard_normal(200), True, old), new[:, 0], new).message is None


# The files


def test_a_runs_reference_is_read_back(tiny_run, dataset, tmp_path):
    folder, _ = tiny_run
    found = reference_of(folder)
    assert found.seen
    assert found.scores.shape == (len(dataset.train),)
    assert found.looks.shape == (len(dataset.train), len(APPEARANCE))
    older = shutil.copytree(folder, tmp_path / folder.name)
    (older / REFERENCE).unlink()
    assert reference_of(older) is None


@pytest.mark.parametrize(
    "content", ["", "image,score\na,1\n", "image,score,brightness,warmth,sharpness\n", None]
)
def test_a_damaged_reference_is_one_line(content, tiny_run, tmp_path, refusal):
    own = shutil.copytree(tiny_run[0], tmp_path / tiny_run[0].name)
    whole = (own / REFERENCE).read_text()
    (own / REFERENCE).write_text(whole[: len(whole) // 2] + "x" if content is None else content)
    assert REFERENCE in refusal(lambda: reference_of(own))


def saved(path, **changes):
    content = {
        "kind": limits.THRESHOLD_KIND,
        "run": RUN,
        "score_threshold": 1.25,
        "images": 160,
        "chosen": "2026-11-27T08:00:00.000Z",
    }
    content = {name: value for name, value in (content | changes).items() if value is not None}
    path.write_text(json.dumps(content))
    return path


def test_a_chosen_threshold_is_read_back(tmp_path):
    path = saved(tmp_path / "threshold.json")
    chosen = ChosenThreshold(RUN, 1.25, 160, "2026-11-27T08:00:00.000Z")
    assert read_threshold(path, RUN) == chosen


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "something else"}, "no threshold file"),
        ({"score_threshold": None}, "score_threshold is missing"),
        ({"score_threshold": float("nan")}, "score_threshold must be a finite number"),
        ({"score_threshold": "1.25"}, "score_threshold must be a finite number"),
        ({"score_threshold": True}, "score_threshold must be a finite number"),
        ({"score_threshold": 10**400}, "score_threshold must be a finite number"),
        ({"images": -1}, "images must be a number"),
        ({"chosen": "yesterday"}, "chosen must be a date"),
        ({"run": "evolved-screw-s42"}, f"of run evolved-screw-s42, not of {RUN}"),
    ],
)
def test_what_is_wrong_with_a_threshold_file_is_one_line(changes, said, tmp_path, refusal):
    path = saved(tmp_path / "threshold.json", **changes)
    message = refusal(lambda: read_threshold(path, RUN))
    assert said in message
    assert str(path) in message


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"[]", b"1", b""])
def test_a_file_that_holds_no_threshold_is_one_line(content, tmp_path, refusal):
    path = tmp_path / "threshold.json"
    path.write_bytes(content)
    assert str(path) in refusal(lambda: read_threshold(path, RUN))
    assert "no such file" in refusal(lambda: read_threshold(tmp_path / "other.json", RUN))
