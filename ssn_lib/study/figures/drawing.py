"""What every figure is made of: heading, colours, markers, legends, and its picture in a notebook.

A figure is 9 inches wide, which is 900 pixels on a screen of 96 to the inch, and no text in it is
smaller than 8 points. Its heading says what is drawn, by a rule and not by hand; where the numbers
come from stands below in grey. What is published has hollow markers, what was made here filled
ones. A line's dashes or its marker, not its colour alone, tell it from the others.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogFormatter, LogLocator, MaxNLocator
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from ssn_lib.runs.record import Outcome, Record
from ssn_lib.study.captions import named
from ssn_lib.study.systems import colour

WIDTH = 9.0  # inches, of every figure
SMALL, HEADING = 8, 11  # points
PALETTE = sns.color_palette("colorblind")
LINES = ("-", "--", "-.", ":", (0, (8, 2)), (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2, 2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "0.35"
NARROW = 0.4  # decades, up to which a logarithmic axis has few ticks of its own
DISTANCES = (4, 10, 20, 32, 46, 62)  # points, of a text from the mark that it names
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


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


def subplots(*shape: int, height: float, width: float = WIDTH, **how: Any) -> tuple[Figure, Any]:
    """As `pyplot.subplots` does, without pyplot: no backend is loaded, and none stays open.

    Args:
        height, width: in inches, without the heading.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    made = figure.subplots(*shape, **how)
    for axes in figure.axes:
        axes.tick_params(labelsize=SMALL)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_size(SMALL + 1)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    return figure, made


def headed(figure: Figure, message: str, provenance: str) -> Figure:
    """Put above a figure what it says, and below that in grey where its numbers come from.

    The figure grows by as much as both need.
    """
    width, height = figure.get_size_inches()
    # Characters of these sizes are 0.095 and 0.065 inches wide on average.
    message = wrapped(message, int(width / 0.095))
    provenance = wrapped(provenance, int(width / 0.065))
    tops = 0.06, 0.12 + 1.25 * HEADING / 72 * len(message.splitlines())  # inches from the top
    below = 0.12 + 1.25 * SMALL / 72 * len(provenance.splitlines())
    whole = height + tops[1] + below
    figure.set_size_inches(width, whole)
    figure.get_layout_engine().set(rect=(0, 0, 1, height / whole))
    where = {"ha": "left", "va": "top"}
    figure.suptitle(
        message, x=0.01, y=1 - tops[0] / whole, fontsize=HEADING, weight="bold", **where
    )
    figure.text(0.01, 1 - tops[1] / whole, provenance, fontsize=SMALL, color=GREY, **where)
    return figure


def colours_of(presets: Sequence[str]) -> list[str | tuple[float, float, float]]:
    """A colour for each of several runs: its system's; of runs of one system, its hue from light
    to dark."""
    shades = {}
    for name in set(presets):
        lightness = np.linspace(0.8, 0.25, presets.count(name))
        shades[name] = iter([sns.set_hls_values(colour(name), l=light) for light in lightness])
    return [next(shades[n]) if presets.count(n) > 1 else colour(n) for n in presets]


def alt_text(figure: Figure) -> str:
    """What a figure says in words: its heading and what stands below, and of a diagram all that is
    written in it."""
    said = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        if not axes.axison:
            said += [text.get_text() for text in axes.texts]
    return "; ".join(" ".join(text.split()) for text in said if text)


def plain_numbers(axis: Axis) -> None:
    """Label a logarithmic axis 20, not 2×10¹; between the decades only where there are few."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(_Fine(subs="auto"))
    axis.set_minor_formatter(_Between(minor_thresholds=(1, NARROW)))
    # All numbers in one line, though the ticks between the decades are shorter.
    long, short = (rcParams[f"xtick.{kind}.size"] for kind in ("major", "minor"))
    axis.set_tick_params(which="both", labelsize=SMALL)
    axis.set_tick_params(which="minor", pad=rcParams["xtick.major.pad"] + long - short)


class _Fine(LogLocator):
    """Ticks between the decades; on a narrow axis at round steps, as 1.2, also above a decade's 1,
    where the next of a logarithmic axis would be 2."""

    def tick_values(self, vmin: float, vmax: float) -> NDArray:
        """The places of the ticks between these limits."""
        if 0 < vmin < vmax < vmin * 10**NARROW:
            return MaxNLocator(steps=[1, 2, 5, 10]).tick_values(vmin, vmax)
        return super().tick_values(vmin, vmax)


class _Between(LogFormatter):
    """Numbers between the decades, where matplotlib would write them, as 0.9 and not 9e-01."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """The label of a tick."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def percent_limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis in percent: whole tens around the values, and room for markers."""
    low, high = 10 * floor(min(values) / 10), 10 * ceil(max(values) / 10)
    room = 0.03 * max(high - low, 10)
    return low - room, high + room


