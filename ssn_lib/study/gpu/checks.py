"""What must hold on a GPU before its numbers are worth anything, as checks that need PyTorch alone.

`python -m ssn_lib protocol` runs them first, tests/study/gpu/test_checks.py runs them as tests, and
tests run them on the CPU in a GPU's place, as far as that goes. Each gives a line with what it
measured, or raises AssertionError.
"""

from __future__ import annotations

import copy
import math
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ssn_lib import machine
from ssn_lib.config import TrainingConfig
from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.errors import OutOfTime, in_one_line
from ssn_lib.fast.folded import fuse
from ssn_lib.fast.training_step import split_form
from ssn_lib.inference import predict
from ssn_lib.models.supersimplenet import Detector, build
from ssn_lib.noise.perlin import place
from ssn_lib.noise.perturbed import Form
from ssn_lib.noise.source import Noise
from ssn_lib.noise.sources import make_source
from ssn_lib.presets import preset
from ssn_lib.study.costs.engines import noise_images
from ssn_lib.training import fit as training_loop
from ssn_lib.training.batches import Features
from ssn_lib.training.history import History
from ssn_lib.training.step import plain

FOLDED = ("scenario_a", "scenario_b", "simplenet", "gap_cam", "evolved")
STEPPED = ("scenario_a", "scenario_b", "learned_noise_v2", "gap_cam", "weak_ssn")
SIDE, IMAGES = 64, 8
MAP_TOLERANCE = 1e-4  # of a map, relative to its largest value
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 5e-3  # relative; a gradient's by its norm
COURSE_TOLERANCE = 0.05  # of the loss of a short training, relative


@dataclass(frozen=True)
class Result:
    """How a check ended: `told` is what it measured, or what failed. Where a decisive one fails,
    a training there is not the training of the study."""

    name: str
    passed: bool
    told: str
    decisive: bool = False


def run_all(device: torch.device, tell: Callable[[str], None] = print) -> list[Result]:
    """Every check, one line each as it ends; a check that breaks counts as failed."""
    results = []
    for check in CHECKS:
        name = check.__doc__.splitlines()[0].rstrip(".")
        try:
            result = Result(name, True, check(device), check in DECISIVE)
        except Exception as error:  # whatever breaks, the others are told of
            result = Result(name, False, in_one_line(error), check in DECISIVE)
        results.append(result)
        tell(f"{'ok    ' if result.passed else 'FAILED'} {result.name}: {result.told}")
    return results


def folded_is_plain(device: torch.device) -> str:
    """A folded network gives what the plain one gives."""
    images = torch.randn(3, 3, SIDE, SIDE, generator=_chance()).to(device)
    worst = 0.0
    for name in FOLDED:
        model = _model(name, device).eval()
        with torch.inference_mode():
            for expected, got in zip(model(images), fuse(model)(images), strict=True):
                worst = max(worst, _difference(got, expected))
    assert worst <= MAP_TOLERANCE, f"they differ by {worst:.1e} of their scale"
    return f"{len(FOLDED)} systems, largest difference {worst:.1e} of their scale"


def prediction_is_the_cpus(device: torch.device) -> str:
    """Prediction on the device gives the CPU's maps and scores."""
    worst = 0.0
    for name in FOLDED:
        model = _model(name, torch.device("cpu")).eval()
        expected, got = (predict(model.to(on), _images()) for on in (torch.device("cpu"), device))
        for ours, theirs in zip(got, expected, strict=True):
            worst = max(worst, _difference(ours, theirs))
    assert worst <= 10 * MAP_TOLERANCE, f"they differ by {worst:.1e} of their scale"
    return f"{len(FOLDED)} systems, largest difference {worst:.1e} of their scale"


