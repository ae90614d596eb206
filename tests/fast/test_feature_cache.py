from __future__ import annotations

import errno
import os
import tempfile
from dataclasses import replace

import pytest
import torch
from PIL import Image

from ssn_lib import machine, preset
from ssn_lib.config import ModelConfig, TrainingConfig
from ssn_lib.data.images import normalise
from ssn_lib.errors import InputError
from ssn_lib.fast import feature_cache
from ssn_lib.training import fit as training_loop
from ssn_lib.training.fit import fit

TINY = TrainingConfig(epochs=2, batch_size=4)


@pytest.fixture
def pictures(dataset):
    return lambda some: dataset.train.images[some]


@pytest.fixture
def no_memory(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda *_: 0)


@pytest.fixture
def count(dataset):
    return len(dataset.train)


def test_mapped_from_a_file_they_are_the_same(pictures, count, make_model, tmp_path, monkeypatch):
    backbone = make_model().backbone
    monkeypatch.setattr(feature_cache, "BATCH", 4)
    kept = feature_cache.outputs(backbone, count, pictures, tmp_path)
    assert kept.file is None
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(machine, "available_memory", lambda *_: 0)
    mapped = feature_cache.outputs(backbone, count, pictures, tmp_path)
    assert list(tmp_path.iterdir()) == [mapped.file]
    for a, b in zip(kept.layers, mapped.layers, strict=True):
        assert torch.equal(a, b)
        assert b[:2].is_contiguous(memory_format=torch.channels_last)
    mapped.remove()
    assert not list(tmp_path.iterdir())


