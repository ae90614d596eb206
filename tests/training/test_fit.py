import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torchvision.ops import sigmoid_focal_loss

from ssn_lib import fuse, machine, preset
from ssn_lib.config import SupervisionConfig, TrainingConfig
from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.errors import InputError, OutOfTime
from ssn_lib.noise.perlin import place
from ssn_lib.training import fit as training_loop
from ssn_lib.training.fit import fit
from ssn_lib.training.history import History
from ssn_lib.training.holdout import validation_split

pytestmark = pytest.mark.usefixtures("small_networks")

TINY = TrainingConfig(epochs=3, batch_size=4)
SELECTING = replace(TINY, validation_fraction=0.34, select_epoch="validation")


@pytest.fixture
def train(dataset):
    return dataset.train


def fitted(model, images, config=TINY, seed=42, **options):
    history = fit(model, images, config, seed, progress=None, **options)
    return history, {name: value.clone() for name, value in model.trained_state().items()}


def course(history):
    """A history without its wall times; repr, because NaN is not itself."""
    return repr([replace(epoch, seconds=0.0) for epoch in history.epochs])


def test_the_seed_decides_every_bit(train, make_model, same_bits):
    config = replace(TINY, epochs=2)
    torch.manual_seed(5)
    first_history, first = fitted(make_model(), train, config)
    torch.manual_seed(6)
    again_history, again = fitted(make_model(), train, config)
    _, other = fitted(make_model(), train, config, seed=43)
    assert same_bits(first, again)
    assert course(first_history) == course(again_history)
    assert not same_bits(first, other)