def step_is_the_cpus(device: torch.device) -> str:
    """A training step gives the CPU's loss and gradients, in both forms."""
    losses, gradients = 0.0, 0.0
    for name in STEPPED:
        (loss, expected), *others = (
            _step(name, form, on)
            for form, on in (
                (plain, torch.device("cpu")),
                (plain, device),
                (split_form, device),
            )
        )
        for other, got in others:
            losses = max(losses, abs(other / loss - 1))
            norm = torch.sqrt(sum(g.square().sum() for g in expected))
            apart = sum((a - b).square().sum() for a, b in zip(got, expected, strict=True))
            gradients = max(gradients, (torch.sqrt(apart) / norm).item())
    assert losses <= LOSS_TOLERANCE, f"the loss differs by {losses:.1e}"
    assert gradients <= GRADIENT_TOLERANCE, f"the gradient differs by {gradients:.1e} of its norm"
    return f"loss within {losses:.1e}, gradient within {gradients:.1e} of its norm"


def resumed_is_unbroken(device: torch.device) -> str:
    """A training that was stopped and goes on ends like an unbroken one."""
    config = TrainingConfig(epochs=4, batch_size=4)
    courses = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"

        def stop(history: History) -> None:
            if len(history.epochs) == 2:
                raise OutOfTime

        for breaks in (False, True):
            if breaks:
                try:
                    _fit(device, config, checkpoint=checkpoint, before_epoch=stop)
                except OutOfTime:
                    assert checkpoint.exists(), "it left no checkpoint"
            history = _fit(device, config, checkpoint=checkpoint if breaks else None)
            courses.append([epoch.loss for epoch in history.epochs])
    worst = max(abs(a / b - 1) for a, b in zip(*courses, strict=True))
    assert worst <= COURSE_TOLERANCE, f"the losses of an epoch differ by {100 * worst:.2f} %"
    return f"losses of an epoch within {100 * worst:.3f} %"


def mixed_is_finite(device: torch.device) -> str:
    """Mixed precision stays finite and near float32."""
    config = TrainingConfig(epochs=3, batch_size=4)
    exact, mixed = (
        _fit(device, replace(config, precision=precision)) for precision in ("float32", "mixed")
    )
    assert mixed.diverged_at is None, f"it diverged in epoch {mixed.diverged_at}"
    worst = max(abs(a.loss / b.loss - 1) for a, b in zip(mixed.epochs, exact.epochs, strict=True))
    assert worst <= COURSE_TOLERANCE, f"the loss differs by {100 * worst:.1f} %"
    return f"{machine.low_precision(device)}, losses of an epoch within {100 * worst:.2f} %"


def a_step_waits_for_nothing(device: torch.device) -> str:
    """A training step asks the device nothing, so that the next ones are queued meanwhile."""
    if device.type != "cuda":
        return "only a GPU can tell"
    for name in ("scenario_a", "scenario_a_relative", "learned_noise_v2"):
        config = replace(preset(name).training, batch_size=4)
        model, images = _model(name, device), _images()
        trainer = training_loop._Trainer(model, config, 0, device, images, images)
        data = Features(model, images, config.supervision)
        model.train()
        for trainer.form in ("split", "plain"):
            for batch in range(1, 10):
                # The first ones start what is started once: libraries, the optimiser's state.
                mode = _sync_is_an_error() if batch > 5 else nullcontext()
                with mode:
                    made = trainer.forward(data, torch.arange(4), *trainer.generators(batch))
                    trainer.update(made, batch, batch)
    torch.cuda.synchronize(device)
    return "no synchronisation in either form"


def published_gradients_cancel(device: torch.device) -> str:
    """The published v1's detector gets +g and -g: what is left is rounding."""
    config = replace(preset("learned_noise_v1_published").training, batch_size=4)
    model, images = _model("learned_noise_v1_published", device), _images()
    trainer = training_loop._Trainer(model, config, 0, device, images, images)
    data = Features(model, images, config.supervision)
    model.train()
    weights = [weight for part in model.trained_parts() for weight in part.parameters()]
    left = []
    for whole in (False, True):
        made = trainer.forward(data, torch.arange(4), *trainer.generators(1))
        trainer.optimiser.zero_grad(set_to_none=True)
        if whole:  # last: it moves the generator
            trainer.rule.backward_and_update(made.loss, made.power, 1, 1)
        else:
            made.loss.backward()
        left.append(torch.sqrt(sum(weight.grad.square().sum() for weight in weights)).item())
    share = left[1] / left[0]
    assert share <= 1e-4, f"{share:.1e} of the gradient is left"
    return f"{share:.1e} of the gradient is left"


