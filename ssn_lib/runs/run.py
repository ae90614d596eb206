"""Runs and their records: trained once, resumable, written atomically.

A run's folder holds `record.json` (configuration, environment, metrics, thresholds, timings,
status), `history.csv`, `scores.csv`, `pixel_pr.csv` (precision and recall of the test pixels),
`maps.csv` (small maps of a few test images), `course.csv` (test metrics now and then, which
choose nothing), `reference_scores.csv` (scores of the good images that the thresholds were chosen
from, and how these look), `noise.csv` (noise and features by channel) and `weights.pt`;
`generator.pt` where the noise was learned, `held_out.csv` where a fold of the training images was
left out, with their scores, `teaching.csv` where another network's maps stood for masks, with how
well they agree with drawn ones; while it trains, `checkpoint.pt`.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from ssn_lib import machine
from ssn_lib.checks import check
from ssn_lib.config import DataConfig, RunConfig, TrainingConfig, to_dict
from ssn_lib.data.copies import warn_of_copies
from ssn_lib.data.images import Dataset, ImageSet
from ssn_lib.data.imitated import beside_defects
from ssn_lib.errors import InputError
from ssn_lib.inference import evaluate, predict, thresholds
from ssn_lib.metrics import Thresholds
from ssn_lib.models.supersimplenet import Detector, Prediction
from ssn_lib.overrides import from_dict, override
from ssn_lib.presets import preset
from ssn_lib.runs.artifacts import (
    add_to_course,
    flips_metrics,
    highest_on_defect,
    noise_table,
    pixel_curve_table,
    reference_table,
    score_table,
    sigmoid_metrics,
    small_map_table,
)
from ssn_lib.runs.loading import check_weights, initial_model, load_run
from ssn_lib.runs.record import COURSE, MAPS, REFERENCE, Record, read_record
from ssn_lib.runs.teaching import teacher_of, with_pseudo_masks
from ssn_lib.storage import held, shown, write_text, written_whole
from ssn_lib.training.fit import fit
from ssn_lib.training.history import Epoch, History
from ssn_lib.training.holdout import chosen_images, fold_split, held_out_count, reference_images


def configure(
    name: str,
    dataset: Dataset,
    *,
    seed: int = 42,
    epochs: int | None = None,
    batch_size: int | None = None,
    weights: str | Path | None = "imagenet",
    assignments: tuple[str, ...] = (),
) -> RunConfig:
    """The configuration of a preset on a data set, checked.

    Args:
        name: the preset.
        dataset: what the run is trained and tested on.
        seed: sole source of the run's randomness.
        epochs, batch_size: instead of the preset's; None keeps them, but for a preset that has more
            epochs where there are few images (`Preset.epochs`).
        weights: of the backbone, as for `models.supersimplenet.build`; None for untrained.
        assignments: further changes, such as "model.backbone=resnet34".

    Raises:
        InputError: an unknown preset or name, a value out of range.
    """
    base = preset(name)
    config = RunConfig(
        name,
        DataConfig(
            dataset.name,
            dataset.category,
            dataset.train.image_size,
            dataset.fingerprint,
            dataset.train.resize,
            dataset.train.full_scale,
        ),
        base.model,
        base.training,
        seed,
        "untrained" if weights is None else "imagenet",
    )
    if epochs is not None:
        config = replace(config, training=replace(config.training, epochs=epochs))
    if batch_size is not None:
        config = replace(config, training=replace(config.training, batch_size=batch_size))
    changed = override(config, assignments)
    check(changed)
    named = {one.partition("=")[0].strip() for one in assignments}
    if epochs is None and "training.epochs" not in named:
        own = base.epochs(_good_per_epoch(dataset.train, changed.training))
        changed = replace(changed, training=replace(changed.training, epochs=own))
    for name in ("preset", "data", "seed", "weights"):
        if getattr(changed, name) != getattr(config, name):
            raise InputError(f"--set {name}: it has an argument of its own")
    return _as_read(changed)


def _as_read(config: RunConfig) -> RunConfig:
    """As a record gives it back: 1 in the place of 1.0 would be another run."""
    return from_dict(RunConfig, to_dict(config))


def _good_per_epoch(train: ImageSet, training: TrainingConfig) -> int:
    """Good images that are trained on; none is opened."""
    good = training.good_images or sum(not sample.label for sample in train.samples)
    return good - held_out_count(good, training)


def run(
    config: RunConfig,
    dataset: Dataset,
    runs_dir: str | Path,
    *,
    weights: str | Path | None = "imagenet",
    progress: bool = True,
    before_epoch: Callable[[History], None] | None = None,
) -> Record:
    """Train and evaluate, or answer from the record when this run is finished.

    A killed run goes on from its last checkpoint and ends with the numbers of an unbroken one.
    Two processes never train the same run: the second waits for the first one's record.

    Args:
        config: from `configure`, for this data set.
        runs_dir: the run's folder is made in it.
        weights: of the backbone, as for `models.supersimplenet.build`.
        progress: show a bar, or say that a record answers and nothing is trained.
        before_epoch: as for `fit`; also called before anything costly is begun.

    Raises:
        InputError: a value of the configuration makes no sense, it is of other images, one cannot
            be read, there are no weights, a finished run's backbone had others, the folder cannot
            be written.
    """
    config = _as_read(check(config))
    _check_images(config, dataset)
    warn_of_copies(dataset, labels=config.training.supervision.labels)
    _warn_of_no_masks(config, dataset)
    return _run(config, dataset, Path(runs_dir), weights, progress, before_epoch)


def _check_images(config: RunConfig, dataset: Dataset) -> None:
    data, train = config.data, dataset.train  # a record tells of the former
    for name in ("image_size", "resize", "full_scale"):
        said, there = getattr(data, name), getattr(train, name)
        if said != there:
            raise InputError(f"{name}: {said} in the configuration, {there} of the data set")
    if not dataset.has_fingerprint(data.fingerprint):
        raise InputError(f"{shown(dataset.root)}: not the files that {config.run_id} is of")


def _warn_of_no_masks(config: RunConfig, dataset: Dataset) -> None:
    """A line where masks are to be learned from and there is none."""
    supervision = config.training.supervision
    defective = [sample for sample in dataset.train.samples if sample.label]
    if not supervision.labels or supervision.masks is not None or not defective:
        return
    if all(sample.mask is None for sample in defective):
        warnings.warn(
            f"none of the {len(defective)} defective training images has a mask, so {config.preset}"
            " learns from labels alone where defects lie; `cam_traced` is made for that",
            stacklevel=3,
        )


def _run(
    config: RunConfig,
    dataset: Dataset,
    runs_dir: Path,
    weights: str | Path | None,
    progress: bool,
    before_epoch: Callable[[History], None] | None,
) -> Record:
    """`run` without the checks and warnings about the data set, which a teacher's run need not
    repeat."""
    folder = runs_dir / config.run_id
    if (folder / "record.json").exists():
        return _answer(folder, weights, progress)
    if before_epoch is not None:
        before_epoch(History())
    try:
        with held(folder / ".lock"):
            if (folder / "record.json").exists():  # made by the process that held it
                return _answer(folder, weights, progress)
            return _train_and_evaluate(config, dataset, folder, weights, progress, before_epoch)
    except InputError:
        with contextlib.suppress(OSError):  # what was refused before it began leaves no folder
            folder.rmdir()
        raise


def _answer(folder: Path, weights: str | Path | None, say: bool) -> Record:
    record = read_record(folder)
    check_weights(folder, record, weights)
    if say:
        when = record.finished[:16].replace("T", " ")
        print(f"answered from the record of {when} UTC: {shown(folder)}", flush=True)
    return record


def _train_and_evaluate(
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    weights: str | Path | None,
    progress: bool,
    before_epoch: Callable[[History], None] | None,
) -> Record:
    # Known before an hour of training, not after it.
    _check_writable(folder)
    for part in (dataset.train, dataset.test):
        part.images, part.masks  # noqa: B018  decoded and kept
    model = initial_model(config, weights)
    device = machine.device()
    train, training = dataset.train, config.training
    if training.supervision.teacher is not None:
        train, training = _taught(config, dataset, folder, weights, progress, before_epoch)
    environment = machine.describe(device)  # now: the checkout may be another when it has ended
    started = time.perf_counter()
    history = fit(
        model,
        train,
        training,
        config.seed,
        checkpoint=folder / "checkpoint.pt",
        device=device,
        progress=f"{config.preset} {config.data.category}" if progress else None,
        before_epoch=before_epoch,
        after_epoch=partial(add_to_course, folder / COURSE, model, dataset.test),
    )
    trained = time.perf_counter()
    record = _finish(config, dataset, model, history, folder, environment, trained - started)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return record


def _taught(
    config: RunConfig,
    dataset: Dataset,
    folder: Path,
    weights: str | Path | None,
    progress: bool,
    before_epoch: Callable[[History], None] | None,
) -> tuple[ImageSet, TrainingConfig]:
    """The training images with masks from the maps of the teacher's network, and what `fit` is to
    do with them. The teacher is a run of its own, trained here if it is not there yet."""
    supervision = config.training.supervision
    record = _run(teacher_of(config), dataset, folder.parent, weights, progress, before_epoch)
    if record.status != "completed":
        raise InputError(f"{record.run_id} diverged: there are no maps to learn from")
    _, model = load_run(folder.parent / record.run_id, weights)
    images = chosen_images(dataset.train, config.training, config.seed)
    maps = predict(model, images).anomaly_map
    masked = with_pseudo_masks(images, maps, supervision.pseudo_masks, folder)
    return masked, replace(config.training, supervision=replace(supervision, masks=None))


@dataclass(frozen=True)
class _Evaluation:
    """What a trained network was found to do; all empty where its training diverged.

    Attributes:
        metrics: in percent, None where undefined; `undefined` says why.
        thresholds: chosen without test labels.
        tables: CSV files by name, for the run's folder.
    """

    metrics: dict[str, float | None] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    thresholds: Thresholds | None = None
    tables: dict[str, str] = field(default_factory=dict)


def _evaluate(
    config: RunConfig, dataset: Dataset, model: Detector, history: History
) -> _Evaluation:
    """Metrics, thresholds and tables. A network whose outputs are not finite has diverged in its
    last step, after its last loss: `history` is told so."""
    if history.diverged_at is not None:
        return _Evaluation()
    prediction = predict(model, dataset.test)
    reference = reference_images(dataset.train, config.training, config.seed)
    of_reference = predict(model, reference)
    if not all(part.isfinite().all() for part in (*prediction, *of_reference)):
        history.diverged_at = len(history.epochs)
        return _Evaluation()
    values = evaluate(prediction, dataset.test)
    if config.training.validation_fraction:
        imitated = beside_defects(reference, config.seed)
        values.add(evaluate(predict(model, imitated), imitated), "imitated-")
    limits = thresholds(of_reference, reference)
    if config.training.supervision.labels and len(dataset.test) and dataset.test.has_masks:
        values.add(flips_metrics(model, dataset.test), "flips-")
        if config.model.score == "cam":
            values.add(sigmoid_metrics(prediction.anomaly_map, dataset.test.masks))
    metrics = values.as_json()
    tables = _tables(config, dataset, model, history, prediction)
    kept = reference_table(of_reference, reference, dataset.root)
    tables[REFERENCE] = kept.to_csv(index=False)
    if metrics["AP-loc"] is not None:
        curves = pixel_curve_table(config, prediction, dataset.test)
        tables["pixel_pr.csv"] = curves.to_csv(index=False)
    return _Evaluation(metrics, values.undefined, limits, tables)


def _tables(
    config: RunConfig, dataset: Dataset, model: Detector, history: History, prediction: Prediction
) -> dict[str, str]:
    """Scores, small maps, scores of the fold that was left out, and noise by channel, as CSV."""
    scores = score_table(prediction, dataset.test, dataset.root)
    scores = scores.assign(on_defect=highest_on_defect(prediction, dataset.test))
    tables = {
        "scores.csv": scores.to_csv(index=False),
        MAPS: small_map_table(prediction, dataset.test),
    }
    fold = config.training.supervision.fold
    if fold is not None:
        chosen = chosen_images(dataset.train, config.training, config.seed)
        _, left_out = fold_split(chosen, fold, config.seed)
        scores = score_table(predict(model, left_out), left_out, dataset.root)
        tables["held_out.csv"] = scores.to_csv(index=False)
    if config.training.noise.source != "none":
        noise = noise_table(model, history.source, dataset, config.seed)
        tables["noise.csv"] = noise.to_csv(index=False)
    return tables


def _finish(
    config: RunConfig,
    dataset: Dataset,
    model: Detector,
    history: History,
    folder: Path,
    environment: dict[str, str | int | None],
    training_s: float,
) -> Record:
    """Evaluate and write the run's files; the record last, so that it vouches for the others."""
    started = time.perf_counter()
    evaluation = _evaluate(config, dataset, model, history)
    for name, table in evaluation.tables.items():
        write_text(folder / name, table)
    columns = [item.name for item in fields(Epoch)]  # also where no epoch was finished
    rows = pd.DataFrame([asdict(epoch) for epoch in history.epochs], columns=columns)
    write_text(folder / "history.csv", rows.to_csv(index=False))
    with written_whole(folder / "weights.pt") as file:
        torch.save(model.trained_state(), file)
    if list(history.source.parameters()):
        with written_whole(folder / "generator.pt") as file:
            torch.save(history.source.state_dict(), file)
    epoch_seconds = [epoch.seconds for epoch in history.epochs]
    record = Record(
        run_id=config.run_id,
        config=config,
        status="completed" if history.diverged_at is None else "diverged",
        metrics=evaluation.metrics,
        undefined=evaluation.undefined,
        thresholds=evaluation.thresholds,
        epochs_done=len(history.epochs),
        diverged_at=history.diverged_at,
        selected_epoch=history.selected,
        timings={
            "training_s": sum(epoch_seconds) or training_s,
            "epoch_median_s": float(pd.Series(epoch_seconds).median()) if epoch_seconds else 0.0,
            "evaluation_s": time.perf_counter() - started,
        },
        environment=environment | ({"step": history.form} if history.form else {}),
        weights_source=model.weights_source,
        counts={
            f"{name}{kind}": count
            for name, part in (("train", dataset.train), ("test", dataset.test))
            for kind, count in (("", len(part)), ("_defective", int(part.labels.sum())))
        }
        | ({"per_epoch": history.per_epoch} if history.per_epoch != len(dataset.train) else {}),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        backbone=model.backbone.fingerprint(),
    )
    write_text(folder / "record.json", json.dumps(record.to_json(), indent=1, allow_nan=False))
    return record


def _check_writable(folder: Path) -> None:
    probe = folder / ".probe"
    write_text(probe, "")
    probe.unlink()