@pytest.mark.parametrize("name", ["scenario_a", "evolved"])
def test_autocast_around_it_changes_nothing(name, train, make_model, same_bits):
    models = [make_model(preset(name).model) for _ in range(2)]
    config = replace(TINY, noise=preset(name).training.noise)
    for model, cast in zip(models, (False, True), strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            fitted(model, train, config)
    assert same_bits(*(model.state_dict() for model in models))


@pytest.mark.parametrize(
    "config",
    [TINY, SELECTING, replace(TINY, schedule="cycle")],
    ids=["last", "validation", "cycle"],
)
def test_a_resumed_training_ends_as_the_unbroken(
    config, train, make_model, same_bits, tmp_path, monkeypatch
):
    unbroken_history, unbroken = fitted(make_model(), train, config)
    checkpoint, run_epoch = tmp_path / "c.pt", training_loop._Trainer.run_epoch

    def cut(self, number, *rest):
        if number == 2:
            raise KeyboardInterrupt
        return run_epoch(self, number, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training_loop._Trainer, "run_epoch", cut)
        fitted(make_model(), train, config, checkpoint=checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["c.pt"]

    numbers = []

    def count(self, number, *rest):
        numbers.append(number)
        return run_epoch(self, number, *rest)

    monkeypatch.setattr(training_loop._Trainer, "run_epoch", count)
    started = make_model()
    for parameter in started.adaptor.parameters():  # all comes from the checkpoint
        torch.nn.init.zeros_(parameter)
    history, resumed = fitted(started, train, config, checkpoint=checkpoint)
    assert numbers == [2, 3]
    assert same_bits(resumed, unbroken)
    assert course(history) == course(unbroken_history)
    assert history.selected == unbroken_history.selected

    # And a checkpoint of the whole training is answered from.
    again, finished = fitted(make_model(), train, config, checkpoint=checkpoint)
    assert numbers == [2, 3]
    assert same_bits(finished, unbroken)
    assert again.selected == unbroken_history.selected

    with pytest.raises(InputError, match="of another training"):  # it has another backbone
        fitted(make_model(seed=9), train, config, checkpoint=checkpoint)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["scenario_a", "scenario_b", "gap_cam", "evolved"])
def test_mixed_precision_learns_the_same(name, dtype, train, make_model, monkeypatch):
    """float16 as on a GPU that has nothing better, its gradients scaled; both on a CPU."""
    monkeypatch.setattr(machine, "low_precision", lambda _: dtype)
    trained = [
        fitted(
            make_model(preset(name).model),
            train,
            replace(TINY, precision=precision, noise=preset(name).training.noise),
        )
        for precision in ("float32", "mixed")
    ]
    (exact_history, exact), (history, mixed) = trained
    losses = [[epoch.loss for epoch in h.epochs] for h in (exact_history, history)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    start = make_model(preset(name).model).trained_state()
    for key in exact:
        if key.endswith(("conv.0.weight", "seg_head.0.weight", "decoder.outs.0.weight")):
            moved = [(weights[key] - start[key]).flatten() for weights in (exact, mixed)]
            assert F.cosine_similarity(*moved, dim=0) > 0.8, key
    assert all(value.dtype in (torch.float32, torch.int64) for value in mixed.values())


def test_float16_resumes_with_its_scale(train, make_model, tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "low_precision", lambda _: torch.float16)
    config = replace(TINY, precision="mixed")
    first, again = (
        training_loop._Trainer(make_model(), config, 1, torch.device("cpu"), train, train)
        for _ in range(2)
    )
    first.scaler.scale(torch.ones(()))  # which sets it up
    first.scaler.update(8.0)
    first.save(tmp_path / "c.pt", History())
    again.restore(tmp_path / "c.pt")
    assert again.scaler.get_scale() == 8.0


def test_checkpoints_are_written_at_first_now_and_then_and_when_time_is_up(
    train, make_model, tmp_path, monkeypatch
):
    saved, save = [], training_loop._Trainer.save

    def spy(self, path, history):
        saved.append(len(history.epochs))
        save(self, path, history)

    def stop(history):
        if len(history.epochs) == 3:
            raise OutOfTime

    monkeypatch.setattr(training_loop._Trainer, "save", spy)
    monkeypatch.setattr(training_loop, "CHECKPOINT_SHARE", 1e-9)  # epochs far shorter than it
    config = replace(TINY, epochs=5)
    with pytest.raises(OutOfTime):
        fitted(make_model(), train, config, checkpoint=tmp_path / "c.pt", before_epoch=stop)
    assert saved == [1, 3]
    history, _ = fitted(make_model(), train, config, checkpoint=tmp_path / "c.pt")
    assert saved == [1, 3, 4, 5]
    assert course(history) == course(fitted(make_model(), train, config)[0])
    monkeypatch.setattr(training_loop, "CHECKPOINT_SHARE", math.inf)
    fitted(make_model(), train, config, checkpoint=tmp_path / "d.pt")
    assert saved[4:] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("change", [{"seed": 1}, {"config": replace(TINY, epochs=4)}])
def test_a_checkpoint_of_another_training_is_refused(change, train, make_model, tmp_path):
    short = replace(TINY, epochs=1)
    fitted(make_model(), train, short, checkpoint=tmp_path / "c.pt")
    with pytest.raises(InputError, match="of another training"):
        fitted(make_model(), train, checkpoint=tmp_path / "c.pt", **{"config": short} | change)


@pytest.mark.parametrize("content", [[1], {}, {"training": 1}])
def test_a_checkpoint_that_is_none_is_refused(content, train, make_model, tmp_path):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(InputError, match="of another training"):
        fitted(make_model(), train, checkpoint=tmp_path / "c.pt")


def test_a_last_batch_of_one_small_image_is_one_line(train, make_model):
    model = make_model(preset("evolved").model)
    one = replace(preset("evolved").training, epochs=1, batch_size=1)
    with pytest.raises(InputError, match="too small for a last batch of one image"):
        fitted(model, train, one)
    model = make_model(replace(preset("scenario_b").model, layers=(4,), upscale=1))
    one = replace(preset("scenario_b").training, epochs=1, batch_size=1)
    with pytest.raises(InputError, match="too small for a last batch of one image"):
        fitted(model, train, one)
    fitted(make_model(replace(model.config, upscale=2)), train, one)  # four values of it


def test_the_form_of_the_step_is_known_after_an_interruption(train, make_model, tmp_path):
    def trainer():
        return training_loop._Trainer(make_model(), TINY, 1, torch.device("cpu"), train, train)

    first = trainer()
    first.chosen_form = "plain"
    first.save(tmp_path / "c.pt", History())
    second = trainer()
    assert second.restore(tmp_path / "c.pt").form == "plain"
    assert second.form == "plain"  # and is not chosen anew
    second.device = torch.device("cuda")
    second.choose_form(data=None)
    assert second.form == "plain"
    second.device = torch.device("cpu")  # a GPU's training that goes on without one
    second.choose_form(data=None)
    assert (second.form, second.chosen_form) == ("split", None)


def test_a_checkpoint_of_other_images_or_another_network_is_refused(train, make_model, tmp_path):
    short = replace(TINY, epochs=1)
    fitted(make_model(), train, short, checkpoint=tmp_path / "c.pt")
    with pytest.raises(InputError, match="of another training"):
        fitted(make_model(), train.subset([0, 1, 2]), short, checkpoint=tmp_path / "c.pt")
    other = make_model(preset("scenario_a_icpr").model)
    with pytest.raises(InputError, match="of another training"):
        fitted(other, train, short, checkpoint=tmp_path / "c.pt")


@pytest.mark.parametrize("changed", ["size", "colours", "mask"])
def test_a_checkpoint_of_other_pixels_under_the_same_names_is_refused(
    changed, train, make_model, tmp_path
):
    images, masks = train.images.clone(), train.masks.clone()
    if changed == "size":
        images, masks = images[..., :16, :], masks[..., :16, :]
    elif changed == "colours":
        images[0, 0, 0, 0] ^= 1
    else:
        masks[0, 0, 0, 0] ^= 1
    short = replace(TINY, epochs=1)
    fitted(make_model(), train, short, checkpoint=tmp_path / "c.pt")
    with pytest.raises(InputError, match="of another training"):
        other = ImageSet.of(train.samples, images, masks)
        fitted(make_model(), other, short, checkpoint=tmp_path / "c.pt")


def test_an_older_checkpoint_that_says_nothing_of_the_pixels_goes_on(train, make_model, tmp_path):
    fitted(make_model(), train, replace(TINY, epochs=1), checkpoint=tmp_path / "c.pt")
    state = torch.load(tmp_path / "c.pt", weights_only=True)
    del state["training"]["pixels"]
    torch.save(state, tmp_path / "c.pt")
    history, _ = fitted(make_model(), train, replace(TINY, epochs=1), checkpoint=tmp_path / "c.pt")
    assert len(history.epochs) == 1


def test_a_checkpoint_goes_on_wherever_its_images_have_moved(train, make_model, tmp_path):
    fitted(make_model(), train, replace(TINY, epochs=3), checkpoint=tmp_path / "c.pt")
    samples = (
        replace(sample, image=Path("/elsewhere", *sample.image.parts[-3:]))
        for sample in train.samples
    )
    moved = ImageSet.of(samples, train.images, train.masks)
    history, _ = fitted(make_model(), moved, replace(TINY, epochs=3), checkpoint=tmp_path / "c.pt")
    assert len(history.epochs) == 3


@pytest.mark.parametrize("name", ["scenario_a", "scenario_b", "simplenet"])
def test_the_backbone_stays_and_the_rest_moves(name, train, make_model):
    model = make_model(preset(name).model)
    before = copy.deepcopy(model.state_dict())
    assert not fit(model, train, replace(TINY, epochs=1), 0, progress=None).diverged_at
    assert not model.training
    for part, value in model.state_dict().items():
        # The bias before a BatchNorm has no gradient.
        stays = part.startswith("backbone.") or part == "seg_head.0.bias"
        assert torch.equal(value, before[part]) == stays, part


# --- one step, from the statement of the method ----------------------------------------------


@pytest.fixture
def steps(monkeypatch):
    """What every optimiser step sees, per group: (learning rate, gradients, weight decay)."""
    seen, step = [], torch.optim.AdamW.step

    def spy(self, *given, **named):
        seen.append(
            [
                (group["lr"], [p.grad.clone() for p in group["params"]], group["weight_decay"])
                for group in self.param_groups
            ]
        )
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    return seen


def stated_loss(model, images, config, seed):
    """The loss of the first epoch's only batch, put together from the method's description."""
    order = torch.randperm(len(images), generator=machine.generator("cpu", seed, 1))
    with torch.no_grad():
        plain = model.features(normalise(images.images[order]))
    adapted = model.adaptor(plain)
    masks = torch.zeros(len(images), 1, *plain.shape[-2:])
    std = config.noise.std
    if config.noise.std_unit == "feature":
        std *= adapted.std().item()
    generator = machine.generator("cpu", seed, 1)
    placed = place(masks, images.labels, config.noise, generator)
    added = std * torch.randn((len(placed.pixels), plain.shape[1]), generator=generator)

    def perturbed(features):
        both = features.repeat(2, 1, 1, 1).permute(0, 2, 3, 1)
        noise = torch.zeros_like(both).flatten(0, 2)
        noise[placed.pixels] = added
        return (both + noise.view(both.shape)).permute(0, 3, 1, 2)

    plain, adapted = perturbed(plain), perturbed(adapted)
    map_logits = model.seg_head(adapted)
    loss = (map_logits[placed.masks == 0] + 0.5).clamp(min=0).mean()
    loss = loss + (0.5 - map_logits[placed.masks == 1]).clamp(min=0).mean()
    if not config.focal:
        return loss
    seen = map_logits.detach() if model.config.stop_map_gradient else map_logits
    features = plain if model.config.score == "plain" else adapted
    hidden = model.cls_head.conv(torch.cat((features, seen), dim=1))
    pools = (F.adaptive_max_pool2d, F.adaptive_avg_pool2d)
    pooled = [pool(part, 1).flatten(1) for part in (hidden, seen) for pool in pools]
    score = model.cls_head.fc(torch.cat(pooled, dim=1))[:, 0]
    for logits, targets in ((map_logits, placed.masks), (score, placed.labels)):
        loss = loss + sigmoid_focal_loss(logits, targets, alpha=-1, gamma=4, reduction="mean")
    return loss


@pytest.mark.parametrize(
    "name",
    ["scenario_a", "scenario_a_icpr", "scenario_b_relative", "simplenet_perlin", "simplenet"],
)
def test_one_step_follows_the_gradient_of_the_stated_loss(name, train, make_model, steps):
    chosen = preset(name)
    config = replace(chosen.training, epochs=1, batch_size=6)
    model = make_model(chosen.model)
    twin = copy.deepcopy(model).train()
    history = fit(model, train, config, 7, progress=None)
    loss = stated_loss(twin, train, config, 7)
    loss.backward()
    assert history.epochs[0].loss == pytest.approx(loss.item(), rel=1e-5)

    (groups,) = steps
    expected = [[p.grad for p in twin.adaptor.parameters()]]
    _, *heads = twin.trained_parts()
    expected.append([p.grad for head in heads for p in head.parameters()])
    for (_, gradients, _), theirs in zip(groups, expected, strict=True):
        for ours, stated in zip(gradients, theirs, strict=True):
            # One of the 768 pixels may lie within rounding of the hinge's corner, and fall to
            # either side of it by the processor's arithmetic.
            assert (ours - stated).norm() <= 3e-3 * stated.norm() + 1e-5
            if ours.ndim > 1:  # a bias that feeds a BatchNorm legitimately has none
                assert stated.norm() > 1e-4


def test_learning_rates_fall_after_80_and_90_percent(train, make_model, steps):
    config = replace(TINY, epochs=10, batch_size=2)
    history = fit(make_model(), train.subset([0, 1]), config, 0, progress=None)
    expected = [1.0] * 8 + [0.4, 0.16]
    for group, start in enumerate((1e-4, 2e-4)):
        rates = [step[group][0] for step in steps]
        assert rates == pytest.approx([start * share for share in expected])
    assert {(adaptor[2], heads[2]) for adaptor, heads in steps} == {(1e-2, 1e-5)}
    assert [epoch.learning_rate for epoch in history.epochs] == [s[1][0] for s in steps]


def test_the_rates_of_a_cycle_are_set_at_each_step_and_the_momentum_moves_the_other_way(
    train, make_model, steps, monkeypatch
):
    momenta, step = [], torch.optim.AdamW.step

    def spy(self, *given, **named):
        momenta.append(self.param_groups[0]["betas"][0])
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    config = replace(TINY, epochs=5, batch_size=1, schedule="cycle")
    fit(make_model(), train.subset([0, 1, 2, 3]), config, 0, progress=None)  # 20 steps
    shares = [step[1][0] / config.head_lr for step in steps]
    assert shares == pytest.approx([step[0][0] / config.adaptor_lr for step in steps])
    highest = 0.15 * 20 - 1  # the step that the highest rates belong to
    assert shares[0] == pytest.approx(1 / 25)
    assert shares[2] == pytest.approx(1)
    falling = [math.cos(math.pi * (n - highest) / (19 - highest) / 2) ** 2 for n in range(2, 20)]
    assert shares[2:] == pytest.approx(falling, abs=1e-5)
    assert np.corrcoef(shares, momenta)[0, 1] == pytest.approx(-1, abs=1e-3)
    assert (min(momenta), max(momenta)) == pytest.approx((0.85, 0.95))


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_every_image_is_seen_once_an_epoch(batch_size, train, make_model, monkeypatch):
    seen, forward = [], training_loop._Trainer.forward

    def spy(self, data, indices, *generators):
        seen.extend(indices.tolist())
        return forward(self, data, indices, *generators)

    monkeypatch.setattr(training_loop._Trainer, "forward", spy)
    history = fit(
        make_model(), train, replace(TINY, epochs=2, batch_size=batch_size), 0, progress=None
    )
    first, second = seen[:6], seen[6:]
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second
    assert all(math.isfinite(epoch.loss) for epoch in history.epochs)


# --- divergence ------------------------------------------------------------------------------


def test_a_loss_that_is_not_a_number_ends_as_diverged(train, make_model):
    model = make_model()
    model.adaptor.weight.data[0, 0] = math.nan
    history = fit(model, train, TINY, 0, progress=None)
    assert history.diverged_at == 1
    assert history.epochs == []
    assert history.selected is None


def test_an_exploding_training_ends_as_diverged(train, make_model):
    config = replace(TINY, epochs=4, adaptor_lr=1e30, head_lr=1e30)
    history = fit(make_model(), train, config, 0, progress=None)
    assert history.diverged_at == len(history.epochs) + 1 <= 4


# --- validation ------------------------------------------------------------------------------


def test_the_epoch_of_the_lowest_validation_loss_is_kept(train, make_model, same_bits, monkeypatch):
    losses, states = [3.0, 1.0, 2.0, 1.5], []

    def scripted(self, held_out):
        states.append(copy.deepcopy(self.model.trained_state()))
        return losses[len(states) - 1]

    monkeypatch.setattr(training_loop._Trainer, "validation_loss", scripted)
    config = replace(SELECTING, epochs=4)
    history, kept = fitted(make_model(), train, config)
    assert history.selected == 2
    assert [epoch.validation_loss for epoch in history.epochs] == losses
    assert same_bits(kept, states[1])

    states.clear()
    history, kept = fitted(make_model(), train, replace(config, select_epoch="last"))
    assert history.selected == 4
    assert same_bits(kept, states[3])


def test_without_held_out_images_the_validation_loss_is_nan(train, make_model):
    history = fit(make_model(), train, replace(TINY, epochs=1), 0, progress=None)
    assert math.isnan(history.epochs[0].validation_loss)


def test_held_out_images_are_validated_on_and_never_trained_on(
    own_root, load, make_model, same_bits
):
    config = replace(SELECTING, epochs=2, select_epoch="last")
    train = load(own_root).train
    kept, held = validation_split(train, config, 42)
    assert len(held) == 2
    assert {*kept.samples, *held.samples} == set(train.samples)
    history, state = fitted(make_model(), train, config)
    black = Image.fromarray(np.zeros((80, 80, 3), np.uint8))
    for sample in held.samples:
        black.save(sample.image)
    changed_history, changed = fitted(make_model(), load(own_root).train, config)
    assert same_bits(state, changed)
    for epoch, other in zip(history.epochs, changed_history.epochs, strict=True):
        assert epoch.loss == other.loss
        assert math.isfinite(epoch.validation_loss)
        assert epoch.validation_loss != other.validation_loss
    black.save(kept.samples[0].image)
    _, changed = fitted(make_model(), load(own_root).train, config)
    assert not same_bits(state, changed)


def test_a_split_that_leaves_one_side_empty_is_refused(train, make_model):
    for images, message in (
        (train, "6 training images, 6 of them held out: none to train on"),
        (train.subset([0]), "1 training image, and one is to be held out"),
    ):
        fraction = 0.95 if len(images) > 1 else 0.1
        with pytest.raises(InputError, match=message):
            fit(make_model(), images, replace(SELECTING, validation_fraction=fraction), 0)


@pytest.mark.parametrize(
    ("labels", "fraction", "message"),
    [
        ([0] + [1] * 5, 0.17, "none that is sound would be (held out|trained on)"),
        ([1] + [0] * 5, 0.84, "none that is defective would be trained on"),
    ],
)
def test_labels_need_both_kinds_on_their_side_of_the_split(labels, fraction, message, train):
    samples = [replace(s, label=label) for s, label in zip(train.samples, labels, strict=True)]
    labelled = ImageSet(tuple(samples), train.image_size)
    config = replace(
        SELECTING, validation_fraction=fraction, supervision=SupervisionConfig(labels=True, masks=0)
    )
    with pytest.raises(InputError, match=message):
        for seed in range(20):  # one of them puts the only one of its kind on the other side
            validation_split(labelled, config, seed)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": lambda made: fuse(made)}, "model: _FusedHeads; must be a detector"),
        ({"train": lambda _: [1, 2]}, "train: list; must be an ImageSet"),
        ({"config": lambda _: preset("scenario_a")}, "config: Preset; must be a TrainingConfig"),
        ({"seed": lambda _: 1.5}, "seed: float; must be a whole number"),
        ({"seed": lambda _: -1}, "seed=-1 is out of range"),
    ],
)
def test_arguments_of_another_kind_are_refused(changed, message, train, make_model, refusal):
    given = {"model": make_model(), "train": train, "config": TINY, "seed": 42}
    given |= {name: make(given[name]) for name, make in changed.items()}
    assert refusal(lambda: fit(*given.values())).startswith(message)


