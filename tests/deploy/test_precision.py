from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from torch import nn

from ssn_lib import predict
from ssn_lib.deploy.precision import cost_of
from ssn_lib.models.supersimplenet import Prediction


class Shifted(nn.Module):
    """A network whose scores and maps are another one's, plus something."""

    def __init__(self, network, by):
        super().__init__()
        self.network, self.by = network, by

    def forward(self, images):
        return Prediction(*(part + self.by for part in self.network(images)))


class Brightness(nn.Module):
    """The image's brightness as the map, its maximum as the score."""

    def forward(self, images):
        maps = images.mean(1, keepdim=True)
        return Prediction(maps, maps.amax((1, 2, 3)))


class Darkness(nn.Module):
    def forward(self, images):
        maps = -images.mean(1, keepdim=True)
        return Prediction(maps, maps.amax((1, 2, 3)))


def test_a_shift_changes_no_metric_and_no_decision(dataset):
    cost = cost_of(Shifted(Brightness(), 2.0), Brightness(), dataset.train, dataset.test, 42)
    assert cost.changes == dict.fromkeys(("I-AUROC", "AUPRO", "AP-loc"), pytest.approx(0, abs=1e-3))
    assert cost.flipped == 0  # each by its own threshold
    assert cost.largest_score_change == pytest.approx(2.0, abs=1e-5)
    good = predict(Brightness(), dataset.train).score.numpy()
    assert cost.thresholds.score == pytest.approx(np.quantile(good, 0.99) + 2.0, abs=1e-4)
    assert not cost.beyond(0.01)


def test_what_another_network_loses_is_what_scikit_learn_says(dataset):
    cost = cost_of(Darkness(), Brightness(), dataset.train, dataset.test, 42)
    labels = dataset.test.labels
    before, after = (
        100 * roc_auc_score(labels, predict(network, dataset.test).score)
        for network in (Brightness(), Darkness())
    )
    assert cost.before["I-AUROC"] == pytest.approx(before)
    assert cost.changes["I-AUROC"] == pytest.approx(after - before)
    assert cost.beyond(0.3)["I-AUROC"] == pytest.approx(before - after)
    assert (cost.measured_on, cost.images) == ("test images", len(dataset.test))
    assert cost.step == pytest.approx(100 / (labels.sum() * (1 - labels).sum()))
    assert f"two that swap places count {cost.step:.2f}" in cost.refused(0.3)
    assert cost.refused(1000) is None


def test_without_defective_test_images_defects_are_drawn_into_good_ones(dataset):
    sound = replace(dataset, test=dataset.test.subset([]))
    cost = cost_of(Shifted(Brightness(), 0.5), Brightness(), sound.train, sound.test, 42)
    assert "imitated" in cost.measured_on
    assert cost.images == 2 * len(dataset.train)
    assert cost.before["I-AUROC"] is not None
