"""The tables over everything: the synthesis, and every run."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssn_lib.data.registry import images_title
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record, device_name
from ssn_lib.study.captions import describe, learns_from, whose
from ssn_lib.study.commands import command_of
from ssn_lib.study.costs.records import Efficiency, in_turns
from ssn_lib.study.records import is_whole, records_of
from ssn_lib.study.systems import SWEEP_CATEGORY, group, title
from ssn_lib.study.tables.cells import measured, percent
from ssn_lib.study.tables.noise import moved
from ssn_lib.study.tables.table import EMPTY, Table, frame_of, number

SYNTHESIS_PRESETS = group("synthesis")
# Their name for it; adjectives for speed, cost of the data, accuracy on textures; their note.
SLIDES = {
    "baseline": ("Baseline", "slow", "high (masks)", "high", "precise but heavy"),
    "scenario_a": (
        *("Mod 1", "very fast", "high (masks)", "low (fails)"),
        "excellent for simple objects only (bottle)",
    ),
    "learned_noise_v2": (
        *("Mod 2", "very fast", "high (masks)", "medium to good"),
        "recovers robustness at no cost at run time",
    ),
    "gap_cam": (
        *("Mod 3", "very fast", "none (labels only)", "low (blob)"),
        "perfect for detection, less for precise masks",
    ),
    "mixed_ssn": (EMPTY,) * 5,  # an outlook: the slides have no row of it
}
# What is measured of a preset whose network at inference is another one's.
SAME_NETWORK = {"learned_noise_v2": "scenario_a", "mixed_ssn": "scenario_a"}


def synthesis(
    outcomes: Sequence[Outcome],
    costs: Sequence[Efficiency],
    strips: str,
    courses: Sequence[tuple[Outcome, pd.DataFrame]] = (),
) -> Table:
    """The slides' closing table with measured figures beside its adjectives.

    Args:
        strips: the category that stands for KSDD2.
        courses: of the runs, `course.csv`.
    """
    folded = {cost.preset: cost for cost in costs if cost.form == "folded"}
    reference = folded.get("baseline")
    rows = []
    for name in SYNTHESIS_PRESETS:
        called, speed, labels, accuracy, note = SLIDES.get(name, (EMPTY,) * 5)
        latency = _latency(folded.get(SAME_NETWORK.get(name, name)), reference, costs)
        on_screw, on_strips = (
            " / ".join(measured(outcomes, name, category, metric) for metric in metrics)
            + _unfinished(records_of(outcomes, name, category, ()))
            for category, metrics in (
                (SWEEP_CATEGORY, ("I-AUROC", "AUPRO")),
                (strips, ("AP-det", "AP-loc")),
            )
        )
        rows.append(
            {
                "model": title(name),
                "slides: model": called,
                "slides: speed": speed,
                "here: latency": latency,
                "slides: data cost": labels,
                "here: learns from": learns_from(preset(name).training.supervision),
                "slides: texture accuracy": accuracy,
                "slides: note": note,
                "screw: I-AUROC / AUPRO": on_screw,
                f"{images_title(strips)}: AP-det / AP-loc": on_strips,
            }
        )
    shown = (SWEEP_CATEGORY, strips)
    own = [o for o in outcomes if o.preset in SYNTHESIS_PRESETS and o.category in shown]
    of_screw = [one for one in courses if one[0] in own and one[0].category == SWEEP_CATEGORY]
    records = [o.record for o in own if o.record is not None]
    device = device_name(*(cost.environment for cost in folded.values()))
    return Table(
        "Synthesis: the slides' adjectives and what was measured",
        frame_of(rows),
        (
            "Accuracy, percent, of the longest trainings: "
            f"{describe(records) if records else 'nothing was run'}; "
            f"{EMPTY}: no record, see the other tables.",
            moved("I-AUROC", of_screw),
            f"Latency of one image, folded network: {device or 'not measured'}.",
            "The slides count masks as the cost of Modifications 1 and 2; their trainings see no "
            "defective image and no mask.",
        ),
    )


def _latency(
    cost: Efficiency | None, reference: Efficiency | None, costs: Sequence[Efficiency]
) -> str:
    """Of one image, and how much faster than the reference, by what was measured in turns."""
    if cost is None:
        return EMPTY
    height, width = cost.image_size
    latency = f"{cost.latency_ms.median:.0f} ms at {height}×{width}"
    if reference is None or cost is reference:
        return latency
    ratio = in_turns(reference, costs).median / in_turns(cost, costs).median
    return f"{latency}, {ratio:.1f}× faster than the baseline"


def _unfinished(records: Sequence[Record]) -> str:
    """What a cell adds whose trainings ended before their protocol does."""
    if not records or all(is_whole(one) or one.status == "diverged" for one in records):
        return ""
    whole = preset(records[0].config.preset).training.epochs
    return f" ({min(record.epochs_done for record in records)} of {whole} epochs)"


def all_runs(records: Sequence[Record]) -> Table:
    """Every run: the command that makes it, what came out, how long it took and where."""
    rows = []
    for record in sorted(records, key=lambda r: (r.config.preset, r.run_id)):
        config, data = record.config, record.config.data
        row = {"run": f"`{command_of(config)}`", "images": whose(data.dataset, data.category)}
        row |= {
            name: "diverged" if record.status == "diverged" else percent(record.metrics.get(name))
            for name in ("I-AUROC", "seg-I-AUROC", "P-AUROC", "AUPRO", "AP-loc")
        }
        row["epochs"] = f"{record.epochs_done} of {preset(config.preset).training.epochs}"
        row["training, min"] = number(record.training_s / 60, ".0f")
        row["device"] = device_name(record.environment)
        rows.append(row)
    return Table(
        "Every run: percent",
        frame_of(rows),
        (
            "Add `--data-root`, except with `--dataset demo`. KolektorSDD is brought into "
            "KolektorSDD2's layout as `ssn_lib/study/README.md` says.",
        ),
    )
