"""`run` without a preset: which one a user should take, by the images that are there."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ssn_lib.config import PUBLISHED_SIZE, RunConfig
from ssn_lib.data.images import ImageSet
from ssn_lib.data.loading import load_dataset
from ssn_lib.errors import InputError
from ssn_lib.training.holdout import held_out_count, trained_per_epoch

ENOUGH_DEFECTIVE = 10  # training images; fewer show too little of what defects look like
# Below it imitated defects promise too much: of 64 screws, `imitated-I-AUROC` was 100, and I-AUROC
# 80 (figures/few_images.md).
FEW_GOOD = 100
# Least `imitated-I-AUROC`, in percent, of a run to trust. KolektorSDD, where `simplenet` detects
# better, has less; bottle and screw have more (deploy/README.md).
TRUSTED = 90.0
# Of training, on two cores without native bfloat16, from the committed records.
SECONDS_PER_MEGAPIXEL = {"evolved": 0.35, "cam_traced": 3.7, "full_ssn": 2.5}


@dataclass(frozen=True)
class Choice:
    """What to run.

    Attributes:
        preset: its name.
        epochs: None for the preset's own.
        changes: to the preset, as `key=value`.
        reason: what is there, and why this preset, in words.
    """

    preset: str
    epochs: int | None
    changes: tuple[str, ...]
    reason: str

    def line(self, config: RunConfig, train: ImageSet) -> str:
        """What was chosen, why, at which size of the images, and how long it takes, about, on two
        cores; a GPU or units for 16 bits take a part of that.

        Args:
            config: of the run.
            train: the training images; none is opened.
        """
        minutes = max(1, round(training_minutes(config, train)))
        height, width = config.data.image_size
        return (
            f"{self.reason}: {self.preset} at {height}×{width} pixels (height×width), epochs: "
            f"{config.training.epochs}, about {minutes} min of training on two cores"
        )


def training_minutes(config: RunConfig, train: ImageSet) -> float:
    """How long a training takes, about; see `Choice.line`."""
    pixels = config.data.image_size[0] * config.data.image_size[1]
    per_epoch = trained_per_epoch(train, config.training, config.seed)
    images = config.training.epochs * per_epoch
    return SECONDS_PER_MEGAPIXEL[config.preset] * images * pixels / 1e6 / 60


def chosen(dataset: str, data_root: Path | None, category: str | None) -> Choice:
    """What `choose` makes of a data set.

    Args:
        dataset, data_root, category: as in `data.loading.load_dataset`.

    Raises:
        InputError: as `load_dataset`.
    """
    said: list[warnings.WarningMessage] = []
    try:
        # What is warned of comes again when it is loaded for the run.
        with warnings.catch_warnings(record=True, action="always") as said:
            # The size is no matter here.
            found = load_dataset(dataset, data_root, category=category, image_size=PUBLISHED_SIZE)
    except InputError:
        for one in said:  # there will be no run
            warnings.warn(one.message, stacklevel=2)
        raise
    return choose(found.train)


def choose(train: ImageSet) -> Choice:
    """By the training images: good ones alone, labels, or masks too.

    Args:
        train: the training images; none is opened.
    """
    defective = [sample for sample in train.samples if sample.label]
    good, masked = len(train) - len(defective), sum(s.mask is not None for s in defective)
    if len(defective) < ENOUGH_DEFECTIVE:
        few = ""
        if defective:
            few = (
                f" ({len(defective)} defective ones are left out: learning from labels wants "
                f"{ENOUGH_DEFECTIVE})"
            )
        reason = f"{good} good images to train on{few}; it learns from good images alone"
        return Choice("evolved", None, (), reason)
    there = f"{good} good and {len(defective)} defective images to train on, {masked} with a mask"
    name, why = "full_ssn", "it learns from labels and masks"
    if not masked:
        name, why = "cam_traced", "it learns from labels and finds the place itself"
    changes = ("training.batch_size=8",)  # as it was measured on KolektorSDD, in 10 epochs
    return Choice(name, 10, changes, f"{there}; {why}")


def warning(config: RunConfig, metrics: Mapping[str, float | None], good: int) -> str | None:
    """Why a run of `evolved` should not be trusted yet, as a line; None where nothing says so.

    Args:
        config: of the run.
        metrics: of its record, in percent.
        good: how many good images it was given.
    """
    if config.preset != "evolved":
        return None
    imitated = metrics.get("imitated-I-AUROC")
    if imitated is not None and imitated < TRUSTED:
        return (
            f"of defects drawn into good images it tells too few: an I-AUROC of {imitated:.1f} %, "
            f"where {TRUSTED:g} % is to be expected. After a whole training the surface may be too "
            "rough for it: run `simplenet` on the same images, and look at the overlays of both"
        )
    if good < FEW_GOOD:
        held_out = held_out_count(good, config.training)
        rests = f"{held_out} of {good} good images" if held_out else f"all {good} good images"
        return (
            f"its threshold rests on {rests}, and fine structure needs hundreds to learn from; "
            "give it more, or check it on defective ones"
        )
    return None
