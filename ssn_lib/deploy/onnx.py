"""A trained detector as one ONNX file: what a production line runs, without PyTorch."""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssn_lib import machine
from ssn_lib.config import FORMS, Precision
from ssn_lib.data.images import IMAGENET_MEAN, IMAGENET_STD
from ssn_lib.deploy.limits import Reference, read_threshold, reference_of
from ssn_lib.deploy.precision import scorer_id
from ssn_lib.errors import InputError
from ssn_lib.fast.folded import FusedNet, fuse
from ssn_lib.models.supersimplenet import Detector, Prediction
from ssn_lib.runs.loading import load_detector
from ssn_lib.runs.record import Record
from ssn_lib.storage import shown, written_whole

ROUNDING = 1e-4  # of ONNX Runtime's outputs, relative to their scale
ABOUT = "score_threshold"  # among what a file says of itself if this package made it
INPUT, OUTPUTS = "images", ("anomaly_map", "score")
SUFFIX = ".onnx"
NEEDS = "export needs onnx, onnxscript and onnxruntime: pip install onnx onnxscript onnxruntime"


def export_run(
    run: str | Path,
    path: str | Path,
    weights: str | Path | None = "imagenet",
    *,
    form: str = "folded",
    threshold: str | Path | None = None,
) -> float:
    """Write a finished run's detector to `path`, with all that its user must know as metadata.

    Args:
        run: the run's folder.
        path: of the file.
        weights: of the backbone, as for `models.supersimplenet.build`.
        form: "folded" (`fast.folded.fuse`) or "plain", the published operations one by one.
        threshold: a file that the page of an inspection saved, see `limits.read_threshold`; None:
            the run's own.

    Returns:
        As `export`.

    Raises:
        InputError: the run is not finished or diverged, `path` has another suffix or cannot be
            written, or a package that this needs is missing.
    """
    if form not in FORMS:
        raise InputError(f"form={form!r}: choose one of {', '.join(FORMS)}")
    run, path = Path(run), Path(path)
    if path.suffix != SUFFIX or path.is_dir():  # by which `predict` knows such a file
        raise InputError(
            f"{shown(path)}: name a file that ends in {SUFFIX}; a folder is for --engine openvino"
        )
    record, model = load_detector(run, weights)
    network = fuse(model) if form == "folded" else model
    facts = described(record, reference_of(run), threshold) | {"form": form}
    return export(network, path, record.config.data.image_size, facts)


def described(
    record: Record,
    reference: Reference | None,
    threshold: str | Path | None,
    precision: Precision = "float32",
) -> dict[str, Any]:
    """What the user of an exported file must know of the run that it comes from.

    Args:
        record: of the run, which did not diverge.
        reference: of the run, where it was kept.
        threshold: as in `export_run`. One that was chosen on scores in float32 is taken in every
            precision, with a warning.
        precision: that the file computes in.

    Raises:
        InputError: `threshold` is no threshold of that run.
    """
    data, score, chosen = record.config.data, record.thresholds.score, None
    if threshold is not None:
        chosen = read_threshold(threshold, scorer_id(record.run_id, precision), record.run_id)
        score = chosen.score
        if precision != "float32" and chosen.run == record.run_id:
            warnings.warn(
                f"{shown(Path(threshold))} was chosen on scores in float32, and those in "
                f"{precision} differ: choose another on the page of an inspection with this export",
                stacklevel=3,
            )
    return {
        "preset": record.config.preset,
        "run": record.run_id,
        "image_size": data.image_size,
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "resize": data.resize,
        "full_scale": data.full_scale,
        "trained_on": f"{data.dataset} {data.category}",
        "epochs": record.epochs_done,
        "backbone_weights": record.weights_source or "untrained",
        "score_threshold": score,
        "map_threshold": record.thresholds.map,
        "chosen": None if chosen is None else chosen.to_json(),
        "reference": None if reference is None else reference.to_json(),
    }


def example_images(size: tuple[int, int]) -> Tensor:
    """Two images of noise, (2, 3, H, W), on which an exported file is held against its network."""
    return torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))


