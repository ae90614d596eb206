"""What a run is: frozen dataclasses, whose fields say which values they take.

A configuration is plain data. It is hashed into the run's id, written into the run's record and
read back from it, so two runs with the same id are the same experiment.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Resize = Literal["antialiased", "plain"]  # of images; see `data.images.read_image`
FOLDS = 3  # of the training images, for a threshold without test labels
FORMS = ("plain", "folded")  # of a network: the published operations one by one, or `fuse`d
Precision = Literal["float32", "bf16", "int8"]  # of an exported network
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
MARGIN = 0.5  # of the truncated L1 loss
FOCAL_GAMMA = 4.0
LOCAL_WEIGHT = 0.15  # of the local view in a map, chosen in `study.search`; the decoder has 1
SLUG_BYTES = 150  # of a category's name in a run's id
PUBLISHED_SIZE = (256, 256)  # height and width of images
IMAGE_STRIDE = 8  # an image side must be a multiple of it: the stride of layer 2


@dataclass(frozen=True)
class Bound:
    """Which values a field takes.

    Attributes:
        at_least, above, below: of a number, which is finite in any case.
        holds: a test of the value, in the place of these three.
        wanted: the same in words; made from the numbers where left out.
        none: what None does, where it is taken.
    """

    at_least: float = -math.inf
    above: float = -math.inf
    below: float = math.inf
    holds: Callable[[Any], bool] | None = None
    wanted: str = ""
    none: str = ""

    def takes(self, value: Any) -> bool:
        """Whether a value is one of them."""
        if value is None:
            return bool(self.none)
        if self.holds is not None:
            return self.holds(value)
        return self.at_least <= value and self.above < value < self.below

    def __str__(self) -> str:
        if self.wanted:
            text = self.wanted
        elif self.at_least > 0:
            text = f"at least {self.at_least}"
        elif self.at_least == 0:
            text = "0 or more, finite"
        else:
            text = "finite" if self.above == -math.inf else f"above {self.above}, finite"
        return f"must be {text}" + (f"; none {self.none}" if self.none else "")


def bounded(default: Any, **bound: Any) -> Any:
    """A field of a configuration with its `Bound`, which `checks.check` holds it to."""
    return field(default=default, metadata={"bound": Bound(**bound)})


@dataclass(frozen=True)
class ModelConfig:
    """The network. Defaults are Scenario A: ResNet18, linear adaptor, JIMS classification head.

    Attributes:
        backbone: a torchvision ResNet; frozen, ImageNet V1 weights.
        layers: the residual stages used, coarse grids last.
        upscale: feature grid = `upscale` × the grid of the first layer used (SSN 2, SimpleNet 1).
        align_corners: of the bilinear upscaling; True in the public code, False in anomalib.
        adaptor: "linear" is a 1×1 convolution, "nonlinear" 3×3 convolution + BatchNorm + ReLU
            (Scenario B).
        score: which detector is built (`models.supersimplenet.DETECTORS`), by what gives the image
            score. "plain": the classification head on features before the adaptor (JIMS 2025);
            "adapted": the same head on adapted features (ICPR 2024); "map_max": the maximum of the
            map, without such a head (SimpleNet); "cam": the pooled class activation map, in the
            place of both heads (`models.cam`); "reconstruction": the highest pixels of the
            reconstruction's error, in the place of adaptor and heads (`models.reconstruction`).
        stop_map_gradient: keep the score's gradient out of the segmentation head.
        cam_pooling: how a class activation map becomes a score: its "mean" (GAP, published), its
            "max", or the mean of both ("mixed").
        decoder_width: hidden channels of that decoder at the coarsest layer.
        local_width: hidden channels of an autoencoder of single places, whose error, beside what it
            expects, is added to the decoder's (`local_view`); None for the decoder alone.
        score_share: of the final map's pixels, the highest, whose mean is that detector's score.
        initialisation: of what is trained: "xavier" normal (published), or "pytorch", its own
            uniform one, √3 times smaller where a convolution has as many inputs as outputs. Before
            a batch normalisation smaller weights learn faster, by the square of that.
    """

    backbone: str = "resnet18"
    layers: tuple[int, ...] = bounded(
        (2, 3),
        holds=lambda layers: bool(layers) and list(layers) == sorted({1, 2, 3, 4} & {*layers}),
        wanted="some of 1,2,3,4, rising",
    )
    upscale: int = bounded(2, at_least=1)
    align_corners: bool = True
    adaptor: Literal["linear", "nonlinear"] = "linear"
    score: Literal["plain", "adapted", "map_max", "cam", "reconstruction"] = "plain"
    stop_map_gradient: bool = True
    cam_pooling: Literal["mean", "max", "mixed"] = "mean"
    decoder_width: int = bounded(184, at_least=8)
    local_width: int | None = bounded(None, at_least=8, none="leaves the local view out")
    score_share: float = bounded(0.002, above=0, below=1, wanted="above 0 and below 1")
    initialisation: Literal["xavier", "pytorch"] = "xavier"


@dataclass(frozen=True)
class GeneratorConfig:
    """A learned noise generator and how it is trained against the detector (Modification 2).

    Defaults are v2 as stated. L is the detector's loss, M the mean square of the noise.

    Attributes:
        beta: bounds the noise to β·tanh(G); None leaves it unbounded (v1).
        z_channels: standard-normal channels that G sees beside the features; None for none (v1).
        magnitude_weight: w of the generator's loss −L + w·M.
        period: the generator is updated in every period-th batch, counted through the training
            when "alternating" and anew in every epoch, as the public code does, otherwise.
        update: what happens there. "alternating": the generator alone descends its loss, and in
            the other batches the detector alone descends L (v2 as stated). "simultaneous": both,
            each its own loss (v1 as stated). "v1_published", "v2_published": what the public code
            does, where gradients cancel; see `noise.learned`.
    """

    beta: float | None = bounded(0.1, above=0, none="leaves the noise unbounded")
    z_channels: int | None = bounded(32, at_least=1, none="leaves z out")
    magnitude_weight: float = bounded(10.0, at_least=0)
    period: int = bounded(4, at_least=1)
    lr: float = bounded(1e-4, above=0)
    update: Literal["alternating", "simultaneous", "v1_published", "v2_published"] = "alternating"


@dataclass(frozen=True)
class AscentConfig:
    """Noise by gradient ascent on the feature itself, without a network.

    With r = σ·√C, the expected length of the Gaussian noise that is started from:

    Attributes:
        steps: how often the noise moves to where the segmentation head finds the feature normal.
        step_size: length of each step, in r.
        shell: shortest and longest noise allowed, in r; the ascent is projected onto it.

    Source: Chen et al., GLASS, ECCV 2024: σ = 0.015, shell (r, 2r). Differs: GLASS takes 20 steps
    far shorter than r; three of a fifth reach as far as the shell allows and cost less.
    """

    steps: int = bounded(3, at_least=0)
    step_size: float = bounded(0.2, above=0)
    shell: tuple[float, float] = bounded(
        (1.0, 2.0),
        holds=lambda shell: 0 < shell[0] <= shell[1] < math.inf,
        wanted="two lengths above 0, the shorter first",
    )


@dataclass(frozen=True)
class NoiseConfig:
    """Synthetic anomalies (training only).

    Attributes:
        source: "gaussian" (published), "generator" (learned), "ascent", or "none" where nothing is
            learned from synthetic anomalies.
        std: standard deviation of the Gaussian noise, which an ascent starts from.
        std_unit: "absolute" as published, or "feature": `std` counts in standard deviations of the
            adapted features of the batch, all channels together.
        mask: "perlin": inside Perlin masks, half of them empty; "half": one copy of the batch
            clean, the other noisy everywhere (SimpleNet).
        perlin_threshold: a pixel is anomalous where the Perlin noise exceeds it.
    """

    source: Literal["gaussian", "generator", "ascent", "none"] = "gaussian"
    std: float = bounded(0.015, at_least=0)
    std_unit: Literal["absolute", "feature"] = "absolute"
    mask: Literal["perlin", "half"] = "perlin"
    perlin_threshold: float = bounded(0.2)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    ascent: AscentConfig = field(default_factory=AscentConfig)


@dataclass(frozen=True)
class SupervisionConfig:
    """What is learned from defective training images (Modifications 3 and 4).

    Attributes:
        labels: train on them, as often as on defect-free ones; else they are left out.
        masks: of how many of them the mask is used as well: a number, a share (with a decimal
            point), or None for every mask there is. The others count as labelled only: the score
            learns from them, the map does not.
        teacher: name of a preset without masks whose maps are used in the masks' place, where they
            are confident; no mask is read then.
        pseudo_masks: what is made of the teacher's maps: the "region" where it is confident, or
            that region "traced" along the image's contrast; see `training.pseudo_masks`.
        flips: every defective image counts four times: as it is, mirrored both ways, turned round.
        dilation: side of the square that masks are widened by, in pixels of the image.
        weight, exponent: a defective pixel's loss is weighted by weight · (d / d_max)^exponent, d
            its distance to the defect's edge; a weight of 0 leaves all pixels equal.
        fold: leave out this third (0, 1 or 2) of the training images; their scores choose a
            threshold without a test label.

    Source: Rolih et al., JIMS 2025; the weights are of Božič et al., Computers in Industry 129,
    2021, section 3.4.
    """

    labels: bool = False
    masks: int | float | None = bounded(
        None,
        holds=lambda masks: masks >= 0 if isinstance(masks, int) else 0 < masks <= 1,
        wanted="a number of masks, 0 or more, or a share such as 0.1",
        none="takes all",
    )
    teacher: str | None = None
    pseudo_masks: Literal["region", "traced"] = "region"
    flips: bool = True
    dilation: int = bounded(
        7,
        holds=lambda side: side >= 1 and side % 2 == 1,
        wanted="an odd number of pixels; 1 leaves masks as they are",
    )
    weight: float = bounded(3.0, at_least=0)
    exponent: float = bounded(2.0, at_least=0)
    fold: int | None = bounded(
        None, at_least=0, below=FOLDS, wanted=f"from 0 to {FOLDS - 1}", none="leaves nothing out"
    )


@dataclass(frozen=True)
class TrainingConfig:
    """The published protocol; see `training.fit`.

    Attributes:
        adaptor_weight_decay: 0.01 is AdamW's default, which the public code leaves for the adaptor.
        good_images: how many of the good training images there are to learn from, drawn by the
            seed (of two numbers the smaller one's are among the larger one's); None for all.
        schedule: of the learning rates. "steps" (published) multiplies them by `gamma` after those
            shares of the epochs that `milestones` names. "cycle" raises them, step by step, over
            the first 15 % of the training, lets them fall to nothing along half a cosine, and
            moves the momentum the other way (Smith and Topin, Super-Convergence, 2019): for
            trainings of fewer epochs.
        focal: add the focal losses on map and score (SSN); SimpleNet trains on the truncated L1.
        clip_norm: longest gradient of a step, all trained weights together; None for any.
        validation_fraction: share of the training images held out. Their loss, with fixed synthetic
            anomalies, is taken after every epoch; the finished network is tried on defects imitated
            in them (`data.imitated`), and they give its thresholds.
        select_epoch: keep the "last" epoch's weights (published) or those of the epoch with the
            lowest "validation" loss. Never the test set.
        precision: of the matrix products; "mixed" is float16 or bfloat16, what the device is fast
            in. Weights, statistics and losses stay float32.
    """

    epochs: int = bounded(300, at_least=1)
    batch_size: int = bounded(32, at_least=1)
    adaptor_lr: float = bounded(1e-4, above=0)
    head_lr: float = bounded(2e-4, above=0)
    adaptor_weight_decay: float = bounded(1e-2, at_least=0)
    head_weight_decay: float = bounded(1e-5, at_least=0)
    good_images: int | None = bounded(None, at_least=1, none="takes all")
    schedule: Literal["steps", "cycle"] = "steps"
    milestones: tuple[float, ...] = bounded(
        (0.8, 0.9),
        holds=lambda shares: all(0 < s <= 1 for s in shares) and list(shares) == sorted(shares),
        wanted="rising shares of the epochs, above 0 and up to 1",
    )
    gamma: float = bounded(0.4, above=0)
    focal: bool = True
    clip_norm: float | None = bounded(None, above=0, none="clips nothing")
    validation_fraction: float = bounded(0.0, at_least=0, below=1, wanted="0 or more and below 1")
    select_epoch: Literal["last", "validation"] = "last"
    precision: Literal["float32", "mixed"] = "float32"
    noise: NoiseConfig = field(default_factory=NoiseConfig)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)


@dataclass(frozen=True)
class DataConfig:
    """Which images, at which size (height, width), the fingerprint of the files they are, how they
    were resized, and what is white in files of more than 8 bits (None: no training image is one).
    """

    dataset: str
    category: str
    image_size: tuple[int, int] = PUBLISHED_SIZE
    fingerprint: str = ""
    resize: Resize = "antialiased"
    full_scale: int | None = None


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides the numbers of a run, and so its id."""

    preset: str
    data: DataConfig
    model: ModelConfig
    training: TrainingConfig
    seed: int = bounded(42, at_least=0, below=2**32, wanted="from 0 to 2^32 - 1")
    weights: Literal["imagenet", "untrained"] = "imagenet"

    @property
    def run_id(self) -> str:
        """A readable slug and a hash of the whole configuration.

        Fields at their defaults are left out of the hash, so that a field added later, with a
        default that changes nothing, leaves the ids of finished runs alone. Hence: a default is
        never changed.
        """
        text = json.dumps(non_default_fields(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        # No folder's name is longer than 255 bytes; the hash tells the rest.
        category = self.data.category
        while len(category.encode(errors="surrogatepass")) > SLUG_BYTES:
            category = category[:-1]
        slug = f"{self.preset}-{self.data.dataset}-{category}-s{self.seed}-{digest[:8]}"
        return slug.replace("/", "_")


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON data."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def non_default_fields(config: Any) -> dict[str, Any]:
    """The fields of a configuration that are not at their defaults, as plain JSON data.

    Runs and checkpoints are identified by these alone, so a field that is added later changes
    neither.
    """
    values: dict[str, Any] = {}
    for item in dataclasses.fields(config):
        value = getattr(config, item.name)
        if isinstance(value, list):  # from JSON, where there are no tuples
            value = tuple(value)
        if dataclasses.is_dataclass(value):
            part = non_default_fields(value)
            if part:
                values[item.name] = part
        elif value != item.default:
            values[item.name] = value
    return values
