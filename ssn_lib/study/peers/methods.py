"""Fitting the peers: models of anomalib, where it is installed, on this package's images.

All see images that are resized as for `evolved` and not cropped, and ImageNet's weights from the
same file. EfficientAD is not among them: its teacher and the images it is held off from are
downloads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from ssn_lib import machine
from ssn_lib.data.images import normalise
from ssn_lib.errors import InputError
from ssn_lib.models.supersimplenet import Prediction
from ssn_lib.models.weights import find_weights
from ssn_lib.presets import preset
from ssn_lib.storage import read_tensors
from ssn_lib.study.peers.offline import quiet_and_offline

BACKBONE = "resnet18"
SHARE = 0.1  # of the features, that a memory of them keeps where they are drawn at random
CORESET = 0.01  # the same where the most different ones are chosen
PADIM_FEATURES = 100  # of 448, drawn at random; anomalib's default for a ResNet18
STFPM_EPOCHS, STFPM_BATCH = 100, 32
BATCH = 8  # images at once, where nothing is trained


class Fitted(nn.Module):
    """A fitted model of anomalib with this package's outputs.

    Args:
        model: in eval mode; what its `forward` gives has `anomaly_map` and `pred_score`.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model.eval()

    def forward(self, images: Tensor) -> Prediction:
        """Normalised images (B, 3, H, W) to map (B, 1, H, W) and score (B,)."""
        made = [self.model(image[None]) for image in images]  # a batch of distances is large
        return Prediction(
            torch.cat([one.anomaly_map for one in made]),
            torch.cat([one.pred_score.reshape(1) for one in made]),
        )


@dataclass(frozen=True)
class Method:
    """How a peer is fitted.

    Attributes:
        settings: in words.
        size: of square images, height and width; strips keep their own, a folder's images their
            shape.
        fit: images (N, 3, H, W) uint8, the backbone's weights and a seed to the fitted model.
    """

    settings: str
    size: tuple[int, int]
    fit: Callable[[Tensor, dict[str, Tensor], int], nn.Module]


def prepare() -> None:
    """Import anomalib, where it is installed: that takes seconds, which are no part of a fit."""
    with quiet_and_offline(), suppress(ImportError):
        import_module("anomalib.models.image")


def fit(name: str, images: Tensor, weights: str | Path, seed: int) -> Fitted:
    """A peer, fitted to good images.

    Args:
        name: in `METHODS`.
        images: (N, 3, H, W) uint8 RGB.
        weights: of the backbone, as for `models.weights.find_weights`.
        seed: of what it draws at random.

    Raises:
        InputError: anomalib is not installed, or there are no weights.
    """
    state = read_tensors(find_weights(BACKBONE, weights))
    torch.manual_seed(seed)
    with quiet_and_offline():
        try:
            return Fitted(METHODS[name].fit(images, state, seed))
        except ImportError as error:
            raise InputError(f"{name} not measured: {error}; `make peer` installs it") from None


def _load(extractor: nn.Module, state: dict[str, Tensor]) -> None:
    """Give timm's ResNet, in anomalib's extractor, weights under torchvision's names."""
    own = extractor.feature_extractor.state_dict()
    missing = [name for name in own if name not in state]
    if missing:
        raise InputError(f"weights of {BACKBONE}: {missing[0]} is missing")
    extractor.feature_extractor.load_state_dict({name: state[name] for name in own})


def _embed(model: nn.Module, images: Tensor) -> None:
    """Let a model that is not trained collect the features of all images."""
    model.train()
    with torch.no_grad():
        for batch in images.split(BATCH):
            model(normalise(batch))


def _embedded_patchcore(images: Tensor, state: dict[str, Tensor]) -> nn.Module:
    """PatchCore with the features of all images, and no memory of them yet."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(["layer2", "layer3"], BACKBONE, pre_trained=False)
    _load(model.feature_extractor, state)
    _embed(model, images)
    return model


def _patchcore(images: Tensor, state: dict[str, Tensor], seed: int) -> nn.Module:
    model = _embedded_patchcore(images, state)
    model.subsample_embedding(CORESET)
    return model


def _patchcore_at_random(images: Tensor, state: dict[str, Tensor], seed: int) -> nn.Module:
    model = _embedded_patchcore(images, state)
    features = torch.vstack(model.embedding_store)
    model.embedding_store.clear()
    order = torch.randperm(len(features), generator=machine.generator("cpu", seed))
    model.memory_bank = features[order[: round(SHARE * len(features))]].clone()
    return model


def _padim(images: Tensor, state: dict[str, Tensor], seed: int) -> nn.Module:
    from anomalib.models.image.padim.torch_model import PadimModel

    model = PadimModel(
        BACKBONE, ["layer1", "layer2", "layer3"], pre_trained=False, n_features=PADIM_FEATURES
    )
    _load(model.feature_extractor, state)
    _embed(model, images)
    model.fit()
    return model


def _stfpm(images: Tensor, state: dict[str, Tensor], seed: int) -> nn.Module:
    from anomalib.models.image.stfpm.loss import STFPMLoss
    from anomalib.models.image.stfpm.torch_model import STFPMModel

    model, loss = STFPMModel(["layer1", "layer2", "layer3"], BACKBONE), STFPMLoss()
    _load(model.teacher_model, state)
    optimiser = torch.optim.SGD(
        model.student_model.parameters(), lr=0.4, momentum=0.9, weight_decay=1e-3
    )
    model.train()
    low = machine.gains_from_low_precision(torch.device("cpu"))
    generator = machine.generator("cpu", seed)
    for _ in range(STFPM_EPOCHS):
        for indices in torch.randperm(len(images), generator=generator).split(STFPM_BATCH):
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                value = loss(*model(normalise(images[indices])))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    return model


METHODS = {
    "patchcore": Method(
        "PatchCore: layers 2 and 3, a coreset of 1 % of the features, 9 neighbours for the score",
        (256, 256),
        _patchcore,
    ),
    "patchcore_random": Method(
        "PatchCore at the size of `evolved`: layers 2 and 3, a tenth of the features drawn at "
        "random in the place of a coreset, which would take hours; 9 neighbours for the score",
        preset("evolved").image_size,
        _patchcore_at_random,
    ),
    "padim": Method(
        f"PaDiM: layers 1 to 3, {PADIM_FEATURES} of their features", (256, 256), _padim
    ),
    "stfpm": Method(
        f"STFPM: layers 1 to 3, {STFPM_EPOCHS} epochs in batches of {STFPM_BATCH}, SGD with a rate "
        "of 0.4, the last epoch's weights; in bf16 where the processor gains from it",
        (256, 256),
        _stfpm,
    ),
}
