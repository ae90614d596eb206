"""The report from the committed records: whole, up to date, and not made of spoilt records."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd
import pytest

from ssn_lib.errors import InputError
from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.exports import Export
from ssn_lib.storage import REPOSITORY
from ssn_lib.study import notebooks as notebook_runs
from ssn_lib.study import publishing
from ssn_lib.study.costs.records import Bench
from ssn_lib.study.figures.drawing import NotDrawn, Picture
from ssn_lib.study.gpu import protocol
from ssn_lib.study.lessons import Lessons
from ssn_lib.study.notebooks import REPORT
from ssn_lib.study.profiles import PROFILES
from ssn_lib.study.publishing import UNPUBLISHED
from ssn_lib.study.readings.reading import Reading
from ssn_lib.study.records import has_usual_size
from ssn_lib.study.report import Report
from ssn_lib.study.runner import Study
from ssn_lib.study.slides import ITEMS, beside
from ssn_lib.study.tables.table import EMPTY, Table

RESULTS, FIGURES = REPOSITORY / "results", REPOSITORY / "figures"
NOTEBOOK = REPOSITORY / "notebooks" / f"{REPORT}.py"


@pytest.fixture
def committed(tmp_path):
    return Report(Study("quick", runs_dir=tmp_path, records_dir=RESULTS))


def shown_in(notebook):
    return re.findall(r'^report\.save\("(\w+)"\)$', notebook.read_text(), re.MULTILINE)


def test_every_table_and_figure_is_shown_in_a_notebook_and_once_in_it():
    notebooks = {path: shown_in(path) for path in sorted(NOTEBOOK.parent.glob("0*.py"))}
    for path, names in notebooks.items():
        assert len(set(names)) == len(names), path
    own = [one for one in (Report, Lessons) for one in vars(one) if not one.startswith("_")]
    known = {*own} - {"save"}
    assert {name for names in notebooks.values() for name in names} == known
    assert {*UNPUBLISHED} <= {*notebooks[NOTEBOOK]}


@pytest.mark.parametrize("item", [item for item in ITEMS if item.columns], ids=lambda i: i.title)
def test_the_slides_columns_are_there(item, committed):
    """A column of another name would leave the slide's figures out in silence."""
    published, here = beside(getattr(committed, item.shown[0])(), item.columns)
    assert published
    assert len(published) == len(here)


def test_no_two_tables_of_the_report_have_one_title():
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    titles = re.findall(r"^\*\*(.+)\*\*$", page, re.MULTILINE)
    assert len(titles) > 30
    assert len(set(titles)) == len(titles)


def test_what_is_committed_is_what_the_records_say(committed):
    """`make report` after the records or the code have changed."""
    tables, not_drawn = set(), set()
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    for name in shown_in(NOTEBOOK):
        made = None if name in UNPUBLISHED else getattr(committed, name)()
        if isinstance(made, Table | Reading):
            text = (FIGURES / f"{name}.md").read_text(encoding="utf-8")
            assert made.to_markdown() == text, name
            if isinstance(made, Table):
                assert made.to_csv() == (FIGURES / f"{name}.csv").read_text(encoding="utf-8"), name
            assert text.strip() in page, name
            tables.add(name)
        elif isinstance(made, NotDrawn):
            not_drawn.add(name)
    figures = {path.stem for path in FIGURES.glob("*.png")}
    assert tables == {path.stem for path in FIGURES.glob("*.md")}
    assert figures | tables | not_drawn | {*UNPUBLISHED} == set(shown_in(NOTEBOOK))


@pytest.fixture
def spoilt(tmp_path):
    """spoilt(change): a folder with one committed record, changed, and a sound one."""
    folders = sorted(RESULTS.glob("scenario_a-mvtec_ad-bottle*"))

    def make(change):
        for folder in folders:
            shutil.copytree(folder, tmp_path / "records" / folder.name)
        path = tmp_path / "records" / folders[0].name / "record.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        return Report(Study("quick", runs_dir=tmp_path / "runs", records_dir=tmp_path / "records"))

    return make


def rehashed(content):
    from ssn_lib.runs.record import _content_hash

    del content["metrics"]["AUPRO"], content["content_hash"]
    content["content_hash"] = _content_hash(content)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content["metrics"].update(AUPRO=99.9), "changed after it was written"),
        (lambda content: content.update(schema=0), "schema 0, this version reads"),
        (rehashed, "no AUPRO; run it again"),
    ],
)
def test_a_spoilt_record_is_reported_not_drawn(change, said, spoilt, capsys):
    made = spoilt(change)
    assert len(made.records) == len(list(RESULTS.glob("scenario_a-mvtec_ad-bottle*"))) - 1
    assert said in made.left_out().to_markdown()
    assert said in capsys.readouterr().err


