"""The commands that make runs, for notes and reasons."""

from __future__ import annotations

from ssn_lib.config import RunConfig
from ssn_lib.data.registry import source_of
from ssn_lib.overrides import changes
from ssn_lib.presets import preset
from ssn_lib.runs.record import usual_resize
from ssn_lib.study.profiles import STRIPS


def command_of(config: RunConfig) -> str:
    """The command that makes a run of that configuration, without the data's root."""
    settings = "".join(f" --set {setting}" for setting in changes(config))
    return run_command(config, config.preset, config.data.category) + settings


def run_command(like: RunConfig | None, name: str, category: str, *, length: bool = True) -> str:
    """The command for a run of that preset and category.

    Args:
        like: a run that there is, on the same images.
        length: as long as that, and at its size; else by the preset's own protocol.
    """
    usual = STRIPS if category == STRIPS else "mvtec_ad"
    source = source_of(usual if like is None else like.data.dataset)
    command = f"python -m ssn_lib run {name} --dataset {source.name}"
    if source.category != "single":
        command += f" --category {category}"
    if like is not None and length:
        command += f" --epochs {like.training.epochs} --seed {like.seed}"
        command += f" --set training.batch_size={like.training.batch_size}"
        if like.training.precision != preset(like.preset).training.precision:
            command += f" --set training.precision={like.training.precision}"
        images = source.like(like.data.category)
        own = preset(like.preset).image_size if images.kind == "plates" else None  # as `run` does
        if like.data.image_size != (own or images.image_size):
            command += " --image-size {} {}".format(*like.data.image_size)
        if like.data.resize != usual_resize(like.preset, like.data.dataset):
            command += f" --resize {like.data.resize}"
    if like is not None and like.weights == "untrained":
        command += " --untrained"
    return command
