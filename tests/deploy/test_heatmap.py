from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from ssn_lib.deploy import heatmap as module
from ssn_lib.deploy.heatmap import heatmap, map_range, small_map, thumbnail


def test_heatmap_leaves_quiet_pixels_alone_and_colours_loud_ones():
    image = np.full((4, 4, 3), 100, np.uint8)
    quiet_and_loud = np.full((4, 4), -10.0, np.float32)
    quiet_and_loud[0, 0] = 10
    shown = heatmap(image, quiet_and_loud, threshold=0.0)
    assert (shown[1:] == 100).all()
    assert (shown[0, 0] != 100).any()


def test_heatmaps_opacity_is_as_told():
    image = np.zeros((1, 3, 3), np.uint8)
    strength = np.array([[0.24, 0.5, 0.76]], np.float32)
    shown = heatmap(image, np.log(strength / (1 - strength)) + 2, threshold=2.0)
    colour = module.colormaps["inferno"](strength)[..., :3] * 255
    opacity = module.OVERLAY_OPACITY * np.array([0, 0.5, 1])[:, None]
    np.testing.assert_allclose(shown, opacity * colour, atol=0.51)


def test_a_small_map_keeps_a_small_defect_in_its_place():
    anomaly_map = np.full((64, 96), -50, np.float32)
    anomaly_map[33, 95] = 2 + 3  # one pixel, 3 above the threshold
    grey = np.frombuffer(base64.b64decode(small_map(anomaly_map, threshold=2.0)), np.uint8)
    grey = grey.reshape(32, 32)
    low, high = map_range(2.0)
    assert grey[16, 31] == round((5 - low) / (high - low) * 255)
    assert np.count_nonzero(grey) == 1


def test_a_thumbnail_is_small_and_of_the_images_shape():
    for shape, size in (((640, 232), (58, 160)), ((32, 48), (48, 32))):
        uri = thumbnail(np.full((*shape, 3), 90, np.uint8))
        kind, _, content = uri.partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.size == size
