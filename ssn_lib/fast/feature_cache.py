"""The frozen backbone's outputs, computed once.

They are kept on the GPU where they fit, else in memory, else they are mapped from a file.

A file's name is a hash of all that decides its content (the backbone and its weights, which of its
layers, the pixels, their order), so one that is stale is never taken, and runs at the same time
share it. It is removed when a training ends in whatever way; one that was killed finds it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ssn_lib import machine
from ssn_lib.data.images import normalise
from ssn_lib.errors import InputError
from ssn_lib.storage import held

BATCH = 16  # images per pass of the backbone
SHARE = 0.5  # of the available memory, for outputs that are kept in it
GPU_SHARE = 0.25  # likewise, of a GPU's: the training itself needs the rest


@dataclass(frozen=True)
class Outputs:
    """Stage outputs of all images.

    Attributes:
        layers: (N, C_l, h_l, w_l) float32, on the GPU or on the CPU.
        file: what they are mapped from; None in memory.
    """

    layers: list[Tensor]
    file: Path | None = None

    def remove(self) -> None:
        """Remove the file, if any, when this process needs it no more; others may still map it."""
        if self.file is not None:
            with held(_lock(self.file)):
                self.file.unlink(missing_ok=True)


@torch.no_grad()
def outputs(
    backbone: nn.Module, count: int, images: Callable[[slice], Tensor], folder: Path
) -> Outputs:
    """The backbone's outputs for `count` images, kept in `folder` where they exceed the memory.

    Args:
        images: gives those of a slice, (B, 3, H, W) uint8.

    Raises:
        InputError: they fit neither in the memory nor on the disk.
    """
    device = next(backbone.parameters()).device

    def through(some: slice) -> list[Tensor]:
        batch = normalise(images(some).to(device)).contiguous(memory_format=torch.channels_last)
        return backbone(batch)

    # Channels last, as everything that reads them wants them.
    shapes = [(count, *layer[0].permute(1, 2, 0).shape) for layer in through(slice(0, 1))]
    sizes = [math.prod(shape) for shape in shapes]

    def fill(layers: list[Tensor]) -> None:
        for start in range(0, count, BATCH):
            some = slice(start, min(start + BATCH, count))
            for layer, values in zip(layers, through(some), strict=True):
                layer[some] = values

    def mapped(path: Path) -> list[Tensor]:
        flat = torch.from_file(str(path), shared=True, size=sum(sizes), dtype=torch.float32)
        parts = zip(flat.split(sizes), shapes, strict=True)
        return [part.view(shape).permute(0, 3, 1, 2) for part, shape in parts]

    for home, share in ((device, GPU_SHARE), (torch.device("cpu"), SHARE)):
        if home.type in ("cuda", "cpu") and sum(sizes) * 4 <= share * machine.available_memory(
            home
        ):
            layers = [torch.empty(shape, device=home).permute(0, 3, 1, 2) for shape in shapes]
            fill(layers)
            return Outputs(layers)
    file = folder / f"features-{_key(backbone, shapes, images)}.bin"
    with held(_lock(file)):  # who comes second waits for the first one's file
        if not file.exists():
            unfinished = file.with_suffix(".part")
            try:
                _reserve(unfinished, sum(sizes) * 4)
                fill(mapped(unfinished))
                unfinished.replace(file)
            except BaseException:  # an interruption too: it may be gigabytes
                with contextlib.suppress(OSError):
                    unfinished.unlink()
                raise
        return Outputs(mapped(file), file)


def _lock(file: Path) -> Path:
    return file.with_suffix(".lock")


def _reserve(path: Path, size: int) -> None:
    """A file of that many bytes, all of them on the disk: to run out later kills the process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror}; the features of all images need "
            f"{size / 1e9:.1f} GB of memory or disk: free space, set TMPDIR to another folder, or "
            "choose smaller images"
        ) from None


def _key(
    backbone: nn.Module, shapes: list[tuple[int, ...]], images: Callable[[slice], Tensor]
) -> str:
    # No two layers have outputs of the same shape: the shapes tell which are wanted.
    digest = hashlib.sha256(f"{backbone!r} {shapes}".encode())
    for name, weight in backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().numpy().tobytes())
    for start in range(0, count := shapes[0][0], BATCH):
        part = images(slice(start, min(start + BATCH, count))).contiguous()
        digest.update(f"{tuple(part.shape)}".encode())
        digest.update(part.numpy().tobytes())
    return digest.hexdigest()[:16]
