"""What the report shows is one entry a system; here is what an entry must be."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ssn_lib.presets import PRESETS
from ssn_lib.study import systems
from ssn_lib.study.systems import GROUPS, SYSTEMS, colour, group, short, title

# Two colours in one figure are told apart from this distance in CIELAB on.
APART = 15
# Linear RGB as who lacks one kind of cone sees it (Machado, Oliveira and Fernandes, 2009).
VISION = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]]  # white: 1
DRAWN = (  # groups whose systems are lines or marks of one figure
    *("swap", "ablation", "relative noise", "learned noise", "mixed", "evolved"),
    *("trade-off", "bench", "ROC", "pixel curves"),
)


def lab(name: str, vision: str) -> np.ndarray:
    """CIELAB of a system's colour, seen like that."""
    rgb = np.array(to_rgb(colour(name)))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.array(XYZ) @ np.clip(np.array(VISION[vision]) @ linear, 0, 1))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("name", SYSTEMS)
def test_an_entry_is_of_a_preset_and_of_known_groups(name):
    assert PRESETS[name].title == title(name)
    assert SYSTEMS[name].shown_in
    assert set(SYSTEMS[name].shown_in) <= GROUPS.keys()
    assert len(set(SYSTEMS[name].shown_in)) == len(SYSTEMS[name].shown_in)


def test_no_two_systems_share_a_name_or_a_colour():
    for of in (title, short, colour):
        assert len({of(name) for name in SYSTEMS}) == len(SYSTEMS)


@pytest.mark.parametrize("shown", GROUPS)
def test_every_group_has_systems_in_the_order_of_the_entries(shown):
    names = group(shown)
    assert names
    assert list(names) == [name for name in SYSTEMS if name in names]


def test_an_unknown_group_is_no_empty_one():
    with pytest.raises(KeyError):
        group("swop")


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("shown", DRAWN)
def test_colours_of_one_figure_are_told_apart(shown, vision):
    for one, other in combinations(group(shown), 2):
        distance = np.linalg.norm(lab(one, vision) - lab(other, vision))
        assert distance > APART, f"{one} and {other}"


def test_a_preset_without_an_entry_still_has_a_name_and_a_colour():
    assert "scenario_a_icpr" not in SYSTEMS
    assert short("scenario_a_icpr") == title("scenario_a_icpr")
    assert colour("scenario_a_icpr") == systems.UNLISTED not in map(colour, SYSTEMS)


def test_only_what_has_a_beta_is_swept():
    assert systems.SWEEP_PRESETS == ("learned_noise_v2_published", "learned_noise_v2")
