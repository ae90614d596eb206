"""Every metric of every run as one tidy frame, a row a number, for tables of one's own."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from ssn_lib.overrides import changes
from ssn_lib.runs.record import Record, device_name

COLUMNS = (
    *("system", "dataset", "category", "height", "width", "changes", "seed"),
    *("epochs", "batch_size", "precision", "weights", "device", "run", "metric", "value"),
)


def metrics_frame(records: Iterable[Record]) -> pd.DataFrame:
    """The metrics of records, in percent.

    Returns:
        A row for each run and metric. `changes` are to the preset, as `--set` takes them, separated
        by spaces; `epochs` are those done; `value` is missing where the metric is undefined. A run
        that diverged has one row without a metric.
    """
    rows = []
    for record in sorted(records, key=lambda record: record.run_id):
        config = record.config
        run = (
            *(config.preset, config.data.dataset, config.data.category, *config.data.image_size),
            *(" ".join(changes(config)), config.seed, record.epochs_done),
            *(config.training.batch_size, config.training.precision, config.weights),
            *(device_name(record.environment), record.run_id),
        )
        metrics = record.metrics or {"": None}
        rows += [(*run, name, value) for name, value in metrics.items()]
    return pd.DataFrame(rows, columns=COLUMNS)
