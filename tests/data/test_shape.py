import shutil
import warnings

import pytest
from PIL import Image

from ssn_lib.data.loading import load_dataset
from ssn_lib.data.shape import in_shape


@pytest.fixture
def put(tmp_path):
    """put((width, height), ...): a file of each size."""

    def save(*sizes):
        for number, size in enumerate(sizes):
            (tmp_path / "good").mkdir(exist_ok=True)
            Image.new("L", size, 99).save(tmp_path / "good" / f"{number}.png")
        return sorted((tmp_path / "good").iterdir())

    return save


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((500, 500), (448, 448)),
        ((1600, 1200), (384, 512)),  # (width, height) of the file
        ((1200, 1600), (512, 384)),
        ((2448, 2048), (408, 488)),
        ((3000, 300), (144, 1440)),
        ((3600, 100), (72, 2592)),
    ],
)
def test_the_shape_stays_and_so_does_the_number_of_pixels(size, seen, put):
    found = in_shape(put(size), [], (448, 448))
    assert found == seen
    assert all(side % 8 == 0 for side in found)
    assert 0.9 < found[0] * found[1] / 448**2 < 1.1
    assert found[0] / found[1] == pytest.approx(size[1] / size[0], rel=0.03)


def test_the_commonest_shape_decides_and_others_are_counted(put):
    paths = put((800, 400), (804, 400), (400, 800), (800, 402), (500, 500))
    said = r"2 of 5 images are stretched to 184×368 pixels \(height×width\), .*2\.png"
    with pytest.warns(UserWarning, match=said):
        assert in_shape(paths, [], (256, 256)) == (184, 368)


def test_of_two_shapes_one_decides_and_none_is_between(put):
    paths = put((400, 300), (300, 400), (300, 400), (400, 300))
    with pytest.warns(UserWarning, match="2 of 4 images"):
        size = in_shape(paths, [], (256, 256))
    assert size in {(224, 296), (296, 224)}


def test_test_images_of_another_shape_are_counted_too(put):
    *trained, tested = put((400, 400), (400, 400), (400, 300))
    with pytest.warns(UserWarning, match=r"1 of 3 images are stretched to 256×256 .*2\.png"):
        assert in_shape(trained, [tested], (256, 256)) == (256, 256)


def test_an_endless_strip_is_shortened_and_that_is_said(put):
    with pytest.warns(UserWarning, match="1 of 1 images are stretched to 16×8192 "):
        assert in_shape(put((9000, 3)), [], (256, 256)) == (16, 8192)


def test_nearly_the_same_shape_is_the_same(put):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert in_shape(put((400, 400), (402, 400), (430, 400)), [], (256, 256)) == (256, 256)


def test_an_image_lying_on_its_side_is_seen_as_it_is_shown(put):
    (path,) = put((800, 400))
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(path, exif=exif)
    assert in_shape([path], [], (256, 256)) == (368, 184)


def test_what_cannot_be_read_does_not_count(put):
    paths = put((800, 400), (800, 400))
    paths[0].write_bytes(b"no image")
    assert in_shape(paths, [], (256, 256)) == (184, 368)
    assert in_shape(paths[:1], [], (256, 256)) == (256, 256)
    assert in_shape([], [], (256, 256)) == (256, 256)


def test_only_where_no_size_is_asked_for_and_the_images_are_the_users_own(put, mvtec_root):
    root = put((800, 400), (800, 400))[0].parent.parent
    with pytest.warns(UserWarning, match="2 of 2 images are stretched to 64×64"):
        asked = load_dataset("folder", root, made_for=(448, 448), image_size=(64, 64))
    seen = {
        "shape": load_dataset("folder", root, made_for=(448, 448)),
        "as asked": asked,
        "by default": load_dataset("folder", root),
        "public": load_dataset("mvtec_ad", mvtec_root, category="widget", made_for=(448, 448)),
    }
    assert {name: dataset.train.image_size for name, dataset in seen.items()} == {
        "shape": (320, 640),
        "as asked": (64, 64),
        "by default": (256, 256),
        "public": (448, 448),
    }


@pytest.mark.filterwarnings("ignore:.* images are stretched")
def test_strips_keep_the_published_size(ksdd2_root):
    with pytest.warns(UserWarning, match="not KolektorSDD2"):
        assert load_dataset("ksdd2", ksdd2_root, made_for=(448, 448)).train.image_size == (640, 232)


def test_public_layouts_say_what_they_stretch(mvtec_root, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(mvtec_root, root)
    for path in (root / "mvtec_ad").glob("*/t*/good/*.png"):
        Image.new("RGB", (90, 60)).save(path)
    with pytest.warns(UserWarning, match=r"\d+ of \d+ images are stretched to 256×256 pixels"):
        load_dataset("mvtec_ad", root, category="widget")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_dataset("mvtec_ad", root, category="widget", image_size=(32, 48))
