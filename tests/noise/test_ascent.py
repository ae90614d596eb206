import copy
import math
from dataclasses import replace

import pytest
import torch

from ssn_lib.config import NoiseConfig
from ssn_lib.noise.sources import make_source


@pytest.fixture
def model(adapted, randomise_batchnorm):
    """That of the adapted features, its segmentation head as if trained."""
    randomise_batchnorm(adapted[0].seg_head)
    return adapted[0]


@pytest.mark.usefixtures("model")
def test_lies_in_the_shell(draw):
    noise = draw(NoiseConfig(source="ascent", std=0.02)).values
    radius = 0.02 * math.sqrt(384)
    length = noise.norm(dim=1)
    assert (length > radius * 0.999).all()
    assert (length < 2 * radius * 1.001).all()


def test_looks_more_normal_than_the_noise_it_starts_from(model, adapted, draw, pixels):
    """Noise of the same length that was not moved has higher logits."""
    config = NoiseConfig(source="ascent", std=0.1)
    config = replace(config, ascent=replace(config.ascent, shell=(1.0, 1.0)))
    still = replace(config, ascent=replace(config.ascent, steps=0))
    rows = adapted[1].flatten(0, 2)
    rows = rows[pixels % len(rows)]
    with torch.no_grad():
        moved, start = (
            model.seg_head((rows + draw(c).values)[:, :, None, None]).flatten()
            for c in (config, still)
        )
    assert (moved < start).float().mean() > 0.95


def test_leaves_the_head_alone(model, draw):
    model.seg_head.train()
    before = copy.deepcopy(model.seg_head.state_dict())
    noise = draw(NoiseConfig(source="ascent"))
    assert model.seg_head.training
    assert not noise.values.requires_grad
    for name, value in model.seg_head.state_dict().items():
        assert torch.equal(value, before[name])
    source = make_source(NoiseConfig(source="ascent"), model, seed=0)
    assert list(source.parameters()) == []


@pytest.mark.usefixtures("model")
def test_a_step_is_a_share_of_the_expected_length(draw):
    config = NoiseConfig(source="ascent", std=0.1)
    free = replace(config.ascent, step_size=0.2, shell=(1e-6, 1e6))
    moved, still = (
        draw(replace(config, ascent=replace(free, steps=steps))).values for steps in (1, 0)
    )
    length = (moved - still).norm(dim=1)
    expected = torch.full_like(length, 0.2 * 0.1 * math.sqrt(384))
    torch.testing.assert_close(length, expected, rtol=1e-3, atol=1e-4)