def test_without_any_record_everything_says_so(tmp_path):
    made = Report(Study("quick", runs_dir=tmp_path))
    for name in shown_in(NOTEBOOK):
        thing = made.save(name)
        assert not isinstance(thing, Table) or thing.notes or name in ("left_out", "not_drawn")
        assert isinstance(thing, Table | Picture | Reading) or name in made.study.not_drawn
    frame = made.ledger().frame
    by_published_figures = {"v100-latency", "baseline-equal", "comparison-rows"}
    assert {*frame[frame["verdict"] != "not measurable here"]["id"]} == by_published_figures
    for why in frame[frame["verdict"] == "not measurable here"]["why"]:
        assert "`" in why  # a command that makes what is missing


@pytest.fixture
def written(tmp_path):
    """written(records): the report of these and of those written before."""

    def write(*records):
        for one in records:
            (tmp_path / one.run_id).mkdir()
            (tmp_path / one.run_id / "record.json").write_text(json.dumps(one.to_json()))
        return Report(Study("quick", runs_dir=tmp_path / "runs", records_dir=tmp_path))

    return write


def claim(made, identity):
    return made.ledger().frame.set_index("id").loc[identity]


def test_a_longer_training_takes_the_place_of_a_short_one_in_the_ledger(record, written):
    def kept(made):
        return [*claim(made, "bottle-kept")[["verdict", "measured here"]]]

    short = record(batch=8, **{"I-AUROC": 60.0}), record("scenario_b", batch=8)
    assert kept(written(*short))[0] == "not measurable here"
    made = written(record(epochs=80, batch=8, **{"I-AUROC": 80.0}))  # eighty are not three hundred
    assert kept(made) == ["not measurable here", "bottle, I-AUROC 80.0, AUPRO 40.0"]
    assert (
        made.backbone_swap().frame["here, Scenario A"][0] == "60.0"
    )  # the profile's own, as before
    assert made.backbone_swap_full().frame["here, Scenario A"][0] == EMPTY
    made = written(record(epochs=300, batch=32, **{"I-AUROC": 70.0}))  # as published
    assert kept(made) == ["not reproduced", "bottle, I-AUROC 70.0, AUPRO 40.0"]
    table = made.backbone_swap_full()
    assert [table.frame[f"here, {system}"][0] for system in ("Scenario A", "Scenario B")] == [
        "70.0",
        EMPTY,
    ]
    assert "300 epochs in batches of 32" in table.notes[0]


def on_strips(made):
    data = replace(made.config.data, image_size=PROFILES["quick"].strip_size)
    config = replace(made.config, data=data)
    return replace(made, config=config, run_id=config.run_id)


def test_a_second_run_of_a_seed_is_no_other_seed(record, written):
    """Of other files of the same images, or in another precision."""
    first = record(batch=8, **{"I-AUROC": 60.0})
    files = replace(first.config, data=replace(first.config.data, fingerprint="of other files"))
    again = replace(first, config=files, run_id=files.run_id, metrics={**first.metrics})
    made = written(first, again, record(batch=8, seed=43, **{"I-AUROC": 62.0}))
    assert made.backbone_swap().frame["here, Scenario A"][0] == "61.0 ± 1.4 (n=2)"
    assert "another run of the same configuration and seed" in made.left_out().to_markdown()


def test_a_second_run_of_a_seed_counts_once_among_longer_trainings_too(record, written):
    first = on_strips(record("gap_cam", "ksdd2", epochs=20, batch=8, **{"I-AUROC": 60.0}))
    files = replace(first.config, data=replace(first.config.data, fingerprint="of other files"))
    again = replace(first, config=files, run_id=files.run_id)
    made = written(first, again, on_strips(record("gap_cam", "ksdd2", batch=8)))
    assert list(made.by_epochs().frame["I-AUROC"]) == ["50.0", "60.0"]


def test_what_a_wider_report_saved_is_removed_by_a_narrower_one(record, written, tmp_path):
    written(record("gap_cam", "ksdd2", batch=8))
    saved = tmp_path / "runs" / "report" / "tables" / "methods.md"
    where = {"runs_dir": tmp_path / "runs", "records_dir": tmp_path}
    Report(Study("quick", **where)).save("methods")
    assert saved.exists()
    Report(Study("quick", category="bottle", **where)).save("methods")
    assert not saved.exists()


def test_one_run_on_ksdd2_does_not_hide_what_was_run_on_other_strips(record, written):
    other = "kolektor_sdd1_in_ksdd2_layout"
    names = ("gap_cam", "full_ssn", "cam_max")
    made = written(
        *(on_strips(record(name, other, epochs=10, batch=8)) for name in names),
        on_strips(record("gap_cam", "ksdd2", epochs=10, batch=8)),
    )
    assert made.strips == other
    said = "KSDD2 (runs: 1): tables and figures of strips show KolektorSDD"
    assert said in made.left_out().to_markdown()
    made = written(on_strips(record("full_ssn", "ksdd2", epochs=10, batch=8)))
    assert made.strips == "ksdd2"  # more than half as many: KSDD2's come first


