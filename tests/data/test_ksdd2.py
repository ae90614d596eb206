import os
import pickle
import shutil

import pytest

from ssn_lib import load_dataset
from ssn_lib.data.pixel_labels import read_split, with_masks
from ssn_lib.errors import InputError


def refusal(call):
    """The one-line message of the InputError that `call` must raise."""
    with pytest.raises(InputError) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    return message


def masked(images):
    """Names of the images whose mask is used."""
    return {sample.image.stem for sample in images.samples if sample.mask is not None}


# --- reading ---------------------------------------------------------------------------------


def test_pairs_labels_and_masks(strips):
    assert [s.image.name for s in strips.train.samples] == [f"{10000 + i}.png" for i in range(12)]
    assert strips.train.labels.tolist() == [0] * 8 + [1] * 4
    assert strips.test.labels.tolist() == [0] * 3 + [1] * 2
    assert masked(strips.train) == {"10008", "10009", "10010", "10011"}
    assert strips.train.images.shape == (12, 3, 40, 24)
    marked = strips.train.masks.flatten(1).sum(1)
    assert (marked[:8] == 0).all()
    assert (marked[8:] > 20).all()
    assert strips.category == "strips"  # not the official images, so not called by their name


def test_found_below_the_root_too(ksdd2_root, strips, load_ksdd2):
    assert load_ksdd2(ksdd2_root.parent).fingerprint == strips.fingerprint


@pytest.mark.filterwarnings("ignore:.* images are stretched")
def test_other_counts_than_the_official_are_said(ksdd2_root):
    with pytest.warns(UserWarning, match=r"train 8 \+ 4 \(official 2085 \+ 246\), test 3 \+ 2"):
        assert load_dataset("ksdd2", ksdd2_root).train.image_size == (640, 232)  # as published


def test_the_stray_copies_are_passed_over(own_ksdd2, strips):
    """The official archive holds them; taken for an image, the second one is a mask."""
    shutil.copy(own_ksdd2 / "train/10001.png", own_ksdd2 / "train/10001 (copy).png")
    shutil.copy(own_ksdd2 / "train/10001_GT.png", own_ksdd2 / "train/10001_GT (copy).png")
    with pytest.warns(UserWarning) as warned:
        found = load_dataset("ksdd2", own_ksdd2)
    said = [str(warning.message) for warning in warned]
    assert any("passed over 2 files" in text and "10001 (copy).png" in text for text in said)
    assert [s.image.name for s in found.train.samples] == [
        s.image.name for s in strips.train.samples
    ]


@pytest.mark.parametrize(
    ("gone", "said"),
    [("10003_GT.png", "10003.png: its mask 10003_GT.png is missing"), ("10003.png", "without its")],
)
def test_an_image_without_its_mask_or_the_reverse(gone, said, own_ksdd2, load_ksdd2):
    (own_ksdd2 / "train" / gone).unlink()
    assert said in refusal(lambda: load_ksdd2(own_ksdd2))


def test_the_repackaging_is_refused_by_name(tmp_path):
    for folder in ("train/img", "train/ann", "test/img", "test/ann"):
        (tmp_path / "ksdd2" / folder).mkdir(parents=True)
    message = refusal(lambda: load_dataset("ksdd2", tmp_path))
    assert "DatasetNinja" in message
    assert "https://" in message


def test_no_such_data(tmp_path, own_ksdd2, monkeypatch):
    assert "holds no KolektorSDD2" in refusal(
        lambda: load_dataset("ksdd2", tmp_path / "strips/train")
    )
    assert "no such folder" in refusal(lambda: load_dataset("ksdd2", tmp_path / "elsewhere"))
    shutil.copytree(own_ksdd2, tmp_path / "again")
    assert "both have" in refusal(lambda: load_dataset("ksdd2", tmp_path))
    monkeypatch.chdir(own_ksdd2 / "test")
    assert "KolektorSDD2 not found (tried data" in refusal(lambda: load_dataset("ksdd2"))


def test_what_is_not_used_is_one_line(own_ksdd2, load_ksdd2):
    shutil.copytree(own_ksdd2 / "test", own_ksdd2 / "val")
    shutil.copytree(own_ksdd2 / "test", own_ksdd2 / "train/more")
    with pytest.warns(
        UserWarning, match=r"20 images are not used, in train/more \(10\), val \(10\)"
    ):
        load_ksdd2(own_ksdd2)


