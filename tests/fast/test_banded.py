import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from ssn_lib.fast.banded import BLOCK, Banded
from ssn_lib.fast.interpolation import Grid


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 3 * BLOCK),
    width=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_products_are_those_of_the_whole_matrix(height, width, share, seed):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(height, width, generator=generator, dtype=torch.float64)
    matrix *= torch.rand(height, width, generator=generator) < share
    banded = Banded(matrix)
    right = torch.randn(width, 5, generator=generator, dtype=torch.float64)
    left = torch.randn(height, 5, generator=generator, dtype=torch.float64)
    # What stands in the places that are written to must not matter.
    got = banded.times(right, torch.full((height, 5), torch.nan, dtype=torch.float64))
    torch.testing.assert_close(got, matrix @ right, rtol=1e-12, atol=1e-12)
    got = banded.transposed_times(left, torch.full((width, 5), torch.nan, dtype=torch.float64))
    torch.testing.assert_close(got, matrix.T @ left, rtol=1e-12, atol=1e-12)


def test_an_interpolation_is_multiplied_by_little_of_its_matrix():
    grid = Grid([(32, 32), (16, 16)], 2, True, torch.empty(0))
    matrix = grid.shifted(1)[0]
    right, out = torch.randn(matrix.shape[1], 3), torch.empty(len(matrix), 3)
    counts = []
    for product in (matrix.__matmul__, lambda rows: Banded(matrix).times(rows, out)):
        with FlopCounterMode(display=False) as counter:  # `make bench` counts so
            product(right)
        counts.append(counter.get_total_flops())
    assert counts[0] == 2 * matrix.numel() * 3
    assert 0 < counts[1] < 0.5 * counts[0]


@pytest.mark.parametrize("taps", [1, 5])
def test_a_grid_gives_the_same_in_bands_and_in_one_product(taps):
    grid = Grid([(7, 6), (4, 3)], 3, False, torch.empty(0, dtype=torch.float64))
    down = grid.shifted(taps)[0]
    half = torch.randn(2, down.shape[1], 9, dtype=torch.float64)
    rows = torch.randn(2, len(down), 9, dtype=torch.float64)
    for given_rows, method, expected in (
        (half, grid.to_rows, down @ half),
        (rows, grid.from_rows, down.T @ rows),
    ):
        torch.testing.assert_close(method(given_rows, taps), expected, rtol=1e-12, atol=1e-12)
        # Autograd wants a single product, and goes through it.
        asked = given_rows.clone().requires_grad_()
        method(asked, taps).sum().backward()
        assert asked.grad is not None
