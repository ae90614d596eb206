import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import pytest
import torch

from ssn_lib.errors import InputError
from ssn_lib.presets import preset
from ssn_lib.runs.record import read_record
from ssn_lib.runs.run import run
from ssn_lib.study.gpu import checks, protocol, use
from ssn_lib.study.gpu.protocol import ProtocolRun, Queue
from ssn_lib.study.systems import group

CATEGORY = "widget"


@pytest.fixture
def planned(mvtec_root, tmp_path, monkeypatch):
    """planned(*presets): tasks of one epoch on small images, without weights."""
    monkeypatch.setattr(protocol, "PUBLISHED_SIZE", (32, 32))

    def make(*presets, epochs=1, **options):
        monkeypatch.setattr(
            protocol, "PROTOCOL", tuple(ProtocolRun(name, CATEGORY) for name in presets)
        )
        return protocol.tasks(
            data_root=mvtec_root,
            weights=None,
            runs_dir=tmp_path / "runs",
            seeds=(42,),
            epochs=epochs,
            **options,
        )

    return make


def test_every_run_that_the_claims_want_is_asked_for_once():
    assert len(set(protocol.PROTOCOL)) == len(protocol.PROTOCOL)
    assert {asked.preset for asked in protocol.PROTOCOL} == {*group("protocol")}
    first = [(asked.preset, asked.category) for asked in protocol.PROTOCOL[:4]]
    assert first == [
        ("scenario_a", "screw"),
        ("scenario_b", "bottle"),
        ("learned_noise_v2_published", "screw"),
        ("scenario_a", "bottle"),
    ]


def test_a_system_of_the_protocol_without_a_place_in_its_order_comes_last():
    after = protocol._after([asked for asked in protocol.PROTOCOL if "ssn" not in asked.preset])
    assert after == [ProtocolRun(name, "ksdd2") for name in ("weak_ssn", "mixed_ssn", "full_ssn")]
    assert protocol._after([ProtocolRun("scenario_a", "screw")])[:2] == [
        ProtocolRun("simplenet", "bottle"),
        ProtocolRun("simplenet", "screw"),
    ]


def test_what_is_recorded_is_not_made_again(planned, tmp_path, monkeypatch):
    """Also where the record is of the same images in other files, and in mixed precision."""
    (made, other), _ = planned("scenario_a", "scenario_b")
    results = tmp_path / "results"
    data = replace(made.config.data, fingerprint="of other files")
    training = replace(made.config.training, precision="mixed")
    config = replace(made.config, data=data, training=training)
    assert protocol.without_recorded([made, other], results) == [made, other]
    images = protocol.parallel.dataset("mvtec_ad", made.data_root, CATEGORY, (32, 32), data.resize)
    monkeypatch.setattr(type(images), "has_fingerprint", lambda *_: True)  # they stand for those
    run(config, images, results, weights=None)
    assert protocol.without_recorded([made, other], results) == [other]
    later = replace(made, config=replace(made.config, seed=43))
    assert protocol.without_recorded([later], results) == [later]
    (results / "spoilt").mkdir()
    (results / "spoilt" / "record.json").write_text("{")
    assert protocol.without_recorded([made, other], results) == [other]


def test_a_decisive_check_is_the_one_that_is_named(tmp_path, monkeypatch):
    results = [
        checks.Result("The step is the processor's", False, "off by 1", decisive=True),
        checks.Result("Mixed precision is finite", False, "it is not"),
    ]
    monkeypatch.setattr(checks, "run_all", lambda *_: results)
    where = torch.device("cpu"), {}, tmp_path, tmp_path / "records.zip", print
    with pytest.raises(InputError, match="The step is the processor's: off by 1; its trainings"):
        use._check(*where)
    del results[0]
    assert use._check(*where) == ["check failed: Mixed precision is finite: it is not"]


def test_the_tasks_are_the_presets_as_published(planned):
    (task,), missing = planned("scenario_b", epochs=None)
    assert not missing
    chosen = preset("scenario_b")
    assert task.config.training == chosen.training
    assert (task.config.model, task.config.data.resize) == (chosen.model, "plain")
    assert task.images == 6


def test_mixed_precision_is_left_out_where_a_preset_cannot(planned):
    tasks, _ = planned("scenario_a", "learned_noise_v1", precision="mixed")
    assert [task.config.training.precision for task in tasks] == ["mixed", "float32"]


def test_images_that_are_not_there_are_named_once(planned, monkeypatch):
    _, missing = planned("scenario_a")
    monkeypatch.setattr(protocol, "PROTOCOL", (ProtocolRun("scenario_a", "gadget"),) * 2)
    tasks, missing = protocol.tasks(
        data_root=None, weights=None, runs_dir=None, seeds=(42, 43), epochs=1
    )
    assert not tasks
    assert len(missing) == 1
    assert "'gadget' not found" in missing[0]
    with pytest.raises(InputError, match="did you mean 'scenario_a'"):
        protocol.tasks(data_root=None, weights=None, runs_dir=None, only=("scenario_aa",))


