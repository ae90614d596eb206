"""A trained network with its images, for a notebook's reader to look into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssn_lib.data.images import Dataset
from ssn_lib.data.registry import images_title, of_strips, source_of
from ssn_lib.errors import InputError
from ssn_lib.models.supersimplenet import Detector
from ssn_lib.runs.record import Record
from ssn_lib.runs.run import load_run
from ssn_lib.study.runner import Study


@dataclass(frozen=True)
class Example:
    """A finished run, its network and the images it is of.

    Attributes:
        model: trained, in eval mode, on the CPU.
    """

    record: Record
    data: Dataset
    model: Detector

    def __str__(self) -> str:
        """Which run it is, for the line above what is computed from it."""
        config = self.record.config
        height, width = config.data.image_size
        images = images_title(config.data.category)
        if source_of(config.data.dataset).origin == "rendered":
            strips = of_strips(config.data.dataset, config.data.category)
            images = "rendered strips" if strips else f"rendered {images}"
        untrained = ", on an untrained backbone" if config.weights == "untrained" else ""
        return (
            f"{config.preset} on {images}, {height}×{width} pixels, "
            f"{self.record.epochs_done} epochs{untrained}"
        )


def example(study: Study, name: str, category: str) -> Example:
    """A preset's network as the study trained it. Where its weights or its images are not at hand,
    the demo's, which is trained in seconds on images that the project renders.

    Args:
        study: whose run is wanted.
        name: the preset.
        category: of the images.

    Raises:
        InputError: ImageNet weights were asked for, and are not where they were said to be.
    """
    try:
        return _of(study, name, category)
    except InputError:
        demo = Study(
            "demo",
            weights_dir=study.weights_dir,
            runs_dir=study.runs_dir,
            scheduler=None,
            deadline=None,
        )
        return _of(demo, name, category)


def _of(study: Study, name: str, category: str) -> Example:
    """The first finished run of that preset.

    Raises:
        InputError: there is none, or its weights or images are not there.
    """
    found = study.first_seeds(study.run_all([name], [category]), category)
    if not found:
        raise InputError(f"no finished run of {name} on {category}")
    record = found[0].record
    folder = Path(study.runs_dir) / record.run_id
    _, model = load_run(folder, study.weights(record.config.model.backbone))
    data = study.dataset(category, record.config.data.image_size, record.config.data.resize)
    return Example(record, data, model.cpu())
