"""A trained detector for OpenVINO, the fastest engine on a small computer's processor.

Processors with units for bfloat16 (16 bits) or int8 multiply several times faster in them. What a
lower precision costs in accuracy is measured on the run's own images before anything is written
(`deploy.precision`).
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssn_lib import machine
from ssn_lib.config import PRECISIONS, Precision
from ssn_lib.data.appearance import appearance
from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.deploy.limits import Reference, reference_of
from ssn_lib.deploy.onnx import (
    INPUT,
    OUTPUTS,
    ROUNDING,
    described,
    example_images,
    largest_difference,
    to_onnx,
)
from ssn_lib.deploy.precision import cost_of
from ssn_lib.errors import InputError
from ssn_lib.fast.folded import fuse
from ssn_lib.models.supersimplenet import Detector, Prediction
from ssn_lib.runs.exports import TOLERANCE, Export, PrecisionCost
from ssn_lib.runs.loading import dataset_of, load_detector, reference_images_of
from ssn_lib.runs.record import Record
from ssn_lib.storage import shown

MODEL = "detector.xml"  # its weights lie beside it, in detector.bin
ABOUT = "ssn_lib"  # the section of the file that says what its user must know
CALIBRATION = 128  # images that int8's ranges are taken from
LEAST_FREE = 2**20  # bytes; a disk with less is full
# What computes what int8 leaves: bf16 where a processor has units for it, float32 elsewhere.
HINTS: dict[Precision, str] = {"float32": "f32", "bf16": "bf16", "int8": "bf16"}


def export_run(
    run: str | Path,
    folder: str | Path,
    weights: str | Path | None = "imagenet",
    *,
    precision: Precision = "float32",
    data_root: str | Path | None = None,
    tolerance: float = TOLERANCE,
    threshold: str | Path | None = None,
) -> PrecisionCost | None:
    """Write a finished run's detector as `detector.xml` and `detector.bin`.

    Args:
        run: the run's folder.
        folder: made, or one that an earlier export made, which this replaces.
        weights: of the backbone, as for `models.supersimplenet.build`.
        precision: "float32"; "bf16"; "int8" for the convolutions but the first, calibrated on good
            images of the run's training, and bf16 for the rest.
        data_root: where the run's images are; float32 needs none.
        tolerance: points that I-AUROC, AUPRO and AP-loc may each lose.
        threshold: as in `onnx.export_run`; None: the run's own, in bf16 and int8 chosen anew.

    Returns:
        What the precision costs, which is also kept in the run's folder, refused or not, where that
        can be written; None for float32, which is compared with PyTorch's outputs.

    Raises:
        InputError: the run is not finished or diverged, its images are not there, the precision
            costs more than `tolerance`, a package is missing, or `folder` cannot be written.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"--tolerance {tolerance:g}: give the points that may be lost, 0 or more")
    run, folder = Path(run), Path(folder)
    data_root = None if data_root is None else Path(data_root)
    _check_units(precision)
    if precision == "int8":
        _nncf()
    _check_replaceable(folder)
    record, model = load_detector(run, weights)
    facts = described(record, reference_of(run), threshold, precision) | {
        "precision": precision,
        "inference_precision": HINTS[precision],
    }
    size = record.config.data.image_size
    if precision == "float32":
        converted, cost = convert(model, size, precision), None
        _compare(model, Compiled(converted, precision), size, folder)
    else:
        dataset = dataset_of(record, data_root, run)
        good = reference_images_of(record, dataset, run)
        converted = convert(model, size, precision, calibration=good)
        compiled, seed = Compiled(converted, precision), record.config.seed
        cost = cost_of(compiled, fuse(model), good, dataset.test, seed)
        _keep(_export_of(record, precision, cost), run)
        _check_cost(cost, tolerance, precision, folder)
        facts |= _of_precision(cost, good, record)
        if threshold is not None:
            facts["score_threshold"] = facts["chosen"]["score"]
    _write(converted, folder, facts)
    return cost


