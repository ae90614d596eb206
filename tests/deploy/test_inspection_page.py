from __future__ import annotations

import base64
import io
import json
import math
import re
from datetime import datetime

import numpy as np
import pytest
from browser import Browser, installed
from PIL import Image

from ssn_lib.deploy.heatmap import heatmap
from ssn_lib.deploy.limits import Reference, read_threshold
from ssn_lib.deploy.page import Inspected, common_folder, palette, write_page

HOSTILE = "parts/</script><script>window.hacked = 1</script>\"'&amp;<img src=x>\udc80 ü.png"
RUN, THRESHOLD = "evolved-folder-parts-s42-00000000", 0.25


def picture(width=40, height=20):
    """A grey JPEG as a data URI."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (120, 120, 120)).save(file, "JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def small_map(value=0, hot=()):
    cells = np.full((32, 32), value, np.uint8)
    for cell in hot:
        cells[cell] = 255
    return base64.b64encode(cells).decode()


def rows_of(scores, labels=None, folder="parts/"):
    labels = [None] * len(scores) if labels is None else labels
    return [
        Inspected(
            f"{folder}{i:04}.png", score, f"{i:04}_overlay.png", label, picture(), small_map()
        )
        for i, (score, label) in enumerate(zip(scores, labels, strict=True))
    ]


@pytest.fixture
def write(tmp_path):
    """write(rows): the page's path."""

    def write_with(rows, **changed):
        options = {
            "run_id": RUN,
            "preset": "evolved",
            "threshold": THRESHOLD,
            "map_range": (-6.0, 6.0),
            "map_threshold": 0.0,
            "reference": None,
            "notes": [],
        }
        write_page(tmp_path / "inspection.html", rows, **(options | changed))
        return tmp_path / "inspection.html"

    return write_with


def data_in(page):
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', text, re.DOTALL)[1])


# Without a browser


def test_every_row_is_on_the_page_with_its_score_to_the_last_bit(write):
    scores = np.random.default_rng(0).normal(size=50).tolist()
    found = {row["image"]: row["score"] for row in data_in(write(rows_of(scores)))["images"]}
    assert found == {f"{i:04}.png": score for i, score in enumerate(scores)}


def test_names_are_text_and_nothing_else(write):
    (row,) = rows_of([1.0])
    rows = [Inspected(HOSTILE, 1.0, HOSTILE.partition("/")[2], None, row.thumbnail, row.small_map)]
    page = write(rows, notes=["</script>{{script}}"])
    text = page.read_text(encoding="utf-8")
    assert text.count("</script") == 2 and "<img src=x" not in text
    (image,), (note,) = (data_in(page)[key] for key in ("images", "notes"))
    assert data_in(page)["folder"] + image["image"] == HOSTILE
    assert note == "</script>{{script}}"
    assert re.fullmatch(r"[\w.%~-]+", image["overlay"])


def test_nothing_is_loaded_from_elsewhere(write):
    text = write(rows_of([1.0])).read_text(encoding="utf-8")
    assert {*re.findall(r"https?://[^\s\"']+", text)} == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<link|@import|fetch\(|<script[^>]+src", text)
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    ("images", "folder"),
    [
        ([], ""),
        (["a.png"], ""),
        (["x/y/a.png"], "x/y/"),
        (["x/good/01.png", "x/golden/01.png"], "x/"),
        (["C:\\in\\a.png", "C:\\in\\b.png"], "C:\\in\\"),
        (["/x/a.png", "y/a.png"], ""),
    ],
)
def test_the_common_folder_is_said_once(images, folder):
    assert common_folder(images) == folder