def test_a_whole_file_is_taken_and_a_stale_one_never(
    pictures, count, make_model, tmp_path, no_memory, monkeypatch
):
    backbone, passes = make_model().backbone, []
    backbone.register_forward_hook(lambda *_: passes.append(1))
    first = feature_cache.outputs(backbone, count, pictures, tmp_path)
    made = len(passes)
    again = feature_cache.outputs(backbone, count, pictures, tmp_path)
    assert again.file == first.file
    assert len(passes) == made + 1  # one image, for the sizes
    brighter = feature_cache.outputs(backbone, count, lambda some: pictures(some) // 2, tmp_path)
    with torch.no_grad():
        next(backbone.parameters()).mul_(1.01)
    other_weights = feature_cache.outputs(backbone, count, pictures, tmp_path)
    assert len({first.file, brighter.file, other_weights.file}) == 3


def test_backbones_that_are_cut_alike_have_files_of_their_own(
    pictures, count, make_model, tmp_path, no_memory
):
    for layers in ((2, 3), (1, 2, 3), (3,)):  # of one backbone: the weights are the same
        backbone = make_model(ModelConfig(layers=layers)).backbone
        mapped = feature_cache.outputs(backbone, count, pictures, tmp_path)
        expected = backbone(normalise(pictures(slice(0, count))))
        for layer, values in zip(mapped.layers, expected, strict=True):
            torch.testing.assert_close(layer, values)
    assert len(list(tmp_path.iterdir())) == 3


def test_an_interruption_leaves_no_unfinished_file(
    pictures, count, make_model, tmp_path, no_memory, monkeypatch
):
    monkeypatch.setattr(feature_cache, "BATCH", 2)
    backbone, seen = make_model().backbone, []

    def cut(some):
        seen.append(some)
        if seen.count(slice(2, 4)) == 2:  # once for the name, then for the content
            raise KeyboardInterrupt
        return pictures(some)

    with pytest.raises(KeyboardInterrupt):
        feature_cache.outputs(backbone, count, cut, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_file_that_a_killed_process_left_unfinished_is_made_again(
    pictures, count, make_model, tmp_path, no_memory
):
    backbone = make_model().backbone
    first = feature_cache.outputs(backbone, count, pictures, tmp_path)
    expected = [layer.clone() for layer in first.layers]
    first.remove()
    first.file.with_suffix(".part").write_bytes(b"some")
    whole = feature_cache.outputs(backbone, count, pictures, tmp_path)
    assert list(tmp_path.iterdir()) == [whole.file]
    assert all(torch.equal(a, b) for a, b in zip(whole.layers, expected, strict=True))


def test_a_full_disk_is_one_line_and_leaves_nothing(
    pictures, count, make_model, tmp_path, no_memory, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match="No space left on device; the features .* need 0.0 GB"):
        feature_cache.outputs(make_model().backbone, count, pictures, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ends", ["well", "interrupted"])
def test_training_from_files_gives_the_same_bits_and_leaves_none(
    ends, dataset, make_model, same_bits, tmp_path, monkeypatch
):
    config = replace(TINY, validation_fraction=0.34)
    in_memory = make_model()
    fit(in_memory, dataset.train, config, 1, progress=None)
    monkeypatch.setattr(machine, "available_memory", lambda *_: 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mapped, seen = make_model(), []
    run_epoch = training_loop._Trainer.run_epoch

    def watched(self, number, *rest):
        seen.append(len(list(tmp_path.glob("features-*.bin"))))
        if ends == "interrupted":
            raise KeyboardInterrupt
        return run_epoch(self, number, *rest)

    monkeypatch.setattr(training_loop._Trainer, "run_epoch", watched)
    options = {"progress": None, "checkpoint": tmp_path / "c.pt"}
    if ends == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            fit(mapped, dataset.train, config, 1, **options)
    else:
        fit(mapped, dataset.train, config, 1, **options)
        assert same_bits(in_memory.trained_state(), mapped.trained_state())
    assert seen[0] == 2  # of the training and of the held-out images
    assert not list(tmp_path.glob("features-*"))


def test_a_mask_that_is_refused_leaves_no_file(
    own_ksdd2, load_ksdd2, make_model, tmp_path, no_memory, monkeypatch
):
    train = load_ksdd2(own_ksdd2).train
    Image.new("L", (40, 80)).save(own_ksdd2 / "train" / "10009_GT.png")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    chosen = preset("full_ssn")
    with (
        pytest.warns(UserWarning, match="mark nothing"),
        pytest.raises(InputError, match="marks nothing"),
    ):
        fit(make_model(chosen.model), train, chosen.training, 1, progress=None)
    assert not list(temporary.iterdir())


def test_the_available_memory_is_between_nothing_and_all():
    assert (
        0 < machine.available_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    )


@pytest.mark.parametrize(("limit", "free"), [("8", 6), ("max", None)])
def test_files_that_were_read_are_no_memory_taken(limit, free, tmp_path, monkeypatch):
    for name, content in (
        ("memory.max", limit),
        ("memory.current", "8"),
        ("memory.stat", "anon 2\ninactive_file 6\nactive_file 0\n"),
    ):
        (tmp_path / name).write_text(content + "\n")
    whole = machine.available_memory()
    monkeypatch.setattr(machine, "_CONTROL_GROUP", tmp_path)
    found = machine.available_memory()
    assert found == free if free is not None else found > whole / 2


def test_who_ends_first_takes_nothing_from_the_other(
    pictures, count, make_model, tmp_path, no_memory
):
    backbone = make_model().backbone
    first, second = (feature_cache.outputs(backbone, count, pictures, tmp_path) for _ in range(2))
    assert first.file == second.file
    expected = [layer.clone() for layer in first.layers]
    first.remove()
    assert not list(tmp_path.iterdir())
    assert all(torch.equal(a, b) for a, b in zip(second.layers, expected, strict=True))
    second.remove()


@pytest.mark.parametrize(("room", "mapped"), [(2.01, False), (1.99, True)])
def test_outputs_take_half_of_the_memory_at_most(
    room, mapped, pictures, count, make_model, tmp_path, monkeypatch
):
    backbone = make_model().backbone
    layers = backbone(normalise(pictures(slice(0, count))))
    size = 4 * sum(layer.numel() for layer in layers)
    monkeypatch.setattr(machine, "available_memory", lambda *_: int(room * size))
    made = feature_cache.outputs(backbone, count, pictures, tmp_path)
    assert (made.file is not None) == mapped
    made.remove()
