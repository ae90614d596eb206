"""The frozen ImageNet backbone, cut after the last stage used, and where its weights come from."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from ssn_lib.config import nearest
from ssn_lib.errors import InputError
from ssn_lib.resnet import RESNETS, stage, stem

DOWNLOAD_TIMEOUT_S = 8  # an unreachable hub must be known within 10 s


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
        """(B, 3, H, W) to the wanted stages' outputs, (B, C_l, H / 2^(l+1), W / 2^(l+1)) each."""
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
        wanted = {_torchvision_name(name) for name in own}
        stages = {name.split(".")[0] for name in wanted}
        # ResNet34's file holds all that ResNet18 wants, and more.
        for surplus in sorted(n for n in state.keys() - wanted if n.split(".")[0] in stages):
            raise InputError(f"weights {source}: no {surplus!r} here; they are of another network")
        for name, current in own.items():
            theirs = _torchvision_name(name)
            if name.endswith("num_batches_tracked"):  # not in files of before 2018, and not used
                continue
            if theirs not in state:
                raise InputError(
                    f"weights {source}: {theirs!r} is missing; they are of another network"
                )
            value = state[theirs]
            if value.shape != current.shape:
                raise InputError(
                    f"weights {source}: {theirs!r} is {tuple(value.shape)}, this backbone needs "
                    f"{tuple(current.shape)}; they are of another network"
                )
            loaded[name] = value
        self.load_state_dict(loaded, strict=False)


def load_weights(backbone: Backbone, name: str, weights: str | Path | None) -> str | None:
    """Fill the backbone with ImageNet V1 weights.

    Args:
        name: of the backbone.
        weights: None leaves it untrained, without a look-up; "imagenet" looks in SSN_WEIGHTS_DIR,
            torch's hub cache and, last, torchvision's download; a path is that file, or a folder
            that holds torchvision's file or `<name>_layers123.pth`.

    Returns:
        "file name (sha256 …)" of what was loaded, None if nothing.

    Raises:
        InputError: none can be had, or they are of another network.
    """
    if weights is None:
        return None
    path = find_weights(name, weights)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise InputError(f"weights {path} cannot be read: {reason}") from None
    if not isinstance(state, dict):
        raise InputError(f"weights {path}: not a state dict")
    backbone.load(state, str(path))
    return f"{path.name} (sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]})"


def find_weights(name: str, weights: str | Path = "imagenet") -> Path:
    """The weights file for `load_weights`; downloads it when it is nowhere else.

    Raises:
        InputError: listing every place tried.
    """
    names = weights_files(name)
    if weights != "imagenet":
        given = Path(weights)
        if given.is_file():
            return given
        return _first([given], names, f"weights {given}: no {names[0]} or {names[1]} there")
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    folders = [hub]
    if os.environ.get("SSN_WEIGHTS_DIR"):
        folders.insert(0, Path(os.environ["SSN_WEIGHTS_DIR"]))
    try:
        return _first(folders, names, "")
    except InputError:
        pass
    try:
        url = _url(name)
        _ask_whether_reachable(url)
        hub.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(hub / names[0]), hash_prefix=_hash_prefix(names[0]), progress=False
        )
    # Without torchvision its address is not known; a RuntimeError is a hash that differs.
    except (ImportError, OSError, HTTPException, RuntimeError):
        tried = ", ".join(map(str, folders))
        raise InputError(
            f"no ImageNet weights for {name}: {names[0]} is not in {tried}, and the download "
            "failed; put it into a folder and give --weights-dir or SSN_WEIGHTS_DIR"
        ) from None
    return hub / names[0]


def weights_files(name: str) -> tuple[str, str]:
    """What a file of the backbone's weights may be called: torchvision's name, or cut."""
    return RESNETS[name].file, f"{name}_layers123.pth"


def _hash_prefix(file: str) -> str:
    """What the file's SHA-256 begins with, as torchvision writes it: `resnet18-f37072fd.pth`."""
    return file.removesuffix(".pth").rsplit("-", 1)[1]


def _url(name: str) -> str:
    """Where torchvision has the weights."""
    import torchvision

    return torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url


def _ask_whether_reachable(url: str) -> None:
    """Raise URLError when the host has not answered in time, names and all its addresses included.

    A socket's own timeout counts for each address, and a name look-up has none.
    """
    answered = queue.SimpleQueue()

    def ask() -> None:
        try:
            with urlopen(Request(url, method="HEAD"), timeout=DOWNLOAD_TIMEOUT_S):
                answered.put(None)
        except (OSError, HTTPException) as error:
            answered.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        error = answered.get(timeout=DOWNLOAD_TIMEOUT_S)
    except queue.Empty:
        error = TimeoutError(f"no answer in {DOWNLOAD_TIMEOUT_S} s")
    if error is not None:
        raise URLError(error)


def _first(folders: list[Path], names: tuple[str, ...], message: str) -> Path:
    for folder in folders:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    raise InputError(message)


def _torchvision_name(name: str) -> str:
    """`stem.0.weight` → `conv1.weight`, `stages.1.0.bn1.bias` → `layer2.0.bn1.bias`."""
    room, number, rest = name.split(".", 2)
    if room == "stem":
        return ("conv1", "bn1")[int(number)] + "." + rest
    return f"layer{int(number) + 1}.{rest}"


def _out_channels(stage: nn.Module) -> int:
    last = stage[-1]
    return (last.conv3 if hasattr(last, "conv3") else last.conv2).out_channels


def _initialise(module: nn.Module) -> None:
    """torchvision's own initialisation, for the untrained backbone."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        module.reset_parameters()
