"""The frozen ImageNet backbone, cut after the last stage used."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from ssn_lib.errors import InputError, nearest
from ssn_lib.models.resnet import RESNETS, stage, stem


class Backbone(nn.Module):
    """A ResNet cut behind its last stage used; frozen, always in eval mode.

    Args:
        name: one of `RESNETS`.
        layers: residual stages whose outputs are wanted, in ascending order.
    """

    def __init__(self, name: str, layers: tuple[int, ...]):
        super().__init__()
        if name not in RESNETS:
            raise InputError(f"unknown backbone {name!r}: {nearest(name, RESNETS)}")
        self.layers = layers
        # On the meta device: PyTorch's own initialisation would draw random numbers for nothing.
        with torch.device("meta"):
            self.stem = stem()
            self.stages = nn.ModuleList(stage(name, number) for number in range(1, layers[-1] + 1))
        self.channels = tuple(_out_channels(self.stages[number - 1]) for number in layers)
        # As `to_empty` does, which imports a library for symbols: 0.4 s and 30 MB.
        self._apply(lambda tensor: torch.empty(tensor.shape, dtype=tensor.dtype))
        self.apply(_initialise)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in eval mode: BatchNorm keeps ImageNet's statistics."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the wanted stages' outputs, (B, C_l, H / 2^(l+1), W / 2^(l+1)) each, with
        sides rounded up."""
        x = self.stem(images)
        outputs = []
        for number, blocks in enumerate(self.stages, start=1):
            x = blocks(x)
            if number in self.layers:
                outputs.append(x)
        return outputs

    def fingerprint(self) -> str:
        """Of the weights: equal whatever file they came from."""
        digest = hashlib.sha256()
        for name, value in self.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    def load(self, state: dict[str, Tensor], source: str) -> None:
        """Take over the weights of a torchvision state dict, whole or cut.

        Raises:
            InputError: the weights are of another network; the message names the first difference.
        """
        own = self.state_dict()
        loaded = {}
        expected = {torchvision_name(name) for name in own}
        stages = {name.split(".")[0] for name in expected}
        # ResNet34's file holds all that ResNet18 wants, and more.
        for surplus in sorted(n for n in state.keys() - expected if n.split(".")[0] in stages):
            raise InputError(f"weights {source}: no {surplus!r} here; they are of another network")
        for name, current in own.items():
            theirs = torchvision_name(name)
            if name.endswith("num_batches_tracked"):  # not in files of before 2018, and not used
                continue
            if theirs not in state:
                why = "they are of another network"
                if theirs.startswith("layer") and "layer1.0.conv1.weight" in state:
                    why = "they are of a smaller network, or cut: give torchvision's whole file"
                raise InputError(f"weights {source}: {theirs!r} is missing; {why}")
            value = state[theirs]
            if value.shape != current.shape:
                raise InputError(
                    f"weights {source}: {theirs!r} is {tuple(value.shape)}, this backbone needs "
                    f"{tuple(current.shape)}; they are of another network"
                )
            if not value.isfinite().all():
                raise InputError(
                    f"weights {source}: {theirs!r} holds values that are not finite; get the file "
                    "anew"
                )
            loaded[name] = value
        self.load_state_dict(loaded, strict=False)


def _out_channels(stage: nn.Module) -> int:
    last = stage[-1]
    return (last.conv3 if hasattr(last, "conv3") else last.conv2).out_channels


def _initialise(module: nn.Module) -> None:
    """torchvision's own initialisation, for the untrained backbone."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()


def torchvision_name(name: str) -> str:
    """`stem.0.weight` → `conv1.weight`, `stages.1.0.bn1.bias` → `layer2.0.bn1.bias`."""
    room, number, rest = name.split(".", 2)
    if room == "stem":
        return ("conv1", "bn1")[int(number)] + "." + rest
    return f"layer{int(number) + 1}.{rest}"
