import torch

from ssn_lib import machine
from ssn_lib.config import NoiseConfig
from ssn_lib.noise.sources import make_source


def test_has_the_asked_for_spread(draw, pixels):
    noise = draw(NoiseConfig(std=0.3))
    assert noise.values.shape == (len(pixels), 384)
    assert abs(noise.values.std().item() / 0.3 - 1) < 0.02
    assert abs(noise.values.mean().item()) < 0.01
    torch.testing.assert_close(noise.power, noise.values.square().mean())


def test_counts_in_the_features_spread(adapted, draw):
    spread = adapted[1].std().item()
    noise = draw(NoiseConfig(std=0.5, std_unit="feature"))
    assert abs(noise.values.std().item() / (0.5 * spread) - 1) < 0.02


def test_an_absolute_spread_builds_no_features(make_model, pixels):
    source = make_source(NoiseConfig(), make_model(), seed=0)

    def features():
        raise AssertionError("built")

    assert len(source(features, pixels, machine.generator("cpu", 0)).values) == len(pixels)


def test_no_pixels_no_power(draw, pixels):
    noise = draw(NoiseConfig(), pixels[:0])
    assert noise.values.shape == (0, 384)
    assert noise.power == 0
