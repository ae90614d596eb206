import shutil

import pytest
import torch
from PIL import Image

from ssn_lib import data
from ssn_lib.data import load_dataset, normalise
from ssn_lib.errors import InputError


def refusal(call):
    """The one-line message of the InputError that `call` must raise."""
    with pytest.raises(InputError) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    return message


def pixels(samples):
    return [sample.image.name for sample in samples]


# --- finding ---------------------------------------------------------------------------------


def test_samples_are_listed_in_order_with_labels_and_masks(dataset):
    assert pixels(dataset.train.samples) == [f"{i:03}.png" for i in range(6)]
    assert dataset.train.labels.tolist() == [0] * 6
    assert dataset.test.labels.tolist() == [0, 0, 1, 1, 1, 1]
    kinds = ["good"] * 2 + ["scratch"] * 2 + ["spot"] * 2
    assert [sample.defect for sample in dataset.test.samples] == kinds
    assert dataset.test.has_masks
    assert dataset.test.images.shape == (6, 3, 32, 32)
    defective = dataset.test.masks.flatten(1).any(1)
    assert defective.tolist() == [False] * 2 + [True] * 4
    assert not dataset.train.masks.any()


@pytest.mark.parametrize("below", ["", "mvtec_ad", "mvtec_ad/widget"])
def test_the_root_is_the_folder_of_categories_or_near_it(below, mvtec_root, dataset, load):
    found = load(mvtec_root / below)
    assert found.root == dataset.root
    assert found.fingerprint == dataset.fingerprint


def test_the_root_comes_from_the_environment_unless_given(
    mvtec_root, dataset, load, monkeypatch, tmp_path
):
    monkeypatch.setenv("SSN_DATA_ROOT", str(mvtec_root))
    assert load(None).root == dataset.root
    assert str(tmp_path) in refusal(lambda: load(tmp_path))


def test_without_a_root_the_usual_places_are_tried(mvtec_root, load, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "KAGGLE_INPUT", tmp_path / "kaggle")
    message = refusal(lambda: load(None))
    assert "tried data" in message
    assert "--data-root" in message
    for home in ("kaggle/mvtec-ad", "kaggle/datasets/someone/mvtec-ad", "data"):
        (tmp_path / home).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(mvtec_root / "mvtec_ad", tmp_path / home)
        assert len(load(None).train) == 6
        shutil.rmtree(tmp_path / home)


def test_a_misspelt_category_suggests_the_nearest(mvtec_root):
    message = refusal(lambda: load_dataset("mvtec_ad", mvtec_root, category="wigdet"))
    assert "'wigdet'" in message
    assert "did you mean 'widget'?" in message


def test_a_misspelt_data_set_suggests_the_nearest(mvtec_root):
    message = refusal(lambda: load_dataset("mvtec", mvtec_root, category="widget"))
    assert "did you mean 'mvtec_ad'?" in message


def test_a_wrong_root_says_so(tmp_path):
    message = refusal(lambda: load_dataset("mvtec_ad", tmp_path / "no", category="widget"))
    assert "no such folder" in message
    message = refusal(lambda: load_dataset("mvtec_ad", tmp_path, category="widget"))
    assert "<root>/widget/train/good" in message


def test_a_category_is_needed(mvtec_root):
    assert "category" in refusal(lambda: load_dataset("mvtec_ad", mvtec_root))


def test_counts_that_are_not_the_official_ones_are_warned_of(own_category):
    bottle = own_category.rename(own_category.with_name("bottle"))
    with pytest.warns(UserWarning, match="6 training and 6 test images; .* has 209 and 83"):
        load_dataset("mvtec_ad", bottle.parent, category="bottle")


def test_no_training_image(own_root, own_category, load):
    good = own_category / "train" / "good"
    for path in good.iterdir():
        path.unlink()
    (good / "notes.txt").write_text("no image")
    (good / ".hidden.png").write_text("no image")
    assert f"{good}: no images to train on" in refusal(lambda: load(own_root))
    shutil.rmtree(good)
    assert "train/good" in refusal(lambda: load(own_root))


def test_a_missing_mask(own_root, own_category, load):
    mask = own_category / "ground_truth" / "spot" / "001_mask.png"
    mask.unlink()
    message = refusal(lambda: load(own_root))
    assert f"{mask} is missing" in message
    assert str(own_category / "test" / "spot" / "001.png") in message


@pytest.mark.parametrize("left", [1, 0])
def test_a_mask_without_its_image(left, own_root, own_category, load):
    for index in range(left, 2):
        (own_category / "test" / "spot" / f"{index:03}.png").unlink()
    orphan = own_category / "ground_truth" / "spot" / f"{left:03}_mask.png"
    assert f"mask {orphan} has no image" in refusal(lambda: load(own_root))