CHECKS = (
    folded_is_plain,
    prediction_is_the_cpus,
    step_is_the_cpus,
    resumed_is_unbroken,
    mixed_is_finite,
    a_step_waits_for_nothing,
    published_gradients_cancel,
)
DECISIVE = (folded_is_plain, prediction_is_the_cpus, step_is_the_cpus)


def _chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images() -> ImageSet:
    return noise_images(IMAGES, (SIDE, SIDE))


def _model(name: str, device: torch.device) -> Detector:
    """An untrained network whose BatchNorm is not the identity, the same one every time."""
    machine.prepare(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build(preset(name).model, weights=None)
    chance = _chance(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor, low, high in (
                (part.running_mean, -0.3, 0.3),
                (part.running_var, 0.7, 1.4),
            ):
                tensor.uniform_(low, high, generator=chance)
    return model.to(device, memory_format=torch.channels_last)


def _step(name: str, form: Form, device: torch.device) -> tuple[float, list[Tensor]]:
    """Loss and gradients of one step whose masks and Gaussian noise are made on the CPU."""
    noise = preset(name).training.noise
    model = _model(name, device).train()
    layers = model.backbone(normalise(_images().images[:4]).to(device))
    size = tuple(side * model.config.upscale for side in layers[0].shape[-2:])
    placed = place(torch.zeros(4, 1, *size), torch.zeros(4), noise, _chance(3))
    pixels, masks, labels = (part.to(device) for part in placed)
    source = make_source(noise, model, seed=0).to(device)
    if noise.source == "gaussian":
        shape = (len(placed.pixels), sum(model.backbone.channels))
        values = noise.std * torch.randn(shape, generator=_chance(4))

        def source(*_: object) -> Noise:
            return Noise(values.to(device), values.square().mean().to(device))

    elif noise.generator.z_channels:  # drawn on the device: left out here
        source.z_channels = 0
        source.layers[0] = _without_z(source.layers[0], sum(model.backbone.channels))
    logits = form(model, layers, pixels, source, None, torch.float32)
    loss = model.loss(logits.map, logits.score, masks, labels, True)
    loss.backward()
    weights = [weight for part in model.trained_parts() for weight in part.parameters()]
    return loss.item(), [weight.grad.double().cpu() for weight in weights]


def _without_z(layer: nn.Linear, channels: int) -> nn.Linear:
    """A generator's first layer for the features alone."""
    cut = copy.deepcopy(layer)
    cut.weight = nn.Parameter(layer.weight[:, :channels].detach().clone())
    return cut


def _fit(device: torch.device, config: TrainingConfig, **options: object) -> History:
    model = _model("scenario_a", device)
    history = training_loop.fit(
        model, _images(), config, 7, device=device, progress=None, **options
    )
    assert all(math.isfinite(epoch.loss) for epoch in history.epochs), "a loss is not finite"
    return history


def _difference(got: Tensor, expected: Tensor) -> float:
    """The largest one, relative to the largest value."""
    return ((got.cpu() - expected.cpu()).abs().max() / expected.abs().max().cpu()).item()


class _sync_is_an_error:
    """While it lasts, an operation that waits for the device raises an error."""

    def __enter__(self) -> None:
        with warnings.catch_warnings():  # that it does not see all of them, once a process
            warnings.simplefilter("ignore", UserWarning)
            torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *_: object) -> None:
        torch.cuda.set_sync_debug_mode("default")
