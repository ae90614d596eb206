"""Notebooks are thin and agree with their `.py` source; the study runs them to the end."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import jupytext
import pytest

from ssn_lib import study
from ssn_lib.errors import InputError

SOURCES = sorted((study.REPOSITORY / "notebooks").glob("[0-9][0-9]_*.py"))
FORBIDDEN = (ast.FunctionDef, ast.ClassDef, ast.Lambda, ast.For, ast.While, ast.Try, ast.If)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
class TestNotebook:
    def test_pair_agrees(self, source: Path):
        script, notebook = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))

        def content(book):
            return [(cell.cell_type, cell.source, cell.metadata.get("tags")) for cell in book.cells]

        assert content(script) == content(notebook)

    def test_committed_without_outputs(self, source: Path):
        cells = json.loads(source.with_suffix(".ipynb").read_text())["cells"]
        assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)

    def test_thin(self, source: Path):
        tree = ast.parse(source.read_text())
        assert not [type(node).__name__ for node in ast.walk(tree) if isinstance(node, FORBIDDEN)]

    def test_parameters_are_literals(self, source: Path):
        cells = jupytext.read(source).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        for statement in ast.parse(tagged[0].source).body:
            assert isinstance(statement, ast.Assign)
            ast.literal_eval(statement.value)


MINIMAL = """# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% tags=["parameters"]
profile = "demo"
data_root = None
weights_dir = None
runs_dir = "runs"

# %%
from ssn_lib.study import Study
study = Study(profile, data_root, weights_dir, runs_dir)
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr(study, "REPOSITORY", tmp_path)

    def write(ending: str, start: str = MINIMAL) -> None:
        book = jupytext.reads(start + ending, fmt="py:percent")
        jupytext.write(book, tmp_path / "notebooks" / "01_small.ipynb")

    return write


@pytest.mark.filterwarnings("default")
class TestExecution:
    def test_a_whole_notebook_leaves_an_executed_copy_and_a_summary(
        self, repository, tmp_path, capsys
    ):
        repository("# %%\nstudy.finish('01_small')\n")
        study.study("demo", runs_dir=tmp_path / "runs")
        assert (tmp_path / "runs/demo/notebooks/01_small.ipynb").exists()
        assert "01_small.ipynb" in capsys.readouterr().out

    def test_a_notebook_without_completion_record_is_no_success(self, repository, tmp_path):
        repository("")
        with pytest.raises(InputError, match="without its completion record"):
            study.study("demo", runs_dir=tmp_path / "runs")
        assert not (tmp_path / "runs/demo/notebooks/01_small.ipynb").exists()

    def test_a_failing_cell_is_one_line(self, repository, tmp_path):
        repository("# %%\nraise ValueError('broken')\n")
        with pytest.raises(InputError, match="01_small.ipynb failed: ValueError: broken"):
            study.study("demo", runs_dir=tmp_path / "runs")

    def test_a_missing_parameter_is_an_error(self, repository, tmp_path):
        repository("", start=MINIMAL.replace("weights_dir = None\n", ""))
        with pytest.raises(InputError, match="no parameter 'weights_dir'"):
            study.study("demo", runs_dir=tmp_path / "runs")

    def test_an_unknown_number_lists_the_known(self, repository, tmp_path):
        repository("")
        with pytest.raises(InputError, match="--only 07: no such notebook; there are 01"):
            study.study("demo", runs_dir=tmp_path / "runs", only=("07",))


def test_unknown_profile_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'quick'"):
        study.Study("quik")
