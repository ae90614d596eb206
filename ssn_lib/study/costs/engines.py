"""Exported networks for the measurement of costs: untrained, as files that outlive their maker."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import nn

from ssn_lib.data.images import ImageSet
from ssn_lib.data.samples import Sample
from ssn_lib.deploy import onnx, openvino
from ssn_lib.models.supersimplenet import Detector

CALIBRATION = 8  # images of noise: what int8 costs in time does not depend on them


def file_of(
    name: str, form: str, model: Detector, folded: nn.Module, size: tuple[int, int]
) -> Path:
    """The file of a kind, made once a process; it lasts as long as the process.

    Args:
        name: of the preset.
        form: one of `costs.records.ENGINES`.
        model, folded: the preset's network, plain and folded.
        size: of its images.

    Raises:
        InputError: a package that this needs is missing.
    """
    path = Path(_folder().name) / f"{name}-{form}"
    if form == "onnx":
        path = path.with_suffix(".onnx")
        if not path.exists():
            onnx.export(folded, path, size, {})
        return path
    path = path.with_suffix(".xml")
    if not path.exists():
        precision = form.removeprefix("openvino-")
        calibration = noise_images(CALIBRATION, size) if precision == "int8" else None
        converted = openvino.convert(model, size, precision, calibration)
        openvino.openvino().save_model(converted, path, compress_to_fp16=False)
    return path


def load(file: Path, form: str) -> nn.Module:
    """The network in a file.

    Args:
        file, form: as in `file_of`.
    """
    if form == "onnx":
        return onnx.Exported(file)
    return openvino.Compiled(file, form.removeprefix("openvino-"))


def noise_images(count: int, size: tuple[int, int]) -> ImageSet:
    """Images of noise, (count, 3, H, W), all of them good.

    Args:
        count: of images.
        size: H and W.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, *size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    samples = tuple(Sample(Path(f"{index}.png"), 0, "good") for index in range(count))
    return ImageSet.of(samples, images, torch.zeros(count, 1, *size, dtype=torch.uint8))


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()
