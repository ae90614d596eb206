"""The command line: `python -m ssn_lib run|evaluate|predict|export|study|bench|report|kaggle`."""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from ssn_lib.config import FORMS, PRECISIONS, Resize
from ssn_lib.data.registry import DATASETS, source_of
from ssn_lib.errors import InputError
from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.record import metrics_line
from ssn_lib.storage import REPOSITORY

if TYPE_CHECKING:
    from ssn_lib.deploy.scores import Row

AUTO = "auto"  # in the place of a preset
FEW, HIGHEST = 20, 10  # images that are printed all, and those of more that are
Command = Callable[[str, object, str], argparse.ArgumentParser]  # name, what it calls, help


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, 2 after one line on stderr for bad input."""
    _prepare_console()
    os.environ.pop("MPLBACKEND", None)  # figures are saved, no window opens
    options = _parser().parse_args(arguments)
    warnings.showwarning = _one_line_warning
    try:
        options.command(options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        more = ""
        if options.command in (_run, _study, _protocol):
            more = "; the same command goes on from the last whole epoch"
        elif options.command is _predict:
            more = "; the same command goes on with the images that are left"
        print(f"interrupted{more}", file=sys.stderr)
        return 130
    return 0


def _prepare_console() -> None:
    """Let a console that lacks a character show its number instead, as it does for names of files
    that are no text; otherwise Python ends the command there."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # neither Jupyter's nor a closed one
            stream.reconfigure(errors="backslashreplace")


def _run(options: argparse.Namespace) -> None:
    from ssn_lib.data.loading import load_dataset
    from ssn_lib.runs.choice import chosen, warning
    from ssn_lib.runs.run import configure, run

    name, epochs, changes = options.preset, options.epochs, tuple(options.set)
    choice = None
    if name == AUTO:
        choice = chosen(options.dataset, options.data_root, options.category)
        name, epochs, changes = choice.preset, epochs or choice.epochs, (*choice.changes, *changes)
    base = preset(name)
    source = source_of(options.dataset)
    strips = source.like(options.category).kind == "strips"
    own = None if strips else base.image_size  # strips keep their shape
    dataset = load_dataset(
        options.dataset,
        options.data_root,
        category=options.category,
        image_size=tuple(options.image_size) if options.image_size else own,
        # As published where something is reproduced; of large images that would lose detail.
        resize=options.resize or ("antialiased" if source.origin == "own" else base.resize),
    )
    weights = None if options.untrained else options.weights_dir
    config = configure(
        name, dataset, seed=options.seed, epochs=epochs, weights=weights, assignments=changes
    )
    if choice is not None:
        print(choice.line(dataset.train.image_size, config.training.epochs), flush=True)
    record = run(config, dataset, options.runs_dir, weights=weights)
    print(f"{record.run_id}: {record.status}, in {options.runs_dir / record.run_id}")
    print(metrics_line(record.metrics, record.undefined))
    if doubt := warning(name, record.metrics, len(dataset.train.sound())):
        print(f"warning: {doubt}", file=sys.stderr)
    if options.json:
        print(json.dumps(record.to_json(), allow_nan=False))


def _evaluate(options: argparse.Namespace) -> None:
    from ssn_lib import inference
    from ssn_lib.runs.run import dataset_of, load_run

    record, model = load_run(options.run, options.weights_dir)
    dataset = dataset_of(record, options.data_root, options.run)
    measured = inference.evaluate(inference.predict(model, dataset.test), dataset.test)
    metrics = {name: None if value != value else value for name, value in measured.items()}
    print(metrics_line(metrics, measured.undefined))
    if options.json:
        print(json.dumps({"run_id": record.run_id, "metrics": metrics}, allow_nan=False))


def _predict(options: argparse.Namespace) -> None:
    from ssn_lib.deploy.inspection import inspect

    result = inspect(
        options.run,
        options.image,
        options.out,
        options.weights_dir,
        threshold=options.threshold,
        again=options.again,
        watch=options.watch,
        on_rows=_say_rows if options.watch else None,
    )
    table = result.table
    if len(table) and not options.watch:
        if len(table) > FEW:
            print(f"the {HIGHEST} highest scores:")
        highest = table if len(table) <= FEW else table.nlargest(HIGHEST, "score")
        print(highest[["image", "score", "anomalous", "overlay"]].to_string(index=False))
    anomalous = int(table["anomalous"].sum())
    print(
        f"{len(table)} images, {result.inspected} of them inspected now: {anomalous} anomalous "
        f"(score > {result.threshold:.4g}), {len(table) - anomalous} good"
    )
    print(result.worth)
    if len(table):
        print(f"open {result.page}; scores.csv and the overlays lie beside it")


