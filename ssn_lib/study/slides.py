"""Slide by slide: what the slides show, where its counterpart is, and both figures side by side.

Only what stands on which slide is written here; every figure is read from the tables and from the
ledger. Slides are counted by their headings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssn_lib.study.systems import short
from ssn_lib.study.tables.table import EMPTY, Table, frame_of


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold a slide's figures and ours.

    Attributes:
        keys: what a row is of.
        pairs: published column, measured column.
    """

    keys: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Item:
    """One thing that a slide shows or claims.

    Attributes:
        slide, title: number and heading.
        what: the table, figure, formula or claim.
        shown: tables and figures of the report that are its counterpart, the one with the figures
            first.
        claims: by id in the ledger.
        columns: of the first table.
        why_not: where there is no counterpart, the reason.
    """

    slide: int
    title: str
    what: str
    shown: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    columns: Columns | None = None
    why_not: str = ""


SAID = re.compile(r"^slides[,:] | \(slides\b.*\)$")  # in a column's name: whose figures it has
MEASURED = "Measured here"  # how the note of a table begins that says by which trainings
A = (f"slides, {short('scenario_a')}", f"here, {short('scenario_a')}")
V1, V2 = (short(f"learned_noise_{version}_published") for version in ("v1", "v2"))
SWAP = Columns(
    ("category", "metric"),
    (
        ("slides, WRN50 (P100)", f"here, {short('baseline')}"),
        A,
        (f"slides, {short('scenario_b')}", f"here, {short('scenario_b')}"),
    ),
)
COSTS = Columns(
    ("system",),
    (
        ("parameters, M (slides)", "parameters, M"),
        ("latency, ms (slides, P100)", "latency, ms"),
        ("images/s (slides, P100)", "images/s"),
        ("memory, MB (slides, P100)", "memory, MB"),
    ),
)
NOISE = Columns(
    ("category", "metric"), (A, ("slides, v1", f"here, {V1}"), ("slides, v2", f"here, {V2}"))
)
BETA = Columns(("β",), tuple((f"slides, {m}", f"here, {V2}, {m}") for m in ("I-AUROC", "P-AUROC")))
METHODS = Columns(
    ("method",),
    tuple((f"slides, {m}", f"here, {m}") for m in ("AP-det", "AP-loc", "ΔAP-det")),
)
SYNTHESIS = Columns(
    ("model",),
    (("slides: speed", "here: latency"), ("slides: data cost", "here: learns from")),
)
INFERENCE = Columns(("cost",), (("slides, difference", "here, difference"),))
ITEMS = (
    Item(2, "The challenge", "scarce defects, synthesis of anomalies", why_not="introduction"),
    Item(3, "From SimpleNet to SuperSimpleNet", "table of differences", ("ablation",)),
    Item(3, "From SimpleNet to SuperSimpleNet", "< 10 ms on a V100", claims=("v100-latency",)),
    Item(4, "Method and constraints", "three categories", ("data_plates", "data_rendered")),
    Item(5, "Modification 1", "network", ("architecture", "settings_swap")),
    Item(6, "Results", "table of accuracies", ("backbone_swap_full", "backbone_swap"), (), SWAP),
    Item(6, "Results", "the baseline is reproduced", claims=("baseline-equal",)),
    Item(6, "Results", "ResNet18 suits simple shapes", claims=("bottle-kept", "carpet-drops")),
    Item(6, "Results", "Scenario B degrades further", ("scenario_b_noise",), ("b-no-benefit",)),
    Item(7, "Efficiency", "table of costs", ("efficiency_gpu", "efficiency"), (), COSTS),
    Item(7, "Efficiency", "memory, throughput, 10 ms", (), ("a-memory", "throughput", "real-time")),
    Item(7, "Efficiency", "Scenario B's overhead", claims=("b-memory",)),
    Item(8, "Trade-off", "bubble chart", ("tradeoff",)),
    Item(8, "Trade-off", "blind on fine textures", claims=("screw-blind",)),
    Item(9, "Bottle, visually", "maps", ("panels_bottle", "panels_rendered")),
    Item(10, "Why it fails on screws", "maps", ("panels_screw",), ("hallucinates",)),
    Item(10, "Why it fails on screws", "the cause", ("scenario_b_noise",), ("batchnorm",)),
    Item(11, "Modification 2, v1", "generator", ("generator_v1",)),
    Item(11, "Modification 2, v1", "collapse", ("convergence",), ("v1-collapses",)),
    Item(12, "Modification 2, v2", "generator", ("generator_v2", "settings_noise")),
    Item(13, "From v1 to v2", "training curves", ("convergence", "published_courses_noise")),
    Item(13, "From v1 to v2", "stabilisation", ("noise_courses",), ("v2-stabilises",)),
    Item(14, "Robustness recovered", "table of β", ("beta_sweep_full", "beta_sweep"), (), BETA),
    Item(14, "Robustness recovered", "best β", (), ("beta-detection", "beta-localisation")),
    Item(
        15,
        "Discussion",
        "table of seven metrics",
        ("learned_noise_full", "learned_noise"),
        (),
        NOISE,
    ),
    Item(15, "Discussion", "what v2 gains and pays", (), ("v2-detection", "v2-localisation")),
    Item(16, "Efficiency unchanged", "table", ("inference_free",), ("inference-free",), INFERENCE),
    Item(17, "Modification 3", "full against weak supervision", ("full_against_weak",)),
    Item(17, "Modification 3", "KSDD2", ("data_strips", "settings_weak")),
    Item(18, "Formulas of the CAM", "score and map", ("full_against_weak",)),
    Item(
        19, "Performance", "detection and localisation", ("weak_supervision",), ("labels-detect",)
    ),
    Item(19, "Performance", "Youden's threshold", ("operating_points",), ("youden",)),
    Item(20, "Excellent detection", "ROC, scores", ("roc", "score_distributions"), ("labels-ap",)),
    Item(21, "Blob effect", "maps", ("cam_maps", "cam_maps_rendered"), ("blob",)),
    Item(
        22, "Localisation", "precision and recall", ("pixel_pr", "saturation"), ("peaks-precise",)
    ),
    Item(23, "Synthesis", "table", ("synthesis",), (), SYNTHESIS),
    Item(24, "Comparison of methods", "table", ("methods",), (), METHODS),
    Item(
        *(24, "Comparison of methods", "what labels cost", ("full_against_weak",)),
        ("labels-cost", "simplenet-cost", "comparison-rows"),
    ),
    Item(25, "Outlook", "learned noise as the key", claims=("key-to-accuracy",)),
    Item(25, "Outlook", "mixed supervision", ("masks", "masks_curve"), ("mixed-cures",)),
)


