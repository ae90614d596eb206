"""What inspecting needs of a trained detector, from a run's folder or an exported file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ssn_lib.config import Precision, Resize
from ssn_lib.deploy import onnx, openvino
from ssn_lib.deploy.limits import ChosenThreshold, Reference, reference_of
from ssn_lib.deploy.precision import scorer_id
from ssn_lib.errors import InputError
from ssn_lib.fast.folded import fuse
from ssn_lib.inference import predict
from ssn_lib.metrics import Thresholds
from ssn_lib.models.supersimplenet import Prediction
from ssn_lib.runs.loading import load_detector
from ssn_lib.storage import shown


@dataclass(frozen=True)
class Trained:
    """A trained detector with all that inspecting needs.

    Attributes:
        run_id, preset: of the run that it comes from.
        network: normalised images (B, 3, H, W) float32 to `Prediction`, on the device of its
            parameters; one without parameters, such as an exported file, takes them on the CPU.
        image_size: (H, W) in pixels.
        resize, full_scale: how images are read, see `data.images.read_image`.
        thresholds: on raw logits.
        reference: scores of the images that the thresholds come from; None where none were kept.
        chosen: the threshold on the score, where a person chose it before the file was exported.
        precision: that it computes in; scores of two precisions do not mix.
    """

    run_id: str
    preset: str
    network: nn.Module
    image_size: tuple[int, int]
    resize: Resize
    full_scale: int | None
    thresholds: Thresholds
    reference: Reference | None
    chosen: ChosenThreshold | None = None
    precision: Precision = "float32"

    @property
    def scorer_id(self) -> str:
        """See `precision.scorer_id`."""
        return scorer_id(self.run_id, self.precision)

    def predict(self, pixels: Tensor) -> Prediction:
        """Predict images, (B, 3, H, W) uint8 RGB; what is said of them is on the CPU."""
        return predict(self.network, pixels)


def open_detector(path: str | Path, weights: str | Path | None = "imagenet") -> Trained:
    """The detector of a finished run, folded for speed, or of a file that was exported.

    Args:
        path: the run's folder, an ONNX file, or the folder that was exported for OpenVINO.
        weights: of a run's backbone, as for `models.supersimplenet.build`.

    Raises:
        InputError: the run is not finished, diverged, or its weights are gone; the file cannot be
            read or is no detector; a package that it needs is missing.
    """
    path = Path(path)
    if path.suffix == onnx.SUFFIX:
        exported = onnx.Exported(path)
        return _of_file(path, exported, exported.about())
    if (path / openvino.MODEL).is_file():
        facts = openvino.about(path)
        return _of_file(path, openvino.Compiled(path / openvino.MODEL, facts["precision"]), facts)
    record, model = load_detector(path, weights)
    data = record.config.data
    return Trained(
        record.run_id,
        record.config.preset,
        fuse(model),
        data.image_size,
        data.resize,
        data.full_scale,
        record.thresholds,
        reference_of(path),
    )


def _of_file(path: Path, network: nn.Module, facts: dict[str, Any]) -> Trained:
    try:
        reference, chosen = facts["reference"], facts.get("chosen")
        return Trained(
            facts["run"],
            facts["preset"],
            network,
            tuple(facts["image_size"]),
            facts["resize"],
            facts["full_scale"],
            Thresholds(facts["score_threshold"], facts["map_threshold"]),
            None if reference is None else Reference.from_json(reference),
            None if chosen is None else ChosenThreshold(**chosen),
            facts.get("precision", "float32"),  # ONNX files hold float32
        )
    except KeyError:
        raise InputError(
            f"{shown(path)}: not exported by this version of ssn_lib; export it again"
        ) from None