def _say_rows(rows: Sequence[Row]) -> None:
    """A line for each image, as it is inspected."""
    for row in rows:
        verdict = "anomalous" if row.anomalous else "good"
        print(
            f"{time.strftime('%H:%M:%S')}  {verdict:9}  {row.score:8.3f}  {row.image}", flush=True
        )


def _export(options: argparse.Namespace) -> None:
    if options.engine == "openvino":
        _export_openvino(options)
        return
    for name, given in (("--precision", options.precision), ("--tolerance", options.tolerance)):
        if given is not None:
            raise InputError(f"{name} is for --engine openvino; ONNX files hold float32")
    from ssn_lib.deploy.onnx import export_run

    form = options.form or "folded"
    difference = export_run(
        options.run, options.file, options.weights_dir, form=form, threshold=options.threshold
    )
    megabytes = options.file.stat().st_size / 1e6
    print(
        f"{options.file}: {form}, {megabytes:.1f} MB; checked: ONNX Runtime's outputs differ from "
        f"PyTorch's by {difference:.0e} of their scale"
    )
    print(_exported_threshold(options))


def _export_openvino(options: argparse.Namespace) -> None:
    from ssn_lib.deploy import openvino
    from ssn_lib.runs.exports import TOLERANCE

    if options.form is not None:
        raise InputError("--form is for --engine onnx; of OpenVINO the precision decides the form")
    cost = openvino.export_run(
        options.run,
        options.file,
        options.weights_dir,
        precision=options.precision or "float32",
        data_root=options.data_root,
        tolerance=TOLERANCE if options.tolerance is None else options.tolerance,
        threshold=options.threshold,
    )
    megabytes = sum(path.stat().st_size for path in options.file.iterdir()) / 1e6
    print(f"{options.file}: {options.precision or 'float32'}, {megabytes:.1f} MB")
    if cost is not None:
        print(cost.summary())
    print(_exported_threshold(options, anew=cost is not None))


def _exported_threshold(options: argparse.Namespace, *, anew: bool = False) -> str:
    """Which threshold an exported file decides by: a line."""
    if options.threshold is not None:
        return f"it decides by the threshold of {options.threshold}"
    own = "a threshold chosen anew in this precision" if anew else "the run's threshold"
    return f"it decides by {own}"


def _study(options: argparse.Namespace) -> None:
    from ssn_lib.study.notebooks import study

    study(
        options.profile,
        data_root=options.data_root,
        weights_dir=options.weights_dir,
        runs_dir=options.runs_dir,
        only=tuple(options.only.split(",")) if options.only else (),
        category=options.category,
        seeds=options.seeds,
        epochs=options.epochs,
        image_size=options.image_size,
        presets=options.presets,
        scheduler=options.scheduler,
        deadline=time.time() + options.hours * 3600 if options.hours is not None else None,
    )


def _protocol(options: argparse.Namespace) -> None:
    from ssn_lib.study.gpu import use

    not_done = use.use(
        minutes=options.minutes,
        data_root=options.data_root,
        weights_dir=options.weights_dir,
        runs_dir=options.runs_dir,
        out=options.out or options.runs_dir,
        seeds=tuple(options.seed or use.protocol.SEEDS),
        only=tuple(options.only.split(",")) if options.only else (),
        epochs=options.epochs,
        precision=options.precision,
        workers=options.workers,
        results=REPOSITORY / "results",
    )
    if not_done:
        print(f"{len(not_done)} not done; the same command goes on from there")


def _pack(options: argparse.Namespace) -> None:
    from ssn_lib.study.gpu.packing import SETS, pack

    only = options.only.split(",") if options.only else tuple(SETS)
    megabytes = pack(options.folder, options.data_root, options.weights_dir, only)
    print(f"{options.folder}: {megabytes:.1f} MB")


