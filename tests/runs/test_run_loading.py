import shutil

import pandas as pd
import pytest
import torch
from PIL import Image

from ssn_lib import evaluate, predict
from ssn_lib.errors import InputError
from ssn_lib.models.backbone import Backbone, torchvision_name
from ssn_lib.noise import sources
from ssn_lib.runs import loading
from ssn_lib.runs import run as run_module
from ssn_lib.runs.loading import dataset_of, load_run, load_source, reference_images_of
from ssn_lib.runs.record import REFERENCE, read_record


@pytest.fixture
def finished(tiny_run):
    """A finished run's folder and its record."""
    return tiny_run[0], read_record(tiny_run[0])


@pytest.fixture
def own_run(tiny_run, tmp_path):
    """A copy of the finished run's folder that a test may damage."""
    return shutil.copytree(tiny_run[0], tmp_path / tiny_run[0].name)


def test_a_loaded_run_predicts_what_its_record_says(finished, dataset):
    folder, record = finished
    torch.manual_seed(1)  # the untrained backbone is the run's own, whatever the global state
    loaded, model = load_run(folder, weights=None)
    assert loaded == record
    prediction = predict(model, dataset.test)
    assert dict(evaluate(prediction, dataset.test)) == record.metrics
    scores = pd.read_csv(folder / "scores.csv")
    assert prediction.score.tolist() == pytest.approx(scores["score"].tolist(), rel=1e-6)


def test_another_backbone_than_the_trained_one_is_refused(own_run, monkeypatch):
    build = loading.initial_model

    def other(config, weights):
        model = build(config, weights)
        next(model.backbone.parameters()).data += 1e-3
        return model

    monkeypatch.setattr(loading, "initial_model", other)
    with pytest.raises(InputError, match="its backbone had the weights of chance, these are"):
        load_run(own_run, weights=None)


def test_a_run_without_its_weights_is_refused(own_run):
    (own_run / "weights.pt").unlink()
    with pytest.raises(InputError, match=r"weights\.pt: missing"):
        load_run(own_run, weights=None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda folder: Image.new("RGB", (80, 80)).save(folder / "train/good/003.png"),
            "the same names, other contents",
        ),
        (
            lambda folder: (folder / "train/good/003.png").unlink(),
            "another number of training images",
        ),
        (
            lambda folder: (folder / "test/good/001.png").rename(folder / "test/good/9.png"),
            "other names of test images",
        ),
    ],
)
def test_other_files_than_the_records_are_said(change, said, finished, own_root, own_category):
    folder, record = finished
    assert len(dataset_of(record, own_root, folder).test) == 6
    change(own_category)
    with pytest.warns(UserWarning) as warned:
        assert len(dataset_of(record, own_root, folder).test) == 6
    (line,) = [str(warning.message) for warning in warned]
    assert f"{own_category}: not the files that {record.run_id} was made on ({said})" in line


@pytest.mark.filterwarnings("ignore:.*not the files that")
def test_the_images_of_a_threshold_are_those_that_the_run_chose(
    finished, dataset, own_root, own_category
):
    """Also where the folder has grown since, so that a new choice would be another."""
    folder, record = finished
    names = pd.read_csv(folder / REFERENCE)["image"].tolist()
    shutil.copy(own_category / "train/good/000.png", own_category / "train/good/0000.png")
    grown = dataset_of(record, own_root, folder)
    assert len(grown.train) == len(dataset.train) + 1
    assert reference_images_of(record, grown, folder).names(grown.root) == names
    (own_category / names[2]).unlink()
    with pytest.raises(InputError, match=rf"1 of the {len(names)} images .* such as {names[2]}"):
        reference_images_of(record, dataset_of(record, own_root, folder), folder)


def test_damaged_weights_are_one_line(own_run):
    (own_run / "weights.pt").write_bytes(b"half of it")
    with pytest.raises(InputError, match="weights.pt cannot be read, remove it") as raised:
        load_run(own_run, None)
    assert "\n" not in str(raised.value)


@pytest.fixture
def weights_file(tmp_path):
    """weights_file(seed): a file of weights for a ResNet18."""

    def save(seed):
        torch.manual_seed(seed)
        state = Backbone("resnet18", (2, 3)).state_dict()
        path = tmp_path / f"weights_{seed}.pth"
        torch.save({torchvision_name(name): value for name, value in state.items()}, path)
        return path

    return save


def test_a_record_answers_for_the_weights_that_its_backbone_had(
    dataset, tmp_path, weights_file, monkeypatch
):
    config = run_module.configure("scenario_a", dataset, epochs=1, batch_size=4)
    first, second = weights_file(1), weights_file(2)

    def run(weights):
        return run_module.run(config, dataset, tmp_path, weights=weights, progress=False)

    record = run(first)
    monkeypatch.setattr(run_module, "fit", None)  # nothing is trained from here on
    copy = shutil.copy(first, tmp_path / "under_another_name.pth")
    for same in (first, copy, "imagenet"):  # the last is not looked for: a record wants no weights
        assert run(same) == record
    with pytest.raises(InputError, match=r"had the weights weights_1.*these are weights_2") as said:
        run(second)
    assert "another --runs-dir" in str(said.value)
    with pytest.raises(InputError, match="nowhere: no resnet18"):
        run(tmp_path / "nowhere")


def test_an_untrained_backbone_has_no_file_that_could_be_another(finished, dataset, weights_file):
    folder, record = finished
    answered = run_module.run(
        record.config, dataset, folder.parent, weights=weights_file(1), progress=False
    )
    assert answered == record


def test_a_learned_source_is_kept_beside_the_network(dataset, tmp_path):
    config = run_module.configure(
        "learned_noise_v1", dataset, epochs=1, batch_size=4, weights=None, seed=3
    )
    record = run_module.run(config, dataset, tmp_path, weights=None, progress=False)
    folder = tmp_path / record.run_id
    _, model = load_run(folder, weights=None)
    source = load_source(folder, record, model)
    untrained = sources.make_source(config.training.noise, model, config.seed)
    weights = source.state_dict()
    assert not torch.equal(weights["layers.0.weight"], untrained.state_dict()["layers.0.weight"])
    kept = torch.load(folder / "weights.pt", weights_only=True)
    assert not [name for name in kept if "layers" in name]
    (folder / "generator.pt").unlink()
    with pytest.raises(InputError, match="generator.pt: missing"):
        load_source(folder, record, model)
