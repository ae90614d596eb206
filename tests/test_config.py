import dataclasses
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import reduce

import pytest

from ssn_lib.checks import RULES, bounds, check, check_model, check_training
from ssn_lib.config import DataConfig, ModelConfig, RunConfig, TrainingConfig, to_dict
from ssn_lib.errors import InputError
from ssn_lib.overrides import changes, from_dict, override
from ssn_lib.presets import PRESETS, Preset, preset


def make(name="scenario_a", **changes):
    chosen = PRESETS[name]
    data = DataConfig("mvtec_ad", "screw", (256, 256), "0123456789abcdef")
    return replace(RunConfig(name, data, chosen.model, chosen.training), **changes)


def refusal(call):
    with pytest.raises(InputError) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("assignment", "read", "value"),
    [
        ("seed=7", lambda c: c.seed, 7),
        ("model.backbone=resnet34", lambda c: c.model.backbone, "resnet34"),
        ("model.layers=1,2,3", lambda c: c.model.layers, (1, 2, 3)),
        ("model.layers=3", lambda c: c.model.layers, (3,)),
        ("model.align_corners=false", lambda c: c.model.align_corners, False),
        ("model.stop_map_gradient=True", lambda c: c.model.stop_map_gradient, True),
        ("model.score=map_max", lambda c: c.model.score, "map_max"),
        ("data.image_size=640,232", lambda c: c.data.image_size, (640, 232)),
        ("training.noise.std=0.12", lambda c: c.training.noise.std, 0.12),
        ("training.milestones = 0.5,0.75", lambda c: c.training.milestones, (0.5, 0.75)),
    ],
)
def test_an_override_sets_what_it_names_and_nothing_else(assignment, read, value):
    config = override(make(), [assignment])
    assert read(config) == value
    assert type(read(config)) is type(value)
    before, after = (leaves(to_dict(c)) for c in (make(), config))
    assert {name.rsplit(".", 1)[-1] for name in before if before[name] != after[name]} <= {
        assignment.partition("=")[0].strip().rsplit(".", 1)[-1]
    }


def test_what_a_run_has_changed_makes_it_again():
    asked = ["model.layers=1,2,3", "training.supervision.masks=none", "training.milestones=0.5,0.7"]
    config = override(make("mixed_ssn"), asked)
    assert override(make("mixed_ssn"), changes(config)) == config


def test_the_last_override_of_a_name_holds():
    assert override(make(), ["seed=1", "training.epochs=5", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("training.epoch=3", ["training.epoch", "did you mean 'epochs'?"]),
        ("trainig.epochs=3", ["did you mean 'training'?"]),
        ("training.noise.sdt=1", ["did you mean 'std'?"]),
        ("quite.unlike=1", ["'quite'", "known: data, model"]),
        ("epochs=3", ["did you mean training.epochs?"]),
        ("noise.std=0.1", ["did you mean training.noise.std?"]),
        ("training.epochs", ["expected key=value"]),
        ("seed.value=3", ["'seed' has no parts"]),
        ("training.noise=3", ["name one of its parts", "std_unit"]),
        ("training.epochs=many", ["training.epochs='many'", "expected int"]),
        ("training.epochs=2.5", ["expected int"]),
        ("training.noise.std=", ["expected float"]),
        ("model.align_corners=yes", ["expected true or false"]),
        ("model.adaptor=quadratic", ["expected one of linear, nonlinear"]),
        ("model.layers=2,x", ["expected int"]),
        ("data.image_size=256", ["expected 2 values"]),
        ("data.image_size=1,2,3", ["expected 2 values"]),
    ],
)
def test_a_wrong_override_is_refused_with_a_hint(assignment, parts):
    message = refusal(lambda: override(make(), [assignment]))
    for part in parts:
        assert part in message


def leaves(values, path=""):
    """A nested dict as {dotted name: value}."""
    flat = {}
    for name, value in values.items():
        at = f"{path}.{name}" if path else name
        flat |= leaves(value, at) if isinstance(value, dict) else {at: value}
    return flat


