"""Notebooks are thin and agree with their `.py` source; the study runs them to the end."""

from __future__ import annotations

import ast
import errno
import io
import json
import sys
from pathlib import Path

import jupytext
import nbformat
import papermill
import pytest
from nbclient.exceptions import DeadKernelError

from ssn_lib import storage
from ssn_lib.errors import InputError
from ssn_lib.presets import PRESETS
from ssn_lib.study import notebooks as notebook_runs
from ssn_lib.study import parameters, runner
from ssn_lib.study.figures.networks import architecture
from ssn_lib.study.runner import Study

SOURCES = sorted((storage.REPOSITORY / "notebooks").glob("[0-9][0-9]_*.py"))
LONGEST_CELL = 20  # lines of code, without imports, comments and blank lines


def lines_of_code(cell: str) -> int:
    statements = [n for n in ast.parse(cell).body if not isinstance(n, ast.Import | ast.ImportFrom)]
    return sum(len(ast.unparse(statement).splitlines()) for statement in statements)


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

    def test_short(self, source: Path):
        """A cell holds what teaches; what is longer belongs into the package, with a test."""
        for cell in jupytext.read(source).cells:
            if cell.cell_type == "code":
                assert lines_of_code(cell.source) <= LONGEST_CELL, cell.source
                assert not any(
                    isinstance(node, ast.ClassDef) for node in ast.walk(ast.parse(cell.source))
                )

    def test_it_takes_what_the_study_gives_and_refuses_the_rest(self, source: Path):
        cells = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]
        names = [node.targets[0].id for node in ast.parse(cells[0]).body]
        assert set(parameters.REQUIRED) <= set(names)
        assert set(names) <= {*parameters.PARAMETERS, parameters.TRY_IT}
        assert "Study.of_notebook(globals())" in cells[1]

    def test_parameters_are_literals(self, source: Path):
        cells = jupytext.read(source).cells
        tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        for statement in ast.parse(tagged[0].source).body:
            assert isinstance(statement, ast.Assign)
            ast.literal_eval(statement.value)


PARAMETERS = """# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% tags=["parameters"]
profile = "demo"
data_root = None
weights_dir = None
runs_dir = "runs"
category = None
seeds = None

"""
MINIMAL = f"""{PARAMETERS}
# %%
from ssn_lib.study.runner import Study
study = Study.of_notebook(globals())
"""


@pytest.fixture
def repository(tmp_path, monkeypatch, demo_base):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "data").symlink_to(demo_base)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notebook_runs, "REPOSITORY", tmp_path)

    def write(ending: str, start: str = MINIMAL) -> None:
        book = jupytext.reads(start + ending, fmt="py:percent")
        jupytext.write(book, tmp_path / "notebooks" / "01_small.ipynb")

    return write


@pytest.fixture
def hostile_kernels(tmp_path, monkeypatch):
    """Jupyter's "python3" is the kernel of an environment that was removed."""
    folder = tmp_path / "share" / "kernels" / "python3"
    folder.mkdir(parents=True)
    command = [str(tmp_path / "removed" / "python"), "-m", "ipykernel_launcher"]
    spec = {"argv": [*command, "-f", "{connection_file}"], "display_name": "", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))


