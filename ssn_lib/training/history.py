"""The course of a training, as it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

from ssn_lib.noise.source import Source


@dataclass(frozen=True)
class Epoch:
    """One row of the history.

    Attributes:
        loss: mean of the batches' losses, weighted by batch size.
        validation_loss: of fixed synthetic anomalies on held-out images; NaN without any.
        noise_rms: root of the noise's mean square over the epoch, weighted by batch size; a batch
            in which no pixel got any counts with 0. See `noise.source`.
        feature_std: of the adapted features of the epoch's first batch, all channels together; for
            a decoder, of the coarsest layer's.
        seconds: wall time.
    """

    epoch: int
    loss: float
    validation_loss: float
    learning_rate: float
    noise_rms: float
    feature_std: float
    seconds: float


@dataclass
class History:
    """The course of a training.

    Attributes:
        epochs: one entry per finished epoch.
        diverged_at: the epoch in which a loss was not finite; None if none was. The model's
            weights are then of no use.
        selected: the epoch whose weights the model has after a training that did not diverge.
        source: the noise source as trained.
        per_epoch: images trained on in an epoch.
        form: of the step on a GPU: "split", or "plain" where that was faster; see `training.step`.
            None elsewhere, and of a detector that has one form.
    """

    epochs: list[Epoch] = field(default_factory=list)
    diverged_at: int | None = None
    selected: int | None = None
    source: Source | None = None
    per_epoch: int = 0
    form: str | None = None