def test_no_run_begins_that_would_not_end_in_time(planned):
    (long, short), _ = planned("scenario_a", "scenario_b", epochs=100)
    short = replace(short, images=1)
    soon = time.time() + protocol.FINISH_S + 20
    queue = Queue([long, short], deadline=soon, image_s={"scenario_a": 6.4, "scenario_b": 6.4})
    assert queue.next() is short  # 10 s, where the other takes 60
    assert queue.next() is None
    (left,) = queue.left()
    assert left.startswith("scenario_a widget seed 42: not begun, it would take about 75 s")
    queue.seen(short, 0.02)
    queue.image_s["scenario_a"] = 0.02
    assert queue.next() is long  # by what was seen it takes less than was thought
    queue = Queue([long], deadline=time.time() + protocol.FINISH_S + 20)
    queue.seen(short, 0.02)  # seconds of an epoch of one image
    assert queue.next() is long  # an unknown preset is taken to be as fast
    assert Queue([long], image_s={"scenario_a": 1e9}).next() is long  # no limit
    queue = Queue([long], deadline=soon, image_s={"scenario_a": 6.4})
    assert queue.next() is None
    assert queue.next(1 / 4) is long  # alone


def test_a_teachers_training_is_counted(planned):
    (task,), _ = planned("scenario_a", epochs=100)
    supervision = replace(task.config.training.supervision, teacher="cam_max")
    training = replace(task.config.training, supervision=supervision)
    taught = replace(task, config=replace(task.config, training=training))
    queue = Queue([], image_s={"scenario_a": 0.1})
    alone, both = (queue.needed_s(one) - protocol.FINISH_S for one in (task, taught))
    assert both == pytest.approx(2 * alone)
    record = taught.runs_dir / protocol.teacher_of(taught.config).run_id / "record.json"
    record.parent.mkdir(parents=True)
    record.touch()
    assert queue.needed_s(taught) == queue.needed_s(task)


def test_what_wants_a_package_that_is_absent_is_left_out(planned, monkeypatch):
    monkeypatch.setattr(protocol, "find_spec", lambda name: None)
    tasks, missing = planned("cam_traced", "scenario_a")
    assert [task.config.preset for task in tasks] == ["scenario_a"]
    assert missing == ["cam_traced: scikit-image, which its tracing takes, is missing"]


@pytest.mark.parametrize(("free", "crew"), [(6, 1), (15, 1), (24, 2), (140, 3)])
def test_no_more_runs_at_once_than_the_memory_is_for(free, crew):
    assert use._crew(Queue([]), free * 2**30, 1.0) == crew


def test_no_more_runs_at_once_than_the_time_is_for(planned):
    (task,), _ = planned("scenario_a", epochs=100)  # of 6 small images: 9.4 large ones in all
    long = replace(task, images=10_000)
    for seconds, crew in ((6, 1), (10, 2), (11, 3)):
        queue = Queue([long, task], deadline=time.time() + protocol.FINISH_S + seconds)
        assert use._crew(queue, 140 * 2**30, 32 * 10 / 9.375 / 3.3) == crew


def test_runs_are_made_and_packed_and_a_worker_that_dies_costs_its_run_alone(
    planned, tmp_path, monkeypatch
):
    (endless,), _ = planned("scenario_a", epochs=10_000)
    (short,), _ = planned("simplenet")
    workers, told = [], {}

    class Watched(protocol._Worker):
        def __init__(self):
            super().__init__()
            workers.append(self)

    def begun(task):
        if task is endless:
            os.kill(workers[0].process.pid, signal.SIGKILL)

    def finished(task, outcome):
        told[task.config.preset] = protocol.line(task, outcome, 1.0)
        protocol.archive(tmp_path / "runs", tmp_path / "out" / "protocol.zip")

    monkeypatch.setattr(protocol, "_Worker", Watched)
    protocol.make(Queue([endless, short]), begun=begun, finished=finished)
    assert told["scenario_a"].endswith("widget seed 42: its process ended with status -9")
    assert "simplenet widget seed 42: completed, I-AUROC" in told["simplenet"]
    with zipfile.ZipFile(tmp_path / "out" / "protocol.zip") as packed:
        names = packed.namelist()
        packed.extractall(tmp_path / "unpacked")
    assert {name.partition("/")[2] for name in names} >= {"record.json", "history.csv"}
    assert not any(name.endswith(("maps.csv", ".pt")) for name in names)
    assert read_record(tmp_path / "unpacked" / short.config.run_id).status == "completed"


def test_the_time_of_a_step_is_taken(small_networks, monkeypatch):
    monkeypatch.setattr(use, "PUBLISHED_SIZE", (32, 32))
    monkeypatch.setattr(use.bench, "TRAINED_ON", 2)
    assert use._step_s() > 0


