"""The command line: what each command does; `arguments` says what it takes."""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssn_lib.arguments import AUTO, RUNS, parser
from ssn_lib.data.registry import source_of
from ssn_lib.errors import InputError, of_memory
from ssn_lib.presets import preset
from ssn_lib.runs.record import by_category, mean_metrics, metrics_lines, read_record, usual_resize
from ssn_lib.storage import REPOSITORY, shown, unusable

if TYPE_CHECKING:
    from ssn_lib.deploy.inspection import Inspection
    from ssn_lib.deploy.scores import Row
    from ssn_lib.runs.record import Record

TRAINING = ("run", "study", "protocol")  # commands that are ended before their time by no output
SMALLER = ", or take smaller batches (training.batch_size) or images (--image-size)"
FEW, HIGHEST = 20, 10  # images that are printed all, and those of more that are


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 when it succeeded, 2 after one line on stderr for bad input, 130 after an
    interrupt, 141 where nobody reads the output any more (both as the shell counts them)."""
    _prepare_console()
    os.environ.pop("MPLBACKEND", None)  # figures are saved, no window opens
    options = parser().parse_args(arguments)
    warnings.showwarning = _one_line_warning
    code = _run_command(options)
    try:
        print(end="", flush=True)  # which is silent where there is no output at all
    except BrokenPipeError:
        _end_output()
        code = code or 141
    return code


def _run_command(options: argparse.Namespace) -> int:
    try:
        COMMANDS[options.command](options)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted{_how_to_go_on(options)}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output, such as `head`, has seen enough
        if options.command in TRAINING or getattr(options, "watch", False):
            print(f"nobody reads the output{_how_to_go_on(options)}", file=sys.stderr)
        return 141
    except OSError as error:
        if (said := unusable(error)) is None:
            raise
        print(f"error: {said}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        if (said := of_memory(error)) is None:
            raise
        smaller = SMALLER if options.command in TRAINING else ""
        print(f"error: {said}{smaller}", file=sys.stderr)
        return 2
    return 0


def _how_to_go_on(options: argparse.Namespace) -> str:
    if options.command in TRAINING:
        return "; the same command goes on from the last checkpoint"
    if options.command == "predict":
        return "; the same command goes on with the images that are left"
    return ""


def _end_output() -> None:
    """Let Python's own last flush, of what nobody reads, go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _prepare_console() -> None:
    """Let a console that lacks a character show its number instead, as it does for names of files
    that are no text; otherwise Python ends the command there."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # neither Jupyter's nor a closed one
            stream.reconfigure(errors="backslashreplace")


def _run(options: argparse.Namespace) -> None:
    from ssn_lib.data.loading import asked_categories

    names = asked_categories(options.dataset, options.data_root, options.category)
    if names == [options.category]:
        record = _run_category(options, names[0])
        if options.json:
            print(json.dumps(record.to_json(), allow_nan=False))
        return
    records, failed, every = [], {}, None
    for name in names:
        try:
            records.append(_run_category(options, name))
        except InputError as error:  # the others go on
            if str(error) in failed.values():  # no category's own fault: the rest is not tried
                every = error
                break
            failed[name] = str(error)
            print(f"warning: {error}", file=sys.stderr)
    if records:
        print(by_category(records))
    if options.json:
        told = {
            "records": [record.to_json() for record in records],
            "metrics": mean_metrics(records),
        }
        print(json.dumps(told, allow_nan=False))
    if every is not None:
        raise every
    if failed:
        told = f"{len(failed)} of {len(names)} categories could not be run: {', '.join(failed)}"
        raise InputError(told)


def _run_category(options: argparse.Namespace, category: str | None) -> Record:
    from ssn_lib.data.loading import load_dataset
    from ssn_lib.runs.choice import chosen
    from ssn_lib.runs.places import keep_places
    from ssn_lib.runs.run import configure, run

    name, epochs, changes = options.preset, options.epochs, tuple(options.set)
    choice = None
    if name == AUTO:
        choice = chosen(options.dataset, options.data_root, category)
        name, changes = choice.preset, (*choice.changes, *changes)
        epochs = choice.epochs if epochs is None else epochs
    base = preset(name)
    source = source_of(options.dataset)
    dataset = load_dataset(
        options.dataset,
        options.data_root,
        category=category,
        image_size=tuple(options.image_size) if options.image_size else None,
        made_for=base.image_size or source.image_size,
        resize=options.resize or usual_resize(name, options.dataset),
    )
    named = dict(one.partition("=")[::2] for one in changes)
    weights = _weights(options, named.get("model.backbone", base.model.backbone))
    config = configure(
        name, dataset, seed=options.seed, epochs=epochs, weights=weights, assignments=changes
    )
    if choice is not None:
        print(choice.line(config, dataset.train), flush=True)
    elif source.origin == "own":
        height, width = dataset.train.image_size
        print(f"{name} at {height}×{width} pixels (height×width)", flush=True)
    record = run(config, dataset, options.runs_dir, weights=weights)
    folder = options.runs_dir / record.run_id
    keep_places(folder, options.data_root, options.weights_dir)
    print(f"{record.run_id}: {record.status}, in {folder}")
    if record.metrics:
        print(metrics_lines(record.metrics, record.undefined))
    if doubt := _doubt(record, int((dataset.train.labels == 0).sum())):
        print(f"warning: {dataset.category}: {doubt}", file=sys.stderr)
    return record


def _weights(options: argparse.Namespace, backbone: str) -> str | None:
    """For a run. The project's own rendered images go on without, unless weights were asked for."""
    from ssn_lib.models.weights import find_weights

    if options.untrained:
        return None
    if source_of(options.dataset).origin == "rendered" and options.weights_dir == "imagenet":
        try:
            find_weights(backbone)
        except InputError as error:
            print(f"warning: untrained backbone; {error}", file=sys.stderr)
            return None
    return options.weights_dir


