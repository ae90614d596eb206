import shutil
import warnings

import pytest

from ssn_lib.data.copies import find_copies, warn_of_copies
from ssn_lib.data.loading import load_dataset


@pytest.fixture
def parts(mvtec_root, tmp_path):
    """A folder of a user's own images, six to train on and six to test with."""
    return shutil.copytree(mvtec_root / "mvtec_ad" / "widget", tmp_path / "parts")


def pairs(found, folder):
    return {
        kind: [tuple(str(path.relative_to(folder)) for path in pair) for pair in where]
        for kind, where in vars(found).items()
        if where
    }


def copies_in(folder):
    dataset = load_dataset("folder", folder)
    return pairs(find_copies(dataset.train.samples, dataset.test.samples), folder)


def test_other_images_are_no_copies(parts):
    assert copies_in(parts) == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_copies(load_dataset("folder", parts), labels=True)


@pytest.mark.parametrize(
    ("kind", "first", "copy"),
    [
        ("trained", "train/good/001.png", "train/good/9.png"),
        ("of_training", "train/good/001.png", "test/good/9.png"),
        ("tested", "test/good/001.png", "test/good/9.png"),
        ("contradicting", "test/good/001.png", "test/scratch/001.png"),
        ("contradicting", "train/good/001.png", "test/scratch/001.png"),
    ],
)
def test_each_kind_is_found_and_said(parts, kind, first, copy):
    shutil.copyfile(parts / first, parts / copy)
    assert copies_in(parts) == {kind: [(copy, first)]}
    with pytest.warns(UserWarning, match=rf"names: 1 image \({copy} = {first}\) .*; keep one"):
        warn_of_copies(load_dataset("folder", parts), labels=True)


def test_every_further_copy_counts_against_the_first(parts):
    for name in ("7.png", "8.png"):
        shutil.copyfile(parts / "train/good/000.png", parts / "train/good" / name)
    shutil.copyfile(parts / "train/good/000.png", parts / "test/good/000.png")
    found = copies_in(parts)
    assert found["trained"] == [
        ("train/good/7.png", "train/good/000.png"),
        ("train/good/8.png", "train/good/000.png"),
    ]
    assert found["of_training"] == [("test/good/000.png", "train/good/000.png")]


def test_a_file_of_the_same_size_is_no_copy(parts):
    original = (parts / "train/good/000.png").read_bytes()
    (parts / "train/good/7.png").write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    assert copies_in(parts) == {}


def test_empty_files_are_no_copies(parts):
    for name in ("7.png", "8.png"):
        (parts / "train/good" / name).touch()
    assert copies_in(parts) == {}


def test_what_is_not_trained_on_is_no_training_image(parts):
    (parts / "train/scratch").mkdir()
    shutil.copyfile(parts / "test/scratch/001.png", parts / "train/scratch/001.png")
    dataset = load_dataset("folder", parts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_copies(dataset, labels=False)
    with pytest.warns(UserWarning, match="both trained on and tested on"):
        warn_of_copies(dataset, labels=True)


def test_of_many_copies_three_are_named(parts):
    for number in range(6):
        shutil.copyfile(parts / "train/good/000.png", parts / f"train/good/x{number}.png")
    with pytest.warns(UserWarning, match=r"6 images \(.*x2\.png = train/good/000\.png and 3 more"):
        warn_of_copies(load_dataset("folder", parts), labels=True)
