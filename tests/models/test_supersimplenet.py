import pytest
import torch
import torch.nn.functional as F
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.transforms import GaussianBlur

from ssn_lib import fuse
from ssn_lib.config import ModelConfig
from ssn_lib.errors import InputError
from ssn_lib.models.supersimplenet import blur, build
from ssn_lib.presets import PRESETS

CONFIGS = {
    preset.model: name
    for name, preset in reversed(PRESETS.items())
    if preset.model.score != "reconstruction"  # nothing published: see test_reconstruction.py
}
CASES = [(config, (64, 96)) for config in CONFIGS] + [(ModelConfig(), (80, 64))]


@pytest.mark.parametrize(
    ("name", "count"),
    [("baseline", 33_719_363), ("scenario_a", 4_560_579), ("scenario_b", 5_740_995)],
)
def test_parameter_counts_are_the_published_ones(name, count, make_model):
    model = make_model(PRESETS[name].model)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def published(config, resnet, state, images):
    """The published operations, spelled out: (map logits at image size, score logits)."""

    def batch_norm(x, name):
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(state[f"{name}.{part}"] for part in names))

    def conv(x, name, **options):
        return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)

    nodes = {f"layer{layer}": f"layer{layer}" for layer in config.layers}
    layers = list(create_feature_extractor(resnet, nodes)(images).values())
    plain = torch.cat(
        [
            F.interpolate(
                layer,
                size=[config.upscale * side for side in layers[0].shape[-2:]],
                mode="bilinear",
                align_corners=config.align_corners,
            )
            for layer in layers
        ],
        dim=1,
    )
    plain = torch.nn.AvgPool2d(3, 1, 1)(plain)
    if config.adaptor == "linear":
        adapted = conv(plain, "adaptor")
    else:
        adapted = batch_norm(conv(plain, "adaptor.0", padding=1), "adaptor.1").relu()
    if config.score == "cam":
        hidden = conv(adapted, "cls_head.conv.0", padding="same")
        hidden = batch_norm(hidden, "cls_head.conv.1").relu()
        weight, bias = state["cls_head.fc.weight"], state["cls_head.fc.bias"]
        map_logits = (hidden * weight.view(1, -1, 1, 1)).sum(1, keepdim=True)
    else:
        hidden = batch_norm(conv(adapted, "seg_head.0"), "seg_head.1")
        map_logits = conv(F.leaky_relu(hidden, 0.2), "seg_head.3")
    anomaly_map = F.interpolate(map_logits, size=images.shape[-2:], mode="bilinear")
    anomaly_map = GaussianBlur(25, 4)(anomaly_map)
    if config.score == "cam":
        gap = F.linear(F.adaptive_avg_pool2d(hidden, 1).flatten(1), weight, bias)[:, 0]
        peak = map_logits.flatten(1).max(1).values + bias
        return anomaly_map, {"mean": gap, "max": peak, "mixed": (gap + peak) / 2}[
            config.cam_pooling
        ]
    if config.score == "map_max":
        return anomaly_map, anomaly_map.flatten(1).max(dim=1).values
    seen = torch.cat((plain if config.score == "plain" else adapted, map_logits), dim=1)
    hidden = conv(seen, "cls_head.conv.0", padding="same")
    hidden = batch_norm(hidden, "cls_head.conv.1").relu().flatten(2)
    flat = map_logits.flatten(2)
    pooled = (hidden.max(2).values, hidden.mean(2), flat.max(2).values, flat.mean(2))
    score = F.linear(torch.cat(pooled, 1), state["cls_head.fc.weight"], state["cls_head.fc.bias"])
    return anomaly_map, score.squeeze(1)


@pytest.mark.parametrize(("config", "size"), CASES, ids=[*CONFIGS.values(), "upright"])
@torch.no_grad()
def test_forward_is_the_published_operations(config, size, make_model, randomise_batchnorm):
    torch.manual_seed(1)
    resnet = randomise_batchnorm(getattr(torchvision.models, config.backbone)()).eval()
    model = randomise_batchnorm(make_model(config))
    model.backbone.load(resnet.state_dict(), "test")
    images = torch.randn(2, 3, *size)
    expected_map, expected_score = published(config, resnet, model.trained_state(), images)
    got = model(images)
    assert got.anomaly_map.shape == (2, 1, *size)
    torch.testing.assert_close(got.anomaly_map, expected_map, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.score, expected_score, rtol=1e-4, atol=1e-4)
    assert got.score[0] != got.score[1]


