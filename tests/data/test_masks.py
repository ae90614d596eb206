import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from ssn_lib.data.decoding import Remarks
from ssn_lib.data.masks import is_black, read_whole_mask, shrunk
from ssn_lib.errors import InputError

DRAWN = np.zeros((12, 16), bool)
DRAWN[2:6, 3:9] = True


@pytest.fixture
def marked(tmp_path):
    """marked(image, name): where it marks something, read as the mask of an image of its size."""
    Image.new("L", DRAWN.shape[::-1]).save(tmp_path / "image.png")

    def read(image, name="mask.png", **options):
        path = tmp_path / name
        image.save(path, **options)
        assert is_black(path) == (not read_whole_mask(path, tmp_path / "image.png").any())
        return read_whole_mask(path, tmp_path / "image.png")

    return read


def channels(*values, kind=np.uint8):
    """One array per channel from (value where drawn, value elsewhere)."""
    return np.stack([np.where(DRAWN, there, else_) for there, else_ in values], 2).astype(kind)


# --- what is marked ---------------------------------------------------------------------------


@pytest.mark.parametrize("palette", [[0, 0, 0] * 256, [255] * 768, [0] * 3 + [0, 0, 1] * 255])
@pytest.mark.parametrize(
    ("name", "transparency"),
    [
        *(("mask.png", value) for value in (None, 0, 7, bytes(256), b"\xff" * 256)),
        *(("mask.gif", value) for value in (None, 0, 7)),
    ],
)
def test_a_palettes_index_decides_and_not_its_colour(palette, name, transparency, marked):
    image = Image.fromarray(np.where(DRAWN, 7, 0).astype(np.uint8)).convert("P")
    image.putpalette(palette)
    options = {} if transparency is None else {"transparency": transparency}
    assert (marked(image, name, optimize=False, **options) == DRAWN).all()


@pytest.mark.parametrize(
    "values",
    [
        ((255, 255), (255, 255), (255, 255), (255, 0)),  # white, and white unseen
        ((0, 0), (0, 0), (0, 0), (255, 0)),  # black on nothing
        ((0, 0), (0, 0), (0, 0), (1, 0)),
        ((9, 9), (255, 0)),
        ((255, 255), (0, 0), (0, 0), (128, 0)),
    ],
)
def test_alpha_decides_where_it_alone_varies(values, marked):
    assert (marked(Image.fromarray(channels(*values))) == DRAWN).all()


@pytest.mark.parametrize("alpha", [(255, 255), (0, 0), (255, 0)])
@pytest.mark.parametrize("there", [(255, 255, 255), (0, 0, 1), (1, 0, 0), (0, 1, 0)])
def test_alpha_does_not_hide_what_the_colour_marks(there, alpha, marked):
    image = channels(*((value, 0) for value in there), alpha)
    assert (marked(Image.fromarray(image)) == DRAWN).all()


def test_what_cannot_be_seen_is_not_marked(marked):
    """An eraser leaves colour behind, under an alpha of 0."""
    image = channels((255, 200), (0, 200), (0, 200), (255, 0))
    assert (marked(Image.fromarray(image)) == DRAWN).all()


def test_an_alpha_that_is_the_same_everywhere_marks_nothing(marked):
    for alpha in (0, 1, 255):
        assert not marked(Image.new("RGBA", (16, 12), (0, 0, 0, alpha))).any()
        assert not marked(Image.new("LA", (16, 12), (0, alpha))).any()


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("name", ["mask.png", "mask.bmp", "mask.tif", "mask.PNG"])
def test_a_class_in_any_one_channel_is_marked(value, channel, name, marked):
    """Blue = 1 has the luminance 0."""
    image = np.zeros((*DRAWN.shape, 3), np.uint8)
    image[DRAWN, channel] = value
    assert (marked(Image.fromarray(image), name) == DRAWN).all()


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, bool),
        (1, np.uint8),
        (1, np.uint16),
        (256, np.uint16),
        (65535, np.uint16),
        (1, np.int32),
        (70000, np.int32),
        (-1, np.int32),
        (-(2**31), np.int32),
        (0.001, np.float32),
        (-1.0, np.float32),
    ],
)
def test_any_number_but_zero_is_marked(value, kind, marked):
    image = Image.fromarray(np.where(DRAWN, value, 0).astype(kind))
    assert (marked(image, "mask.tiff") == DRAWN).all()


def test_a_cmyk_masks_black_is_not_marked(marked):
    image = Image.fromarray(channels((255, 0), (255, 0), (255, 0))).convert("CMYK")
    assert (marked(image, "mask.tiff") == DRAWN).all()


