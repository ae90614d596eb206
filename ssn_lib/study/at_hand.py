"""What a notebook shows a mechanism on: a few images, a fresh network, a trained one.

A mechanism can be looked at without the data and the weights that a study needs. Where these are
missing, rendered images and an untrained backbone stand in for them; where the study has no such
run, a network is trained at once. What stands in is printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ssn_lib import machine
from ssn_lib.config import ModelConfig, RunConfig
from ssn_lib.data.images import Dataset, ImageSet
from ssn_lib.data.loading import load_dataset
from ssn_lib.errors import InputError
from ssn_lib.models.supersimplenet import Detector, build
from ssn_lib.presets import preset
from ssn_lib.runs.loading import load_run
from ssn_lib.runs.run import configure
from ssn_lib.study.captions import whose
from ssn_lib.study.profiles import CATEGORIES, STRIPS
from ssn_lib.study.runner import Study
from ssn_lib.training.fit import fit

SEED = 42  # of the initial weights


@dataclass(frozen=True)
class TrainedNetwork:
    """A trained network, what it was trained by and the images it is of.

    Attributes:
        model: in eval mode, on the CPU.
        epochs: that it was trained for.
        here: it was trained just now, and is no run of the study.
    """

    config: RunConfig
    data: Dataset
    model: Detector
    epochs: int
    here: bool

    def __str__(self) -> str:
        """Which network it is, for the line above what is computed from it."""
        data = self.config.data
        height, width = data.image_size
        images = whose(data.dataset, data.category)
        untrained = ", on an untrained backbone" if self.config.weights == "untrained" else ""
        trained = "trained here" if self.here else "the study's run"
        return (
            f"{self.config.preset} on {images}, {height}×{width} pixels; {trained}, "
            f"epochs: {self.epochs}{untrained}"
        )


def example_images(study: Study, category: str) -> ImageSet:
    """The study's training images of a category; where they are not at hand, rendered ones."""
    try:
        found = study.dataset(category)
    except InputError:
        found = load_dataset("demo", category=category, image_size=study.profile.image_size)
    rendered = " rendered" if found.name == "demo" else ""
    height, width = found.train.image_size
    print(f"{len(found.train)}{rendered} training images of {category}, {height}×{width} pixels")
    return found.train


def fresh_network(study: Study, config: ModelConfig) -> Detector:
    """A network before training, the same at every call, with ImageNet weights if there are any."""
    try:
        weights = study.weights(config.backbone)
    except InputError:
        weights = None
    print(f"{config.backbone}: {'ImageNet weights' if weights else 'untrained, random weights'}")
    with machine.seeded(SEED):
        return build(config, weights)


def trained_network(study: Study, name: str, category: str, epochs: int = 2) -> TrainedNetwork:
    """A preset's network as the study trained it. Where it is not at hand with its images, or was
    trained for less, one is trained now, in seconds, on images that the project renders.

    Args:
        study: whose run is wanted.
        name: the preset.
        category: of the images.
        epochs: that it takes to see something.

    Raises:
        InputError: ImageNet weights were asked for, and are not where they were said to be.
    """
    try:
        found = _run(study, name, category)
    except InputError:
        found = None
    return found if found and found.epochs >= epochs else _now(study, name, category, epochs)


def _run(study: Study, name: str, category: str) -> TrainedNetwork:
    """The first finished run of that preset.

    Raises:
        InputError: there is none, or its weights or images are not there.
    """
    found = study.first_seeds(study.run_all([name], [category]), category)
    if not found:
        raise InputError(f"no finished run of {name} on {category}")
    config = found[0].record.config
    weights = study.weights(config.model.backbone)
    record, model = load_run(Path(study.runs_dir) / config.run_id, weights)
    data = study.dataset(category, config.data.image_size, config.data.resize)
    return TrainedNetwork(config, data, model.cpu(), record.epochs_done, here=False)


def _now(study: Study, name: str, category: str, epochs: int) -> TrainedNetwork:
    """One that is trained on the demo's images and kept nowhere."""
    demo = Study("demo", weights_dir=study.weights_dir)
    # Strips that are not KolektorSDD2's own have their folder's name.
    known = category if category in CATEGORIES else STRIPS
    data = demo.dataset(known, resize=preset(name).resize)
    weights = demo.weights(preset(name).model.backbone)
    batch_size = demo.profile.batch_size
    config = configure(name, data, epochs=epochs, batch_size=batch_size, weights=weights)
    with machine.seeded(config.seed):
        model = build(config.model, weights)
        fit(model, data.train, config.training, config.seed, progress=None)
    return TrainedNetwork(config, data, model.cpu(), epochs, here=True)
