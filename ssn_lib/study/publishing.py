"""Publishing the report: `results/README.md` and `figures/`, made of the committed records."""

from __future__ import annotations

import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ssn_lib.data.registry import source_of
from ssn_lib.errors import InputError
from ssn_lib.presets import preset
from ssn_lib.runs.exports import NAME, read_export
from ssn_lib.runs.record import KEPT_FILES, MAPS, read_record
from ssn_lib.storage import REPOSITORY, write_text
from ssn_lib.study.costs.records import (
    BENCH_FILE,
    GPU_BENCH_FILE,
    keep_best,
    read_bench,
)
from ssn_lib.study.notebooks import REPORT, execute
from ssn_lib.study.page import document
from ssn_lib.study.peers.records import read_peers
from ssn_lib.study.profiles import PROFILES
from ssn_lib.study.report import EXPORTS, Report
from ssn_lib.study.runner import Study
from ssn_lib.study.slides import slide_by_slide
from ssn_lib.study.tables.tidy import metrics_frame

# Figures that show the data sets' images: their licences keep these out of the repository.
PHOTOGRAPHS = (
    *("panels_bottle", "panels_screw", "noise_maps"),
    *("cam_maps", "evolved_panels"),
    *("data_plates", "data_strips"),
)
UNPUBLISHED = (*PHOTOGRAPHS, "not_drawn")  # the latter tells of one machine
HEAD = "<!-- Written by `make report`; do not edit. -->\n\n"


def publish(
    add_runs: Path | None = None,
    *,
    add_exports: Path | None = None,
    data_root: Path | None = None,
    weights_dir: Path | str | None = None,
    runs_dir: Path = Path("runs"),
) -> list[Path]:
    """Make the report of the records in `results/`: rewrite `figures/`, `notebooks/slides.md` and,
    beside the records, the whole report as Markdown (`README.md`) and all metrics as one tidy table
    (`metrics.csv`).

    The report itself, `report.html`, goes to `runs_dir/report`; where images and trained networks
    are at hand it also shows maps on photographs, which are not published.

    Args:
        add_runs: a folder of runs; its finished records on public data, and those on the rendered
            data in the report's sizes, go to `results/` first.
        add_exports: a folder of runs; what exports of them cost goes to `results/exports` first.
        data_root, weights_dir, runs_dir: for the maps.

    Returns:
        The paths written.

    Raises:
        InputError: no records, or the notebook failed.
    """
    results = REPOSITORY / "results"
    if add_runs is not None:
        _add(Path(add_runs), results)
    if add_exports is not None:
        _add_exports(Path(add_exports), results / EXPORTS)
    if not any(results.glob("*/record.json")):
        raise InputError(f"{results}: no records to report on")
    out_dir = Path(runs_dir).resolve() / "report"
    parameters = {
        "profile": "quick",
        "data_root": str(Path(data_root).resolve()) if data_root else None,
        "weights_dir": str(Path(weights_dir).resolve()) if weights_dir else None,
        "runs_dir": str(Path(runs_dir).resolve()),
        "records_dir": str(results),
    }
    saved = execute(REPOSITORY / "notebooks" / f"{REPORT}.ipynb", parameters, out_dir)
    target = REPOSITORY / "figures"
    written = [out_dir / "report.html", *_replace(target, saved)]
    readme = results / "README.md"
    executed = out_dir / "notebooks" / f"{REPORT}.ipynb"
    write_text(readme, HEAD + document(executed, _link))
    report = Report(Study("quick", runs_dir=runs_dir, records_dir=results))
    table = metrics_frame(report.records).to_csv(index=False, float_format="%.6g")
    write_text(results / "metrics.csv", table)
    slides = REPOSITORY / "notebooks" / "slides.md"
    write_text(slides, slide_by_slide(report, slides.parent, target))
    return [*written, readme, results / "metrics.csv", slides]


def _replace(target: Path, saved: Sequence[str]) -> list[Path]:
    """Copy what may be published into a folder and remove what is of an earlier report; the paths
    written."""
    target.mkdir(exist_ok=True)
    written = []
    for path in map(Path, saved):
        if path.stem not in UNPUBLISHED:
            shutil.copy(path, target / path.name)
            written.append(target / path.name)
    for path in target.iterdir():
        if path not in written and path.suffix in (".png", ".csv", ".md"):
            path.unlink()
    return written


def _link(name: str) -> str | None:
    """From `results/` to what was published under that name."""
    return None if name in UNPUBLISHED else f"../figures/{name}.png"


def _add_exports(runs: Path, target: Path) -> None:
    """Copy what exports of a folder's runs on public data cost."""
    paths = sorted(runs.glob(f"*/{NAME.format('*')}"))
    if not paths:
        raise InputError(f"--add-exports {runs}: no run there was exported in bf16 or int8")
    target.mkdir(parents=True, exist_ok=True)
    for path in paths:
        export = read_export(path)
        if source_of(export.dataset).origin == "public":
            shutil.copy(path, target / export.file)


def _add_peers(runs: Path, results: Path) -> None:
    """Keep what was measured of peers on public data."""
    for peer in read_peers(runs):
        if source_of(peer.config.dataset).origin == "public":
            peer.keep(results)


def _add(runs: Path, results: Path) -> None:
    """Copy the finished records worth keeping, and the costs, of a folder or an archive."""
    if runs.is_file():
        with tempfile.TemporaryDirectory() as folder:
            try:
                with zipfile.ZipFile(runs) as packed:
                    packed.extractall(folder)
            except (zipfile.BadZipFile, OSError) as error:
                raise InputError(f"--add-runs {runs}: not a whole archive: {error}") from None
            _add(Path(folder), results)
        return
    if not runs.is_dir():
        raise InputError(f"--add-runs {runs}: no such folder or archive")
    sizes = (PROFILES["quick"].image_size, PROFILES["quick"].strip_size)
    for path in sorted(runs.glob("*/record.json")):
        try:
            record = read_record(path.parent)
            own_size = preset(record.config.preset).image_size
        except InputError as error:
            print(f"warning: {error}", file=sys.stderr)
            continue
        data = record.config.data
        origin = source_of(data.dataset).origin
        rendered = origin == "rendered" and data.image_size in (*sizes, own_size)
        trained = record.config.weights == "imagenet"
        if origin == "public" and not trained:
            print(f"warning: {path}: untrained backbone, not added", file=sys.stderr)
        if rendered or (trained and origin == "public"):
            target = results / record.run_id
            target.mkdir(parents=True, exist_ok=True)
            for name in KEPT_FILES:
                # Maps of images that are not published stay with the runs.
                if (path.parent / name).exists() and (rendered or name != MAPS):
                    shutil.copy(path.parent / name, target / name)
    _add_peers(runs, results)
    keep_best(runs, results)
    for name in (BENCH_FILE, GPU_BENCH_FILE):
        if bench := read_bench(runs, name):
            on_gpu = bench.environment["device"] == "cuda"
            shutil.copy(runs / name, results / (GPU_BENCH_FILE if on_gpu else BENCH_FILE))
