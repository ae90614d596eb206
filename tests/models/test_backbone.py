import contextlib
import hashlib
import sys
import time
from dataclasses import replace
from http.client import BadStatusLine, IncompleteRead
from urllib.error import URLError

import pytest
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from ssn_lib.errors import InputError
from ssn_lib.models import resnet, weights
from ssn_lib.models.backbone import Backbone, torchvision_name
from ssn_lib.models.weights import find_weights, load_weights

FILE = "resnet18-f37072fd.pth"  # torchvision's name of ResNet18's IMAGENET1K_V1


@pytest.fixture(scope="module")
def resnet18(randomise_batchnorm):
    torch.manual_seed(0)
    return randomise_batchnorm(torchvision.models.resnet18()).eval()


@pytest.fixture
def no_hub(monkeypatch, tmp_path):
    """An empty hub cache, and a host that refuses; returns the cache's folder."""

    def refuse(*_, **__):
        raise URLError("unreachable")

    monkeypatch.delenv(weights.OFFLINE_VARIABLE)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(weights, "urlopen", refuse)
    return tmp_path / "hub" / "checkpoints"


def test_offline_no_host_is_asked(no_hub, monkeypatch):
    monkeypatch.setenv(weights.OFFLINE_VARIABLE, "1")
    monkeypatch.setattr(weights, "_ask_whether_reachable", lambda _: pytest.fail("asked"))
    with pytest.raises(InputError, match="the download failed"):
        find_weights("resnet18")


@pytest.mark.parametrize(
    ("name", "layers"), [("resnet18", (2, 3)), ("resnet18", (1, 4)), ("wide_resnet50_2", (2, 3))]
)
@torch.no_grad()
def test_outputs_are_torchvisions(name, layers, randomise_batchnorm):
    torch.manual_seed(1)
    resnet = randomise_batchnorm(getattr(torchvision.models, name)()).eval()
    backbone = Backbone(name, layers)
    backbone.load(resnet.state_dict(), "test")  # whole: with layer4 and fc
    images = torch.randn(2, 3, 48, 64)
    nodes = [f"layer{layer}" for layer in layers]
    expected = list(create_feature_extractor(resnet, nodes)(images).values())
    got = backbone(images)
    assert len(got) == len(expected)
    for ours, theirs, channels in zip(got, expected, backbone.channels, strict=True):
        assert ours.shape[1] == channels
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", resnet.RESNETS)
def test_every_network_has_torchvisions_parts_and_its_files_name(name):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)().state_dict()
        ours = Backbone(name, (4,)).state_dict()
    named = {torchvision_name(key): value.shape for key, value in ours.items()}
    wanted = {key: value.shape for key, value in theirs.items() if not key.startswith("fc.")}
    assert named == wanted
    url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    assert url.endswith(f"/{resnet.RESNETS[name].file}")


def test_without_torchvision_a_file_is_taken_and_none_is_downloaded(no_hub, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match="the download failed"):
        find_weights("resnet18")
    torch.save({}, tmp_path / FILE)
    assert find_weights("resnet18", tmp_path) == tmp_path / FILE


@pytest.mark.parametrize(("layers", "stages"), [((2, 3), 3), ((2,), 2), ((1,), 1)])
def test_nothing_exists_behind_the_last_stage_used(layers, stages, resnet18):
    resnet = resnet18
    parts = [resnet.conv1, resnet.bn1, *(getattr(resnet, f"layer{k + 1}") for k in range(stages))]
    expected = sum(p.numel() for part in parts for p in part.parameters())
    assert sum(p.numel() for p in Backbone("resnet18", layers).parameters()) == expected


