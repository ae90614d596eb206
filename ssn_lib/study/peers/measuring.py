"""A peer on a data set: fitted once, measured by the study's own metrics, kept as a record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from torch import nn

from ssn_lib import machine
from ssn_lib.config import PUBLISHED_SIZE, TrainingConfig
from ssn_lib.data.copies import warn_of_copies
from ssn_lib.data.images import Dataset
from ssn_lib.data.loading import load_dataset
from ssn_lib.errors import InputError
from ssn_lib.inference import evaluate, predict
from ssn_lib.storage import held, shown
from ssn_lib.study.costs import inference as costs
from ssn_lib.study.costs.records import SCENARIO_A, Spread
from ssn_lib.study.peers.methods import METHODS, fit, prepare
from ssn_lib.study.peers.records import FOLDER, TITLES, PeerConfig, PeerRecord, read_peer
from ssn_lib.training.holdout import chosen_images

REPETITIONS = 7  # timed passes of one image


def measure_all(
    names: Sequence[str],
    dataset: str,
    data_root: Path | None,
    category: str | None,
    runs_dir: Path,
    *,
    weights: str | Path = "imagenet",
    seed: int = 42,
    good_images: int | None = None,
) -> list[PeerRecord]:
    """Fit and measure peers, or answer from their records.

    Args:
        names: some of `TITLES`; none for all.
        dataset, data_root, category: as in `data.loading.load_dataset`.
        runs_dir: the records go to a folder in it.
        weights: of the backbone, as for `models.weights.find_weights`.
        seed: of what is drawn at random.
        good_images: how many of the good training images they get, the same ones as a run of that
            seed; None for all.

    Raises:
        InputError: an unknown name, no such data, anomalib is not installed.
    """
    for name in names:
        if name not in TITLES:
            raise InputError(f"--only {name}: no such peer; there are {', '.join(TITLES)}")
    if good_images is not None and good_images < 1:
        raise InputError(f"--good-images {good_images}: at least one is needed")
    records = []
    for name in names or TITLES:
        images = load_dataset(
            dataset,
            data_root,
            category=category,
            made_for=METHODS[name].size,
            resize="antialiased",
        )
        records.append(_measured(name, images, runs_dir, weights, seed, good_images))
    return records


def _measured(
    name: str,
    dataset: Dataset,
    runs_dir: Path,
    weights: str | Path,
    seed: int,
    good_images: int | None,
) -> PeerRecord:
    """One of them, measured once."""
    config = PeerConfig(
        name,
        dataset.name,
        dataset.category,
        dataset.train.image_size,
        dataset.fingerprint,
        seed,
        good_images,
    )
    path = runs_dir / FOLDER / config.file
    with held(path.with_suffix(".lock")):
        if path.exists():
            record = read_peer(path)
            if record.settings != METHODS[name].settings:
                raise InputError(f"{shown(path)}: fitted by other settings; remove it")
            print(f"{TITLES[name]}: answered from {shown(path)}", flush=True)
            return record
        print(f"{TITLES[name]}: fitting to {dataset.category}", flush=True)
        train = chosen_images(dataset.train, TrainingConfig(good_images=good_images), seed).sound()
        warn_of_copies(dataset, labels=False)
        prepare()
        train.images  # noqa: B018  decoded before the clock starts
        started, of_cpu = time.perf_counter(), time.process_time()
        fitted = fit(name, train.images, weights, seed)
        fit_s, fit_cpu_s = time.perf_counter() - started, time.process_time() - of_cpu
        prediction = predict(fitted, dataset.test)
        values = evaluate(prediction, dataset.test)
        latency, of_scenario_a = _latency(fitted, dataset.train.image_size)
        names = dataset.test.names(dataset.root)
        record = PeerRecord(
            config,
            METHODS[name].settings,
            values.as_json(),
            values.undefined,
            dict(zip(names, prediction.score.tolist(), strict=True)),
            len(train),
            fit_s,
            latency,
            of_scenario_a,
            _stored_mb(fitted),
            {package: metadata.version(package) for package in ("anomalib", "timm")},
            machine.describe(torch.device("cpu")),
            datetime.now(UTC).isoformat(timespec="seconds"),
            fit_cpu_s,
        )
        record.keep(runs_dir)
        return record


def _latency(fitted: nn.Module, size: tuple[int, int]) -> tuple[Spread, Spread]:
    """Milliseconds for one image, and that over plain Scenario A's at the published size."""
    device = torch.device("cpu")
    works = [
        partial(costs.infer, network, torch.randn(1, 3, *shape), device)
        for network, shape in (
            (costs.build(SCENARIO_A, "plain"), PUBLISHED_SIZE),
            (fitted, size),
        )
    ]
    plain, own = costs.in_turns(works, REPETITIONS)
    return (
        Spread.of([1e3 * seconds for seconds in own]),
        Spread.of([a / b for a, b in zip(own, plain, strict=True)]),
    )


def _stored_mb(network: nn.Module) -> float:
    numbers = (*network.parameters(), *network.buffers())
    return sum(part.numel() * part.element_size() for part in numbers) / 1e6
