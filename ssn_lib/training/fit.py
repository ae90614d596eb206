"""Training: seeded, resumable, the backbone's outputs computed once.

On a GPU a step asks the device nothing (no `.item()`, no copy that waits), so that the next steps
are already queued while one runs; what an epoch has to tell is fetched at its end. In float16 alone
the scaler asks, at each step, whether a gradient overflowed.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ssn_lib import machine
from ssn_lib.checks import check_image_size, check_last_batch, check_training
from ssn_lib.config import TrainingConfig
from ssn_lib.data.images import ImageSet
from ssn_lib.errors import InputError
from ssn_lib.fast.training_step import split_form
from ssn_lib.models.supersimplenet import Detector, ReconstructionDetector
from ssn_lib.noise.perturbed import Form
from ssn_lib.noise.sources import make_source
from ssn_lib.storage import read_tensors, written_whole
from ssn_lib.training.bar import Bar
from ssn_lib.training.batches import Features
from ssn_lib.training.history import Epoch, History
from ssn_lib.training.holdout import images_per_epoch, validation_split
from ssn_lib.training.identity import identity, matches
from ssn_lib.training.step import plain

CHECKPOINT_SHARE = 0.02  # of a training's time, at most, goes to writing its state
RISE = 0.15  # share of the steps in which the schedule "cycle" raises the learning rates
TRIALS = 3  # steps of either form that a GPU is timed with


def fit(
    model: Detector,
    train: ImageSet,
    config: TrainingConfig,
    seed: int,
    *,
    checkpoint: str | Path | None = None,
    device: str | torch.device | None = None,
    progress: str | None = "training",
    before_epoch: Callable[[History], None] | None = None,
    after_epoch: Callable[[History], None] | None = None,
) -> History:
    """Train all but the frozen backbone, in place; the model is left on `device`, in eval mode.

    The result is the same bit by bit on a CPU with a fixed number of threads. On a GPU it is the
    same up to rounding, since a GPU's sums have no fixed order. The checkpoint is written whole or
    not at all, after the first epoch and then so often that it costs 2 % of the time; a call that
    finds one goes on from it and ends with the same numbers. A loss that is not finite ends the
    training as diverged: that is a result, no error. The configuration alone sets the precision,
    under `torch.autocast` too.

    Args:
        model: its trained parts as they are to start from.
        train: the training images; defective ones are used only if `config.supervision.labels`.
        config: the protocol.
        seed: sole source of randomness, beside the model's initial weights.
        checkpoint: file of the state after an epoch; None keeps none.
        device: to train on; None takes `machine.device()`.
        progress: title of the bar, or of the lines where there is no terminal; None for none.
        before_epoch: called with what is done so far, which the checkpoint then holds. What it
            raises ends the training, to go on another time.
        after_epoch: called before the checkpoint is written, with the model as it is then. It may
            leave the model in eval mode and must draw no random numbers.

    Returns:
        The training's course, epoch by epoch.

    Raises:
        InputError: an argument or the protocol makes no sense; nothing to train on, or one class
            where two are needed; too few masks, or an empty one; the checkpoint is another's, or
            cannot be written.
    """
    _check(model, train, config, seed)
    device = torch.device(device or machine.device())
    checkpoint = None if checkpoint is None else Path(checkpoint)
    machine.prepare(device)
    model.to(device, memory_format=torch.channels_last)
    training_set, validation_set = validation_split(train, config, seed)
    kind = _ReconstructionTrainer if isinstance(model, ReconstructionDetector) else _Trainer
    trainer = kind(model, config, seed, device, train, training_set)
    check_last_batch(model.config, config, trainer.per_epoch, train.image_size)
    history = _resume_or_start(trainer, checkpoint, progress)
    if len(history.epochs) < config.epochs and history.diverged_at is None:
        checkpoints = _Checkpoints(checkpoint, trainer, history)
        with _training(trainer, training_set, validation_set, history, progress) as run_epoch:
            _run_epochs(run_epoch, trainer, history, checkpoints, before_epoch, after_epoch)
    if trainer.best is not None:
        model.load_trained_state(trainer.best)
    model.eval()
    return history


def _check(model: Detector, train: ImageSet, config: TrainingConfig, seed: int) -> None:
    for name, value, kind, what in (
        ("model", model, Detector, "a detector, as `SuperSimpleNet` makes it and not yet folded"),
        ("train", train, ImageSet, "an ImageSet, as `.train` of a data set is"),
        ("config", config, TrainingConfig, "a TrainingConfig, as `.training` of a preset is"),
        ("seed", seed, Integral, "a whole number"),
    ):
        if not isinstance(value, kind):
            raise InputError(f"{name}: {type(value).__name__}; must be {what}")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed={seed} is out of range: must be from 0 to 2^32 - 1")
    check_training(model.config, config)
    check_image_size(train.image_size)


def _resume_or_start(trainer: _Trainer, checkpoint: Path | None, title: str | None) -> History:
    """The history in the checkpoint, after a line about it; an empty one where there is none."""
    if checkpoint is None or not checkpoint.exists():
        return History(source=trainer.source, per_epoch=trainer.per_epoch)
    history = trainer.restore(checkpoint)
    if title is not None:
        done, of = len(history.epochs), trainer.config.epochs
        print(f"{title}: going on after epoch {done} of {of}, from its checkpoint", flush=True)
    return history


@contextlib.contextmanager
def _training(
    trainer: _Trainer,
    training_set: ImageSet,
    validation_set: ImageSet,
    history: History,
    progress: str | None,
) -> Iterator[Callable[[int], Epoch | None]]:
    """What runs an epoch, given its number, on the features of these images; they are removed, and
    the progress bar is closed, at the end."""
    model, config = trainer.model, trainer.config
    first = len(history.epochs)
    with contextlib.ExitStack() as at_the_end:
        at_the_end.enter_context(machine.without_autocast(trainer.device))
        data = Features(model, training_set, config.supervision)
        at_the_end.callback(data.outputs.remove)
        if first == 0:
            model.standardise(data.layers)
        held_out = None
        if len(validation_set):
            as_they_are = replace(config.supervision, flips=False)
            held_out = Features(model, validation_set, as_they_are)
            at_the_end.callback(held_out.outputs.remove)
        bar = at_the_end.enter_context(Bar(progress, config.epochs, trainer.steps, first))
        trainer.choose_form(data)
        history.form = trainer.chosen_form

        def run_epoch(number: int) -> Epoch | None:
            epoch = trainer.run_epoch(number, data, held_out, bar)
            if epoch is not None:
                bar.epoch(epoch)
            return epoch

        yield run_epoch


def _run_epochs(
    run_epoch: Callable[[int], Epoch | None],
    trainer: _Trainer,
    history: History,
    checkpoints: _Checkpoints,
    before_epoch: Callable[[History], None] | None,
    after_epoch: Callable[[History], None] | None,
) -> None:
    """The epochs that `history` lacks, up to the last one or the one that diverges."""
    for number in range(len(history.epochs) + 1, trainer.config.epochs + 1):
        if before_epoch is not None:
            try:
                before_epoch(history)
            except BaseException:
                checkpoints.write_pending()
                raise
        epoch = run_epoch(number)
        if epoch is None:
            history.diverged_at = number
            break
        losses = [past.validation_loss for past in history.epochs]
        if trainer.config.select_epoch == "last":
            history.selected = number
        elif epoch.validation_loss < min(losses, default=math.inf):
            trainer.best = copy.deepcopy(trainer.model.trained_state())
            history.selected = number
        history.epochs.append(epoch)
        if after_epoch is not None:
            after_epoch(history)
        checkpoints.after_epoch()


class _Checkpoints:
    """When the state of a training is written: after the first epoch, then after those that took
    long beside the writing, and after the last. With a path of None, never."""

    def __init__(self, path: Path | None, trainer: _Trainer, history: History):
        self.path, self.trainer, self.history = path, trainer, history
        self.due_at, self.pending = -math.inf, False

    def after_epoch(self) -> None:
        """Write it where it is due."""
        self.pending = True
        is_last = len(self.history.epochs) == self.trainer.config.epochs
        if is_last or time.monotonic() >= self.due_at:
            self.write_pending()

    def write_pending(self) -> None:
        """Write it, unless the last epoch's is written."""
        if self.path is not None and self.pending:
            started = time.monotonic()
            self.trainer.save(self.path, self.history)
            ended = time.monotonic()
            self.due_at = ended + (ended - started) / CHECKPOINT_SHARE
        self.pending = False


