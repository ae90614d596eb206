import math

import numpy as np
import pytest
import torch

from ssn_lib.config import NoiseConfig
from ssn_lib.noise.perlin import perlin_masks, place


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# --- Perlin noise, slowly: the definition, pixel by pixel ------------------------------------


def fade(t):
    return 6 * t**5 - 15 * t**4 + 10 * t**3


def power_of_two(side):
    power = 2
    while power < side:
        power *= 2
    return power


def perlin_at(row, column, gradient):
    """Noise at a point given in cells; gradient(i, j) is the unit vector at a grid point."""
    i, j = math.floor(row), math.floor(column)

    def ramp(down, right):
        g = gradient(i + down, j + right)
        return g[0] * (row - i - down) + g[1] * (column - j - right)

    def mix(a, b, t):
        return a + t * (b - a)

    u, v = fade(row - i), fade(column - j)
    upper, lower = mix(ramp(0, 0), ramp(0, 1), v), mix(ramp(1, 0), ramp(1, 1), v)
    return math.sqrt(2) * mix(upper, lower, u)


def perlin_field(power, scales, gradient):
    return np.array(
        [
            [perlin_at(y * scales[0] / power[0], x * scales[1] / power[1], gradient)
             for x in range(power[1])]
            for y in range(power[0])
        ]
    )  # fmt: skip


def resize(field, size):
    """Bilinear, pixel centres at halves, borders repeated."""
    result = np.empty(size)
    for y in range(size[0]):
        for x in range(size[1]):
            at = [
                max((position + 0.5) * old / new - 0.5, 0)
                for position, old, new in zip((y, x), field.shape, size, strict=True)
            ]
            i, j = (math.floor(a) for a in at)
            down, right = min(i + 1, field.shape[0] - 1), min(j + 1, field.shape[1] - 1)
            u, v = at[0] - i, at[1] - j
            result[y, x] = (1 - u) * ((1 - v) * field[i, j] + v * field[i, right]) + u * (
                (1 - v) * field[down, j] + v * field[down, right]
            )
    return result


@pytest.mark.parametrize("size", [(16, 16), (64, 64), (24, 16), (9, 30), (5, 2)])
def test_masks_are_the_definitions_for_the_same_draws(size):
    batch, threshold = 5, 0.2
    masks = perlin_masks(batch, size, threshold, seeded(7))
    assert masks.shape == (batch, 1, *size)
    assert masks.dtype == torch.float32

    generator, power = seeded(7), [power_of_two(side) for side in size]
    exponents = [torch.randint(6, (batch, 1), generator=generator) for _ in power]
    angles = (2 * math.pi * torch.rand(batch, 33, 33, generator=generator)).double().numpy()
    kept = torch.rand(batch, generator=generator) <= 0.5
    for k in range(batch):

        def gradient(i, j, angle=angles[k]):
            return math.cos(angle[i, j]), math.sin(angle[i, j])

        scales = [2 ** int(exponent[k]) for exponent in exponents]
        noise = resize(perlin_field(power, scales, gradient), size)
        clear = abs(noise - threshold) > 1e-4  # float32 may decide the others
        assert clear.mean() > 0.95
        expected = (noise > threshold) & bool(kept[k])
        assert (masks[k, 0].numpy() == expected)[clear].all()
    assert masks.any()


def test_half_of_the_masks_are_empty():
    count = 2000
    masks = perlin_masks(count, (8, 8), threshold=-9, generator=seeded())  # full unless emptied
    full = masks.flatten(1).all(dim=1)
    assert (full | ~masks.flatten(1).any(dim=1)).all()
    assert abs(full.sum() - count / 2) < 4 * math.sqrt(count) / 2