def _keep(export: Export, run: Path) -> None:
    """Keep what an export costs with its run, which may lie on a share that can only be read."""
    try:
        export.keep(run)
    except InputError as error:
        warnings.warn(f"{error}; what this precision costs is not kept there", stacklevel=3)


def _export_of(record: Record, precision: Precision, cost: PrecisionCost) -> Export:
    data = record.config.data
    return Export(
        run_id=record.run_id,
        preset=record.config.preset,
        dataset=data.dataset,
        category=data.category,
        image_size=data.image_size,
        epochs=record.epochs_done,
        precision=precision,
        cost=cost.facts(),
        processor=str(machine.describe(torch.device("cpu"))["processor"]),
    )


def _of_precision(cost: PrecisionCost, good: ImageSet, record: Record) -> dict[str, Any]:
    """What a file says of itself in the place of what holds in float32."""
    looks = appearance(good.images.numpy())
    seen = not record.config.training.validation_fraction
    scores = np.array(cost.good_scores)
    return {
        "score_threshold": cost.thresholds.score,
        "map_threshold": cost.thresholds.map,
        "reference": Reference(scores, seen, looks).to_json(),
        "cost": cost.facts(),
    }


def _check_cost(cost: PrecisionCost, tolerance: float, precision: Precision, folder: Path) -> None:
    if reason := cost.refused(tolerance):
        raise InputError(
            f"{shown(folder)} not written: in {precision} {reason}; export another precision, or "
            "allow more with --tolerance"
        )


def openvino() -> ModuleType:
    """The package.

    Raises:
        InputError: it is not installed.
    """
    try:
        import openvino
    except ImportError:
        raise InputError("this needs OpenVINO: pip install openvino") from None
    return openvino


