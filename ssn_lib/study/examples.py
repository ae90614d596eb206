"""A few images of a data set to look at: good ones, and each kind of defect with its mask."""

from __future__ import annotations

from ssn_lib.data.images import Dataset, ImageSet
from ssn_lib.study.captions import whose
from ssn_lib.study.figures.data import Examples


def examples(dataset: Dataset, good: int, defective: int) -> Examples:
    """The first good test images, and the first of every kind of defect, then the second of every
    kind, until there are that many. Only these are decoded.

    Raises:
        InputError: an image or a mask cannot be read.
    """
    test = dataset.test
    sound = [index for index, sample in enumerate(test.samples) if not sample.label]
    chosen = [*sound[:good], *_of_every_kind(test)[:defective]]
    shown = test.subset(chosen)
    return Examples(
        title=whose(dataset.name, dataset.category),
        counts=counts(dataset),
        images=list(shown.images.permute(0, 2, 3, 1).numpy()),
        masks=list(shown.masks[:, 0].numpy()),
        kinds=[sample.defect.replace("_", " ") for sample in shown.samples],
    )


def counts(dataset: Dataset) -> dict[str, int]:
    """How many images of each class either split has; classes without any are left out."""
    found = {}
    for name, part in (("train", dataset.train), ("test", dataset.test)):
        bad = int(part.labels.sum()) if len(part) else 0
        found |= {f"{name}, good": len(part) - bad, f"{name}, defective": bad}
    return {name: number for name, number in found.items() if number}


def _of_every_kind(test: ImageSet) -> list[int]:
    """The positions of defective samples: the first of each kind, then the second, and so on."""
    ranks: dict[str, int] = {}
    order = []
    for index, sample in enumerate(test.samples):
        if sample.label:
            rank = ranks.get(sample.defect, 0)
            ranks[sample.defect] = rank + 1
            order.append((rank, index))
    return [index for _, index in sorted(order)]
