"""Training: seeded, resumable at every epoch, the backbone's outputs computed once."""

from __future__ import annotations

import copy
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ssn_lib import env, split
from ssn_lib.config import TrainingConfig
from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.errors import InputError
from ssn_lib.files import written_whole
from ssn_lib.losses import detection_loss
from ssn_lib.model import SuperSimpleNet
from ssn_lib.noise import place
from ssn_lib.sources import Source, make_source
from ssn_lib.upscaled import Upscaled

FEATURE_BATCH = 16  # images per pass of the frozen backbone
# What a generator is seeded with beside the run's seed: an epoch's number, or one of these.
_SPLIT, _VALIDATION = -1, -2


@dataclass(frozen=True)
class Epoch:
    """One row of the history.

    Attributes:
        loss: mean of the batches' losses, weighted by batch size.
        validation_loss: of fixed synthetic anomalies on held-out images; NaN without any.
        noise_rms: root of the noise's mean square over the epoch; see `sources.Noise.power`.
        feature_std: of the adapted features of the epoch's first batch, all channels together.
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
        diverged_at: the epoch in which a loss was not finite; None if none was. The model then
            has the weights of the step before.
        selected: the epoch whose weights the model has after a training that did not diverge.
        source: the noise source as trained.
    """

    epochs: list[Epoch] = field(default_factory=list)
    diverged_at: int | None = None
    selected: int | None = None
    source: Source | None = None


def fit(
    model: SuperSimpleNet,
    train: ImageSet,
    config: TrainingConfig,
    seed: int,
    *,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
    progress: str | None = "training",
    before_epoch: Callable[[History], None] | None = None,
) -> History:
    """Train the adaptor and the heads; the model is left on `device`, in eval mode.

    Bit-reproducible on a CPU for a fixed thread count. With `checkpoint`, the state after every
    epoch is written there atomically, and a call that finds it goes on from it and ends with the
    same numbers. A loss that is not finite ends the training as diverged: a result, not an error.

    Args:
        model: its trained parts as they are to start from.
        train: the training images; labels and masks as they are on disk.
        config: the protocol.
        seed: sole source of randomness, beside the model's initial weights.
        progress: title of the progress bar; None for none.
        before_epoch: called with what is done so far, which the checkpoint then holds. What it
            raises ends the training, to go on another time.

    Raises:
        InputError: nothing to train on; the checkpoint is of another training, or not writable.
    """
    device = device or env.device()
    if device.type == "cpu":
        env.keep_freed_memory()
    model.to(device, memory_format=torch.channels_last)
    training_set, validation_set = _split(train, config, seed)
    trainer = _Trainer(model, config, seed, device, train)
    history, best = History(source=trainer.source), None
    if checkpoint is not None and checkpoint.exists():
        history, best = trainer.restore(checkpoint)
    first = len(history.epochs)
    if first < config.epochs and history.diverged_at is None:
        data = _Features(model, training_set, device)
        held_out = _Features(model, validation_set, device) if len(validation_set) else None
        steps = math.ceil(len(data) / config.batch_size)
        with tqdm(
            total=config.epochs * steps,
            initial=first * steps,
            desc=progress,
            disable=progress is None,
            unit="step",
            mininterval=1 if sys.stderr.isatty() else 10,  # a log keeps every line
            dynamic_ncols=True,
        ) as bar:
            for number in range(first + 1, config.epochs + 1):
                if before_epoch is not None:
                    before_epoch(history)
                epoch = trainer.run_epoch(number, data, held_out, bar)
                if epoch is None:
                    history.diverged_at = number
                    break
                if not history.epochs or epoch.validation_loss < min(
                    past.validation_loss for past in history.epochs
                ):
                    best = copy.deepcopy(model.trained_state())
                    history.selected = number
                history.epochs.append(epoch)
                if checkpoint is not None:
                    trainer.save(checkpoint, history, best)
    if config.select_epoch == "validation" and best is not None:
        model.load_trained_state(best)
    elif history.epochs:
        history.selected = history.epochs[-1].epoch
    model.eval()
    return history


