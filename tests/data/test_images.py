import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from ssn_lib import load_dataset
from ssn_lib.config import DataConfig, non_default_fields
from ssn_lib.data.images import find_full_scale, read_image
from ssn_lib.deploy import detector, inspection
from ssn_lib.errors import InputError
from ssn_lib.runs.loading import dataset_of, load_run
from ssn_lib.runs.run import configure

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


def test_plain_resizing_does_not_go_by_the_number_of_threads(tmp_path):
    """A training could not go on with another number: its images would not be the same."""
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (704, 256, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    threads, read = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            read.append(read_image(tmp_path / "a.png", (320, 116), "plain"))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(read[0], read[1])
    assert torch.equal(read[0], read[2])


# --- more than 8 bits ------------------------------------------------------------------------


def save_16_bit(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint16)).save(path)
    return path


@pytest.fixture
def parts(tmp_path):
    """parts(highest, highest of the test): a folder of 16-bit images that use so much of them."""

    def make(highest, tested):
        ramp = np.linspace(0, 1, 256).reshape(16, 16)
        for index in range(3):
            save_16_bit(tmp_path / f"parts/train/good/{index}.png", ramp * (highest - index))
        save_16_bit(tmp_path / "parts/test/good/0.png", ramp * highest)
        save_16_bit(tmp_path / "parts/test/bad/1.png", ramp * tested)
        save_16_bit(tmp_path / "parts/test/bad/2.png", ramp * tested)
        return tmp_path / "parts"

    return make


