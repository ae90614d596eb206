"""That the data sets are found, and what is known of each without its files."""

from __future__ import annotations

import pytest

from ssn_lib.data.registry import DATASETS, images_title, of_strips, source_of
from ssn_lib.errors import InputError


def test_every_set_is_found_in_its_module():
    known = ("mvtec_ad", "ksdd2", "folder", "demo")  # a new one may stand anywhere between
    assert tuple(name for name in DATASETS if name in known) == known
    assert [source_of(name).name for name in DATASETS] == list(DATASETS)


@pytest.mark.parametrize(
    ("name", "category", "strips"),
    [
        ("mvtec_ad", "screw", False),
        ("ksdd2", "kolektor_sdd1_in_ksdd2_layout", True),
        ("ksdd2", None, True),
        ("folder", "ksdd2", False),
        ("demo", "screw", False),
        ("demo", "ksdd2", True),
    ],
)
def test_the_set_says_what_kind_its_images_are(name, category, strips):
    assert of_strips(name, category) is strips
    size = source_of(name).like(category).image_size
    assert size == ((640, 232) if strips else (256, 256))


def test_a_category_is_called_as_people_call_it():
    assert images_title("kolektor_sdd1_in_ksdd2_layout") == "KolektorSDD"
    assert images_title("ksdd2") == "KSDD2"
    assert images_title("screw") == "screw"


def test_a_misspelt_set_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'mvtec_ad'"):
        source_of("mvtec")
