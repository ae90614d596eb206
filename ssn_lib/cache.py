"""The frozen backbone's outputs, computed once: in memory where they fit, else mapped from a file.

A file's name is a hash of all that decides its content (the backbone's weights, the pixels, their
order), so one that is stale is never taken. It is removed when a training ends in whatever way; one
that was killed finds it again.
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

from ssn_lib import env
from ssn_lib.data.images import normalise
from ssn_lib.errors import InputError

BATCH = 16  # images per pass of the backbone
SHARE = 0.5  # of the available memory, for outputs that are kept in it


@dataclass(frozen=True)
class Outputs:
    """Stage outputs of all images.

    Attributes:
        layers: (N, C_l, h_l, w_l) float32 on the CPU.
        file: what they are mapped from; None in memory.
    """

    layers: list[Tensor]
    file: Path | None = None

    def remove(self) -> None:
        """Remove the file, if any, when nothing will read it again."""
        if self.file is not None:
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
        return [layer.cpu() for layer in backbone(batch)]

    # Channels last, as everything that reads them wants them.
    shapes = [(count, *layer[0].permute(1, 2, 0).shape) for layer in through(slice(0, 1))]
    sizes = [math.prod(shape) for shape in shapes]
    file = None
    if sum(sizes) * 4 > SHARE * env.available_memory():
        file = folder / f"features-{_key(backbone, count, images)}.bin"
        finished = file.exists()
        # Written under another name, so that a file of that name is whole.
        place = file if finished else file.with_suffix(".part")
        if not finished:
            _reserve(place, sum(sizes) * 4)
        flat = torch.from_file(str(place), shared=True, size=sum(sizes), dtype=torch.float32)
        layers = [part.view(s) for part, s in zip(flat.split(sizes), shapes, strict=True)]
    else:
        finished, layers = False, [torch.empty(shape) for shape in shapes]
    layers = [layer.permute(0, 3, 1, 2) for layer in layers]
    if finished:
        return Outputs(layers, file)
    for start in range(0, count, BATCH):
        some = slice(start, min(start + BATCH, count))
        for layer, made in zip(layers, through(some), strict=True):
            layer[some] = made
    if file is not None:
        place.replace(file)
    return Outputs(layers, file)


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
        with contextlib.suppress(OSError):
            path.unlink()
        raise InputError(
            f"cannot write {path}: {error.strerror}; the features of all images need "
            f"{size / 1e9:.1f} GB of memory or disk: free space, or choose smaller images"
        ) from None


def _key(backbone: nn.Module, count: int, images: Callable[[slice], Tensor]) -> str:
    digest = hashlib.sha256(repr(backbone).encode())
    for name, weight in backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().numpy().tobytes())
    for start in range(0, count, BATCH):
        part = images(slice(start, min(start + BATCH, count))).contiguous()
        digest.update(f"{tuple(part.shape)}".encode())
        digest.update(part.numpy().tobytes())
    return digest.hexdigest()[:16]
