"""Figures of the network and of its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.ticker import LogLocator, NullFormatter

from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.runs.record import Outcome, device_name
from ssn_lib.study.costs.records import ENGINES, PEERS, Efficiency, in_turns
from ssn_lib.study.figures.drawing import (
    GREY,
    PALETTE,
    SMALL,
    NotDrawn,
    headed,
    key,
    legend,
    listed,
    percent_limits,
    place,
    plain_numbers,
    subplots,
    trained,
)
from ssn_lib.study.published import published_figures
from ssn_lib.study.records import values
from ssn_lib.study.systems import REAL_TIME_MS, colour, short

USEFUL_AUROC = 90
AREA = 500  # points², of the bubble of the largest memory
PUBLISHED = {  # preset: the slides' rows of costs and of accuracies
    "baseline": ("baseline_wrn50", "baseline_wrn50_p100"),
    "scenario_a": ("scenario_a", "scenario_a_resnet18"),
    "scenario_b": ("scenario_b", "scenario_b_resnet18_nonlinear"),
}
FORMS = {"plain": "o", "folded": "s", "folded16": "h", "peer": "^"} | dict(
    zip(ENGINES, "D<>P", strict=True)
)
FORM_NAMES = {"folded16": "folded, bf16", **ENGINES, "peer": "another library's"}


def architecture() -> Figure:
    """SuperSimpleNet as a diagram: what is frozen, trained, and present in training only."""
    figure, axes = subplots(height=3.7)
    axes.set(xlim=(-1, 102), ylim=(4, 41))
    axes.axis("off")
    frozen, trained_too, training_only = PALETTE[7], PALETTE[0], PALETTE[1]
    for x, y, width, text, edge, style in (
        (0, 23, 10, "image $x$\n(B, 3, H, W)", "black", "-"),
        (14, 23, 13, "backbone\nlayers $\\phi_2$, $\\phi_3$", frozen, "-"),
        (31, 23, 14, "upscaled, joined,\n3×3 average: $F$\n(B, C, H/4, W/4)", frozen, "-"),
        (48, 31, 18, "adaptor $a$\nScenario A: 1×1\nScenario B: 3×3,\nBN, ReLU", trained_too, "-"),
        (60, 18, 17, "noise $\\varepsilon$\nin Perlin masks $m$", training_only, "--"),
        (73, 31, 15, "segmentation head\n1×1 → 1024 → 1", trained_too, "-"),
        (73, 5, 15, "classification head\n5×5 → 128, pooling", trained_too, "-"),
        (91, 31, 10, "map $M$\n(B, 1, H, W)", "black", "-"),
        (91, 5, 10, "score $s$\n(B,)", "black", "-"),
    ):
        _box(axes, (x, y), width, text, edge, style)
    for path, style in (
        ([(10, 27.5), (14, 27.5)], "-"),
        ([(27, 27.5), (31, 27.5)], "-"),
        ([(42, 32), (42, 35.5), (48, 35.5)], "-"),
        ([(66, 35.5), (73, 35.5)], "-"),
        ([(88, 35.5), (91, 35.5)], "-"),
        ([(38, 23), (38, 9.5), (73, 9.5)], "-"),
        ([(88, 9.5), (91, 9.5)], "-"),
        ([(69.5, 27), (69.5, 34.2)], "--"),
        ([(69.5, 18), (69.5, 10.8)], "--"),
        ([(83, 31), (83, 14)], "-"),
    ):
        _arrow(axes, path, style)
    for x, y, text, where in (
        (68.8, 36.7, "$Z = a(F)$", "center"),
        (48, 10.5, "$F$, not adapted", "center"),
        (84, 22.5, "$M$, gradient\nstopped", "left"),
    ):
        axes.text(x, y, text, ha=where, va="bottom", fontsize=SMALL)
    for y in (35.5, 9.5):  # where the noise is added
        axes.plot(69.5, y, marker="o", ms=9, mfc="white", mec="black")
        axes.plot(69.5, y, marker="+", ms=6, color="black")
    keys = (
        key("frozen", color=frozen, lw=2),
        key("trained", color=trained_too, lw=2),
        key("in training only", color=training_only, ls="--", lw=2),
    )
    legend(figure, [], keys)
    return headed(
        figure,
        "SuperSimpleNet: a frozen backbone, an adaptor, and two heads that learn from noise in its "
        "features",
        "B: images of a batch; C: channels of layers 2 and 3 together; H, W: height and width in "
        "pixels",
    )


def _box(
    axes: Axes, corner: tuple[float, float], width: float, text: str, edge: object, style: str
) -> None:
    patch = FancyBboxPatch(
        corner, width, 9, boxstyle="round,pad=0,rounding_size=0.8", ec=edge, fc="white", lw=2,
        ls=style,
    )  # fmt: skip
    axes.add_patch(patch)
    middle = corner[0] + width / 2, corner[1] + 4.5
    axes.text(*middle, text, ha="center", va="center", fontsize=SMALL)


def _arrow(axes: Axes, path: Sequence[tuple[float, float]], style: str) -> None:
    """Along straight pieces, with a head at the last point."""
    axes.plot(*zip(*path[:-1], strict=True), color="black", lw=1.2, ls=style)
    axes.add_patch(
        FancyArrowPatch(
            path[-2], path[-1], arrowstyle="-|>", mutation_scale=10, lw=1.2, ls=style,
            color="black", shrinkA=0, shrinkB=0,
        )
    )  # fmt: skip


@dataclass(frozen=True)
class _Bubble:
    """One point of the trade-off.

    Attributes:
        latency: milliseconds an image. auroc: I-AUROC in percent. memory: MB, None if unknown.
        form: "plain", "folded" or "published".
    """

    preset: str
    form: str
    latency: float
    auroc: float
    memory: float | None


def bubble_chart(
    costs: Sequence[Efficiency], outcomes: Sequence[Outcome], caption: str
) -> Figure | NotDrawn:
    """Latency against I-AUROC (mean of the seeds), memory as area: a row a category.

    The folded form of a network has the accuracy of the plain one. The slides' own points stand in
    panels of their own (hollow): their device was another, and its times do not compare.
    """
    categories = sorted({outcome.category for outcome in outcomes if outcome.record})
    rows = {category: _bubbles(costs, outcomes, category) for category in categories}
    rows = {category: made for category, made in rows.items() if _here(made)}
    if not rows:
        return NotDrawn("No run whose accuracy could stand beside these costs.")
    every = [bubble for made in rows.values() for bubble in made]
    largest = max((b.memory for b in every if b.memory), default=1)
    device = device_name(*(cost.environment for cost in costs))
    sides = {"the slides: Tesla P100, half precision": _published, f"here: {device}": _here}
    sides = {told: of for told, of in sides.items() if of(every)}
    figure, grid = subplots(
        len(rows), len(sides), height=2.9 * len(rows) + 0.8, sharex="col", sharey=True,
        squeeze=False, width_ratios=(1, 2.2)[-len(sides) :],
    )  # fmt: skip
    low, high = percent_limits([USEFUL_AUROC, *(b.auroc for b in every)])
    for row, (category, made) in zip(grid, rows.items(), strict=True):
        for axes, of in zip(row, sides.values(), strict=True):
            _trade_off(axes, of(made), largest)
            latencies = [REAL_TIME_MS, *(bubble.latency for bubble in of(every))]
            axes.set(xlim=(min(latencies) / 1.4, max(latencies) * 2), ylim=(low, high + 5))
        row[0].set_ylabel(f"{category}: I-AUROC, %")
    for axes, told in zip(grid[0], sides, strict=True):
        axes.set_title(told, fontsize=SMALL + 1)
    for axes in grid[-1]:
        axes.set_xlabel("latency of one image, ms")
    legend(figure, [], _keys(every))
    absent = [
        f"{short(cost.preset)}, {cost.form}, {cost.latency_ms.median:.0f} ms"
        for cost in costs
        if cost.preset not in {bubble.preset for bubble in _here(every)}
    ]
    left_out = f" Not drawn, for want of an accuracy here: {'; '.join(absent)}." if absent else ""
    headed(
        figure,
        _useful(rows),
        f"Accuracy here: {caption}. Latency here: images of {_sizes(costs, every)}. The slides' "
        f"have seed 42, and memory of the GPU.{left_out}",
    )
    for row, (category, made) in zip(grid, rows.items(), strict=True):
        own = [outcome for outcome in outcomes if outcome.category == category]
        for axes, of in zip(row, sides.values(), strict=True):
            place(axes, _labels(of(made), own))
    return figure


def _sizes(costs: Sequence[Efficiency], shown: Sequence[_Bubble]) -> str:
    """The sizes of the images that were timed, each with the systems that are shown."""
    systems: dict[str, dict[str, None]] = {}  # whose inner keys are an ordered set
    for cost in costs:
        if cost.preset in {bubble.preset for bubble in _here(shown)}:
            size = "×".join(map(str, cost.image_size))
            systems.setdefault(size, {})[short(cost.preset)] = None
    return listed([f"{size} px ({', '.join(names)})" for size, names in systems.items()])


def _trade_off(axes: Axes, bubbles: Sequence[_Bubble], largest: float) -> None:
    """One category on one device, with the marks of real time and of use.

    Args:
        largest: memory of all panels, MB.
    """
    for bubble in bubbles:
        axes.scatter(bubble.latency, bubble.auroc, zorder=3, **_look(bubble, largest))
    for name in {bubble.preset for bubble in _here(bubbles)}:
        own = [bubble for bubble in bubbles if bubble.preset == name]
        axes.plot([b.latency for b in own], [b.auroc for b in own], color=colour(name), lw=1)
    axes.axvline(REAL_TIME_MS, color=GREY, ls="--", lw=1, zorder=0)
    axes.axhline(USEFUL_AUROC, color=GREY, ls=":", lw=1, zorder=0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plain_numbers(axes.xaxis)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _bubbles(
    costs: Sequence[Efficiency], outcomes: Sequence[Outcome], category: str
) -> list[_Bubble]:
    """What was measured on a category, and what the slides have of it."""
    made = []
    for cost in costs:
        known = values(outcomes, cost.preset, category, "I-AUROC")
        if known:
            memory = cost.memory_mb.median if cost.memory_mb else None
            point = cost.latency_ms.median, float(np.mean(known))
            made.append(_Bubble(cost.preset, cost.form, *point, memory))
    slides = published_figures()["slides"]
    accuracies = slides["table_backbone_swap"].get(category, {}).get("I-AUROC", {})
    for name, (row, column) in PUBLISHED.items():
        if column in accuracies:
            cost = slides["table_efficiency"][row]
            point = cost["latency_ms"], accuracies[column]
            made.append(_Bubble(name, "published", *point, cost["gpu_memory_mb"]))
    return made


def _here(bubbles: Sequence[_Bubble]) -> list[_Bubble]:
    return [bubble for bubble in bubbles if bubble.form != "published"]


def _published(bubbles: Sequence[_Bubble]) -> list[_Bubble]:
    return [bubble for bubble in bubbles if bubble.form == "published"]


def _area(bubble: _Bubble, largest: float) -> float:
    return AREA * bubble.memory / largest if bubble.memory else AREA / 8


def _look(bubble: _Bubble, largest: float) -> dict:
    """How a bubble is drawn, by its system and form."""
    how = colour(bubble.preset)
    if bubble.form == "published":
        form = {"facecolor": "none", "edgecolor": how, "linewidth": 1.6}
    else:
        form = {"facecolor": how, "edgecolor": "black", "linewidth": 0.8}
        form |= {"alpha": 0.45} if bubble.form == "plain" else {"hatch": "////", "alpha": 0.85}
    return {"s": _area(bubble, largest), **form}


def _keys(bubbles: Sequence[_Bubble]) -> list:
    """What tells the forms that are drawn."""
    drawn = {bubble.form for bubble in bubbles}
    round_ = {"marker": "o", "ms": 9, "ls": "none", "mec": "black"}
    known = {
        "plain": key("plain", mfc="0.8", **round_),
        "folded": key("folded: same outputs, less arithmetic (hatched)", mfc="0.45", **round_),
        "published": key("slides", mfc="none", **round_),
    }
    return [
        *(known[form] for form in known if form in drawn),
        key("area: memory", ls="none"),
        key(f"{REAL_TIME_MS} ms: the slides' real time", ls="--", lw=1),
        key(f"{USEFUL_AUROC} %: this study's mark for useful", ls=":", lw=1),
    ]


def _labels(
    bubbles: Sequence[_Bubble], outcomes: Sequence[Outcome]
) -> list[tuple[float, float, str]]:
    """One text a system and device: here at the fastest form, with the training."""
    texts = []
    for name in dict.fromkeys(bubble.preset for bubble in bubbles):
        own = [bubble for bubble in bubbles if bubble.preset == name]
        here = sorted(_here(own), key=lambda bubble: -bubble.latency)
        for bubble in (one for one in own if one.form == "published"):
            text = f"{short(name)}\n{bubble.latency:.1f} ms, {bubble.memory:.0f} MB"
            texts.append((bubble.latency, bubble.auroc, text))
        if here:
            (record,) = [o.record for o in outcomes if o.record and o.preset == name][:1]
            times = " → ".join(f"{bubble.latency:.0f}" for bubble in here)
            memories = " → ".join(f"{b.memory:.0f}" for b in here if b.memory)
            size = f", {memories} MB" if memories else ""
            text = f"{short(name)}\n{trained(record)}\n{times} ms{size}"
            texts.append((here[-1].latency, here[-1].auroc, text))
    return texts


def _useful(rows: dict[str, list[_Bubble]]) -> str:
    """Which systems reach the mark on every category, and in how many milliseconds."""
    lowest: dict[str, list[float]] = {}
    fastest: dict[str, float] = {}
    for made in rows.values():
        for name in dict.fromkeys(bubble.preset for bubble in _here(made)):
            own = [bubble for bubble in _here(made) if bubble.preset == name]
            lowest.setdefault(name, []).append(own[0].auroc)
            fastest[name] = min(bubble.latency for bubble in own)
    whole = [name for name, known in lowest.items() if len(known) == len(rows)]
    good = [name for name in whole if min(lowest[name]) >= USEFUL_AUROC]
    told = f"Here {len(good)} of {len(whole)} systems reach{'es' * (len(good) == 1)}"
    names = [f"{short(name)} in {fastest[name]:.0f} ms" for name in good]
    which = f": {listed(names)}" if good else ""
    return f"{told} {USEFUL_AUROC} % I-AUROC on {listed(list(rows))}{which}"


def latency_by_arithmetic(costs: Sequence[Efficiency]) -> Figure | NotDrawn:
    """Measured latency (median, quartiles) against counted arithmetic, with lines of equal rate."""
    if not costs:
        return NotDrawn("Costs not measured: `make bench`.")
    figure, axes = subplots(height=4.8)
    timed = [(c, in_turns(c, costs) if c.form == "peer" else c.latency_ms) for c in costs]
    for cost, latency in timed:
        axes.errorbar(
            cost.gflop,
            latency.median,
            [[latency.median - latency.low], [latency.high - latency.median]],
            color=GREY if cost.form == "peer" else colour(cost.preset),
            marker=FORMS.get(cost.form, "v"),
            ms=7,
            mec="black",
            mew=0.6,
            capsize=3,
            ls="none",
        )
    _fold_lines(axes, costs)
    low, high = min(c.gflop for c in costs) / 1.6, max(c.gflop for c in costs) * 2
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    axes.set_ylim(min(ms.low for _, ms in timed) / 1.6, max(ms.high for _, ms in timed) * 1.6)
    axes.set(xlabel="arithmetic of one image, GFLOP", ylabel="latency of one image, ms")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        plain_numbers(axis)
    forms = {cost.form: FORM_NAMES.get(cost.form, cost.form) for cost in costs}
    keys = [key(forms[f], marker=FORMS.get(f, "v"), ls="none", mec="black") for f in forms]
    legend(figure, [], [*keys, key("equally many GFLOP/s", ls=":", lw=0.8)])
    device = device_name(*(cost.environment for cost in costs))
    usual = "×".join(map(str, PUBLISHED_SIZE))
    headed(
        figure,
        _folding(costs),
        f"{device}; one image, median and quartiles; float32 and {usual} px where nothing is said; "
        "another library's: by the ratio to plain Scenario A, measured in turns",
    )
    texts = []
    for cost, latency in timed:
        if cost.form in ("plain", "peer"):
            text = PEERS.get(cost.preset) or short(cost.preset)
            if tuple(cost.image_size) != PUBLISHED_SIZE:
                text += ", {}×{} px".format(*cost.image_size)
            texts.append((cost.gflop, latency.median, text))
    place(axes, [*texts, *_rates(axes, [1e3 * c.gflop / ms.median for c, ms in timed])])
    return figure


def _fold_lines(axes: Axes, costs: Sequence[Efficiency]) -> None:
    """A line from each network's plain form to its folded one."""
    by_form = {(cost.preset, cost.form): cost for cost in costs}
    for (name, form), cost in by_form.items():
        plain = by_form.get((name, "plain"))
        if form == "folded" and plain:
            axes.plot(
                [plain.gflop, cost.gflop],
                [plain.latency_ms.median, cost.latency_ms.median],
                color=colour(name),
                lw=1,
            )


