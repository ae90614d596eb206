import pytest
import torch
import torch.nn.functional as F

from ssn_lib.config import ModelConfig
from ssn_lib.fast.interpolation import Grid, Upscaled, channels_last, convolve, pack


@pytest.fixture
def layers():
    """Two layers whose grids are no multiples of each other."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4, 7, 6), (3, 5, 4, 3))
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def features(make_model, layers, scale, align_corners):
    model = make_model(ModelConfig(upscale=scale, align_corners=align_corners))
    return model.upscale(layers)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_convolution_is_that_of_the_features_built(
    side, scale, align_corners, layers, make_model
):
    weight = torch.randn(2, 9, side, side, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(2, dtype=torch.float64)
    built = features(make_model, layers, scale, align_corners)
    expected = F.conv2d(built, weight, bias, padding=side // 2).permute(0, 2, 3, 1)

    folded = Upscaled(layers, scale, align_corners)
    assert (len(folded), folded.channels, folded.size) == (3, [4, 5], built.shape[-2:])
    got = folded.conv(weight) + bias
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)

    target = torch.randn_like(expected)
    (theirs,) = torch.autograd.grad((expected * target).sum(), weight)
    (ours,) = torch.autograd.grad((got * target).sum(), weight)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)

    # And without autograd, in one go: with its bias, into a place that is given.
    parts = channels_last(layers)
    grid = Grid([part.shape[1:3] for part in parts], scale, align_corners, layers[0])
    place = torch.empty_like(expected).contiguous()
    for count in (3, 1):
        given = [part[:count] for part in parts]
        weights = pack(weight.detach(), [4, 5])
        assert convolve(given, weights, grid, bias, out=place[:count]).shape == (
            count,
            *expected.shape[1:],
        )
        torch.testing.assert_close(place[:count], expected[:count].detach(), rtol=1e-10, atol=1e-10)


def test_the_features_themselves_are_a_convolution(layers, make_model):
    identity = torch.eye(9, dtype=torch.float64)[:, :, None, None]
    got = Upscaled(layers, 2, True).conv(identity).permute(0, 3, 1, 2)
    torch.testing.assert_close(got, features(make_model, layers, 2, True), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("align_corners", [True, False])
def test_moments_and_correlation_are_those_of_the_features_built(align_corners, layers, make_model):
    built = features(make_model, layers, 2, align_corners).permute(0, 2, 3, 1)
    rows = built.flatten(0, 2)
    folded = Upscaled(layers, 2, align_corners)
    mean, scatter = folded.moments(torch.float64)
    torch.testing.assert_close(mean, rows.mean(0), rtol=1e-10, atol=1e-10)
    away = rows - rows.mean(0)
    torch.testing.assert_close(scatter, away.T @ away, rtol=1e-10, atol=1e-10)

    other = torch.randn(*built.shape[:3], 3, dtype=torch.float64, requires_grad=True)
    target = torch.randn(9, 3, dtype=torch.float64)
    found = folded.correlation(other, torch.float64)
    expected = rows.T @ other.flatten(0, 2)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    (ours,) = torch.autograd.grad((found * target).sum(), other)
    (theirs,) = torch.autograd.grad((expected * target).sum(), other)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
