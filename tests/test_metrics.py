import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score
from sklearn.metrics import precision_recall_curve as sk_pr_curve
from sklearn.metrics import roc_curve as sk_roc_curve

from ssn_lib.errors import InputError
from ssn_lib.metrics import (
    aupro,
    image_metrics,
    operating_point,
    pixel_metrics,
    pr_curve,
    rank,
    roc_curve,
    youden,
)

IMAGE, PIXEL = ["I-AUROC", "AP-det"], ["P-AUROC", "AUPRO", "AP-loc"]
quick = settings(deadline=None, derandomize=True, max_examples=60)


# --- an independent, slow AUPRO, from the definition alone -----------------------------------


def regions_of(mask):
    """8-connected regions by flood fill: a list of lists of (row, column)."""
    left, regions = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        stack, region = [left.pop()], []
        while stack:
            row, col = stack.pop()
            region.append((row, col))
            near = {(row + i, col + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            stack += near
        regions.append(region)
    return regions


def brute_aupro(maps, masks, limit=0.3):
    regions = [
        np.array([scores[pixel] for pixel in region])
        for scores, mask in zip(maps, masks, strict=True)
        for region in regions_of(mask)
    ]
    normal = maps[masks == 0]
    area = x0 = y0 = 0.0
    for threshold in sorted(set(maps.ravel().tolist()), reverse=True):
        x1 = np.mean(normal >= threshold)
        y1 = np.mean([np.mean(region >= threshold) for region in regions])
        if x1 >= limit:
            if x1 > x0:
                at_limit = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
                area += (limit - x0) * (y0 + at_limit) / 2
            return area / limit
        area += (x1 - x0) * (y0 + y1) / 2
        x0, y0 = x1, y1
    raise AssertionError("the FPR never reached the limit")


def check_against_references(maps, masks):
    found = pixel_metrics(maps, masks)
    assert list(found) == PIXEL and found.undefined == {}
    # scikit-learn refuses inf, and the ranks order the pixels alike.
    ranks, truth = rankdata(maps, method="dense"), np.asarray(masks).ravel()
    assert found["P-AUROC"] == pytest.approx(100 * roc_auc_score(truth, ranks.ravel()), abs=1e-9)
    assert found["AP-loc"] == pytest.approx(
        100 * average_precision_score(truth, ranks.ravel()), abs=1e-9
    )
    assert found["AUPRO"] == pytest.approx(100 * brute_aupro(maps, masks), abs=1e-9)
    return found


def random_masks(rng, shape):
    """Boxes, some over the border, some touching by a corner, and empty masks in between."""
    masks = np.zeros(shape, np.uint8)
    for mask in masks[::2]:
        for _ in range(rng.integers(1, 5)):
            row, col = rng.integers(0, shape[1]), rng.integers(0, shape[2])
            mask[row : row + rng.integers(1, 5), col : col + rng.integers(1, 5)] = 1
    return masks


# --- hand-worked examples ----------------------------------------------------------------------


def test_image_metrics_by_hand():
    # Pairs (0.35, 0.8) x (0.1, 0.4): 3 of 4 ordered. AP = 1/2 * 1/1 + 1/2 * 2/3.
    found = image_metrics([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    assert list(found) == IMAGE and found.undefined == {}
    assert found["I-AUROC"] == 75
    assert found["AP-det"] == pytest.approx(250 / 3, abs=1e-12)


def test_a_tie_counts_half_and_shares_one_threshold():
    assert image_metrics([1, 1, 0], [1, 0, 0]) == {"I-AUROC": 75, "AP-det": 50}
    assert image_metrics([1, 1, 0], [0, 1, 0]) == {"I-AUROC": 75, "AP-det": 50}


def test_aupro_by_hand():
    # Regions {9, 5} and {7}; ten normal pixels. (FPR, PRO) at 9: (0, 1/4), at 8: (.1, 1/4),
    # at 7: (.2, 3/4), at 6: (.4, 3/4). Area to .3: .1 * 1/4 + .1 * 1/2 + .1 * 3/4 = .15.
    maps = np.array([[[9, 5, 0, 7, 8, 7, 6, 6, 0, 1, 2, 3, 4]]], float)
    masks = np.array([[[1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]])
    assert pixel_metrics(maps, masks)["AUPRO"] == pytest.approx(50, abs=1e-12)


def test_aupro_interpolates_inside_a_tie_at_the_limit():
    # The only defective pixel ties with 6 of 10 normal ones: a line from (0, 0) to (.6, 1).
    maps = np.array([[[1] * 7 + [0] * 4]], float)
    masks = np.array([[[1] + [0] * 10]])
    assert pixel_metrics(maps, masks)["AUPRO"] == pytest.approx(25, abs=1e-12)


def test_a_jump_exactly_at_the_limit_does_not_count():
    # FPR reaches 3/10 = 0.3 before the defective pixel is found; found one score earlier, 1/3.
    masks = np.array([[[1] + [0] * 10]])
    late = np.array([[[7, 10, 9, 8, 1, 1, 1, 1, 1, 1, 1]]], float)
    early = np.array([[[8.5, 10, 9, 8, 1, 1, 1, 1, 1, 1, 1]]], float)
    assert pixel_metrics(late, masks)["AUPRO"] == 0
    assert pixel_metrics(early, masks)["AUPRO"] == pytest.approx(100 / 3, abs=1e-12)


def test_diagonal_pixels_are_one_region_and_regions_weigh_the_same():
    masks = np.zeros((1, 6, 6), bool)
    masks[0, [0, 1, 2], [0, 1, 2]] = True  # touches the corner; never found
    masks[0, 5, 5] = True  # found first
    maps = np.where(masks, -1.0, 0.0)
    maps[0, 5, 5] = 1
    # PRO is 1/2 up to the tie of all normal pixels (a 4-connected reading would give 1/4).
    assert pixel_metrics(maps, masks)["AUPRO"] == pytest.approx(50, abs=1e-12)


def test_regions_do_not_connect_across_images():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, -1, -2:] = masks[1, 0, -1] = True
    maps = np.zeros((2, 4, 4))
    maps[1, 0, -1] = 1
    check_against_references(maps, masks)
    # PRO: from 1/2 at FPR 0 straight to 1 at FPR 1, so 0.65 at 0.3; the mean is 0.575.
    assert pixel_metrics(maps, masks)["AUPRO"] == pytest.approx(57.5, abs=1e-12)


def test_perfect_and_inverted_maps():
    masks = random_masks(np.random.default_rng(0), (6, 12, 10))
    assert pixel_metrics(masks * 2.0 - 5, masks) == dict.fromkeys(PIXEL, 100)
    inverted = check_against_references(-1.0 * masks, masks)
    assert inverted["P-AUROC"] == inverted["AUPRO"] == 0
    assert inverted["AP-loc"] == pytest.approx(100 * masks.mean(), abs=1e-12)


# --- against scikit-learn and the slow AUPRO ---------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [None, 2, 5, 40])
def test_random_maps_match_the_references(seed, levels):
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, (5, 9, 11))
    maps = rng.standard_normal(masks.shape) + 0.8 * masks
    if levels is not None:
        maps = np.floor(maps * levels / 4)
    check_against_references(maps, masks)
    check_against_references(maps.astype(np.float32), masks)


@pytest.mark.parametrize("constant", [0.0, -3.5, np.inf, -np.inf])
def test_constant_maps(constant):
    masks = random_masks(np.random.default_rng(1), (4, 8, 8))
    found = check_against_references(np.full(masks.shape, constant), masks)
    assert found["P-AUROC"] == 50
    assert found["AUPRO"] == pytest.approx(15, abs=1e-12)  # PRO = FPR, so a mean of 0.15
    assert found["AP-loc"] == pytest.approx(100 * masks.mean(), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_infinite_scores_are_ordered(seed):
    rng = np.random.default_rng(seed)
    masks = random_masks(rng, (4, 8, 8))
    maps = rng.choice([-np.inf, -1.0, -0.0, 0.0, 2.0, np.inf], masks.shape)
    assert check_against_references(maps, masks) == pixel_metrics(np.clip(maps, -9, 9), masks)


@pytest.mark.parametrize("where", [(0, 0, 0), (1, 4, 3), (2, 7, 7)])
def test_one_region_of_one_pixel(where):
    maps = np.random.default_rng(2).standard_normal((3, 8, 8))
    masks = np.zeros(maps.shape, bool)
    masks[where] = True
    check_against_references(maps, masks)
    maps[where] = maps.max()
    check_against_references(maps, masks)


def test_other_aupro_limits():
    rng = np.random.default_rng(3)
    masks = random_masks(rng, (4, 9, 9)).astype(bool)
    maps = np.round(rng.standard_normal(masks.shape) + masks, 1)
    for limit in (0.01, 0.05, 0.5, 1.0):
        expected = brute_aupro(maps, masks, limit)
        assert aupro(rank(maps, masks), masks, limit) == pytest.approx(expected, abs=1e-12)


def test_a_larger_float32_set_matches_scikit_learn():
    rng = np.random.default_rng(4)
    masks = random_masks(rng, (40, 64, 64))
    maps = (rng.standard_normal(masks.shape) + masks).astype(np.float32)
    found = pixel_metrics(maps, masks)
    truth, flat = masks.ravel(), maps.ravel()
    assert found["P-AUROC"] == pytest.approx(100 * roc_auc_score(truth, flat), abs=1e-9)
    assert found["AP-loc"] == pytest.approx(100 * average_precision_score(truth, flat), abs=1e-9)


# --- dtypes, layouts and the inputs themselves -------------------------------------------------


def test_shapes_and_dtypes_do_not_matter():
    rng = np.random.default_rng(5)
    masks = random_masks(rng, (4, 8, 8))
    maps = rng.integers(-9, 9, masks.shape)
    expected = check_against_references(maps, masks)
    for dtype in (np.int8, np.float16, np.float32, np.float64, ">f4"):
        assert pixel_metrics(maps.astype(dtype), masks) == expected
    for dtype in (bool, np.int64, np.float32):
        assert pixel_metrics(maps, masks.astype(dtype)) == expected
    assert pixel_metrics(maps[:, None], masks[:, None]) == expected
    assert pixel_metrics(np.asfortranarray(maps), masks.tolist()) == expected


@pytest.mark.parametrize("base, step", [(1.0, 1e-12), (2**60, 1)])
def test_close_scores_are_not_merged(base, step):
    scores = base + step * np.arange(4)
    assert image_metrics(scores, [0, 0, 1, 1])["I-AUROC"] == 100
    assert image_metrics(scores, [0, 1, 0, 1])["I-AUROC"] == 75


def test_inputs_are_left_alone():
    rng = np.random.default_rng(6)
    masks = random_masks(rng, (4, 8, 8)).astype(bool)
    maps = rng.standard_normal(masks.shape)
    maps_before, masks_before = maps.copy(), masks.copy()
    pixel_metrics(maps, masks)
    roc_curve(maps, masks)
    np.testing.assert_array_equal(maps, maps_before)
    np.testing.assert_array_equal(masks, masks_before)


# --- curves ------------------------------------------------------------------------------------


def by_threshold(x, y, thresholds):
    return {t: (a, b) for a, b, t in zip(x, y, thresholds, strict=True)}


@pytest.mark.parametrize("levels", [None, 3, 30])
@pytest.mark.parametrize("seed", range(4))
def test_curves_match_scikit_learn(seed, levels):
    rng = np.random.default_rng(seed)
    labels = rng.random(200) < 0.2
    scores = rng.standard_normal(200) + labels
    if levels is not None:
        scores = np.floor(scores * levels / 4)
    fpr, tpr, thresholds = roc_curve(scores, labels)
    assert (fpr[0], tpr[0], thresholds[0]) == (0, 0, np.inf)
    assert (fpr[-1], tpr[-1]) == (1, 1)
    assert np.all(np.diff(thresholds) < 0)
    full = by_threshold(*sk_roc_curve(labels, scores, drop_intermediate=False))
    assert by_threshold(fpr, tpr, thresholds).items() <= full.items()
    area = np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1])) / 2
    assert area == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)

    precision, recall, thresholds = pr_curve(scores, labels)
    assert recall[-1] == 1 and np.all(np.diff(recall) > 0) and np.all(np.diff(thresholds) < 0)
    p, r, t = sk_pr_curve(labels, scores)
    full = by_threshold(p[:-1], r[:-1], t)
    assert by_threshold(precision, recall, thresholds).items() <= full.items()
    area = np.sum(np.diff(recall, prepend=0) * precision)
    assert area == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_curves_by_hand():
    # Negatives 6 and 5 lie in one flat run, so 6 is no corner; 1 ends the curve.
    fpr, tpr, thresholds = roc_curve([[7, 6, 5], [4, 4, 1]], [[1, 0, 0], [1, 0, 0]])
    assert thresholds.tolist() == [np.inf, 7, 5, 4, 1]
    assert fpr.tolist() == [0, 0, 0.5, 0.75, 1] and tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    precision, recall, thresholds = pr_curve([7, 6, 5, 4, 4, 1], [1, 0, 0, 1, 0, 0])
    assert precision.tolist() == [1, 0.4] and recall.tolist() == [0.5, 1]
    assert thresholds.tolist() == [7, 4]


