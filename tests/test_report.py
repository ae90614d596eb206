"""The report from the committed records: whole, up to date, and not made of spoilt records."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from ssn_lib import report, study
from ssn_lib.errors import InputError
from ssn_lib.report import PHOTOGRAPHS, README_PARTS, Report, with_results
from ssn_lib.study import REPORT, REPOSITORY, Study
from ssn_lib.tables import EMPTY, Table

IN_README = {name for part in README_PARTS for name in (*part.shown, *part.folded)}
RESULTS, FIGURES = REPOSITORY / "results", REPOSITORY / "figures"
NOTEBOOK = REPOSITORY / "notebooks" / f"{REPORT}.py"


@pytest.fixture
def committed(tmp_path):
    return Report(Study("quick", runs_dir=tmp_path, records_dir=RESULTS))


def shown_in_the_notebook():
    return re.findall(r'^report\.save\("(\w+)"\)$', NOTEBOOK.read_text(), re.MULTILINE)


def test_the_notebook_shows_everything_once():
    names = shown_in_the_notebook()
    assert len(set(names)) == len(names)
    known = {name for name in vars(Report) if not name.startswith("_")} - {"save"}
    assert set(names) == known
    assert {*IN_README, *PHOTOGRAPHS} <= known


def test_what_is_committed_is_what_the_records_say(committed):
    """`make report` after the records or the code have changed."""
    tables = []
    for name in shown_in_the_notebook():
        if (FIGURES / f"{name}.md").exists():
            made = getattr(committed, name)()
            assert made.to_markdown() == (FIGURES / f"{name}.md").read_text(encoding="utf-8"), name
            tables.append(name)
    figures = {path.stem for path in FIGURES.glob("*.png")}
    assert set(tables) | figures >= IN_README
    assert figures | set(tables) | {*PHOTOGRAPHS} == set(shown_in_the_notebook())
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert with_results(readme, FIGURES) == readme
    with pytest.raises(InputError, match="to write the results to"):
        with_results(readme.replace("<!-- results: end -->", ""), FIGURES)


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
    from ssn_lib.runs import _content_hash

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
    for name in shown_in_the_notebook():
        thing = made.save(name)
        assert not isinstance(thing, Table) or thing.notes or name == "left_out"
    assert set(made.ledger().frame["verdict"]) <= {
        "not measurable here",
        "explained otherwise",  # by published figures alone
        "not reproduced",
    }


def test_a_long_training_takes_the_place_of_a_short_one_in_the_ledger(record, tmp_path):
    def write(*records):
        for one in records:
            (tmp_path / one.run_id).mkdir()
            (tmp_path / one.run_id / "record.json").write_text(json.dumps(one.to_json()))
        return Report(Study("quick", runs_dir=tmp_path / "runs", records_dir=tmp_path))

    def kept(made):
        return made.ledger().frame.set_index("id").loc["bottle-kept", ["verdict", "measured here"]]

    short = record(batch=8, **{"I-AUROC": 60.0}), record("scenario_b", batch=8)
    assert kept(write(*short))["verdict"] == "not measurable here"
    made = write(record(epochs=80, batch=8, **{"I-AUROC": 80.0}))
    assert [*kept(made)] == ["not reproduced", "bottle, I-AUROC 80.0, AUPRO 40.0"]
    assert made.backbone_swap().frame["here, A"][0] == "60.0"  # the profile's own, as before
    assert made.backbone_swap_long().frame["here, A"][0] == "80.0"
    assert made.backbone_swap_long().frame["here, B"][0] == EMPTY
    made = write(record(epochs=300, batch=32, **{"I-AUROC": 100.0}))  # as published: rather this
    assert [*kept(made)] == ["reproduced", "bottle, I-AUROC 100.0, AUPRO 40.0"]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for module in (report, study):
        monkeypatch.setattr(module, "REPOSITORY", tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "of_old.png").write_bytes(b"")
    begin, end = report.RESULTS_BEGIN, report.RESULTS_END
    (tmp_path / "README.md").write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    shutil.copy(NOTEBOOK.with_suffix(".ipynb"), tmp_path / "notebooks")
    return tmp_path


def test_no_records_is_one_line(repository):
    with pytest.raises(InputError, match="results: no records to report on"):
        report.publish(runs_dir=repository / "runs")


@pytest.mark.filterwarnings("default")
def test_publishing_rewrites_figures_readme_and_page(repository):
    shutil.copytree(RESULTS, repository / "results")
    written = report.publish(runs_dir=repository / "runs")
    assert all(path.exists() for path in written)
    assert {path.name for path in (repository / "figures").iterdir()} == {
        path.name for path in FIGURES.iterdir()
    }
    readme = (repository / "README.md").read_text()
    assert readme.count("<details><summary>") == sum(len(part.folded) for part in README_PARTS)
    for linked in re.findall(r"\]\((figures/\w+\.png)\)", readme):
        assert (repository / linked).exists()
    assert "old" not in readme.splitlines()
    assert readme.startswith("before\n")
    assert readme.endswith("after\n")
    page = (repository / "runs/report/report.html").read_text(encoding="utf-8")
    assert "In five minutes" in page
    assert page.count("<table>") >= len(list(FIGURES.glob("*.md")))
    assert page.count('<img alt="" src="data:image/png;base64,') == len(
        list((repository / "runs/report/figures").iterdir())
    )
    assert "report.save" not in page