def test_coverage_is_that_of_masks_made_one_after_another():
    side, count, rng = 64, 300, np.random.default_rng(5)
    covered = []
    for _ in range(count):
        scales, angles = 2 ** rng.integers(0, 6, 2), rng.uniform(0, 2 * np.pi, (34, 34))
        rows, columns = (np.arange(side) * scale / side for scale in scales)
        i, j = (at.astype(int) for at in (rows, columns))

        def ramp(down, right, angles=angles, i=i, j=j, rows=rows, columns=columns):
            angle = angles[np.ix_(i + down, j + right)]
            y, x = (rows - i - down)[:, None], (columns - j - right)[None]
            return np.cos(angle) * y + np.sin(angle) * x

        u, v = fade(rows - i)[:, None], fade(columns - j)[None]
        noise = (1 - u) * ((1 - v) * ramp(0, 0) + v * ramp(0, 1)) + u * (
            (1 - v) * ramp(1, 0) + v * ramp(1, 1)
        )
        covered.append((math.sqrt(2) * noise > 0.2).mean())
    covered = np.array(covered)
    ours = perlin_masks(4 * count, (side, side), 0.2, seeded(2)).mean((1, 2, 3)).numpy()
    some, theirs = ours[ours > 0], covered[covered > 0]
    error = math.hypot(some.std() / len(some) ** 0.5, theirs.std() / len(theirs) ** 0.5)
    assert abs(some.mean() - theirs.mean()) < 4 * error
    assert some.mean() > 10 * error  # the comparison can tell
    # Beside those emptied at will, few are empty because no pixel passes.
    assert abs((ours > 0).mean() - 0.5 * (covered > 0).mean()) < 0.06


def test_a_higher_threshold_marks_less_and_inside():
    low, high = (perlin_masks(20, (32, 32), value, seeded(1)) for value in (0.2, 0.6))
    assert (high <= low).all()
    assert 0 < high.sum() < 0.5 * low.sum()


def test_same_seed_same_masks_and_no_global_randomness():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, again, other = (perlin_masks(8, (20, 28), generator=seeded(s)) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    kinds = {mask.numpy().tobytes() for mask in first if mask.any()}
    assert len(kinds) == first.flatten(1).any(1).sum() > 1  # every sample its own


# --- place -----------------------------------------------------------------------------------


@pytest.fixture
def batch():
    """Masks and labels of 8 samples, two of them with a real defect."""
    masks = torch.zeros(8, 1, 16, 16)
    masks[1, :, 2:7, 3:9], masks[5, :, :, :8] = 1, 1
    return masks, masks.flatten(1).any(1).long()


def make(batch, config=None, seed=0):
    return place(*batch, config or NoiseConfig(), seeded(seed))


def touched(made):
    """(2B, 1, h, w): the pixels that get noise."""
    where = torch.zeros(made.masks.shape).flatten()
    where[made.pixels] = 1
    return where.view(made.masks.shape) > 0


def test_noise_lies_inside_the_masks_and_never_on_real_defects(batch):
    made, real = make(batch), torch.cat((batch[0], batch[0])) > 0
    assert len(made.pixels.unique()) == len(made.pixels) > 0
    assert not (touched(made) & real).any()
    assert torch.equal(made.masks > 0, touched(made) | real)
    assert torch.equal(made.labels, made.masks.flatten(1).any(1).float())
    assert 0 < made.labels.sum() < 16


def test_a_defective_image_keeps_its_label_where_nothing_is_added(batch):
    masks, labels = batch
    made = make(batch, NoiseConfig(perlin_threshold=9))
    assert len(made.pixels) == 0
    assert torch.equal(made.labels, torch.cat((labels, labels)).float())
    assert torch.equal(made.masks, torch.cat((masks, masks)))


def test_half_masks_leave_the_first_half_clean(batch):
    masks, labels = batch
    made = make(batch, NoiseConfig(mask="half"))
    clean, noisy = touched(made).chunk(2)
    assert not clean.any()
    assert torch.equal(noisy, masks == 0)
    assert torch.equal(made.masks, torch.cat((masks, torch.ones_like(masks))))
    assert torch.equal(made.labels, torch.cat((labels.float(), torch.ones(8))))


def test_placement_repeats_for_a_seed(batch):
    first, again, other = (make(batch, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.masks, other.masks)
