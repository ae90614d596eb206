# ruff: noqa: E402
import contextlib
import os
import pickle
import shutil
import warnings
from dataclasses import replace

# Before PyTorch and the package are imported, and for the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers on two cores
for name in [name for name in os.environ if name.startswith(("SSN_", "GIT_"))]:
    del os.environ[name]  # nobody's own settings decide
os.environ |= {"SSN_OFFLINE": "1", "SSN_KAGGLE_INPUT": "/nowhere"}

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import nn

from ssn_lib import SuperSimpleNet, load_dataset, machine, preset
from ssn_lib.config import DataConfig, ModelConfig, RunConfig
from ssn_lib.data.rendered import demo_root
from ssn_lib.data.sets.mvtec import MVTEC_COUNTS
from ssn_lib.errors import InputError
from ssn_lib.models import resnet
from ssn_lib.overrides import override
from ssn_lib.runs.record import Record
from ssn_lib.runs.run import configure, run
from ssn_lib.storage import held
from ssn_lib.study.tables.cells import METRICS

CATEGORY, SIDE = "widget", 80  # a category of no official count, its images' side in pixels


@pytest.fixture(scope="session", autouse=True)
def on_the_processor():
    """Tests that are marked `cuda` name their device themselves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "device", lambda: torch.device("cpu"))
        yield


@pytest.fixture(scope="session")
def refusal():
    """refusal(call): the one-line message of the InputError that `call` must raise."""

    def refuse(call):
        with pytest.raises(InputError) as raised:
            call()
        message = str(raised.value)
        assert "\n" not in message
        return message

    return refuse


def _draw(folder, kind, count, rng, defect=False):
    """`count` images of a disc on a noisy ground, with a bright bar and its mask if `defect`."""
    (folder / kind).mkdir(parents=True)
    truth = folder / "ground_truth" / kind.split("/")[1]
    for index in range(count):
        image = Image.fromarray(rng.integers(80, 120, (SIDE, SIDE, 3), dtype=np.uint8))
        draw = ImageDraw.Draw(image)
        draw.ellipse((20, 20, 60, 60), fill=tuple(rng.integers(20, 60, 3).tolist()))
        if defect:
            x, y = rng.integers(10, 40, 2).tolist()
            mask = Image.new("L", (SIDE, SIDE))
            for canvas, colour in ((draw, (240, 240, 200)), (ImageDraw.Draw(mask), 255)):
                canvas.rectangle((x, y, x + 25, y + 10), fill=colour)
            truth.mkdir(parents=True, exist_ok=True)
            mask.save(truth / f"{index:03}_mask.png")
        image.save(folder / kind / f"{index:03}.png")


@pytest.fixture(scope="session")
def mvtec_root(tmp_path_factory):
    """A root in MVTec AD's layout: 6 training images, 2 good and 2 + 2 defective test images."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    folder = root / "mvtec_ad" / CATEGORY
    _draw(folder, "train/good", 6, rng)
    _draw(folder, "test/good", 2, rng)
    _draw(folder, "test/scratch", 2, rng, defect=True)
    _draw(folder, "test/spot", 2, rng, defect=True)
    return root


@pytest.fixture
def own_root(mvtec_root, tmp_path):
    """A copy of `mvtec_root` that a test may damage."""
    return shutil.copytree(mvtec_root, tmp_path / "own")


@pytest.fixture
def own_category(own_root):
    return own_root / "mvtec_ad" / CATEGORY


@pytest.fixture(scope="session")
def load():
    """load(root): the tiny category below `root`, at 32×32."""
    return lambda root, size=(32, 32): load_dataset(
        "mvtec_ad", root, category=CATEGORY, image_size=size
    )


@pytest.fixture(scope="session")
def dataset(mvtec_root, load):
    return load(mvtec_root)


@pytest.fixture(scope="session")
def demo_base(tmp_path_factory):
    """The folder of the demo data, which are drawn once for all of pytest's workers."""
    folder = tmp_path_factory.getbasetemp()
    base = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "demo"
    with held(base.with_suffix(".lock")):
        demo_root(base)
    return base


@pytest.fixture(scope="session")
def tiny_run(dataset, tmp_path_factory):
    """A finished run's folder, and a folder of images."""
    runs_dir = tmp_path_factory.mktemp("runs")
    config = configure("scenario_a", dataset, epochs=1, batch_size=4, weights=None)
    record = run(config, dataset, runs_dir, weights=None, progress=False)
    return runs_dir / record.run_id, dataset.root / "test" / "scratch"


@pytest.fixture(scope="session")
def make_model():
    """make_model(config, seed): an untrained model whose weights depend on nothing else."""

    def make(config=None, seed=0):
        torch.manual_seed(seed)
        return SuperSimpleNet(config or ModelConfig(), weights=None).eval()

    return make


