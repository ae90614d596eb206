from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssn_lib import load_dataset
from ssn_lib.data import rendered
from ssn_lib.errors import InputError

KINDS = [(c, f"test/{d}") for c, defects in rendered.MVTEC_DEFECTS.items() for d in defects]
KINDS += [("ksdd2", "train/scratch"), ("ksdd2", "test/crack")]


@pytest.fixture(scope="module")
def root(demo_base):
    return demo_base / f"demo-v{rendered.DEMO_VERSION}"


def read(path):
    with Image.open(path) as image:
        return image.mode, np.asarray(image)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_mvtec_layout(root):
    assert root.name == f"demo-v{rendered.DEMO_VERSION}"
    assert names(root / "mvtec_ad") == ["bottle", "carpet", "screw"]
    for category, defects in rendered.MVTEC_DEFECTS.items():
        home = root / "mvtec_ad" / category
        assert names(home) == ["ground_truth", "test", "train"]
        assert names(home / "train") == ["good"]
        assert names(home / "test") == sorted([*defects, "good"])
        assert names(home / "ground_truth") == sorted(defects)
        assert names(home / "train/good") == [f"{i:03}.png" for i in range(24)]
        assert names(home / "test/good") == [f"{i:03}.png" for i in range(8)]
        for defect in defects:
            assert names(home / "test" / defect) == [f"{i:03}.png" for i in range(5)]
            masks = [f"{i:03}_mask.png" for i in range(5)]
            assert names(home / "ground_truth" / defect) == masks


def test_mvtec_images_and_masks(root):
    for path in sorted((root / "mvtec_ad").rglob("*.png")):
        mode, pixels = read(path)
        if not path.name.endswith("_mask.png"):
            assert (mode, pixels.shape) == ("RGB", (256, 256, 3)), path
            continue
        assert (mode, pixels.shape) == ("L", (256, 256)), path
        assert set(np.unique(pixels)) == {0, 255}, path
        assert 50 < np.count_nonzero(pixels) < 0.1 * pixels.size, path


@pytest.mark.parametrize(
    ("split", "first", "count", "bad"), [("train", 10000, 30, 10), ("test", 20000, 20, 7)]
)
def test_ksdd2_layout_images_and_masks(root, split, first, count, bad):
    folder, defective = root / "ksdd2" / split, 0
    stems = [str(first + i) for i in range(count)]
    assert names(folder) == sorted(f"{stem}{end}.png" for stem in stems for end in ("", "_GT"))
    for stem in stems:
        mode, pixels = read(folder / f"{stem}.png")
        truth_mode, truth = read(folder / f"{stem}_GT.png")
        assert (mode, truth_mode) == ("RGB", "L")
        assert truth.shape == pixels.shape[:2]
        assert 630 <= pixels.shape[0] <= 640
        assert 228 <= pixels.shape[1] <= 236
        assert (pixels == pixels[..., :1]).all()  # grey
        assert set(np.unique(truth)) <= {0, 255}
        assert not truth.any() or 50 < np.count_nonzero(truth) < 0.1 * truth.size
        defective += truth.any()
    assert defective == bad


def test_images_of_a_kind_differ(root):
    for folder in [
        *(root / "mvtec_ad").glob("*/train/good"),
        *(root / "mvtec_ad").glob("*/test/*"),
    ]:
        images = [read(path)[1].tobytes() for path in sorted(folder.iterdir())]
        assert len(set(images)) == len(images), folder


@pytest.mark.parametrize(("category", "kind"), [*KINDS[1::3], ("bottle", "train/good")])
def test_drawing_again_gives_the_same_bits(category, kind):
    first, second = rendered.render(category, kind, 3), rendered.render(category, kind, 3)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))


def test_files_hold_what_render_draws(root):  # drawn here in another order, in other company
    folder = root / "mvtec_ad/screw"
    pixels, mask = rendered.render("screw", "test/thread_side", 4)
    assert (read(folder / "test/thread_side/004.png")[1] == pixels).all()
    assert (read(folder / "ground_truth/thread_side/004_mask.png")[1] == mask).all()
    pixels, mask = rendered.render("ksdd2", "test/crack", 4)
    assert (read(root / "ksdd2/test/20004.png")[1] == pixels).all()
    assert (read(root / "ksdd2/test/20004_GT.png")[1] == mask).all()


@pytest.mark.parametrize(("category", "kind"), KINDS)
def test_the_mask_is_where_the_defect_is(category, kind):
    pixels, mask = rendered.render(category, kind, 0)
    clean, nothing = rendered.render(category, kind, 0, clean=True)
    assert not nothing.any()
    change = np.abs(pixels.astype(int) - clean).max(axis=2)
    assert change[mask == 255].mean() > 12  # grey levels
    assert change[mask == 0].max() == 0


def test_a_second_call_draws_nothing_and_no_scrap_is_left(root, monkeypatch):
    monkeypatch.setattr(rendered, "render", None)
    assert rendered.demo_root(root.parent) == root
    assert names(root.parent) == [root.name]


def test_default_base_is_data_in_the_working_folder(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / root.name).symlink_to(root)
    assert rendered.demo_root() == Path("data") / root.name


def test_the_loser_of_a_race_uses_the_winners_files(tmp_path, monkeypatch):
    theirs = tmp_path / f"demo-v{rendered.DEMO_VERSION}" / "theirs.txt"

    def render(*_):
        theirs.parent.mkdir(exist_ok=True)
        theirs.write_text("won")
        return np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)

    monkeypatch.setattr(rendered, "render", render)
    assert rendered.demo_root(tmp_path) == theirs.parent
    assert names(theirs.parent) == ["theirs.txt"]
    assert names(tmp_path) == [theirs.parent.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError(28, "No space left")])
def test_nothing_half_made_is_left(tmp_path, monkeypatch, error):
    def render(category, kind, index):
        if index == 2:
            raise error
        return np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)

    monkeypatch.setattr(rendered, "render", render)
    expected = InputError if isinstance(error, OSError) else error
    with pytest.raises(expected):
        rendered.demo_root(tmp_path)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path):
    (tmp_path / "file").write_text("in the way")  # the tests may run as root: modes stop nobody
    base = tmp_path / "file" / "data"
    with pytest.raises(InputError) as caught:
        rendered.demo_root(base)
    message = str(caught.value)
    assert str(base) in message
    assert "--data-root" in message
    assert "\n" not in message


def test_the_strips_are_read_as_kolektorsdd2_is(root):
    found = load_dataset("demo", root.parent, category="ksdd2", image_size=(64, 24))
    assert (found.category, len(found.train), len(found.test)) == ("ksdd2", 30, 20)
    assert 0 < found.train.labels.sum() < 15
    assert found.test.has_masks