def test_small_maps_are_coloured_as_overlays_are():
    low, high, threshold = -5.0, 7.0, 1.5
    values = np.linspace(low, high, 256, dtype=np.float32)[None]
    grey = np.full((1, 256, 3), 90, np.uint8)
    *colour, opacity = np.moveaxis(palette((low, high), threshold) / 255, 1, 0)
    laid_over = (1 - opacity[:, None]) * 90 + opacity[:, None] * np.stack(colour, 1) * 255
    expected = heatmap(grey, values, threshold)[0]
    np.testing.assert_allclose(laid_over, expected, atol=1.5)


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_refused(write, refusal, tmp_path, score):
    assert "parts/0001.png" in refusal(lambda: write(rows_of([1.0, score])))
    assert not (tmp_path / "inspection.html").exists()


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if installed() is None:
        pytest.skip("no Chromium is installed: the page is not tried out")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def visit(browser, write):
    """visit(rows): the browser on their page; whatever it complains of fails the test."""

    def open_page(rows, *, width=1280, dark=False, phone=False, **options):
        browser.open(write(rows, **options), width, 900, dark=dark, phone=phone)
        return browser

    yield open_page
    assert browser.complaints == []


def counts(browser):
    browser.settle()
    shown = browser.js("document.querySelector('#counts').innerText")
    return tuple(map(int, re.search(r"(\d+) anomalous · (\d+) good", shown).groups()))


def move_to(browser, threshold):
    """The slider, as a hand moves it; the threshold it then stands for."""
    browser.js(
        f"(() => {{ const slider = document.querySelector('#slider'); slider.value = {threshold};"
        " slider.dispatchEvent(new Event('input')); })()"
    )
    browser.settle()
    return float(browser.js("document.querySelector('#number').value"))


def names(browser):
    """Of the cards that are shown, in their order."""
    browser.settle()
    return browser.js(
        "[...document.querySelectorAll('#grid li:not([hidden]) .card')]"
        ".map((card) => card.ariaLabel.split(',')[0])"
    )


def text_of(browser, selector):
    return browser.js(f"document.querySelector({json.dumps(selector)}).innerText")


def labelled_scores(count=80):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, count)
    return rng.normal(labels * 1.5, 1.0), labels


def test_moving_the_slider_counts_anew(visit):
    scores, _ = labelled_scores()
    browser = visit(rows_of(scores.tolist()))
    assert counts(browser) == ((scores > THRESHOLD).sum(), (scores <= THRESHOLD).sum())
    for wanted in np.linspace(scores.min() - 1, scores.max() + 1, 9):
        threshold = move_to(browser, wanted)
        assert counts(browser) == ((scores > threshold).sum(), (scores <= threshold).sum())
        expected = [f"{i:04}.png" for i in np.argsort(-scores) if scores[i] > threshold]
        browser.click("#filters [value=anomalous]")
        assert names(browser) == expected
        browser.click("#filters [value=all]")
    browser.click("#reset")
    assert float(browser.js("document.querySelector('#number').value")) == THRESHOLD


def test_a_filtered_list_follows_when_the_slider_rests(visit):
    browser = visit(rows_of([3.0, 2.0, 1.0]), threshold=0.5)
    browser.click("#filters [value=anomalous]")
    move_to(browser, 2.5)
    browser.wait_until(lambda: names(browser) == ["0000.png"])
    assert text_of(browser, "#shown") == "1 of 3 images shown"
    assert "1 of 3 images anomalous" in browser.js("document.querySelector('#spoken').textContent")


def test_an_arrow_key_moves_one_image_or_all_of_one_score(visit):
    scores = [0.0, 1.0, 1.0, 1.0, 2.0, 2.0000000000000004, 3.0]
    browser = visit(rows_of(scores))
    browser.js("document.querySelector('#slider').focus()")
    assert counts(browser) == (6, 1)
    for key, anomalous in [
        ("ArrowRight", 3),
        ("ArrowRight", 2),
        ("ArrowRight", 1),
        ("ArrowRight", 0),
        ("ArrowRight", 0),
        ("ArrowLeft", 1),
        ("End", 0),
        ("Home", 7),
        ("PageUp", 0),
        ("ArrowDown", 1),
    ]:
        browser.press(key)
        assert counts(browser)[0] == anomalous, key
    assert "anomalous" in browser.js("document.querySelector('#slider').ariaValueText")


