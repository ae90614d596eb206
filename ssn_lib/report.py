"""The committed results: tables, figures and the README's part, from records alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from ssn_lib import claims, figures, tables
from ssn_lib.efficiency import keep_best, kept, kept_comparison
from ssn_lib.errors import InputError
from ssn_lib.files import write_text
from ssn_lib.runs import Outcome, read_record
from ssn_lib.study import PROFILES, REPOSITORY, Study, save

KEPT_FILES = ("record.json", "history.csv", "scores.csv", "noise.csv")
# The README's part between these two lines is written by `report`: these tables.
SHOWN = (
    "published_start",
    "published_leaving",
    "backbone_swap",
    "ablation",
    "scenario_b_noise",
    "learned_noise",
    "claims_learned_noise",
    "efficiency",
)
RESULTS_BEGIN, RESULTS_END = "<!-- results: begin -->", "<!-- results: end -->"


def report(add_runs: Path | None = None) -> list[Path]:
    """Redraw `figures/` and the README's results from the records in `results/`.

    Args:
        add_runs: a folder of runs; its finished records on MVTec AD go to `results/` first.

    Returns:
        The paths written.

    Raises:
        InputError: no records, or one that was edited or is of another schema.
    """
    results = REPOSITORY / "results"
    if add_runs is not None:
        _add(Path(add_runs), results)
    records = [read_record(path.parent) for path in sorted(results.glob("*/record.json"))]
    if not records:
        raise InputError(f"{results}: no records to report on")
    outcomes = [Outcome.of(record) for record in records if PROFILES["quick"].made(record)]
    committed = Study("quick", runs_dir=results)

    def of(*presets: str) -> list[Outcome]:
        """The outcomes of those presets, in their order, nothing changed."""
        chosen = [o for o in outcomes if o.preset in presets and not o.changes]
        return sorted(chosen, key=lambda o: (presets.index(o.preset), o.category, o.seed))

    swap, noise = of(*tables.SWAP_PRESETS), of(*tables.LEARNED_PRESETS)
    first = of(*dict.fromkeys(tables.SWAP_PRESETS + tables.ABLATION_PRESETS + tables.NOISE_PRESETS))
    swept = [o for o in outcomes if o.preset in tables.SWEEP_PRESETS]
    comparison = kept_comparison("scenario_a", "learned_noise_v2", results)
    evidence = claims.Evidence([*noise, *swept], committed.files(noise, "history.csv"), comparison)
    made = {
        "architecture": figures.architecture(),
        "published_leaving": tables.published_leaving(),
        "backbone_swap": tables.backbone_swap(outcomes),
        "ablation": tables.ablation(of(*tables.ABLATION_PRESETS)),
        "scenario_b_noise": tables.scenario_b_noise(of(*tables.NOISE_PRESETS)),
        "training_curves": figures.training_curves(
            committed.files(first, "history.csv"), committed.caption(first)
        ),
        "published_courses": figures.published_courses(tables.SWAP_COURSES),
        "published_courses_noise": figures.published_courses(tables.LEARNED_COURSES),
    }
    start = tables.published_start(records)
    if len(start.frame):
        made["published_start"] = start
    if any(o.record.config.training.noise.source != "gaussian" for o in noise):
        made["claims_learned_noise"] = claims.judge(
            claims.LEARNED_NOISE, evidence, committed.caption([*noise, *swept])
        )
        on_screw = [o for o in noise if o.category == tables.SWEEP_CATEGORY]
        made["learned_noise"] = tables.learned_noise(noise)
        made["beta_sweep"] = tables.beta_sweep([*noise, *swept])
        made["convergence"] = figures.training_curves(
            committed.files(noise, "history.csv"), committed.caption(noise), log_loss=True
        )
        made["noise_courses"] = figures.noise_courses(
            committed.files(on_screw, "history.csv"),
            committed.files(on_screw, "noise.csv"),
            committed.caption(on_screw),
        )
    if comparison is not None:
        made["inference_free"] = tables.inference_free(comparison)
    costs = kept(tables.SWAP_PRESETS, results)
    if costs:
        made["efficiency"] = tables.efficiency(costs)
        made["tradeoff"] = figures.bubble_chart(costs, swap, committed.caption(swap))
    written = [
        path for name, thing in made.items() for path in save(REPOSITORY / "figures", name, thing)
    ]
    readme = REPOSITORY / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(RESULTS_BEGIN)
    after = rest.partition(RESULTS_END)[2]
    shown = "\n".join(made[name].to_markdown() for name in SHOWN if name in made)
    write_text(readme, f"{before}{RESULTS_BEGIN}\n{shown}{RESULTS_END}{after}")
    return [*written, readme]


def _add(runs: Path, results: Path) -> None:
    """Copy finished records on public data, and the measured costs."""
    for path in sorted(runs.glob("*/record.json")):
        record = read_record(path.parent)
        if record.config.data.dataset == "mvtec_ad":
            target = results / record.run_id
            target.mkdir(parents=True, exist_ok=True)
            for name in KEPT_FILES:
                if (path.parent / name).exists():
                    shutil.copy(path.parent / name, target / name)
    keep_best(runs, results)
