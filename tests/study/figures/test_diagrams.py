"""The diagrams: no text on another or out of its box, and settings that are read, not typed."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch

from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study.figures import diagrams

V1, V2 = (preset(f"learned_noise_{name}").training.noise.generator for name in ("v1", "v2"))
DRAWN = {
    "v1": lambda: diagrams.generator_v1(V1),
    "v2": lambda: diagrams.generator_v2(V2),
    "decoder": lambda: diagrams.evolved_decoder(preset("evolved").model),
    "supervision": lambda: diagrams.full_against_weak([], "ksdd2", "caption"),
}


def text_of(figure):
    return " ".join(text.get_text() for text in figure.axes[0].texts)


@pytest.mark.parametrize("name", DRAWN)
def test_texts_keep_clear_of_each_other_and_within_their_boxes(name):
    figure = DRAWN[name]()
    figure.set_dpi(100)
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    (axes,) = figure.axes
    texts = [t for t in axes.texts if t.get_text()]
    extents = [t.get_window_extent(renderer) for t in texts]
    for (one, a), (other, b) in combinations(zip(texts, extents, strict=True), 2):
        assert not a.overlaps(b), (one.get_text(), other.get_text())
    boxes = [p.get_window_extent(renderer) for p in axes.patches if isinstance(p, FancyBboxPatch)]
    for text, extent in zip(texts, extents, strict=True):
        for box in (box for box in boxes if box.overlaps(extent)):
            inside = box.x0 <= extent.x0 and extent.x1 <= box.x1
            assert inside and box.y0 <= extent.y0 and extent.y1 <= box.y1, text.get_text()


def test_settings_are_those_of_the_preset():
    other = replace(V2, beta=0.25, z_channels=7, magnitude_weight=3.0, period=6)
    told = text_of(diagrams.generator_v2(other))
    for said in ("0.25", "(B, 7, h, w)", "C + 7", "3\\,", "1 to 5", "of every 6"):
        assert said in told
    assert "z" not in text_of(diagrams.generator_v1(V1)).split()
    model = replace(preset("evolved").model, decoder_width=100)
    assert "→ 50" in text_of(diagrams.evolved_decoder(model))


def test_full_and_weak_stand_beside_the_published(record):
    made = [
        Outcome.of(record(name, "ksdd2", **{"AP-det": value, "AP-loc": value / 2}))
        for name, value in (("full_ssn", 90.0), ("gap_cam", 80.0))
    ]
    told = diagrams.against_masks(made, "ksdd2")
    assert [one.here for one in told["weak"]] == ["80.0", "40.0"]
    assert [one.published for one in told["full"]] == ["97.4", "93.0"]
    assert [one.here for one in told["difference"]] == ["−10.0", "−5.0"]
    assert told["difference"][0].published == "−2.9"
    assert [one.here for one in diagrams.against_masks([], "ksdd2")["difference"]] == ["–", "–"]