def test_strips_of_another_size_are_not_averaged_with_the_usual(record):
    usual = on_strips(record("simplenet", "kolektor_sdd1_in_ksdd2_layout"))
    large = replace(
        usual,
        config=replace(usual.config, data=replace(usual.config.data, image_size=(1280, 464))),
    )
    assert has_usual_size(usual)
    assert not has_usual_size(large)
    plate = record("evolved", "screw")
    assert not has_usual_size(plate)  # 256×256; evolved takes 448×448


def test_ksdd2_decides_itself_and_other_strips_stand_elsewhere(record, written):
    other = "kolektor_sdd1_in_ksdd2_layout"
    made = written(
        on_strips(record("gap_cam", other, epochs=10, batch=8, **{"I-AUROC": 99.0})),
        on_strips(record("gap_cam", other, epochs=300, batch=8, **{"I-AUROC": 80.0})),
    )
    row = claim(made, "labels-detect")
    assert row["verdict"] == "not measurable here"
    # Too low, but of a smaller network than the published one.
    assert row["elsewhere"].startswith("not decided on KolektorSDD: I-AUROC 80.0")
    assert "not decided on KolektorSDD" in made.verdicts().to_markdown()
    assert "no verdict, and is not counted" in made.verdicts().to_markdown()
    made = written(on_strips(record("gap_cam", "ksdd2", epochs=300, batch=8, **{"I-AUROC": 98.0})))
    row = claim(made, "labels-detect")
    assert (row["verdict"], row["elsewhere"]) == ("reproduced", EMPTY)


FOLD_CHANGES = [f"training.supervision.fold={fold}" for fold in range(3)]


@pytest.fixture
def of(record, tmp_path):
    """of(epochs, folds, seed): writes GAP + CAM's records and scores, of itself and its folds."""
    scores = pd.DataFrame({"score": [0.0, 0.4, 0.6, 1.0], "label": [0, 0, 1, 1]})

    def write(epochs, folds, seed=42):
        kinds = [(), *((fold,) for fold in folds)]
        records = [
            on_strips(record("gap_cam", "ksdd2", seed, epochs, batch=8, changes=changes))
            for changes in kinds
        ]
        for one in records:
            (tmp_path / one.run_id).mkdir(exist_ok=True)
            for name in ("scores.csv", "held_out.csv"):
                scores.to_csv(tmp_path / one.run_id / name, index=False)
            (tmp_path / one.run_id / "record.json").write_text(json.dumps(one.to_json()))

    return write


def test_folds_of_two_seeds_are_no_cross_validation(of, written):
    """Each seed divides the images in another way: some would be counted twice, others never."""
    of(10, FOLD_CHANGES[:2], seed=42)
    of(10, FOLD_CHANGES[2:], seed=43)
    assert "cross-validated" not in written().operating_points().to_markdown()
    of(10, FOLD_CHANGES[2:], seed=42)
    assert "cross-validated" in written().operating_points().to_markdown()


def test_thresholds_go_by_the_longest_training_that_has_all_its_folds(of, record, written):
    """The fields of a threshold are of one run; a longer training without folds has none."""
    folds = FOLD_CHANGES
    of(10, folds)
    assert "10 of 300 epochs" in claim(written(), "youden")["evidence"]
    of(100, folds[:2])
    assert "10 of 300 epochs" in claim(written(), "youden")["evidence"]
    of(300, folds)
    other = "kolektor_sdd1_in_ksdd2_layout"
    names = [name for name in PRESETS if preset(name).training.supervision.labels]
    made = written(*(on_strips(record(name, other, batch=8)) for name in names))
    assert made.strips == other  # more systems were run there; the claim is of KSDD2
    row = claim(made, "youden")
    assert "300 epochs" in row["evidence"]
    assert "TPR 100.0" in row["measured here"]


@pytest.fixture
def repository(tmp_path, monkeypatch, demo_base):
    (tmp_path / "data").symlink_to(demo_base)
    monkeypatch.chdir(tmp_path)
    for module in (publishing, notebook_runs):
        monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "of_old.png").write_bytes(b"")
    shutil.copy(NOTEBOOK.with_suffix(".ipynb"), tmp_path / "notebooks")
    return tmp_path


def test_no_records_is_one_line(repository):
    with pytest.raises(InputError, match="results: no records to report on"):
        publishing.publish(runs_dir=repository / "runs")