def slide_by_slide(report: Any, notebooks: Path, figures: Path) -> str:
    """The table of all items as a Markdown document that lies beside the notebooks.

    Args:
        report: a `Report`, whose tables hold the figures.
        notebooks: the folder of the notebooks' sources.
        figures: the folder of what is published.
    """
    ledger = report.ledger().frame.set_index("id")
    shown_in = _shown_in(notebooks)
    rows = []
    for item in ITEMS:
        published, here = [], []
        if item.columns:
            table = getattr(report, item.shown[0])()
            if isinstance(table, Table):
                published, here = beside(table, item.columns)
                here += [note for note in table.notes if note.startswith(MEASURED)]
        for claim in item.claims:
            row = ledger.loc[claim]
            found = row["measured here"]
            published.append(row["published"])
            told = f"{row['verdict']}: {row['why'] if found == EMPTY else found}"
            here.append(told if row["elsewhere"] == EMPTY else f"{told}; {row['elsewhere']}")
        places = [f"{_link(name, figures)} ({shown_in.get(name, EMPTY)})" for name in item.shown]
        if item.claims:
            places.append(f"{_link('ledger', figures)}: {', '.join(item.claims)}")
        rows.append(
            {
                "slide": f"{item.slide} {item.title}",
                "item": item.what,
                "counterpart (notebooks)": "; ".join(places) or item.why_not,
                "published": "; ".join(published) or EMPTY,
                "here": "; ".join(here) or EMPTY,
            }
        )
    notes = (
        "Slides are counted by their headings. Published and measured figures stand in one order. "
        "Where both are –, the counterpart is a figure, or tells them row by row.",
        "How the claims are judged, and what each verdict rests on, is in the ledger. Columns that "
        "compare Modification 2 hold its published form.",
    )
    table = Table("The slides' tables, figures, formulas and claims", frame_of(rows), notes)
    return (
        "<!-- Written by `make report`; do not edit. -->\n\n# The slides, item by item\n\n"
        f"Back to the [notebooks](README.md).\n\n{table.to_markdown()}"
    )


def beside(table: Table, columns: Columns) -> tuple[list[str], list[str]]:
    """Published and measured figures of a table, in the same order, the former with what they are;
    rows without a published one are left out. Nothing of a table that was not measured."""
    published, here = [], []
    wanted = {*columns.keys, *(name for pair in columns.pairs for name in pair)}
    if not wanted <= {*table.frame.columns}:
        return published, here
    for _, row in table.frame.iterrows():
        known = [(theirs, ours) for theirs, ours in columns.pairs if row[theirs] != EMPTY]
        if known:
            key = " ".join(str(row[name]) for name in columns.keys)
            named = [f"{SAID.sub('', theirs)} {row[theirs]}" for theirs, _ in known]
            published.append(f"{key}: {', '.join(named)}")
            here.append(f"{key}: {', '.join(str(row[ours]) for _, ours in known)}")
    return published, here


def _shown_in(notebooks: Path) -> dict[str, str]:
    """By name, the numbers of the notebooks that show it."""
    found: dict[str, list[str]] = {}
    for path in sorted(notebooks.glob("[0-9][0-9]_*.py")):
        for name in re.findall(r'report\.save\("(\w+)"\)', path.read_text(encoding="utf-8")):
            found.setdefault(name, []).append(path.name[:2])
    return {name: ", ".join(dict.fromkeys(numbers)) for name, numbers in found.items()}


def _link(name: str, figures: Path) -> str:
    """To what was published under that name; the name alone where nothing was."""
    for suffix in ("md", "png"):
        if (figures / f"{name}.{suffix}").exists():
            return f"[{name}](../figures/{name}.{suffix})"
    return f"`{name}`"
