import shutil

import pytest
import torch

from ssn_lib.data.loading import load_dataset
from ssn_lib.errors import InputError
from ssn_lib.models.weights import find_weights
from ssn_lib.study.gpu import packing
from ssn_lib.study.gpu.packing import pack


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A weights file, and sets and sizes small enough for tests."""
    monkeypatch.setattr(packing, "PUBLISHED_SIZE", (32, 32))
    monkeypatch.setattr(packing, "KSDD2_SIZE", (40, 24))
    monkeypatch.setattr(packing, "SETS", {"widget": "mvtec_ad", "ksdd2": "ksdd2"})
    weights = tmp_path / "weights" / "resnet18_layers123.pth"
    weights.parent.mkdir()
    torch.save({}, weights)
    return weights


@pytest.mark.filterwarnings("ignore:.*not KolektorSDD2 as published")
def test_what_is_packed_is_what_training_reads(small, mvtec_root, ksdd2_root, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(mvtec_root, root)
    shutil.copytree(ksdd2_root, root / "strips")
    megabytes = pack(tmp_path / "carry", root, small, ("widget", "ksdd2"))
    assert 0 < megabytes < 1
    for name, category, size in (("mvtec_ad", "widget", (32, 32)), ("ksdd2", None, (40, 24))):
        first, again = (
            load_dataset(name, place, category=category, image_size=size, resize="plain")
            for place in (root, tmp_path / "carry")
        )
        for ours, theirs in ((again.train, first.train), (again.test, first.test)):
            assert torch.equal(ours.images, theirs.images)
            assert torch.equal(ours.masks, theirs.masks)
            assert torch.equal(ours.labels, theirs.labels)
            assert ours.splits.keys() == theirs.splits.keys()
    assert (tmp_path / "carry" / small.name).exists()


def test_weights_of_any_name_are_found_again(small, mvtec_root, tmp_path):
    own = small.rename(small.with_name("mine.pth"))
    pack(tmp_path / "carry", mvtec_root, own, ("widget",))
    assert find_weights("resnet18", tmp_path / "carry").name == small.name


def test_packing_again_replaces_and_a_strange_folder_is_refused(small, mvtec_root, tmp_path):
    for _ in range(2):
        pack(tmp_path / "carry", mvtec_root, small, ("widget",))
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="was not made by `pack`"):
        pack(tmp_path / "mine", mvtec_root, small, ("widget",))
    with pytest.raises(InputError, match="did you mean 'widget'"):
        pack(tmp_path / "carry", mvtec_root, small, ("wigdet",))
    assert (tmp_path / "carry" / "widget").exists()  # what was there is not lost