def _bench(options: argparse.Namespace) -> None:
    from ssn_lib.study.costs import bench
    from ssn_lib.study.costs.records import BENCH_FILE
    from ssn_lib.study.tables.costs import bench_costs, bench_timings

    costs = bench.measure(options.runs_dir)
    print(bench_costs(costs).to_markdown())
    print(bench_timings(costs).to_markdown())
    print(f"{options.runs_dir / BENCH_FILE}")


def _report(options: argparse.Namespace) -> None:
    from ssn_lib.study.publishing import publish

    written = publish(
        options.add_runs,
        add_exports=options.add_exports,
        data_root=options.data_root,
        weights_dir=None if options.weights_dir == "imagenet" else options.weights_dir,
        runs_dir=options.runs_dir,
    )
    for path in written:
        print(path)


def _kaggle_build(options: argparse.Namespace) -> None:
    from ssn_lib.study.kaggle import kernel

    parameters = {name: _literal(value) for name, value in options.parameter}
    datasets = tuple(options.datasets.split(",")) if options.datasets else ()
    print(kernel.build(parameters, owner=options.owner, resume=options.resume, datasets=datasets))


def _kaggle_check(options: argparse.Namespace) -> None:
    from ssn_lib.study.kaggle import kernel

    print(kernel.check())
    if kernel.owner_is_set():
        print(f"ready: kaggle kernels push -p {kernel.BUILT}")
    else:
        print("before it is pushed, name its owner once: make kernel OWNER=<your name on Kaggle>")


