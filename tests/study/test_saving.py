"""The files of what a notebook shows."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ssn_lib.study.figures.drawing import subplots
from ssn_lib.study.saving import DPI, IMAGES_DPI, save


def test_a_figure_with_images_has_a_palette_and_fewer_pixels(tmp_path):
    for name, dpi in (("lines", DPI), ("images", IMAGES_DPI)):
        figure, axes = subplots(height=2.0)
        if name == "lines":
            axes.plot([0, 1])
        else:
            colours = np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8)
            axes.imshow(colours)
        (path,) = save(tmp_path, name, figure)
        with Image.open(path) as picture:
            assert (picture.mode == "P") == (name == "images")
            assert picture.height < 2.5 * dpi


def test_the_same_figure_has_the_same_bytes(tmp_path):
    def drawn(name):
        figure, axes = subplots(height=2.0)
        axes.imshow(np.arange(48).reshape(4, 4, 3).astype(np.uint8))
        (path,) = save(tmp_path, name, figure)
        return path.read_bytes()

    assert drawn("one") == drawn("other")