def test_images_that_the_backbone_does_not_divide_are_refused(train, make_model):
    odd = ImageSet.of(train.samples, train.images[:, :, :30], train.masks[:, :, :30])
    with pytest.raises(InputError, match="^image size 30×32: height and width must be multiples"):
        fit(make_model(), odd, TrainingConfig(epochs=1), 0)


def test_an_unwritable_checkpoint_is_an_input_error(train, make_model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write") as raised:
        fitted(make_model(), train, checkpoint=tmp_path / "file" / "c.pt")
    assert "\n" not in str(raised.value)


def test_a_decoder_knows_its_images_spread_before_it_learns(train, make_model):
    model = make_model(preset("evolved").model)
    config = replace(TINY, epochs=1, noise=preset("evolved").training.noise)
    fit(model, train, config, 0, progress=None)
    layers = model.backbone(normalise(train.images))
    for standard, layer in zip(model.decoder.standards, layers, strict=True):
        mean = layer.mean((0, 2, 3))
        assert mean.abs().max() > 0.01  # the comparison can tell
        torch.testing.assert_close(standard.mean.flatten(), mean, rtol=1e-4, atol=1e-4)


def test_in_float16_gradients_are_clipped_by_their_true_length(train, make_model, monkeypatch):
    monkeypatch.setattr(machine, "low_precision", lambda _: torch.float16)
    norms, step = [], torch.optim.AdamW.step

    def spy(self, *given, **named):
        grads = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(torch.cat(grads).norm().item())
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    fitted(make_model(), train, replace(TINY, precision="mixed", clip_norm=1e-3))
    assert norms
    assert norms == pytest.approx([1e-3] * len(norms), rel=0.01)
