"""The kernel's page: executed notebooks as chapters."""

from __future__ import annotations

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ssn_lib.study.kaggle.chapters import chapters, contents

FIGURE = new_output("display_data", {"image/png": "AAAA"}, metadata={"image/png": {"alt": "a < b"}})
LOG = new_output("stream", name="stdout", text="(1, 64, 32, 32)")


@pytest.fixture
def notebooks(tmp_path):
    """Two executed notebooks, of which the second repeats the figure of the first."""
    saved = new_code_cell('report.save("roc")', outputs=[FIGURE, LOG])
    first = [
        new_markdown_cell("Some prose.\n\n# The first"),
        new_code_cell("seeds = None", metadata={"tags": ["parameters"]}, outputs=[LOG]),
        new_code_cell("import torch\nstudy = Study.of_notebook(globals())"),
        new_code_cell('study.run_all(["evolved"])', outputs=[LOG]),
        saved,
        new_code_cell("features = model(image)\nprint(features.shape)", outputs=[LOG, FIGURE]),
    ]
    second = [new_markdown_cell("no heading"), saved]
    paths = [tmp_path / "01_first.ipynb", tmp_path / "02_second.ipynb"]
    for path, cells in zip(paths, (first, second), strict=True):
        nbformat.write(new_notebook(cells=cells), path)
    return paths


def test_prose_results_and_code_that_teaches_stand_in_order(notebooks):
    shown = [item.data.get("text/markdown", "figure") for item in chapters(notebooks[:1], {})]
    assert shown == [
        '<a id="01_first"></a>',
        "Some prose.\n\n# The first",
        '<a id="roc"></a>',
        "figure",
        "<small>a &lt; b</small>",
        "```python\nfeatures = model(image)\nprint(features.shape)\n```",
        "```\n(1, 64, 32, 32)\n```",
        "figure",
        "<small>a &lt; b</small>",
    ]


def test_what_an_earlier_chapter_shows_is_a_link(notebooks):
    shown = [item.data.get("text/markdown") for item in chapters(notebooks, {})]
    assert shown[-3:] == ['<a id="02_second"></a>', "no heading", "[roc](#roc) stands above."]


def test_a_chapter_that_failed_says_so_and_the_next_one_follows(notebooks, tmp_path):
    """As papermill leaves it: a note in front of all, the cells behind the error without output."""
    note = new_markdown_cell("An Exception", metadata={"tags": ["papermill-error-cell-tag"]})
    error = new_output("error", ename="ValueError", evalue="broken", traceback=[])
    cells = [
        *(note, new_markdown_cell("# A third"), new_code_cell('report.save("roc")')),
        new_code_cell("study.run_all()", outputs=[error]),
        *(new_markdown_cell("Not reached."), new_code_cell("print(1)")),
    ]
    third = tmp_path / "00_third.unfinished.ipynb"
    nbformat.write(new_notebook(cells=cells), third)
    failed = {"00_third": "00_third.ipynb failed: ValueError: broken", "03_dead": "kernel died"}
    executed = [third, notebooks[1], tmp_path / "03_dead.unfinished.ipynb", tmp_path / "04.ipynb"]
    shown = [item.data.get("text/markdown", "figure") for item in chapters(executed, failed)]
    assert shown == [
        '<a id="00_third"></a>',
        "# A third",
        "**This chapter failed.** `00_third.ipynb failed: ValueError: broken`",
        "```python\nstudy.run_all()\n```",
        "**Here it failed**; the cells after this one were not run.",
        '<a id="02_second"></a>',
        "no heading",
        '<a id="roc"></a>',
        "figure",
        "<small>a &lt; b</small>",
        '<a id="03_dead"></a>',
        "# 03_dead",
        "**This chapter failed.** `kernel died`",
    ]


def test_the_contents_link_to_the_chapters(notebooks):
    assert contents(notebooks) == "- [The first](#01_first)\n- [02_second](#02_second)"