def test_it_is_frozen_and_stays_in_eval_mode():
    backbone = Backbone("resnet18", (2, 3))
    holder = torch.nn.Sequential(backbone).train()
    assert holder.training
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    images = torch.randn(2, 3, 32, 32, requires_grad=True)
    assert not any(output.requires_grad for output in backbone(images))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_an_untrained_backbone_keeps_its_signal():
    torch.manual_seed(0)
    outputs = Backbone("resnet18", (2, 3))(torch.randn(2, 3, 64, 64))
    assert all(output.isfinite().all() and 0.1 < output.std() < 10 for output in outputs)


def test_an_unknown_backbone_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        Backbone("resnet81", (2, 3))


# --- weights ---------------------------------------------------------------------------------


def test_a_cut_state_and_one_without_batch_counts_are_taken(resnet18):
    state = {
        name: value
        for name, value in resnet18.state_dict().items()
        if not name.startswith(("layer4", "fc")) and "num_batches_tracked" not in name
    }
    images = torch.randn(1, 3, 32, 32)
    cut, whole = Backbone("resnet18", (2, 3)), Backbone("resnet18", (2, 3))
    cut.load(state, "cut")
    whole.load(resnet18.state_dict(), "whole")
    assert all(torch.equal(a, b) for a, b in zip(cut(images), whole(images), strict=True))


@pytest.mark.parametrize("name", ["resnet34", "resnet50"])
def test_weights_of_another_network_are_refused(name, tmp_path):
    torch.save(getattr(torchvision.models, name)().state_dict(), tmp_path / FILE)
    backbone = Backbone("resnet18", (2, 3))
    with pytest.raises(InputError, match="another network") as raised:
        load_weights(backbone, "resnet18", tmp_path)
    assert str(tmp_path / FILE) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_weights_that_lack_a_part_are_refused(resnet18):
    state = resnet18.state_dict()
    del state["layer3.1.conv2.weight"]
    with pytest.raises(InputError, match=r"'layer3\.1\.conv2\.weight' is missing"):
        Backbone("resnet18", (2, 3)).load(state, "test")
    Backbone("resnet18", (2,)).load(state, "test")  # where it is not needed


def test_a_file_that_is_cut_is_not_called_another_networks(resnet18):
    state = {n: v for n, v in resnet18.state_dict().items() if not n.startswith(("layer4", "fc"))}
    with pytest.raises(InputError, match="or cut: give torchvision's whole file"):
        Backbone("resnet18", (2, 3, 4)).load(state, "test")


def test_weights_that_are_no_numbers_are_refused(resnet18):
    state = resnet18.state_dict()
    state["layer2.0.conv1.weight"] = state["layer2.0.conv1.weight"].clone()
    state["layer2.0.conv1.weight"][0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match=r"'layer2\.0\.conv1\.weight' holds values that are not"):
        Backbone("resnet18", (2, 3)).load(state, "test")


def test_a_file_with_changed_bytes_is_refused(resnet18, tmp_path):
    """PyTorch reads it."""
    path = tmp_path / FILE
    torch.save(resnet18.state_dict(), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert torch.load(path)
    with pytest.raises(InputError, match=f"{FILE} cannot be read: it is damaged"):
        load_weights(Backbone("resnet18", (2, 3)), "resnet18", path)


@pytest.mark.parametrize(
    "content", [[1, 2], {"model": torch.zeros(3)}, {"state_dict": {"conv1.weight": 1}}]
)
def test_a_file_of_something_else_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"w\.pth"):
        load_weights(Backbone("resnet18", (2, 3)), "resnet18", tmp_path / "w.pth")


@pytest.mark.parametrize("name", [FILE, "resnet18_layers123.pth"])
@pytest.mark.parametrize("where", ["file", "folder", "environment", "its file", "hub"])
def test_where_weights_are_found(where, name, resnet18, no_hub, tmp_path, monkeypatch):
    folder = no_hub if where == "hub" else tmp_path / "weights"
    folder.mkdir(parents=True)
    torch.save(resnet18.state_dict(), folder / name)
    if where == "environment":
        monkeypatch.setenv("SSN_WEIGHTS_DIR", str(folder))
    if where == "its file":
        monkeypatch.setenv("SSN_WEIGHTS_DIR", str(folder / name))
    given = {"file": folder / name, "folder": folder}.get(where, "imagenet")
    backbone = Backbone("resnet18", (2, 3))
    source = load_weights(backbone, "resnet18", given)
    assert source.startswith(f"{name} (sha256 ")
    assert torch.equal(backbone.stem[0].weight, resnet18.conv1.weight)


