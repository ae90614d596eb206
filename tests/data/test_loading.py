import errno
import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from ssn_lib.data import loading
from ssn_lib.data.images import normalise
from ssn_lib.data.loading import asked_categories, load_dataset
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


def test_the_root_comes_from_the_environment_unless_given(
    mvtec_root, dataset, load, monkeypatch, tmp_path
):
    monkeypatch.setenv("SSN_DATA_ROOT", str(mvtec_root))
    assert load(None).root == dataset.root
    assert str(tmp_path) in refusal(lambda: load(tmp_path))


def test_what_the_environments_root_lacks_is_looked_for_elsewhere(
    mvtec_root, load, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "strips").mkdir()
    monkeypatch.setenv("SSN_DATA_ROOT", "strips")
    message = refusal(lambda: load(None))
    assert "tried strips, data" in message
    assert "strips holds no" in message
    (tmp_path / "data").symlink_to(mvtec_root)
    assert len(load(None).train) == 6


def test_without_a_root_the_usual_places_are_tried(mvtec_root, load, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "KAGGLE_INPUT", tmp_path / "kaggle")
    message = refusal(lambda: load(None))
    assert "tried data" in message
    assert "--data-root" in message
    for home in ("kaggle/mvtec-ad", "kaggle/datasets/someone/mvtec-ad", "data"):
        (tmp_path / home).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(mvtec_root / "mvtec_ad", tmp_path / home)
        assert len(load(None).train) == 6
        shutil.rmtree(tmp_path / home)


def test_data_that_are_there_under_another_name_are_named(mvtec_root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "KAGGLE_INPUT", tmp_path / "kaggle")
    shutil.copytree(mvtec_root / "mvtec_ad", tmp_path / "data")
    message = refusal(lambda: load_dataset("mvtec_ad", None, category="widgte"))
    assert "did you mean 'widget'?" in message


def test_a_misspelt_data_set_suggests_the_nearest(mvtec_root):
    message = refusal(lambda: load_dataset("mvtec", mvtec_root, category="widget"))
    assert "did you mean 'mvtec_ad'?" in message


def test_an_unknown_way_to_resize_lists_the_known(mvtec_root):
    message = refusal(lambda: load_dataset("mvtec_ad", mvtec_root, resize="antialias"))
    assert message == "resize='antialias': choose one of antialiased, plain"


@pytest.mark.parametrize("size", [64, (64,), (64.0, 64.0), "64"])
def test_a_size_that_is_none_is_refused(size, mvtec_root, refusal):
    message = refusal(
        lambda: load_dataset("mvtec_ad", mvtec_root, category="widget", image_size=size)
    )
    assert message.endswith("give height and width, such as (256, 256)")


def test_images_that_are_no_bytes_are_not_normalised(refusal):
    message = refusal(lambda: normalise(torch.rand(1, 3, 8, 8)))
    assert message == "images of torch.float32: give bytes (torch.uint8), 0 to 255"


def test_a_category_is_needed(mvtec_root):
    assert "category" in refusal(lambda: load_dataset("mvtec_ad", mvtec_root))


@pytest.mark.parametrize(
    ("name", "asked", "expected"),
    [
        ("mvtec_ad", "widget", ["widget"]),
        ("mvtec_ad", "bolt, widget,bolt", ["bolt", "widget"]),
        ("mvtec_ad", "all", ["M8,5", "bolt", "widget"]),
        ("mvtec_ad", "M8,5", ["M8,5"]),
        ("mvtec_ad", "widget,no_such", ["widget", "no_such"]),  # refused when it is loaded
        ("mvtec_ad", None, [None]),  # which `load_dataset` refuses, and says why
        ("ksdd2", "all", ["all"]),  # it has none
        ("folder", "left, right", ["left, right"]),  # a name of one's own
    ],
)
def test_several_categories_are_one_text(name, asked, expected, own_root, own_category):
    for other in ("bolt", "M8,5"):
        shutil.copytree(own_category, own_category.with_name(other))
    assert asked_categories(name, own_root, asked) == expected


