from dataclasses import replace

import numpy as np
import pytest
import torch

from ssn_lib import preset
from ssn_lib.distillation import Decoder, discrepancy, distillation_loss

SIDES = {1: (20, 15), 2: (10, 8), 3: (5, 4)}  # of odd images: halves are rounded up
CHANNELS = {1: 4, 2: 6, 3: 8}


def features(layers, batch=2, dtype=torch.float32):
    return [torch.randn(batch, CHANNELS[n], *SIDES[n], dtype=dtype) for n in layers]


@pytest.mark.parametrize("which", [(3,), (2, 3), (1, 3), (1, 2, 3)])
def test_what_comes_back_has_the_layers_shapes(which):
    layers = features(which)
    decoder = Decoder([CHANNELS[n] for n in which], width=16)
    assert [part.shape for part in decoder(layers)] == [layer.shape for layer in layers]


def test_everything_passes_the_bottleneck():
    """Two images that are the same behind it cannot be told apart by what is given back."""
    decoder = Decoder([6, 8], width=16).eval()
    one = features((2, 3), batch=1)
    other = [part.clone() for part in one]
    other[0][:, :, 0, 0] += 1
    other[0][:, :, 1, 0] -= 1  # the mean over the square of two is what is seen of it
    for ours, theirs in zip(decoder(one), decoder(other), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_map_is_the_angle_between_what_is_and_what_came_back():
    layers, rebuilt = features((2,), dtype=torch.float64), features((2,), dtype=torch.float64)
    found = discrepancy(layers, rebuilt)
    f, g = layers[0].numpy(), rebuilt[0].numpy()
    lengths = np.linalg.norm(f, axis=1) * np.linalg.norm(g, axis=1)
    np.testing.assert_allclose(found[:, 0], 1 - (f * g).sum(1) / lengths, rtol=0, atol=1e-12)


def test_what_is_given_back_whole_is_no_defect():
    layers = features((1, 2, 3))
    scaled = [3 * layer for layer in layers]
    assert discrepancy(layers, scaled).abs().max() < 1e-5
    assert discrepancy(layers, [-part for part in scaled]).sub(6).abs().max() < 1e-5
    assert distillation_loss(layers, scaled).abs() < 1e-5


def test_features_of_no_length_are_finite():
    layers = [torch.zeros(1, 6, 10, 8)]
    assert discrepancy(layers, features((2,), batch=1)).isfinite().all()
    assert distillation_loss(layers, layers).isfinite()


def test_the_loss_takes_a_layer_of_an_image_as_one_vector():
    layers, rebuilt = (features((2, 3), dtype=torch.float64) for _ in range(2))
    expected = 0.0
    for layer, given in zip(layers, rebuilt, strict=True):
        for f, g in zip(layer.numpy(), given.numpy(), strict=True):
            expected += 1 - (f * g).sum() / np.sqrt((f**2).sum() * (g**2).sum())
    assert distillation_loss(layers, rebuilt).item() == pytest.approx(expected / 2, abs=1e-12)


def test_the_decoder_is_no_larger_than_what_it_replaces(make_model):
    def trained(name):
        parts = make_model(preset(name).model).trained_parts()
        return sum(weight.numel() for part in parts for weight in part.parameters())

    assert trained("evolved") <= trained("scenario_a")
    narrow = make_model(replace(preset("evolved").model, decoder_width=64))
    assert sum(weight.numel() for weight in narrow.decoder.parameters()) < trained("evolved") / 4
