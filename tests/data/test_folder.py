import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ssn_lib.data.loading import load_dataset
from ssn_lib.data.pixel_labels import with_masks
from ssn_lib.data.sets.folder import read_folder


def masked(samples):
    """Names of the images that have a mask."""
    return {sample.image.stem for sample in samples if sample.mask is not None}


def pixels(samples):
    return [sample.image.name for sample in samples]


@pytest.mark.parametrize("masks", [True, False])
def test_a_split_folder(masks, own_category, dataset):
    if not masks:
        shutil.rmtree(own_category / "ground_truth")
    own = load_dataset("folder", own_category, image_size=(32, 32))
    assert own.category == "widget"
    assert own.test.has_masks == masks
    assert own.test.labels.tolist() == [0, 0, 1, 1, 1, 1]
    assert torch.equal(own.train.images, dataset.train.images)
    assert torch.equal(own.test.images, dataset.test.images)
    assert own.test.masks.any() == masks


@pytest.mark.parametrize(("good", "bad"), [("good", "bad"), ("OK", "NG"), ("normal", "abnormal")])
def test_good_and_bad_folders(good, bad, own_category, tmp_path):
    shutil.copytree(own_category / "train" / "good", tmp_path / "mine" / good)
    shutil.copytree(own_category / "test" / "spot", tmp_path / "mine" / bad)
    own = load_dataset("folder", tmp_path / "mine", image_size=(32, 32))
    assert pixels(own.train.samples) == ["000.png", "001.png", "002.png", "003.png", "005.png"]
    assert pixels(own.test.samples) == ["004.png", "000.png", "001.png"]
    assert own.test.labels.tolist() == [0, 1, 1]
    assert not own.test.has_masks


def test_folders_that_are_not_looked_into_are_named(own_category, tmp_path, refusal):
    mine = tmp_path / "mine"
    shutil.copytree(own_category / "train" / "good", mine / "good")
    shutil.copytree(own_category / "test" / "spot", mine / "dent")
    with pytest.warns(
        UserWarning, match=r"2 images are not used, in dent \(2\); defective images belong in bad"
    ):
        assert not load_dataset("folder", mine).test.labels.any()
    shutil.copytree(own_category / "test" / "spot", mine / "bad" / "dent")
    assert "bad: no images; its own folders" in refusal(lambda: load_dataset("folder", mine))
    for path in sorted((mine / "good").iterdir())[1:]:  # too few for a test image of their own
        path.unlink()
    assert "bad: no images; its own folders" in refusal(lambda: load_dataset("folder", mine))


def test_the_folder_of_good_images_may_have_another_case(own_category):
    (own_category / "train" / "good").rename(own_category / "train" / "Good")
    assert len(load_dataset("folder", own_category).train) == 6


def test_a_folder_of_something_else(tmp_path, refusal):
    (tmp_path / "holiday").mkdir()
    message = refusal(lambda: load_dataset("folder", tmp_path))
    assert "found 'holiday'" in message
    assert "train/good" in message
    (tmp_path / "good").mkdir()
    assert "no images to train on" in refusal(lambda: load_dataset("folder", tmp_path))
    assert "--data-root" in refusal(lambda: load_dataset("folder"))


@pytest.fixture
def parts(own_root):
    """A user's folder with defective training images, one of them with a mask."""
    folder = own_root / "mvtec_ad" / "widget"
    shutil.copytree(folder / "test" / "scratch", folder / "train" / "scratch")
    (folder / "ground_truth_train" / "scratch").mkdir(parents=True)
    shutil.copy(folder / "ground_truth/scratch/000_mask.png", folder / "ground_truth_train/scratch")
    return folder


def test_defective_training_images_of_a_folder(parts, refusal):
    train = load_dataset("folder", parts, image_size=(32, 32)).train
    assert train.labels.tolist() == [0] * 6 + [1] * 2
    assert masked(train.samples) == {"000"}
    assert "of 2 defective training images 1 have one" in refusal(lambda: with_masks(train, 2, 0))


def test_a_mask_among_a_folders_images_is_refused(parts, refusal):
    mask = parts / "train" / "scratch" / "000_mask.png"
    Image.fromarray(np.zeros((80, 80), np.uint8)).save(mask)
    message = refusal(lambda: load_dataset("folder", parts))
    assert "000_mask.png is named like a mask" in message


def test_a_training_mask_without_its_image_is_refused(parts, refusal):
    truth = parts / "ground_truth_train" / "scratch"
    shutil.copy(truth / "000_mask.png", truth / "009_mask.png")
    assert "009_mask.png has no image" in refusal(lambda: load_dataset("folder", parts))


# --- used, or said in one line -------------------------------------------------------------------


def test_all_folders_of_good_images_are_used(own_category):
    for part, name in (("train", "ok"), ("test", "OK"), ("test", "Normal")):
        shutil.copytree(own_category / part / "good", own_category / part / name)
    train, test = read_folder(own_category)
    assert len(train) == 12
    assert [sample.label for sample in test].count(0) == 6
    assert {sample.defect for sample in test} == {"good", "scratch", "spot"}


def test_all_folders_of_good_images_are_used_unsplit_too(own_category, tmp_path):
    for name in ("good", "ok"):
        shutil.copytree(own_category / "train" / "good", tmp_path / "mine" / name)
    train, test = read_folder(tmp_path / "mine")
    assert len(train) + len(test) == 12


