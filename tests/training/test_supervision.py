"""Training on labels and some masks."""

import copy
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt, label

from ssn_lib import machine, preset
from ssn_lib.config import NoiseConfig, SupervisionConfig
from ssn_lib.data.images import ImageSet, normalise
from ssn_lib.data.pixel_labels import with_masks
from ssn_lib.errors import InputError
from ssn_lib.models.supersimplenet import CamDetector
from ssn_lib.runs.artifacts import PR_POINTS
from ssn_lib.runs.loading import load_run
from ssn_lib.runs.record import read_record
from ssn_lib.runs.run import configure, run
from ssn_lib.runs.teaching import teacher_of, with_pseudo_masks
from ssn_lib.training import batches, pseudo_masks
from ssn_lib.training import fit as training_loop
from ssn_lib.training.fit import fit
from ssn_lib.training.holdout import fold_split, validation_split

pytestmark = pytest.mark.usefixtures("small_networks")

LABELS = SupervisionConfig(labels=True, masks=0)
CPU = torch.device("cpu")


def fitted(model, images, name, epochs=1, **supervision):
    config = preset(name).training
    supervision = replace(config.supervision, **supervision)
    config = replace(config, epochs=epochs, batch_size=8, supervision=supervision)
    history = fit(model, images, config, 42, progress=None)
    return history, {key: value.clone() for key, value in model.trained_state().items()}


def briefly(name, images, *changes):
    """The configuration of a preset for one epoch, with those changes."""
    return configure(name, images, epochs=1, batch_size=8, weights=None, assignments=changes)


# --- label-only means label-only --------------------------------------------------------------


@pytest.mark.parametrize("how", ["noise", "deleted"])
@pytest.mark.parametrize("name", ["gap_cam", "weak_ssn"])
def test_no_bit_depends_on_a_training_mask(
    name, how, own_ksdd2, load_ksdd2, strips, make_model, same_bits
):
    train = load_ksdd2(own_ksdd2).train
    rng = np.random.default_rng(0)
    for path in sorted((own_ksdd2 / "train").glob("*_GT.png")):
        if how == "noise":
            Image.fromarray(rng.integers(0, 256, (80, 40), dtype=np.uint8)).save(path)
        else:
            path.unlink()
    architecture = preset(name).model
    expected_history, expected = fitted(make_model(architecture), strips.train, name)
    history, state = fitted(make_model(architecture), train, name)
    assert same_bits(state, expected)
    assert history.epochs[0].loss == expected_history.epochs[0].loss
    # The comparison can tell: with masks they do matter.
    if (name, how) == ("weak_ssn", "noise"):
        _, masked = fitted(make_model(architecture), strips.train, name, masks=None)
        _, noisy = fitted(make_model(architecture), train, name, masks=None)
        assert not same_bits(masked, noisy)


@pytest.mark.parametrize("name", ["cam_refined", "cam_traced"])
def test_nor_does_a_network_taught_by_another_ones_maps(
    name, own_ksdd2, load_ksdd2, tmp_path, same_bits
):
    states, files = [], []
    for turn in range(2):
        dataset = load_ksdd2(own_ksdd2)
        if turn:
            vars(dataset.train)["masks"] = torch.randint(0, 2, dataset.train.masks.shape).byte()
        config = briefly(name, dataset)
        runs_dir = tmp_path / str(turn)
        record = run(config, dataset, runs_dir, weights=None, progress=False)
        _, model = load_run(runs_dir / record.run_id, None)
        states.append(model.trained_state())
        assert len(list(runs_dir.iterdir())) == 2  # the teacher's run and its own
        assert record.metrics["flips-AP-loc"] != record.metrics["AP-loc"]
        files.append((runs_dir / record.run_id / "teaching.csv").read_text())
    assert same_bits(*states)
    # Masks are compared with what was learned from, and that can tell.
    kinds = [line.split(",")[0] for line in files[0].splitlines()[1:]]
    assert kinds == ["region", "traced"][: 1 + (name == "cam_traced")]
    assert files[0] != files[1]


def test_a_data_set_is_spoken_of_once_for_a_teacher_and_its_pupil(own_ksdd2, load_ksdd2, tmp_path):
    train = own_ksdd2 / "train"
    first, second = sorted(path for path in train.iterdir() if "_GT" not in path.name)[:2]
    shutil.copy(first, second)
    dataset = load_ksdd2(own_ksdd2)
    with pytest.warns(UserWarning, match="same file") as said:
        run(briefly("cam_traced", dataset), dataset, tmp_path, weights=None, progress=False)
    assert sum("same file" in str(one.message) for one in said) == 1