def test_the_line_in_the_histogram_is_dragged(visit):
    scores = np.linspace(-1, 1, 41)
    browser = visit(rows_of(scores.tolist()))
    x, y = browser.middle("#plot")
    browser.mouse("mouseMoved", x, y)
    browser.mouse("mousePressed", x, y)
    browser.mouse("mouseMoved", x + 60, y)
    browser.mouse("mouseReleased", x + 60, y)
    threshold = float(browser.js("document.querySelector('#number').value"))
    assert 0.2 < threshold < 0.8
    assert counts(browser)[0] == (scores > threshold).sum()
    line, thumb = browser.middle("#line")[0], x + 60
    assert abs(line - thumb) < 2


def test_a_typed_threshold_counts_to_its_last_digit(visit):
    browser = visit(rows_of([1.0, 1.0000000000000002, 2.0]))
    for typed, anomalous in [("1.0000000000000002", 1), ("1", 2), ("-1e9", 3), ("", 3)]:
        browser.js(f"document.querySelector('#number').value = '{typed}'")
        browser.js("document.querySelector('#number').dispatchEvent(new Event('input'))")
        assert counts(browser)[0] == anomalous


def test_precision_recall_and_false_positive_rate_follow_the_slider(visit):
    scores, labels = labelled_scores()
    browser = visit(rows_of(scores.tolist(), labels.tolist()))
    for wanted in (-1.0, 0.5, 2.0, 99.0):
        called = scores > move_to(browser, wanted)
        hits, alarms = (called & (labels == 1)).sum(), (called & (labels == 0)).sum()
        precision = f"{100 * hits / called.sum():.1f} %" if called.any() else "–"
        shown = browser.js("[...document.querySelectorAll('#metrics td')].map((c) => c.innerText)")
        recall, rate = hits / labels.sum(), alarms / (1 - labels).sum()
        assert shown == [precision, f"{100 * recall:.1f} %", f"{100 * rate:.1f} %"]
        assert int(text_of(browser, "#missed")) == labels.sum() - hits
        assert int(text_of(browser, "#alarms")) == alarms
        wrong = {f"{i:04}.png" for i in np.flatnonzero(called != labels)}
        browser.click("#filters [value=wrong]")
        assert {*names(browser)} == wrong
    assert text_of(browser, "#unlabelled") == ""


def test_without_labels_nothing_is_judged_and_of_some_it_is_said(visit):
    browser = visit(rows_of([0.0, 1.0]))
    assert browser.js("document.querySelector('#judged').hidden")
    assert browser.js("document.querySelector('#filters [value=wrong]')") is None
    browser = visit(rows_of([0.0, 1.0, 2.0], [0, None, 1]))
    assert "1 image without a label is not counted" in text_of(browser, "#unlabelled")
    assert "1 of 1 defective" in text_of(browser, "#metrics")


def test_filters_search_and_orders(visit):
    scores = np.arange(40) / 10
    browser = visit(rows_of(scores.tolist()), threshold=1.95)
    browser.click("#filters [value=near]")
    assert names(browser) == [f"{i:04}.png" for i in reversed(range(8, 32))]
    browser.click("#filters [value=good]")
    browser.js("document.querySelector('#search').value = '001'")
    browser.js("document.querySelector('#search').dispatchEvent(new Event('input'))")
    assert names(browser) == [f"{i:04}.png" for i in (*reversed(range(10, 20)), 1)]
    assert text_of(browser, "#shown") == "11 of 40 images shown"
    for order, first in [("lowest", "0001.png"), ("nearest", "0019.png"), ("name", "0001.png")]:
        browser.js(f"document.querySelector('#order').value = '{order}'")
        browser.js("document.querySelector('#order').dispatchEvent(new Event('change'))")
        assert names(browser)[0] == first
    browser.js("document.querySelector('#search').value = 'absent'")
    browser.js("document.querySelector('#search').dispatchEvent(new Event('input'))")
    assert names(browser) == []
    assert text_of(browser, "#shown") == "No image is like this."


