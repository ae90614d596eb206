"""The committed results: tables, figures and the README's part, from records alone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ssn_lib import claims, figures, supervision_figures, supervision_tables, tables
from ssn_lib.efficiency import keep_best, kept, kept_comparison
from ssn_lib.errors import InputError
from ssn_lib.files import write_text
from ssn_lib.runs import KEPT_FILES, Outcome, read_record
from ssn_lib.study import PROFILES, REPOSITORY, Study, save

# The README's part between these two lines is written by `report`: these tables.
SHOWN = (
    "published_start",
    "published_leaving",
    "backbone_swap",
    "ablation",
    "scenario_b_noise",
    "learned_noise",
    "claims_learned_noise",
    "weak_supervision",
    "operating_points",
    "methods",
    "claims_weak",
    "masks",
    "claims_mixed",
    "efficiency",
)
RESULTS_BEGIN, RESULTS_END = "<!-- results: begin -->", "<!-- results: end -->"


def report(add_runs: Path | None = None) -> list[Path]:
    """Redraw `figures/` and the README's results from the records in `results/`.

    Args:
        add_runs: a folder of runs; its finished records on public data go to `results/` first.

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
    made |= _supervision(outcomes, committed)
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


def _supervision(outcomes: list[Outcome], committed: Study) -> dict[str, Any]:
    """The tables and figures of Modifications 3 and 4, from the records on KSDD2, else on other
    images in its layout."""
    made: dict[str, Any] = {"published_decay": supervision_figures.published_decay()}
    strips = [o for o in outcomes if o.record.config.data.dataset == "ksdd2"]
    categories = sorted({o.category for o in strips}, key=lambda name: name != "ksdd2")
    if not categories:
        return made
    category = categories[0]
    strips = [o for o in strips if o.category == category]
    weak = [o for o in strips if o.preset in supervision_tables.WEAK_PRESETS and not o.changes]
    weak.sort(key=lambda o: (supervision_tables.WEAK_PRESETS.index(o.preset), o.seed))
    first = committed.first_seeds(weak, category)

    def of(*presets: str) -> list[Outcome]:
        return [outcome for outcome in first if outcome.preset in presets]

    gap_cam, files = of("gap_cam"), committed.files
    scores = files(gap_cam, "scores.csv")
    folds = [o for o in strips if o.preset == "gap_cam" and o.changes]
    held_out = files(committed.first_seeds(folds, category), "held_out.csv")
    points = supervision_tables.chosen_thresholds(scores, held_out)
    mixed = [o for o in strips if o.preset in supervision_tables.MIXED_PRESETS and o not in folds]
    numbers = sorted(
        {
            o.record.config.training.supervision.masks
            for o in mixed
            if o.preset == "mixed_ssn" and o.changes
        }
    )
    roc, curves = (
        of("gap_cam", "cam_mixed", "weak_ssn"),
        of("gap_cam", "cam_refined", "weak_ssn", "full_ssn"),
    )
    evidence = claims.Evidence(weak, category=category, points=points)
    made |= {
        "weak_supervision": supervision_tables.weak_supervision(weak, category),
        "saturation": supervision_tables.saturation(weak, category),
        "methods": supervision_tables.comparison(weak, category),
        "operating_points": supervision_tables.operating_points(points, committed.caption(gap_cam)),
        "claims_weak": claims.judge(claims.WEAK, evidence, committed.caption(weak)),
        "roc": supervision_figures.roc(files(roc, "scores.csv"), committed.caption(roc)),
        "score_distributions": supervision_figures.score_distributions(
            scores, points, committed.caption(gap_cam)
        ),
        "pixel_pr": supervision_figures.pixel_curves(
            files(curves, "pixel_pr.csv"), committed.caption(curves)
        ),
        "masks": supervision_tables.masks_curve(mixed, category, numbers),
        "masks_curve": supervision_figures.masks_curve(
            mixed, category, numbers, committed.caption(mixed)
        ),
        "claims_mixed": claims.judge(
            claims.MIXED, claims.Evidence(mixed, category=category), committed.caption(mixed)
        ),
    }
    return made


def _add(runs: Path, results: Path) -> None:
    """Copy finished records on public data, and the measured costs."""
    for path in sorted(runs.glob("*/record.json")):
        record = read_record(path.parent)
        if record.config.data.dataset in ("mvtec_ad", "ksdd2"):
            target = results / record.run_id
            target.mkdir(parents=True, exist_ok=True)
            for name in KEPT_FILES:
                if (path.parent / name).exists():
                    shutil.copy(path.parent / name, target / name)
    keep_best(runs, results)