def export(
    model: Detector | FusedNet,
    path: Path,
    image_size: tuple[int, int],
    metadata: Mapping[str, Any],
) -> float:
    """Write a network as ONNX: "images" (N, 3, H, W) float32, normalised, to "anomaly_map"
    (N, 1, H, W) and "score" (N,), raw logits; any N.

    ONNX Runtime's outputs are compared with PyTorch's before the file is written.

    Args:
        model: folded or not.
        path: of the file.
        image_size: (H, W) in pixels, which the file then takes.
        metadata: kept in the file, each value as JSON.

    Returns:
        The largest difference between ONNX Runtime's outputs and PyTorch's, on images of noise,
        relative to the largest output.

    Raises:
        InputError: a package that this needs is missing, the file cannot be written, or the outputs
            differ.
    """
    model = copy.deepcopy(model).cpu().eval()
    images = example_images(image_size)
    with machine.without_autocast(images.device):
        with torch.inference_mode():
            expected = model(images)
        content = to_onnx(model, images, metadata)
    difference = largest_difference(expected, Exported(content)(images))
    if not difference <= ROUNDING:
        raise InputError(f"{path} not written: ONNX Runtime's outputs differ by {difference:.1e}")
    with written_whole(path) as file:
        file.write(content)
    return difference


def largest_difference(expected: Prediction, made: Prediction) -> float:
    """How far outputs are from those expected, relative to the largest of each kind.

    Args:
        expected, made: of the same images.
    """
    return max(
        ((ours.cpu() - theirs).abs().max() / ours.abs().max().cpu()).item()
        for ours, theirs in zip(expected, made, strict=True)
    )


class Exported(nn.Module):
    """An exported file in ONNX Runtime: images (B, 3, H, W) to `Prediction`, on the CPU.

    Args:
        file: its path, or its content.

    Raises:
        InputError: ONNX Runtime is not installed.
    """

    def __init__(self, file: Path | bytes):
        super().__init__()
        try:
            import onnxruntime
        except ImportError:
            raise InputError("this needs ONNX Runtime: pip install onnxruntime") from None
        source = file if isinstance(file, bytes) else str(file)
        try:
            self.session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        except Exception as error:  # of many kinds, all the package's own
            if isinstance(file, bytes):
                raise
            if not file.is_file():
                raise InputError(f"{shown(file)}: no such file") from None
            reason = str(error).splitlines()[0]
            raise InputError(f"{shown(file)} cannot be read: {reason}; export it again") from None

    def about(self) -> dict[str, Any]:
        """What the file says of itself, see `described`; empty where another package made it."""
        entries = self.session.get_modelmeta().custom_metadata_map
        return (
            {name: json.loads(value) for name, value in entries.items()} if ABOUT in entries else {}
        )

    def forward(self, images: Tensor) -> Prediction:
        """See the class."""
        made = self.session.run(list(OUTPUTS), {INPUT: images.cpu().numpy()})
        return Prediction(*map(torch.from_numpy, made))


def to_onnx(model: nn.Module, images: Tensor, metadata: Mapping[str, Any]) -> bytes:
    """A network as the content of an ONNX file, which takes any number of images.

    Args:
        model: on the CPU, in eval mode. It must have seen images of that size: what it prepares for
            a size is then constant.
        images: (2, 3, H, W), of the size that the file then takes.
        metadata: kept in the file, each value as JSON.

    Raises:
        InputError: a package that this needs is missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch.onnx asks for it late, and in many lines)
    except ImportError:
        raise InputError(NEEDS) from None
    batch = torch.export.Dim("batch", max=2**31 - 1)  # PyTorch 2.7 refuses one without end
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (images,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: batch},),
            dynamo=True,
            verbose=False,
        )
    file = program.model_proto
    file.producer_name = "ssn_lib"
    # The exporter's notes for each node: where in which source file it comes from.
    for node in file.graph.node:
        del node.metadata_props[:]
    onnx.helper.set_model_props(file, {name: json.dumps(v) for name, v in metadata.items()})
    onnx.checker.check_model(file)
    return file.SerializeToString()
