"""The learned noise, and how the detector and a generator are trained together."""

import copy
from dataclasses import replace

import pytest
import torch

from ssn_lib import machine, preset
from ssn_lib.config import GeneratorConfig, ModelConfig, NoiseConfig
from ssn_lib.noise.sources import make_source
from ssn_lib.study.published import published_figures
from ssn_lib.training import batches
from ssn_lib.training import fit as training_loop

LEARNED = ("learned_noise_v1_published", "learned_noise_v1", "learned_noise_v2_published")
LEARNED = (*LEARNED, "learned_noise_v2")


def learned(**changes) -> NoiseConfig:
    return NoiseConfig(source="generator", generator=GeneratorConfig(**changes))


def test_parameters_are_the_published_ones(make_model):
    count = published_figures()["parameter_counts_256"]
    source = make_source(learned(), make_model(), seed=0)
    total = sum(parameter.numel() for parameter in source.parameters())
    assert total == count["learned_noise_generator_resnet18_training_only"]
    wide = make_model(ModelConfig(backbone="wide_resnet50_2"))
    total = sum(p.numel() for p in make_source(learned(), wide, seed=0).parameters())
    assert total == count["learned_noise_generator_wrn50_training_only"]


@pytest.mark.parametrize("beta", [0.0015, 0.5])
def test_never_exceeds_beta(beta, adapted, pixels):
    model, features = adapted
    source = make_source(learned(beta=beta), model, seed=5)
    torch.nn.init.normal_(source.layers[-1].weight, std=100)  # saturates the tanh
    noise = source(lambda: features, pixels, machine.generator("cpu", 0)).values
    assert noise.abs().max() <= beta
    assert noise.abs().median() > 0.9 * beta


def test_v1_is_unbounded(adapted, pixels):
    model, features = adapted
    source = make_source(learned(beta=None, z_channels=None), model, seed=5)
    torch.nn.init.normal_(source.layers[-1].weight, std=100)
    assert source(lambda: features, pixels, machine.generator("cpu", 0)).values.abs().max() > 10


def test_z_makes_two_calls_differ(draw):
    first, other = (draw(learned(), seed=seed) for seed in (0, 1))
    assert not torch.equal(first.values, other.values)
    first, other = (draw(learned(z_channels=None), seed=seed) for seed in (0, 1))
    assert torch.equal(first.values, other.values)


def test_both_copies_of_a_pixel_get_the_same_noise(draw):
    noise = draw(learned(), where=torch.tensor([7, 7 + 2 * 16 * 16]))
    assert torch.equal(*noise.values)


def test_weights_depend_on_the_seed_alone(make_model):
    first, again, other = (
        make_source(learned(), make_model(), seed).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["layers.0.weight"], other["layers.0.weight"])


def test_leaves_the_global_randomness_alone(make_model):
    model, before = make_model(), torch.get_rng_state()
    make_source(learned(), model, 1)
    assert torch.equal(torch.get_rng_state(), before)


# --- training ---------------------------------------------------------------------------------


@pytest.fixture
def trainer(dataset, make_model):
    """trainer(name): a trainer of that preset, and its first batch's forward pass."""

    def build(name, **changes):
        config = preset(name).training
        noise = replace(config.noise, generator=replace(config.noise.generator, **changes))
        made = training_loop._Trainer(
            make_model(),
            replace(config, noise=noise),
            3,
            torch.device("cpu"),
            dataset.train,
            dataset.train,
        )
        made.model.train()
        data = batches.Features(made.model, dataset.train, config.supervision)
        generator = machine.generator("cpu", 0)
        return made, made.forward(data, torch.arange(6), generator, generator)

    return build


def gradients(weights):
    return [None if weight.grad is None else weight.grad.clone() for weight in weights]


def detector(trainer):
    return [weight for part in trainer.model.trained_parts() for weight in part.parameters()]


def heads(trainer):
    model = trainer.model
    return [*model.seg_head.parameters(), *model.cls_head.parameters()]


def total(grads):
    return sum(float(grad.abs().sum()) for grad in grads if grad is not None)


def reference(step, weights, of="loss"):
    return torch.autograd.grad(getattr(step, of), weights, retain_graph=True, allow_unused=True)


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
def test_v1_published_never_trains_its_detector(batch, trainer):
    made, step = trainer("learned_noise_v1_published")
    expected = reference(step, list(made.source.parameters()))
    assert total(reference(step, detector(made))) > 1
    before = [weight.detach().clone() for weight in detector(made)]
    made.update(step, batch, batch)
    assert total(gradients(detector(made))) == 0.0
    for weight, old in zip(detector(made), before, strict=True):
        torch.testing.assert_close(weight, old, rtol=2e-6, atol=0)  # weight decay alone
    for parameter, theirs in zip(made.source.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, -theirs)


