import errno
import os
import shutil

import numpy as np
import pytest
from PIL import Image, features

from ssn_lib.data import listing
from ssn_lib.data.listing import (
    Unreadable,
    defective_samples,
    list_folders,
    list_images,
    named_like_a_mask,
    photographs,
    warn_of_unused,
)

PIXELS = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))


@pytest.fixture
def put(tmp_path):
    """put(name, ...): small images of those names, below the folder that it returns."""

    def save(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            PIXELS.save(path, format="PNG")
        return tmp_path

    return save


def names(paths):
    return [path.name for path in paths]


# --- listing -------------------------------------------------------------------------------------


def test_images_are_listed_by_name_without_what_is_hidden(put):
    folder = put("b.png", "a.JPG", "c.Tif", "._a.JPG", ".hidden.png", "sub.png/x.png")
    for name in ("notes.txt", "Thumbs.db", "desktop.ini", "labels.csv", "no_suffix"):
        (folder / name).write_text("no image")
    assert names(list_images(folder)) == ["a.JPG", "b.png", "c.Tif"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_image_and_is_not_waited_for(put):
    folder = put("a.png")
    os.mkfifo(folder / "b.png")
    assert names(list_images(folder)) == ["a.png"]


@pytest.mark.parametrize(
    "name",
    [".git", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"],
)
def test_folders_that_are_no_data(name, put):
    folder = put(f"{name}/a.png", "scratch/a.png")
    assert names(list_folders(folder)) == ["scratch"]
    assert names(list_images(folder / name)) == ["a.png"]  # the user's word counts
    warn_of_unused(folder, [folder / "scratch/a.png"], "no warning")


@pytest.mark.parametrize("suffix", [".jfif", ".pgm", ".ppm", ".gif", ".tga", ".jpe", ".dib"])
def test_whatever_pillow_reads_is_an_image(suffix, tmp_path):
    PIXELS.save(tmp_path / f"a{suffix}")
    assert names(list_images(tmp_path)) == [f"a{suffix}"]


def test_what_only_some_pillows_read(put):
    folder = put("a.png", "b.avif")
    if features.check("avif"):
        assert len(list_images(folder)) == 2
    else:
        with pytest.warns(UserWarning, match=r"1 image is not used, in \./\*\.avif \(1\)"):
            warn_of_unused(folder, list_images(folder), "")


def test_images_that_are_not_read_are_counted_by_kind(put):
    folder = put("a.png", "b.heic", "c.HEIC", "d.psd")
    with pytest.warns(UserWarning) as warned:
        warn_of_unused(folder, list_images(folder), "this is read")
    (line,) = [str(warning.message) for warning in warned]
    assert line == (
        f"{folder}: 3 images are not used, in ./*.heic (2), ./*.psd (1); this is read; .heic, .psd "
        "cannot be read here: convert them to PNG"
    )


def test_many_places_are_one_line(put):
    folder = put("a/1.png", "b/1.png", "b/2.png", "c/1.png", "d/e/1.png", "d/e/2.png", "d/e/3.png")
    with pytest.warns(UserWarning, match=r"7 .* in d/e \(3\), b \(2\), a \(1\), elsewhere \(1\);"):
        warn_of_unused(folder, [], "advice")


def test_what_is_used_through_a_link_is_used(put):
    folder = put("store/1.png", "store/2.png")
    (folder / "a").symlink_to(folder / "store")
    warn_of_unused(folder, list_images(folder / "a"), "no warning")


# --- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mask", "Masks", "label", "LABELS", "seg", "segmentation", "gt"])
@pytest.mark.parametrize("stem", ["1_{}", "{}-1", "1 {}", "1.{}", "{}", "1_{} (2)", "1_{} - Copy"])
def test_names_of_masks(name, stem, put, refusal):
    stem = stem.format(name)
    folder = put(f"spot/{stem}.png") / "spot"
    message = refusal(lambda: photographs(folder))
    assert f"{stem}.png is named like a mask and lies among the images" in message
    assert "ground_truth/spot" in message


@pytest.mark.parametrize(
    "stem", ["1_groundtruth", "ground_truth_1", "Ground-Truth", "1_annotation"]
)
def test_other_names_of_masks(stem, put):
    assert named_like_a_mask(put() / f"{stem}.png")


@pytest.mark.parametrize(
    "stem", ["maskenball", "1_label_defect", "agt_1", "unmasked", "segment_1", "1gt", "label1"]
)
def test_names_of_photographs(stem, put):
    assert not named_like_a_mask(put() / f"{stem}.png")
    folder = put(f"label_defect/{stem}.png") / "label_defect"  # a folder's name says nothing
    assert len(photographs(folder)) == 1


def test_two_files_of_one_name(put, refusal):
    message = refusal(lambda: photographs(put("spot/a.jpg", "spot/a.png") / "spot"))
    assert "spot/a.jpg and a.png have one name: move masks to ground_truth/spot" in message


@pytest.mark.parametrize("name", ["1_mask.PNG", "1_MASK.bmp", "1_mask.tif", "1.png", "1.JPEG"])
def test_a_mask_has_any_suffix(name, put):
    folder = put("spot/1.jpg", f"truth/{name}")
    (sample,) = defective_samples(folder / "spot", folder / "truth", all_masked=True)
    assert sample.mask == folder / "truth" / name
    assert (sample.label, sample.defect) == (1, "spot")


@pytest.mark.parametrize("other", ["1_mask.bmp", "1.png"])
def test_two_masks_of_one_image(other, put, refusal):
    folder = put("spot/1.jpg", "truth/1_mask.png", f"truth/{other}")
    message = refusal(
        lambda: defective_samples(folder / "spot", folder / "truth", all_masked=False)
    )
    assert "spot/1.jpg has two masks" in message
    assert "1_mask.png" in message
    assert other in message


def test_masks_of_some_or_of_all(put, refusal):
    folder = put("spot/1.png", "spot/2.png", "truth/2_mask.png")
    samples = defective_samples(folder / "spot", folder / "truth", all_masked=False)
    assert [sample.mask is None for sample in samples] == [True, False]
    message = refusal(lambda: defective_samples(folder / "spot", folder / "truth", all_masked=True))
    assert "1_mask.png is missing" in message
    put("truth/3_mask.png")
    message = refusal(
        lambda: defective_samples(folder / "spot", folder / "truth", all_masked=False)
    )
    assert "3_mask.png has no image of that name among those of 'spot'" in message


# --- the file system -----------------------------------------------------------------------------


@pytest.fixture
def broken(monkeypatch):
    """broken(folder, number): that folder cannot be looked into any more, for that reason."""

    def breaks(folder, number):
        scan = os.scandir

        def scandir(path):
            if path == folder:
                raise OSError(number, os.strerror(number), str(path))
            return scan(path)

        monkeypatch.setattr(listing.os, "scandir", scandir)

    return breaks


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "Permission denied; ask for the right to read it"),
        (errno.ESTALE, "if it lies on a share, connect that again"),
        (errno.EIO, "if it lies on a share, connect that again"),
    ],
)
def test_a_folder_that_cannot_be_looked_into(number, advice, put, broken, refusal):
    folder = put("a/1.png", "b/1.png")
    broken(folder / "a", number)
    for call in (list_images, list_folders, photographs):
        message = refusal(lambda call=call: call(folder / "a"))
        assert message.startswith(f"{folder / 'a'} cannot be read: ")
        assert advice in message
    with pytest.warns(UserWarning, match="a cannot be read: "):  # it may hold images
        warn_of_unused(folder, [folder / "b/1.png"], "")