@pytest.mark.parametrize(
    ("place", "like", "count"),
    [
        ("train/good/batch2", "train/good", 6),
        ("test/spot/sub/deeper", "test/spot", 2),
        ("val/good", "test/good", 2),
        ("validation/spot", "test/spot", 2),
        ("ground_truth/spots", "ground_truth/spot", 2),
        ("ground_truth_train/spot", "ground_truth/spot", 2),
    ],
)
def test_images_in_other_folders_are_said_in_one_line(place, like, count, own_category):
    shutil.copytree(own_category / like, own_category / place)
    with pytest.warns(UserWarning) as warned:
        train, test = read_folder(own_category)
    (line,) = [str(warning.message) for warning in warned]
    assert f"{own_category}: {count} images are not used, in {place} ({count}); read are" in line
    assert (len(train), len(test)) == (6, 6)


def test_flat_masks_are_said_in_one_line(own_category):
    truth = own_category / "ground_truth"
    for path in [*truth.glob("*/*.png")]:
        path.rename(truth / f"{path.parent.name}_{path.name}")
    for kind in ("scratch", "spot"):
        (truth / kind).rmdir()
    with pytest.warns(UserWarning, match=r"4 images are not used, in ground_truth \(4\)"):
        assert not masked(read_folder(own_category)[1])


def test_names_of_another_case_are_taken_where_it_is_clear_what_they_mean(own_category):
    (own_category / "ground_truth/spot").rename(own_category / "ground_truth/Spot")
    for name in ("train", "test", "ground_truth"):
        (own_category / name).rename(own_category / name.title())
    train, test = read_folder(own_category)
    assert len(train) == 6
    assert masked(test) == {"000", "001"}
    assert all(sample.mask for sample in test if sample.label)
    # Two kinds that differ in case alone: whose the masks are is not clear any more.
    shutil.copytree(own_category / "Test/spot", own_category / "Test/SPOT")
    with pytest.warns(UserWarning, match=r"2 images are not used, in Ground_Truth/Spot \(2\)"):
        _, test = read_folder(own_category)
    assert not masked(sample for sample in test if sample.defect.lower() == "spot")


def test_masks_of_an_unsplit_folder(own_category, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(own_category / "train" / "good", mine / "good")
    shutil.copytree(own_category / "test" / "spot", mine / "bad")
    shutil.copytree(own_category / "ground_truth" / "spot", mine / "ground_truth" / "Bad")
    assert masked(read_folder(mine)[1]) == {"000", "001"}


def test_folders_that_are_no_data_are_passed_over(own_category, dataset):
    for name in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "lost+found"):
        for place in (".", "train", "train/good", "test", "test/spot", "ground_truth"):
            shutil.copytree(own_category / "test/spot", own_category / place / name)
    for place in ("train/good", "test/spot"):
        (own_category / place / "._000.png").write_bytes(b"\0\5\x16\7")
    (own_category / "ground_truth/spot/._000_mask.png").write_bytes(b"\0\5\x16\7")
    assert load_dataset("folder", own_category).fingerprint == dataset.fingerprint
    hidden = own_category.rename(own_category.with_name(".mine"))  # the user's word counts
    assert load_dataset("folder", hidden).fingerprint == dataset.fingerprint


def test_good_images_alone_are_enough(own_category):
    shutil.rmtree(own_category / "test")
    shutil.rmtree(own_category / "ground_truth")
    own = load_dataset("folder", own_category, image_size=(32, 32))
    assert (len(own.train), len(own.test)) == (6, 0)
    assert own.test.images.shape == (0, 3, 32, 32)


# --- the file system -----------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["train/good/006.png", "ground_truth/spot/001_mask.png"])
def test_a_link_to_a_file_that_is_gone(link, own_category, refusal):
    (own_category / link).unlink(missing_ok=True)
    (own_category / link).symlink_to("/nowhere/file.png")
    message = refusal(lambda: load_dataset("folder", own_category).fingerprint)
    assert f"{own_category / link} is a link to /nowhere/file.png, which is not there" in message


@pytest.mark.parametrize("link", ["train", "test", "train/good", "test/dent", "ground_truth/spot"])
def test_a_link_to_a_folder_that_is_gone(link, own_category, refusal):
    shutil.rmtree(own_category / link, ignore_errors=True)
    (own_category / link).symlink_to("/nowhere/folder")
    message = refusal(lambda: read_folder(own_category))
    assert f"{own_category / link} is a link to /nowhere/folder, which is not there" in message


def test_linked_folders_are_read_and_may_lead_round(own_category, dataset, tmp_path):
    (own_category / "train").rename(tmp_path / "elsewhere")
    (own_category / "train").symlink_to(tmp_path / "elsewhere")
    (own_category / "latest").symlink_to(own_category / "test")
    (own_category / "round").symlink_to(own_category)
    assert load_dataset("folder", own_category).fingerprint == dataset.fingerprint


# --- names that are not UTF-8 --------------------------------------------------------------------


@pytest.fixture
def odd(own_category):
    """A folder with names of another code page everywhere; skipped where none can be made."""
    odd = own_category.with_name(os.fsdecode(b"n\xe4me"))
    try:
        own_category.rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    for part in ("test", "ground_truth"):
        (odd / part / "spot").rename(odd / part / os.fsdecode(b"l\xf6ch"))
    for path in (*odd.glob("*/*/000.png"), *odd.glob("*/*/000_mask.png")):
        path.rename(path.with_name(path.name.replace("000", os.fsdecode(b"st\xfcck"))))
    return odd


def test_names_of_another_code_page(odd):
    own = load_dataset("folder", odd, image_size=(32, 32))
    assert own.category == r"n\udce4me"
    assert {sample.defect for sample in own.test.samples} == {"good", "scratch", r"l\udcf6ch"}
    assert own.test.has_masks
    assert own.test.masks.any()
    assert own.train.images.any()
    assert r"test/l\udcf6ch/st\udcfcck.png" in own.test.names(odd)
    assert own.has_fingerprint(own.fingerprint)