@pytest.mark.filterwarnings("default")
class TestExecution:
    @pytest.mark.parametrize("backend", [None, "Agg", "module://matplotlib_inline.backend_inline"])
    def test_a_whole_notebook_leaves_an_executed_copy_a_page_and_a_summary(
        self, backend, repository, hostile_kernels, tmp_path, monkeypatch, capsys
    ):
        """Its figures whatever matplotlib's backend is, by a kernel of this interpreter."""
        if backend is None:
            monkeypatch.delenv("MPLBACKEND", raising=False)
        else:
            monkeypatch.setenv("MPLBACKEND", backend)
        monkeypatch.setattr(notebook_runs, "REPORT", "01_small")
        repository(
            "# %%\n"
            f"import sys; assert sys.executable == {sys.executable!r}\n"
            "assert (study.category, study.seeds) == ('screw', '1,2')\n"
            "assert (study.scheduler, study.deadline) == ('tcp://somewhere:1', 5.5)\n"
            "import pandas as pd\n"
            "from ssn_lib.study.tables.table import Table\n"
            "for _ in range(2):\n"
            "    study.save('one', Table('title', pd.DataFrame({'a': [1]}), ()))\n"
            "# %%\n"
            "from ssn_lib.study.figures.networks import architecture\n"
            "study.save('two', architecture())\n"
            "# %%\n"
            "study.finish('01_small')\n"
        )
        chosen = {"category": "screw", "seeds": "1,2"}
        how = {"scheduler": "tcp://somewhere:1", "deadline": 5.5}
        notebook_runs.study("demo", runs_dir=tmp_path / "runs", **chosen, **how)
        after = Study("demo")
        assert (after.scheduler, after.deadline) == (None, None)
        book = nbformat.read(tmp_path / "runs/demo/notebooks/01_small.ipynb", as_version=4)
        (output,) = (output for cell in book.cells for output in cell.get("outputs", ()))
        assert output["metadata"]["image/png"]["alt"].startswith(
            "SuperSimpleNet: a frozen backbone"
        )
        page = (tmp_path / "runs/demo/report.html").read_text(encoding="utf-8")
        assert page.count('<img alt="SuperSimpleNet: a frozen backbone') == 1
        said = capsys.readouterr().out
        assert "01_small.ipynb" in said
        assert "1 tables and 1 figures" in said  # each file once

    def test_a_figure_that_is_not_shown_is_one_line(self, repository, tmp_path, monkeypatch):
        def executed(source, target, **_):
            here = Study("demo", runs_dir=tmp_path / "runs")
            here.save("curve", architecture())
            here.finish("01_small")
            nbformat.write(nbformat.read(source, as_version=4), target)

        repository("")
        monkeypatch.setattr(papermill, "execute_notebook", executed)
        with pytest.raises(
            InputError, match=r"01_small\.ipynb does not show 1 of the 1 figures .*: curve; end a"
        ):
            notebook_runs.study("demo", runs_dir=tmp_path / "runs")
        assert not (tmp_path / "runs/demo/notebooks/01_small.ipynb").exists()

    def test_a_notebook_without_completion_record_is_no_success(self, repository, tmp_path):
        repository("", start=PARAMETERS)
        with pytest.raises(InputError, match="without its completion record"):
            notebook_runs.study("demo", runs_dir=tmp_path / "runs")
        assert not (tmp_path / "runs/demo/notebooks/01_small.ipynb").exists()

    def test_a_failing_cell_is_one_line(self, repository, tmp_path):
        repository("# %%\nraise ValueError('broken')\n", start=PARAMETERS)
        with pytest.raises(InputError, match="01_small.ipynb failed: ValueError: broken \\(see "):
            notebook_runs.study("demo", runs_dir=tmp_path / "runs")

    def test_an_error_of_the_package_tells_its_place(self, repository, tmp_path):
        cell = "# %%\nfrom ssn_lib.presets import preset\npreset(None)\n"
        repository(cell, start=PARAMETERS)
        with pytest.raises(InputError, match=r"failed: .*, ssn_lib/\w+\.py, line \d+ \(see "):
            notebook_runs.study("demo", runs_dir=tmp_path / "runs")

    def test_those_after_one_that_failed_are_executed(
        self, repository, tmp_path, monkeypatch, capsys
    ):
        executed = []

        def execute(path, *_):
            if path.stem == "01_small":
                raise InputError("01_small.ipynb failed: ValueError: broken")
            executed.append(path.stem)
            return ["runs/demo/tables/one.md"]

        repository("")
        for name in ("02_next", "03_last"):
            (tmp_path / "notebooks" / f"{name}.ipynb").write_bytes(
                (tmp_path / "notebooks" / "01_small.ipynb").read_bytes()
            )
        monkeypatch.setattr(notebook_runs, "execute", execute)
        with pytest.raises(notebook_runs.NotebooksFailed) as raised:
            notebook_runs.study("demo", runs_dir=tmp_path / "runs")
        assert executed == ["02_next", "03_last"]
        assert raised.value.reasons == {"01_small": "01_small.ipynb failed: ValueError: broken"}
        said = capsys.readouterr().out
        assert "    failed: 01_small.ipynb failed: ValueError: broken" in said
        assert "1 tables and 0 figures" in said

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
            (DeadKernelError("Kernel died"), "Kernel died"),
        ],
    )
    def test_a_full_disk_or_a_dead_kernel_is_one_line(
        self, error, said, repository, tmp_path, monkeypatch
    ):
        def fail(*_, **__):
            raise error

        repository("")
        monkeypatch.setattr(papermill, "execute_notebook", fail)
        with pytest.raises(InputError, match=f"01_small.ipynb could not be executed: {said}$"):
            notebook_runs.study("demo", runs_dir=tmp_path / "runs")

    def test_a_missing_parameter_is_an_error(self, repository, tmp_path):
        repository("", start=MINIMAL.replace("weights_dir = None\n", ""))
        with pytest.raises(InputError, match="no parameter 'weights_dir'"):
            notebook_runs.study("demo", runs_dir=tmp_path / "runs")

    def test_plain_papermill_with_a_wrong_parameter_lists_the_known(self, repository, tmp_path):
        repository("")
        path = tmp_path / "notebooks" / "01_small.ipynb"
        with pytest.raises(
            papermill.PapermillExecutionError,
            match="InputError: unknown parameter 'categry'; known: profile, data_root",
        ):
            papermill.execute_notebook(
                str(path),
                None,
                {"categry": "screw"},
                kernel_name="python3",
                kernel_manager_class=notebook_runs._OwnKernel,
                progress_bar=False,
            )

    def test_a_file_in_the_place_of_the_runs_is_one_line(self, repository, tmp_path):
        repository("", start=PARAMETERS)
        (tmp_path / "runs").write_text("")
        with pytest.raises(InputError, match="cannot write .*: Not a directory; choose another"):
            notebook_runs.study("demo", runs_dir=tmp_path / "runs")

    def test_an_unknown_number_lists_the_known(self, repository, tmp_path):
        repository("")
        with pytest.raises(InputError, match="--only 07: no such notebook; there are 01"):
            notebook_runs.study("demo", runs_dir=tmp_path / "runs", only=("07",))
        assert not (tmp_path / "runs").exists()


