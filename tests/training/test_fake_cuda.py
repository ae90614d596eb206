"""The GPU's path on tensors that only pretend to lie on one: what mixes devices is found here.

The backward passes that PyTorch writes itself cannot run without a driver; those written by hand
are called one by one.
"""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ssn_lib import preset
from ssn_lib.fast.folded import fuse
from ssn_lib.fast.interpolation import Upscaled, _Convolution, _Correlation, known_grid
from ssn_lib.fast.training_step import _AddNoisy, _Pooled, _SegmentationTail, split_form
from ssn_lib.losses import detection_loss
from ssn_lib.models.supersimplenet import SuperSimpleNet
from ssn_lib.noise.sources import make_source
from ssn_lib.presets import PRESETS
from ssn_lib.study.costs.inference import InHalf
from ssn_lib.training.step import plain

CUDA = torch.device("cuda")


def fake_needs_a_driver():
    """Older PyTorch (2.7) asks for one even where tensors only pretend."""
    with FakeTensorMode():
        try:
            torch.zeros(1).to(CUDA)
        except RuntimeError:
            return True
    return False


pytestmark = pytest.mark.skipif(
    fake_needs_a_driver(), reason="this PyTorch wants a driver even for fake tensors"
)


@pytest.fixture(autouse=True)
def nothing_fake_is_kept(small_networks):
    yield
    known_grid.cache_clear()


# One of each architecture and noise source; what differs by numbers alone needs no run of its own.
KINDS = (
    "simplenet",
    "scenario_a",
    "scenario_a_icpr",
    "scenario_a_relative",
    "scenario_b",
    "learned_noise_v2",
    "gradient_ascent",
    "gap_cam",
    "cam_fine",
    "weak_ssn",
)


def moved(module):
    """The module with fake tensors on the device in the place of its own."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for key, value in held.items():
                if value is not None:
                    held[key] = torch.zeros(value.shape, dtype=value.dtype, device=CUDA)
                    if held is part._parameters:
                        held[key] = nn.Parameter(held[key], value.requires_grad)
    return module


def on_cuda(tensors):
    return all(tensor.device.type == "cuda" for tensor in tensors)


class NothingFromTheHost(TorchDispatchMode):
    """Refuses what makes the host and the device wait for each other: values read back, copies."""

    def __torch_dispatch__(self, function, types, given=(), named=None):
        name = str(function)
        assert "_local_scalar_dense" not in name, "a value is read back"
        assert "nonzero" not in name, "a size is read back"
        made = function(*given, **(named or {}))
        if "copy" in name:
            before, after = given[-1] if "copy_" in name else given[0], made
            assert before.device == after.device, f"{name} from {before.device}"
        return made


def test_a_copy_from_the_host_and_a_value_read_back_are_noticed():
    with FakeTensorMode(allow_non_fake_inputs=True):
        on_host, there = torch.zeros(3), torch.zeros(3, device=CUDA)
        for work in (
            lambda: on_host.to(CUDA),
            lambda: there.copy_(on_host),
            lambda: there.cpu(),
            lambda: there.sum().item(),
            lambda: there.nonzero(),
        ):
            with pytest.raises(AssertionError), NothingFromTheHost():
                work()
        with NothingFromTheHost():
            (there + 1).to(torch.bfloat16).sum()


@pytest.mark.parametrize(
    ("form", "compute_dtype"),
    [  # autocast, of the plain form, needs a driver
        (plain, torch.float32),
        (split_form, torch.float32),
        (split_form, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("name", KINDS)
def test_a_training_step_stays_on_the_device(name, form, compute_dtype):
    chosen = preset(name)
    model = SuperSimpleNet(chosen.model, weights=None).train()
    source = make_source(chosen.training.noise, model, seed=0)
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        moved(model)
        moved(source)
        layers = model.backbone(torch.zeros(2, 3, 64, 48, device=CUDA))
        size = tuple(side * model.config.upscale for side in layers[0].shape[-2:])
        masks, labels = (torch.zeros(4, *shape, device=CUDA) for shape in ((1, *size), ()))
        pixels = torch.zeros(37, dtype=torch.long, device=CUDA)
        form(model, layers, pixels, source, None, compute_dtype)  # makes what is kept
        with NothingFromTheHost():
            logits = form(model, layers, pixels, source, None, compute_dtype)
            loss = detection_loss(logits.map, logits.score, masks, labels, True)
        assert on_cuda((*logits[:3], loss, logits.adapted()))
        assert logits.map.shape == (4, 1, *size)
        assert logits.map.dtype == logits.score.dtype == torch.float32


class Context:
    """In autograd's place: keeps what a forward pass leaves for the backward pass."""

    needs_input_grad = (True,) * 9

    def save_for_backward(self, *tensors):
        self.saved_tensors = tensors

    def mark_dirty(self, *_):
        pass

    def mark_non_differentiable(self, *_):
        pass


