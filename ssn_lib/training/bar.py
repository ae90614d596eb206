"""How far a training or an inspection is, for whoever waits for it."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from ssn_lib.training.history import Epoch

LINE_S = 10  # between two lines of plain text, which a log or a notebook keeps
BAR_S = 1  # between two states of a bar


class Bar:
    """A bar on a terminal; elsewhere, as in a notebook or a log, a line of plain text now and then.

    Args:
        title: of the training; None says nothing.
        epochs, steps: of the training, and of an epoch.
        done: epochs that were made before.
        unit: what a step is called.
    """

    def __init__(
        self, title: str | None, epochs: int, steps: int, done: int = 0, unit: str = "step"
    ):
        self._title, self._epochs, self._said = title, epochs, time.monotonic()
        self._terminal = title is not None and sys.stderr.isatty()
        self._bar = tqdm(
            total=epochs * steps,
            initial=done * steps,
            desc=title,
            disable=not self._terminal,
            unit=unit,
            mininterval=BAR_S,
            dynamic_ncols=True,
        )

    def __enter__(self) -> Bar:
        """For a block at whose end the bar is left as it is."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bar."""
        self._bar.close()

    def step(self) -> None:
        """A step is done."""
        self._bar.update()

    def epoch(self, epoch: Epoch) -> None:
        """An epoch is done."""
        self._bar.set_postfix(
            epoch=f"{epoch.epoch}/{self._epochs}", loss=f"{epoch.loss:.3f}", refresh=False
        )
        now = time.monotonic()
        due = epoch.epoch == self._epochs or now - self._said >= LINE_S
        if self._title is not None and not self._terminal and due:
            self._said = now
            print(
                f"{self._title}: epoch {epoch.epoch} of {self._epochs}, loss {epoch.loss:.3f}",
                flush=True,
            )
