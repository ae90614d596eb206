"""Peers on the tiny data set; what needs anomalib is asked where it is installed:
`PYTHONPATH=.peer .venv/bin/python -m pytest tests/study/peers`."""

import pytest
import torch
import torchvision

from ssn_lib.data.images import normalise
from ssn_lib.data.loading import load_dataset
from ssn_lib.errors import InputError
from ssn_lib.study.costs.records import Spread
from ssn_lib.study.peers import measuring, methods
from ssn_lib.study.peers.records import TITLES, read_peers


@pytest.fixture
def weights(tmp_path):
    """A file of a ResNet18 of chance."""
    torch.manual_seed(0)
    path = tmp_path / "resnet18_layers123.pth"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


def test_every_peer_has_a_title_and_a_way_to_fit_it():
    assert TITLES.keys() == methods.METHODS.keys()


def test_an_unknown_peer(mvtec_root, tmp_path):
    with pytest.raises(InputError, match="--only padin: no such peer; there are patchcore, "):
        measuring.measure_all(["padin"], "mvtec_ad", mvtec_root, "widget", tmp_path)


@pytest.mark.filterwarnings("ignore")  # anomalib's and its dependencies' own
@pytest.mark.parametrize("name", TITLES)
def test_a_peer_is_fitted_once_and_kept(name, mvtec_root, tmp_path, weights, monkeypatch):
    pytest.importorskip("anomalib")
    monkeypatch.setattr(methods, "STFPM_EPOCHS", 1)
    monkeypatch.setattr(methods, "CORESET", 0.2)
    monkeypatch.setattr(measuring, "_latency", lambda *_: (Spread(1.0, 1.0, 1.0),) * 2)
    asked = ([name], "mvtec_ad", mvtec_root, "widget", tmp_path / "runs")
    (record,) = measuring.measure_all(*asked, weights=weights)
    assert 0 <= record.metrics["I-AUROC"] <= 100
    assert len(record.scores) > 1
    assert len(set(record.scores.values())) > 1
    assert record.fit_s > 0
    monkeypatch.setattr(measuring, "fit", None)
    assert measuring.measure_all(*asked, weights=weights) == [record]
    assert read_peers(tmp_path / "runs") == [record]


@pytest.mark.filterwarnings("ignore")
def test_an_image_in_the_memory_is_near_to_it(mvtec_root, weights, monkeypatch):
    """With a memory of all features an image that it knows has a map of zeros."""
    pytest.importorskip("anomalib")
    images = load_dataset("mvtec_ad", mvtec_root, category="widget", image_size=(64, 64)).train
    known = images.sound().images[:2]
    monkeypatch.setattr(methods, "SHARE", 1.0)
    fitted = methods.fit("patchcore_random", known, weights, 0)
    noise = torch.randint(0, 256, known.shape, dtype=torch.uint8)
    made = fitted(normalise(torch.cat((known, noise))))
    assert made.anomaly_map.shape == (4, 1, 64, 64)
    assert made.anomaly_map[:2].max() < 0.05 * made.anomaly_map[2:].max()
    assert made.score[:2].max() < 0.05 * made.score[2:].min()


@pytest.mark.parametrize("count", [0, -5])
def test_so_few_images_are_none(count, mvtec_root, tmp_path):
    with pytest.raises(InputError, match=f"--good-images {count}: at least one"):
        measuring.measure_all(
            ["padim"], "mvtec_ad", mvtec_root, "widget", tmp_path, good_images=count
        )