@pytest.mark.parametrize("config", [ModelConfig(), ModelConfig(score="map_max")])
@torch.no_grad()
def test_an_image_is_judged_alone_as_in_a_batch(config, make_model):
    model = make_model(config)
    images = torch.randn(3, 3, 64, 64)
    together = model(images)
    for index in range(3):
        alone = model(images[index : index + 1])
        assert alone.score.shape == (1,)
        torch.testing.assert_close(alone.score[0], together.score[index], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            alone.anomaly_map[0], together.anomaly_map[index], rtol=1e-4, atol=1e-5
        )


@torch.no_grad()
def test_map_max_scores_the_maximum_of_the_final_map(make_model):
    prediction = make_model(ModelConfig(score="map_max"))(torch.randn(3, 3, 64, 64))
    assert torch.equal(prediction.score, prediction.anomaly_map.flatten(1).amax(1))


@pytest.mark.parametrize(
    "config", [ModelConfig(align_corners=False), ModelConfig(upscale=1), ModelConfig(layers=(2,))]
)
@torch.no_grad()
def test_every_feature_option_changes_the_features(config, make_model):
    images = torch.randn(1, 3, 64, 64)
    usual, other = (make_model(c).features(images) for c in (ModelConfig(), config))
    assert usual.shape != other.shape or not torch.allclose(usual, other)


@pytest.mark.parametrize("stop", [True, False])
def test_stop_map_gradient_decides_what_the_score_teaches_the_map(stop, make_model):
    model = make_model(ModelConfig(stop_map_gradient=stop))
    plain = torch.randn(2, 384, 8, 8)
    _, score = model.heads(plain, model.adaptor(plain))
    score.sum().backward()
    assert model.cls_head.fc.weight.grad.any()
    for part in (model.seg_head, model.adaptor):  # the score reads the plain features
        taught = [p.grad is not None and p.grad.any() for p in part.parameters() if p.ndim > 1]
        assert taught == [not stop] * len(taught)


@torch.no_grad()
def test_a_trained_state_is_taken_over_without_the_backbone(make_model, randomise_batchnorm):
    images = torch.randn(1, 3, 64, 64)
    trained = randomise_batchnorm(make_model())
    state = {name: value.clone() for name, value in trained.trained_state().items()}
    assert not any(name.startswith("backbone") for name in state)
    other = make_model(seed=1)
    other.backbone.load_state_dict(trained.backbone.state_dict())
    assert not torch.equal(other(images).score, trained(images).score)
    other.load_trained_state(state)
    assert torch.equal(other(images).score, trained(images).score)
    assert torch.equal(other(images).anomaly_map, trained(images).anomaly_map)


@pytest.mark.parametrize(
    ("theirs", "own"),
    [
        (ModelConfig(adaptor="nonlinear"), ModelConfig()),
        (ModelConfig(score="map_max"), ModelConfig()),
        (ModelConfig(), ModelConfig(score="map_max")),
        (ModelConfig(layers=(2,)), ModelConfig()),
    ],
)
def test_a_trained_state_of_another_architecture_is_refused(theirs, own, make_model):
    state = make_model(theirs).trained_state()
    with pytest.raises(InputError, match="trained weights do not fit") as raised:
        make_model(own).load_trained_state(state)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("size", [(25, 64), (16, 16), (13, 40)])
def test_blur_is_torchvisions(size):
    maps = torch.randn(2, 1, *size)
    torch.testing.assert_close(blur(maps, 4.0), GaussianBlur(25, 4)(maps), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (8, 8)])
def test_blur_of_a_side_shorter_than_the_kernel_keeps_a_constant(size):
    torch.testing.assert_close(
        blur(torch.full((1, 1, *size), 2.5), 4.0), torch.tensor(2.5).expand(1, 1, *size)
    )


@pytest.mark.parametrize(("kind", "scale"), [("xavier", 1.0), ("pytorch", 3**-0.5)])
def test_initial_weights_are_drawn_as_asked(kind, scale, make_model):
    weight = make_model(ModelConfig(initialisation=kind)).adaptor.weight  # 384 × 384
    assert weight.std().item() * 384**0.5 == pytest.approx(scale, rel=0.03)
    assert (weight.abs().max() > 3 * weight.std()) == (kind == "xavier")  # a normal one has tails


def test_a_new_network_answers_as_in_inference():
    model = build(ModelConfig(), None)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        first, again, fused = model(images), model(images), fuse(model)(images)
    assert torch.equal(first.anomaly_map, again.anomaly_map)
    torch.testing.assert_close(fused.anomaly_map, first.anomaly_map, rtol=1e-3, atol=1e-4)