@pytest.mark.parametrize(
    ("highest", "full_scale"),
    [(255, 255), (256, 1023), (1000, 1023), (4095, 4095), (4096, 16383), (16384, 65535)],
)
def test_one_full_scale_for_the_whole_set(highest, full_scale, parts):
    dataset = load_dataset("folder", parts(highest, highest // 2), image_size=(16, 16))
    assert dataset.train.full_scale == dataset.test.full_scale == full_scale
    assert dataset.test.subset([0]).full_scale == full_scale
    assert dataset.train.images.max() == highest * 255 // full_scale
    *darker, good = dataset.test.images.amax((1, 2, 3)).tolist()
    assert good == highest * 255 // full_scale
    assert darker == [highest // 2 * 255 // full_scale] * 2  # not stretched by themselves
    if highest >= 255:
        assert len(dataset.train.images[0, 0].unique()) >= 64  # and not 4 to 16 grey levels


def test_16_bits_in_full_are_divided_by_257(tmp_path):
    values = np.arange(65536).reshape(256, 256)
    path = save_16_bit(tmp_path / "a.png", values)
    assert find_full_scale([path]) == 65535
    for resize in ("plain", "antialiased"):
        got = read_image(path, (256, 256), resize, 65535)
        assert torch.equal(got, torch.from_numpy(values // 257).expand(3, -1, -1))
        assert torch.equal(got, read_image(path, (256, 256), resize))


def test_files_of_8_bits_have_white_at_255_beside_others(tmp_path):
    deep = save_16_bit(tmp_path / "a.png", RAMP.astype(np.uint16) * 16)
    Image.fromarray(RAMP).save(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"damaged: named when it is read")
    assert find_full_scale([tmp_path / "b.png", tmp_path / "c.png"]) is None
    assert find_full_scale(sorted(tmp_path.iterdir())) == 4095
    assert read_image(tmp_path / "b.png", (48, 64), full_scale=4095).max() == RAMP.max()
    assert read_image(deep, (48, 64), full_scale=4095).max() == 252 * 16 * 255 // 4095


def test_values_above_the_full_scale_are_said_once(parts):
    dataset = load_dataset("folder", parts(4095, 5000), image_size=(16, 16))
    with pytest.warns(UserWarning) as warned:
        images = dataset.test.images
    assert [str(warning.message) for warning in warned] == [
        "images with values above 4095 (white in the training images), clipped to it: 2, "
        f"the first {dataset.root / 'test/bad/1.png'} (up to 5000)"
    ]
    assert images.max() == 255
    with pytest.warns(UserWarning, match=r"above 4095 .* \(up to 5000\)"):
        read_image(dataset.root / "test/bad/1.png", (16, 16), full_scale=4095)


def test_16_bit_files_beside_training_images_of_8_bits_are_said(own_category):
    path = save_16_bit(own_category / "test/good/000.png", np.full((80, 80), 65535))
    dataset = load_dataset("folder", own_category, image_size=(32, 32))
    assert dataset.train.full_scale is None
    with pytest.warns(UserWarning, match=f"65535 is taken for white: {path}"):
        assert dataset.test.images[0].min() == 255


def test_integers_of_32_bits_are_read_as_16(tmp_path):
    path = tmp_path / "a.tiff"
    Image.fromarray(RAMP.astype(np.int32) * 16).save(path)
    assert find_full_scale([path]) == 4095
    assert read_image(path, (48, 64), full_scale=4095).max() == 252 * 16 * 255 // 4095


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_integers_without_a_meaning_are_refused(value, tmp_path):
    path = tmp_path / "a.tiff"
    Image.fromarray(np.array([[0, value]], np.int32)).save(path)
    said = rf"a\.tiff holds integers from {min(0, value)} to {max(0, value)}; only 0 to 65535"
    with pytest.raises(InputError, match=said):
        read_image(path, (48, 64))


def test_of_several_pages_the_first_is_used_and_that_is_said(tmp_path):
    pages = [Image.new("L", (8, 8), grey) for grey in (50, 100)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match=r"several pages .* the first is used: .*a\.tiff \(2\)"):
        assert (read_image(tmp_path / "a.tiff", (8, 8)) == 50).all()


def test_a_run_keeps_its_full_scale(parts, record):
    dataset = load_dataset("folder", parts(4095, 4000), image_size=(16, 16))
    config = configure("scenario_a", dataset, weights=None)
    assert config.data.full_scale == 4095
    finished = replace(record(), config=config)
    assert dataset_of(finished, dataset.root, dataset.root).test.full_scale == 4095
    before = replace(finished, config=replace(config, data=replace(config.data, full_scale=None)))
    assert before.config.run_id != config.run_id
    with pytest.warns(UserWarning, match="65535 is taken for white: 3, the first"):
        again = dataset_of(before, dataset.root, dataset.root).test.images
    assert again.max() == 4095 // 257  # as that run saw them


def test_images_are_inspected_at_their_runs_full_scale(tiny_run, tmp_path, monkeypatch):
    finished, model = load_run(tiny_run[0], weights=None)
    data = replace(finished.config.data, full_scale=4095)
    finished = replace(finished, config=replace(finished.config, data=data))
    monkeypatch.setattr(detector, "load_detector", lambda *_: (finished, model))
    shown = []
    monkeypatch.setattr(inspection, "heatmap", lambda image, *_: shown.append(image) or image)
    grey = save_16_bit(tmp_path / "grey.png", np.full((16, 16), 2048))
    inspection.inspect(tiny_run[0], [grey], tmp_path / "out", weights=None)
    assert (shown[0] == 2048 * 255 // 4095).all()
    bright = save_16_bit(tmp_path / "bright.png", np.full((16, 16), 8190))
    with pytest.warns(UserWarning, match=r"above 4095 \(white in the training images\)"):
        inspection.inspect(tiny_run[0], [bright], tmp_path / "out", weights=None)


def test_the_full_scale_of_8_bits_changes_no_run_id():
    assert DataConfig("d", "c").full_scale is None
    assert "full_scale" not in non_default_fields(DataConfig("d", "c"))
    assert non_default_fields(DataConfig("d", "c", full_scale=4095))["full_scale"] == 4095


def test_all_files_that_cannot_be_read_are_named_at_once(mvtec_root, tmp_path, refusal):
    parts = shutil.copytree(mvtec_root / "mvtec_ad" / "widget", tmp_path / "parts")
    good = parts / "train" / "good"
    (good / "001.png").write_bytes(b"")
    (good / "004.png").write_bytes(b"half of it")
    line = refusal(lambda: load_dataset("folder", parts).train.images)
    assert line == f"{good / '001.png'} is empty; replace or remove it; likewise {good / '004.png'}"
    for number in range(20):
        (good / f"1{number:02}.png").write_bytes(b"")
    line = refusal(lambda: load_dataset("folder", parts).train.images)
    assert line.endswith("108.png and 11 more")
