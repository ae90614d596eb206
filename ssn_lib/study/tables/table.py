"""A table: for people as Markdown, for machines as CSV with numbers alone in its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

EMPTY = "–"


class Cell(str):
    """What people read in a cell, and the numbers behind it.

    Attributes:
        numbers: by what stands behind the column's name in a CSV file: "" is the value itself, "sd"
            and "n" the deviation and number of seeds, "low" and "high" the ends of an interval.
    """

    numbers: Mapping[str, float]

    def __new__(cls, text: str, **numbers: float) -> Cell:
        """Of that text; `value`, `sd`, `n`, `low` and `high` as named."""
        cell = super().__new__(cls, text)
        cell.numbers = {name.removeprefix("value"): number for name, number in numbers.items()}
        return cell


def number(value: float, form: str = ".1f") -> Cell:
    """A cell with one number, written in that format."""
    return Cell(format(value, form), value=value)


def interval(value: float, low: float, high: float, form: str) -> Cell:
    """A cell with a number and what it lies between: `value [low–high]`."""
    text = f"{value:{form}} [{low:{form}}–{high:{form}}]"
    return Cell(text, value=value, low=low, high=high)


def deviating(mean: float, sd: float, n: int | None = None) -> Cell:
    """A cell with a mean and the standard deviation of seeds: `mean ± sd (n=…)`."""
    text = f"{mean:.1f} ± {sd:.1f}"
    if n is None:
        return Cell(text, value=mean, sd=sd)
    return Cell(f"{text} (n={n})", value=mean, sd=sd, n=n)


def frame_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of cells as a frame that keeps what they are."""
    return pd.DataFrame(rows, dtype=object)


@dataclass(frozen=True)
class Table:
    """A table with its title, what was measured how, and the reasons for its empty cells."""

    title: str
    frame: pd.DataFrame
    notes: tuple[str, ...]

    def to_markdown(self) -> str:
        """As a Markdown document."""
        notes = "".join(f"- {note}\n" for note in self.notes)
        return f"**{self.title}**\n\n{to_markdown(self.frame)}\n\n{notes}"

    def to_csv(self) -> str:
        """As CSV: a column with numbers holds nothing else. What a cell has beside its value stands
        in columns of its own (`…, sd`), and words in place of a number in `…, remark`."""
        columns: dict[str, list[Any]] = {}
        for name in self.frame:
            cells = list(self.frame[name])
            numeric = [cell.numbers for cell in cells if isinstance(cell, Cell)]
            if not numeric:
                columns[name] = ["" if cell == EMPTY else cell for cell in cells]
                continue
            for part in dict.fromkeys(part for numbers in numeric for part in numbers):
                columns[f"{name}, {part}" if part else name] = [
                    cell.numbers.get(part) if isinstance(cell, Cell) else None for cell in cells
                ]
            remarks = ["" if isinstance(cell, Cell) or cell == EMPTY else cell for cell in cells]
            if any(remarks):
                columns[f"{name}, remark"] = remarks
        return pd.DataFrame(columns).to_csv(index=False, float_format="%.6g")

    def _repr_markdown_(self) -> str:
        """How Jupyter shows it."""
        return self.to_markdown()


def to_markdown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table."""
    lines = [list(map(str, frame.columns)), ["---"] * len(frame.columns)]
    lines += [[str(value).replace("|", "\\|") for value in row] for row in frame.to_numpy()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def signed(value: float | None, reference: float | None) -> str:
    """By how much a figure differs from a reference, in points; empty where one is not there."""
    if value is None or reference is None:
        return EMPTY
    return Cell(f"{value - reference:+.1f}".replace("-", "−"), value=value - reference)