def _literal(text: str) -> object:
    """A parameter's value: a number, None, or else text, as `42,43` stays."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if value is None or isinstance(value, (int, float)) else text


def _one_line_warning(message: object, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ssn_lib", description="SuperSimpleNet, evolved: see README.md."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, call: object, help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(command=call)
        return sub

    _add_run_commands(command)
    _add_inspection_commands(command)
    _add_study_commands(command)
    _add_kaggle_commands(commands)
    return parser


def _add_run_commands(command: Command) -> None:
    """What makes one run, and measures it."""
    sub = command(
        "run", _run, "Train and evaluate one preset, once; the same call answers at once."
    )
    sub.add_argument(
        "preset",
        nargs="?",
        default=AUTO,
        help=f"default: {AUTO}, by the images that are there; {', '.join(PRESETS)}",
    )
    sub.add_argument("--dataset", required=True, help=", ".join(DATASETS))
    sub.add_argument("--category")
    sub.add_argument("--epochs", type=int)
    sub.add_argument("--seed", type=int, default=42)
    sub.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="default: the preset's own, or as published",
    )
    sub.add_argument(
        "--resize",
        choices=get_args(Resize),
        help="default: plain where published, antialiased for a folder",
    )
    sub.add_argument("--untrained", action="store_true", help="without ImageNet weights")
    sub.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="model.backbone=resnet34"
    )
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_runs_dir(sub)
    _add_json(sub)

    sub = command("evaluate", _evaluate, "Predict a run's test images again and print the metrics.")
    sub.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_json(sub)


def _add_inspection_commands(command: Command) -> None:
    """What a finished run is for."""
    sub = command("predict", _predict, "Inspect images: overlays, a table of scores, and a page.")
    sub.add_argument(
        "run", type=Path, metavar="RUN", help="the run's folder, or what was exported of it"
    )
    sub.add_argument("image", type=Path, nargs="+", metavar="IMAGE", help="files or folders")
    sub.add_argument("--out", type=Path, required=True, help="folder; a second call goes on in it")
    sub.add_argument("--again", action="store_true", help="inspect finished images too")
    sub.add_argument(
        "--watch", action="store_true", help="go on with images that arrive, until Ctrl-C"
    )
    _add_threshold(sub)
    _add_weights_dir(sub)

    sub = command("export", _export, "Write a run's detector for a machine without PyTorch.")
    sub.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    sub.add_argument(
        "file", type=Path, metavar="TARGET", help="such as detector.onnx; for OpenVINO a folder"
    )
    sub.add_argument("--engine", choices=("onnx", "openvino"), default="onnx")
    sub.add_argument(
        "--form", choices=FORMS, help="of ONNX; plain: the published operations one by one"
    )
    sub.add_argument("--precision", choices=PRECISIONS, help="of OpenVINO; default: float32")
    sub.add_argument(
        "--tolerance",
        type=float,
        metavar="POINTS",
        help="of I-AUROC, AUPRO, AP-loc that bf16 or int8 may lose; default: 0.3",
    )
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_threshold(sub)


def _add_study_commands(command: Command) -> None:
    """What is done with many runs."""
    sub = command("study", _study, "Run the study's notebooks.")
    sub.add_argument("--profile", default="demo")
    sub.add_argument("--only", help="notebook numbers, such as 01,03")
    sub.add_argument("--category", help="only these, such as bottle,screw")
    sub.add_argument("--seeds", help="instead of the profile's, such as 42,43")
    sub.add_argument("--epochs", help="of every run, instead of the profile's")
    sub.add_argument("--image-size", help="the longer side, such as 256, or 640x232")
    sub.add_argument("--presets", help="only these systems, such as scenario_a,evolved")
    sub.add_argument("--hours", type=float, help="begin no epoch that would end later than that")
    sub.add_argument(
        "--scheduler", help="spread the runs: a Dask scheduler's address, or local (all GPUs here)"
    )
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_runs_dir(sub)

    sub = command(
        "protocol", _protocol, "Make the runs of the published protocol; on a GPU, measure it too."
    )
    sub.add_argument("--minutes", type=float, help="begin nothing that would end later than that")
    sub.add_argument("--only", metavar="PRESETS", help="such as scenario_a,scenario_b")
    sub.add_argument("--seed", type=int, action="append", help="default: 42, then 43, then 44")
    sub.add_argument("--epochs", type=int, help="for a rehearsal; default: as published")
    sub.add_argument("--precision", choices=("float32", "mixed"), default="float32")
    sub.add_argument("--workers", type=int, help="trainings at once; default: 3 on a GPU, else 1")
    sub.add_argument("--out", type=Path, help="folder of the archive; default: that of the runs")
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_runs_dir(sub)

    sub = command("pack", _pack, "Write the images, at the published sizes, and weights small.")
    sub.add_argument("folder", type=Path, metavar="FOLDER", help="where to; it is made anew")
    sub.add_argument(
        "--only", metavar="CATEGORIES", help="such as screw,bottle; default: ksdd2 too"
    )
    _add_weights_dir(sub)
    _add_data_root(sub)

    sub = command("bench", _bench, "Measure inference, training and metrics here, and peers.")
    _add_runs_dir(sub)

    sub = command("report", _report, "Make the report, and figures/, of the records in results/.")
    sub.add_argument("--add-runs", type=Path, help="first copy this folder's real-data records")
    sub.add_argument(
        "--add-exports", type=Path, help="first copy what exports of this folder's runs cost"
    )
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_runs_dir(sub)


def _add_kaggle_commands(commands: argparse._SubParsersAction) -> None:
    sub = commands.add_parser("kaggle", help="The kernel that runs the study on Kaggle.")
    actions = sub.add_subparsers(required=True, metavar="ACTION")
    sub = actions.add_parser("build", help="Build it from the repository.")
    sub.set_defaults(command=_kaggle_build)
    sub.add_argument("--owner", help="your name on Kaggle; kept for the next build")
    sub.add_argument("--datasets", help="attach these too, such as me/ksdd2,me/weights")
    sub.add_argument(
        "--resume", action="store_true", help="attach the previous version's output, to go on"
    )
    sub.add_argument(
        "-p",
        dest="parameter",
        action="append",
        default=[],
        nargs=2,
        metavar=("NAME", "VALUE"),
        help="a value for its parameters cell: -p profile quick",
    )
    sub = actions.add_parser("check", help="Check what `kaggle kernels push` would send.")
    sub.set_defaults(command=_kaggle_check)


def _add_threshold(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threshold", type=Path, metavar="FILE", help="as the page of an inspection saves it"
    )


def _add_weights_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights-dir",
        default="imagenet",
        help="folder or file of the ImageNet weights; default: SSN_WEIGHTS_DIR, torch's cache",
    )


def _add_data_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-root", type=Path, help="default: SSN_DATA_ROOT, ./data, Kaggle's")


def _add_runs_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs-dir", type=Path, default=Path("runs"))


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
