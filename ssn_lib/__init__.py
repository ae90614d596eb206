"""SuperSimpleNet, evolved: surface-defect detection that must be cheap. See README.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssn_lib.data.images import normalise
    from ssn_lib.data.loading import load_dataset
    from ssn_lib.errors import InputError
    from ssn_lib.fast.folded import fuse
    from ssn_lib.inference import evaluate, predict, thresholds
    from ssn_lib.metrics import image_metrics, pixel_metrics
    from ssn_lib.models.supersimplenet import Detector, Prediction, SuperSimpleNet
    from ssn_lib.noise.perlin import perlin_masks
    from ssn_lib.pictures import picture_grid
    from ssn_lib.presets import preset
    from ssn_lib.training.fit import fit

# Imported at first use: whoever reads records alone does not wait for PyTorch.
_HOMES = {
    "Detector": "models.supersimplenet",
    "InputError": "errors",
    "Prediction": "models.supersimplenet",
    "SuperSimpleNet": "models.supersimplenet",
    "evaluate": "inference",
    "fit": "training.fit",
    "fuse": "fast.folded",
    "image_metrics": "metrics",
    "load_dataset": "data.loading",
    "normalise": "data.images",
    "perlin_masks": "noise.perlin",
    "picture_grid": "pictures",
    "pixel_metrics": "metrics",
    "predict": "inference",
    "preset": "presets",
    "thresholds": "inference",
}
__all__ = [
    "Detector",
    "InputError",
    "Prediction",
    "SuperSimpleNet",
    "evaluate",
    "fit",
    "fuse",
    "image_metrics",
    "load_dataset",
    "normalise",
    "perlin_masks",
    "picture_grid",
    "pixel_metrics",
    "predict",
    "preset",
    "thresholds",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
