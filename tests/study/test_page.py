from __future__ import annotations

import base64
import shutil
import subprocess

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from ssn_lib.study.page import not_shown, page

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)
WIDE = "| " + " | ".join(f"column {i}" for i in range(40)) + " |"
TABLE = f"**Wide**\n\n{WIDE}\n|{' --- |' * 40}\n{WIDE}\n\n- a < b & `code`\n"


@pytest.fixture
def executed(tmp_path):
    cells = [
        new_markdown_cell("# Title & more\n\nSome *prose*, <script>alert(1)</script>."),
        new_code_cell(
            "secret = 1",
            outputs=[
                new_output("stream", text="a log"),
                new_output("execute_result", data={"text/markdown": TABLE, "text/plain": "x"}),
                new_output("display_data", data={"image/png": PIXEL + "\n", "text/plain": "y"}),
                new_output(
                    "display_data",
                    data={"image/png": PIXEL},
                    metadata={"image/png": {"alt": 'a "dot" & more'}},
                ),
            ],
        ),
    ]
    path = tmp_path / "it.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_prose_tables_and_figures_are_shown_and_code_is_not(executed):
    made = page(executed)
    assert "<title>Title &amp; more</title>" in made
    assert "<em>prose</em>" in made
    assert "<script>" not in made
    assert "a &lt; b &amp; <code>code</code>" in made
    assert made.count('<div class="wide"><table>') == made.count("</table></div>") == 1
    assert f'<img alt="" src="data:image/png;base64,{PIXEL}">' in made
    assert f'<img alt="a &quot;dot&quot; &amp; more" src="data:image/png;base64,{PIXEL}">' in made
    assert "secret" not in made
    assert "a log" not in made
    assert base64.b64decode(PIXEL).startswith(b"\x89PNG")


def test_a_figure_that_a_page_lacks_is_named(executed, tmp_path):
    content = base64.b64decode(PIXEL)
    for name, png in (("there", content), ("missing", content[1:])):
        (tmp_path / f"{name}.png").write_bytes(png)
    saved = sorted(tmp_path.glob("*.png"))
    assert not_shown(page(executed), saved) == not_shown(executed.read_text(), saved) == ["missing"]
    assert not_shown("", saved) == ["missing", "there"]


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_on_a_phone_the_page_itself_does_not_scroll_sideways(executed, tmp_path):
    """A wide table scrolls in its frame; the page stays as wide as the screen."""
    path = tmp_path / "it.html"
    probe = (
        "<script>document.title = document.documentElement.scrollWidth + ' of ' + innerWidth + ', "
        "table ' + document.querySelector('table').scrollWidth;</script></body>"
    )
    path.write_text(page(executed).replace("</body>", probe), encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900")
    dumped = subprocess.run(
        ["chromium", *options, f"--user-data-dir={tmp_path}/u", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
    title = dumped.partition("<title>")[2].partition("</title>")[0]
    width, _, screen, _, table = title.replace(",", "").split()
    assert int(width) <= int(screen) == 500
    assert int(table) > 1000
