"""Which defective training images keep their mask: all, those of an official split, or a number of
them that the seed draws."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path

import torch

from ssn_lib import machine
from ssn_lib.data.images import ImageSet
from ssn_lib.data.samples import number_of_masks
from ssn_lib.errors import InputError


def with_masks(images: ImageSet, masks: int | float | None, seed: int) -> ImageSet:
    """The same images, the masks of only some defective ones kept; the others are labelled only.

    Where the data set has an official split for that number, it decides; else chance does, and a
    smaller number is a part of a larger one with the same seed.

    Args:
        masks: a number, a share of the defective images, or None for all.

    Raises:
        InputError: there are not so many masks; a split file cannot be used.
    """
    if masks is None:
        return images
    defective = [i for i, sample in enumerate(images.samples) if sample.label]
    drawn = [i for i in defective if images.samples[i].mask is not None]
    count = number_of_masks(masks, len(defective))
    if count > len(drawn):
        raise InputError(
            f"training.supervision.masks={masks}: {count} masks asked for, and of "
            f"{len(defective)} defective training images {len(drawn)} have one"
        )
    if count in images.splits:
        kept = _official(images, count)
    else:
        order = torch.randperm(
            len(drawn), generator=machine.generator("cpu", seed, machine.MASKS_STREAM)
        )
        kept = {drawn[i] for i in order[:count].tolist()}
    samples = tuple(
        sample if i in kept else replace(sample, mask=None)
        for i, sample in enumerate(images.samples)
    )
    part = replace(images, samples=samples)
    if "images" in vars(images):  # what is decoded is not decoded again
        vars(part)["images"] = images.images
    return part


def read_split(path: Path) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """A split file of KolektorSDD2: training and test images, each a name and whether its mask may
    be used.

    It is a pickle, which could run any code: only plain lists, tuples, strings and numbers are
    read.

    Raises:
        InputError: anything else is in it, or it is damaged.
    """
    try:
        parts = _Plain(io.BytesIO(path.read_bytes())).load()
        train, test = (
            [(str(name), bool(used)) for name, used in part if _is_entry(name, used)]
            for part in parts
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise InputError(f"{path} is not a split file (train, test): {error}") from None
    return train, test


def _official(images: ImageSet, count: int) -> set[int]:
    """Positions of the defective images whose mask the split file gives out."""
    path = images.splits[count]
    where = {sample.image.stem: i for i, sample in enumerate(images.samples)}
    kept = set()
    for name, used in read_split(path)[0]:
        if name not in where:
            raise InputError(f"{path} names the training image {name}, which is not there")
        if used and images.samples[where[name]].label:
            kept.add(where[name])
    if len(kept) != count:
        raise InputError(f"{path} gives out {len(kept)} masks of defective images, not {count}")
    return kept


def _is_entry(name: object, used: object) -> bool:
    if not isinstance(name, str | int) or not isinstance(used, bool | int):
        raise InputError(f"holds {(name, used)!r}, not an image's name and yes or no")
    return True


class _Plain(pickle.Unpickler):
    """Reads plain data and refuses every class and function."""

    def find_class(self, module: str, name: str) -> None:
        """What a pickle calls to get at code."""
        raise InputError(f"refused: it asks for {module}.{name}, and a split file is plain data")
