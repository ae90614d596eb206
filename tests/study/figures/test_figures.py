"""Figures draw what they are given; whether they are good to look at, a person decides."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from ssn_lib.metrics import Thresholds
from ssn_lib.runs.record import Outcome
from ssn_lib.study.costs.records import Efficiency, Spread
from ssn_lib.study.figures import courses as course_figures
from ssn_lib.study.figures.drawing import Picture, alt_text, colours_of
from ssn_lib.study.figures.maps import (
    NoiseMaps,
    Panel,
    maps_over_images,
    noise_maps,
    scores_by_defect,
)
from ssn_lib.study.figures.networks import architecture, bubble_chart, latency_by_arithmetic
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


def test_a_figure_is_said_by_its_heading_and_a_diagram_by_what_is_written_in_it():
    assert "segmentation head 1×1 → 1024 → 1; " in alt_text(architecture())
    courses = course_figures.published_noise_courses(LEARNED_COURSES, "screw")
    said = alt_text(courses)
    assert said.startswith("As published, I-AUROC on screw ends between 39.9 (v1) and 72.3 (v2, β")
    assert said.endswith("evaluated every 4 epochs, some shown")
    assert "\n" not in said


def test_runs_of_one_system_go_from_light_to_dark_and_a_single_one_has_its_colour():
    first, other, last = colours_of(["mixed_ssn", "full_ssn", "mixed_ssn"])
    assert other == colour("full_ssn")
    assert min(np.subtract(first, last)) > 0.3


def lines(axes):
    """Label -> (x, y) of every line of a panel."""
    return {line.get_label(): line.get_xydata().T.tolist() for line in axes.lines}


def history(losses):
    return pd.DataFrame({"epoch": range(1, len(losses) + 1), "loss": losses})


def of_length(record, epochs, name="scenario_a", category="bottle", seed=42):
    return Outcome.of(record(name, category, seed, epochs=epochs))


def test_training_curves_count_images_and_show_the_published_run_in_the_row_of_its_length(record):
    runs = [(of_length(record, 10), history([2.0, 1.5]))]
    short, published = course_figures.training_curves(runs, "caption").axes
    assert lines(short)[title("scenario_a")] == [[209.0, 418.0], [2.0, 1.5]]  # images of bottle
    assert lines(short)["knowing nothing: 0 everywhere (SSN)"][1] == [ignorance_loss(True)] * 2
    images, losses = lines(published)[title("scenario_a")]
    assert (images[0], losses[0], images[-1]) == (836.0, 1.11, 62700.0)
    assert [axes.get_title() for axes in (short, published)] == [
        "bottle, 10 epochs",
        "bottle, 300 epochs",
    ]


def test_training_curves_leave_empty_panels_out_and_tell_seeds_by_dashes(record):
    runs = [
        (of_length(record, 10, seed=seed, category=category), history([2.0, 1.5]))
        for seed in (42, 43)
        for category in ("widget", "gadget")
    ]
    runs.append((of_length(record, 300, category="widget"), history([2.0, 0.5])))
    figure = course_figures.training_curves(runs, "caption")
    assert [axes.get_visible() for axes in figure.axes] == [True, True, True, False]
    curves = [line for line in figure.axes[0].lines if line.get_label() == title("scenario_a")]
    assert len({line.get_linestyle() for line in curves}) == 2
    assert all(axes.get_yscale() == "log" for axes in figure.axes)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-2:] == [
        "seed 42",
        "seed 43",
    ]


def test_the_heading_of_training_curves_goes_by_the_losses(record):
    nothing = ignorance_loss(True)
    runs = [
        (of_length(record, 300, category="widget"), history([nothing, 0.5])),
        (of_length(record, 300, "scenario_b", "widget"), history([nothing, nothing])),
        (of_length(record, 10, "scenario_b", "widget"), history([0.1, 0.1])),  # not the longest
    ]
    said = course_figures.training_curves(runs, "caption").get_suptitle().replace("\n", " ")
    assert said == (
        "The loss gets 10 % below that of knowing nothing: Scenario A after 2 epochs on widget; "
        "Scenario B never within 300 epochs"
    )
    more = [
        (of_length(record, 300, name, "widget"), history([9.0]))
        for name in ("learned_noise_v1", "learned_noise_v2")
    ]
    said = course_figures.training_curves([*runs, *more], "").get_suptitle().replace("\n", " ")
    assert said == (
        "After 300 epochs the loss lies between 0.5 (Scenario A) and 9 (v1 as stated); 1 of 4 "
        "systems end 10 % or more below that of knowing nothing"
    )


def test_curves_of_many_categories_stand_in_several_rows(record):
    names = [f"category {number}" for number in range(6)]
    runs = [
        (of_length(record, epochs, category=name), history([2.0, 1.5]))
        for epochs in (10, 20)
        for name in (names if epochs == 10 else names[:1])
    ]
    axes = course_figures.training_curves(runs, "caption").axes
    titles = [one.get_title() for one in axes if one.get_visible()]
    assert titles == [f"{name}, 10 epochs" for name in names] + ["category 0, 20 epochs"]
    assert len(axes) == 3 * course_figures.COLUMNS


def test_a_seed_has_its_line_style_in_every_row(record):
    course = pd.DataFrame({name: [50.0] for name in course_figures.COURSES} | {"epoch": [300]})
    runs = [
        (of_length(record, 300, name, seed=seed), history([1.0]), course)
        for name, seed in (("scenario_a", 42), ("scenario_a", 43), ("scenario_b", 43))
    ]
    figure = course_figures.full_courses(runs, "caption")
    rows = [figure.axes[0], figure.axes[len(course_figures.COURSES)]]
    both, alone = (
        [line.get_linestyle() for line in axes.lines[:n]]
        for axes, n in zip(rows, (2, 1), strict=True)
    )
    assert both[0] != both[1] == alone[0]


def test_full_courses_say_how_far_they_are_from_the_published_ones(record):
    course = pd.DataFrame({"epoch": [300]} | {"seg-I-AUROC": [50.0], "AUPRO": [50.0]})
    run = (
        of_length(record, 300, category="screw"),
        history([1.0]),
        course.assign(**{"I-AUROC": 61.13}),
    )
    figure = course_figures.full_courses([run], "caption")
    assert len(figure.axes) == 4  # a metric each
    assert "differs from the author's by 10.0 points (Scenario A, screw)" in figure.get_suptitle()


def test_published_courses_show_every_run_of_every_category():
    figure = course_figures.published_courses(SWAP_COURSES)
    assert len(figure.axes) == 9
    for axes in figure.axes:
        assert set(SWAP_COURSES.values()) <= set(lines(axes))
    assert figure.get_suptitle().replace("\n", " ") == (
        "As published, the loss of Scenario B never gets 10 % below that of knowing nothing; on "
        "screw I-AUROC ends at 91.2 (baseline), 51.1 (Scenario A) and 46.6 (Scenario B)"
    )


def test_published_noise_courses_have_a_column_for_each_run_over_the_others():
    figure = course_figures.published_noise_courses(LEARNED_COURSES, "screw")
    columns = figure.axes[: len(LEARNED_COURSES)]
    assert [axes.get_title() for axes in columns] == list(LEARNED_COURSES.values())
    for axes in columns:
        assert sum(line.get_label() == "the other runs" for line in axes.lines) == len(columns)
    own = [axes.lines[len(columns)].get_ydata().tolist() for axes in columns]
    assert len({tuple(losses) for losses in own}) == len(columns)


SPREAD = Spread(20.0, 19.0, 22.0)
COST = Efficiency("scenario_a", "plain", 6, 1, 10.0, SPREAD, SPREAD, SPREAD, SPREAD, None, CPU)


def test_latency_against_arithmetic_says_what_folding_saves():
    folded = replace(COST, form="folded", gflop=4.0, speedup=Spread(2.5, 2.0, 3.0))
    figure = latency_by_arithmetic([COST, folded, replace(COST, image_size=(448, 448))])
    assert figure.get_suptitle().startswith(
        "Folding makes Scenario A 2.5 × faster, with 2.5 × less"
    )
    written = [text.get_text() for text in figure.axes[0].texts]
    assert {"Scenario A", "Scenario A, 448×448 px"} <= {*written}
    assert {"200 GFLOP/s", "500 GFLOP/s"} <= {*written}  # 10 and 4 GFLOP in 20 ms
    assert "make bench" in latency_by_arithmetic([])


@pytest.fixture
def tradeoff(record):
    """Scenario A on two categories, another size on the one, and what has no accuracy."""
    runs = [
        Outcome.of(record(category=category, **{"I-AUROC": area}))
        for category, area in (("bottle", 99.0), ("screw", 91.0))
    ]
    costs = [COST, replace(COST, form="folded"), replace(COST, preset="baseline")]
    return bubble_chart(costs, runs, "caption")


def test_the_trade_off_has_a_panel_for_each_category_and_the_slides_points(tradeoff):
    slides, here = tradeoff.axes[2:]  # of the second row, screw
    assert [axes.get_ylabel()[:6] for axes in tradeoff.axes] == ["bottle", "", "screw:", ""]
    assert tradeoff.axes[0].get_title() == "the slides: Tesla P100, half precision"
    assert tradeoff.axes[1].get_title().startswith("here: CPU")
    drawn = {
        axes: [tuple(np.round(p.get_offsets()[0], 2).tolist()) for p in axes.collections]
        for axes in (slides, here)
    }
    assert drawn[here] == [(20.0, 91.0)] * 2
    assert drawn[slides] == [(25.58, 91.2), (7.78, 51.1), (8.36, 46.6)]
    for axes in (slides, here):  # those of another device are hollow
        hollow = [len(part.get_facecolors()) == 0 for part in axes.collections]
        assert set(hollow) == {axes is slides}
    points = [*drawn[slides], *drawn[here]]
    (low, high), areas = tradeoff.axes[1].get_ylim(), [y for _, y in points]
    assert low < min(areas) < low + 12
    assert high > 100
    assert "for want of an accuracy here: baseline, plain, 20 ms" in alt_text(tradeoff)
    assert "Latency here: images of 256×256 px (Scenario A)." in alt_text(tradeoff)


def test_the_trade_off_says_which_systems_are_useful(tradeoff, record):
    said = tradeoff.get_suptitle().replace("\n", " ")
    assert said.startswith("Here 1 of 1 systems reaches 90 % I-AUROC on bottle and screw")
    assert said.endswith("Scenario A in 20 ms")
    weak = Outcome.of(record(**{"I-AUROC": 50.0}))
    assert "Here 0 of 1 systems reach 90 %" in bubble_chart([COST], [weak], "").get_suptitle()
    assert "accuracy" in bubble_chart([COST], [], "")


def test_a_point_of_the_trade_off_tells_its_own_categorys_training(record):
    runs = [
        Outcome.of(record("scenario_a", category, epochs=epochs))
        for category, epochs in (("bottle", 300), ("screw", 10))
    ]
    figure = bubble_chart([COST], runs, "")
    told = ["".join(text.get_text() for text in axes.texts) for axes in figure.axes[1::2]]
    assert "300 epochs" in told[0]
    assert "10 epochs" in told[1]


def test_no_label_of_the_trade_off_covers_another(tradeoff):
    FigureCanvasAgg(tradeoff).draw()
    renderer = tradeoff.canvas.get_renderer()
    column = dict(zip(tradeoff.axes, tradeoff.axes[:2] * 2, strict=True))
    for axes in tradeoff.axes:
        boxes = [Text.get_window_extent(text, renderer) for text in axes.texts]
        assert len(boxes) == (3 if "slides" in column[axes].get_title() else 1)
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        inside = axes.get_window_extent(renderer).padded(2)
        assert all(inside.contains(*box.min) and inside.contains(*box.max) for box in boxes)


def test_scores_by_defect_have_a_row_for_each_kind_and_one_for_sound_images(record):
    frame = pd.DataFrame(
        {
            "label": [0, 1, 1, 0, 1],
            "defect": ["good", "thread_top", "cut", "good", "cut"],
            "score": [0.1, 0.5, 0.2, 0.4, 0.9],
        }
    )
    one = replace(record(), thresholds=Thresholds(map=1.0, score=0.3))
    figure = scores_by_defect([(Outcome.of(one), frame)], "caption")
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cut", "thread top", "good"]
    drawn = [part.get_offsets()[:, 0].tolist() for part in axes.collections]
    assert drawn == [[0.2, 0.9], [0.5], [0.1, 0.4]]
    assert axes.lines[0].get_xdata() == [0.3, 0.3]
    assert axes.get_title().endswith("bottle, 10 epochs, 256×256 px")
    said = (
        "Called defective, each by its own limit: Scenario A 2 of 3 defective and 1 of 2 sound "
        "images"
    )
    assert figure.get_suptitle().replace("\n", " ") == said
    assert "see the tables above" in scores_by_defect([], "caption")


def panel(found, name="one", threshold=0.5):
    return Panel(name, found.astype(float), threshold, 2.0, 1.0)


@pytest.fixture
def strip():
    """A tall image, its mask, a map that finds half of the defect, and one that finds none."""
    mask = np.zeros((60, 20))
    mask[40:44, 5:15] = 1
    half, none = mask.copy(), np.zeros_like(mask)
    half[42:44] = 0
    none[5:8, 5:8] = 1
    return np.full((60, 20, 3), 100, np.uint8), mask, half, none


def test_maps_lie_over_the_image_and_the_defect_is_shown_from_near(strip):
    image, mask, half, none = strip
    figure = maps_over_images(
        [image] * 2, [mask] * 2, [[panel(half, "half"), panel(none, "none")]] * 2, "caption"
    )
    whole, near = figure.axes[:6], figure.axes[6:]
    assert [len(axes.images) for axes in whole] == [1, 2, 2] * 2  # the image, and a map over it
    assert [axes.get_title().partition("\n")[0] for axes in whole] == ["image", "half", "none"] * 2
    for axes in near:
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        assert (right - left, bottom - top) == (16, 16)  # 1.6 times the defect's width
        assert left < 5 < 15 < right
        assert top < 40 < 44 < bottom
    said = figure.get_suptitle().replace("\n", " ")
    assert said.startswith("half outlines the defects of 2 images best: overlap 50 % of the union")
    assert said.endswith("none: 0 %")
    assert "2.00, limit 1.00\n→ defective" in whole[1].get_title()


def test_outlines_that_hardly_meet_the_defect_are_not_ranked(strip):
    image, mask, half, none = strip
    quarter = half * (np.arange(20) < 10)
    panels = [panel(quarter, "quarter"), panel(none, "none")]
    figure = maps_over_images([image], [mask], [panels], "caption")
    said = figure.get_suptitle().replace("\n", " ")
    assert said.endswith("no outline meets this defect well: overlap 0 to 25 % of the union")


def test_what_lies_above_a_threshold_below_0_has_a_whole_line(strip):
    image, mask, half, _ = strip
    figure = maps_over_images([image], [mask], [[panel(half - 2, threshold=-1.5)]], "caption")
    found = figure.axes[1].collections[-1]
    assert found.get_linestyles() == [(0.0, None)]  # no dashes


def test_many_maps_of_tall_images_take_a_band_an_image(strip):
    image, mask, _, none = strip
    answers = [[panel(none, str(which)) for which in range(6)]] * 3
    figure = maps_over_images([image] * 3, [mask] * 3, answers, "caption")
    assert len(figure.axes) == 3 * 2 * 7
    assert "nowhere meets the defect" in figure.get_suptitle()


def test_an_image_without_a_defect_and_a_constant_map_can_be_drawn(strip):
    image, mask, *_ = strip
    nothing = np.zeros_like(mask)
    figure = maps_over_images([image], [nothing], [[panel(nothing)]], "caption")
    FigureCanvasAgg(figure).draw()


def test_chance_in_the_noise_is_told(strip):
    generator = np.random.default_rng(0)
    first, second, features = generator.normal(size=(3, 8, 8, 50))
    sources = [NoiseMaps("drawn", first, second, features), NoiseMaps("fixed", first, first, first)]
    figure = noise_maps(strip[0], sources, "caption")
    assert figure.get_suptitle() == "Chance decides 0 % (fixed) to 100 % (drawn) of the noise"
