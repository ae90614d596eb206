"""An executed notebook as one HTML page, for a phone, a screen and print: its prose and results."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
  max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .5em; }
h1 { margin-top: .5em; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .82rem; line-height: 1.35; }
tr:nth-child(even) td { background: #f8f8f8; }
th, td { border: 1px solid #bbb; padding: .25rem .45rem; text-align: left; vertical-align: top; }
th { background: #eee; }
td { min-width: 3.2em; }
code { background: #f2f2f2; padding: 0 .2em; overflow-wrap: anywhere; }
pre { background: #f2f2f2; padding: .6rem; overflow-x: auto; }
@media (max-width: 40rem) { body { padding: .6rem; font-size: 15px; } table { font-size: .72rem; } }
@media print {
  body { max-width: none; padding: 0; font-size: 9pt; }
  .wide { overflow: visible; }
  table { font-size: 6pt; width: 100%; }
  td { min-width: 0; overflow-wrap: break-word; }
  figure, tr { break-inside: avoid; }
  h1, h2, h3 { break-after: avoid; }
}
"""


def page(notebook: Path) -> str:
    """The page of an executed notebook: Markdown cells, and what code cells show; no code.

    Nothing is loaded from elsewhere: figures are inside, with what they say as their alternative
    text.
    """
    book = nbformat.read(notebook, as_version=4)
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    parts, title = [], notebook.stem
    for cell in book.cells:
        if cell.cell_type == "markdown":
            if cell.source.startswith("# "):
                title = cell.source.splitlines()[0].removeprefix("# ")
            parts.append(markdown.render(cell.source))
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/markdown" in data:
                parts.append(markdown.render(_text(data["text/markdown"])))
            elif "image/png" in data:
                alt = html.escape(output.get("metadata", {}).get("image/png", {}).get("alt", ""))
                image = _encoded(base64.b64decode(data["image/png"]))
                parts.append(
                    f'<figure><img alt="{alt}" src="data:image/png;base64,{image}"></figure>'
                )
    body = "\n".join(parts)
    body = body.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def not_shown(document: str, figures: Iterable[Path]) -> list[str]:
    """Names of those PNG files that are not in the text of an executed notebook or a page."""
    return [path.stem for path in figures if _encoded(path.read_bytes()) not in document]


def _encoded(image: bytes) -> str:
    """As notebooks and pages hold an image: on one line."""
    return base64.b64encode(image).decode()


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)