def _schedule(
    optimiser: torch.optim.Optimizer, config: TrainingConfig, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rates, as `TrainingConfig.schedule` says: of the epochs, or of the steps.

    Args:
        steps: of an epoch.
    """
    if config.schedule == "steps":
        return torch.optim.lr_scheduler.MultiStepLR(
            optimiser,
            milestones=[round(share * config.epochs) for share in config.milestones],
            gamma=config.gamma,
        )
    highest = [group["lr"] for group in optimiser.param_groups]
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, highest, total_steps=steps * config.epochs, pct_start=RISE
    )


class _Step(NamedTuple):
    """What the forward pass of a batch gives: its loss, the noise's mean square, and the features
    that the noise is added to, or that are rebuilt without any."""

    loss: Tensor
    power: Tensor
    features: Callable[[], Tensor]


class _Trainer:
    """Model, noise source, optimisers and schedule of one training."""

    def __init__(
        self,
        model: Detector,
        config: TrainingConfig,
        seed: int,
        device: torch.device,
        images: ImageSet,
        trained_on: ImageSet,
    ):
        self.model, self.config, self.seed, self.device = model, config, int(seed), device
        # Not before a checkpoint is read or written: the pixels are hashed.
        self.identity = functools.cache(
            functools.partial(identity, model, config, self.seed, images, trained_on)
        )
        self.per_epoch = images_per_epoch(trained_on, config)
        self.steps = math.ceil(self.per_epoch / config.batch_size)  # of an epoch
        adaptor, heads = model.adaptor_weights(), model.head_weights()
        self.optimiser = torch.optim.AdamW(
            [
                {
                    "params": adaptor,
                    "lr": config.adaptor_lr,
                    "weight_decay": config.adaptor_weight_decay,
                },
                {
                    "params": heads,
                    "lr": config.head_lr,
                    "weight_decay": config.head_weight_decay,
                },
            ]
        )
        self.source = make_source(config.noise, model, self.seed).to(device)
        self.rule = self.source.rule(adaptor + heads)
        self.compute_dtype = (
            machine.low_precision(device) if config.precision == "mixed" else torch.float32
        )
        # float16 has no room for small gradients. A scale that is too large costs the first steps.
        self.scaler = torch.amp.GradScaler(
            device.type, init_scale=256.0, enabled=self.compute_dtype == torch.float16
        )
        self.form = "split"
        self.chosen_form: str | None = None  # where there was a choice
        self.best: dict[str, Tensor] | None = None  # of the lowest validation loss, if it selects
        self.schedule = _schedule(self.optimiser, config, self.steps)

    def run_epoch(
        self, number: int, data: Features, held_out: Features | None, bar: Bar
    ) -> Epoch | None:
        """One pass over the data; None when a loss was not finite."""
        started = time.perf_counter()
        order = data.order(self.seed, number)
        learning_rate = self.schedule.get_last_lr()[-1]
        generators = self.generators(number)
        self.model.train()
        spread, figures = None, []
        batches = order.split(self.config.batch_size)
        for batch, indices in enumerate(batches, start=1):
            step = self.forward(data, indices, *generators)
            if spread is None:
                with torch.no_grad():
                    spread = step.features().std()
            self.update(step, batch, batch + (number - 1) * len(batches))
            if self.config.schedule == "cycle":
                self.schedule.step()
            figures.append(torch.stack((step.loss.detach(), step.power.detach())))
            bar.step()
        losses, powers = torch.stack(figures).cpu().unbind(1)  # here the device is waited for
        if not losses.isfinite().all():
            return None
        counts = [len(indices) for indices in batches]
        loss, power = (
            sum(value * count for value, count in zip(values.tolist(), counts, strict=True))
            for values in (losses, powers)
        )
        loss /= len(order)
        if self.config.schedule == "steps":
            self.schedule.step()
        validation = math.nan
        if held_out is not None:
            validation = self.validation_loss(held_out)
            if not math.isfinite(validation):
                return None
        return Epoch(
            number,
            loss,
            validation,
            learning_rate,
            math.sqrt(power / len(order)),
            spread.item(),
            time.perf_counter() - started,
        )

    def generators(self, *seeds: int) -> tuple[torch.Generator, torch.Generator]:
        """Of the places of synthetic anomalies, on the host, and of their noise, on the device; one
        and the same on a CPU."""
        places = machine.generator("cpu", self.seed, *seeds)
        if self.device.type == "cpu":
            return places, places
        return places, machine.generator(self.device, self.seed, *seeds)

    def choose_form(self, data: Features) -> None:
        """On a GPU, take the form of the step that is faster there, after a few trials of both; the
        training is left as it was. One that goes on there keeps the form that it began with; on a
        CPU the split one is always faster."""
        if self.device.type != "cuda":
            self.form, self.chosen_form = "split", None
            return
        if self.chosen_form is not None:
            return
        state = copy.deepcopy(self.model.trained_state())
        indices = data.order(self.seed, 1)[: self.config.batch_size]
        seconds = {}
        self.model.train()
        for self.form in ("split", "plain"):
            try:
                for trial in range(2 + TRIALS):  # the first ones start what is started once
                    if trial == 2:
                        torch.cuda.synchronize(self.device)
                        started = time.perf_counter()
                    self.forward(
                        data, indices, *self.generators(machine.TRIAL_STREAM)
                    ).loss.backward()
                torch.cuda.synchronize(self.device)
                seconds[self.form] = time.perf_counter() - started
            except torch.cuda.OutOfMemoryError:
                seconds[self.form] = math.inf
                torch.cuda.empty_cache()
        torch.cuda.empty_cache()  # the plain form took several times what the split one takes
        self.form = self.chosen_form = min(seconds, key=seconds.__getitem__)
        self.model.load_trained_state(state)
        self.optimiser.zero_grad(set_to_none=True)
        self.source.zero_grad(set_to_none=True)

    def forward(
        self,
        data: Features,
        indices: Tensor,
        places: torch.Generator,
        generator: torch.Generator,
    ) -> _Step:
        """The loss of one batch, duplicated and perturbed."""
        model, config = self.model, self.config
        batch = data.batch(indices, config.noise, places, self.device)
        form: Form = plain if self.form == "plain" else split_form
        logits = form(model, batch.layers, batch.pixels, self.source, generator, self.compute_dtype)
        loss = model.loss(
            logits.map, logits.score, batch.masks, batch.labels, config.focal, batch.weights
        )
        return _Step(loss, logits.power, logits.adapted)

    def update(self, step: _Step, batch: int, batch_of_training: int) -> None:
        """Move the weights after a batch, numbered from 1 in its epoch and in the training."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.rule is None:
            self.scaler.scale(step.loss).backward()
        elif not self.rule.backward_and_update(step.loss, step.power, batch, batch_of_training):
            return
        if self.config.clip_norm is not None:
            self.scaler.unscale_(self.optimiser)
            weights = [w for group in self.optimiser.param_groups for w in group["params"]]
            torch.nn.utils.clip_grad_norm_(weights, self.config.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    @torch.no_grad()
    def validation_loss(self, held_out: Features) -> float:
        """Loss on the held-out images with the same synthetic anomalies after every epoch."""
        generators = self.generators(machine.VALIDATION_STREAM)
        self.model.eval()
        total = 0.0
        for indices in torch.arange(len(held_out)).split(self.config.batch_size):
            total += self.forward(held_out, indices, *generators).loss.item() * len(indices)
        return total / len(held_out)

    def save(self, path: Path, history: History) -> None:
        """Write the state after an epoch, whole or not at all."""
        state = {
            "training": self.identity(),
            "history": [asdict(epoch) for epoch in history.epochs],
            "selected": history.selected,
            "trained": self.model.trained_state(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "source": self.source.state_dict(),
            "generator_optimiser": self.rule and self.rule.optimiser.state_dict(),
            "form": self.chosen_form,
        }
        with written_whole(path) as file:
            torch.save(state, file)

    def restore(self, path: Path) -> History:
        """Take the state over from a checkpoint of the same training."""
        # On the host: an optimiser would keep its counts of steps on a GPU and wait for each there.
        state: dict[str, Any] = read_tensors(path)
        of = state.get("training") if isinstance(state, dict) else None
        if not (isinstance(of, dict) and matches(of, self.identity())):
            raise InputError(f"checkpoint {path} is of another training; remove it or move it away")
        self.model.load_trained_state(state["trained"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"]:  # empty where it was not needed: on a device with bfloat16
            self.scaler.load_state_dict(state["scaler"])
        self.source.load_state_dict(state["source"])
        if self.rule is not None:
            self.rule.optimiser.load_state_dict(state["generator_optimiser"])
        self.best = state["best"]
        epochs = [Epoch(**row) for row in state["history"]]
        selected = state["selected"] if self.best is not None else len(epochs)
        if form := state.get("form"):  # older checkpoints have none, nor those of a CPU
            self.form = self.chosen_form = form
        return History(epochs, None, selected, self.source, self.per_epoch, form)


class _ReconstructionTrainer(_Trainer):
    """Of a detector that rebuilds features: batches as they are, in a single form of the step."""

    def choose_form(self, data: Features) -> None:
        """See `_Trainer`."""

    def forward(
        self,
        data: Features,
        indices: Tensor,
        places: torch.Generator,
        generator: torch.Generator,
    ) -> _Step:
        """The loss of one batch."""
        layers = data.stages(indices, self.device)
        low = self.compute_dtype != torch.float32
        with torch.autocast(self.device.type, self.compute_dtype, enabled=low):
            loss = self.model.loss(layers)
        return _Step(loss, loss.new_zeros(()), lambda: layers[-1])


def epochs_in(checkpoint: Path) -> int:
    """How many epochs a checkpoint holds; 0 where it is missing or cannot be read."""
    try:
        return len(torch.load(checkpoint, map_location="cpu", weights_only=True)["history"])
    except Exception:  # whatever torch finds wrong with it
        return 0