def test_masks_to_learn_from_that_are_not_there_are_told(strips, tmp_path):
    bare = tuple(replace(sample, mask=None) for sample in strips.train.samples)
    dataset = replace(strips, train=replace(strips.train, samples=bare))
    with pytest.warns(UserWarning, match="defective training images has a mask, so full_ssn"):
        run(briefly("full_ssn", dataset), dataset, tmp_path, weights=None, progress=False)


def test_defective_images_are_left_out_unless_asked_for(strips, make_model, same_bits):
    sound = strips.train.subset(range(8))
    _, expected = fitted(make_model(), sound, "scenario_a")
    _, state = fitted(make_model(), strips.train, "scenario_a")
    assert same_bits(state, expected)


# --- what an epoch holds -------------------------------------------------------------------------


def features(images, model, **changes):
    supervision = replace(LABELS, **changes)
    images = with_masks(images, supervision.masks, 0)
    return batches.Features(model, images, supervision)


def test_an_epoch_is_balanced_and_sound_images_take_turns(strips, make_model):
    data = features(strips.train, make_model())
    assert len(data) == 8 + 4 * 4
    seen = Counter()
    for epoch in range(1, 9):
        order = data.order(42, epoch).tolist()
        assert order == data.order(42, epoch).tolist()
        assert order != sorted(order)
        assert set(order) >= set(range(8, 24))  # every view of every defective image
        sound = [view for view in order if view < 8]
        assert len(sound) == len(order) - 16 == 16
        seen.update(sound)
    assert set(seen.values()) == {16}
    assert data.order(42, 1).tolist() != data.order(43, 1).tolist()


def test_few_defects_draw_from_all_sound_images(strips, make_model):
    data = features(strips.train.subset(range(9)), make_model(), flips=False)
    drawn = [set(data.order(1, epoch).tolist()) - {8} for epoch in range(1, 9)]
    assert all(len(part) == 1 for part in drawn)
    assert set.union(*drawn) == set(range(8))


@torch.no_grad()
def test_views_are_of_mirrored_images_with_mirrored_masks(strips, make_model):
    model = make_model()
    data = features(strips.train, model, masks=None, dilation=1)
    images, masks = strips.train.images, strips.train.masks
    for row, axes in ((9, ()), (13, (-2,)), (17, (-1,)), (21, (-2, -1))):
        nowhere = NoiseConfig(perlin_threshold=9)
        batch = data.batch(torch.tensor([row]), nowhere, machine.generator("cpu", 0), CPU)
        expected = model.backbone(normalise(images[9:10].flip(axes)))
        for ours, layer in zip(batch.layers, expected, strict=True):
            torch.testing.assert_close(ours, layer, rtol=1e-4, atol=1e-5)
        mask = torch.nn.functional.interpolate(
            masks[9:10].flip(axes).float(), size=batch.masks.shape[-2:], mode="bilinear"
        )
        assert torch.equal(batch.masks, (mask >= 0.5).float().repeat(2, 1, 1, 1))
        assert batch.masks.any()


def test_pixel_weights_follow_the_distance_to_the_edge(strips):
    settings = SupervisionConfig(labels=True, dilation=7, weight=3.0, exponent=2.0)
    mask, weights = batches._pixel_labels(strips.train, 10, settings)
    original = strips.train.masks[10, 0].numpy().astype(bool)
    assert original.any()
    widened = np.zeros_like(original)
    for y, x in zip(*original.nonzero(), strict=True):
        widened[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = True
    assert (mask.numpy() == widened).all()
    regions, count = label(widened, np.ones((3, 3)))
    expected = np.ones(widened.shape)
    for region in range(1, count + 1):
        depth = distance_transform_edt(regions == region)
        expected[regions == region] = (3 * (depth / depth.max()) ** 2)[regions == region]
    np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-6)
    assert weights.max() == 3
    _, equal = batches._pixel_labels(strips.train, 10, replace(settings, weight=0.0))
    assert (equal == 1).all()


def test_a_mask_of_everything_has_no_edge_to_be_far_from(strips):
    settings = SupervisionConfig(labels=True, dilation=7, weight=3.0, exponent=2.0)
    train = strips.train
    whole = ImageSet.of(train.samples, train.images, torch.ones_like(train.masks))
    mask, weights = batches._pixel_labels(whole, 10, settings)
    assert mask.all()
    assert (weights == 1).all()


