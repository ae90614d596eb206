"""Where a backbone's weights come from: a file, a folder, torch's cache, a download."""

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

from ssn_lib.errors import InputError
from ssn_lib.models.backbone import Backbone
from ssn_lib.models.resnet import RESNETS
from ssn_lib.storage import load_tensors

OFFLINE_VARIABLE = "SSN_OFFLINE"  # set: no download is tried
DOWNLOAD_TIMEOUT_S = 8  # an unreachable hub must be known within 10 s


def load_weights(backbone: Backbone, name: str, weights: str | Path | None) -> str | None:
    """Fill the backbone with ImageNet V1 weights.

    Args:
        name: of the backbone.
        weights: None leaves it untrained, without a look-up; "imagenet" looks in SSN_WEIGHTS_DIR,
            torch's hub cache and, last, torchvision's download; a path (or SSN_WEIGHTS_DIR) is
            that file, or a folder that holds torchvision's file or `<name>_layers123.pth`.

    Returns:
        "file name (sha256 …)" of what was loaded, None if nothing.

    Raises:
        InputError: none can be had, or they are of another network.
    """
    if weights is None:
        return None
    path = find_weights(name, weights)
    try:
        state = load_tensors(path)
    except ValueError as error:
        raise InputError(f"weights {path} cannot be read: {error}") from None
    if not isinstance(state, dict) or not all(map(torch.is_tensor, state.values())):
        raise InputError(f"weights {path}: no state dict, which holds tensors by name and no more")
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
    if folders[0].is_file():
        return folders[0]
    try:
        return _first(folders, names, "")
    except InputError:
        pass
    try:
        if os.environ.get(OFFLINE_VARIABLE):
            raise URLError(f"{OFFLINE_VARIABLE} is set")
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
            f"no ImageNet weights for {name}: {' or '.join(names)} is not in {tried}, and the "
            "download failed; put it into a folder and give --weights-dir or SSN_WEIGHTS_DIR (a "
            "new run can go on without: --untrained, weights=None)"
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
