"""Maps and noise, drawn of finished runs and the images that they answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ssn_lib import machine
from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.data.registry import images_title, source_of
from ssn_lib.errors import InputError
from ssn_lib.noise.sources import noise_over_images
from ssn_lib.runs.artifacts import read_maps
from ssn_lib.runs.loading import load_run, load_source
from ssn_lib.runs.record import MAPS, Outcome
from ssn_lib.storage import shown
from ssn_lib.study import parallel
from ssn_lib.study.captions import data_name
from ssn_lib.study.figures import maps
from ssn_lib.study.figures.drawing import NotDrawn, told_apart
from ssn_lib.study.profiles import STRIPS
from ssn_lib.study.runner import Study
from ssn_lib.study.systems import short


def panels(study: Study, outcomes: Sequence[Outcome], category: str) -> Figure | NotDrawn:
    """The category's first defective test image under every configuration that was run."""
    chosen = study.first_seeds(outcomes, category)
    sample, answers = _answers(study, chosen)
    title = images_title(category)
    if not answers:
        return NotDrawn(f"{title}: no run with maps to draw, see the tables above.")
    name = sample.samples[0]
    return maps.maps_over_images(
        [sample.images[0].permute(1, 2, 0).numpy()],
        [sample.masks[0, 0].numpy()],
        answers[:1],
        f"{title}: first defective test image, {name.defect}/{shown(name.image.name)}. "
        f"{study.caption(chosen)}; thresholds: 99.9th percentile of the map's pixels and 99th "
        "of the scores, on defect-free training images",
    )


def strip_maps(study: Study, outcomes: Sequence[Outcome], category: str) -> Figure | NotDrawn:
    """The first defective strips under every configuration that was run, side by side."""
    chosen = study.first_seeds(outcomes, category)
    sample, answers = _answers(study, chosen)
    title = images_title(category)
    if not answers:
        return NotDrawn(f"{title}: no run with maps to draw, see the tables above.")
    return maps.maps_over_images(
        list(sample.images.permute(0, 2, 3, 1).numpy()),
        list(sample.masks[:, 0].numpy()),
        answers,
        f"{data_name(chosen, category)}: first defective test images; "
        "threshold: 99.9th percentile of sound training pixels. "
        f"{study.caption(chosen)}",
    )


def noise_maps(study: Study, outcomes: Sequence[Outcome], category: str) -> Figure | NotDrawn:
    """What every source's noise looks like on the category's first training image."""
    chosen = study.first_seeds(outcomes, category)
    if not chosen:
        return NotDrawn(f"{category}: no run to draw the noise of, see the table above.")
    image = study.dataset(category).train.images[:1]
    sources = []
    for outcome in chosen:
        record = outcome.record
        folder = Path(study.runs_dir) / record.run_id
        _, model = load_run(folder, study.weights(record.config.model.backbone))
        source = load_source(folder, record, model)
        device = next(model.parameters()).device
        draws = [
            noise_over_images(
                source, model, normalise(image.to(device)), machine.generator(device, draw)
            )
            for draw in (1, 2)
        ]
        sources.append(
            maps.NoiseMaps(
                short(record.config.preset),
                *(noise[0].numpy() for noise, _ in draws),
                draws[0][1][0].numpy(),
            )
        )
    caption = f"{category}; {study.caption(chosen)}"
    return maps.noise_maps(image[0].permute(1, 2, 0).numpy(), sources, caption)


def _answers(
    study: Study, outcomes: Sequence[Outcome]
) -> tuple[ImageSet | None, list[list[maps.Panel]]]:
    """The images whose maps were kept, and of each of them every run's answer.

    Raises:
        InputError: the images are not there, or are not those of the runs.
    """
    kept = [(outcome, rows) for outcome, rows in study.files(outcomes, MAPS) if len(rows)]
    if not kept:
        return None, []
    # The finest of the sizes: of each run's own only its maps are made.
    data = max((o.record.config.data for o, _ in kept), key=lambda data: data.image_size)
    own = source_of(data.dataset).category == "single"
    category = STRIPS if own else data.category
    dataset = parallel.dataset(
        data.dataset, study.root(data.dataset), category, data.image_size, data.resize
    )
    places = sorted(read_maps(kept[0][1], data.image_size))
    sample = dataset.test.subset(places)
    answers: list[list[maps.Panel]] = [[] for _ in places]
    titles = told_apart([outcome for outcome, _ in kept])
    for (outcome, rows), title in zip(kept, titles, strict=True):
        record, kept_maps = outcome.record, read_maps(rows, data.image_size)
        ((_, scores),) = study.files([outcome], "scores.csv")
        names = sample.names(dataset.root)
        for place, image, panels in zip(places, names, answers, strict=True):
            if scores["image"].get(place) != image:
                raise InputError(f"{dataset.root}: not the images of {record.run_id}")
            panels.append(
                maps.Panel(
                    title,
                    kept_maps[place],
                    record.thresholds.map,
                    scores["score"][place],
                    record.thresholds.score,
                )
            )
    return sample, answers