def test_the_saved_threshold_is_the_one_shown_to_the_last_bit(visit, browser, tmp_path):
    visit(rows_of([0.1, 0.3, 0.7]), threshold=0.1 + 0.2)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.click("#save")
    browser.wait_for("document.querySelector('#saved').innerText.includes('--threshold')")
    saved = tmp_path / "threshold_0.3.json"
    browser.wait_until(saved.exists)
    assert read_threshold(saved, RUN).score == 0.1 + 0.2
    chosen = json.loads(saved.read_text(encoding="utf-8"))
    taken = datetime.fromisoformat(chosen.pop("chosen"))
    assert abs(datetime.now(taken.tzinfo) - taken).total_seconds() < 60
    assert chosen == {
        "kind": "ssn_lib threshold",
        "run": RUN,
        "score_threshold": 0.1 + 0.2,
        "images": 3,
    }


def test_the_keyboard_reaches_every_image_and_opens_it(visit, tmp_path):
    browser = visit(rows_of([3.0, 2.0, 1.0, 0.0]))
    Image.new("RGB", (64, 32)).save(tmp_path / "0001_overlay.png")
    focused = "document.activeElement.ariaLabel?.split(',')[0]"
    browser.js("document.querySelector('#maps').focus()")
    browser.press("Tab")
    assert browser.js(focused) == "0000.png"
    browser.press("Tab")  # the cards are one stop
    assert browser.js(focused) is None
    browser.js("document.querySelector('#grid button').focus()")
    browser.press("ArrowRight")
    assert browser.js(focused) == "0001.png"
    browser.press("Enter")
    assert text_of(browser, "#large-name") == "0001.png"
    browser.wait_for("document.querySelector('#large-image').naturalWidth === 64")
    browser.press("ArrowRight")
    assert text_of(browser, "#large-name") == "0002.png"
    # Its overlay is not there: the thumbnail, with the map over it.
    browser.wait_for("document.querySelector('#large-image').naturalWidth === 40")
    assert not browser.js("document.querySelector('#large-map').hidden")
    assert "preview" in text_of(browser, "#large-text")
    browser.press("Escape")
    assert not browser.js("document.querySelector('#large').open")
    assert browser.js(focused) == "0002.png"
    browser.press("End")
    assert browser.js(focused) == "0003.png"
    assert len(browser.complaints) == 1 and "ERR_FILE_NOT_FOUND" in browser.complaints.pop()


def test_an_open_image_moves_the_threshold_past_itself(visit, tmp_path):
    Image.new("RGB", (64, 32)).save(tmp_path / "0001_overlay.png")
    browser = visit(rows_of([3.0, 2.0, 2.0, 1.0]), threshold=0.5)
    browser.click("#grid li:nth-child(2) .card")
    assert "good" in text_of(browser, "#move")
    browser.click("#move")
    assert counts(browser) == (1, 3)
    assert "anomalous" in text_of(browser, "#move")
    browser.click("#move")
    assert counts(browser) == (3, 1)


def painted(browser, selector):
    """Of a canvas: pixels that are not transparent."""
    return browser.js(
        f"(() => {{ const canvas = document.querySelector({json.dumps(selector)});"
        "const all = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "return all.filter((value, index) => index % 4 === 3 && value > 0).length; })()"
    )


def test_the_map_is_shown_under_the_mouse_and_by_a_finger(visit):
    (row,) = rows_of([1.0])
    hot = small_map(hot=[(slice(0, 16), slice(0, 16))])
    rows = [Inspected(row.image, 1.0, row.overlay, None, row.thumbnail, hot)]
    opacity = "getComputedStyle(document.querySelector('.card canvas')).opacity"
    browser = visit(rows)
    browser.wait_for("document.querySelector('.card canvas')")
    assert browser.js(opacity) == "0"
    x, y = browser.middle(".card")
    browser.mouse("mouseMoved", x, y)
    browser.wait_for("document.querySelector('.card canvas').width === 40")
    assert browser.js(opacity) == "1"
    assert 40 * 20 / 5 < painted(browser, ".card canvas") < 40 * 20 / 3  # a quarter, its edge soft
    browser = visit(rows, width=390, phone=True)
    browser.tap(".card")
    assert browser.js(opacity) == "1"
    assert not browser.js("document.querySelector('#large').open")


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_one_way_only(visit, width):
    scores, labels = labelled_scores()
    rows = rows_of(
        scores.tolist(), labels.tolist(), folder="a_long_name_without_a_space_" * 8 + "/"
    )
    rows.append(Inspected("b" * 200 + ".png", 1.0, "x.png", None, picture(20, 160), small_map()))
    browser = visit(rows, width=width, phone=True, notes=["n" * 300], run_id="r" * 90)
    assert browser.js("document.documentElement.scrollWidth") <= width
    browser.js("window.scrollTo(0, document.body.scrollHeight)")
    browser.settle()
    assert browser.js("document.querySelector('#slider').getBoundingClientRect().top") >= 0
    assert browser.js("document.querySelector('#slider').getBoundingClientRect().bottom") < 200


