"""What a user would pick instead, for its cost: models of anomalib, where it is installed.

Their accuracy is `peers.measuring`'s. Weights do not change the cost, so they are built untrained
and download nothing; what a training would leave in them (a memory bank, a covariance for every
pixel) has the size that MVTec AD's bottle (209 images of 256×256) gives it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ssn_lib.errors import InputError
from ssn_lib.study.costs.records import PEERS
from ssn_lib.study.peers.offline import quiet_and_offline

PATCHES = 32 * 32  # of an image at layer 2
CORESET = 209 * PATCHES // 10  # 10 % of the patches, anomalib's default
PADIM_FEATURES, PADIM_PIXELS = 100, 64 * 64


class Peer(nn.Module):
    """A model of anomalib with this package's outputs: map (B, 1, H, W) and score (B,).

    Raises:
        InputError: anomalib is not installed.
    """

    def __init__(self, name: str):
        super().__init__()
        with quiet_and_offline():
            try:
                self.model = _BUILDERS[name]().eval()
            except ImportError as error:
                raise InputError(f"{PEERS[name]} not measured: {error}") from None

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        made = self.model(images)
        return made.anomaly_map, made.pred_score


def _supersimplenet() -> nn.Module:
    from anomalib.models.image.supersimplenet.torch_model import SupersimplenetModel

    return SupersimplenetModel(backbone="resnet18.tv_in1k")


def _patchcore() -> nn.Module:
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(["layer2", "layer3"], "resnet18", pre_trained=False)
    model.memory_bank = torch.randn(CORESET, 128 + 256)
    return model


def _padim() -> nn.Module:
    from anomalib.models.image.padim.torch_model import PadimModel

    model = PadimModel(
        "resnet18", ["layer1", "layer2", "layer3"], pre_trained=False, n_features=PADIM_FEATURES
    )
    model.gaussian.mean = torch.zeros(PADIM_FEATURES, PADIM_PIXELS)
    model.gaussian.inv_covariance = torch.eye(PADIM_FEATURES).repeat(PADIM_PIXELS, 1, 1)
    return model


def _efficient_ad() -> nn.Module:
    from anomalib.models.image.efficient_ad.torch_model import (
        EfficientAdModel,
        EfficientAdModelSize,
    )

    return EfficientAdModel(model_size=EfficientAdModelSize.S)


_BUILDERS = {
    "anomalib_supersimplenet": _supersimplenet,
    "anomalib_patchcore": _patchcore,
    "anomalib_padim": _padim,
    "anomalib_efficient_ad": _efficient_ad,
}
