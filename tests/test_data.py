import hashlib
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from ssn_lib import data
from ssn_lib.data import load_dataset, normalise, read_image
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


def test_a_misspelt_data_set_suggests_the_nearest(mvtec_root):
    message = refusal(lambda: load_dataset("mvtec", mvtec_root, category="widget"))
    assert "did you mean 'mvtec_ad'?" in message


def test_a_category_is_needed(mvtec_root):
    assert "category" in refusal(lambda: load_dataset("mvtec_ad", mvtec_root))


# --- reading ---------------------------------------------------------------------------------


RAMP = np.tile(np.arange(64, dtype=np.uint8), (48, 1)) * 4


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(RAMP),
        Image.fromarray(RAMP.astype(np.uint16) * 257),
        Image.fromarray(np.stack([RAMP] * 3 + [np.full_like(RAMP, 255)], axis=2)),
        Image.fromarray(np.stack([RAMP] * 3, axis=2)),
    ],
    ids=["grey", "16-bit", "RGBA", "RGB"],
)
def test_every_kind_of_image_becomes_the_same_rgb(image, tmp_path):
    image.save(tmp_path / "a.png")
    got = read_image(tmp_path / "a.png", (48, 64))
    assert got.dtype == torch.uint8
    assert torch.equal(got, torch.from_numpy(RAMP).expand(3, -1, -1))


def test_channels_and_sides_are_not_swapped(tmp_path):
    colours = np.zeros((40, 80, 3), np.uint8)
    colours[:20, :, 0] = 200  # the upper half is red
    Image.fromarray(colours).save(tmp_path / "a.png")
    got = read_image(tmp_path / "a.png", (16, 32))
    assert got.shape == (3, 16, 32)
    assert (got[0, :7] == 200).all()
    assert (got[0, 9:] == 0).all()
    assert not got[1:].any()


def test_an_image_of_floating_point_values_is_refused(tmp_path):
    Image.fromarray(RAMP.astype(np.float32) / 255).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match=r"a\.tiff holds floating-point values"):
        read_image(tmp_path / "a.tiff", (48, 64))


@pytest.mark.parametrize("size", [(24, 32), (17, 100), (48, 64)])
def test_plain_resizing_takes_the_four_nearest_pixels(size, tmp_path):
    """OpenCV's INTER_LINEAR, by its definition: pixel centres, no antialiasing."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png")
    got = read_image(tmp_path / "a.png", size, "plain").numpy()

    def axis(length, wanted):
        where = ((np.arange(wanted) + 0.5) * length / wanted - 0.5).clip(0, length - 1)
        low = np.floor(where).astype(int)
        return low, np.minimum(low + 1, length - 1), where - low

    (top, bottom, y), (left, right, x) = axis(48, size[0]), axis(64, size[1])
    y, x = y[:, None, None], x[None, :, None]
    values = image.astype(np.float64)
    upper = values[top][:, left] * (1 - x) + values[top][:, right] * x
    lower = values[bottom][:, left] * (1 - x) + values[bottom][:, right] * x
    expected = (upper * (1 - y) + lower * y).transpose(2, 0, 1)
    assert np.abs(got - expected).max() <= 0.5 + 1e-3
    smooth = read_image(tmp_path / "a.png", size).numpy()
    assert (size == (48, 64)) == bool((got == smooth).all())


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


def test_a_mask_of_another_size_is_named(own_root, own_category, load):
    path = own_category / "ground_truth" / "spot" / "001_mask.png"
    Image.new("L", (80, 79), 255).save(path)
    message = refusal(lambda: load(own_root).test.masks)
    assert str(path) in message
    assert "80×79" in message
    assert "80×80" in message


def test_a_mask_keeps_the_pixels_that_are_half_covered(own_root, own_category, load):
    mask = np.zeros((80, 80), np.uint8)
    mask[12:27, 22:43] = 1  # any value but zero is a defect
    Image.fromarray(mask).save(own_category / "ground_truth" / "spot" / "000_mask.png")
    got = load(own_root, (16, 16)).test.masks[4, 0]
    covered = mask.reshape(16, 5, 16, 5).mean((1, 3))
    assert (got.numpy() == (covered >= 0.5)).all()
    assert 0 < got.sum() < (covered > 0).sum()


def test_a_defect_thinner_than_a_pixel_survives(own_root, own_category, load):
    mask = np.zeros((80, 80), np.uint8)
    mask[12, 7:60] = 255
    Image.fromarray(mask).save(own_category / "ground_truth" / "spot" / "000_mask.png")
    got = load(own_root, (16, 16)).test.masks[4, 0]
    rows, columns = got.nonzero(as_tuple=True)
    assert set(rows.tolist()) == {2}
    assert sorted(columns.tolist()) == list(range(1, 12))


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