def test_all_categories_of_the_usual_places(own_root, monkeypatch, refusal):
    monkeypatch.setenv("SSN_DATA_ROOT", str(own_root))
    assert asked_categories("mvtec_ad", None, "all") == ["widget"]
    monkeypatch.delenv("SSN_DATA_ROOT")
    monkeypatch.chdir(own_root)
    message = refusal(lambda: asked_categories("mvtec_ad", None, "all"))
    assert message.startswith("MVTec AD's categories not found (tried data, data/mvtec_ad")
    (own_root / "data").symlink_to(own_root / "mvtec_ad")
    assert asked_categories("mvtec_ad", None, "all") == ["widget"]


def test_a_name_between_commas_is_one(mvtec_root, refusal):
    message = refusal(lambda: asked_categories("mvtec_ad", mvtec_root, "widget,"))
    assert "expected one or several, such as 'bottle,screw'" in message


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


def test_other_pixels_in_files_of_one_size_are_other_data(own_category):
    """Uncompressed images of one resolution are all of one size."""
    path = own_category / "train" / "good" / "000.bmp"
    Image.new("L", (80, 80), 10).save(path)
    (own_category / "train" / "good" / "000.png").unlink()
    before, size = load_dataset("folder", own_category), path.stat().st_size
    assert before.has_fingerprint(before.fingerprint)
    Image.new("L", (80, 80), 20).save(path)
    assert path.stat().st_size == size
    after = load_dataset("folder", own_category)
    assert not after.has_fingerprint(before.fingerprint)


def test_an_older_fingerprint_is_of_names_and_sizes(own_category):
    lines = [
        f"{path.relative_to(own_category).as_posix()}:{path.stat().st_size}\n"
        for sample in load_dataset("folder", own_category).train.samples
        for path in [sample.image]
    ]
    shutil.rmtree(own_category / "test")
    shutil.rmtree(own_category / "ground_truth")
    older = hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
    assert load_dataset("folder", own_category).has_fingerprint(older)
    (own_category / "train/good/000.png").unlink()
    assert not load_dataset("folder", own_category).has_fingerprint(older)


def test_a_closed_neighbour_is_no_matter(mvtec_root, ksdd2_root, load, load_ksdd2, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(mvtec_root, root)
    shutil.copytree(ksdd2_root, root / "strips")
    (root / "imagenet").symlink_to(root / "gone")
    (root / "mvtec_ad" / "gone").symlink_to(root / "gone")
    assert len(load(root).train) == 6
    assert asked_categories("mvtec_ad", root, "all") == ["widget"]
    assert load_ksdd2(root).root == root / "strips"


def test_a_folder_that_may_not_be_entered_matters_only_where_nothing_is_found(
    mvtec_root, ksdd2_root, load, load_ksdd2, tmp_path, monkeypatch
):
    root = tmp_path / "data"
    shutil.copytree(mvtec_root, root)
    shutil.copytree(ksdd2_root, root / "strips")
    (root / "private" / "train").mkdir(parents=True)
    (root / "mvtec_ad" / "closed" / "train").mkdir(parents=True)
    (root / "mvtec_ad" / "closed" / "test").mkdir()
    scan = os.scandir

    def refused(path):
        if isinstance(path, int):  # as `shutil.rmtree` asks
            return scan(path)
        if Path(path).name in ("private", "closed") or Path(path).parent.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert len(load(root).train) == 6
    assert asked_categories("mvtec_ad", root, "all") == ["widget"]
    assert load_ksdd2(root).root == root / "strips"
    assert "did you mean 'widget'" in refusal(
        lambda: load_dataset("mvtec_ad", root, category="widgte")
    )
    shutil.rmtree(root / "mvtec_ad" / "widget")
    assert "Permission denied" in refusal(lambda: load_dataset("mvtec_ad", root, category="widget"))