def test_the_terminal_names_notebook_and_cell_and_the_first_figure(tmp_path):
    file = io.StringIO()
    terminal = notebook_runs._Terminal("01_small", tmp_path / "figures", file)
    terminal.cell_begins(cell=None)
    terminal.write("run 1 of 2: beg")
    terminal.write("un\nhalf a line")
    terminal.cell_ended(cell=None)
    terminal.cell_begins(cell=None)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "curve.png").touch()
    terminal.cell_ended(cell=None)
    terminal.cell_ended(cell=None)
    assert file.getvalue().splitlines() == [
        "01_small[1] run 1 of 2: begun",
        "01_small[1] half a line",
        f"01_small[2] first figure after 1 s: {tmp_path / 'figures' / 'curve.png'}",
    ]


def test_an_executed_notebook_keeps_no_lines_of_progress(tmp_path):
    outputs = [
        nbformat.v4.new_output("stream", text="run 1 of 2: begun\nkept\nrun 1 of 2: done in 3 s\n"),
        nbformat.v4.new_output("stream", text="run 2 of 2: begun\n"),
    ]
    cells = [nbformat.v4.new_code_cell("study.run_all()", outputs=outputs)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "01_small.ipynb")
    notebook_runs._without_progress(tmp_path / "01_small.ipynb")
    (cell,) = nbformat.read(tmp_path / "01_small.ipynb", as_version=4).cells
    assert [output.text for output in cell.outputs] == ["kept\n"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"category": "scew"}, "category='scew': known: bottle, carpet, screw, ksdd2"),
        ({"category": 3}, "category=3: known: bottle, carpet, screw, ksdd2"),
        ({"category": ["screw", None]}, "category=.*: expected one or several, such as 'bottle,"),
        ({"category": ""}, "category='': expected one or several"),
        ({"epochs": 0}, "epochs=0: expected a whole number above 0, such as 20"),
        ({"epochs": "1.5"}, "epochs='1.5': expected a whole number"),
        ({"epochs": True}, "epochs=True: expected a whole number"),
        (
            {"image_size": "large"},
            "image_size='large': expected the longer side in pixels, such as",
        ),
        ({"image_size": "640x"}, "image_size='640x': expected the longer side"),
        ({"image_size": 99999}, "image_size=99999: expected the longer side"),
        ({"image_size": 250}, "image_size=250: image size 250×250: .* multiples of 8.*248×248"),
        ({"presets": "scenario_a,scenarioB"}, "no preset 'scenarioB'; known: .*, scenario_b,"),
        ({"presets": ""}, "presets='': expected one or several"),
        ({"seeds": "1,two"}, "seeds='1,two': expected whole numbers below 2.32, such as '42,43'"),
        ({"seeds": True}, "seeds=True: expected whole numbers"),
        ({"seeds": 2**32}, "seeds=4294967296: expected whole numbers below"),
        ({"seeds": 1.5}, "seeds=1.5: expected one or several"),
        ({"data_root": 3}, "data_root=3: expected a folder"),
        ({"runs_dir": None}, "runs_dir=None: expected a folder"),
        ({"profile": ["demo"]}, r"unknown profile \['demo'\]: did you mean 'demo'"),
    ],
)
def test_a_parameter_that_makes_no_sense_says_what_is_expected(values, message):
    namespace = {"profile": "demo", "In": [""], "unrelated": 1} | values
    with pytest.raises(InputError, match=message):
        Study.of_notebook(namespace)


