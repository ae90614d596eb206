"""The data sets there are, and what is known of each without reading it."""

from __future__ import annotations

DATASETS = ("mvtec_ad", "ksdd2", "folder", "demo")


def of_strips(name: str, category: str | None) -> bool:
    """Whether the images are long strips in KolektorSDD2's layout: its own, or rendered ones."""
    return name == "ksdd2" or (name, category) == ("demo", "ksdd2")


KSDD2_SIZE = (640, 232)  # (height, width) that the published runs resize to


# Images of MVTec AD: training, test (Bergmann et al., IJCV 129(4), 2021, table 1).
MVTEC_COUNTS = {
    "bottle": (209, 83),
    "cable": (224, 150),
    "capsule": (219, 132),
    "carpet": (280, 117),
    "grid": (264, 78),
    "hazelnut": (391, 110),
    "leather": (245, 124),
    "metal_nut": (220, 115),
    "pill": (267, 167),
    "screw": (320, 160),
    "tile": (230, 117),
    "toothbrush": (60, 42),
    "transistor": (213, 100),
    "wood": (247, 79),
    "zipper": (240, 151),
}