def _rates(axes: Axes, rates: Sequence[float]) -> list[tuple[float, float, str]]:
    """Draw the lines of 1, 2 and 5 times powers of ten GFLOP/s that the points' rates lie between.

    Returns:
        Where each has its text.
    """
    known = [step * 10.0**power for power in range(-2, 6) for step in (1, 2, 5)]
    first = max((rate for rate in known if rate <= min(rates)), default=known[0])
    last = min((rate for rate in known if rate >= max(rates)), default=known[-1])
    (left, right), (bottom, _) = axes.get_xlim(), axes.get_ylim()
    texts = []
    for rate in (rate for rate in known if first <= rate <= last):
        ends = [1e3 * left / rate, 1e3 * right / rate]
        axes.plot([left, right], ends, color=GREY, lw=0.8, ls=":", zorder=0)
        x = max(left * 1.05, bottom * 1.15 * rate / 1e3)
        texts.append((x, 1e3 * x / rate, f"{rate:g} GFLOP/s"))
    return texts


def _folding(costs: Sequence[Efficiency]) -> str:
    """How much faster folding makes networks, the least and the most, by how much arithmetic."""
    plain = {cost.preset: cost for cost in costs if cost.form == "plain"}
    gains = sorted(
        (cost.speedup.median, plain[cost.preset].gflop / cost.gflop, short(cost.preset))
        for cost in costs
        if cost.form == "folded" and cost.preset in plain
    )
    if not gains:
        return "Latency against arithmetic"
    (least, _, slow), *_ = gains
    most, saved, fast = gains[-1]
    told = f"Folding makes {fast} {most:.1f} × faster, with {saved:.1f} × less arithmetic"
    return told if len(gains) == 1 else f"{told}; it helps {slow} least, {least:.1f} ×"
