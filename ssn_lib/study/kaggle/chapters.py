"""The study's notebooks as chapters of the kernel's own page: prose, code that teaches, results."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

from ssn_lib.study.page import SAVED

# What calls these alone runs the study or shows a result by name: nothing to read.
HOUSEKEEPING = {"study", "report", "Study", "Report"}


@dataclass(frozen=True)
class Shown:
    """One thing that the page shows, as IPython's `display` takes it with `raw=True`."""

    data: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def text(cls, markdown: str) -> Shown:
        """Of Markdown."""
        return cls({"text/markdown": markdown})


def contents(notebooks: Sequence[Path]) -> str:
    """The notebooks' titles as a list in Markdown, with links to where `chapters` shows them."""
    return "\n".join(f"- [{_title(path)}](#{path.stem})" for path in notebooks)


def chapters(executed: Sequence[Path], failed: Mapping[str, str]) -> Iterator[Shown]:
    """What the page shows of executed notebooks, in order.

    A table or figure that an earlier chapter shows is a link to it: the report repeats most of
    them, and Kaggle does not render a page of any size. A chapter that failed says so below its
    title, and ends with the cell that did.

    Args:
        executed: the notebooks; of one that could not be begun there is no file.
        failed: why a notebook failed, by its name.
    """
    known: set[str] = set()
    for path in executed:
        name = path.name.partition(".")[0]
        cells = nbformat.read(path, as_version=4).cells if path.exists() else []
        if not cells and name not in failed:
            continue  # the session ended before it
        yield Shown.text(f'<a id="{name}"></a>')
        # papermill's own notes are cells with such a tag.
        cells = [cell for cell in cells if not _is_tagged(cell, "papermill-error")]
        if name in failed:
            yield Shown.text(cells.pop(0).source if cells else f"# {name}")
            yield Shown.text(f"**This chapter failed.** `{failed[name]}`")
        for cell in cells:
            if cell.cell_type == "markdown":
                yield Shown.text(cell.source)
            elif cell.cell_type == "code":
                yield from _code_cell(cell, known)
                if _failed(cell):
                    yield Shown.text("**Here it failed**; the cells after this one were not run.")
                    break


def _code_cell(cell: nbformat.NotebookNode, known: set[str]) -> Iterator[Shown]:
    """The source of a code cell, if it is worth reading or failed, and what it shows."""
    if teaches := _teaches(cell) or _failed(cell):
        yield Shown.text(f"```python\n{cell.source}\n```")
    saved = SAVED.search(cell.source)
    if saved and saved[1] in known:
        yield Shown.text(f"[{saved[1]}](#{saved[1]}) stands above.")
        return
    for output in cell.outputs:
        data = output.get("data", {})
        if teaches and output.output_type == "stream" and output.name == "stdout":
            yield Shown.text(f"```\n{output.text.rstrip()}\n```")
        elif teaches or "text/markdown" in data or "image/png" in data:
            if saved and saved[1] not in known:
                known.add(saved[1])
                yield Shown.text(f'<a id="{saved[1]}"></a>')
            if data:
                yield Shown(dict(data), dict(output.get("metadata", {})))
            caption = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            if caption:
                yield Shown.text(f"<small>{html.escape(caption)}</small>")


def _teaches(cell: nbformat.NotebookNode) -> bool:
    """Whether a reader gains by a cell's source: more than parameters, imports and housekeeping."""
    if _is_tagged(cell, "parameters"):
        return False
    return not all(map(_is_housekeeping, ast.parse(cell.source).body))


def _failed(cell: nbformat.NotebookNode) -> bool:
    """Whether a code cell ended with an error."""
    return any(output.output_type == "error" for output in cell.outputs)


def _is_tagged(cell: nbformat.NotebookNode, tag: str) -> bool:
    """Whether one of a cell's tags contains this one, as "injected-parameters" of papermill's."""
    return any(tag in own for own in cell.metadata.get("tags", ()))


def _is_housekeeping(statement: ast.stmt) -> bool:
    """Whether a statement imports something, or calls what `HOUSEKEEPING` names."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return True
    if not isinstance(statement, (ast.Expr, ast.Assign)) or not isinstance(
        statement.value, ast.Call
    ):
        return False
    called = statement.value.func
    while isinstance(called, ast.Attribute):
        called = called.value
    return isinstance(called, ast.Name) and called.id in HOUSEKEEPING


def _title(notebook: Path) -> str:
    """A notebook's first heading, or its name."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if found := re.search(
            r"^# (.+)$", cell.source if cell.cell_type == "markdown" else "", re.M
        ):
            return found[1]
    return notebook.stem
