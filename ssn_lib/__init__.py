"""SuperSimpleNet, evolved: surface-defect detection that must be cheap. See README.md."""

from ssn_lib.config import preset
from ssn_lib.data import load_dataset
from ssn_lib.errors import InputError
from ssn_lib.folding import fuse
from ssn_lib.inference import evaluate, predict
from ssn_lib.metrics import image_metrics, pixel_metrics
from ssn_lib.model import Prediction, SuperSimpleNet
from ssn_lib.noise import perlin_masks
from ssn_lib.training import fit

__all__ = [
    "InputError",
    "Prediction",
    "SuperSimpleNet",
    "evaluate",
    "fit",
    "fuse",
    "image_metrics",
    "load_dataset",
    "perlin_masks",
    "pixel_metrics",
    "predict",
    "preset",
]
