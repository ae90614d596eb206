"""Which training images are trained on and which are held out."""

from __future__ import annotations

import torch

from ssn_lib import machine
from ssn_lib.config import FOLDS, TrainingConfig
from ssn_lib.data.images import ImageSet
from ssn_lib.data.pixel_labels import with_masks
from ssn_lib.errors import InputError


def chosen_images(train: ImageSet, config: TrainingConfig, seed: int) -> ImageSet:
    """All images, or, where `config.good_images` says so, fewer of the good ones.

    Args:
        train: all training images.
        config: how many of them there are to be.
        seed: of the choice.

    Raises:
        InputError: there are not so many.
    """
    wanted = config.good_images
    if wanted is None:
        return train
    good = (train.labels == 0).nonzero()[:, 0]
    if wanted > len(good):
        raise InputError(
            f"good_images={wanted}: there are {len(good)} good training images; ask for fewer, or "
            "leave it out for all"
        )
    order = torch.randperm(
        len(good), generator=machine.generator("cpu", seed, machine.GOOD_IMAGES_STREAM)
    )
    kept = (train.labels != 0).nonzero()[:, 0].tolist() + good[order[:wanted]].tolist()
    return train.subset(sorted(kept))


def fold_split(train: ImageSet, fold: int | None, seed: int) -> tuple[ImageSet, ImageSet]:
    """The images outside a fold and those in it.

    Args:
        train: the images; each fold has a third of either class.
        fold: its number; None leaves out nothing.
        seed: of the division.
    """
    folds = torch.zeros(len(train), dtype=torch.long)
    for label in (0, 1):
        members = (train.labels == label).nonzero()[:, 0]
        generator = machine.generator("cpu", seed, machine.FOLDS_STREAM, label)
        folds[members[torch.randperm(len(members), generator=generator)]] = (
            torch.arange(len(members)) % FOLDS
        )
    inside = folds == (-1 if fold is None else fold)
    return tuple(train.subset(part.nonzero()[:, 0].tolist()) for part in (~inside, inside))


def images_per_epoch(train: ImageSet, config: TrainingConfig) -> int:
    """How many images an epoch goes through: all sound ones; or, learning from labels, as many
    sound as defective ones, of these every view."""
    defective = int(train.labels.sum())
    if not config.supervision.labels:
        return len(train) - defective
    views = 4 if config.supervision.flips else 1
    return 2 * views * defective


def trained_per_epoch(train: ImageSet, config: TrainingConfig, seed: int) -> int:
    """How many images an epoch of a training goes through; none is opened.

    Args:
        train, config, seed: as in `validation_split`.

    Raises:
        InputError: as there.
    """
    return images_per_epoch(validation_split(train, config, seed)[0], config)


def held_out_count(images: int, config: TrainingConfig) -> int:
    """How many of so many training images are held out for validation: of two or more one at least,
    where any are to be."""
    least = 1 if config.validation_fraction and images > 1 else 0
    return max(least, round(config.validation_fraction * images))


def validation_split(
    train: ImageSet, config: TrainingConfig, seed: int
) -> tuple[ImageSet, ImageSet]:
    """The images to train on and those held out for validation.

    Args:
        train: all training images.
        config: which of them are used, and the share that is held out.
        seed: of the choice.

    Raises:
        InputError: none left for one of them, or one class only where two are needed.
    """
    if config.supervision.labels:  # before the choice: an official split names all images
        train = with_masks(train, config.supervision.masks, seed)
    train = chosen_images(train, config, seed)
    if config.supervision.labels:
        train, _ = fold_split(train, config.supervision.fold, seed)
        defective = int(train.labels.sum())
        if defective in (0, len(train)):
            raise InputError(
                f"{len(train) - defective} good and {defective} defective training images: "
                "learning from labels needs both; in a folder of your own, defective ones to "
                "train on lie in train/<defect>"
            )
    elif train.labels.any():
        train = train.sound()
    held = held_out_count(len(train), config)
    if len(train) - held < 1:
        raise InputError(f"{len(train)} training images, {held} of them held out: none to train on")
    if held == 0 and config.validation_fraction > 0:
        raise InputError(
            "1 training image, and one is to be held out for the threshold: give two at least, or "
            "hold out none with --set training.validation_fraction=0"
        )
    order = torch.randperm(
        len(train), generator=machine.generator("cpu", seed, machine.SPLIT_STREAM)
    ).tolist()
    trained_on, held_out = train.subset(sorted(order[held:])), train.subset(sorted(order[:held]))
    required = [(trained_on, 0, "trained on")]
    if held:
        required.append((held_out, 0, "held out"))  # for the thresholds
    if config.supervision.labels:
        required.append((trained_on, 1, "trained on"))
    for part, label, role in required:
        if not (part.labels == label).any():
            kind = "defective" if label else "sound"
            raise InputError(
                f"training.validation_fraction={config.validation_fraction}: of {len(train)} "
                f"training images none that is {kind} would be {role}; choose another fraction"
            )
    return trained_on, held_out


def reference_images(train: ImageSet, config: TrainingConfig, seed: int) -> ImageSet:
    """The defect-free images that a run's thresholds are chosen from: those held out for
    validation, or all that it trained on.

    Args:
        train, config, seed: as in `validation_split`.
    """
    if config.validation_fraction:
        return validation_split(train, config, seed)[1].sound()
    trained_on, _ = fold_split(chosen_images(train, config, seed), config.supervision.fold, seed)
    return trained_on.sound()