def _check_units(precision: Precision) -> None:
    """A warning where this processor computes 16 bits in 32: the cost it measures is another's.

    Raises:
        InputError: no such precision, or OpenVINO is not installed.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision={precision!r}: choose one of {', '.join(PRECISIONS)}")
    offered = openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision != "float32" and "BF16" not in offered:
        warnings.warn(
            "this processor has no units for bf16 and computes it in float32: what is measured "
            "here holds for such processors; on this one export float32",
            stacklevel=3,
        )


def convert(
    model: Detector,
    image_size: tuple[int, int],
    precision: Precision,
    calibration: ImageSet | None = None,
) -> Any:
    """A detector as OpenVINO's model: "images" (N, 3, H, W) float32, normalised, to "anomaly_map"
    (N, 1, H, W) and "score" (N,), raw logits; any N.

    Args:
        model: in eval mode.
        image_size: (H, W) in pixels, which the model then takes.
        precision: decides the form, too: with units for 16 or 8 bits, `fuse`'s dense one.
        calibration: good images of that size, for int8.

    Raises:
        InputError: a package is missing, or there are no images to calibrate on.
    """
    network = fuse(model, dense=precision != "float32").cpu()
    images = example_images(image_size)
    with machine.without_autocast(images.device):
        with torch.inference_mode():
            network(images)  # what it prepares for that size is then constant
        content = to_onnx(network, images, {})
    converted = openvino().Core().read_model(io.BytesIO(content))
    if precision != "int8":
        return converted
    if calibration is None or not len(calibration):
        raise InputError("int8 needs good images to calibrate on, and there are none")
    return _in_int8(converted, calibration)


def _in_int8(converted: Any, calibration: ImageSet) -> Any:
    """Its convolutions in 8 bits, weights by channel. What costs accuracy and little time stays:
    the first convolution, those that make or take a map of one channel, all matrix products
    (interpolations, the map's blur, the score)."""
    nncf = _nncf()
    nodes = converted.get_ordered_ops()
    convolutions = [node for node in nodes if node.get_type_name() == "Convolution"]
    of_maps = [node for node in convolutions if 1 in tuple(node.input_value(1).get_shape())[:2]]
    products = [node for node in nodes if node.get_type_name() == "MatMul"]
    left = {node.get_friendly_name() for node in (convolutions[0], *of_maps, *products)}
    chosen = np.linspace(0, len(calibration) - 1, min(CALIBRATION, len(calibration)))
    some = calibration.subset(sorted({int(index) for index in chosen}))
    images = (normalise(image[None]).numpy() for image in some.images)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return nncf.quantize(
            converted,
            nncf.Dataset(list(images)),
            subset_size=len(some),
            ignored_scope=nncf.IgnoredScope(names=sorted(left)),
        )


def _nncf() -> ModuleType:
    os.environ.setdefault("NNCF_CI", "1")  # it would report its use over the network
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # of CUDA, not needed
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            import nncf
    except ImportError:
        raise InputError("int8 needs NNCF: pip install nncf") from None
    nncf.set_log_level(40)  # errors alone
    return nncf


class Compiled(nn.Module):
    """A model in OpenVINO: normalised images (B, 3, H, W) to `Prediction`, on the CPU.

    Args:
        model: a file, or what `convert` made.
        precision: of what int8 leaves, and of all else.
        threads: None for as many as PyTorch uses.

    Raises:
        InputError: OpenVINO is not installed, or the file cannot be read.
    """

    def __init__(self, model: Any, precision: Precision, threads: int | None = None):
        super().__init__()
        core = openvino().Core()
        if isinstance(model, Path):
            model = _read(model)
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        try:
            self.request = core.compile_model(model, "CPU", settings).create_infer_request()
        except RuntimeError as error:
            reason = next(filter(None, reversed(str(error).splitlines())), "")
            raise InputError(
                f"OpenVINO cannot compute this network in {precision} on this processor: {reason}"
            ) from None

    def forward(self, images: Tensor) -> Prediction:
        """See the class."""
        made = self.request.infer({INPUT: images.cpu().contiguous().numpy()})
        return Prediction(*(torch.from_numpy(made[name].copy()) for name in OUTPUTS))


def about(folder: Path) -> dict[str, Any]:
    """What an exported folder says of itself, see `described`.

    Raises:
        InputError: OpenVINO is not installed, or there is no such file.
    """
    model = _read(folder / MODEL)
    try:
        entries = model.get_rt_info(ABOUT).value
    except RuntimeError:
        raise InputError(f"{shown(folder / MODEL)}: not exported by this package") from None
    return {name: json.loads(value) for name, value in entries.items()}


def _read(file: Path) -> Any:
    try:
        return openvino().Core().read_model(file)
    except RuntimeError as error:
        if not file.is_file():
            raise InputError(f"{shown(file)}: no such file") from None
        reason = str(error).strip().rpartition("\n")[2]
        raise InputError(f"{shown(file)} cannot be read: {reason}; export it again") from None


def _compare(model: Detector, compiled: Compiled, size: tuple[int, int], folder: Path) -> None:
    """Outputs on images of noise, with PyTorch's."""
    images = example_images(size)
    with torch.inference_mode():
        expected = fuse(model)(images.to(next(model.parameters()).device))
    difference = largest_difference(expected, compiled(images))
    if not difference <= ROUNDING:
        raise InputError(
            f"{shown(folder)} not written: OpenVINO's outputs differ by {difference:.1e}"
        )


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{shown(folder)} is a file; name a folder")
    others = {path.name for path in folder.iterdir()} - {MODEL, "detector.bin"}
    if others:
        raise InputError(
            f"{shown(folder)} holds other files, such as {shown(min(others))}; name a new folder"
        )


def _reason(error: Exception, parent: Path) -> str:
    """OpenVINO says of a full disk no more than that a stream failed."""
    if parent.is_dir() and shutil.disk_usage(parent).free < LEAST_FREE:
        return "No space left on device"
    return str(error).strip().splitlines()[0]


def _write(converted: Any, folder: Path, entries: Mapping[str, Any]) -> None:
    """Both files whole or neither."""
    for name, value in entries.items():
        converted.set_rt_info(json.dumps(value), [ABOUT, name])
    folder = folder.absolute()  # "." has no name
    part = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        openvino().save_model(converted, part / MODEL, compress_to_fp16=False)  # as measured
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or _reason(error, part.parent)
        shutil.rmtree(part, ignore_errors=True)
        raise InputError(
            f"cannot write {shown(folder)}: {reason}; free space or choose another folder"
        ) from None
