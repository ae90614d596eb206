"""Figures draw what they are given; whether they are good to look at, a person decides."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.colors import to_hex

from ssn_lib.metrics import Thresholds
from ssn_lib.runs.record import Outcome
from ssn_lib.study.costs.records import Efficiency, Spread
from ssn_lib.study.figures import courses as course_figures
from ssn_lib.study.figures.drawing import Picture, alt_text, colours_of
from ssn_lib.study.figures.maps import scores_by_defect
from ssn_lib.study.figures.networks import architecture, roofline
from ssn_lib.study.published import LEARNED_COURSES, SWAP_COURSES
from ssn_lib.study.systems import colour, ignorance_loss, title

CPU = {"device": "cpu", "threads": 2, "processor": "chip"}


@pytest.fixture(autouse=True)
def none_stays_open():
    yield
    assert not plt.get_fignums()  # an open figure would stay, and be shown a second time


def test_a_picture_is_shown_by_its_bytes_and_said_in_words():
    picture = Picture(b"\x89PNG", "a curve")
    data, metadata = DisplayFormatter().format(picture)
    assert data == {"image/png": b"\x89PNG", "text/plain": "a curve"}
    assert metadata == {"image/png": {"alt": "a curve"}}


def test_a_figure_is_said_by_its_heading_or_by_what_is_written_in_it():
    assert "segmentation head 1×1 → 1024 → 1; " in alt_text(architecture())
    courses = course_figures.published_courses(LEARNED_COURSES)
    said = alt_text(courses)
    assert said.startswith("Published runs on screw, as the author logged them seed 42,")
    assert "\n" not in said


def test_runs_of_one_system_have_tints_of_its_colour():
    first, other, last = colours_of(["mixed_ssn", "full_ssn", "mixed_ssn"])
    assert [to_hex(last), to_hex(other)] == [
        colour("mixed_ssn").lower(),
        colour("full_ssn").lower(),
    ]
    assert min(np.subtract(first, last)) > 0.02  # the lighter


def lines(axes):
    """Label -> (x, y) of every line of a panel."""
    return {line.get_label(): line.get_xydata().T.tolist() for line in axes.lines}


def history(losses):
    return pd.DataFrame({"epoch": range(1, len(losses) + 1), "loss": losses})


def test_training_curves_count_images_and_show_the_published_run_beside(record):
    runs = [(Outcome.of(record()), history([2.0, 1.5]))]
    figure = course_figures.training_curves(runs, "caption")
    drawn = lines(figure.axes[0])
    assert drawn[title("scenario_a")] == [[209.0, 418.0], [2.0, 1.5]]  # images of bottle
    images, losses = drawn[f"{title('scenario_a')}, published log"]
    assert (images[0], losses[0], images[-1]) == (836.0, 1.11, 62700.0)
    assert drawn["answering 0 everywhere (SSN)"][1] == [ignorance_loss(True)] * 2


def test_published_courses_show_every_run_of_every_category():
    figure = course_figures.published_courses(SWAP_COURSES)
    assert len(figure.axes) == 9
    for axes in figure.axes:
        assert set(SWAP_COURSES.values()) <= set(lines(axes))


def test_published_courses_of_one_category_leave_the_others_out():
    figure = course_figures.published_courses(LEARNED_COURSES)  # beside A on screw only
    assert len(figure.axes) == 3
    assert figure.get_suptitle().startswith("Published runs on screw,")
    assert set(LEARNED_COURSES.values()) <= set(lines(figure.axes[0]))


def test_the_roofline_says_how_far_above_the_floor_each_network_is():
    spread = Spread(20.0, 19.0, 22.0)
    old = Efficiency("scenario_a", "plain", 6, 1, 10.0, spread, spread, spread, None, None, CPU)
    made = [replace(old, peak_gflop_s=1000.0), replace(old, form="folded", peak_gflop_s=1000.0)]
    (axes,) = roofline(made).axes
    assert "floor: 1000 GFLOP/s" in lines(axes)
    labels = axes.get_legend_handles_labels()[1]
    assert sum(label.endswith(": 2.0 × floor") for label in labels) == 2  # 20 of 10 ms
    assert "make bench" in roofline([old])


def test_scores_by_defect_have_a_row_for_each_kind_and_one_for_sound_images(record):
    frame = pd.DataFrame(
        {
            "label": [0, 1, 1, 0, 1],
            "defect": ["good", "thread_top", "cut", "good", "cut"],
            "score": [0.1, 0.5, 0.7, 0.2, 0.9],
        }
    )
    one = replace(record(), thresholds=Thresholds(map=1.0, score=0.3))
    (axes,) = scores_by_defect([(Outcome.of(one), frame)], "caption").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cut", "thread top", "good"]
    drawn = [part.get_offsets()[:, 0].tolist() for part in axes.collections]
    assert drawn == [[0.7, 0.9], [0.5], [0.1, 0.2]]
    assert axes.lines[0].get_xdata() == [0.3, 0.3]
    assert "its limit, 0.3" in axes.get_title()
    assert "see the tables above" in scores_by_defect([], "caption")