def test_masks_as_published_are_widened_at_the_files_own_size(strips, make_model):
    """Dilated and weighted before they are resized to the nearest pixel, then brought to the grid
    corner on corner (Rolih et al., JIMS 2025, public code)."""
    settings = SupervisionConfig(labels=True, dilation=7, weight=3.0, exponent=2.0, flips=False)
    published = replace(strips.train, resize="plain")
    with Image.open(strips.train.samples[10].mask) as file:
        original = np.array(file) > 0
    assert original.shape == (80, 40)  # twice the images' size
    widened = np.zeros_like(original)
    for y, x in zip(*original.nonzero(), strict=True):
        widened[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = True
    depth = distance_transform_edt(widened)
    weights = np.where(widened, 3 * (depth / depth.max()) ** 2, 1)
    rows = np.arange(40) * 2
    columns = np.floor(np.arange(24) * 40 / 24).astype(int)
    nearest = np.ix_(rows, columns)
    got = batches._pixel_labels(published, 10, settings)
    assert (got[0].numpy() == widened[nearest]).all()
    np.testing.assert_allclose(got[1].numpy(), weights[nearest], rtol=1e-6)

    data = batches.Features(make_model(), published, settings)
    grid = torch.nn.functional.interpolate(
        torch.stack(got)[None], size=data.masks.shape[-2:], mode="bilinear", align_corners=True
    )[0]
    assert torch.equal(data.masks[10, 0].bool(), grid[0] >= 0.5)
    torch.testing.assert_close(data.weights[10, 0], grid[1])


def test_an_image_without_a_pixel_label_teaches_the_score_alone(strips, make_model):
    """Its map takes no loss: with the score's gradient kept out of the map, the segmentation head's
    is that of the sound images only."""
    model = make_model(replace(preset("weak_ssn").model, stop_map_gradient=True))
    config = replace(preset("weak_ssn").training, epochs=1, batch_size=64)
    config = replace(config, noise=replace(config.noise, perlin_threshold=9.0))  # no synthetic ones
    trainer = training_loop._Trainer(
        model.train(), config, 1, torch.device("cpu"), strips.train, strips.train
    )
    data = features(strips.train, model)
    gradients = []
    for indices in (torch.arange(8), torch.arange(12)):
        twin = copy.deepcopy(model)
        trainer.model = twin
        # Eval mode: BatchNorm's statistics would join the images.
        twin.eval()
        generator = torch.Generator().manual_seed(0)
        step = trainer.forward(data, indices, generator, generator)
        step.loss.backward()
        gradients.append([p.grad for p in twin.seg_head.parameters()])
        assert twin.cls_head.fc.weight.grad.any()
    for alone, together in zip(*gradients, strict=True):
        torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-7)
    assert gradients[0][-1].any()


def test_gradients_are_clipped(strips, make_model, monkeypatch):
    norms, step = [], torch.optim.AdamW.step

    def spy(self, *given, **named):
        weights = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(torch.cat(weights).norm().item())
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy)
    fitted(make_model(preset("full_ssn").model), strips.train, "full_ssn")
    assert max(norms) == pytest.approx(1, abs=1e-3)
    norms.clear()
    fitted(make_model(), strips.train, "scenario_a")
    assert max(norms) > 1.01


# --- folds ------------------------------------------------------------------------------------


def test_folds_part_the_images_by_class(strips):
    left = [fold_split(strips.train, fold, 7) for fold in range(3)]
    samples = [sample for _, part in left for sample in part.samples]
    assert sorted(map(str, samples)) == sorted(map(str, strips.train.samples))
    for kept, part in left:
        assert not {*kept.samples} & {*part.samples}
        assert len(kept) + len(part) == 12
        assert 1 <= part.labels.sum() <= 2
    kept, none = fold_split(strips.train, None, 7)
    assert (len(kept), len(none)) == (12, 0)


def test_a_fold_is_not_trained_on_and_its_scores_are_kept(strips, tmp_path):
    config = briefly("gap_cam", strips, "training.supervision.fold=1")
    record = run(config, strips, tmp_path, weights=None, progress=False)
    rows = (tmp_path / record.run_id / "held_out.csv").read_text().splitlines()[1:]
    _, left = fold_split(strips.train, 1, config.seed)
    assert [row.split(",")[0] for row in rows] == [
        f"train/{sample.image.name}" for sample in left.samples
    ]
    assert record.counts["per_epoch"] == 2 * 4 * (4 - int(left.labels.sum()))


def test_of_fewer_good_images_none_that_was_trained_on_is_in_the_fold(strips, tmp_path):
    config = briefly("gap_cam", strips, "training.supervision.fold=1", "training.good_images=5")
    trained_on, _ = validation_split(strips.train, config.training, config.seed)
    record = run(config, strips, tmp_path, weights=None, progress=False)
    rows = (tmp_path / record.run_id / "held_out.csv").read_text().splitlines()[1:]
    left = {row.split(",")[0] for row in rows}
    assert not left & {f"train/{sample.image.name}" for sample in trained_on.samples}
    assert len(left) + len(trained_on) == 5 + 4


