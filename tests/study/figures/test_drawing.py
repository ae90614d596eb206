"""What all figures are made of: headings, legends and labels that can be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from ssn_lib.runs.record import Outcome
from ssn_lib.study.figures.courses import published_courses, published_noise_courses
from ssn_lib.study.figures.drawing import (
    SMALL,
    WIDTH,
    headed,
    legend,
    listed,
    percent_limits,
    place,
    plain_numbers,
    subplots,
    swarm,
    told_apart,
)
from ssn_lib.study.figures.networks import architecture
from ssn_lib.study.figures.supervision import published_decay
from ssn_lib.study.published import LEARNED_COURSES, SWAP_COURSES
from ssn_lib.study.systems import title


def boxes(figure, texts):
    FigureCanvasAgg(figure).draw()
    renderer = figure.canvas.get_renderer()
    return [Text.get_window_extent(text, renderer) for text in texts]


@pytest.mark.parametrize(
    "make",
    [
        architecture,
        published_decay,
        lambda: published_courses(SWAP_COURSES),
        lambda: published_noise_courses(LEARNED_COURSES, "screw"),
    ],
)
def test_a_figure_fits_a_page_and_its_heading_stands_free_above_all_else(make):
    figure = make()
    assert figure.get_figwidth() == WIDTH
    heading, below = boxes(figure, figure.texts)
    assert heading.y0 > below.y1
    assert heading.x1 < figure.bbox.x1
    assert below.x1 < figure.bbox.x1
    renderer = figure.canvas.get_renderer()
    for axes in figure.axes:
        assert axes.get_tightbbox(renderer).y1 < below.y0
    assert all(text.get_fontsize() >= SMALL for text in figure.findobj(Text) if text.get_text())


def test_a_heading_of_any_length_is_wrapped_and_the_panels_keep_their_height():
    heights = []
    for words in (3, 60):
        figure, axes = subplots(height=3.0)
        headed(figure, "a message " * words, "where from " * words)
        heading, below = boxes(figure, figure.texts)
        assert heading.x1 < figure.bbox.x1
        assert below.y0 > axes.get_tightbbox(figure.canvas.get_renderer()).y1
        heights.append(axes.get_window_extent().height)
    assert heights[1] == pytest.approx(heights[0], rel=0.05)


def test_a_legend_has_an_entry_for_each_line_that_is_drawn_and_is_as_wide_as_the_figure():
    figure, (left, right) = subplots(1, 2, height=3.0)
    names = [f"a system of a long name, number {which}" for which in range(5)]
    for axes in (left, right):
        for name in names:
            axes.plot([1, 2], label=name)
    legend(figure, [left, right])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    FigureCanvasAgg(figure).draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_the_training_is_named_where_it_differs_and_only_what_differs(record):
    alike = [Outcome.of(record(name)) for name in ("scenario_a", "evolved")]
    assert told_apart(alike) == [title("scenario_a"), title("evolved")]
    longer = Outcome.of(record("evolved", epochs=100))
    assert told_apart([alike[0], longer]) == [
        f"{title('scenario_a')}, 10 epochs",
        f"{title('evolved')}, 100 epochs",
    ]
    made = longer.record
    config = replace(made.config, data=replace(made.config.data, image_size=(448, 448)))
    larger = Outcome.of(replace(made, config=config))
    assert told_apart([alike[0], larger])[1] == f"{title('evolved')}, 100 epochs, 448×448 px"


def test_labels_of_close_points_cover_neither_each_other_nor_points():
    figure, axes = subplots(height=3.0)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    points = [(0.5 + 0.02 * which, 0.5) for which in range(5)]
    axes.scatter(*zip(*points, strict=True), s=60)
    headed(figure, "message", "provenance")
    place(axes, [(*point, f"label {which}") for which, point in enumerate(points)])
    written = boxes(figure, axes.texts)
    centres = axes.transData.transform(points)
    for which, box in enumerate(written):
        assert not any(box.overlaps(other) for other in written[which + 1 :])
        assert not any(box.contains(*centre) for centre in centres)


def test_a_swarm_shows_every_value_once_and_hides_none():
    _, axes = subplots(height=3.0)
    axes.set(xlim=(0, 1), ylim=(-0.5, 0.5))
    swarm(axes, [0.5] * 7 + [0.9], 0)
    drawn = axes.collections[0].get_offsets()
    assert drawn[:, 0].tolist() == [0.5] * 7 + [0.9]
    assert len(np.unique(np.round(drawn[:7, 1], 6))) == 7
    assert np.abs(drawn[:, 1]).max() < 0.5
    assert drawn[7, 1] == 0


@pytest.mark.parametrize(
    ("values", "low", "high"), [([53.0, 97.0], 50, 100), ([1.7, 41.0], 0, 50), ([100.0], 100, 100)]
)
def test_an_axis_in_percent_goes_by_whole_tens_around_the_values(values, low, high):
    bottom, top = percent_limits(values)
    assert low - 2 < bottom < low
    assert high < top < high + 2


def test_numbers_of_a_logarithmic_axis_are_plain():
    figure, axes = subplots(height=3.0)
    axes.set(yscale="log", ylim=(0.75, 2.2))
    plain_numbers(axes.yaxis)
    FigureCanvasAgg(figure).draw()
    labels = [text.get_text() for text in axes.get_yticklabels(which="both")]
    assert {"1", "2"} <= {*labels}
    assert not any("e" in label or "$" in label for label in labels)


def test_a_narrow_logarithmic_axis_has_numbers_on_both_sides_of_1():
    figure, axes = subplots(height=3.0)
    axes.set(yscale="log", ylim=(0.78, 1.45))
    plain_numbers(axes.yaxis)
    FigureCanvasAgg(figure).draw()
    assert {"0.8", "1", "1.4"} <= {text.get_text() for text in axes.get_yticklabels(which="both")}


def test_parts_of_a_sentence():
    assert [listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