@pytest.mark.parametrize("seeds", [7, "7,8", [7, 8]])
def test_seeds_are_one_or_several(seeds):
    here = Study.of_notebook({"profile": "demo", "seeds": seeds, "category": "screw"})
    assert here._seeds == ((7,) if seeds == 7 else (7, 8))
    assert here.categories == ("screw",)


@pytest.mark.parametrize(
    ("asked", "plates", "strips"),
    [
        (320, (320, 320), (320, 120)),
        ("320", (320, 320), (320, 120)),
        ("640x232", (640, 232), (640, 232)),
        ((96, 48), (96, 48), (96, 48)),
    ],
)
def test_an_image_size_is_the_longer_side_or_both(asked, plates, strips):
    profile = Study.of_notebook({"profile": "demo", "image_size": asked}).profile
    assert (profile.image_size, profile.strip_size) == (plates, strips)


def test_epochs_and_size_hold_for_every_system_also_for_one_that_has_its_own():
    profile = Study("quick", epochs=3, image_size=128).profile
    assert profile.protocol("evolved")[:2] == profile.protocol("simplenet")[:2] == ((128, 128), 3)
    size, epochs, _ = Study("quick", epochs=3).profile.protocol("evolved")
    assert (size, epochs) == (PRESETS["evolved"].image_size, 3)


def test_a_notebooks_own_switch_is_none_of_the_studys_business():
    given = {"In": ["# Parameters\ntry_it = True\nepochs = 3\n"], "try_it": True, "epochs": 3}
    assert Study.of_notebook({"profile": "demo"} | given).epochs == 3


def test_a_notebook_opened_in_its_folder_works_in_the_repositorys_root(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "REPOSITORY", tmp_path)
    elsewhere = tmp_path / "elsewhere"
    for folder, ends_in in ((tmp_path / "notebooks", tmp_path), (elsewhere, elsewhere)):
        folder.mkdir()
        monkeypatch.chdir(folder)
        Study.of_notebook({"profile": "demo"})
        assert Path.cwd() == ends_in


def test_unknown_profile_suggests_the_nearest():
    with pytest.raises(InputError, match="did you mean 'quick'"):
        Study("quik")