def test_the_backward_passes_written_by_hand_stay_on_the_device():
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        count, kernels, noisy = 2, 16, 21

        def made(*shape):
            return torch.zeros(shape, device=CUDA)

        layers = [made(count, 8, 12, 10), made(count, 16, 6, 5)]
        features = Upscaled(layers, 2, True)
        size, pixels = features.size, count * features.size[0] * features.size[1]
        where = torch.zeros(noisy, dtype=torch.long, device=CUDA)
        works = (
            (_Convolution, made(kernels, 24, 1, 1), made(kernels), features),
            (_Convolution, made(kernels, 24, 5, 5), made(kernels), features),
            (_Correlation, made(count, *size, kernels), torch.float32, features),
            (_SegmentationTail, made(pixels, kernels), made(noisy, kernels), where, made(kernels)),
            (
                _AddNoisy,
                made(2 * pixels, kernels),
                made(count, *size, kernels),
                made(noisy, 24),
                made(3, 24, 3 * kernels),
                where,
                torch.float32,
            ),
            (_Pooled, made(2 * count, *size, kernels), made(kernels), made(kernels), 1e-5),
        )
        for function, *given in works:
            context = Context()
            out = function.forward(context, *given)
            out = out if isinstance(out, tuple) else (out,)
            gradients = function.backward(context, *map(torch.zeros_like, out))
            assert on_cuda(out)
            of = {  # what each is the gradient of
                index: gradient for index, gradient in enumerate(gradients) if gradient is not None
            }
            assert of
            assert on_cuda(of.values())
            assert all(gradient.shape == given[index].shape for index, gradient in of.items())


def test_a_step_that_rebuilds_features_stays_on_the_device():
    """Both views, and what they remember of a batch."""
    model = SuperSimpleNet(preset("evolved").model, weights=None).train()
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        moved(model)
        layers = model.backbone(torch.zeros(2, 3, 64, 48, device=CUDA))
        with NothingFromTheHost():
            assert on_cuda([model.loss(layers)])


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ["baseline", *KINDS, "evolved"])
def test_inference_stays_on_the_device_plain_and_folded(name, half):
    model = SuperSimpleNet(preset(name).model, weights=None).eval()
    networks = [fuse(model), model]
    if half:
        networks = [InHalf(network) for network in networks]
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        images = torch.zeros(2, 3, 64, 48, device=CUDA)
        for network in networks:
            prediction = moved(network)(images)
            assert on_cuda(prediction)
            assert prediction.anomaly_map.shape == (2, 1, 64, 48)
            assert prediction.score.dtype == torch.float32


def test_every_kind_of_system_is_among_them():
    def kind(name):
        chosen = preset(name)
        noise = chosen.training.noise
        return chosen.model.score, chosen.model.adaptor, noise.source, noise.std_unit

    covered = {kind(name) for name in (*KINDS, "evolved", "learned_noise_v1")}
    wanted = {kind(name) for name in PRESETS} - {kind("scenario_b_relative")}
    assert wanted <= covered