def test_a_name_of_any_length_makes_a_folders_name():
    data = DataConfig("folder", "ä" * 300)
    config = RunConfig("scenario_a", data, ModelConfig(), TrainingConfig())
    assert len(config.run_id.encode()) < 255
    other = replace(config, data=replace(data, category="ä" * 301))
    assert config.run_id != other.run_id
    assert replace(config, data=replace(data, category="\udcdf")).run_id


@pytest.mark.parametrize("name", PRESETS)
def test_to_dict_and_back(name):
    config = make(name)
    assert from_dict(RunConfig, to_dict(config)) == config
    assert from_dict(RunConfig, to_dict(config)).run_id == config.run_id


def test_from_dict_refuses_what_it_does_not_know():
    values = to_dict(make())
    values["training"]["epoch"] = 3
    assert "did you mean 'epochs'?" in refusal(lambda: from_dict(RunConfig, values))


@pytest.mark.parametrize("value", [3.7, True, None, "3.7"])
def test_from_dict_cuts_no_number_off(value):
    values = to_dict(make())
    values["training"]["epochs"] = value
    assert f"epochs={value!r}: expected int" in refusal(lambda: from_dict(RunConfig, values))
    values["training"]["epochs"] = 3.0  # as JSON may write it
    assert from_dict(RunConfig, values).training.epochs == 3


OTHER = {  # another value for each field whose type alone does not give one
    "data.full_scale": 4095,
    "model.layers": (1, 2),
    "model.adaptor": "nonlinear",
    "model.score": "adapted",
    "model.initialisation": "pytorch",
    "model.local_width": 8,
    "training.good_images": 8,
    "training.schedule": "cycle",
    "training.milestones": (0.5,),
    "training.clip_norm": 1.0,
    "training.supervision.masks": 3,
    "training.supervision.teacher": "gap_cam",
    "training.supervision.pseudo_masks": "traced",
    "training.supervision.fold": 1,
    "training.select_epoch": "validation",
    "training.precision": "mixed",
    "training.noise.std_unit": "feature",
    "training.noise.mask": "half",
    "training.noise.source": "generator",
    "training.noise.generator.update": "simultaneous",
    "training.noise.ascent.shell": (1.0, 3.0),
    "data.image_size": (256, 264),
    "weights": "untrained",
}


def fields(config, path=""):
    for field in dataclasses.fields(config):
        value, at = getattr(config, field.name), f"{path}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from fields(value, f"{at}.")
        else:
            yield at, value


def changed(config, name, value):
    first, _, rest = name.partition(".")
    if rest:
        value = changed(getattr(config, first), rest, value)
    return replace(config, **{first: value})


def test_the_run_id_changes_with_every_field():
    config = make()
    ids = {"": config.run_id}
    for name, value in fields(config):
        if name in OTHER:
            other = OTHER[name]
        elif isinstance(value, bool):
            other = not value
        else:
            other = value + ("x" if isinstance(value, str) else 1)
        assert other != value
        ids[name] = changed(config, name, other).run_id
    assert len(ids) > 25
    assert len(set(ids.values())) == len(ids)


def test_a_field_added_with_a_default_leaves_the_run_id_alone():
    @dataclass(frozen=True)
    class Extended(TrainingConfig):
        added_later: str = "as before"

    config = make()
    training = vars(config.training)
    same = replace(config, training=Extended(**training))
    other = replace(config, training=Extended(**training, added_later="new"))
    assert same.run_id == config.run_id != other.run_id


def test_the_run_id_names_its_run_and_is_a_folder_name():
    assert make(seed=3).run_id.startswith("scenario_a-mvtec_ad-screw-s3-")
    assert "/" not in make(data=DataConfig("folder", "a/b")).run_id


