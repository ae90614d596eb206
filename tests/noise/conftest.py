import pytest
import torch

from ssn_lib import machine
from ssn_lib.noise.sources import make_source


@pytest.fixture
def pixels():
    """Of two images on a 16×16 grid, in both copies."""
    return torch.arange(0, 2 * 2 * 16 * 16, 3)


@pytest.fixture
def adapted(make_model):
    """A model and its adapted features of two random images, (2, 16, 16, 384)."""
    model = make_model()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return model, model.adaptor(model.features(images)).permute(0, 2, 3, 1)


@pytest.fixture
def draw(adapted, pixels):
    """draw(config): noise at those pixels, or at others."""
    model, features = adapted

    def drawn(config, where=pixels, seed=0):
        source = make_source(config, model, seed=5)
        return source(lambda: features, where, machine.generator("cpu", seed))

    return drawn
