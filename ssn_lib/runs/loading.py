"""What a finished run left, taken up again: its network, its noise source, its images."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import pandas as pd

from ssn_lib import machine
from ssn_lib.config import RunConfig
from ssn_lib.data.images import Dataset, ImageSet
from ssn_lib.data.loading import load_dataset
from ssn_lib.data.registry import source_of
from ssn_lib.errors import InputError
from ssn_lib.models.backbone import Backbone
from ssn_lib.models.supersimplenet import Detector, build
from ssn_lib.models.weights import load_weights
from ssn_lib.noise.source import Source
from ssn_lib.noise.sources import make_source
from ssn_lib.runs.record import REFERENCE, Record, read_record
from ssn_lib.storage import read_tensors, shown
from ssn_lib.training.holdout import reference_images


def initial_model(config: RunConfig, weights: str | Path | None) -> Detector:
    """The run's network before training. Seeded: an untrained backbone is made again, not kept."""
    with machine.seeded(config.seed):
        return build(config.model, weights if config.weights == "imagenet" else None)


def load_run(
    folder: str | Path, weights: str | Path | None = "imagenet"
) -> tuple[Record, Detector]:
    """A finished run's record and its trained model, in eval mode.

    Raises:
        InputError: not a finished run, its weights are gone, or its backbone had others.
    """
    folder = Path(folder)
    record = read_record(folder)
    model = initial_model(record.config, weights)
    if record.backbone not in (None, model.backbone.fingerprint()):
        raise _other_weights(folder, record, model.weights_source)
    path = folder / "weights.pt"
    if not path.is_file():
        raise InputError(f"{path}: missing; remove the folder and run again")
    model.load_trained_state(read_tensors(path))
    return record, model.to(machine.device()).eval()


def check_weights(folder: Path, record: Record, weights: str | Path | None) -> None:
    """Refuse a record that answers for other weights of the backbone than the named ones.

    Args:
        folder, record: of the run.
        weights: as for `models.supersimplenet.build`; a look-up in the usual places names none.

    Raises:
        InputError: they are others, or cannot be read.
    """
    if weights in (None, "imagenet") or record.backbone is None:
        return
    if record.config.weights != "imagenet":  # a training that takes none from a file
        return
    model = record.config.model
    fingerprint, source = _of_file(model.backbone, model.layers, Path(weights))
    if fingerprint != record.backbone:
        raise _other_weights(folder, record, source)


@functools.cache
def _of_file(name: str, layers: tuple[int, ...], path: Path) -> tuple[str, str | None]:
    """The fingerprint of a file's weights and what it is; read once, however many records ask."""
    with machine.seeded(0):  # initial values, which all are overwritten
        backbone = Backbone(name, layers)
    source = load_weights(backbone, name, path)
    return backbone.fingerprint(), source


def _other_weights(folder: Path, record: Record, source: str | None) -> InputError:
    return InputError(
        f"{shown(folder)}: its backbone had the weights {record.weights_source or 'of chance'}, "
        f"these are {source or 'of chance, by another generator'}; give the former with "
        "--weights-dir, or train anew in another --runs-dir"
    )


def load_detector(
    folder: str | Path, weights: str | Path | None = "imagenet"
) -> tuple[Record, Detector]:
    """As `load_run`, of a run whose network detects something.

    Raises:
        InputError: as `load_run`, or the training diverged.
    """
    record, model = load_run(folder, weights)
    if record.thresholds is None:
        raise InputError(f"{shown(folder)}: the training diverged, so its network detects nothing")
    return record, model


def load_source(folder: Path, record: Record, model: Detector) -> Source:
    """The noise source of a finished run, as trained.

    Args:
        folder: of the run.
        record, model: of the run, as `load_run` gives them.

    Raises:
        InputError: its weights are gone.
    """
    source = make_source(record.config.training.noise, model, record.config.seed)
    if list(source.parameters()):
        path = folder / "generator.pt"
        if not path.is_file():
            raise InputError(f"{path}: missing; remove the folder and run again")
        source.load_state_dict(read_tensors(path))
    return source.to(next(model.parameters()).device)


def dataset_of(record: Record, root: Path | None, folder: Path) -> Dataset:
    """The data set a record was made on, read again from `root` (or the usual places). One line
    warns of other files than the record's.

    Args:
        folder: the run's, whose record it is.

    Raises:
        InputError: it is not there, or a file cannot be read.
    """
    data = record.config.data
    dataset = load_dataset(
        data.dataset,
        root,
        category=None if source_of(data.dataset).category == "single" else data.category,
        image_size=data.image_size,
        resize=data.resize,
    ).with_full_scale(data.full_scale)
    if not dataset.has_fingerprint(data.fingerprint):
        warnings.warn(
            f"{shown(dataset.root)}: not the files that {record.run_id} was made on "
            f"({_difference(dataset, record, folder)}), so these are not its metrics",
            stacklevel=2,
        )
    return dataset


def reference_images_of(record: Record, dataset: Dataset, folder: Path) -> ImageSet:
    """The good images that a run's thresholds were chosen from. In a folder that has grown since,
    a new choice would hold images that the network was trained on.

    Args:
        dataset: from `dataset_of`.
        folder: the run's.

    Raises:
        InputError: one of them is not there.
    """
    path = folder / REFERENCE
    if not path.exists():  # an older run
        return reference_images(dataset.train, record.config.training, record.config.seed)
    places = {name: place for place, name in enumerate(dataset.train.names(dataset.root))}
    names = pd.read_csv(path, dtype={"image": str})["image"].tolist()
    if gone := [name for name in names if name not in places]:
        raise InputError(
            f"{shown(dataset.root)}: {len(gone)} of the {len(names)} images that the run's "
            f"threshold was chosen from are not there, such as {gone[0]}: give the folder as it "
            "was with --data-root, or train anew"
        )
    return dataset.train.subset([places[name] for name in names])


def _difference(dataset: Dataset, record: Record, folder: Path) -> str:
    """What is known of how a data set differs from a record's."""
    if not (folder / "scores.csv").exists():
        return "other names or contents"
    names = pd.read_csv(folder / "scores.csv", dtype={"image": str})["image"].tolist()
    if names != dataset.test.names(dataset.root):
        return "other names of test images"
    if len(dataset.train) != record.counts["train"]:
        return "another number of training images"
    return "the same names, other contents"
