import pytest

from ssn_lib.errors import in_one_line, nearest


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Scenario_A", "did you mean 'scenario_a'?"),  # its case alone differs
        ("scenario_c", "did you mean 'scenario_a' or 'scenario_b'?"),  # no nearer to one of them
        ("evolve", "did you mean 'evolved'?"),
        ("xyz", "known: evolved, scenario_a, scenario_b"),
        (None, "known: evolved, scenario_a, scenario_b"),
    ],
)
def test_the_nearest_names_are_suggested(name, said):
    assert nearest(name, ["scenario_b", "scenario_a", "evolved"]) == said


def test_of_nothing_known_nothing_is_suggested():
    assert nearest("a", []) == "known: "


def test_an_error_that_nobody_foresaw_is_one_line():
    assert in_one_line(RuntimeError("out of luck\nand more")) == "RuntimeError: out of luck"
    assert in_one_line(KeyError()) == "KeyError: "