def test_the_run_id_is_the_same_in_another_process():
    code = (
        "from ssn_lib.config import DataConfig, RunConfig\n"
        "from ssn_lib.presets import preset\n"
        "p = preset('scenario_b')\n"
        "d = DataConfig('mvtec_ad', 'screw', (256, 256), '0123456789abcdef')\n"
        "print(RunConfig('scenario_b', d, p.model, p.training).run_id)"
    )
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == make("scenario_b").run_id


def test_presets():
    for name, chosen in PRESETS.items():
        assert isinstance(chosen, Preset)
        check(make(name))
    assert len({chosen.title for chosen in PRESETS.values()}) == len(PRESETS)
    assert len({(p.model, p.training) for p in PRESETS.values()}) == len(PRESETS)
    assert preset("scenario_a").model == ModelConfig()
    assert "did you mean 'scenario_a'?" in refusal(lambda: preset("scenaro_a"))


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["data.image_size=100,256"], "image size 100×256"),
        (["data.image_size=256,8"], "at least 16"),
        (["training.epochs=0"], "training.epochs=0 is out of range"),
        (["training.milestones=0.9,0.8"], "training.milestones=(0.9, 0.8) is out of range"),
        (["training.milestones=0.5,1.2"], "training.milestones"),
        (
            ["training.schedule=cycle", "training.milestones=0.5"],
            "training.milestones=(0.5,) with schedule=cycle is out of range: a cycle has no",
        ),
        (
            ["training.schedule=cycle", "training.gamma=0.5"],
            "training.gamma=0.5 with schedule=cycle is out of range: a cycle has no steps",
        ),
        (["training.good_images=0"], "training.good_images=0 is out of range"),
        (["training.gamma=0"], "training.gamma"),
        (["training.head_weight_decay=-1"], "training.head_weight_decay"),
        (["training.adaptor_weight_decay=-1"], "training.adaptor_weight_decay"),
        (["training.batch_size=0"], "training.batch_size=0"),
        (["training.adaptor_lr=0"], "training.adaptor_lr=0.0"),
        (["training.head_lr=nan"], "training.head_lr=nan"),
        (["training.validation_fraction=1"], "training.validation_fraction=1.0"),
        (["training.noise.std=-1"], "training.noise.std=-1.0"),
        (["training.noise.perlin_threshold=nan"], "perlin_threshold=nan is out of range"),
        (["training.gamma=inf"], "training.gamma=inf"),
        (
            ["training.noise.source=generator", "training.noise.std_unit=feature"],
            "a generator has no σ",
        ),
        (
            ["training.noise.source=generator", "training.precision=mixed"],
            "training.precision=mixed is out of range: must be float32 where",
        ),
        (["training.noise.generator.beta=-0.1"], "beta=-0.1 is out of range: must be above 0"),
        (["training.noise.generator.beta=0"], "beta=0.0 is out of range"),
        (["training.noise.generator.beta=nan"], "beta=nan is out of range"),
        (["training.noise.generator.z_channels=0"], "z_channels=0 is out of range: must be at"),
        (["training.noise.generator.period=1"], "period=1 is out of range: must be at least 2"),
        (["training.noise.generator.lr=0"], "generator.lr=0.0"),
        (["training.noise.generator.magnitude_weight=-1"], "magnitude_weight=-1.0"),
        (["training.noise.ascent.steps=-1"], "ascent.steps=-1"),
        (["training.noise.ascent.step_size=0"], "ascent.step_size=0.0"),
        (["training.noise.ascent.shell=2,1"], "ascent.shell=(2.0, 1.0)"),
        (["model.upscale=0"], "model.upscale=0"),
        (["model.layers=3,2"], "model.layers=(3, 2)"),
        (["model.layers=2,5"], "model.layers=(2, 5)"),
        (["seed=-1"], "seed=-1"),
        (["training.supervision.fold=0"], "fold=0 is out of range: needs"),
        (["training.supervision.masks=4"], "masks=4 is out of range: needs"),
        (["training.supervision.teacher=gap_cam"], "teacher=gap_cam is out of range: needs"),
        (
            [
                "training.supervision.labels=true",
                "training.supervision.teacher=gap_cam",
                "training.supervision.masks=16",
            ],
            "masks=16 is out of range: must be 0",
        ),
        (["training.focal=false"], "the score is learned by the focal loss alone"),
        (["training.select_epoch=validation"], "needs training.validation_fraction above 0"),
        (["training.noise.source=none"], "source=none with model.score=plain is out of range"),
        (["model.score=reconstruction"], "source=gaussian with model.score=reconstruction"),
        (
            ["model.score=reconstruction", "training.noise.source=none"],
            "model.upscale=2 with model.score=reconstruction is out of range: the decoder",
        ),
        (
            [
                "model.score=reconstruction",
                "training.noise.source=none",
                "training.supervision.labels=true",
            ],
            "a decoder learns from sound images alone",
        ),
        (["model.local_width=64"], "local_width=64 with model.score=plain is out of range"),
        (["model.decoder_width=4"], "is out of range: must be at least 8"),
        (["training.clip_norm=0"], "must be above 0, finite; none clips nothing"),
        (["training.noise.std=inf"], "must be 0 or more, finite"),
        (["training.noise.perlin_threshold=inf"], "must be finite"),
        (
            ["training.supervision.labels=true", "training.supervision.fold=3"],
            "fold=3 is out of range: must be from 0 to 2; none leaves nothing out",
        ),
        (
            ["training.supervision.labels=true", "training.supervision.masks=1.5"],
            "or a share such as 0.1; none takes all",
        ),
        (["training.supervision.dilation=4"], "must be an odd number of pixels"),
    ],
)
def test_check_names_the_value_that_makes_no_sense(assignments, message):
    assert message in refusal(lambda: check(override(make(), assignments)))