@pytest.mark.parametrize("curve", [roc_curve, pr_curve])
def test_an_undefined_curve_is_an_error(curve):
    with pytest.raises(InputError, match="no curve to draw: no defective score among 2"):
        curve([1.0, 2.0], [0, 0])
    with pytest.raises(InputError, match=r"shapes differ: scores \(2,\), labels \(3,\)"):
        curve([1.0, 2.0], [0, 0, 1])


# --- properties --------------------------------------------------------------------------------


@st.composite
def cases(draw):
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(2, 5)))
    levels = draw(st.sampled_from([1, 3, 100]))
    maps = draw(hnp.arrays(np.int16, shape, elements=st.integers(-levels, levels)))
    masks = draw(hnp.arrays(bool, shape))
    masks[0, 0, :2] = [True, False]  # both classes
    return maps.astype(np.float32), masks


@quick
@given(cases())
def test_any_case_matches_the_references(case):
    assert 0 <= check_against_references(*case)["AUPRO"] <= 100


@quick
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_images_does_not_matter(case, random):
    maps, masks = case
    order = random.sample(range(len(maps)), len(maps))
    assert pixel_metrics(maps[order], masks[order]) == pytest.approx(pixel_metrics(maps, masks))
    scores, labels = maps.ravel(), masks.ravel()
    order = random.sample(range(scores.size), scores.size)
    assert image_metrics(scores[order], labels[order]) == image_metrics(scores, labels)


