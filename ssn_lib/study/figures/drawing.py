"""What every figure is made of: colours, markers, legends, and its picture in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

from ssn_lib.study.systems import colour

PALETTE = sns.color_palette("colorblind")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@dataclass(frozen=True)
class Picture:
    """A figure as it was saved: Jupyter shows it whatever matplotlib's backend is.

    Attributes:
        png: the file's bytes.
        alt: what it says, for who does not see it.
    """

    png: bytes
    alt: str

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        """How Jupyter shows it: the bytes, and the metadata of the image."""
        return self.png, {"alt": self.alt}

    def __repr__(self) -> str:
        return self.alt


class NotDrawn(str):
    """Why a figure could not be drawn."""


def subplots(*shape: int, figsize: tuple[float, float], **how: Any) -> tuple[Figure, Any]:
    """As `pyplot.subplots` does, without pyplot: no backend is loaded, and none stays open."""
    figure = Figure(figsize=figsize, layout="constrained")
    return figure, figure.subplots(*shape, **how)


def colours_of(presets: Sequence[str]) -> list[tuple[float, float, float]]:
    """A colour for each of several runs: its system's, and of runs of one system tints of it."""
    tints = {
        name: iter(sns.light_palette(colour(name), presets.count(name) + 2)[2:])
        for name in set(presets)
    }
    return [next(tints[name])[:3] for name in presets]


def alt_text(figure: Figure) -> str:
    """What a figure says in words: its heading, or else all that is written into its axes."""
    heading = figure.get_suptitle()
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    return "; ".join(" ".join(text.split()) for text in ([heading] if heading else written))


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis 20, not 2×10¹; between the decades only where there are few."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))


def legend(figure: Figure, row: Sequence[Axes]) -> None:
    """One legend below the figure for what any panel of the row shows."""
    unique = {}
    for axes in row:
        handles, labels = axes.get_legend_handles_labels()
        unique |= dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=3, fontsize=8)


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most that many characters."""
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))
