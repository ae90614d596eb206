"""What tables and figures say of their runs: images, training, seeds, device."""

from __future__ import annotations

from collections.abc import Sequence

from ssn_lib.config import DataConfig, SupervisionConfig
from ssn_lib.data.registry import images_title, of_strips, source_of
from ssn_lib.data.samples import number_of_masks
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome, Record, device_name, usual_resize
from ssn_lib.study.profiles import STRIPS
from ssn_lib.study.systems import short, title

OTHERS = 3  # systems of one protocol; more of them are called the others
RESIZED = {"antialiased": "resized with antialiasing", "plain": "resized without antialiasing"}


def describe(records: Sequence[Record]) -> str:
    """Data, image size, training, seeds, weights and device of some records, in one line."""
    images = ", ".join(dict.fromkeys(_images(record.config.data) for record in records))
    untrained = [record.config.preset for record in records if record.weights_source is None]
    device = device_name(*(record.environment for record in records))
    text = f"{images}, {protocols(records)}; {device}"
    if len(untrained) == len(records):
        return f"UNTRAINED backbone; {text}"
    if untrained:
        return f"UNTRAINED backbone: {', '.join(dict.fromkeys(untrained))}; {text}"
    return text


def protocols(records: Sequence[Record]) -> str:
    """Image size, training and seeds of some records; where these differ, which system has which:
    `256×256 px, 10 of 300 epochs in batches of 8, seeds 42, 43 (Scenario A), seed 42 (the others)`.
    """
    seeds: dict[tuple[str, ...], dict[tuple[str, str], set[int]]] = {}
    for record in records:
        config = record.config
        own = seeds.setdefault(_protocol(record), {})
        own.setdefault((config.preset, config.data.category), set()).add(config.seed)
    systems: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for protocol, of in seeds.items():
        for system, known in of.items():
            told = f"{'seed' if len(known) == 1 else 'seeds'} {', '.join(map(str, sorted(known)))}"
            systems.setdefault((*protocol, told), []).append(system)
    kinds = list(zip(*systems, strict=True))
    common = ", ".join(kind[0] for kind in kinds if len(set(kind)) == 1)
    if len(systems) == 1:
        return common
    every = list(dict.fromkeys(system for of in systems.values() for system in of))
    most = max(systems, key=lambda one: len(systems[one]))
    if len(systems[most]) > OTHERS:
        systems[most] = systems.pop(most)  # the last, after those that are named
    else:
        most = ()
    parts = []
    for one, of in systems.items():
        own = [part for part, kind in zip(one, kinds, strict=True) if len(set(kind)) > 1]
        who = "the others" if one == most else "; ".join(_named(of, every))
        parts.append(f"{', '.join(own)} ({who})")
    return f"{common + ': ' if common else ''}{'; '.join(parts)}"


def _protocol(record: Record) -> tuple[str, str]:
    """Image size and training, in words; of one that is shorter than its protocol, also that."""
    training = record.config.training
    whole = preset(record.config.preset).training.epochs
    epochs = f"{training.epochs} of {whole}" if training.epochs < whole else f"{training.epochs}"
    mixed = ", in mixed precision" if training.precision == "mixed" else ""
    data = record.config.data
    size = f"{'×'.join(map(str, data.image_size))} px"
    if data.resize != usual_resize(record.config.preset, data.dataset):
        size += f", {RESIZED[data.resize]}"
    return size, f"{epochs} epochs in batches of {training.batch_size}{mixed}"


def _named(some: Sequence[tuple[str, str]], every: Sequence[tuple[str, str]]) -> list[str]:
    """Systems by their short names; with the categories where only some of a system's are meant."""
    names = []
    for name in dict.fromkeys(name for name, _ in some):
        own = [category for one, category in some if one == name]
        whole = len(own) == sum(one == name for one, _ in every)
        on = "" if whole else f" on {' and '.join(map(images_title, own))}"
        names.append(short(name) + on)
    return names


def _images(data: DataConfig) -> str:
    """Whose images they are, by the data set's name for people."""
    source = source_of(data.dataset)
    foreign = source.counts and data.category not in source.counts  # laid out alike
    own = source.category == "single" or foreign
    return images_title(data.category) if own else source.title


def learns_from(supervision: SupervisionConfig) -> str:
    """What a training with that supervision must be given, in words."""
    if not supervision.labels:
        return "sound images"
    masks = supervision.masks
    if masks is None:
        return "labels and all masks"
    if masks == 0:
        return "labels"
    return (
        f"labels, {100 * masks:g} % masks" if isinstance(masks, float) else f"labels, {masks} masks"
    )


def whose(dataset: str, category: str) -> str:
    """Whose images those of a data set's category are: "screw", "rendered screw", "KSDD2"."""
    title = images_title(category)
    if source_of(dataset).origin != "rendered":
        return title
    return f"rendered {'strips' if of_strips(dataset, category) else title}"


def data_name(outcomes: Sequence[Outcome], category: str) -> str:
    """Whose strips they are: KSDD2 only where they are."""
    datasets = (o.record.config.data.dataset for o in outcomes if o.record is not None)
    return whose(next(datasets, STRIPS), category)


def named(outcome: Outcome) -> str:
    """A run in figures: its preset's title, and how many masks it had where these are some."""
    if outcome.record is None or not preset(outcome.preset).training.supervision.masks:
        return title(outcome.preset)
    masks = outcome.record.config.training.supervision.masks
    count = number_of_masks(masks, outcome.record.counts["train_defective"])
    return f"{title(outcome.preset)}, {count} {'mask' if count == 1 else 'masks'}"