def test_a_link_that_leads_nowhere(put):
    folder = put("1.png")
    (folder / "notes.txt").symlink_to("/nowhere/notes.txt")
    (folder / "2.png").symlink_to("2.png")
    assert names(list_images(folder)) == ["1.png", "2.png"]  # whoever reads it says what it is
    assert list_folders(folder) == []
    (folder / "spot").symlink_to("/nowhere/spot")
    with pytest.raises(Unreadable, match="spot is a link to /nowhere/spot, which is not there"):
        list_folders(folder)


def test_a_folder_of_another_name_is_its_counterpart_only_where_that_is_clear(put):
    folder = put("test/Dent/1.png", "truth/DENT/1.png", "truth/spot/1.png")
    kind = folder / "test/Dent"
    assert listing.counterpart(kind, folder / "truth") == folder / "truth/DENT"
    put("truth/dent/1.png")
    assert not listing.counterpart(kind, folder / "truth").exists()
    shutil.copytree(kind, folder / "truth/Dent")
    assert listing.counterpart(kind, folder / "truth") == folder / "truth/Dent"
    assert listing.counterpart(kind, folder / "nowhere") == folder / "nowhere/Dent"


def test_an_accent_of_its_own_is_the_same_name(tmp_path):
    """As folders from a Mac have it: ä as a and two dots."""
    for folder, name in (("cut", "\u00e4.png"), ("masks", "a\u0308_mask.png")):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / folder / name)
    (sample,) = defective_samples(tmp_path / "cut", tmp_path / "masks", all_masked=True)
    assert sample.mask == tmp_path / "masks" / "a\u0308_mask.png"


def test_a_folder_of_masks_is_no_kind_of_defect(put, refusal):
    for name in ("masks", "GT", "ground_truth"):
        said = refusal(lambda name=name: photographs(put(f"{name}/1.png") / name))
        assert "is named like a folder of masks and lies among those of images" in said
    assert names(photographs(put("label/1.png") / "label")) == ["1.png"]


def test_masks_in_a_folder_for_each_image_are_told_apart_from_none(put, refusal):
    root = put("test/bent/000.png", "masks/bent/000/000.png")
    both = root / "test" / "bent", root / "masks" / "bent"
    said = refusal(lambda: defective_samples(*both, all_masked=True))
    assert said.endswith("merge them into one, " + str(root / "masks/bent/000_mask.png"))


def test_where_no_image_is_found_what_is_there_is_said(put, refusal):
    root = put("train/good/rgb/1.png", "train/good/2.heic")
    with pytest.warns(UserWarning, match=r"2 images are not used, in .*rgb.*heic"):
        said = refusal(lambda: listing.good_training_samples(root))
    assert said.endswith("good: no images to train on")


def test_a_folders_accent_is_the_same_name(put):
    root = put("test/L\u00f6cher/1.png", "masks/Lo\u0308cher/1.png")
    kind = root / "test" / "L\u00f6cher"
    assert listing.counterpart(kind, root / "masks").exists()
