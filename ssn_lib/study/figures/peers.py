"""How few good images are enough: ours and peers."""

from __future__ import annotations

from matplotlib.figure import Figure

from ssn_lib.study.figures.drawing import SMALL, NotDrawn, headed, legend, subplots
from ssn_lib.study.systems import colour, short
from ssn_lib.study.tables.peers import (
    CATEGORIES,
    FEW,
    FEW_PEERS,
    Curves,
    few_title,
    i_auroc,
)

LOOKS = {  # of the peers; ours have their own colours
    "patchcore": {"color": "0.45", "ls": "--", "marker": "^"},
    "patchcore_random": {"color": "black", "ls": ":", "marker": "s"},
}


def few_images(curves: Curves, caption: str) -> Figure | NotDrawn:
    """I-AUROC against the number of good images, a panel for each plate.

    Args:
        curves: as `tables.peers.few_curves` gives them.
        caption: where they come from.
    """
    shown = [name for name in CATEGORIES if any(category == name for category, _ in curves)]
    if not shown:
        return NotDrawn("No runs on few images: `run evolved --set training.good_images=8`.")
    figure, grid = subplots(1, len(shown), height=3.4, squeeze=False)
    best = []
    for axes, category in zip(grid[0], shown, strict=True):
        counts: set[int] = set()
        for name in (*FEW, *FEW_PEERS):
            curve = curves.get((category, name), {})
            known = {n: i_auroc(found) for n, found in sorted(curve.items())}
            points = {n: value for n, value in known.items() if value is not None}
            if not points:
                continue
            counts |= points.keys()
            look = LOOKS.get(name) or {"color": colour(name), "ls": "-", "marker": "o"}
            values = list(points.values())
            axes.plot(list(points), values, label=few_title(name), lw=1.8, ms=5, **look)
            if name == FEW[0]:
                fewest = min(points)
                best.append(f"{points[fewest]:.0f} from {fewest} good images of {category}")
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted(counts), [str(n) for n in sorted(counts)])
        axes.minorticks_off()
        axes.set(xlabel="good images to learn from")
        axes.set_title(category, fontsize=SMALL + 1)
    grid[0, 0].set_ylabel("I-AUROC, %")
    legend(figure, list(grid[0]))
    told = f"{short(FEW[0])} has an I-AUROC of {' and '.join(best)}"
    return headed(figure, told if best else "How many good images are enough", caption)