@pytest.mark.parametrize("value", [1, 40, 255])
def test_what_jpeg_leaves_beside_a_mark_is_not_marked(value, marked):
    image = np.zeros((12, 16), np.uint8)
    image[:, :8] = value
    got = marked(Image.fromarray(image), "mask.jpg", quality=75)
    assert (got == (image > 0)).all()
    ringing = marked(Image.fromarray(np.where(DRAWN, 255, 0).astype(np.uint8)), "b.jpg")
    assert (ringing == DRAWN).all()
    assert not marked(Image.new("L", (16, 12)), "black.jpg").any()


# --- a set's masks ------------------------------------------------------------------------------


def mask_of(category, index):
    return category / "ground_truth" / "spot" / f"{index:03}_mask.png"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "masks of defective images that mark nothing"),
        (255, r"masks of defective images that mark every pixel \(0 must mean sound\)"),
    ],
)
def test_masks_of_nothing_or_everything_are_said_once(value, said, own_root, own_category, load):
    first = mask_of(own_category, 0)
    Image.new("L", (80, 80), value).save(first)
    with pytest.warns(UserWarning, match=rf"^{said}: {first}$") as warned:
        masks = load(own_root).test.masks
    assert len(warned) == 1
    assert (masks[4] == value / 255).all()
    Image.new("L", (80, 80), value).save(mask_of(own_category, 1))
    with pytest.warns(UserWarning, match=rf"^{said}: 2, the first {first}$") as warned:
        load(own_root).test.masks  # noqa: B018
    assert len(warned) == 1


def test_black_strips_are_sound_and_nothing_is_said(ksdd2_root, load_ksdd2):
    train = load_ksdd2(ksdd2_root).train  # its own: the session's may have been read before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masks = train.masks
    assert train.labels.tolist() == [0] * 8 + [1] * 4
    assert not masks[:8].any()


def test_a_mask_of_several_pages_is_said(own_root, own_category, load):
    path = mask_of(own_category, 0)
    with Image.open(path) as image:
        first = image.copy()
    first.save(path, save_all=True, append_images=[Image.new("L", (80, 80), 9)])
    with pytest.warns(UserWarning, match=rf"several pages or frames.*: {path} \(2\)"):
        assert load(own_root).test.masks[4].any()


def test_masks_are_turned_as_their_images_are(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored, shown = DRAWN, np.rot90(DRAWN, -1)
    image, mask = tmp_path / "image.jpg", tmp_path / "mask.png"
    Image.new("RGB", stored.shape[::-1]).save(image, exif=exif)
    Image.fromarray(shown).save(mask)  # as a labelling tool writes it
    assert (read_whole_mask(mask, image) == shown).all()
    Image.fromarray(stored).save(mask, exif=exif)  # or as a copy of the image with its tag
    assert (read_whole_mask(mask, image) == shown).all()
    Image.fromarray(stored).save(mask)
    with pytest.raises(InputError, match="12×16 pixels.* 16×12: turn the mask"):
        read_whole_mask(mask, image)


# --- at the size of a network's map --------------------------------------------------------------


def test_a_mask_of_another_size_is_named(own_root, own_category, load):
    path = own_category / "ground_truth" / "spot" / "001_mask.png"
    Image.new("L", (80, 79), 255).save(path)
    with pytest.raises(InputError, match=rf"mask {path} is 79×80 pixels .*, its image .* 80×80"):
        load(own_root).test.masks  # noqa: B018


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


def test_a_mask_read_by_itself(tmp_path):
    Image.fromarray(DRAWN).save(tmp_path / "mask.png")
    got = shrunk(read_whole_mask(tmp_path / "mask.png", tmp_path / "mask.png"), DRAWN.shape)
    assert got.dtype == torch.uint8
    assert (got.numpy() == DRAWN).all()


@pytest.mark.parametrize(
    ("orientation", "size", "said"),
    [(1, (12, 8), False), (3, (12, 8), True), (6, (12, 8), False), (6, (8, 8), True)],
)
def test_a_mask_without_its_images_orientation_is_said(orientation, size, said, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(tmp_path / "a.jpg", exif=exif)
    shown = size[::-1] if orientation == 6 else size
    Image.new("L", shown, 255).save(tmp_path / "a.png")
    remarks = Remarks()
    read_whole_mask(tmp_path / "a.png", tmp_path / "a.jpg", remarks)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        remarks.warn()
    assert len(told) == said
    if told:
        assert "masks without an orientation tag, of images with one" in str(told[0].message)