@quick
@given(cases(), st.integers(-40, 40))
def test_only_the_order_of_scores_matters(case, power):
    maps, masks = case
    expected = pixel_metrics(maps, masks)
    increasing = [lambda x: x**3, lambda x: np.exp(x / 9), lambda x: 1 / (1 + np.exp(-x / 9))]
    for change in (lambda x: x * np.float32(2.0**power), *increasing):
        # In float64, where none of these merges two of the whole numbers in a map.
        wide = maps if change not in increasing else maps.astype(np.float64)
        assert pixel_metrics(change(wide), masks) == pytest.approx(expected, abs=1e-9)
        assert image_metrics(change(wide).ravel(), masks.ravel()) == image_metrics(
            maps.ravel(), masks.ravel()
        )


@quick
@given(cases())
def test_reversing_the_scores_mirrors_auroc(case):
    maps, masks = case
    both = pixel_metrics(maps, masks)["P-AUROC"] + pixel_metrics(-maps, masks)["P-AUROC"]
    assert both == pytest.approx(100, abs=1e-9)


@quick
@given(cases(), st.floats(allow_nan=False))
def test_constant_scores_know_nothing(case, constant):
    labels = case[1].ravel()
    found = image_metrics(np.full(labels.shape, constant), labels)
    assert found["I-AUROC"] == 50
    assert found["AP-det"] == pytest.approx(100 * labels.mean(), abs=1e-9)


