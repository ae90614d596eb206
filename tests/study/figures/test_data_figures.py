"""The figures of the data, on drawn images."""

from __future__ import annotations

import numpy as np
import pytest

from ssn_lib.study.figures.data import Examples, _around, plates, strips


@pytest.fixture
def drawn():
    """drawn(shape, kinds, defect): examples of that shape; defective ones have that defect."""

    def make(shape, kinds, defect=(slice(4, 8), slice(2, 6))):
        masks = [np.zeros(shape, np.uint8) for _ in kinds]
        for mask, kind in zip(masks, kinds, strict=True):
            mask[defect] = kind != "good"
        images = [np.full((*shape, 3), 90, np.uint8) for _ in kinds]
        return Examples("part", {"train, good": 12, "test, good": 3}, images, masks, kinds)

    return make


def test_plates_are_labelled_counted_and_outlined(drawn):
    short, long = drawn((16, 16), ["good", "bent"]), drawn((16, 16), ["good", "cut", "hole"])
    figure = plates([short, long], "caption")
    grid = np.array(figure.axes).reshape(2, 3)
    assert [axes.get_title() for axes in grid[1]] == ["good", "cut", "hole"]
    assert "train, good: 12" in grid[0, 0].get_ylabel()
    assert [bool(axes.collections) for axes in grid[1]] == [False, True, True]
    assert not grid[0, 2].axison


def test_strips_have_their_defects_enlarged(drawn):
    figure = strips(drawn((60, 20), ["good", "defective"]), "caption")
    whole, near = np.array(figure.axes).reshape(2, 2)
    assert [axes.get_title() for axes in whole] == ["good", "defective"]
    assert not near[0].axison
    height, width = near[1].images[0].get_array().shape[:2]
    assert height == width == 12
    assert "test, good: 3" in " ".join(figure.texts[1].get_text().split())


@pytest.mark.parametrize(
    ("defect", "rows", "columns"),
    [
        ((slice(0, 2), slice(0, 2)), (0, 12), (0, 12)),  # at the edge
        ((slice(58, 60), slice(18, 20)), (48, 60), (8, 20)),
        ((slice(30, 32), slice(0, 20)), (21, 41), (0, 20)),  # as wide as the strip
        ((slice(0, 60), slice(5, 7)), (20, 40), (0, 20)),  # longer than it is wide
    ],
)
def test_the_square_lies_within_the_strip(defect, rows, columns):
    mask = np.zeros((60, 20))
    mask[defect] = 1
    found = _around(mask)
    assert [(part.start, part.stop) for part in found] == [rows, columns]