@pytest.mark.parametrize(
    "assignments",
    [
        ["data.image_size=16,640"],
        ["training.noise.std=0"],
        ["training.select_epoch=validation", "training.validation_fraction=0.1"],
        ["model.layers=1,2,3,4"],
        ["training.noise.generator.beta=none", "training.noise.generator.z_channels=none"],
    ],
)
def test_check_passes_what_makes_sense(assignments):
    config = override(make(), assignments)
    assert check(config) is config


# With labels, and a generator beside the detector, no rule asks more of a number than its bound.
FREE = override(make("mixed_ssn"), ["training.noise.generator.update=simultaneous"])
BOUNDS = {name: bound for name, _, bound in bounds(FREE)}
NUMBERS = {name: bound for name, bound in BOUNDS.items() if bound.holds is None}


def free(name):
    """A configuration in which no rule asks more of that field."""
    return make("evolved") if name == "model.local_width" else FREE


def test_every_number_has_a_bound():
    assert {name for name, value in fields(FREE) if type(value) in (int, float)} <= BOUNDS.keys()


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_is_taken_up_to_its_bound_and_not_beyond(name):
    bound = NUMBERS[name]
    *parts, last = name.split(".")
    kind = type(reduce(getattr, parts, free(name)))
    whole = "float" not in next(f.type for f in dataclasses.fields(kind) if f.name == last)

    def beside(value, direction):
        if whole and math.isfinite(value):
            return value + (1 if direction > 0 else -1)
        return math.nextafter(value, direction)

    ends = [  # what is refused, and the nearest number that is taken
        (beside(bound.at_least, -math.inf), bound.at_least),
        (bound.above, beside(bound.above, math.inf)),
        (bound.below, beside(bound.below, -math.inf)),
    ]
    ends = [(refused, taken) for refused, taken in ends if math.isfinite(refused)]
    assert ends or name == "training.noise.perlin_threshold"
    for _, taken in ends:
        check(changed(free(name), name, taken))
    for value in [refused for refused, _ in ends]:
        message = refusal(lambda value=value: check(changed(free(name), name, value)))
        assert message == f"{name}={value} is out of range: {bound}"
    for value in (math.nan, math.inf, -math.inf):
        message = refusal(lambda value=value: check(changed(free(name), name, value)))
        assert message.startswith(f"{name}={value}")


