"""What photographs look like as a whole, in three numbers: they move with another lamp or lens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

APPEARANCE = ("brightness", "warmth", "sharpness")


def appearance(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Brightness, warmth and sharpness of images.

    Brightness is the mean of all values, warmth the mean of red minus that of blue, both in grey
    levels. Sharpness is the mean absolute difference between pixels side by side or one above the
    other, in green, over green's standard deviation: a brighter lamp leaves it as it is. It is 0
    where the image has one colour.

    Args:
        images: (N, 3, H, W), RGB, as the network sees them: of one size, for sharpness depends
            on it.

    Returns:
        (N, 3), in the order of `APPEARANCE`.
    """
    return np.array([_of_one(image) for image in images]).reshape(-1, len(APPEARANCE))


def _of_one(image: NDArray[np.uint8]) -> tuple[float, float, float]:
    red, green, blue = image.mean(axis=(1, 2))
    values = image[1].astype(np.int16)
    steps = sum(np.abs(np.diff(values, axis=axis)).mean() for axis in (0, 1)) / 2
    spread = values.std()
    return (red + green + blue) / 3, red - blue, steps / spread if spread else 0.0