@quick
@given(cases())
def test_image_metrics_match_scikit_learn(case):
    scores, labels = (a.ravel() for a in case)
    found = image_metrics(scores, labels)
    assert found["I-AUROC"] == pytest.approx(100 * roc_auc_score(labels, scores), abs=1e-9)
    expected = 100 * average_precision_score(labels, scores)
    assert found["AP-det"] == pytest.approx(expected, abs=1e-9)


# --- undefined ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scores, labels, reason",
    [
        ([], [], "no image at all"),
        (np.arange(8), np.zeros(8), "no defective image among 8"),
        (np.arange(8), np.ones(8), "no normal image among 8"),
        ([1, np.nan, np.nan], [0, 1, 0], "2 of 3 image scores are NaN"),
    ],
)
def test_undefined_image_metrics(scores, labels, reason):
    found = image_metrics(scores, labels)
    assert list(found) == IMAGE and all(np.isnan(v) for v in found.values())
    assert found.undefined == dict.fromkeys(IMAGE, reason)


@pytest.mark.parametrize(
    "maps, masks, reason",
    [
        (np.zeros((0, 4, 4)), np.zeros((0, 4, 4)), "no pixel at all"),
        (np.zeros((2, 4, 4)), np.zeros((2, 4, 4)), "no defective pixel among 32"),
        (np.zeros((2, 4, 4)), np.ones((2, 4, 4)), "no normal pixel among 32"),
        (np.full((1, 2, 2), np.nan), np.eye(2)[None], "4 of 4 pixel scores are NaN"),
    ],
)
def test_undefined_pixel_metrics(maps, masks, reason):
    found = pixel_metrics(maps, masks)
    assert list(found) == PIXEL and all(np.isnan(v) for v in found.values())
    assert found.undefined == dict.fromkeys(PIXEL, reason)


def test_metrics_survive_copy_and_pickle():
    found = image_metrics([1.0], [0])
    for other in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert type(other) is type(found) and list(other) == IMAGE
        assert other.undefined == found.undefined


