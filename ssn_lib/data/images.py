"""Reading images and masks, and the sets of them that training and evaluation see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ssn_lib.config import Resize
from ssn_lib.errors import InputError
from ssn_lib.files import content_hash, shown

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Sample:
    """One image on disk: its mask (None: no defect, or none drawn), label (1 = anomalous) and
    defect type ("good" for none)."""

    image: Path
    label: int
    defect: str
    mask: Path | None = None


@dataclass(frozen=True)
class ImageSet:
    """Images of one split at one size. Decoded at first use and kept: N·3·H·W bytes.

    Attributes:
        samples: in a fixed order.
        image_size: (height, width).
        splits: official files that say whose masks are used, by the number of masks.
        resize: how images are brought to that size, see `read_image`; "plain" also says that the
            masks that training learns from are treated as in the public code, see `batches`.
    """

    samples: tuple[Sample, ...]
    image_size: tuple[int, int]
    splits: Mapping[int, Path] = field(default_factory=dict)
    resize: Resize = "antialiased"

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def images(self) -> Tensor:
        """(N, 3, H, W) uint8, RGB.

        Raises:
            InputError: naming the first file that cannot be read.
        """
        height, width = self.image_size
        images = torch.empty((len(self), 3, height, width), dtype=torch.uint8)

        def read(index: int) -> None:
            images[index] = read_image(self.samples[index].image, self.image_size, self.resize)

        _in_threads(read, len(self))
        return images

    @cached_property
    def masks(self) -> Tensor:
        """(N, 1, H, W) uint8, 1 = defect; zeros where a sample has no mask file.

        Raises:
            InputError: naming a mask that cannot be read or is not of its image's size.
        """
        height, width = self.image_size
        masks = torch.zeros((len(self), 1, height, width), dtype=torch.uint8)

        def read(index: int) -> None:
            sample = self.samples[index]
            if sample.mask is not None:
                masks[index, 0] = read_mask(sample.mask, sample.image, self.image_size)

        _in_threads(read, len(self))
        return masks

    @property
    def labels(self) -> Tensor:
        """(N,) int64, 1 = anomalous."""
        return torch.tensor([sample.label for sample in self.samples])

    def names(self, root: Path) -> list[str]:
        """The images' paths below a folder, as any file can hold them (`files.shown`)."""
        return [shown(sample.image.relative_to(root).as_posix()) for sample in self.samples]

    @property
    def has_masks(self) -> bool:
        """Whether every defective sample has a mask, so that pixel metrics mean something."""
        return all(sample.mask is not None for sample in self.samples if sample.label)

    @classmethod
    def of(cls, samples: Iterable[Sample], images: Tensor, masks: Tensor) -> ImageSet:
        """A set whose pixels are given, (N, 3, H, W) and (N, 1, H, W) uint8, and not read."""
        made = cls(tuple(samples), tuple(images.shape[-2:]))
        vars(made).update(images=images, masks=masks)
        return made

    def sound(self) -> ImageSet:
        """The images without a defect, as a set of their own."""
        return self.subset((self.labels == 0).nonzero()[:, 0].tolist())

    def subset(self, indices: Sequence[int]) -> ImageSet:
        """The samples at those positions, as a set of their own."""
        samples = tuple(self.samples[index] for index in indices)
        part = replace(self, samples=samples)
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
        images = [path for s in samples for path in (s.image, s.mask) if path is not None]
        return images, [*self.train.splits.values()]


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 to float32 with ImageNet's mean and standard deviation."""
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=images.device).view(3, 1, 1)
    return (images.float() / 255 - mean) / std


def read_image(path: Path, image_size: tuple[int, int], resize: Resize = "antialiased") -> Tensor:
    """An image file as (3, H, W) uint8 RGB: grey becomes RGB, 16-bit grey is scaled to 8 bits.

    Args:
        resize: bilinearly, "antialiased" over all the pixels that fall into a new one (Pillow), or
            "plain" from the four nearest alone, as in the public code (OpenCV's INTER_LINEAR).

    Raises:
        InputError: naming the file, when it cannot be read whole or its values have no known range.
    """
    image = _open(path)
    if image.mode == "F":
        raise InputError(f"image {path} holds floating-point values; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((values / 257).clip(0, 255).astype(np.uint8))
    height, width = image_size
    image = image.convert("RGB")
    if resize == "antialiased":
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if pixels.shape[1:] == image_size:
        return pixels
    resized = F.interpolate(pixels[None].float(), image_size, mode="bilinear", align_corners=False)
    return resized[0].round().to(torch.uint8)


def read_mask(path: Path, image_path: Path, image_size: tuple[int, int]) -> Tensor:
    """A mask file as (H, W) uint8, 1 where at least half of a pixel's area is marked.

    A defect too thin for that keeps every pixel it touches, so that no defect disappears.

    Raises:
        InputError: naming the file, when it cannot be read or is not of its image's size.
    """
    height, width = image_size
    mask = _marked(path, image_path)
    area = np.array(mask.resize((width, height), Image.Resampling.BOX))
    marked = area >= 128
    return torch.from_numpy((marked if marked.any() else area > 0).astype(np.uint8))


def read_whole_mask(path: Path, image_path: Path) -> NDArray[np.bool_]:
    """A mask file as (H, W) of the file's own size.

    Raises:
        InputError: as of `read_mask`.
    """
    return np.array(_marked(path, image_path)) > 0


def _marked(path: Path, image_path: Path) -> Image.Image:
    """A mask file, 255 where it marks anything."""
    mask = _open(path).convert("L").point(lambda value: 255 if value else 0)
    image_width, image_height = _size(image_path)
    if (image_width, image_height) != mask.size:
        raise InputError(
            f"mask {path} is {mask.size[0]}×{mask.size[1]} pixels, its image {image_path} "
            f"{image_width}×{image_height}: they must agree"
        )
    return mask


def is_black(path: Path) -> bool:
    """Whether a mask marks nothing.

    Raises:
        InputError: naming the file, when it cannot be read.
    """
    return not _open(path).convert("L").getbbox()


def _open(path: Path) -> Image.Image:
    with _readable(path), Image.open(path) as image:
        image.load()
        return image


def _size(path: Path) -> tuple[int, int]:
    """(width, height), from the header alone."""
    with _readable(path), Image.open(path) as image:
        return image.size


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever Pillow says of a damaged file, as one line that names it."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not an image file, or its header is damaged") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read: {error}; replace or remove it") from None


def _in_threads(work: object, count: int) -> None:
    """Run `work(i)` for i < count on a few threads; the first error, in order, is raised."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        for _ in pool.map(work, range(count)):  # type: ignore[arg-type]
            pass
