from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ssn_lib import preset
from ssn_lib.models.reconstruction import Decoder, loss_of, sum_of, top_mean
from ssn_lib.models.supersimplenet import final_map

SIDES = {1: (20, 15), 2: (10, 8), 3: (5, 4)}  # of odd images: halves are rounded up
CHANNELS = {1: 4, 2: 6, 3: 8}


def features(layers, batch=2, dtype=torch.float32):
    return [torch.randn(batch, CHANNELS[n], *SIDES[n], dtype=dtype) for n in layers]


def make(layers=(2, 3), width=16):
    return Decoder([CHANNELS[n] for n in layers], width).eval()


@pytest.mark.parametrize("which", [(3,), (2, 3), (1, 3), (1, 2, 3)])
def test_what_comes_back_has_the_layers_shapes(which):
    layers, decoder = features(which), make(which)
    assert [part.shape for part in decoder.rebuild(layers)] == [part.shape for part in layers]
    assert decoder(layers).shape == (2, 1, *SIDES[which[0]])


def test_everything_passes_the_bottleneck():
    """Two images that are the same behind it cannot be told apart by what is given back."""
    one = features((2, 3), batch=1)
    other = [part.clone() for part in one]
    other[0][:, :, 0, 0] += 1
    other[0][:, :, 1, 0] -= 1  # the mean over the square of two is what is seen of it
    decoder = make()
    for ours, theirs in zip(decoder.rebuild(one), decoder.rebuild(other), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert (decoder(one) - decoder(other)).abs().max() > 0.1


def test_an_error_is_the_share_of_the_variance_that_is_left():
    """Against the definition, in the layers' own units."""
    layers = [3 + 2 * part for part in features((2, 3), dtype=torch.float64)]
    layers[0][:, 1] *= 10  # a channel that varies more counts more
    decoder = make().double()
    decoder.standardise(layers)
    wanted = [s(layer) for s, layer in zip(decoder.standards, layers, strict=True)]
    rebuilt = decoder.rebuild(wanted)
    for error, layer, back in zip(decoder.errors(layers), layers, rebuilt, strict=True):
        f = layer.numpy()
        mean, std = (part(f, axis=(0, 2, 3), keepdims=True) for part in (np.mean, np.std))
        g = back.detach().numpy() * std + mean
        expected = ((f - g) ** 2).sum(1) / (std**2).sum()
        np.testing.assert_allclose(error.detach()[:, 0], expected, rtol=1e-5)


def test_who_knows_the_means_alone_has_a_loss_of_one_a_layer():
    layers, decoder = features((1, 2, 3)), make((1, 2, 3))
    decoder.standardise(layers)
    for out in decoder.outs:
        torch.nn.init.zeros_(out.weight)
        torch.nn.init.zeros_(out.bias)
    assert loss_of(decoder.errors(layers)).item() == pytest.approx(3, rel=1e-5)


def test_the_map_is_the_sum_of_the_layers_errors():
    layers, decoder = features((1, 3)), make((1, 3))
    fine, coarse = decoder.errors(layers)
    upscaled = F.interpolate(coarse, size=SIDES[1], mode="bilinear", align_corners=False)
    torch.testing.assert_close(decoder(layers), fine + upscaled)


def test_a_dead_channel_is_no_error():
    layers, decoder = features((2, 3)), make()
    layers[0][:, 2] = 0.5
    decoder.standardise(layers)
    assert decoder(layers).isfinite().all()
    assert loss_of(decoder.errors(layers)).isfinite()


def test_a_channel_that_wakes_up_does_not_drown_the_others():
    """Always 0 in training, and 0.02 at one place later: on an even surface that is no defect."""
    layers, decoder = features((2, 3)), make()
    layers[0][:, 2] = 0.0
    decoder.standardise(layers)
    woken = [layer.clone() for layer in layers]
    woken[0][0, 2, 3, 3] = 0.02
    standards = decoder.standards[0]
    assert standards(woken[0])[0, 2, 3, 3].abs() < 5
    torch.testing.assert_close(decoder(woken), decoder(layers), rtol=0.2, atol=0.2)


def test_the_score_is_the_mean_of_the_highest_pixels():
    maps = torch.arange(2000.0).view(1, 1, 40, 50)
    assert top_mean(maps, 0.002).tolist() == [(1999 + 1998 + 1997 + 1996) / 4]
    assert top_mean(maps[..., :2, :5], 0.002).tolist() == [54.0]


def test_the_decoder_is_no_larger_than_what_it_replaces(make_model):
    def trained(name):
        parts = make_model(preset(name).model).trained_parts()
        return sum(weight.numel() for part in parts for weight in part.parameters())

    assert trained("evolved") <= trained("scenario_a")
    narrow = make_model(replace(preset("evolved").model, decoder_width=64))
    assert sum(weight.numel() for weight in narrow.decoder.parameters()) < trained("evolved") / 4


@torch.no_grad()
def test_both_views_of_evolved_learn_and_judge(make_small_model, randomise_batchnorm):
    model = randomise_batchnorm(make_small_model(preset("evolved").model))
    images = torch.randn(4, 3, 64, 96)
    layers = model.backbone(images)
    model.standardise(layers)
    errors = model.decoder.errors(layers)
    both = loss_of(errors) + model.local.loss(sum_of(errors), layers)
    torch.testing.assert_close(model.loss(layers), both)
    expected = final_map(model.local(sum_of(errors), layers), images)
    torch.testing.assert_close(model(images).anomaly_map, expected)
    for own, theirs in zip(model.local.standards, model.decoder.standards, strict=True):
        assert own.mean.any()
        assert torch.equal(own.mean, theirs.mean)


@torch.no_grad()
def test_the_decoder_is_the_stated_operations(randomise_batchnorm):
    layers, decoder = features((2, 3)), randomise_batchnorm(make((2, 3)))

    def block(x, conv, norm, stride=1):
        x = F.conv2d(x, conv.weight, stride=stride, padding=conv.weight.shape[-1] // 2)
        return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    scaled = [standard(layer) for standard, layer in zip(decoder.standards, layers, strict=True)]
    x = torch.cat((F.avg_pool2d(scaled[0], 2), scaled[1]), 1)
    x = block(block(x, *decoder.mix[:2]).relu(), *decoder.squeeze[:2], stride=2).relu()
    rebuilt = decoder.rebuild(layers)[::-1]
    for back, stage, out in zip(rebuilt, decoder.stages, decoder.outs, strict=True):
        x = block(F.interpolate(x, size=back.shape[-2:], mode="nearest"), *stage[0][:2]).relu()
        inner = stage[1].convolutions
        x = (x + block(block(x, *inner[0][:2]).relu(), *inner[1:])).relu()
        torch.testing.assert_close(back, out(x), rtol=1e-4, atol=1e-5)
