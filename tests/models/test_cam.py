import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import average_precision_score, jaccard_score, precision_score, recall_score

from ssn_lib import preset
from ssn_lib.config import ModelConfig
from ssn_lib.models.cam import CamHead
from ssn_lib.models.supersimplenet import CamDetector
from ssn_lib.runs.artifacts import over_flips, sigmoid_metrics
from ssn_lib.training.pseudo_masks import agreement, contrast, pseudo_masks, trace


@pytest.fixture
def head(request, randomise_batchnorm):
    torch.manual_seed(2)
    return randomise_batchnorm(CamHead(12, getattr(request, "param", "mean"))).double().eval()


FEATURES = torch.randn(3, 12, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_the_score_is_the_weighted_sum_of_the_pooled_activations(head):
    """s = Σ_k w_k · mean(A_k) + bias and M(i, j) = Σ_k w_k A_k(i, j), as the slides state them."""
    cam, score = head(FEATURES)
    activations, weights = head.conv(FEATURES), head.fc.weight[0]
    for image in range(3):
        stated = sum(w * activations[image, k].mean() for k, w in enumerate(weights)) + head.fc.bias
        assert score[image].item() == pytest.approx(stated.item(), rel=1e-12)
        at = sum(w * activations[image, k, 4, 2] for k, w in enumerate(weights))
        assert cam[image, 0, 4, 2].item() == pytest.approx(at.item(), rel=1e-12)
    torch.testing.assert_close(cam.mean((1, 2, 3)) + head.fc.bias, score, rtol=1e-12, atol=1e-12)
    assert cam.std() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("head", ["max", "mixed"], indirect=True)
def test_other_poolings_are_of_the_map(head):
    cam, score = head(FEATURES)
    pooled = cam.amax((1, 2, 3))
    if head.pooling == "mixed":
        pooled = (pooled + cam.mean((1, 2, 3))) / 2
    torch.testing.assert_close(score, pooled + head.fc.bias)


@torch.no_grad()
def test_the_whole_network_answers_with_map_and_score(make_model):
    model = make_model(preset("gap_cam").model)
    assert isinstance(model, CamDetector)
    prediction = model(torch.randn(2, 3, 48, 64))
    assert prediction.anomaly_map.shape == (2, 1, 48, 64)
    plain = model.features(torch.randn(2, 3, 48, 64))
    cam, score = model.heads(plain, model.adaptor(plain))
    torch.testing.assert_close(cam.mean((1, 2, 3)) + model.cls_head.fc.bias, score)


def test_the_score_alone_is_taught(make_model):
    model = make_model(preset("gap_cam").model)
    scores, labels = torch.tensor([0.0, 0.0]), torch.tensor([0.0, 1.0])
    maps = torch.full((2, 1, 3, 3), math.nan)
    loss = model.loss(maps, scores, torch.zeros(2, 1, 3, 3), labels, False)
    assert loss.item() == pytest.approx(0.5**4 * math.log(2))


def test_a_sigmoid_in_float32_ties_what_is_strongest():
    """Defect 30, the strongest sound pixels 20: apart as raw values, both 1.0 after a sigmoid."""
    maps = torch.randn(2, 1, 20, 20)
    masks = torch.zeros(2, 1, 20, 20, dtype=torch.uint8)
    masks[0, 0, 5:8, 5:8] = 1
    maps[masks == 1] = 30.0
    maps[1, 0, :3, :9] = 20.0
    result = sigmoid_metrics(maps, masks)
    truth = masks.flatten().numpy()
    squashed = torch.sigmoid(maps).flatten().numpy()
    expected = average_precision_score(truth, squashed)
    assert result["sigmoid-AP-loc"] == pytest.approx(100 * expected)
    assert average_precision_score(truth, maps.flatten().numpy()) == 1.0
    assert result["sigmoid-AP-loc"] == pytest.approx(100 * 9 / (9 + 27))
    assert result["saturated"] == pytest.approx(100 * (9 + 27) / 800)


def test_the_mean_over_flips_turns_with_the_image():
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(2, 3, 6, 8, generator=generator)
    kernel = torch.randn(1, 3, 3, 3, generator=generator)  # not symmetric

    def maps_of(batch):
        return torch.nn.functional.conv2d(batch, kernel, padding=1)

    averaged = over_flips(maps_of, images)
    for axes in ((-1,), (-2,), (-2, -1)):
        torch.testing.assert_close(
            over_flips(maps_of, images.flip(axes)), averaged.flip(axes), rtol=1e-5, atol=1e-5
        )
    assert not torch.allclose(maps_of(images), averaged)


def test_pseudo_masks_mark_what_is_confident():
    maps = torch.zeros(4, 1, 10, 10)
    maps[0, 0, 0, 0] = 1.0  # the strongest pixel of the sound images
    maps[2, 0, 3:5, 3:5] = 10.0
    maps[2, 0, 8, 8] = 3.0  # suspect, but far below the peak
    maps[3] = 0.5  # a defect that the map has not found
    masks, confident = pseudo_masks(maps, torch.tensor([0, 0, 1, 1]))
    assert confident.tolist() == [False, False, True, False]
    expected = np.zeros((4, 1, 10, 10))
    expected[2, 0, 3:5, 3:5] = 1
    assert (masks == expected).all()


def test_agreement_is_that_of_all_pixels_together():
    rng = np.random.default_rng(6)
    found, truth = rng.integers(0, 2, (2, 3, 1, 9, 8))
    flat = truth.ravel(), found.ravel()
    result = agreement(found, truth)
    assert result["precision"] == pytest.approx(100 * precision_score(*flat))
    assert result["recall"] == pytest.approx(100 * recall_score(*flat))
    assert result["IoU"] == pytest.approx(100 * jaccard_score(*flat))


def cracked(height=60, width=80, noise=4):
    """A grey plate with a dark line of two pixels across it, and its mask."""
    rng = np.random.default_rng(5)
    image = rng.normal(150, noise, (3, height, width))
    crack = np.zeros((height, width), dtype=bool)
    crack[28:30, 10:70] = True
    image[:, crack] -= 60
    return image.clip(0, 255).astype(np.uint8), crack


def test_a_region_is_traced_to_the_line_in_it_and_beyond():
    image, crack = cracked()
    region = np.zeros_like(crack)
    region[20:38, 30:50] = True  # a blob over a third of the line
    traced = trace(region, image)
    assert (traced & crack).sum() > 0.9 * crack.sum()
    near = ndimage.binary_dilation(crack, np.ones((3, 3)), iterations=2)  # it is smoothed
    assert not (traced & ~near).any()
    assert (region & ~near).any()
    # Another line, which the region does not touch, is none of its business.
    image[:, 50:52, 10:70] = 20
    assert not trace(region, image)[48:].any()


def test_a_region_in_which_nothing_stands_out_stays():
    region = np.zeros((40, 40), dtype=bool)
    region[10:20, 10:20] = True
    flat = np.full((3, 40, 40), 90, dtype=np.uint8)
    assert (trace(region, flat) == region).all()


def test_contrast_is_the_distance_from_the_median_around():
    image, _ = cracked(noise=0)
    image[0, 5, 5] += 30
    found = contrast(image)
    assert found[28, 40] == pytest.approx(60 * np.sqrt(3) * 0.64, rel=0.05)  # after smoothing
    assert found[5, 5] == pytest.approx(30 / (2 * np.pi), rel=0.05)
    assert found[50, 5] == 0


def test_an_ascent_and_a_foreign_teacher_are_refused():
    from ssn_lib.checks import check
    from ssn_lib.config import DataConfig, RunConfig
    from ssn_lib.errors import InputError
    from ssn_lib.overrides import override

    chosen = preset("gap_cam")
    config = RunConfig("gap_cam", DataConfig("d", "c"), ModelConfig(score="cam"), chosen.training)
    with pytest.raises(InputError, match="needs a segmentation head"):
        check(override(config, ["training.noise.source=ascent"]))
    with pytest.raises(InputError, match="without a teacher"):
        check(override(config, ["training.supervision.pseudo_masks=traced"]))
    for teacher in ("scenario_a", "mixed_ssn", "cam_refined"):
        with pytest.raises(InputError, match="learns from labels alone"):
            check(override(config, [f"training.supervision.teacher={teacher}"]))
