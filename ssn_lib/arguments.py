"""What the command line takes: every command, its arguments and their help."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, get_args

from ssn_lib.config import FORMS, PRECISIONS, Resize
from ssn_lib.data.registry import DATASETS
from ssn_lib.presets import PRESETS

AUTO = "auto"  # in the place of a preset
RUNS = Path("runs")  # where runs are kept where nobody says
Command = Callable[[str, str], argparse.ArgumentParser]  # of a name and its help


class _Parser(argparse.ArgumentParser):
    """One whose errors are one line, as all others of the command line, and name its own help."""

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """What argparse calls for a command's own part of the line, too: what is left is refused
        there, where it is known which command it was."""
        parsed, left = super().parse_known_args(args, namespace)
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        if (behind := vars(parsed).pop("behind", None)) is not None:
            if parsed.preset != AUTO:
                self.error(f"--set {behind!r}: expected key=value")
            parsed.preset = behind
        return parsed, left

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


class _Settings(argparse.Action):
    """Takes `key=value`, several at a time and again and again; a name behind them is the PRESET's,
    which argparse would take for one more."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: list[str],
        option_string: str | None = None,
    ) -> None:
        if len(values) > 1 and "=" not in values[-1]:
            namespace.behind = values.pop()  # argparse still gives `preset` its default
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), *values])


def parser() -> argparse.ArgumentParser:
    """Of the whole command line; what it parses has the command's name as `command`."""
    whole = _Parser(prog="python -m ssn_lib", description="SuperSimpleNet, evolved: see README.md.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(command=name)
        return sub

    _add_run_commands(command)
    _add_inspection_commands(command)
    _add_study_commands(command)
    _add_kaggle_commands(commands)
    return whole


def _add_run_commands(command: Command) -> None:
    """What makes one run, and measures it."""
    sub = command("run", "Train and evaluate one preset, once; the same call answers at once.")
    sub.add_argument(
        "preset",
        nargs="?",
        default=AUTO,
        help=f"default: {AUTO}, by the images that are there; {', '.join(PRESETS)}",
    )
    sub.add_argument("--dataset", required=True, help=", ".join(DATASETS))
    sub.add_argument(
        "--category", help="such as bottle; several separated by commas, or all, give their mean"
    )
    sub.add_argument("--epochs", type=int)
    sub.add_argument("--seed", type=int, default=42)
    sub.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="default: the preset's own, or as published; of a folder, as many pixels in the "
        "images' own shape",
    )
    sub.add_argument(
        "--resize",
        choices=get_args(Resize),
        help="default: plain where published, antialiased for a folder",
    )
    sub.add_argument("--untrained", action="store_true", help="without ImageNet weights")
    sub.add_argument(
        "--set",
        action=_Settings,
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="one or more, such as model.backbone=resnet34",
    )
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_runs_dir(sub)
    _add_json(sub)

    sub = command("evaluate", "Predict a run's test images again and print the metrics.")
    sub.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_json(sub)


def _add_inspection_commands(command: Command) -> None:
    """What a finished run is for."""
    sub = command("predict", "Inspect images: overlays, a table of scores, and a page.")
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

    sub = command("export", "Write a run's detector for a machine without PyTorch.")
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
    sub = command("study", "Run the study's notebooks.")
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

    sub = command("protocol", "Make the runs of the published protocol; on a GPU, measure it too.")
    sub.add_argument("--minutes", type=float, help="begin nothing that would end later than that")
    sub.add_argument("--only", metavar="PRESETS", help="such as scenario_a,scenario_b")
    sub.add_argument("--seed", type=int, action="append", help="default: 42, then 43, then 44")
    sub.add_argument("--epochs", type=int, help="for a rehearsal; default: as published")
    sub.add_argument("--precision", choices=("float32", "mixed"), default="float32")
    sub.add_argument("--workers", type=int, help="at once; default: up to 3 on a GPU, else 1")
    sub.add_argument("--out", type=Path, help="folder of the archive; default: that of the runs")
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_runs_dir(sub)

    sub = command("pack", "Write the images, at the published sizes, and weights small.")
    sub.add_argument("folder", type=Path, metavar="FOLDER", help="where to; it is made anew")
    sub.add_argument(
        "--only", metavar="CATEGORIES", help="such as screw,bottle; default: ksdd2 too"
    )
    _add_weights_dir(sub)
    _add_data_root(sub)

    sub = command("peers", "Fit what else could be used, of anomalib, to the same images.")
    sub.add_argument("--dataset", required=True, help=", ".join(DATASETS))
    sub.add_argument("--category")
    sub.add_argument("--only", metavar="PEERS", help="such as patchcore,padim; default: all")
    sub.add_argument("--seed", type=int, default=42)
    sub.add_argument("--good-images", type=int, help="fit to so many; default: all")
    _add_weights_dir(sub)
    _add_data_root(sub)
    _add_runs_dir(sub)

    sub = command("bench", "Measure inference, training and metrics here, and peers.")
    _add_runs_dir(sub)

    sub = command("report", "Make the report, and figures/, of the records in results/.")
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
    sub.set_defaults(command="kaggle build")
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
    sub.set_defaults(command="kaggle check")


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
    parser.add_argument("--runs-dir", type=Path, default=RUNS)


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the result as JSON on the last line")