@pytest.mark.filterwarnings("default")
def test_publishing_rewrites_figures_results_and_page(repository):
    shutil.copytree(RESULTS, repository / "results")
    (repository / "results" / "spoilt").mkdir()
    (repository / "results" / "spoilt" / "record.json").write_text("{")
    written = publishing.publish(runs_dir=repository / "runs")
    assert all(path.exists() for path in written)
    assert {path.name for path in (repository / "figures").iterdir()} == {
        path.name for path in FIGURES.iterdir()
    }
    readme = (repository / "results" / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\((\.\./figures/\w+\.png)\)", readme)
    assert len(linked) == len(list((repository / "figures").glob("*.png")))
    assert all((repository / "results" / path).exists() for path in linked)
    assert "](#modification-1-a-smaller-backbone)" in readme
    page = (repository / "runs/report/report.html").read_text(encoding="utf-8")
    assert "In five minutes" in page
    assert page.count("<table>") >= sum(
        "| ---" in path.read_text() for path in FIGURES.glob("*.md")
    )
    assert page.count(' src="data:image/png;base64,') == len(
        list((repository / "runs/report/figures").iterdir())
    )
    assert "report.save" not in page


def test_what_is_not_public_stays_with_the_runs(record, tmp_path, capsys):
    public = record(epochs=300)
    own = replace(public.config.data, dataset="folder", category="parts")
    configs = (
        public.config,
        replace(public.config, data=own),
        replace(public.config, weights="untrained"),
    )
    for config in configs:
        made = replace(public, config=config, run_id=config.run_id)
        folder = tmp_path / "runs" / made.run_id
        folder.mkdir(parents=True)
        for name in ("maps.csv", "scores.csv"):
            (folder / name).write_text("image\n")
        (folder / "record.json").write_text(json.dumps(made.to_json()))
    results = tmp_path / "results"
    publishing._add(tmp_path / "runs", results)
    kept = {p.relative_to(results).as_posix() for p in results.rglob("*") if p.is_file()}
    assert kept == {f"{public.run_id}/{name}" for name in ("record.json", "scores.csv")}
    assert "untrained backbone, not added" in capsys.readouterr().err


def test_only_exports_on_public_data_are_added(tmp_path):
    for dataset in ("mvtec_ad", "folder"):
        (tmp_path / "runs" / dataset).mkdir(parents=True)
        size = (448, 448)
        made = Export(dataset, "evolved", dataset, "bottle", size, 30, "int8", {}, "chip")
        made.keep(tmp_path / "runs" / dataset)
    publishing._add_exports(tmp_path / "runs", tmp_path / "exports")
    assert [path.name for path in (tmp_path / "exports").iterdir()] == ["mvtec_ad-int8.json"]
    with pytest.raises(InputError, match="no run there was exported"):
        publishing._add_exports(tmp_path / "exports", tmp_path / "x")


def test_an_archive_of_runs_is_added_like_its_folder(record, tmp_path):
    made = record(epochs=300)
    runs = tmp_path / "runs" / made.run_id
    runs.mkdir(parents=True)
    (runs / "record.json").write_text(json.dumps(made.to_json()))
    (runs / "course.csv").write_text("epoch,I-AUROC\n20,50.0\n")
    gpu = asdict(Bench([], [], [], {"device": "cuda", "gpu": "T4"}))
    (tmp_path / "runs" / "bench.json").write_text(json.dumps(gpu))
    protocol.archive(tmp_path / "runs", tmp_path / "protocol.zip")
    for source, target in (("runs", "a"), ("protocol.zip", "b")):
        (tmp_path / target).mkdir()
        (tmp_path / target / "bench.json").write_text("a processor's")
        publishing._add(tmp_path / source, tmp_path / target)
    found = [
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "a", tmp_path / "b")
    ]
    assert found[0] == found[1]
    kept = {"record.json", "course.csv", "bench.cuda.json", "bench.json"}
    assert {path.name for path in found[0]} == kept
    assert found[0][Path("bench.json")] == b"a processor's"
    (tmp_path / "cut.zip").write_bytes((tmp_path / "protocol.zip").read_bytes()[:50])
    with pytest.raises(InputError, match=r"cut\.zip: not a whole archive"):
        publishing._add(tmp_path / "cut.zip", tmp_path / "a")
    with pytest.raises(InputError, match="no such folder or archive"):
        publishing._add(tmp_path / "absent", tmp_path / "a")


def test_beside_evolved_stands_what_was_trained_to_the_end_of_its_own_protocol(committed):
    asked = ("scenario_a", "evolved", "scenario_a_relative")
    runs = committed.whole_of(*asked)
    epochs = {(o.preset, o.record.epochs_done) for o in runs if o.category == "screw"}
    assert epochs == {("scenario_a", 300), ("evolved", 30), ("scenario_a_relative", 300)}
    assert [o.preset for o in runs] == sorted((o.preset for o in runs), key=asked.index)
