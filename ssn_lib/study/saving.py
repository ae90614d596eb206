"""Writing what a notebook shows into files."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from ssn_lib.storage import write_text, written_whole
from ssn_lib.study.readings.reading import Reading
from ssn_lib.study.tables.table import Table


def save(folder: Path, name: str, made: Figure | Table | Reading) -> list[Path]:
    """Save a matplotlib figure as PNG, a table as CSV and Markdown, or a reading as Markdown; the
    paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(made, Figure):
        path = folder / f"{name}.png"
        with written_whole(path) as file:
            made.savefig(file, format="png", dpi=150, bbox_inches="tight")
        return [path]
    csv, markdown = (folder / f"{name}.{suffix}" for suffix in ("csv", "md"))
    write_text(markdown, made.to_markdown())
    if isinstance(made, Reading):
        return [markdown]
    write_text(csv, made.to_csv())
    return [csv, markdown]
