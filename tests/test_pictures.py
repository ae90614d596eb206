"""Pictures side by side: what is drawn of each, and which input is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba

from ssn_lib.errors import InputError
from ssn_lib.pictures import OUTLINES, picture_grid


@pytest.fixture
def image():
    return torch.arange(3 * 8 * 10, dtype=torch.uint8).view(3, 8, 10)


def test_images_keep_their_colours_and_maps_get_a_bar(image):
    figure = picture_grid([image, image[0].float()], ["image", "map"])
    first, second, bar = figure.axes
    assert (first.images[0].get_array() == image.permute(1, 2, 0).numpy()).all()
    assert (first.get_title(), second.get_title()) == ("image", "map")
    assert bar.get_xlim() == (0, 79)  # the map's own range


def test_rows_are_filled_one_after_the_other(image):
    figure = picture_grid([image] * 5, list("abcde"), columns=3, heading="all")
    places = [axes.get_subplotspec().num1 for axes in figure.axes]
    assert places == [0, 1, 2, 3, 4]
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 3)
    assert figure.get_suptitle() == "all"


def test_masks_are_outlined_in_their_order_and_empty_ones_are_not(image):
    mask = np.zeros((8, 10))
    mask[2:5, 3:6] = 1
    figure = picture_grid([image] * 2, ["one", "two"], outlines=[(mask, mask), (0 * mask,)])
    first, second = figure.axes
    assert [tuple(line.get_edgecolor()[0]) for line in first.collections] == list(
        map(to_rgba, OUTLINES)
    )
    assert not second.collections


@pytest.mark.parametrize(
    ("pictures", "titles", "message"),
    [
        ([], [], "0 pictures"),
        ([np.zeros((2, 2))], ["one", "two"], "1 pictures, 2 titles"),
        ([np.zeros((2, 4, 4))], ["two channels"], r"picture \(2, 4, 4\): expected \(3, H, W\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(pictures, titles, message):
    with pytest.raises(InputError, match=message):
        picture_grid(pictures, titles)
