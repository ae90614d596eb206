"""When two figures differ."""

import pytest

from ssn_lib.study.statistics import margin, sign_test
from ssn_lib.study.supervision import PUBLISHED_MASKS


def test_the_margin_narrows_with_seeds():
    one, four = [50.0], [50.0] * 4
    assert margin("I-AUROC", one, one) == pytest.approx(2 * 1.93 * 2**0.5)
    assert margin("I-AUROC", four, four) == pytest.approx(margin("I-AUROC", one, one) / 2)


def test_seeds_that_lie_wide_apart_widen_the_margin():
    """More seeds of an unsteady system must not make a verdict bolder."""
    steady, wide = [50.0, 51.0, 52.0], [40.0, 50.0, 60.0]
    assert margin("I-AUROC", steady, steady) == pytest.approx(2 * 1.93 * (2 / 3) ** 0.5)
    assert margin("I-AUROC", wide, steady) == pytest.approx(2 * ((10.0**2 + 1.93**2) / 3) ** 0.5)


def test_the_margin_has_a_floor():
    """The published deviation of P-AUROC on screw is 0.07 points."""
    one, two = [50.0], [50.0, 50.0]
    assert margin("P-AUROC", one, one) == pytest.approx(2 * 1.0 * 2**0.5)
    assert margin("P-AUROC", two, two) == pytest.approx(2.0)
    assert margin("AP-loc", one, one) == pytest.approx(2 * 1.24 * 2**0.5)
    assert margin("I-AUROC", one, one, PUBLISHED_MASKS[0]) == pytest.approx(2 * 1.0 * 2**0.5)


@pytest.mark.parametrize(
    ("differences", "p"), [([1.0] * 6, 2 / 64), ([1.0, -1.0], 1.0), ([0.0, 0.0], 1.0), ([], 1.0)]
)
def test_sign_test(differences, p):
    assert sign_test(differences) == pytest.approx(p)