def _find_run(options: argparse.Namespace) -> Path | None:
    """Let a run be named by its id alone, and take its weights from where it had them; returns
    where its images were, None for the usual places."""
    from ssn_lib.runs.places import places_of

    kept = RUNS / options.run
    if not options.run.exists() and kept.is_dir():
        options.run = kept
    data_root, weights = places_of(options.run)
    if options.weights_dir == "imagenet":
        options.weights_dir = weights
    return data_root


def _doubt(record: Record, good: int) -> str | None:
    """Why a run should not be trusted, as a line; None where nothing says so.

    Args:
        record: of the run.
        good: how many good training images there were.
    """
    from ssn_lib.runs.choice import warning

    if record.status == "diverged":
        return (
            f"in epoch {record.diverged_at} the loss, or what the network answers, was no finite "
            "number any more: nothing was measured, and nothing can be detected; try --set "
            "training.head_lr and training.adaptor_lr, lower than they are"
        )
    return warning(record.config, record.metrics, record.config.training.good_images or good)


def _evaluate(options: argparse.Namespace) -> None:
    from ssn_lib import inference
    from ssn_lib.runs.loading import dataset_of, load_detector

    data_root = _find_run(options)
    record, model = load_detector(options.run, options.weights_dir)
    dataset = dataset_of(record, options.data_root or data_root, options.run)
    measured = inference.evaluate(inference.predict(model, dataset.test), dataset.test)
    metrics = measured.as_json()
    print(metrics_lines(metrics, measured.undefined))
    if options.json:
        print(json.dumps({"run_id": record.run_id, "metrics": metrics}, allow_nan=False))


def _predict(options: argparse.Namespace) -> None:
    from ssn_lib.deploy.inspection import PartlyInspected, inspect

    _find_run(options)
    try:
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
    except PartlyInspected as error:
        _say_inspection(error.result, with_table=True)
        raise
    _say_inspection(result, with_table=not options.watch)


def _say_inspection(result: Inspection, *, with_table: bool) -> None:
    """The scores, or the highest of many, and what the threshold rests on."""
    table = result.table
    if len(table) and with_table:
        if len(table) > FEW:
            print(f"the {HIGHEST} highest scores:")
        highest = table if len(table) <= FEW else table.nlargest(HIGHEST, "score")
        highest = highest.assign(image=highest["image"].map(_near))
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
            f"{time.strftime('%H:%M:%S')}  {verdict:9}  {row.score:8.3f}  {_near(row.image)}",
            flush=True,
        )


