"""Diagrams: the two noise generators, the decoder of `evolved`, full against weak supervision.

Solid: in every forward pass. Dashed: in training only. What is trained is blue, what is frozen or
fixed is grey. Symbols are those of the notebooks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ssn_lib.config import LOCAL_WEIGHT, GeneratorConfig, ModelConfig
from ssn_lib.runs.record import Outcome
from ssn_lib.study.figures.drawing import PALETTE, headed, key, legend, subplots
from ssn_lib.study.published import published_figures
from ssn_lib.study.records import values
from ssn_lib.study.supervision import MASKED
from ssn_lib.study.tables.cells import measured
from ssn_lib.study.tables.table import signed

FIXED, TRAINED, TRAINING_ONLY = PALETTE[7], PALETTE[0], PALETTE[1]
BLACK = "black"
Point = tuple[float, float]
Colour = str | tuple[float, float, float]


@dataclass(frozen=True)
class Canvas:
    """Boxes and arrows on axes without a frame, in units of a hundredth of 10 inches."""

    figure: Figure
    axes: Axes

    @classmethod
    def of(
        cls, width: float, height: float, title: str, provenance: str = "", legend_height: float = 0
    ) -> Canvas:
        """An empty one of that size with a title, and below it where its numbers come from; below
        all of it room for a legend of that height."""
        figure, axes = subplots(width=width / 10, height=(height + legend_height) / 10)
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.axis("off")
        return cls(headed(figure, title, provenance), axes)

    def box(
        self, place: Point, size: Point, text: str, colour: Colour = BLACK, style: str = "-"
    ) -> None:
        """A box of that size whose lower left corner lies there."""
        (x, y), (width, height) = place, size
        self.axes.add_patch(
            FancyBboxPatch(
                place,
                width,
                height,
                boxstyle="round,pad=0.4",
                ec=colour,
                fc="white",
                lw=2,
                ls=style,
            )
        )
        self.text((x + width / 2, y + height / 2), text)

    def arrow(self, start: Point, end: Point, style: str = "-", bend: float = 0.0) -> None:
        """An arrow; bent to one side by that share of its length."""
        curve = f"arc3,rad={bend}"
        self.axes.add_patch(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=12, lw=1.3, ls=style,
                color="black", connectionstyle=curve, shrinkA=0, shrinkB=0,
            )
        )  # fmt: skip

    def text(self, place: Point, text: str, size: float = 8.5, align: str = "center") -> None:
        """Text around that place, or from it to the right where `align` is "left"."""
        self.axes.text(*place, text, ha=align, va="center", fontsize=size, linespacing=1.35)


def generator(config: GeneratorConfig, rules: Mapping[str, Sequence[str]], title: str) -> Figure:
    """A noise generator: what it computes, and how it is trained, in columns.

    Args:
        rules: the steps of an update by what they are called, such as "as stated".
    """
    z = config.z_channels
    flow = 33 if z else 20  # the height at which the boxes of the computation stand
    canvas = Canvas.of(112, flow + 15, title, legend_height=3)
    size = (17, 10)
    canvas.box((1, flow), size, "adapted features\n$Z = a(F)$\n(B, C, h, w)", TRAINED)
    inside = "C"
    if z:
        random = f"random channels\n$z \\sim \\mathcal{{N}}(0, 1)$\n(B, {z}, h, w)"
        canvas.box((1, flow - 13), size, random, TRAINING_ONLY, "--")
        canvas.arrow((18.6, flow - 8), (23.5, flow + 1.5), "--")
        inside = f"C + {z}"
    layers = (
        f"generator $G$, each pixel by itself\n1×1 conv {inside} → C/2, ReLU\n"
        "1×1 conv C/2 → C/2, ReLU\n1×1 conv C/2 → C"
    )
    canvas.box((24, flow - 1), (25, 12), layers, TRAINED, "--")
    noise = "noise, unbounded\n$\\varepsilon = G(Z)$"
    if config.beta is not None:
        noise = (
            f"bounded noise, $\\beta$ = {config.beta:g}\n$\\varepsilon = \\beta\\,\\tanh G(Z, z)$"
        )
    canvas.box((55, flow), size, noise, TRAINING_ONLY, "--")
    inserted = "inside the Perlin mask\n$\\tilde Z = Z + \\varepsilon \\odot m$"
    canvas.box((77, flow), size, inserted, TRAINING_ONLY, "--")
    canvas.box((99, flow), (12, 10), "heads\n$M$, $s$\nloss $\\mathcal{L}$", TRAINED)
    for start, end in ((18.6, 23.4), (49.6, 54.4), (72.6, 76.4), (94.6, 98.4)):
        canvas.arrow((start, flow + 5), (end, flow + 5), "--")
    canvas.arrow((9.5, flow + 10.6), (85.5, flow + 10.6), bend=-0.07)
    for place, (name, steps) in zip((1, 57), rules.items(), strict=True):
        canvas.box((place, 1), (54, 15), "")
        canvas.text((place + 1, 14), name, 9.5, "left")
        canvas.axes.text(
            place + 1, 11.3, "\n".join(steps), va="top", fontsize=8.3, linespacing=1.45
        )
    keys = (
        key("trained", color=TRAINED, lw=2),
        key("noise, and what it is made of", color=TRAINING_ONLY, lw=2),
        key("dashed: in training only", color=BLACK, ls="--", lw=2),
    )
    legend(canvas.figure, [], keys)
    return canvas.figure


def generator_v1(config: GeneratorConfig) -> Figure:
    """v1: no bound, no random channels, and both trained in every batch."""
    return generator(
        config,
        {
            "as published, in every batch": (
                "1. backward pass of $\\mathcal{L}$ through everything",
                "2. the generator's gradients are cleared, the detector's are not",
                "3. backward pass of $-\\mathcal{L}$ through everything",
                "4. both step: the detector by $g - g = 0$, it never learns",
            ),
            "as stated, in every batch": (
                "1. the detector steps down $\\mathcal{L}$",
                "2. the generator steps down $-\\mathcal{L}$",
            ),
        },
        "Learned noise, v1: nothing bounds the noise, and as published the detector stands still",
    )


def generator_v2(config: GeneratorConfig) -> Figure:
    """v2: bounded, with random channels and a penalty, trained in turns."""
    own = f"$-\\mathcal{{L}} + {config.magnitude_weight:g}\\,\\overline{{\\varepsilon^2}}$"
    penalty = f"${config.magnitude_weight:g}\\,\\overline{{\\varepsilon^2}}$"
    others, last = config.period - 1, config.period
    return generator(
        config,
        {
            f"as published, of every {last} batches": (
                f"1 to {others}: the detector steps down $\\mathcal{{L}}$",
                f"{last}: backward pass of $\\mathcal{{L}}$, then of {own}, through everything;",
                "nothing is cleared between them, so the heads get $g - g = 0$,",
                f"and all that is left of the generator's objective is {penalty}: it shrinks",
            ),
            f"as stated, of every {last} batches": (
                f"1 to {others}: the detector steps down $\\mathcal{{L}}$",
                f"{last}: the generator alone steps down {own}",
            ),
        },
        "Learned noise, v2: bounded, with chance in it; as published it was never adversarial",
    )


def evolved_decoder(model: ModelConfig) -> Figure:
    """`evolved`: what goes through its bottleneck, what comes back, the local view beside it, and
    the map of what neither gives back.

    Args:
        model: its configuration.
    """
    fine, coarse = model.layers
    width = model.decoder_width
    canvas = Canvas.of(
        122, 66, "evolved: where the features cannot be rebuilt, the image is anomalous"
    )
    canvas.box(
        (1, 49), (17, 10), f"output of layer {fine}\n$\\phi_{fine}$: (B, $C_{fine}$, h, w)", FIXED
    )
    canvas.box(
        (1, 24), (17, 10),
        f"output of layer {coarse}\n$\\phi_{coarse}$: (B, $C_{coarse}$, h/2, w/2)", FIXED,
    )  # fmt: skip
    canvas.box(
        (23, 36), (17, 11), f"side by side on\nlayer {coarse}'s grid\n1×1 conv → {width}", TRAINED
    )
    canvas.box((45, 36), (15, 11), f"bottleneck\n3×3 conv, stride 2\n{width}, h/4, w/4", TRAINED)
    stage = "upscale ×2\n3×3 conv → {}\nresidual block\n1×1 conv → $\\hat\\phi_{}$"
    canvas.box((65, 23), (15, 13), stage.format(width, coarse), TRAINED)
    canvas.box((65, 45), (15, 13), stage.format(width // 2, fine), TRAINED)
    error = "$e_{0} = \\|\\phi_{0} - \\hat\\phi_{0}\\|^2$\nover the layer's\nvariance"
    canvas.box((86, 46), (13, 11), error.format(fine), BLACK)
    canvas.box((86, 24), (13, 11), error.format(coarse), BLACK)
    canvas.box(
        (104, 32),
        (17, 19),
        f"map $M =$\n$z(\\log(e_{fine} + e_{coarse}))$\n"
        f"$+\\, {LOCAL_WEIGHT:g}\\, z(\\log\\, r)$\n\n"
        f"score: mean of\nits top {100 * model.score_share:g} %",
        BLACK,
    )
    _local_view(canvas, model)
    canvas.arrow((18.5, 52), (24.5, 47.6))
    canvas.text((24.5, 52.6), "pooled to half", 7.5)
    canvas.arrow((18.5, 30), (24.5, 35.4))
    canvas.arrow((40.6, 41.5), (44.4, 41.5))
    canvas.arrow((60.6, 40), (67, 36.6))
    canvas.arrow((72.5, 36.6), (72.5, 44.4))
    canvas.text((73.3, 40.5), "hidden features", 7.5, "left")
    canvas.arrow((80.6, 51.5), (85.4, 51.5))
    canvas.arrow((80.6, 29.5), (85.4, 29.5))
    canvas.arrow((99.6, 50.5), (103.4, 48))
    canvas.arrow((99.6, 30.5), (103.4, 34))
    canvas.arrow((9.5, 59.6), (92.5, 57.6), bend=-0.07)
    canvas.arrow((13, 23.4), (92.5, 23.4), bend=0.07)
    told = (
        "Grey: frozen. Blue: trained, on sound images alone, to make the errors small. "
        f"h × w: the grid of layer {fine}. Inside, the layers are standardised."
    )
    canvas.text((60, 1.5), told, 8)
    return canvas.figure


def _local_view(canvas: Canvas, model: ModelConfig) -> None:
    """What sees each place by itself, below the decoder."""
    (fine, coarse), width = model.layers, model.local_width
    canvas.box(
        (23, 5), (17, 11), f"side by side on\nlayer {fine}'s grid\nmean of 3×3 places", BLACK
    )
    canvas.box(
        (45, 5),
        (35, 11),
        f"local view, each place by itself\n1×1 conv → {width} → {width // 2} → {width} → "
        f"$\\hat\\phi_{fine}, \\hat\\phi_{coarse}$\n→ expected error $\\sigma^2$",
        TRAINED,
    )
    canvas.box(
        (86, 5),
        (13, 11),
        "$r$: its error over\n$\\sigma^2 + \\overline{\\sigma^2}$",
        BLACK,
    )
    canvas.arrow((18.5, 50), (25, 16.6))
    canvas.arrow((9, 23.4), (22.4, 10.5))
    canvas.arrow((40.6, 10.5), (44.4, 10.5))
    canvas.arrow((80.6, 10.5), (85.4, 10.5))
    canvas.arrow((99.6, 10.5), (112, 31.4))


@dataclass(frozen=True)
class Beside:
    """A metric of one system: published, and measured here, as text."""

    metric: str
    published: str
    here: str


def against_masks(outcomes: Sequence[Outcome], category: str) -> dict[str, list[Beside]]:
    """The slides' figures of full and of weak supervision, and the difference, beside those here.

    Args:
        category: the strips that stand for KSDD2.
    """
    slides = {row["method"]: row for row in published_figures()["slides"]["table_ksdd2_comparison"]}
    kinds = {"full": ("SuperSimpleNet", MASKED), "weak": ("GAP+CAM", "gap_cam")}
    metrics = ("AP-det", "AP-loc")
    told = {
        kind: [
            Beside(
                metric, f"{slides[method][metric]:.1f}", measured(outcomes, name, category, metric)
            )
            for metric in metrics
        ]
        for kind, (method, name) in kinds.items()
    }
    told["difference"] = []
    for metric in metrics:
        published = [slides[method][metric] for method, _ in kinds.values()]
        means = [values(outcomes, name, category, metric) for _, name in kinds.values()]
        here = [fmean(known) if known else None for known in means]
        told["difference"].append(
            Beside(f"Δ{metric}", signed(*reversed(published)), signed(*reversed(here)))
        )
    return told


def full_against_weak(outcomes: Sequence[Outcome], category: str, caption: str) -> Figure:
    """What full and weak supervision are given, what teaches their maps, and how good they are.

    Args:
        category: the strips that stand for KSDD2.
        caption: whose the published and the measured figures are.
    """
    numbers = against_masks(outcomes, category)
    caption += ". The slides' AP-loc of full supervision occurs in neither of SSN's papers"
    canvas = Canvas.of(
        122, 46, "From labels alone GAP + CAM learns that a defect is there, not where", caption
    )
    for y, kind, given, middle, learns in (
        (
            30,
            "full",
            "full supervision\nimage $x$, label $y$,\ndrawn mask",
            "segmentation head → $M$\nclassification head → $s$",
            "mask teaches $M$\n$y$ teaches $s$",
        ),
        (
            14,
            "weak",
            "weak supervision\nimage $x$, label $y$",
            "5×5 conv → $H_k$\n$s = \\Sigma_k\\, w_k \\overline{H_k} + b$\n"
            "$M = \\Sigma_k\\, w_k H_k$",
            "$y$ teaches $s$, and so\nthe mean of $M$ alone",
        ),
    ):
        canvas.box((1, y), (16, 10), given, BLACK)
        canvas.box((21, y), (10, 10), "backbone\n$\\phi_l$", FIXED)
        canvas.box((35, y), (10, 10), "adaptor\n$Z = a(F)$", TRAINED)
        canvas.box((49, y), (20, 10), middle, TRAINED)
        canvas.box((73, y), (17, 10), learns, TRAINING_ONLY, "--")
        for start, end in ((17.6, 20.4), (31.6, 34.4), (45.6, 48.4)):
            canvas.arrow((start, y + 5), (end, y + 5))
        canvas.arrow((72.4, y + 5), (69.8, y + 5), "--")
        _numbers(canvas, y + 5, numbers[kind])
    canvas.text((107, 43.5), "slides")
    canvas.text((116, 43.5), "here")
    canvas.text((73, 5), "weak against full", 8.5, "left")
    _numbers(canvas, 5, numbers["difference"])
    return canvas.figure


def _numbers(canvas: Canvas, middle: float, lines: Sequence[Beside]) -> None:
    """Lines of a metric and its two figures, around that height."""
    for index, line in enumerate(lines):
        y = middle + 2 * (len(lines) - 1) - 4 * index
        canvas.text((94, y), line.metric, 8.5, "left")
        canvas.text((107, y), line.published)
        canvas.text((116, y), line.here)
