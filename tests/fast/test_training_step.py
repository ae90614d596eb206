"""The split step against the plain one: the same loss and gradients, in float64."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from ssn_lib import preset
from ssn_lib.config import ModelConfig, NoiseConfig
from ssn_lib.fast import interpolation, training_step
from ssn_lib.fast.interpolation import Upscaled
from ssn_lib.losses import detection_loss
from ssn_lib.noise.perlin import place

SIMPLENET = preset("simplenet").model
MODELS = {
    "scenario A": ModelConfig(),
    "ICPR": ModelConfig(score="adapted"),
    "anomalib's corners": ModelConfig(align_corners=False),
    "scenario B": preset("scenario_b").model,
    "scenario B, ICPR": replace(preset("scenario_b").model, score="adapted"),
    "SimpleNet": SIMPLENET,
    "three layers": ModelConfig(layers=(1, 2, 3)),
    "gradient through the map": ModelConfig(stop_map_gradient=False),
    "GAP + CAM": ModelConfig(score="cam"),
    "CAM, mixed pooling, scenario B": replace(
        preset("scenario_b").model, score="cam", cam_pooling="mixed"
    ),
}


@pytest.fixture
def batch():
    """Three images, not square, one with a real defect, and its noise."""
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(3, 3, 48, 64, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0.0, 1.0, 0.0])
    return images, labels, generator


def perturbation(masks, labels, channels, generator, config=None):
    """Placement and noise, in float64."""
    placed = place(masks, labels, config or NoiseConfig(), generator)
    shape = (len(placed.pixels), channels)
    noise = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return placed, noise


def plain_step(model, images, pixels, noise):
    """Everything duplicated and built at full size, as the method is stated."""
    plain = model.features(images)
    adapted = model.adaptor(plain)

    def perturbed(features):
        both = torch.cat((features, features)).permute(0, 2, 3, 1)
        flat = both.flatten(0, 2).index_add(0, pixels, noise)
        return flat.view(both.shape).permute(0, 3, 1, 2)

    return model.heads(perturbed(plain), perturbed(adapted))


def split_step(model, images, pixels, noise):
    layers = model.backbone(images)
    features = Upscaled(layers, model.config.upscale, model.config.align_corners)
    return training_step.heads(
        model, features, training_step.adapt(model.adaptor, features), pixels, noise
    )


@pytest.fixture(params=["in pieces", "at once"])
def pieces(request, monkeypatch):
    """As on a CPU, here in pieces that are less than an image, and as on a GPU."""
    monkeypatch.setattr(training_step, "CHUNK", 50)
    if request.param == "at once":
        for name in ("_pieces", "_images"):
            monkeypatch.setattr(training_step, name, lambda *tensors: [tensors])
        monkeypatch.setattr(interpolation, "_chunks", lambda batch: [slice(0, len(batch))])


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("mask", ["perlin", "half"])
@pytest.mark.parametrize("name", MODELS)
def test_loss_gradients_and_statistics_are_the_plain_steps(
    name, mask, batch, make_small_model, randomise_batchnorm
):
    images, labels, generator = batch
    results = []
    for step in (plain_step, split_step):
        model = randomise_batchnorm(make_small_model(MODELS[name])).double().train()
        grid = model.features(images[:1]).shape[1:]
        masks = torch.zeros(3, 1, *grid[1:])
        masks[1, :, 2:5, 3:9] = 1
        generator.manual_seed(7)
        placed, noise = perturbation(masks, labels, grid[0], generator, NoiseConfig(mask=mask))
        logits = step(model, images, placed.pixels, noise)
        detection_loss(*logits, placed.masks.double(), placed.labels.double(), True).backward()
        results.append((model, logits))
    (plain, expected), (fast, logits) = results
    for a, b in zip(logits, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    parameters = dict(fast.named_parameters())
    moved = 0
    for key, parameter in plain.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(
                parameters[key].grad, parameter.grad, rtol=1e-8, atol=1e-10, msg=key
            )
            moved += parameter.grad.abs().max() > 1e-6
    assert moved >= 5  # the comparison can tell
    states = fast.state_dict()
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(states[key], value, rtol=1e-9, atol=1e-9, msg=key)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_eval_mode_uses_the_running_statistics(name, batch, make_small_model, randomise_batchnorm):
    images, labels, generator = batch
    model = randomise_batchnorm(make_small_model(MODELS[name])).double().eval()
    grid = model.features(images).shape[1:]
    masks = torch.zeros(3, 1, *grid[1:])
    placed, noise = perturbation(masks, labels, grid[0], generator)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for a, b in zip(
        split_step(model, images, placed.pixels, noise),
        plain_step(model, images, placed.pixels, noise),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.usefixtures("pieces")
def test_gradient_of_the_noise(batch, make_model):
    """A learned noise source needs it."""
    images, labels, generator = batch
    gradients = []
    for step in (plain_step, split_step):
        model = make_model().double().train()
        grid = model.features(images[:1]).shape[1:]
        generator.manual_seed(7)
        masks = torch.zeros(3, 1, *grid[1:])
        placed, noise = perturbation(masks, labels, grid[0], generator)
        noise.requires_grad_()
        map_logits, score = step(model, images, placed.pixels, noise)
        (map_logits.square().mean() + score.square().mean()).backward()
        gradients.append(noise.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-8, atol=1e-12)
    assert gradients[0].abs().max() > 1e-8


def test_no_noise_at_all(batch, make_model):
    images, labels, generator = batch
    model = make_model().double().train()
    nothing = NoiseConfig(perlin_threshold=9)
    masks = torch.zeros(3, 1, 12, 16)
    placed, noise = perturbation(masks, labels, 384, generator, nothing)
    assert len(placed.pixels) == 0
    results = []
    for step in (split_step, plain_step):
        model.zero_grad()
        logits = step(model, images, placed.pixels, noise)
        sum(part.square().mean() for part in logits).backward()
        gradients = [w.grad.clone() for part in model.trained_parts() for w in part.parameters()]
        results.append((*logits, *gradients))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_in_float32_the_statistics_hold_far_from_zero(make_model):
    """They are made of sums of squares, of features far from zero. Against the whole matrix: at the
    border, where pooling takes in zeros, all channels fall together, and a channel in which that
    cancels keeps what rounding leaves, more or less of it by the processor."""
    layers = [torch.rand(2, 128, 8, 8) + 10, torch.rand(2, 256, 4, 4) + 10]
    model = make_model().train()
    noise = torch.randn(5, 384)
    found = []
    for dtype in (torch.float32, torch.float64):
        features = Upscaled([layer.to(dtype) for layer in layers], 2, True)
        adapted = training_step.adapt(model.to(dtype).adaptor, features)
        found.append(training_step._moments(adapted, torch.arange(5), noise.to(dtype), dtype)[1])
    assert (found[0] - found[1]).norm() / found[1].norm() < 2e-5


def test_where_several_pixels_are_highest_the_weights_get_the_plain_gradients():
    """One of them stands for all, which makes no difference: they are equal."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randint(-2, 3, (2, 3, 4, 5), generator=generator).double().requires_grad_()
    weight = torch.tensor([1.0, -1.0, 0.5, 2.0, 1.0], dtype=torch.float64, requires_grad=True)
    shift = torch.tensor([0.0, 0.3, 0.1, 0.0, -9.0], dtype=torch.float64, requires_grad=True)
    highest, average, *_ = training_step._Pooled.apply(hidden, weight, shift, 1e-5)
    images = hidden.permute(0, 3, 1, 2)
    plain = torch.relu(F.batch_norm(images, None, None, weight, shift, training=True))
    results = []
    for high, middle in ((highest, average), (plain.amax((2, 3)), plain.mean((2, 3)))):
        loss = (high * torch.arange(1, 6)).sum() + middle.square().sum()
        on_hidden, *others = torch.autograd.grad(loss, (hidden, weight, shift))
        by_value = [on_hidden[hidden == value].sum() for value in range(-2, 3)]
        results.append((high, middle, *others, torch.stack(by_value)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