# --- input errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scores, labels, message",
    [
        ([1, 2], [0, 1, 1], "shapes differ: scores (2,), labels (3,)"),
        ([[1, 2]], [[0, 1]], "scores (1, 2) and labels (1, 2) must both be (N,)"),
        (1, 1, "scores () and labels () must both be (N,)"),
        ([1, 2], [0, 2], "labels must be 0 or 1, found 2: scores (2,), labels (2,)"),
        ([1, 2], [0, 0.5], "labels must be 0 or 1, found 0.5: scores (2,), labels (2,)"),
        ([1, 2], [1, np.nan], "labels must be 0 or 1, found nan: scores (2,), labels (2,)"),
        ([1, 2], ["0", "1"], "labels must be 0/1 or bool, not <U1: scores (2,), labels (2,)"),
        ([1j, 2], [0, 1], "scores must be real numbers, not complex128: scores (2,), labels (2,)"),
    ],
)
def test_image_input_errors(scores, labels, message):
    with pytest.raises(InputError) as error:
        image_metrics(scores, labels)
    assert str(error.value) == message


@pytest.mark.parametrize(
    "maps, masks, message",
    [
        ((2, 4, 4), (2, 4, 5), "shapes differ: maps (2, 4, 4), masks (2, 4, 5)"),
        ((4, 4), (4, 4), "maps (4, 4) and masks (4, 4) must be (N, H, W) or (N, 1, H, W)"),
        (
            (2, 3, 4, 4),
            (2, 3, 4, 4),
            "maps (2, 3, 4, 4) and masks (2, 3, 4, 4) must be (N, H, W) or (N, 1, H, W)",
        ),
    ],
)
def test_pixel_shape_errors(maps, masks, message):
    with pytest.raises(InputError) as error:
        pixel_metrics(np.zeros(maps), np.zeros(masks))
    assert str(error.value) == message


def test_a_mask_of_0_and_255_is_refused():
    with pytest.raises(InputError) as error:
        pixel_metrics(np.zeros((1, 2, 2)), np.full((1, 2, 2), 255, np.uint8))
    assert str(error.value) == "masks must be 0 or 1, found 255: maps (1, 2, 2), masks (1, 2, 2)"


# --- operating points ---------------------------------------------------------------------------


@quick
@example([(0, False), (0, False), (0, True), (0, True), (1, True), (-1, False)])
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30).filter(
        lambda pairs: len({label for _, label in pairs}) == 2
    )
)
def test_youden_is_the_best_of_all_thresholds(pairs):
    scores, labels = (np.array(part) for part in zip(*pairs, strict=True))

    def j(threshold):
        called = scores >= threshold
        return called[labels].mean() - called[~labels].mean()

    chosen = youden(scores, labels)
    best = max(map(j, set(scores)))
    assert j(chosen) == pytest.approx(best)
    assert chosen == max(t for t in set(scores) if j(t) > best - 1e-12)


def test_an_operating_point_by_hand():
    scores = [0.9, 0.8, 0.3, 0.7, 0.2, 0.1, 0.0, -1.0]
    labels = [1, 1, 1, 0, 0, 0, 0, 0]
    point = operating_point(scores, labels, 0.7)  # 2 of 3 found, 1 of 5 alarms
    assert point.tpr.value == pytest.approx(2 / 3)
    assert point.fpr.value == pytest.approx(1 / 5)
    assert point.precision.value == pytest.approx(2 / 3)
    assert point.f1.value == pytest.approx(f1_score(labels, np.array(scores) >= 0.7))
    # Wilson (1927), 1 of 5: centre and half-width by hand.
    z = 1.959964
    centre = (0.2 + z**2 / 10) / (1 + z**2 / 5)
    half = z * math.sqrt(0.2 * 0.8 / 5 + z**2 / 100) / (1 + z**2 / 5)
    assert point.fpr.low == pytest.approx(centre - half, abs=1e-6)
    assert point.fpr.high == pytest.approx(centre + half, abs=1e-6)
    for interval in point[1:]:
        assert 0 <= interval.low <= interval.value <= interval.high <= 1


def test_a_threshold_above_all_scores_has_no_precision():
    point = operating_point([0.1, 0.2], [0, 1], 5.0)
    assert math.isnan(point.precision.value)
    assert (point.tpr.value, point.fpr.value, point.f1.value) == (0, 0, 0)


def test_no_operating_point_of_one_class():
    with pytest.raises(InputError, match="no normal score"):
        youden([1, 2], [1, 1])
    with pytest.raises(InputError, match="no defective score"):
        operating_point([1, 2], [0, 0], 1)
