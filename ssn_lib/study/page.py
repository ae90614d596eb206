"""An executed notebook as one page, its prose and what it shows: HTML, or Markdown for GitHub."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nbformat
from markdown_it import MarkdownIt

SAVED = re.compile(r"^\w+\.save\(\"(\w+)\"", re.MULTILINE)  # what a cell shows, by name
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff;
  max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; margin: 1.6em 0 .5em; }
h1 { margin-top: .5em; }
img { max-width: 100%; height: auto; }
figure { margin: 1rem 0; }
figcaption { font-size: .82rem; color: #444; }
nav ul { padding-left: 1.2rem; }
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


def page(notebook: Path, opening: str = "") -> str:
    """The page of an executed notebook: Markdown cells, and what code cells show; no code.

    Nothing is loaded from elsewhere: figures are inside, with what they say as their alternative
    text and caption. Headings are anchors, and a list of them stands behind the title.

    Args:
        opening: Markdown that stands before everything but the first cell.
    """
    book = nbformat.read(notebook, as_version=4)
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    parts, title = [], notebook.stem
    for cell in book.cells:
        if cell.cell_type == "markdown":
            if cell.source.startswith("# "):
                title = cell.source.splitlines()[0].removeprefix("# ")
            parts.append(markdown.render(cell.source))
            if opening:
                parts.append(markdown.render(opening))
                opening = ""
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/markdown" in data:
                parts.append(markdown.render(_text(data["text/markdown"])))
            elif "image/png" in data:
                alt = html.escape(_alt_text(output))
                image = f'<img alt="{alt}" src="data:image/png;base64,{_image(data)}">'
                caption = f"<figcaption>{alt}</figcaption>" if alt else ""
                parts.append(f"<figure>{image}{caption}</figure>")
    body, headings = _with_anchors("\n".join(parts))
    body = body.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    if headings:
        first, end, rest = body.partition("</h1>")
        contents = f"<nav>{markdown.render(_contents(headings))}</nav>"
        body = f"{first}{end}\n{contents}{rest}" if end else contents + body
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def document(notebook: Path, link_to: Callable[[str], str | None]) -> str:
    """An executed notebook as Markdown, tables as they are and figures linked.

    Args:
        link_to: where the file lies that shows what a cell saved under that name; None leaves what
            the cell shows out.
    """
    book = nbformat.read(notebook, as_version=4)
    parts: list[str] = []
    headings = []
    for cell in book.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.strip())
            found = re.findall(r"^(##+) (.*)$", cell.source, re.MULTILINE)
            headings += [(len(marks), title) for marks, title in found]
            continue
        saved = SAVED.search(cell.source)
        link = link_to(saved[1]) if saved else None
        for output in cell.get("outputs", ()) if link else ():
            data = output.get("data", {})
            if "text/markdown" in data:
                parts.append(_text(data["text/markdown"]).strip())
            elif "image/png" in data:
                alt = re.sub(r"([\[\]])", r"\\\1", _alt_text(output))
                parts.append(f"![{alt}]({link})")
    parts.insert(1, _contents(headings).strip())
    return "\n\n".join(parts) + "\n"


def not_shown(document: str, figures: Iterable[Path]) -> list[str]:
    """Names of those PNG files that are not in the text of an executed notebook or a page."""
    return [path.stem for path in figures if _encoded(path.read_bytes()) not in document]


def _with_anchors(body: str) -> tuple[str, list[tuple[int, str]]]:
    """The same HTML with an anchor at every heading but the title, and their levels and texts."""
    headings: list[tuple[int, str]] = []

    def anchored(match: re.Match[str]) -> str:
        level, text = match.groups()
        headings.append((int(level), html.unescape(re.sub("<[^>]+>", "", text))))
        return f'<h{level} id="{_anchor(headings[-1][1])}">{text}</h{level}>'

    return re.sub(r"<h([23])>(.*?)</h\1>", anchored, body), headings


def _contents(headings: Iterable[tuple[int, str]]) -> str:
    """A list of links to headings (level, title), as Markdown."""
    return "".join(
        f"{'  ' * (level - 2)}- [{title}](#{_anchor(title)})\n" for level, title in headings
    )


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _alt_text(output: dict[str, Any]) -> str:
    return output.get("metadata", {}).get("image/png", {}).get("alt", "")


def _image(data: dict[str, Any]) -> str:
    return _encoded(base64.b64decode(data["image/png"]))


def _encoded(image: bytes) -> str:
    """As notebooks and pages hold an image: on one line."""
    return base64.b64encode(image).decode()


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "".join(value)