# --- a folder of one's own -------------------------------------------------------------------


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


@pytest.mark.parametrize(("good", "bad"), [("good", "bad"), ("OK", "nok"), ("normal", "defect")])
def test_good_and_bad_folders(good, bad, own_category, tmp_path):
    shutil.copytree(own_category / "train" / "good", tmp_path / "mine" / good)
    shutil.copytree(own_category / "test" / "spot", tmp_path / "mine" / bad)
    own = load_dataset("folder", tmp_path / "mine", image_size=(32, 32))
    assert pixels(own.train.samples) == ["000.png", "001.png", "002.png", "003.png", "005.png"]
    assert pixels(own.test.samples) == ["004.png", "000.png", "001.png"]
    assert own.test.labels.tolist() == [0, 1, 1]
    assert not own.test.has_masks


def test_folders_that_are_not_looked_into_are_named(own_category, tmp_path):
    mine = tmp_path / "mine"
    shutil.copytree(own_category / "train" / "good", mine / "good")
    shutil.copytree(own_category / "test" / "spot", mine / "dent")
    with pytest.warns(UserWarning, match=r"not looked into: dent; defective images belong in bad"):
        assert not load_dataset("folder", mine).test.labels.any()
    shutil.copytree(own_category / "test" / "spot", mine / "bad" / "dent")
    assert "bad: no images; its own folders" in refusal(lambda: load_dataset("folder", mine))
    for path in sorted((mine / "good").iterdir())[1:]:  # too few for a test image of their own
        path.unlink()
    assert "bad: no images; its own folders" in refusal(lambda: load_dataset("folder", mine))


def test_the_folder_of_good_images_may_have_another_case(own_category):
    (own_category / "train" / "good").rename(own_category / "train" / "Good")
    assert len(load_dataset("folder", own_category).train) == 6


def test_a_folder_of_something_else(tmp_path):
    (tmp_path / "holiday").mkdir()
    message = refusal(lambda: load_dataset("folder", tmp_path))
    assert "found holiday" in message
    assert "train/good" in message
    (tmp_path / "good").mkdir()
    assert "no images to train on" in refusal(lambda: load_dataset("folder", tmp_path))
    assert "--data-root" in refusal(lambda: load_dataset("folder"))


# --- reading ---------------------------------------------------------------------------------


def test_a_set_is_resized_as_it_was_asked_for(own_category):
    sets = [
        load_dataset("folder", own_category, image_size=(32, 32), resize=how).train
        for how in ("antialiased", "plain")
    ]
    assert not torch.equal(sets[0].images, sets[1].images)
    assert sets[1].subset([0, 1]).resize == sets[1].sound().resize == "plain"
    assert torch.equal(sets[1].subset([1]).images, sets[1].images[1:2])


def test_normalise_is_imagenets():
    images = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    images[0, :, 0, 0] = 255
    got = normalise(images)[0]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(got[:, 0, 0], (1 - mean) / std)
    torch.testing.assert_close(got[:, 1, 1], -mean / std)


def truncated(path):
    path.write_bytes(path.read_bytes()[:-2000])


def no_image(path):
    path.write_text("no image at all")


@pytest.mark.parametrize("damage", [truncated, no_image, lambda path: path.write_bytes(b"")])
def test_a_damaged_image_is_named(damage, own_root, own_category, load):
    path = own_category / "train" / "good" / "004.png"
    damage(path)
    dataset = load(own_root)
    assert str(path) in refusal(lambda: dataset.train.images)
    assert dataset.test.images.any()


def test_a_damaged_mask_is_named(own_root, own_category, load):
    path = own_category / "ground_truth" / "spot" / "001_mask.png"
    no_image(path)
    assert str(path) in refusal(lambda: load(own_root).test.masks)


# --- fingerprint -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: Image.new("RGB", (80, 80)).save(folder / "train" / "good" / "002.png"),
        lambda folder: (folder / "train" / "good" / "005.png").unlink(),
        lambda folder: (folder / "test/good/001.png").rename(folder / "test/good/009.png"),
        lambda folder: Image.new("L", (80, 80), 255).save(
            folder / "ground_truth" / "spot" / "000_mask.png"
        ),
    ],
    ids=["image", "fewer", "renamed", "mask"],
)
def test_the_fingerprint_is_of_the_files(change, own_category, dataset):
    def fingerprint():
        return load_dataset("folder", own_category).fingerprint

    assert fingerprint() == dataset.fingerprint  # wherever they lie, whatever their size
    change(own_category)
    assert fingerprint() != dataset.fingerprint
