import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ssn_lib.data.loading import load_dataset
from ssn_lib.data.sets.mvtec import find_mvtec_category, list_mvtec_categories, read_mvtec
from ssn_lib.errors import InputError


@pytest.mark.parametrize("below", ["", "mvtec_ad", "mvtec_ad/widget"])
def test_the_root_is_the_folder_of_categories_or_near_it(below, mvtec_root, dataset, load):
    found = load(mvtec_root / below)
    assert found.root == dataset.root
    assert found.fingerprint == dataset.fingerprint


def test_a_misspelt_category_suggests_the_nearest(mvtec_root, refusal):
    message = refusal(lambda: load_dataset("mvtec_ad", mvtec_root, category="wigdet"))
    assert "'wigdet'" in message
    assert "did you mean 'widget'?" in message


def test_a_wrong_root_says_so(tmp_path, refusal):
    message = refusal(lambda: load_dataset("mvtec_ad", tmp_path / "no", category="widget"))
    assert "no such folder" in message
    message = refusal(lambda: load_dataset("mvtec_ad", tmp_path, category="widget"))
    assert "<root>/widget/train/good" in message


@pytest.mark.parametrize("below", ["", "mvtec_ad", "mvtec_ad/widget"])
def test_all_categories_are_those_that_there_are(below, own_root, own_category):
    (own_root / "strips/train").mkdir(parents=True)  # strips, beside them, have no train/good
    (own_root / "strips/test").mkdir()
    found = [own_category.name]
    if below != "mvtec_ad/widget":
        shutil.copytree(own_category, own_category.with_name("bolt"))
        found.insert(0, "bolt")
    assert list_mvtec_categories(own_root / below) == found


def test_a_category_that_is_there_twice_is_known_at_once(own_root, own_category):
    shutil.copytree(own_category, own_root / "mine" / own_category.name)
    with pytest.raises(InputError, match="are both there"):
        list_mvtec_categories(own_root)


def test_without_any_category_it_is_said_what_is_expected(tmp_path):
    for place, said in ((tmp_path, "holds no MVTec AD category"), (tmp_path / "no", "no such")):
        with pytest.raises(InputError, match=said):
            list_mvtec_categories(place)


def test_counts_that_are_not_the_official_ones_are_warned_of(own_category):
    bottle = own_category.rename(own_category.with_name("bottle"))
    with pytest.warns(UserWarning, match="6 training and 6 test images; .* has 209 and 83"):
        load_dataset("mvtec_ad", bottle.parent, category="bottle")


def test_no_training_image(own_root, own_category, load, refusal):
    good = own_category / "train" / "good"
    for path in good.iterdir():
        path.unlink()
    (good / "notes.txt").write_text("no image")
    (good / ".hidden.png").write_text("no image")
    assert f"{good}: no images to train on" in refusal(lambda: load(own_root))
    shutil.rmtree(good)
    assert "train/good" in refusal(lambda: load(own_root))


def test_a_missing_mask(own_root, own_category, load, refusal):
    mask = own_category / "ground_truth" / "spot" / "001_mask.png"
    mask.unlink()
    message = refusal(lambda: load(own_root))
    assert f"{mask} is missing" in message
    assert str(own_category / "test" / "spot" / "001.png") in message


@pytest.mark.parametrize("left", [1, 0])
def test_a_mask_without_its_image(left, own_root, own_category, load, refusal):
    for index in range(left, 2):
        (own_category / "test" / "spot" / f"{index:03}.png").unlink()
    orphan = own_category / "ground_truth" / "spot" / f"{left:03}_mask.png"
    assert f"mask {orphan} has no image" in refusal(lambda: load(own_root))


def test_the_root_that_was_named_wins(own_root, own_category, monkeypatch):
    shutil.copytree(own_category, own_root / "copy")
    (own_category / "backup").mkdir()
    (own_root / "copy").rename(own_category / "backup/widget")
    assert find_mvtec_category(own_category, "widget") == own_category
    monkeypatch.chdir(own_category)
    assert find_mvtec_category(Path(), "widget") == Path()
    with pytest.warns(UserWarning, match=r"16 images are not used, in backup/widget/train/good"):
        read_mvtec(own_category)


def test_of_two_copies_none_is_chosen(own_root, own_category, refusal):
    shutil.copytree(own_category.parent, own_root / "other")
    message = refusal(lambda: find_mvtec_category(own_root, "widget"))
    assert "mvtec_ad/widget and" in message
    assert "other/widget are both there" in message


def test_what_an_archiver_left_is_no_copy(own_root, own_category, dataset, load):
    for name in ("__MACOSX", ".trash"):
        shutil.copytree(own_category.parent, own_root / name)
    (own_category / "train/good/._001.png").write_bytes(b"\0\5\x16\7")
    shutil.copytree(own_category / "test/spot", own_category / "test/.ipynb_checkpoints")
    assert load(own_root).fingerprint == dataset.fingerprint


def test_what_is_not_used_is_one_line(own_category):
    shutil.copytree(own_category / "test", own_category / "val")
    shutil.copytree(own_category / "train/good", own_category / "train/bad")
    with pytest.warns(UserWarning) as warned:
        read_mvtec(own_category)
    (line,) = [str(warning.message) for warning in warned]
    assert "12 images are not used, in train/bad (6), " in line


def test_masks_of_another_suffix_or_case(own_category, dataset):
    (own_category / "ground_truth/spot").rename(own_category / "ground_truth/SPOT")
    for path in [*own_category.glob("ground_truth/*/*.png")]:
        Image.open(path).save(path.with_suffix(".TIF"))
        path.unlink()
    _, test = read_mvtec(own_category)
    assert [sample.mask.suffix for sample in test if sample.label] == [".TIF"] * 4


def test_a_mask_among_the_images(own_category, refusal):
    shutil.copy(own_category / "test/spot/000.png", own_category / "train/good/000_label.png")
    assert "000_label.png is named like a mask" in refusal(lambda: read_mvtec(own_category))


def test_a_category_without_good_images_says_what_it_lacks(own_root, own_category, refusal):
    (own_category / "train" / "good").rename(own_category / "train" / "fine")
    said = refusal(lambda: load_dataset("mvtec_ad", own_root, category=own_category.name))
    assert "expected a folder train/good with the defect-free images" in said


def test_strips_are_none_of_the_categories_that_there_are(own_root, own_category, refusal):
    """They have folders train and test, too."""
    for part in ("train", "test"):
        (own_root / "strips" / part).mkdir(parents=True)
    said = refusal(lambda: load_dataset("mvtec_ad", own_root, category="bottle"))
    assert said.endswith(f"there are {own_category.name}")


def test_a_category_of_another_code_page(own_root, own_category, refusal):
    odd = os.fsdecode(b"wi\xdfget")
    try:
        own_category.rename(own_category.with_name(odd))
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    found = load_dataset("mvtec_ad", own_root, category=odd)
    assert found.category == r"wi\udcdfget"
    assert load_dataset("mvtec_ad", own_root, category=found.category).root == found.root
    assert r"there are" in refusal(lambda: load_dataset("mvtec_ad", own_root, category="bottle"))
