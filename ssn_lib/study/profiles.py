"""How much of the study is run: `demo`, `quick`, `full`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ssn_lib.data.registry import of_strips
from ssn_lib.data.sets.ksdd2 import KSDD2_SIZE
from ssn_lib.presets import preset
from ssn_lib.runs.record import Record

CATEGORIES = ("bottle", "carpet", "screw")
STRIPS = "ksdd2"


@dataclass(frozen=True)
class Profile:
    """How much of the study is run.

    Attributes:
        dataset, image_size: for Modifications 1 and 2.
        strips, strip_size: data set and size for Modifications 3 and 4, in KolektorSDD2's layout.
        epochs: None is the published number.
        batch_size: smaller than published where epochs are few; None is the published one.
        own_sizes: a preset that is made for a size of its own gets it, and its own epochs.
        untrained_fallback: go on without ImageNet weights where there are none, and say so.
        repetitions: timed passes of the efficiency measurement.
    """

    name: str
    dataset: str
    image_size: tuple[int, int]
    strips: str
    strip_size: tuple[int, int]
    epochs: int | None
    batch_size: int | None
    own_sizes: bool
    seeds: tuple[int, ...]
    untrained_fallback: bool
    repetitions: int

    def protocol(self, name: str) -> tuple[tuple[int, int], int, int]:
        """A preset's image size (of strips it is `strip_size`), epochs and batch size."""
        chosen = preset(name)
        if self.own_sizes and chosen.image_size:
            return chosen.image_size, chosen.training.epochs, chosen.training.batch_size
        training = chosen.training
        return (
            self.image_size,
            self.epochs or training.epochs,
            self.batch_size or training.batch_size,
        )

    def made(self, record: Record) -> bool:
        """Whether a record is of this profile: its data, weights, epochs and batch size."""
        training = record.config.training
        _, *lengths = self.protocol(record.config.preset)
        return self.shows(record) and [training.epochs, training.batch_size] == lengths

    def made_longer(self, record: Record) -> bool:
        """Whether a record is of this profile's data and weights, and of more epochs."""
        _, epochs, _ = self.protocol(record.config.preset)
        return self.shows(record) and record.config.training.epochs > epochs

    def shows(self, record: Record) -> bool:
        """Whether a record is of this profile's data, at its sizes, and weights."""
        if record.config.weights == "untrained" and not self.untrained_fallback:
            return False
        data = record.config.data
        if of_strips(data.dataset, data.category):
            return (data.dataset, data.image_size) == (self.strips, self.strip_size)
        image_size, _, _ = self.protocol(record.config.preset)
        return (data.dataset, data.image_size) == (self.dataset, image_size)


_DEMO = Profile(
    name="demo",
    dataset="demo",
    image_size=(128, 128),
    strips="demo",
    strip_size=(160, 56),
    epochs=2,
    batch_size=4,
    own_sizes=False,
    seeds=(42,),
    untrained_fallback=True,
    repetitions=6,
)
_QUICK = Profile(
    name="quick",
    dataset="mvtec_ad",
    image_size=(256, 256),
    strips="ksdd2",
    strip_size=KSDD2_SIZE,
    epochs=10,
    batch_size=8,
    own_sizes=True,
    seeds=(42,),
    untrained_fallback=False,
    repetitions=15,
)
_FULL = replace(
    _QUICK, name="full", epochs=None, batch_size=None, seeds=(42, 43, 44), repetitions=100
)
PROFILES = {profile.name: profile for profile in (_DEMO, _QUICK, _FULL)}