class _Features:
    """The backbone's outputs for all images, computed once: it is frozen, nothing is augmented."""

    def __init__(self, model: SuperSimpleNet, images: ImageSet, device: torch.device):
        self.masks, self.labels = images.masks, images.labels
        parts = []
        for batch in images.images.split(FEATURE_BATCH):
            layers = model.backbone(_to(normalise(batch), device))
            parts.append([layer.cpu() for layer in layers])
        self.layers = [torch.cat(layer) for layer in zip(*parts, strict=True)]

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor]:
        """Stage outputs, masks at full size (B, 1, H, W) and labels (B,) of those images."""
        layers = [_to(layer[indices], device) for layer in self.layers]
        return (
            layers,
            self.masks[indices].to(device).float(),
            self.labels[indices].to(device).float(),
        )


class _Step(NamedTuple):
    """What the forward pass of a batch gives: its loss, the noise's mean square, its features."""

    loss: Tensor
    power: Tensor
    adapted: split.Affine | split.Dense


class _Trainer:
    """Model, noise source, optimisers and schedule of one training."""

    def __init__(
        self,
        model: SuperSimpleNet,
        config: TrainingConfig,
        seed: int,
        device: torch.device,
        images: ImageSet,
    ):
        self.model, self.config, self.seed, self.device = model, config, seed, device
        heads = [*model.seg_head.parameters()]
        heads += model.cls_head.parameters() if model.cls_head is not None else []
        self.optimiser = torch.optim.AdamW(
            [
                {
                    "params": list(model.adaptor.parameters()),
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
        self.identity = {
            "training": asdict(config),
            "model": asdict(model.config),
            "seed": seed,
            "images": ["/".join(sample.image.parts[-4:]) for sample in images.samples],
        }
        self.source = make_source(config.noise, model, seed).to(device)
        learned = list(self.source.parameters())
        # As in the public code: AdamW's default weight decay, and no schedule.
        self.generator_optimiser = (
            torch.optim.AdamW(learned, lr=config.noise.generator.lr) if learned else None
        )
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(
            self.optimiser,
            milestones=[round(share * config.epochs) for share in config.milestones],
            gamma=config.gamma,
        )

    def run_epoch(
        self, number: int, data: _Features, held_out: _Features | None, bar: tqdm
    ) -> Epoch | None:
        """One pass over the data; None when a loss was not finite."""
        started = time.perf_counter()
        generator = env.generator(self.device, self.seed, number)
        order = torch.randperm(len(data), generator=env.generator("cpu", self.seed, number))
        learning_rate = self.schedule.get_last_lr()[-1]
        self.model.train()
        total = power = spread = 0.0
        batches = order.split(self.config.batch_size)
        for batch, indices in enumerate(batches, start=1):
            step = self.forward(data, indices, generator)
            value = step.loss.item()
            if not math.isfinite(value):
                return None
            if batch == 1:
                with torch.no_grad():
                    spread = step.adapted.values().std().item()
            self.update(step, batch, batch + (number - 1) * len(batches))
            total += value * len(indices)
            power += step.power.item() * len(indices)
            bar.set_postfix(
                epoch=f"{number}/{self.config.epochs}", loss=f"{value:.3f}", refresh=False
            )
            bar.update()
        self.schedule.step()
        validation = math.nan
        if held_out is not None:
            validation = self.validation_loss(held_out)
            if not math.isfinite(validation):
                return None
        return Epoch(
            number,
            total / len(data),
            validation,
            learning_rate,
            math.sqrt(power / len(data)),
            spread,
            time.perf_counter() - started,
        )

    def forward(self, data: _Features, indices: Tensor, generator: torch.Generator) -> _Step:
        """The loss of one batch, duplicated and perturbed."""
        layers, masks, labels = data.batch(indices, self.device)
        features = Upscaled(layers, self.model.config.upscale, self.model.config.align_corners)
        adapted = split.adapt(self.model.adaptor, features)
        masks = (F.interpolate(masks, size=features.size, mode="bilinear") >= 0.5).float()
        pixels, masks, labels = place(masks, labels, self.config.noise, generator)
        noise = self.source(adapted, pixels, generator)
        logits = split.heads(self.model, features, adapted, pixels, noise.values)
        loss = detection_loss(*logits, masks, labels, self.config.focal)
        return _Step(loss, noise.power, adapted)

    def update(self, step: _Step, batch: int, batch_of_training: int) -> None:
        """Move the weights after a batch, numbered from 1 in its epoch and in the training.

        The published rules run the backward pass once with each sign and clear too little or too
        late between them, so that gradients cancel. v1: only the generator's are cleared; the
        detector's are +g − g, and it never learns. v2, in its generator's batches: nothing is
        cleared; of the generator's objective only the magnitude's gradient is left, and the heads
        get none. The public code also counts its batches anew in every epoch.

        The cancellation is exact where the backward pass is deterministic, as it is on a CPU.
        """
        self.optimiser.zero_grad(set_to_none=True)
        if self.generator_optimiser is None:
            step.loss.backward()
            self.optimiser.step()
            return
        self.generator_optimiser.zero_grad(set_to_none=True)
        rule, generator = self.config.noise.generator, list(self.source.parameters())
        detector = [weight for part in self.model.trained_parts() for weight in part.parameters()]
        objective = rule.magnitude_weight * step.power - step.loss
        counted = batch_of_training if rule.update == "alternating" else batch
        if counted % rule.period:
            step.loss.backward(inputs=detector)
            self.optimiser.step()
        elif rule.update == "alternating":
            objective.backward(inputs=generator)
            self.generator_optimiser.step()
        else:
            if rule.update == "simultaneous":
                first, second = detector, generator
            else:  # as published: both passes reach everything
                first = second = detector + generator
            step.loss.backward(inputs=first, retain_graph=True)
            if rule.update == "v1_published":
                self.generator_optimiser.zero_grad(set_to_none=True)
            objective.backward(inputs=second)
            self.optimiser.step()
            self.generator_optimiser.step()

    @torch.no_grad()
    def validation_loss(self, held_out: _Features) -> float:
        """Loss on the held-out images with the same synthetic anomalies after every epoch."""
        generator = env.generator(self.device, self.seed, _VALIDATION)
        self.model.eval()
        total = 0.0
        for indices in torch.arange(len(held_out)).split(self.config.batch_size):
            total += self.forward(held_out, indices, generator).loss.item() * len(indices)
        return total / len(held_out)

    def save(self, path: Path, history: History, best: dict[str, Tensor] | None) -> None:
        """Write the state after an epoch, whole or not at all."""
        state = {
            "training": self.identity,
            "history": [asdict(epoch) for epoch in history.epochs],
            "selected": history.selected,
            "trained": self.model.trained_state(),
            "best": best if self.config.select_epoch == "validation" else None,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "source": self.source.state_dict(),
            "generator_optimiser": self.generator_optimiser
            and self.generator_optimiser.state_dict(),
        }
        with written_whole(path) as file:
            torch.save(state, file)

    def restore(self, path: Path) -> tuple[History, dict[str, Tensor] | None]:
        """Take the state over from a checkpoint of the same training."""
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        if state["training"] != self.identity:
            raise InputError(f"checkpoint {path} is of another training; remove it or move it away")
        self.model.load_trained_state(state["trained"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.source.load_state_dict(state["source"])
        if self.generator_optimiser is not None:
            self.generator_optimiser.load_state_dict(state["generator_optimiser"])
        epochs = [Epoch(**row) for row in state["history"]]
        return History(epochs, None, state["selected"], self.source), state["best"]


def epochs_in(checkpoint: Path) -> int:
    """How many epochs a checkpoint holds; 0 where it is missing or cannot be read."""
    try:
        return len(torch.load(checkpoint, map_location="cpu", weights_only=True)["history"])
    except Exception:  # whatever torch finds wrong with it
        return 0


def _split(train: ImageSet, config: TrainingConfig, seed: int) -> tuple[ImageSet, ImageSet]:
    """The images to train on and those held out for validation."""
    held = round(config.validation_fraction * len(train))
    if len(train) - held < 1:
        raise InputError(f"{len(train)} training images, {held} of them held out: none to train on")
    if held == 0 and config.validation_fraction > 0:
        raise InputError(
            f"training.validation_fraction={config.validation_fraction} holds out none of "
            f"{len(train)} training images"
        )
    order = torch.randperm(len(train), generator=env.generator("cpu", seed, _SPLIT)).tolist()
    return train.subset(sorted(order[held:])), train.subset(sorted(order[:held]))


def _to(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device, memory_format=torch.channels_last)
