"""Products with a matrix that interpolates along one axis: almost all of it is zero.

A row of such a matrix reaches for the few pixels around its own, in each of the layers that lie
side by side in it. So a block of its rows needs a few narrow runs of columns, a third of all of
them for features of a ResNet18. On a CPU a product with these alone is up to twice as fast.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 16  # rows: of fewer, the products are too small; more reach for more columns


class Banded:
    """A matrix (M, K) as the runs of columns that its blocks of rows reach for.

    Args:
        matrix: any; without zeros, each block has a single run.
    """

    def __init__(self, matrix: Tensor):
        self._parts = [
            _Part(slice(start, start + len(rows)), columns, rows[:, columns].contiguous(), first)
            for start, rows in zip(range(0, len(matrix), BLOCK), matrix.split(BLOCK), strict=True)
            for first, columns in _runs(rows)
        ]

    def times(self, right: Tensor, out: Tensor) -> Tensor:
        """The matrix times (K, N), written to `out`, (M, N)."""
        for rows, columns, values, first in self._parts:
            place = out[rows]  # `out=`, since PyTorch's counter of operations passes addmm_ over
            torch.addmm(place, values, right[columns], beta=0 if first else 1, out=place)
        return out

    def transposed_times(self, right: Tensor, out: Tensor) -> Tensor:
        """The transposed matrix times (M, N), written to `out`, (K, N)."""
        out.zero_()  # runs of different blocks overlap
        for rows, columns, values, _ in self._parts:
            place = out[columns]
            torch.addmm(place, values.T, right[rows], out=place)
        return out


class _Part(NamedTuple):
    """A block of rows in one of its runs of columns.

    Attributes:
        first: whether it is the block's first run.
    """

    rows: slice
    columns: slice
    values: Tensor
    first: bool


def _runs(rows: Tensor) -> list[tuple[bool, slice]]:
    """The runs of columns outside which those rows are zero, at least one, and which is first."""
    reached = [False, *(rows != 0).any(0).tolist(), False]
    steps = [place for place in range(len(reached) - 1) if reached[place] != reached[place + 1]]
    runs = [slice(*ends) for ends in zip(steps[::2], steps[1::2], strict=True)]
    return [(place == 0, run) for place, run in enumerate(runs or [slice(0, 1)])]
