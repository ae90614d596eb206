import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ssn_lib import evaluate, image_metrics, machine, pixel_metrics, predict
from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.inference import thresholds
from ssn_lib.models.supersimplenet import Prediction


@pytest.fixture(scope="module")
def model(make_model, randomise_batchnorm):
    return randomise_batchnorm(make_model())


@pytest.fixture(scope="module")
def prediction(model, dataset):
    return predict(model, dataset.test)


def without_masks(images):
    return ImageSet(
        tuple(replace(sample, mask=None) for sample in images.samples), images.image_size
    )


def test_predict_is_the_model_on_normalised_images(model, dataset, prediction):
    model.train()
    again = predict(model, dataset.test)
    assert model.training  # as it was
    with torch.no_grad():
        expected = model.eval()(normalise(dataset.test.images))
    for got, same, stated in zip(prediction, again, expected, strict=True):
        assert torch.equal(got, same)
        torch.testing.assert_close(got, stated, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (torch.rand(1, 3, 32, 32), "float32 (1, 3, 32, 32); must be an ImageSet, or a tensor"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), "uint8 (3, 32, 32); must be"),
        (torch.zeros(1, 32, 32, 3, dtype=torch.uint8), "uint8 (1, 32, 32, 3); must be"),
        (np.zeros((1, 3, 32, 32), np.uint8), "ndarray; must be"),
        (torch.zeros(1, 3, 30, 32, dtype=torch.uint8), "image size 30×32: height and width must"),
    ],
)
def test_predict_refuses_what_are_no_images(pixels, found, model, refusal):
    assert found in refusal(lambda: predict(model, pixels))


@pytest.mark.parametrize("count", [1, 16, 17])
def test_predict_keeps_the_order_over_batches(count, model, dataset):
    images = dataset.test.images[torch.arange(count) % 6]
    got = predict(model, images)
    assert got.anomaly_map.shape == (count, 1, 32, 32)
    assert got.score.shape == (count,)
    whole = predict(model, dataset.test)
    expected = whole.score[torch.arange(count) % 6]
    torch.testing.assert_close(got.score, expected, rtol=1e-4, atol=1e-4)
    assert whole.score.unique().numel() == 6


def test_evaluate_is_the_metrics_called_directly(dataset):
    generator = torch.Generator().manual_seed(0)
    prediction = Prediction(
        torch.randn(6, 1, 32, 32, generator=generator), torch.randn(6, generator=generator)
    )
    prediction.anomaly_map[:2] -= 1  # the good images: the lowest maps with the highest peaks
    prediction.anomaly_map[:2, 0, 5, 5] = 10
    labels, maps = dataset.test.labels.numpy(), prediction.anomaly_map.numpy()
    expected = dict(image_metrics(prediction.score.numpy(), labels))
    expected |= pixel_metrics(maps, dataset.test.masks.numpy())
    of_maps = image_metrics([one.max() for one in maps], labels)
    expected |= {f"seg-{name}": value for name, value in of_maps.items()}
    measured = evaluate(prediction, dataset.test)
    assert dict(measured) == expected
    assert set(measured) == {
        "I-AUROC",
        "AP-det",
        "P-AUROC",
        "AUPRO",
        "AP-loc",
        "seg-I-AUROC",
        "seg-AP-det",
    }
    assert measured.undefined == {}


def test_evaluate_rewards_the_truth_and_tells_score_from_map(dataset):
    masks, labels = dataset.test.masks.float(), dataset.test.labels.float()
    perfect = evaluate(Prediction(masks, labels), dataset.test)
    assert all(value == pytest.approx(100) for value in perfect.values())
    inverted = evaluate(Prediction(masks, -labels), dataset.test)
    assert inverted["I-AUROC"] == 0
    assert inverted["seg-I-AUROC"] == 100


def test_without_masks_pixel_metrics_are_nan_with_a_reason(dataset, prediction):
    measured = evaluate(prediction, without_masks(dataset.test))
    pixel = {"P-AUROC", "AUPRO", "AP-loc"}
    assert {name for name, value in measured.items() if math.isnan(value)} == pixel
    assert set(measured.undefined) == pixel
    assert all("without masks" in why for why in measured.undefined.values())


def test_with_one_class_everything_is_nan_with_a_reason(dataset, prediction):
    good = dataset.test.subset([0, 1])
    measured = evaluate(Prediction(*(part[:2] for part in prediction)), good)
    assert all(math.isnan(value) for value in measured.values())
    assert set(measured.undefined) == set(measured)
    assert all(measured.undefined.values())


def test_thresholds_are_quantiles_of_the_good_images_alone(dataset, prediction):
    chosen = thresholds(prediction, dataset.test)  # its first two images are good
    scores, maps = prediction.score[:2].numpy(), prediction.anomaly_map[:2].numpy()
    assert chosen.score == pytest.approx(np.quantile(scores, 0.99))
    assert chosen.map == pytest.approx(np.quantile(maps, 0.999))
    far = Prediction(prediction.anomaly_map.clone(), prediction.score.clone())
    far.anomaly_map[2:] += 100
    far.score[2:] += 100
    assert thresholds(far, dataset.test) == chosen


@pytest.mark.parametrize("asked", [evaluate, thresholds])
def test_a_prediction_of_other_images_is_refused(asked, dataset, prediction, refusal):
    fewer = dataset.test.subset([0, 1])
    assert "6 images, and 2 images: they must be" in refusal(lambda: asked(prediction, fewer))
    assert refusal(lambda: asked(prediction, dataset)).startswith("images: Dataset; must be")


def test_a_prediction_with_gradients_is_evaluated(model, dataset, prediction):
    made = model.eval()(normalise(dataset.test.images))
    assert made.score.requires_grad
    assert evaluate(made, dataset.test) == pytest.approx(
        evaluate(prediction, dataset.test), rel=1e-4
    )


def test_thresholds_of_defective_images_alone_are_refused(dataset, prediction, refusal):
    defective = dataset.test.subset([2, 3])
    made = Prediction(prediction.anomaly_map[2:4], prediction.score[2:4])
    message = refusal(lambda: thresholds(made, defective))
    assert message == "thresholds are chosen from good images, and none of the 2 is one"


def test_products_on_a_gpu_are_exact_whoever_moved_the_model_there(monkeypatch):
    class OnGpu(torch.nn.Module):
        def parameters(self, recurse=True):
            return iter([SimpleNamespace(device=torch.device("cuda"))])

    class Exact(Exception):
        pass

    def exact():
        raise Exact

    monkeypatch.setattr(machine, "exact_float32", exact)
    with pytest.raises(Exact):
        predict(OnGpu(), torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
