"""What a notebook leaves out because it was asked for some categories or systems alone.

A table loses the rows and columns of the others. What is about others alone is one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ssn_lib.data.registry import images_title
from ssn_lib.study.profiles import CATEGORIES, SCREW, STRIPS
from ssn_lib.study.runner import Study
from ssn_lib.study.systems import SWEEP_CATEGORY
from ssn_lib.study.tables.table import EMPTY, Cell, Table

# Of what is about one category: which one.
ABOUT = {
    "panels_bottle": "bottle",
    **dict.fromkeys(("panels_screw", "panels_rendered"), "screw"),
    **dict.fromkeys(
        ("beta_sweep", "beta_sweep_full", "noise_courses", "noise_maps"), SWEEP_CATEGORY
    ),
    **dict.fromkeys(
        ("evolved_defects", "evolved_scores", "evolved_panels", "evolved_search"), SCREW
    ),
    **dict.fromkeys(
        (
            *("weak_supervision", "by_epochs", "saturation", "teaching", "methods"),
            *("operating_points", "roc", "score_distributions", "pixel_pr"),
            *("cam_maps", "cam_maps_rendered", "without_copies"),
            *("masks", "masks_curve", "masks_maps", "masks_pixel_pr"),
        ),
        STRIPS,
    ),
}


@dataclass(frozen=True)
class LeftOut:
    """What stands in the place of a table or a figure that a notebook leaves out.

    Attributes:
        why: one line.
    """

    why: str

    def _repr_markdown_(self) -> str:
        """How Jupyter shows it."""
        return f"*{self.why}*"


def left_out(name: str, study: Study) -> LeftOut | None:
    """What stands for a table or figure about a category that was not asked for, else None."""
    category = ABOUT.get(name)
    reason = study.without(category) if category else ""
    return LeftOut(f"{name}: about {images_title(category)}, {reason}.") if reason else None


def narrowed(name: str, table: Table, study: Study, strips: str) -> Table | LeftOut:
    """A table without the categories and systems that were not asked for.

    Args:
        strips: the category of the strips that the study shows.
    """
    absent = {one: why for one in (*CATEGORIES, STRIPS) if (why := study.without(one))}
    if STRIPS in absent:
        absent.setdefault(strips, absent[STRIPS])
    frame, here = table.frame, [one for one in table.frame if str(one).startswith("here, ")]
    if absent:
        if "category" in frame:
            frame = frame[~frame["category"].isin([*absent, *map(images_title, absent)])]
        prefixes = tuple(f"{title}: " for one in absent for title in (one, images_title(one)))
        frame = frame.loc[:, [not str(one).startswith(prefixes) for one in frame]]
    reasons = list(dict.fromkeys(absent.values()))
    if study.presets is not None:
        reasons.append(f"left out by presets = {study.presets!r}")
        empty = [one for one in here if (frame[one] == EMPTY).all()]
        here = [one for one in here if one not in empty]
        frame = frame.drop(columns=empty)
        frame = frame[[not _unmeasured(row) for row in frame.to_numpy()]]
        if empty and not here:
            frame = frame.head(0)
    if frame.empty and not table.frame.empty:
        return LeftOut(f"{name}: nothing of it is left; the rest is {', '.join(reasons)}.")
    if frame.shape == table.frame.shape:
        return table
    notes = [note for note in table.notes if ": left out by " not in note]
    notes.append(f"Rows and columns are {', '.join(reasons)}.")
    return replace(table, frame=frame.reset_index(drop=True), notes=tuple(notes))


def _unmeasured(row: Sequence[Any]) -> bool:
    """Whether a row has an empty cell and no number."""
    return EMPTY in list(row) and not any(isinstance(cell, Cell) for cell in row)
