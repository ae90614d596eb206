"""What a notebook shows a mechanism on: a few images and a fresh network, whatever is at hand.

A mechanism can be looked at without the data and the weights that a study needs. Where these are
missing, rendered images and an untrained backbone stand in for them, and that is printed.
"""

from __future__ import annotations

import torch

from ssn_lib.config import ModelConfig
from ssn_lib.data.images import ImageSet
from ssn_lib.data.loading import load_dataset
from ssn_lib.errors import InputError
from ssn_lib.models.supersimplenet import Detector, build
from ssn_lib.study.runner import Study

SEED = 42  # of the initial weights


def example_images(study: Study, category: str) -> ImageSet:
    """The study's training images of a category; where they are not at hand, rendered ones."""
    try:
        found = study.dataset(category)
    except InputError:
        found = load_dataset("demo", category=category, image_size=study.profile.image_size)
    rendered = " rendered" if found.name == "demo" else ""
    height, width = found.train.image_size
    print(f"{len(found.train)}{rendered} training images of {category}, {height}×{width} pixels")
    return found.train


def fresh_network(study: Study, config: ModelConfig) -> Detector:
    """A network before training, the same at every call, with ImageNet weights if there are any."""
    try:
        weights = study.weights(config.backbone)
    except InputError:
        weights = None
    print(f"{config.backbone}: {'ImageNet weights' if weights else 'untrained, random weights'}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return build(config, weights)