def _near(image: str) -> str:
    """An absolute path as it is read from the working directory, where it lies in that."""
    return image.removeprefix(f"{shown(Path.cwd())}{os.sep}")


def _export(options: argparse.Namespace) -> None:
    if options.engine == "openvino":
        _export_openvino(options)
        return
    of_openvino = ("precision", "tolerance", "data_root")
    _refuse(options, of_openvino, "--engine openvino; ONNX files hold float32")
    from ssn_lib.deploy.onnx import export_run

    _find_run(options)
    form = options.form or "folded"
    difference = export_run(
        options.run, options.file, options.weights_dir, form=form, threshold=options.threshold
    )
    megabytes = options.file.stat().st_size / 1e6
    print(
        f"{options.file}: {form}, {megabytes:.1f} MB; checked: ONNX Runtime's outputs differ from "
        f"PyTorch's by {difference:.0e} of their largest value"
    )
    print(_exported_threshold(options))


def _export_openvino(options: argparse.Namespace) -> None:
    from ssn_lib.deploy import openvino
    from ssn_lib.runs.exports import TOLERANCE

    _refuse(options, ("form",), "--engine onnx; of OpenVINO the precision decides the form")
    if options.precision in (None, "float32"):
        why = "--precision bf16 or int8; float32 loses nothing"
        _refuse(options, ("tolerance", "data_root"), why)
    data_root = _find_run(options)
    cost = openvino.export_run(
        options.run,
        options.file,
        options.weights_dir,
        precision=options.precision or "float32",
        data_root=options.data_root or data_root,
        tolerance=TOLERANCE if options.tolerance is None else options.tolerance,
        threshold=options.threshold,
    )
    megabytes = sum(path.stat().st_size for path in options.file.iterdir()) / 1e6
    print(f"{options.file}: {options.precision or 'float32'}, {megabytes:.1f} MB")
    if cost is not None:
        print(cost.summary())
    print(_exported_threshold(options, anew=cost is not None))


def _refuse(options: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Refuse options that would do nothing here.

    Args:
        why: what they are for instead, and why.
    """
    for name in names:
        if getattr(options, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} is for {why}")


def _exported_threshold(options: argparse.Namespace, *, anew: bool = False) -> str:
    """Which threshold an exported file decides by: a line."""
    if options.threshold is not None:
        return f"it decides by the threshold of {options.threshold}"
    if anew:
        return "it decides by a threshold chosen anew in this precision"
    record = read_record(options.run)
    return f"it decides by the run's threshold, {record.thresholds.score:.4g} on the score"


def _study(options: argparse.Namespace) -> None:
    from ssn_lib.study.notebooks import study

    if options.hours is not None and not options.hours > 0:
        raise InputError(f"--hours {options.hours:g}: give a number above 0")
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

    for name in ("minutes", "workers"):
        number = getattr(options, name)
        if number is not None and not number > 0:
            raise InputError(f"--{name} {number:g}: give a number above 0")
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


def _peers(options: argparse.Namespace) -> None:
    from ssn_lib.study.peers.measuring import measure_all
    from ssn_lib.study.peers.records import TITLES

    for record in measure_all(
        tuple(options.only.split(",")) if options.only else (),
        options.dataset,
        options.data_root,
        options.category,
        options.runs_dir,
        weights=options.weights_dir,
        seed=options.seed,
        good_images=options.good_images,
    ):
        print(
            f"{TITLES[record.config.name]}: fitted to {record.good} images in {record.fit_s:.0f} s"
        )
        print(metrics_lines(record.metrics, record.undefined))


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


COMMANDS = {
    "run": _run,
    "evaluate": _evaluate,
    "predict": _predict,
    "export": _export,
    "study": _study,
    "protocol": _protocol,
    "pack": _pack,
    "peers": _peers,
    "bench": _bench,
    "report": _report,
    "kaggle build": _kaggle_build,
    "kaggle check": _kaggle_check,
}