def test_v1_as_stated_descends_and_ascends_in_every_batch(trainer):
    made, step = trainer("learned_noise_v1")
    down, up = (reference(step, w) for w in (detector(made), list(made.source.parameters())))
    made.update(step, 1, 1)
    for weight, theirs in zip(detector(made), down, strict=True):
        torch.testing.assert_close(weight.grad, theirs)
    for weight, theirs in zip(made.source.parameters(), up, strict=True):
        torch.testing.assert_close(weight.grad, -theirs)
    assert total(down) > 1
    assert total(up) > 0


def test_v2_published_only_shrinks_its_noise(trainer):
    made, step = trainer("learned_noise_v2_published")
    learns = list(made.source.parameters())
    shrinking = [10 * g for g in reference(step, learns, "power")]
    adversarial = reference(step, learns)
    made.update(step, 4, 4)
    assert total(gradients(heads(made))) == 0.0
    for weight, theirs, lost in zip(learns, shrinking, adversarial, strict=True):
        # +g and then (10·∇M − g) are added in float32: exact but for the rounding at g's size.
        scale = float(torch.maximum(theirs.abs(), lost.abs()).max())
        torch.testing.assert_close(weight.grad, theirs, rtol=0, atol=1e-5 * scale)
    assert total(adversarial) > 0


def test_v2_as_stated_ascends_and_leaves_the_detector_alone(trainer):
    made, step = trainer("learned_noise_v2")
    learns = list(made.source.parameters())
    expected = [
        10 * magnitude - loss
        for magnitude, loss in zip(
            reference(step, learns, "power"), reference(step, learns), strict=True
        )
    ]
    before = [weight.detach().clone() for weight in detector(made)]
    made.update(step, 4, 4)
    for weight, theirs in zip(learns, expected, strict=True):
        torch.testing.assert_close(weight.grad, theirs, rtol=1e-4, atol=1e-7)
    assert all(torch.equal(a, b) for a, b in zip(detector(made), before, strict=True))


@pytest.mark.parametrize("name", ["learned_noise_v2_published", "learned_noise_v2"])
@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_v2s_other_batches_train_the_detector_alone(batch, name, trainer):
    made, step = trainer(name)
    expected = reference(step, detector(made))
    before = copy.deepcopy(made.source.state_dict())
    made.update(step, batch, batch)
    for weight, theirs in zip(detector(made), expected, strict=True):
        torch.testing.assert_close(weight.grad, theirs)
    assert all(torch.equal(a, before[k]) for k, a in made.source.state_dict().items())


@pytest.mark.parametrize(
    ("name", "turns"), [("learned_noise_v2_published", []), ("learned_noise_v2", [4])]
)
def test_the_public_code_counts_its_batches_anew_in_every_epoch(
    name, turns, dataset, make_model, monkeypatch
):
    """Two epochs of three batches: as stated the fourth is the generator's, as published none."""
    seen, step = [], torch.optim.AdamW.step

    def spy(self, *given, **named):
        seen.append(len(self.param_groups[0]["params"]))
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    config = replace(preset(name).training, epochs=2, batch_size=2)
    training_loop.fit(make_model(), dataset.train, config, 1, progress=None)
    generator_weights = 6
    assert [i for i, count in enumerate(seen, start=1) if count == generator_weights] == turns


@pytest.mark.parametrize("name", LEARNED)
def test_a_resumed_training_ends_as_the_unbroken(
    name, dataset, make_small_model, same_bits, tmp_path
):
    config = replace(preset(name).training, epochs=2, batch_size=2)
    generator = replace(config.noise.generator, period=min(2, config.noise.generator.period))
    config = replace(config, noise=replace(config.noise, generator=generator))
    unbroken = training_loop.fit(
        whole := make_small_model(), dataset.train, config, 1, progress=None
    )

    run_epoch, path = training_loop._Trainer.run_epoch, tmp_path / "c.pt"

    def cut(self, number, *rest):
        if number == 2:
            raise KeyboardInterrupt
        return run_epoch(self, number, *rest)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training_loop._Trainer, "run_epoch", cut)
        training_loop.fit(
            make_small_model(), dataset.train, config, 1, checkpoint=path, progress=None
        )
    resumed = training_loop.fit(
        again := make_small_model(), dataset.train, config, 1, checkpoint=path, progress=None
    )
    assert same_bits(again.trained_state(), whole.trained_state())
    assert same_bits(resumed.source.state_dict(), unbroken.source.state_dict())
    assert [e.noise_rms for e in resumed.epochs] == [e.noise_rms for e in unbroken.epochs]


def test_the_generator_is_no_part_of_the_network(make_model):
    plain = make_model(preset("scenario_a").model).state_dict()
    assert plain.keys() == make_model(preset("learned_noise_v2").model).state_dict().keys()


def test_a_generator_learns_at_its_own_rate(trainer):
    made, _ = trainer("learned_noise_v2", lr=3e-3)
    (group,) = made.rule.optimiser.param_groups
    assert (group["lr"], group["weight_decay"]) == (3e-3, 1e-2)
