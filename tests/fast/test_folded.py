from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ssn_lib import fuse, predict, preset
from ssn_lib.config import ModelConfig
from ssn_lib.presets import PRESETS

CONFIGS = {preset.model: name for name, preset in reversed(PRESETS.items())}
CONFIGS[replace(preset("evolved").model, local_width=None)] = "evolved, its decoder alone"
ROUNDED = 0.2  # bfloat16 has three digits, and an untrained network's scores are sums near zero


@torch.no_grad()
def assert_same(model, images, tolerance, dense=False):
    """Map and score, relative to the scale of each."""
    fast = fuse(model, dense=dense)
    for ours, plain in zip(fast(images), model(images), strict=True):
        assert ours.shape == plain.shape
        assert plain.abs().max() > 0
        assert (ours - plain).abs().max() <= tolerance * plain.abs().max()
    return fast


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIGS.values())
def test_every_preset_gives_the_same_map_and_score(config, make_model, randomise_batchnorm):
    model = randomise_batchnorm(make_model(config))
    images = torch.randn(2, 3, 48, 64)
    assert_same(model, images, 1e-4)
    # In float64 only rounding is left: the algebra is exact.
    assert_same(model.double(), images.double(), 1e-11)
    assert_same(model, images.double(), 1e-11, dense=True)


@pytest.mark.parametrize("name", ["scenario_a", "gap_cam", "evolved"])
def test_a_whole_network_in_16_bits_is_near(name, make_model, randomise_batchnorm):
    model = randomise_batchnorm(make_model(preset(name).model))
    images = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        low = fuse(model).bfloat16()(images.bfloat16()).anomaly_map.float()
        plain = model(images).anomaly_map
    assert (low - plain).abs().max() <= ROUNDED * plain.abs().max()


@pytest.mark.parametrize("name", ["scenario_a", "gap_cam"])
def test_the_size_of_ksdd2(name, make_model, randomise_batchnorm):
    model = randomise_batchnorm(make_model(preset(name).model))
    assert_same(model, torch.randn(1, 3, 640, 232), 1e-4)


@settings(max_examples=10, deadline=None)
@given(
    backbone=st.sampled_from(["resnet18", "resnet50"]),
    layers=st.sampled_from([(2,), (2, 3), (1, 2, 3), (3, 4)]),
    size=st.tuples(st.integers(4, 7), st.integers(4, 7)),
    upscale=st.sampled_from([1, 2]),
    align_corners=st.booleans(),
    adaptor=st.sampled_from(["linear", "nonlinear"]),
    score=st.sampled_from(["plain", "adapted", "map_max", "cam"]),
    cam_pooling=st.sampled_from(["mean", "max", "mixed"]),
    batch=st.integers(1, 3),
)
def test_any_architecture(make_small_model, randomise_batchnorm, size, batch, **fields):
    model = randomise_batchnorm(make_small_model(ModelConfig(**fields))).double()
    images = torch.randn(batch, 3, 8 * size[0], 8 * size[1], dtype=torch.float64)
    assert_same(model, images, 1e-9)


def test_what_is_no_detector_is_refused(make_model, refusal):
    assert "_FusedHeads cannot be folded: it is folded already" in refusal(
        lambda: fuse(fuse(make_model()))
    )
    assert "Conv2d cannot be folded" in refusal(lambda: fuse(torch.nn.Conv2d(1, 1, 1)))


def test_one_network_serves_images_of_any_size(make_model):
    model = make_model()
    fast = assert_same(model, torch.randn(1, 3, 64, 64), 1e-4)
    with torch.no_grad():
        for size in ((96, 64), (64, 64)):
            images = torch.randn(1, 3, *size)
            torch.testing.assert_close(
                fast(images).anomaly_map, model(images).anomaly_map, rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIGS.values())
def test_a_model_in_training_is_folded_too_and_goes_on(config, make_model, randomise_batchnorm):
    model = randomise_batchnorm(make_model(config)).train()
    modes = [module.training for module in model.modules()]
    fast = fuse(model)
    assert [module.training for module in model.modules()] == modes
    assert not fast.training
    images = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        plain = model.eval()(images).anomaly_map
        assert (fast(images).anomaly_map - plain).abs().max() <= 1e-4 * plain.abs().max()


def test_the_model_is_left_as_it_is(make_model, same_bits):
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fast = fuse(model)
    assert same_bits(model.state_dict(), before)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        first = fast(images).score
        model.seg_head[0].weight.mul_(2)
        model.cls_head.conv[0].weight.mul_(2)
        assert torch.equal(fast(images).score, first)
    assert not any(parameter.requires_grad for parameter in fast.parameters())


@pytest.mark.parametrize("config", CONFIGS, ids=CONFIGS.values())
def test_under_autocast_the_weights_are_the_same_and_the_outputs_near(
    config, make_small_model, randomise_batchnorm, same_bits
):
    model = randomise_batchnorm(make_small_model(config))
    fast, images = fuse(model), torch.randn(2, 3, 48, 64)
    for dtype in (torch.bfloat16, torch.float16):
        with torch.no_grad(), torch.autocast("cpu", dtype):
            within = fuse(model)
            rounded = within(images)
        assert same_bits(within.state_dict(), fast.state_dict())
        with torch.no_grad():
            exact = within(images)  # after the other: it keeps nothing of that precision
            assert all(map(torch.equal, exact, fast(images)))
        for ours, precise in zip(rounded, exact, strict=True):
            assert ours.dtype == torch.float32
            assert (ours - precise).abs().max() <= ROUNDED * precise.abs().max()
        assert not torch.equal(rounded.anomaly_map, exact.anomaly_map)


def test_under_autocast_predict_folds_and_gives_float32(make_model):
    model = make_model()
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    exact = predict(model, images)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = predict(model, images)
    for ours, precise in zip(rounded, exact, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - precise).abs().max() <= ROUNDED * precise.abs().max()


def test_batchnorm_and_the_linear_adaptor_are_gone(make_model):
    for name, gone in (("scenario_a", True), ("scenario_b", False)):
        model = make_model(preset(name).model)
        fast = fuse(model)
        assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in fast.modules())
        assert (fast.adaptor is None) == gone
        count = sum(parameter.numel() for parameter in fast.parameters())
        assert count < sum(parameter.numel() for parameter in model.parameters())


def test_a_network_in_another_layout_or_upscale_is_not_mistaken(make_model):
    """The folded weights depend on the configuration: another one gives another map."""
    images = torch.randn(1, 3, 64, 64)
    one = make_model(ModelConfig())
    other = make_model(replace(ModelConfig(), align_corners=False))
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        assert not torch.allclose(fuse(one)(images).score, fuse(other)(images).score, rtol=1e-6)
