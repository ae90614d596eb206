"""Images to look at: which are chosen, and that no others are decoded."""

from __future__ import annotations

from ssn_lib.study.examples import counts, examples


def test_good_ones_first_then_every_kind_of_defect(load, mvtec_root):
    dataset = load(mvtec_root)
    shown = examples(dataset, good=1, defective=3)
    assert shown.kinds == ["good", "scratch", "spot", "scratch"]
    assert [mask.any() for mask in shown.masks] == [False, True, True, True]
    assert {image.shape for image in shown.images} == {(32, 32, 3)}
    assert shown.title == "widget"
    assert "images" not in vars(dataset.test)  # only those that are shown were decoded


def test_there_may_be_fewer_than_asked_for(dataset):
    assert len(examples(dataset, good=9, defective=9).images) == 6


def test_counts_name_only_what_there_is(dataset, strips):
    assert counts(dataset) == {"train, good": 6, "test, good": 2, "test, defective": 4}
    assert counts(strips)["train, defective"] == 4
