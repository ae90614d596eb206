import numpy as np
import pytest
from scipy import ndimage

from ssn_lib.data.appearance import appearance


@pytest.fixture(scope="module")
def images():
    """Two smooth images (2, 3, 32, 32) uint8 between 40 and 180."""
    noise = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    smooth = ndimage.gaussian_filter(noise, (0, 0, 1.5, 1.5), mode="wrap")
    return (110 + 70 * smooth / np.abs(smooth).max()).round().astype(np.uint8)


def test_of_stripes_all_three_are_known():
    image = np.zeros((1, 3, 4, 4), np.uint8)
    image[0, :, :, 1::2] = np.array([120, 60, 30])[:, None, None]
    # Green: 60 from column to column, 0 from row to row, standard deviation 30.
    assert appearance(image).tolist() == [[35.0, 45.0, 1.0]]


def test_another_lamp_changes_brightness_and_not_sharpness(images):
    before, after = appearance(images), appearance(images - 40)
    assert (after[:, 0] < before[:, 0] - 35).all()
    np.testing.assert_allclose(after[:, 1:], before[:, 1:])


def test_redder_light_is_warmer(images):
    warm = images.copy()
    warm[:, 0] += 20
    np.testing.assert_allclose(appearance(warm)[:, 1], appearance(images)[:, 1] + 20)


def test_out_of_focus_is_less_sharp_and_as_bright(images):
    blurred = ndimage.gaussian_filter(images, (0, 0, 2, 2), mode="wrap")
    before, after = appearance(images), appearance(blurred)
    assert (after[:, 2] < 0.8 * before[:, 2]).all()
    np.testing.assert_allclose(after[:, 0], before[:, 0], atol=1)


def test_one_colour_has_no_sharpness_and_no_images_have_no_rows():
    assert appearance(np.full((1, 3, 4, 4), 9, np.uint8)).tolist() == [[9.0, 0.0, 0.0]]
    assert appearance(np.zeros((0, 3, 4, 4), np.uint8)).shape == (0, 3)
