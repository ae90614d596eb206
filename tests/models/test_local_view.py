import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssn_lib.config import LOCAL_WEIGHT
from ssn_lib.models.local_view import LEAST, STRIDE, LocalView
from ssn_lib.models.reconstruction import StandardScaler

SHAPES = ((6, 10, 8), (8, 5, 4))
CHANNELS = [shape[0] for shape in SHAPES]


def features(batch=2, dtype=torch.float32):
    return [torch.randn(batch, *shape, dtype=dtype) for shape in SHAPES]


def make(width=16, channels=CHANNELS):
    return LocalView([StandardScaler(count) for count in channels], width)


def standardise(view, layers):
    for standard, layer in zip(view.standards, layers, strict=True):
        standard.learn(layer)


def context_of(layers):
    return torch.rand(len(layers[0]), 1, *SHAPES[0][1:]).to(layers[0]) + 0.1


def test_a_place_is_judged_by_its_neighbours_alone(randomise_batchnorm):
    """A 3×3 square is averaged; the coarser layer's grid is interpolated."""
    view = randomise_batchnorm(make()).eval()
    layers = features(batch=1)
    other = [part.clone() for part in layers]
    other[0][:, :, 0, 0] += 5
    (error, expected), (theirs, their_expected) = view.errors(layers), view.errors(other)
    changed = (error - theirs).abs() + (expected - their_expected).abs()
    assert (changed[0, 0] > 1e-6).nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_the_error_is_the_share_of_the_variance_that_is_left():
    """Against the definition in the layers' own units; here nothing at all is given back."""
    layers = [3 + 2 * part for part in features(dtype=torch.float64)]
    layers[0][:, 1] *= 10  # a channel that varies more counts more
    view = make().double().eval()
    standardise(view, layers)
    for weight in view.out.parameters():
        torch.nn.init.zeros_(weight)
    error, _ = view.errors(layers)
    wanted = 0
    for layer in layers:
        mean, std = (f(layer.numpy(), axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.std))
        moved = layer - torch.from_numpy(mean)
        pooled = F.avg_pool2d(moved, 3, 1, 1, count_include_pad=False)
        fine = F.interpolate(pooled, size=SHAPES[0][1:], mode="bilinear", align_corners=False)
        wanted = wanted + (fine.numpy() ** 2).sum(1, keepdims=True) / (std**2).sum()
    np.testing.assert_allclose(error.detach(), wanted, rtol=1e-5)


def test_the_map_adds_both_views_logarithms_as_standard_deviations():
    layers, view = features(), make().eval()
    context = context_of(layers)
    view.usual.fill_(0.5)
    view.scale.running_mean.copy_(torch.tensor([0.3, -1.0]))
    view.scale.running_var.copy_(torch.tensor([4.0, 0.25]))
    error, expected = view.errors(layers)
    decoder = (context.log() - 0.3) / 2
    local = ((error / (expected + 0.5)).log() + 1) / 0.5
    torch.testing.assert_close(
        view(context, layers), decoder + LOCAL_WEIGHT * local, rtol=1e-4, atol=1e-4
    )


def test_training_remembers_how_both_views_spread_and_evaluation_changes_nothing(same_bits):
    layers, view = features(batch=8), make()
    standardise(view, layers)
    context = context_of(layers)
    for _ in range(200):
        view.loss(context, layers)
    with torch.no_grad():
        error, expected = view.errors(layers, STRIDE)
    ratio = error / (expected + expected.mean())
    logs = [part.flatten().log() for part in (context[..., ::STRIDE, ::STRIDE], ratio)]
    wanted = [f(part).item() for f in (torch.mean, torch.var) for part in logs]
    known = [*view.scale.running_mean.tolist(), *view.scale.running_var.tolist()]
    assert known == pytest.approx(wanted, rel=1e-3)
    assert view.usual.item() == pytest.approx(expected.mean().item(), 1e-3)
    before = {name: value.clone() for name, value in view.state_dict().items()}
    view.eval()
    view.loss(context, layers)
    view(context, layers)
    assert same_bits(view.state_dict(), before)


def test_it_learns_how_large_an_error_is_where():
    """Half of the places are noise, which no bottleneck of one value gives back."""
    torch.manual_seed(0)
    view = make(2, [8])
    layer = torch.randn(4, 8, 18, 18)
    layer[..., 9:] = 0.1 * layer[..., 9:] + 3
    standardise(view, [layer])
    context = torch.ones(4, 1, 18, 18)
    optimiser = torch.optim.AdamW(view.parameters(), 0.02)
    losses = []
    for _ in range(500):
        loss = view.loss(context, [layer])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    error, expected = view.eval().errors([layer])
    for columns in (slice(0, 8), slice(10, 18)):
        ratio = (error[..., columns].mean() / expected[..., columns].mean()).item()
        assert 1 / 3 < ratio < 3, columns
    assert error[..., :8].mean() > 5 * error[..., 10:].mean()


def test_every_second_place_is_judged_as_among_all():
    layers, view = features(), make().eval()
    for some, every in zip(view.errors(layers, STRIDE), view.errors(layers), strict=True):
        torch.testing.assert_close(some, every[..., ::STRIDE, ::STRIDE])


def test_what_is_expected_does_not_bend_what_is_rebuilt():
    layers, view = features(), make()
    _, expected = view.errors(layers)
    expected.sum().backward()
    assert view.expected.weight.grad is not None
    assert all(weight.grad is None for weight in view.hidden.parameters())


def test_an_error_of_nothing_has_a_finite_place_in_the_map():
    layers = [torch.zeros_like(part) for part in features()]
    view = make().eval()
    for weight in view.out.parameters():
        torch.nn.init.zeros_(weight)
    judged = view(torch.zeros(2, 1, *SHAPES[0][1:]), layers)
    assert judged.isfinite().all()
    assert judged.max().item() <= np.log(LEAST) * (1 - 1e-4)
    assert view.loss(judged, layers).isfinite()
