"""How much of the study is run: `demo`, `quick`, `full`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ssn_lib.checks import nearest_side
from ssn_lib.config import PUBLISHED_SIZE
from ssn_lib.data.registry import of_strips
from ssn_lib.data.sets.ksdd2 import KSDD2_SIZE
from ssn_lib.presets import preset
from ssn_lib.runs.record import Record

CATEGORIES = ("bottle", "carpet", "screw")
SCREW = "screw"
STRIPS = "ksdd2"  # data set and category
SEEDS = (42, 43, 44)


@dataclass(frozen=True)
class Profile:
    """How much of the study is run.

    Attributes:
        dataset, image_size: for Modifications 1 and 2.
        categories: of that data set.
        strips, strip_size: data set and size for Modifications 3 and 4, in KolektorSDD2's layout.
        epochs: None is the published number.
        batch_size: smaller than published where epochs are few; None is the published one.
        own_sizes: a preset that is made for a size of its own gets it, and its own epochs.
        untrained_fallback: go on without ImageNet weights where there are none, and say so.
        repetitions: timed passes of the efficiency measurement.
        asked_epochs: of every system, whatever the profile or the system says; None goes by these.
        asked_size: (height, width) of every image that is no strip, likewise.
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
    asked_epochs: int | None = None
    asked_size: tuple[int, int] | None = None
    categories: tuple[str, ...] = CATEGORIES

    def asked(self, epochs: int | None, size: int | tuple[int, int] | None) -> Profile:
        """The profile with other epochs or images, where these are asked for.

        Args:
            size: (height, width) of all images; or the longer side, in pixels: plates become
                squares, and strips keep their shape.
        """
        if size is None:
            return replace(self, asked_epochs=epochs)
        if isinstance(size, int):
            height, width = self.strip_size
            plates, strips = (size, size), (size, nearest_side(size * width / height))
        else:
            plates = strips = size
        return replace(
            self,
            asked_epochs=epochs,
            asked_size=plates,
            image_size=plates,
            strip_size=strips,
        )

    def protocol(self, name: str) -> tuple[tuple[int, int], int, int]:
        """A preset's image size (of strips it is `strip_size`), epochs and batch size."""
        chosen, training = preset(name), preset(name).training
        if self.own_sizes and chosen.image_size:
            size, epochs, batch_size = chosen.image_size, training.epochs, training.batch_size
        else:
            size = self.image_size
            epochs = self.epochs or training.epochs
            batch_size = self.batch_size or training.batch_size
        return self.asked_size or size, self.asked_epochs or epochs, batch_size

    def sets_epochs(self, name: str) -> bool:
        """Whether it says how long a preset trains; otherwise the preset does, and trains longer
        where there are few images."""
        return not (self.own_sizes and preset(name).image_size) or self.asked_epochs is not None

    def made(self, record: Record) -> bool:
        """Whether a record is of this profile: its data, weights, epochs and batch size."""
        name, training = record.config.preset, record.config.training
        _, epochs, batch_size = self.protocol(name)
        if not self.sets_epochs(name):
            epochs = preset(name).epochs(record.images_per_epoch)
        return self.shows(record) and (training.epochs, training.batch_size) == (epochs, batch_size)

    def made_longer(self, record: Record) -> bool:
        """Whether a record is of this profile's data and weights, and of more epochs."""
        _, epochs, _ = self.protocol(record.config.preset)
        longer = record.config.training.epochs > epochs
        return longer and self.shows(record) and not self.made(record)

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
    image_size=(96, 96),
    strips="demo",
    strip_size=(128, 48),
    epochs=2,
    batch_size=8,
    own_sizes=False,
    seeds=(42,),
    untrained_fallback=True,
    repetitions=3,
    categories=("bottle", "screw"),
)
_QUICK = Profile(
    name="quick",
    dataset="mvtec_ad",
    image_size=PUBLISHED_SIZE,
    strips="ksdd2",
    strip_size=KSDD2_SIZE,
    epochs=10,
    batch_size=8,
    own_sizes=True,
    seeds=(42,),
    untrained_fallback=False,
    repetitions=15,
)
_FULL = replace(_QUICK, name="full", epochs=None, batch_size=None, seeds=SEEDS, repetitions=100)
PROFILES = {profile.name: profile for profile in (_DEMO, _QUICK, _FULL)}
