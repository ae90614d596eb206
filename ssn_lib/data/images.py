"""Reading images, and the sets of images and masks that training and evaluation see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ssn_lib.config import Resize
from ssn_lib.data.decoding import (
    SEVERAL_PAGES,
    Picture,
    Remarks,
    as_rgb,
    decode,
    in_threads,
    is_deep,
)
from ssn_lib.data.masks import read_whole_mask, remark_on, shrunk
from ssn_lib.data.samples import Sample, files_of
from ssn_lib.errors import InputError
from ssn_lib.storage import content_hash, shown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


# White in files of more than 8 bits: 8, 10, 12, 14 or 16 of the 16 bits may be used.
FULL_SCALES = (255, 1023, 4095, 16383, 65535)


# What is said of images that are used all the same; see `Remarks`.
NO_FULL_SCALE = (
    "images of more than 8 bits, with no full scale known from training images: 65535 is taken for "
    "white"
)


@dataclass(frozen=True)
class ImageSet:
    """Images of one split at one size. Decoded at first use and kept: N·3·H·W bytes.

    Attributes:
        samples: in a fixed order.
        image_size: (height, width).
        splits: official files that say whose masks are used, by the number of masks.
        resize: how images are brought to that size, see `read_image`; "plain" also says that the
            masks that training learns from are treated as in the public code, see
            `training.batches`.
        full_scale: white in files of more than 8 bits, see `find_full_scale`.
    """

    samples: tuple[Sample, ...]
    image_size: tuple[int, int]
    splits: Mapping[int, Path] = field(default_factory=dict)
    resize: Resize = "antialiased"
    full_scale: int | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def images(self) -> Tensor:
        """(N, 3, H, W) uint8, RGB.

        Raises:
            InputError: why the first of the files that cannot be read is none, and their names.
        """
        height, width = self.image_size
        images = torch.empty((len(self), 3, height, width), dtype=torch.uint8)
        remarks = Remarks()

        paths = [sample.image for sample in self.samples]

        def read(index: int) -> None:
            images[index] = read_image(
                paths[index], self.image_size, self.resize, self.full_scale, remarks
            )

        in_threads(read, range(len(self)), paths)
        remarks.warn()
        return images

    @cached_property
    def masks(self) -> Tensor:
        """(N, 1, H, W) uint8, 1 = defect; zeros where a sample has no mask file. Masks that mark
        nothing or everything are warned of.

        Raises:
            InputError: naming the masks that cannot be read or are not of their image's size.
        """
        height, width = self.image_size
        masks = torch.zeros((len(self), 1, height, width), dtype=torch.uint8)
        remarks = Remarks()

        def read(index: int) -> None:
            sample = self.samples[index]
            if sample.mask is not None:
                whole = read_whole_mask(sample.mask, sample.image, remarks)
                remark_on(whole, sample.mask, remarks)
                masks[index, 0] = shrunk(whole, self.image_size)

        in_threads(read, range(len(self)), [s.mask or s.image for s in self.samples])
        remarks.warn()
        return masks

    @property
    def labels(self) -> Tensor:
        """(N,) int64, 1 = anomalous."""
        return torch.tensor([sample.label for sample in self.samples], dtype=torch.int64)

    def names(self, root: Path) -> list[str]:
        """The images' paths below a folder, as any file can hold them (`storage.shown`)."""
        return [shown(sample.image.relative_to(root).as_posix()) for sample in self.samples]

    @property
    def has_masks(self) -> bool:
        """Whether every defective sample has a mask, so that pixel metrics mean something."""
        return all(sample.mask is not None for sample in self.samples if sample.label)

    @classmethod
    def of(cls, samples: Iterable[Sample], images: Tensor, masks: Tensor) -> ImageSet:
        """A set whose pixels are given and not read.

        Args:
            samples: one for each image.
            images: (N, 3, H, W) uint8 RGB.
            masks: (N, 1, H, W) uint8, 0/1.
        """
        image_set = cls(tuple(samples), tuple(images.shape[-2:]))
        vars(image_set).update(images=images, masks=masks)
        return image_set

    def sound(self) -> ImageSet:
        """The images without a defect, as a set of their own."""
        return self.subset((self.labels == 0).nonzero()[:, 0].tolist())

    def subset(self, indices: Sequence[int]) -> ImageSet:
        """The samples at those positions, as a set of their own. An official split names all images
        of a set, so a part has none."""
        samples = tuple(self.samples[index] for index in indices)
        whole = len(samples) == len(self)
        part = replace(self, samples=samples, splits=self.splits if whole else {})
        for name in ("images", "masks"):  # what is decoded is not decoded again
            if name in vars(self):
                vars(part)[name] = vars(self)[name][list(indices)]
        return part


