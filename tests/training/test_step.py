"""Both forms of a training step: the same logits, noise and gradients, in float64."""

from dataclasses import replace

import pytest
import torch

from ssn_lib import preset
from ssn_lib.fast.training_step import split_form
from ssn_lib.noise.perlin import place
from ssn_lib.noise.sources import make_source
from ssn_lib.training.step import plain

PRESETS = (
    "simplenet",
    "scenario_a",
    "scenario_a_relative",
    "scenario_b",
    "learned_noise_v1",
    "learned_noise_v2",
    "gradient_ascent",
    "gap_cam",
    "weak_ssn",
    "cam_traced",
)


def forward(form, name, make_small_model, randomise_batchnorm, dtype=torch.float64):
    """Logits, loss and gradients of one form on three images, one with a real defect."""
    chosen = preset(name)
    model = randomise_batchnorm(make_small_model(chosen.model)).to(dtype).train()
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(3, 3, 48, 64, generator=generator, dtype=dtype)
    layers = model.backbone(images)
    size = tuple(side * model.config.upscale for side in layers[0].shape[-2:])
    masks, labels = torch.zeros(3, 1, *size), torch.tensor([0.0, 1.0, 0.0])
    masks[1, :, 2:4, 2:5] = 1
    noise = replace(chosen.training.noise, perlin_threshold=0.1)
    placed = place(masks, labels, noise, generator)
    masks, labels = placed.masks.to(dtype), placed.labels.to(dtype)
    source = make_source(noise, model, seed=0).to(dtype)

    def exact(*given):  # Gaussian noise is drawn in float32
        made = source(*given)
        return made._replace(values=made.values.to(dtype))

    logits = form(model, layers, placed.pixels, exact, torch.Generator().manual_seed(5), dtype)
    loss = model.loss(logits.map, logits.score, masks, labels, chosen.training.focal)
    loss.backward()
    trained = [weight for part in model.trained_parts() for weight in part.parameters()]
    gradients = [weight.grad for weight in (*trained, *source.parameters())]
    return logits, loss, gradients, len(placed.pixels)


@pytest.mark.parametrize("name", PRESETS)
def test_both_forms_are_one_step(name, make_small_model, randomise_batchnorm):
    (slow, loss, gradients, count), (fast, fast_loss, fast_gradients, _) = (
        forward(form, name, make_small_model, randomise_batchnorm) for form in (plain, split_form)
    )
    assert count > 50
    torch.testing.assert_close(fast_loss, loss, rtol=1e-9, atol=1e-11)
    for a, b in zip(fast[:3], slow[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(fast.adapted(), slow.adapted(), rtol=1e-9, atol=1e-9)
    moved = 0
    for ours, expected in zip(fast_gradients, gradients, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-9)
        moved += expected.abs().max() > 1e-6
    assert moved >= 3  # the comparison can tell


@pytest.mark.parametrize("name", ["scenario_a", "scenario_b", "gap_cam"])
def test_the_plain_form_in_low_precision_is_near(name, make_small_model, randomise_batchnorm):
    def low(*given):
        return plain(*given[:-1], torch.bfloat16)

    exact, loss, *_ = forward(plain, name, make_small_model, randomise_batchnorm, torch.float32)
    near, near_loss, *_ = forward(low, name, make_small_model, randomise_batchnorm, torch.float32)
    assert near.map.dtype == near.score.dtype == torch.float32
    torch.testing.assert_close(near_loss, loss, rtol=0.05, atol=0.01)
    assert not torch.equal(near.score, exact.score)