def test_none_is_untrained_without_a_look(no_hub):
    assert load_weights(Backbone("resnet18", (2, 3)), "resnet18", None) is None


def test_a_given_folder_is_the_only_place(resnet18, no_hub, tmp_path):
    no_hub.mkdir(parents=True)
    torch.save(resnet18.state_dict(), no_hub / FILE)
    with pytest.raises(InputError, match=f"no {FILE} or resnet18_layers123.pth there"):
        find_weights("resnet18", tmp_path)


def test_an_unreachable_download_lists_the_places(no_hub, tmp_path, monkeypatch):
    monkeypatch.setenv("SSN_WEIGHTS_DIR", str(tmp_path / "mine"))
    with pytest.raises(InputError) as raised:
        find_weights("resnet18")
    for part in (FILE, str(tmp_path / "mine"), str(no_hub), "--weights-dir", "SSN_WEIGHTS_DIR"):
        assert part in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_silent_host_is_not_waited_for(no_hub, monkeypatch):
    assert weights.DOWNLOAD_TIMEOUT_S < 10
    monkeypatch.setattr(weights, "DOWNLOAD_TIMEOUT_S", 0.1)

    def silent(*_, **__):
        time.sleep(5)
        raise URLError("too late")

    monkeypatch.setattr(weights, "urlopen", silent)
    started = time.monotonic()
    with pytest.raises(InputError, match="the download failed"):
        find_weights("resnet18")
    assert time.monotonic() - started < 4


def test_a_download_is_kept_in_the_hub_cache(no_hub, resnet18, monkeypatch):
    def download(url, path, hash_prefix, **_):
        assert url.endswith(FILE)
        assert hash_prefix == "f37072fd"
        torch.save(resnet18.state_dict(), path)

    monkeypatch.setattr(weights, "urlopen", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    assert find_weights("resnet18") == no_hub / FILE
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)
    assert find_weights("resnet18") == no_hub / FILE


def test_a_short_download_is_refused_and_not_kept(no_hub, tmp_path, monkeypatch):
    whole = b"all of it"
    origin = tmp_path / f"resnet18-{hashlib.sha256(whole).hexdigest()[:8]}.pth"
    known = replace(resnet.RESNETS["resnet18"], file=origin.name)
    monkeypatch.setitem(resnet.RESNETS, "resnet18", known)
    monkeypatch.setattr(weights, "_url", lambda _: origin.as_uri())
    monkeypatch.setattr(weights, "urlopen", lambda *_, **__: contextlib.nullcontext())
    origin.write_bytes(whole[:3])
    with pytest.raises(InputError, match="the download failed"):
        find_weights("resnet18")
    assert not list(no_hub.iterdir())
    origin.write_bytes(whole)
    assert find_weights("resnet18").read_bytes() == whole


@pytest.mark.parametrize("during", ["question", "download"])
def test_a_broken_answer_is_a_failed_download(during, no_hub, monkeypatch):
    def broken(*_, **__):
        raise BadStatusLine("?") if during == "question" else IncompleteRead(b"")

    if during == "download":
        monkeypatch.setattr(weights, "urlopen", lambda *_, **__: contextlib.nullcontext())
        monkeypatch.setattr(torch.hub, "download_url_to_file", broken)
    else:
        monkeypatch.setattr(weights, "urlopen", broken)
    with pytest.raises(InputError, match="the download failed") as raised:
        find_weights("resnet18")
    assert "\n" not in str(raised.value)