def legend(figure: Figure, panels: Sequence[Axes], more: Sequence[Artist] = ()) -> None:
    """One legend below the figure for what any of the panels shows.

    Args:
        more: what is labelled beside, such as `key`s.
    """
    unique: dict[str, Artist] = {}
    for axes in panels:
        for artist, label in zip(*axes.get_legend_handles_labels(), strict=True):
            unique.setdefault(label, artist)  # of several alike the first, made here
    unique |= {str(artist.get_label()): artist for artist in more}
    longest = max((len(line) for label in unique for line in label.splitlines()), default=1)
    figure.legend(
        unique.values(),
        unique.keys(),
        loc="outside lower center",
        ncols=max(1, int(figure.get_figwidth() / (0.065 * longest + 0.55))),
        fontsize=SMALL,
        frameon=False,
        handlelength=3,
    )


def key(label: str, **style: Any) -> Line2D:
    """An entry of a legend for what is told by dashes or a marker, in all colours."""
    return Line2D([], [], label=label, **({"color": GREY, "lw": 1.4} | style))


def swarm(axes: Axes, points: Sequence[float], row: float, **style: Any) -> None:
    """A point for each value in a row of the axes; those of nearly the same value above and below
    each other, so that none hides another. The axes' limits must be set."""
    low, high = axes.get_xlim()
    many = 100 * axes.get_position().width  # cells, as wide as a point
    cells = np.floor(many * (np.asarray(points, float) - low) / (high - low)).astype(int)
    before: dict[int, int] = {}
    steps = []
    for cell in cells.tolist():
        count = before[cell] = before.get(cell, -1) + 1
        steps.append((count + 1) // 2 * (-1) ** count)  # 0, -1, 1, -2, 2, ...
    step = min(0.09, 0.42 / max(map(abs, steps), default=1) if any(steps) else 1)
    axes.scatter(points, row + step * np.array(steps, float), **({"s": 13, "lw": 0.8} | style))


def trained(record: Record) -> str:
    """How long a network was trained, and at what size of image."""
    height, width = record.config.data.image_size
    return f"{record.epochs_done} epochs, {height}×{width} px"


def told_apart(outcomes: Sequence[Outcome]) -> list[str]:
    """A name for each run that is shown beside the others: with the training where these differ."""
    records = [outcome.record for outcome in outcomes]
    facts = [
        [f"{record.epochs_done} epochs" for record in records],
        ["{}×{} px".format(*record.config.data.image_size) for record in records],
    ]
    differing = [fact for fact in facts if len(set(fact)) > 1]
    return [", ".join(parts) for parts in zip(map(named, outcomes), *differing, strict=True)]


def listed(parts: Sequence[str]) -> str:
    """Parts of a sentence: "one", "one and two", "one, two and three"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def wrapped(text: str, width: int) -> str:
    """The text in lines of at most that many characters."""
    return "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))


def place(axes: Axes, labels: Sequence[tuple[float, float, str]]) -> None:
    """Write a text beside each point, where it covers least of points and of other texts; always
    the same place for the same points.

    The figure must be finished: its size, its limits and its heading.

    Args:
        labels: x, y and text, in the axes' data.
    """
    figure, canvas = axes.figure, FigureCanvasAgg(axes.figure)
    figure.draw_without_rendering()  # the layout decides where points are
    renderer = canvas.get_renderer()
    marks = [box for artist in (*axes.lines, *axes.collections) for box in _marks(axes, artist)]
    taken = list(marks)
    for x, y, text in sorted(labels):
        point = axes.transData.transform((x, y))
        radius = max((b.height / 2 for b in marks if b.contains(*point)), default=0)
        radius *= 72 / figure.dpi
        written = axes.annotate(
            text,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=SMALL,
            arrowprops={
                "arrowstyle": "-",
                "lw": 0.5,
                "color": GREY,
                "shrinkA": 0,
                "shrinkB": radius,
            },
            bbox={"fc": "white", "ec": "none", "pad": 0.5, "alpha": 0.75},
        )
        written.set_in_layout(False)
        tried = []
        for distance in DISTANCES:
            for right, up in DIRECTIONS:
                spot = {"position": (right * (radius + distance), up * (radius + distance))}
                spot |= {"ha": ("center", "left", "right")[right]}
                spot |= {"va": ("center", "bottom", "top")[up]}
                written.set(**spot)
                written.update_positions(renderer)
                box = Text.get_window_extent(written, renderer).padded(2)
                outside = box.width * box.height - _common(box, axes.bbox)
                tried.append((10 * outside + sum(_common(box, b) for b in taken), spot, box))
        _, spot, box = min(tried, key=lambda trial: trial[0])  # of equal ones the nearest
        written.set(**spot)
        taken.append(box)


def _marks(axes: Axes, artist: Artist) -> list[Bbox]:
    """The boxes of an artist's markers, in pixels."""
    if isinstance(artist, PathCollection):
        points, sizes = artist.get_offsets(), np.sqrt(artist.get_sizes())
    elif isinstance(artist, Line2D) and artist.get_marker() not in ("None", None, ""):
        points, sizes = artist.get_xydata(), np.array([artist.get_markersize()])
    else:
        return []
    half = np.broadcast_to(sizes / 2 * axes.figure.dpi / 72, len(points))[:, None]
    centres = axes.transData.transform(np.asarray(points))
    return [Bbox(ends) for ends in np.stack([centres - half, centres + half], axis=1)]


def _common(one: Bbox, other: Bbox) -> float:
    """The area that two boxes share."""
    shared = Bbox.intersection(one, other)
    return shared.width * shared.height if shared else 0.0
