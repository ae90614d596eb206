"""What was published: every figure the study is held against, and the published runs' logs."""

from __future__ import annotations

import io
import json
from functools import cache
from importlib.resources import files
from typing import Any

import pandas as pd

from ssn_lib.config import TrainingConfig
from ssn_lib.data.sets.mvtec import MVTEC_COUNTS
from ssn_lib.study.systems import title

PUBLISHED_BATCH = TrainingConfig().batch_size
# Published runs of Modifications 1 and 2, by name in the logs.
SWAP_COURSES = {name: title(name) for name in ("baseline", "scenario_a", "scenario_b")}
LEARNED_COURSES = {
    "scenario_a": "Gaussian (A)",
    "learned_noise_v1_published": "v1",
    "learned_noise_v2_published beta=0.015": "v2, β = 0.015",
    "learned_noise_v2_published beta=0.05": "v2, β = 0.05",
    "learned_noise_v2_published": "v2, β = 0.1",
    "learned_noise_v2_published beta=0.5": "v2, β = 0.5",
}


@cache
def published_figures() -> dict[str, Any]:
    """Every published figure the study is held against; see `published.json` for the sources."""
    return json.loads(files("ssn_lib.study").joinpath("published.json").read_text(encoding="utf-8"))


@cache
def published_logs() -> pd.DataFrame:
    """What the author's public notebook printed while its runs trained: one row an evaluation.

    Columns: run (a preset's name where there is one), category, epochs_done, loss, images (seen so
    far, on MVTec AD) and the seven metrics in percent. One seed, Tesla P100.
    """
    path = files("ssn_lib.study").joinpath("published_logs.csv")
    logs = pd.read_csv(io.StringIO(path.read_text(encoding="utf-8")), comment="#")
    images = logs["category"].map({name: counts[0] for name, counts in MVTEC_COUNTS.items()})
    return logs.assign(images=logs["epochs_done"] * images)


def published_log(run: str, category: str) -> pd.DataFrame:
    """The rows of one run in `published_logs`, by epoch; none for an unknown one."""
    logs = published_logs()
    return logs[(logs["run"] == run) & (logs["category"] == category)]


def last_epochs(log: pd.DataFrame, epochs: int) -> pd.DataFrame:
    """The rows of a published log within its last epochs."""
    return log[log["epochs_done"] > log["epochs_done"].max() - epochs]


def peak(log: pd.DataFrame, metric: str) -> tuple[float, int]:
    """The highest value of a metric in a published log, and after how many epochs it had it."""
    row = log.loc[log[metric].idxmax()]
    return float(row[metric]), int(row["epochs_done"])