def test_a_teacher_sees_what_its_pupil_sees(strips, tmp_path):
    config = briefly(
        "cam_traced",
        strips,
        "training.good_images=5",
        "training.precision=mixed",
        "training.validation_fraction=0.3",
    )
    run(config, strips, tmp_path, weights=None, progress=False)
    (teacher,) = tmp_path.glob(f"{config.training.supervision.teacher}-*")
    taught = read_record(teacher).config.training
    assert (taught.good_images, taught.precision) == (5, "mixed")
    assert taught.validation_fraction == 0.3


def test_an_official_split_goes_with_fewer_good_images(strips):
    config = briefly("mixed_ssn", strips, "training.supervision.masks=2", "training.good_images=5")
    trained_on, _ = validation_split(strips.train, config.training, config.seed)
    masked = {sample.image.stem for sample in trained_on.samples if sample.mask is not None}
    assert masked == {"10009", "10011"}


# --- records --------------------------------------------------------------------------------------


def test_a_record_of_class_activation_maps_has_both_evaluations(strips, tmp_path):
    config = briefly("gap_cam", strips)
    record = run(config, strips, tmp_path, weights=None, progress=False)
    for name in ("P-AUROC", "AUPRO", "AP-loc"):
        assert {f"sigmoid-{name}", f"flips-{name}"} <= record.metrics.keys()
    assert 0 <= record.metrics["saturated"] <= 100
    assert not math.isnan(record.metrics["sigmoid-AP-loc"])
    curves = (tmp_path / record.run_id / "pixel_pr.csv").read_text().splitlines()
    assert curves[0] == "recall,precision,map"
    assert {line.rsplit(",", 1)[1] for line in curves[1:]} == {"raw", "sigmoid"}
    assert len(curves) <= 2 * PR_POINTS + 1
    loaded, model = load_run(tmp_path / record.run_id, None)
    assert loaded == record
    assert isinstance(model, CamDetector)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [range(8), range(8, 12)])
def test_one_class_only_is_refused(part, strips, make_model):
    with pytest.raises(InputError, match="learning from labels needs both"):
        fitted(make_model(preset("gap_cam").model), strips.train.subset(part), "gap_cam")


def test_an_empty_mask_of_a_defective_image_is_refused(own_ksdd2, load_ksdd2, make_model):
    train = load_ksdd2(own_ksdd2).train
    Image.fromarray(np.zeros((80, 40), np.uint8)).save(own_ksdd2 / "train" / "10009_GT.png")
    model = make_model(preset("full_ssn").model)
    with (
        pytest.warns(UserWarning, match="mark nothing: .*10009_GT"),
        pytest.raises(InputError, match=r"10009_GT\.png marks nothing") as raised,
    ):
        fitted(model, train, "full_ssn")
    assert "\n" not in str(raised.value)
    fitted(model, train, "weak_ssn")  # which reads no mask


def test_all_masks_black_leaves_one_class(own_ksdd2, load_ksdd2, make_model):
    for path in Path(own_ksdd2 / "train").glob("*_GT.png"):
        Image.fromarray(np.zeros((80, 40), np.uint8)).save(path)
    train = load_ksdd2(own_ksdd2).train
    with pytest.raises(InputError, match="12 good and 0 defective training images"):
        fitted(make_model(preset("full_ssn").model), train, "full_ssn")


def test_a_teacher_leaves_out_what_its_pupil_leaves_out(strips):
    config = briefly("cam_traced", strips, "training.supervision.fold=1")
    taught = teacher_of(config).training
    assert taught.supervision.fold == 1
    assert (taught.epochs, taught.batch_size) == (1, 8)


def test_a_pupil_gets_the_masks_that_were_asked_for(strips, tmp_path, monkeypatch):
    train, sure = strips.train, strips.train.labels == 1
    monkeypatch.setattr(pseudo_masks, "trace", lambda region, image: ~region)
    maps = train.masks.float()
    region, traced = (
        with_pseudo_masks(train, maps, kind, tmp_path).masks for kind in ("region", "traced")
    )
    assert torch.equal(region, train.masks)
    assert torch.equal(traced[sure], 1 - region[sure])
    assert not traced[~sure].any()


def test_each_defect_has_pixels_of_full_weight(strips):
    train, masks = strips.train, torch.zeros_like(strips.train.masks)
    masks[10, 0, 2:5, 2:5] = masks[10, 0, 20:35, 8:20] = 1
    two = ImageSet.of(train.samples, train.images, masks)
    settings = SupervisionConfig(labels=True, dilation=1, weight=3.0, exponent=2.0)
    _, weights = batches._pixel_labels(two, 10, settings)
    assert weights[2:5, 2:5].max() == weights[20:35, 8:20].max() == 3