def test_the_root_wins_and_what_an_archiver_left_is_no_data(own_ksdd2, load_ksdd2, strips):
    shutil.copytree(own_ksdd2, own_ksdd2.parent / "__MACOSX")
    (own_ksdd2 / "train/._10000_GT.png").write_bytes(b"\0\5\x16\7")
    assert load_ksdd2(own_ksdd2.parent).fingerprint == strips.fingerprint
    shutil.copytree(own_ksdd2 / "train", own_ksdd2 / ".old/train")
    shutil.copytree(own_ksdd2 / "test", own_ksdd2 / ".old/test")
    hidden = own_ksdd2.rename(own_ksdd2.with_name(".strips"))
    assert load_ksdd2(hidden).fingerprint == strips.fingerprint


def test_another_split_file_is_other_data(own_ksdd2, load_ksdd2, strips):
    (own_ksdd2 / "split_weakly_2.pyb").write_bytes(pickle.dumps(([("10008", False)], [])))
    assert load_ksdd2(own_ksdd2).fingerprint != strips.fingerprint


# --- whose masks are used ---------------------------------------------------------------------


def test_the_split_file_decides_where_there_is_one(strips):
    for seed in (1, 2):
        assert masked(with_masks(strips.train, 2, seed)) == {"10009", "10011"}


def test_a_part_of_the_images_has_no_official_split(strips):
    part = strips.train.subset([0, 1, 2, 8, 9, 10])
    assert len(masked(with_masks(part, 2, 1))) == 2
    assert strips.train.subset(range(12)).splits == strips.train.splits


@pytest.mark.filterwarnings("ignore:.*not KolektorSDD2 as published")
def test_a_category_is_refused(ksdd2_root):
    with pytest.raises(InputError, match="category='foo': KolektorSDD2 has no categories"):
        load_dataset("ksdd2", ksdd2_root, category="foo")


def test_an_own_draw_depends_on_the_seed_and_is_nested(strips):
    train = strips.train.subset(range(12))
    drawn = {seed: masked(with_masks(train, 1, seed)) for seed in range(20)}
    assert set.union(*drawn.values()) == masked(train)
    for seed in range(5):
        assert drawn[seed] == masked(with_masks(train, 1, seed))
        assert drawn[seed] < masked(with_masks(train, 3, seed))


@pytest.mark.parametrize(
    ("masks", "count"), [(None, 4), (0, 0), (4, 4), (0.1, 1), (0.75, 3), (1.0, 4)]
)
def test_a_number_or_a_share(masks, count, strips):
    part = with_masks(strips.train, masks, 0)
    assert len(masked(part)) == count
    assert part.labels.tolist() == strips.train.labels.tolist()
    kept = [sample.mask is not None for sample in part.samples]
    assert part.masks.flatten(1).any(1).tolist() == kept


def test_more_masks_than_there_are(strips):
    message = refusal(lambda: with_masks(strips.train, 5, 0))
    assert "5 masks asked for, and of 4 defective training images 4 have one" in message


class Evil:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def test_a_pickle_with_code_is_refused_and_not_run(own_ksdd2, load_ksdd2, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = own_ksdd2 / "split_weakly_2.pyb"
    path.write_bytes(pickle.dumps(([("10000", Evil())], [])))
    train = load_ksdd2(own_ksdd2).train
    message = refusal(lambda: with_masks(train, 2, 0))
    assert "split_weakly_2.pyb: refused: it asks for" in message
    assert "system" in message
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ((["10000"], []), "is not a split file"),
        ([("10000", True)], "is not a split file"),
        (([("10000", "yes")], []), "not an image's name and yes or no"),
        (([("10000", True), ("12345", False)], []), "names the training image 12345"),
        (([("10000", True), ("10008", True)], []), "gives out 1 masks of defective images, not 2"),
    ],
)
def test_a_wrong_split_file_is_named(content, said, own_ksdd2, load_ksdd2):
    (own_ksdd2 / "split_weakly_2.pyb").write_bytes(pickle.dumps(content))
    train = load_ksdd2(own_ksdd2).train
    message = refusal(lambda: with_masks(train, 2, 0))
    assert said in message
    assert "split_weakly_2.pyb" in message


def test_a_damaged_split_file_is_named(tmp_path):
    path = tmp_path / "split_weakly_1.pyb"
    for damaged in (b"", b"no pickle", pickle.dumps(([], []))[:-4]):
        path.write_bytes(damaged)
        assert "split_weakly_1.pyb" in refusal(lambda: read_split(path))