@pytest.mark.parametrize(("name", "bound"), BOUNDS.items())
def test_none_passes_where_the_bound_says_what_it_does(name, bound):
    def without():
        return check(override(free(name), [f"{name}=none"]))

    assert bound.takes(None) == bool(bound.none)
    if bound.none:
        without()
        assert f"; none {bound.none}" in str(bound)
    else:
        assert "='none': expected" in refusal(without)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("model.score", "map", "one of plain, adapted, map_max, cam, reconstruction"),
        ("model.layers", 2, "a tuple of int"),
        ("model.layers", (2, "3"), "a tuple of int"),
        ("model.align_corners", 1, "bool"),
        ("model.upscale", True, "int"),
        ("model.local_width", 8.0, "int or None"),
        ("training.epochs", 1.5, "int"),
        ("training.gamma", True, "float"),
        ("training.head_lr", "1e-4", "float"),
        ("training.noise", None, "NoiseConfig"),
        ("training.noise.ascent.shell", (1.0,), "a tuple of 2 numbers"),
        ("training.supervision.masks", "all", "int or float or None"),
        ("training.precision", ["mixed"], "one of float32, mixed"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, expected):
    message = refusal(lambda: check(changed(FREE, name, value)))
    assert message == f"{name}={value!r}: expected {expected}"


def test_a_whole_number_counts_as_a_float_and_a_list_as_a_tuple():
    check(changed(changed(FREE, "training.noise.std", 1), "model.layers", [2, 3]))


@pytest.mark.parametrize("name", PRESETS)
def test_the_settings_of_presets_make_sense_without_a_run(name):
    config = make(name)
    check_model(config.model)
    if config.training.supervision.teacher is None:
        check_training(config.model, config.training)


def test_a_network_is_checked_however_it_is_trained():
    assert refusal(lambda: check_model(ModelConfig(upscale=0))).startswith("model.upscale=0 is out")
    message = refusal(lambda: check_model(ModelConfig(local_width=8)))
    assert "local_width=8 with model.score=plain is out of range" in message


def test_a_training_may_have_the_masks_that_its_run_made_of_a_teachers_maps():
    config = make("cam_traced")
    taught = replace(config.training.supervision, masks=None)
    check_training(config.model, replace(config.training, supervision=taught))
    assert "must be 0 where a teacher" in refusal(
        lambda: check(replace(config, training=replace(config.training, supervision=taught)))
    )


def test_a_training_that_waits_for_a_teachers_maps_is_refused():
    config = make("cam_traced")
    assert "teacher=cam_max with masks=0: `fit` makes no teacher's maps" in refusal(
        lambda: check_training(config.model, config.training)
    )


def test_a_list_makes_the_run_of_its_tuple():
    listed = changed(FREE, "model.layers", [2, 3])
    assert listed.run_id == FREE.run_id
    listed, taken = (changed(FREE, "model.layers", kind((1, 2))) for kind in (list, tuple))
    assert listed.run_id == taken.run_id != FREE.run_id


def test_a_training_is_checked_beside_its_network():
    for training, message in (
        (TrainingConfig(head_lr=-1.0), "training.head_lr=-1.0 is out of range: must be above 0"),
        (TrainingConfig(focal=False), "the score is learned by the focal loss alone"),
    ):
        assert message in refusal(lambda training=training: check_training(ModelConfig(), training))


def test_the_messages_of_rules_name_fields_that_exist():
    for rule in RULES:
        assert rule.message.format(**vars(FREE)).startswith(("model.", "training."))


def test_a_training_of_few_images_sees_enough_of_them():
    evolved = preset("evolved")
    assert [evolved.epochs(images) for images in (300, 167, 100, 45, 7, 0)] == [
        *(30, 30, 50, 112, 250, 250)
    ]
    assert preset("scenario_a").epochs(7) == 300