@pytest.mark.parametrize("width", [360, 375, 390])
def test_the_decision_on_a_card_fits_on_a_phone(visit, width):
    browser = visit(rows_of([-0.383, 0.383, -0.1]), width=width, phone=True, threshold=-0.2)
    browser.wait_for("document.querySelector('.card .decision')?.textContent")
    cut = (
        "[...document.querySelectorAll('.caption > span')]"
        ".filter((line) => line.scrollWidth > line.clientWidth).length"
    )
    assert browser.js(cut) == 0


def test_the_field_shows_a_threshold_short_and_the_file_holds_it_whole(visit):
    browser = visit(rows_of([0.1, 0.9]), threshold=0.6874004602432251)
    assert browser.js("document.querySelector('#number').value") == "0.6874"
    browser.click("#save")
    assert "0.6874004602432251" in text_of(browser, "#saved")


def test_hostile_names_are_shown_and_run_nothing(visit):
    (row,) = rows_of([1.0])
    rows = [Inspected(HOSTILE, 1.0, "x.png", 1, row.thumbnail, row.small_map)]
    browser = visit(rows, notes=["<b>bold</b>", HOSTILE])
    browser.wait_for("document.querySelector('.card img')")
    assert browser.js("window.hacked") is None
    assert text_of(browser, "#notes li") == "<b>bold</b>"
    assert text_of(browser, "#about").startswith("1 image of parts/</script><script>window.hacked")
    assert browser.js("document.querySelectorAll('.card img').length") == 1


def test_reference_scores_stand_behind_with_their_own_name(visit):
    reference = Reference(np.linspace(-1, 0.5, 11), seen=True)
    browser = visit(rows_of([0.0, 1.0]), reference=reference)
    assert "training images" in text_of(browser, "#legend")
    assert "Of 11 good training images, 2 (18.2 %)" in text_of(browser, "#reference")
    described = browser.js("document.querySelector('#histogram').ariaLabel")
    assert "2 scores" in described and "11 training images" in described
    browser = visit(rows_of([0.0]), reference=Reference(reference.scores, seen=False))
    assert "held-out images" in text_of(browser, "#legend")


def test_two_thousand_images_are_made_as_they_come_into_sight(visit):
    scores = np.random.default_rng(2).normal(size=2000)
    browser = visit(rows_of(scores.tolist()))
    filled = "document.querySelectorAll('.card img').length"
    browser.wait_for(f"{filled} > 0")
    assert browser.js(filled) < 200
    threshold = move_to(browser, 1.0)
    assert counts(browser)[0] == (scores > threshold).sum()
    browser.js("window.scrollTo(0, document.body.scrollHeight)")
    last = "document.querySelector('#grid li:last-child .decision')?.innerText"
    browser.wait_for(f"{last} === 'good'")
    assert browser.js(filled) < 600


@pytest.mark.parametrize("scores", [[], [0.25], [1.0, 1.0]])
def test_few_images_or_equal_ones_are_a_page_too(visit, scores):
    browser = visit(rows_of(scores))
    assert counts(browser) == (sum(score > THRESHOLD for score in scores), scores.count(0.25))


def test_dark_where_the_system_is(visit):
    colour = "getComputedStyle(document.body).backgroundColor"
    light = visit(rows_of([1.0])).js(colour)
    assert visit(rows_of([1.0]), dark=True).js(colour) != light