@contextlib.contextmanager
def _small_networks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resnet, "WIDTHS", (8, 16, 32, 64))
        for name, network in resnet.RESNETS.items():
            patch.setitem(resnet.RESNETS, name, replace(network, blocks=(1, 1, 1, 1)))
        yield


@pytest.fixture
def small_networks():
    """Every backbone with a narrow block a stage: where what is tested is not how large it is."""
    with _small_networks():
        yield


@pytest.fixture(scope="session")
def make_small_model(make_model):
    """make_small_model(config, seed): as `make_model`, as under `small_networks`."""

    def make(config=None, seed=0):
        with _small_networks():
            return make_model(config, seed)

    return make


@pytest.fixture(scope="session")
def randomise_batchnorm():
    """As after a training: statistics, scales and shifts that are not 0 and 1."""

    def randomise(module):
        generator = torch.Generator().manual_seed(3)
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                for tensor, low, high in (
                    *([(part.weight.data, 0.5, 1.5)] if part.affine else []),
                    *([(part.bias.data, -0.5, 0.5)] if part.affine else []),
                    (part.running_mean, -0.5, 0.5),
                    (part.running_var, 0.5, 1.5),
                ):
                    tensor.copy_(torch.empty(tensor.shape).uniform_(low, high, generator=generator))
        return module

    return randomise


@pytest.fixture(scope="session")
def same_bits():
    """same_bits(a, b): two state dicts are equal bit for bit."""
    return lambda a, b: a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="session")
def record():
    """record(preset, category, seed, epochs, batch, changes, **metrics): a completed run's record
    on MVTec AD, or on strips for any other category, as `runs.run` would have left it."""

    def make(
        name="scenario_a", category="bottle", seed=42, epochs=10, batch=32, changes=(), **metrics
    ):
        chosen, strips = preset(name), category not in MVTEC_COUNTS
        training = replace(chosen.training, epochs=epochs, batch_size=batch)
        data = DataConfig("ksdd2" if strips else "mvtec_ad", category, resize=chosen.resize)
        config = RunConfig(name, data, chosen.model, training, seed)
        config = override(config, changes)
        return Record(
            run_id=config.run_id,
            config=config,
            status="completed",
            metrics=dict.fromkeys(METRICS, 50.0) | {"AUPRO": 40.0} | metrics,
            undefined={},
            thresholds=None,
            epochs_done=epochs,
            diverged_at=None,
            selected_epoch=epochs,
            timings={},
            environment={"device": "cpu", "threads": 2, "processor": "a processor", "torch": "2"},
            weights_source="weights.pth",
            counts={"train": 2331, "train_defective": 246, "per_epoch": 1968, "test": 1004}
            if strips
            else dict(zip(("train", "test"), MVTEC_COUNTS[category], strict=True)),
            finished="",
        )

    return make


@pytest.fixture(scope="session")
def ksdd2_root(tmp_path_factory):
    """A folder in KolektorSDD2's layout, 80×40 pixels: 8 + 4 training and 3 + 2 test images, and
    a split file that gives out the masks of two."""
    root = tmp_path_factory.mktemp("strips") / "strips"
    rng = np.random.default_rng(1)
    for split, first, sound, defective in (("train", 10000, 8, 4), ("test", 20000, 3, 2)):
        (root / split).mkdir(parents=True)
        for index in range(sound + defective):
            image = rng.integers(90, 130, (80, 40, 3), dtype=np.uint8)
            mask = np.zeros((80, 40), np.uint8)
            if index >= sound:
                y, x = rng.integers(5, 55), rng.integers(3, 20)
                mask[y : y + 20, x : x + 12] = 255
                image[mask > 0] = 220
            Image.fromarray(image).save(root / split / f"{first + index}.png")
            Image.fromarray(mask).save(root / split / f"{first + index}_GT.png")
    train = [(str(10000 + i), i < 8 or i in (9, 11)) for i in range(12)]
    test = [(str(20000 + i), True) for i in range(5)]
    (root / "split_weakly_2.pyb").write_bytes(pickle.dumps((train, test)))
    return root


@pytest.fixture
def own_ksdd2(ksdd2_root, tmp_path):
    """A copy of `ksdd2_root` that a test may damage."""
    return shutil.copytree(ksdd2_root, tmp_path / "strips")


@pytest.fixture(scope="session")
def load_ksdd2():
    """load_ksdd2(root): the strips at 40×24 pixels, without the warning that they are others."""

    def load(root):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*not KolektorSDD2 as published")
            return load_dataset("ksdd2", root, image_size=(40, 24))

    return load


@pytest.fixture(scope="session")
def strips(ksdd2_root, load_ksdd2):
    """The data set in `ksdd2_root`."""
    return load_ksdd2(ksdd2_root)
