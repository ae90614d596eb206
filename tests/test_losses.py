import pytest
import torch
from torchvision.ops import sigmoid_focal_loss

from ssn_lib.losses import detection_loss, focal, truncated_l1
from ssn_lib.study.systems import ignorance_loss


def truncated_l1_by_indexing(map_logits, masks):
    """SimpleNet's definition, with boolean indexing."""
    normal, anomalous = map_logits[masks == 0], map_logits[masks == 1]
    terms = [torch.clamp(normal + 0.5, min=0), torch.clamp(0.5 - anomalous, min=0)]
    return sum(term.mean() for term in terms if term.numel())


@pytest.fixture(params=["mixed", "normal", "anomalous", "one pixel"])
def maps(request):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 1, 6, 7, generator=generator)
    masks = {
        "mixed": (torch.rand(4, 1, 6, 7, generator=generator) > 0.8).float(),
        "normal": torch.zeros(4, 1, 6, 7),
        "anomalous": torch.ones(4, 1, 6, 7),
        "one pixel": torch.zeros(4, 1, 6, 7).index_fill_(0, torch.tensor(1), 0),
    }[request.param]
    if request.param == "one pixel":
        masks[2, 0, 3, 3] = 1
    return logits.requires_grad_(), masks


def test_truncated_l1_is_the_indexed_definition(maps):
    logits, masks = maps
    ours, theirs = truncated_l1(logits, masks), truncated_l1_by_indexing(logits, masks)
    torch.testing.assert_close(ours, theirs)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


def test_truncated_l1_by_hand():
    logits = torch.tensor([-1.0, -0.5, 0.0, 2.0, 0.5, 0.25]).view(1, 1, 2, 3)
    masks = torch.tensor([0.0, 0, 0, 0, 1, 1]).view(1, 1, 2, 3)
    # normal: (0 + 0 + 0.5 + 2.5) / 4; anomalous: (0 + 0.25) / 2
    assert truncated_l1(logits, masks).item() == pytest.approx(0.875)


def test_focal_is_torchvisions(maps):
    logits, masks = maps
    theirs = sigmoid_focal_loss(logits, masks, alpha=-1, gamma=4, reduction="mean")
    torch.testing.assert_close(focal(logits, masks), theirs)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (focal(logits, masks), theirs)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("with_focal", [True, False])
def test_the_whole_loss_is_the_sum_of_its_parts(maps, with_focal):
    logits, masks = maps
    scores, labels = torch.tensor([0.3, -2.0, 1.0, 0.0]), masks.flatten(1).amax(1)
    expected = truncated_l1_by_indexing(logits, masks)
    if with_focal:
        for values, targets in ((logits, masks), (scores, labels)):
            expected = expected + sigmoid_focal_loss(values, targets, -1, 4, "mean")
    torch.testing.assert_close(detection_loss(logits, scores, masks, labels, with_focal), expected)


@pytest.mark.parametrize("magnitude", [0.0, 90.0, 1e4, 1e30])
def test_extreme_logits_give_finite_losses_and_gradients(magnitude):
    logits = torch.tensor([magnitude, -magnitude] * 2).view(4, 1, 1, 1).requires_grad_()
    masks = torch.tensor([1.0, 1, 0, 0]).view(4, 1, 1, 1)
    scores = logits.detach()[:, 0, 0, 0].clone().requires_grad_()
    loss = detection_loss(logits, scores, masks, masks[:, 0, 0, 0], with_focal=True)
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert scores.grad.isfinite().all()
    if magnitude:  # the wrong ones are told so, however wrong
        assert (scores.grad[[1]] < 0).all()
        assert (scores.grad[[2]] > 0).all()
        assert (scores.grad[[0, 3]].abs() <= 1e-6).all()


@pytest.mark.parametrize("with_focal", [True, False])
def test_the_loss_of_ignorance_is_that_of_zero_logits(with_focal):
    masks = torch.zeros(2, 1, 6, 6)
    masks[0, :, :2] = 1
    zeros = torch.zeros_like(masks), torch.zeros(2)
    loss = detection_loss(*zeros, masks, torch.tensor([1.0, 0.0]), with_focal)
    assert ignorance_loss(with_focal) == pytest.approx(loss.item())


def weighted_by_indexing(map_logits, masks, weights):
    """The published loss with pixel weights: pixels of weight 0 are left out, means are of counts,
    not of weights."""
    known = weights > 0
    terms = [
        (truth[chosen] * weights[chosen]).mean()
        for truth, chosen in (
            (torch.clamp(map_logits + 0.5, min=0), known & (masks == 0)),
            (torch.clamp(0.5 - map_logits, min=0), known & (masks == 1)),
            (sigmoid_focal_loss(map_logits, masks, alpha=-1, gamma=4), known),
        )
        if chosen.any()
    ]
    return sum(terms)


@pytest.mark.parametrize("case", ["weights", "an unknown image", "nothing known"])
def test_pixel_weights(maps, case):
    logits, masks = maps
    weights = 0.1 + 3 * torch.rand(logits.shape, generator=torch.Generator().manual_seed(1))
    if case != "weights":
        weights[1 if case == "an unknown image" else slice(None)] = 0
    scores, labels = torch.zeros(4), torch.ones(4)
    ours = detection_loss(logits, scores, masks, labels, True, weights)
    ours = ours - focal(scores, labels)
    theirs = weighted_by_indexing(logits, masks, weights)
    torch.testing.assert_close(ours, torch.as_tensor(theirs, dtype=ours.dtype))
    gradient = torch.autograd.grad(ours, logits)[0]
    assert not gradient[weights == 0].any()
    assert gradient.any() == (case != "nothing known")


def test_weights_of_one_change_nothing(maps):
    logits, masks = maps
    scores, labels = torch.zeros(4), torch.ones(4)
    plain, weighted = (
        detection_loss(logits, scores, masks, labels, True, weights)
        for weights in (None, torch.ones_like(logits))
    )
    torch.testing.assert_close(plain, weighted)