@dataclass(frozen=True)
class Dataset:
    """A data set of one category, ready to train and test on.

    Attributes:
        name, category: as asked for.
        root: the folder it was read from.
        train, test: its splits.
    """

    name: str
    category: str
    root: Path
    train: ImageSet
    test: ImageSet

    def with_full_scale(self, full_scale: int | None) -> Dataset:
        """The same files, with another white in those of more than 8 bits: a finished run's."""
        parts = (replace(part, full_scale=full_scale) for part in (self.train, self.test))
        return Dataset(self.name, self.category, self.root, *parts)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all relative paths and of what is in the files: others make another run.

        Raises:
            InputError: a file cannot be read.
        """
        paths = [path for part in self._files() for path in part]
        return content_hash(paths, self.root)

    def has_fingerprint(self, fingerprint: str) -> bool:
        """Whether it is this data's. An older one, of 16 digits, is of relative paths and of sizes
        in bytes alone.

        Raises:
            InputError: a file cannot be read.
        """
        if len(fingerprint) != 16:
            return fingerprint == self.fingerprint
        digest = hashlib.sha256()
        for path in self._files()[0]:
            name = f"{path.relative_to(self.root).as_posix()}:{path.stat().st_size}\n"
            digest.update(name.encode(errors="surrogatepass"))
        return fingerprint == digest.hexdigest()[:16]

    def _files(self) -> tuple[list[Path], list[Path]]:
        """Images with their masks, and the files that say whose masks are used."""
        samples = (*self.train.samples, *self.test.samples)
        return files_of(samples), [*self.train.splits.values()]


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 to float32 with ImageNet's mean and standard deviation.

    Raises:
        InputError: the pixels are no bytes: what stands for white would not be known.
    """
    if images.dtype != torch.uint8:
        raise InputError(f"images of {images.dtype}: give bytes (torch.uint8), 0 to 255")
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def read_image(
    path: Path,
    image_size: tuple[int, int],
    resize: Resize = "antialiased",
    full_scale: int | None = FULL_SCALES[-1],
    remarks: Remarks | None = None,
) -> Tensor:
    """An image file as (3, H, W) uint8 RGB, turned as its orientation tag says.

    Grey becomes RGB. Alpha, and a palette's, is ignored: a transparent pixel has the colour that is
    stored for it. CMYK and YCbCr are converted as Pillow does. More than 8 bits are scaled to 8, by
    one full scale for every file. Of several pages or frames, the first is read.

    Args:
        resize: bilinearly, "antialiased" over all the pixels that fall into a new one (Pillow), or
            "plain" from the four nearest alone, as in the public code (OpenCV's INTER_LINEAR).
        full_scale: white in files of more than 8 bits; what is above becomes white, and that is
            remarked. None: not known; 65535 is taken, and remarked.
        remarks: takes what is to be said of the file; None: it is said.

    Raises:
        InputError: naming the file, when it cannot be read whole, is of a kind that is not
            supported, or its values have no known range: floating point, integers outside 0 to
            65535.
    """
    noted = Remarks() if remarks is None else remarks
    picture = decode(path)
    if picture.pages > 1:
        noted.add(SEVERAL_PAGES, path, f" ({picture.pages})")
    if picture.image.mode == "F":
        raise InputError(
            f"image {shown(path)} holds floating-point values; save it with 8 or 16 bits"
        )
    if picture.deep is None:
        image = as_rgb(picture.image)
    else:
        image = _to_8_bits(picture, path, full_scale, noted)
    if remarks is None:
        noted.warn()
    height, width = image_size
    if resize == "antialiased":
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.array(image)
    if pixels.shape[:2] != image_size:
        pixels = _from_four_nearest(pixels, image_size)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _from_four_nearest(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (h, w, C) uint8, bilinearly resized without antialiasing.

    In NumPy, where each operation rounds by itself: PyTorch's own gives other values, by 1 in a few
    pixels, with another number of threads, and then no training of theirs would go on.
    """
    resized = pixels
    for axis, (short, long) in enumerate(zip(pixels.shape[:2], size, strict=True)):
        places = np.clip((np.arange(long) + 0.5) * short / long - 0.5, 0, short - 1)
        before = places.astype(int)
        after = np.minimum(before + 1, short - 1)
        share = np.expand_dims(places - before, [1 - axis, 2])
        first, second = (resized.take(one, axis).astype(np.float64) for one in (before, after))
        resized = first * (1 - share) + second * share
    return np.rint(resized).astype(np.uint8)


def find_full_scale(paths: Sequence[Path]) -> int | None:
    """White in the files of more than 8 bits: the smallest of `FULL_SCALES` that holds every value
    of theirs, since a camera's 10 or 12 bits are often stored in 16. None: there are no such files.

    Only the headers are read of files of 8 bits. A file that cannot be read, or whose values have
    no known range, is passed over: it is named when it is read for its pixels.
    """
    peaks = [highest for highest in in_threads(_highest, paths) if highest is not None]
    return next(scale for scale in FULL_SCALES if scale >= max(peaks)) if peaks else None


def _highest(path: Path) -> int | None:
    """The highest value of a file of more than 8 bits."""
    try:
        highest = int(decode(path).deep.max()) if is_deep(path) else None
    except InputError:
        return None
    return highest if highest is not None and 0 <= highest <= FULL_SCALES[-1] else None


def _to_8_bits(
    picture: Picture, path: Path, full_scale: int | None, remarks: Remarks
) -> Image.Image:
    values = picture.deep
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > FULL_SCALES[-1]:
        raise InputError(
            f"image {shown(path)} holds integers from {lowest} to {highest}; only 0 to "
            f"{FULL_SCALES[-1]} have a meaning as brightness: save it with 8 or 16 bits"
        )
    if full_scale is None:
        remarks.add(NO_FULL_SCALE, path)
        full_scale = FULL_SCALES[-1]
    if highest > full_scale:
        kind = (
            f"images with values above {full_scale} (white in the training images), clipped to it"
        )
        remarks.add(kind, path, f" (up to {highest})")
    scaled = np.minimum(values, full_scale) * 255 // full_scale
    return Image.fromarray(scaled.astype(np.uint8)).convert("RGB")