@pytest.fixture
def scripted(monkeypatch):
    """scripted(script): workers that train nothing, and tell what it has for each preset."""

    def make(script):
        class Scripted:
            def __init__(self):
                self.task, (self.pipe, theirs) = None, protocol.get_context("spawn").Pipe()
                theirs.close()

            def told(self):
                return script[self.task.config.preset].pop(0)

            def stop(self):
                self.pipe.close()

        monkeypatch.setattr(protocol, "_Worker", Scripted)

    return make


def test_what_proves_to_take_less_is_begun_after_all(planned, scripted, monkeypatch):
    (first, second), _ = planned("scenario_a", "scenario_b", epochs=100)
    ends = protocol.Outcome("scenario_a", CATEGORY, 42, None, "ended")
    script = {"scenario_a": [0.001, None, ends], "scenario_b": [ends]}
    begun = []

    scripted(script)
    images_s = {"scenario_a": 1e-9, "scenario_b": 1e9}
    queue = Queue([first, second], deadline=time.time() + 60, image_s=images_s)
    seen = queue.seen

    def learn(task, epoch_s):
        assert epoch_s == pytest.approx(0.002)  # two at once
        seen(task, epoch_s)
        queue.image_s["scenario_b"] = queue.image_s["scenario_a"]

    monkeypatch.setattr(queue, "seen", learn)
    protocol.make(queue, workers=2, begun=begun.append, finished=lambda *_: None)
    assert begun == [first, second]


def test_the_last_one_is_begun_at_the_speed_that_it_has_alone(planned, scripted):
    (task,), _ = planned("scenario_a", epochs=100)
    queue = Queue([task], deadline=time.time() + protocol.FINISH_S + 6, image_s={"scenario_a": 1.0})
    assert not queue.fits(task)  # 9 s beside another one
    ends = protocol.Outcome("scenario_a", CATEGORY, 42, None, "ended")
    begun = []

    scripted({"scenario_a": [ends]})
    made_alone = replace(queue, tasks=[task])
    protocol.make(made_alone, workers=1, begun=begun.append, finished=print)
    assert not begun  # there it takes what was seen
    protocol.make(queue, workers=2, begun=begun.append, finished=lambda *_: None)
    assert begun == [task]


def test_a_process_that_lost_its_gpu_is_replaced():
    worker = protocol._Worker()
    first = worker.process
    worker.pipe, theirs = protocol.get_context("spawn").Pipe()
    outcome = protocol.Outcome("scenario_a", "screw", 42, None, "AcceleratorError: CUDA error")
    theirs.send(protocol.Broken(outcome))
    first.terminate()  # as it ends by itself
    assert worker.told() == outcome
    assert worker.process is not first
    assert worker.process.is_alive()
    worker.stop()


def test_the_checks_hold_on_a_cpu_in_a_gpus_place(small_networks):
    told = []
    results = checks.run_all(torch.device("cpu"), told.append)
    assert all(result.passed for result in results), told
    assert len(told) == len(checks.CHECKS)


def test_a_check_that_breaks_counts_as_failed(monkeypatch):
    def breaks(device):
        """What breaks."""
        raise RuntimeError("out of luck\nand more")

    monkeypatch.setattr(checks, "CHECKS", (breaks,))
    (result,) = checks.run_all(torch.device("cpu"), lambda _: None)
    assert result == checks.Result("What breaks", False, "RuntimeError: out of luck")


def test_the_command_says_what_it_found_and_goes_on_where_it_was(
    planned, mvtec_root, tmp_path, monkeypatch, capsys
):
    planned("scenario_a")
    weights = tmp_path / "resnet18_layers123.pth"
    weights.touch()
    monkeypatch.setattr(use, "find_weights", lambda *_: weights)
    of_protocol = protocol.tasks
    monkeypatch.setattr(protocol, "tasks", lambda **asked: of_protocol(**asked | {"weights": None}))
    asked = dict(minutes=None, data_root=mvtec_root, weights_dir="imagenet", seeds=(42,), epochs=1)
    asked |= {"runs_dir": tmp_path / "runs", "out": tmp_path / "out"}
    assert use.use(**asked) == []
    said = capsys.readouterr().out
    for fact in ("device: CPU", "versions: python", "weights: resnet18", "images: widget"):
        assert fact in said
    assert "1 of 1 runs are finished; the new records are in" in said
    with pytest.raises(InputError, match="is a file"):
        use.use(**asked | {"runs_dir": weights})
    capsys.readouterr()
    monkeypatch.setattr(protocol, "_Worker", lambda: pytest.fail("trained again"))
    assert use.use(**asked) == []
    assert "1 of 1 runs are finished; 1 at once" in capsys.readouterr().out


def test_a_machine_with_pytorch_alone_will_do():
    """What the study's other commands want is not imported."""
    absent = ("torchvision", "skimage", "seaborn", "papermill", "jupytext", "markdown_it", "kaggle")
    absent += ("onnx", "onnxruntime", "distributed", "pytest", "IPython", "ipykernel")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent})); "
        "from ssn_lib import SuperSimpleNet, preset; from ssn_lib.study.gpu import use; "
        "SuperSimpleNet(preset('scenario_a').model, weights=None)"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
