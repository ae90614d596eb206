"""The kernel: built twice alike, refused when wrong, pushed by the CLI, run as on Kaggle."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import lzma
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import threading
import venv
import zipfile
from pathlib import Path

import jupytext
import nbformat
import pytest
import torch

from ssn_lib.errors import InputError
from ssn_lib.models.backbone import Backbone, torchvision_name
from ssn_lib.runs.record import read_record
from ssn_lib.storage import REPOSITORY
from ssn_lib.study.kaggle import kernel

NOTEBOOK = kernel.BUILT / "supersimplenet-evolved.ipynb"
# A study of one run: its own notebooks take minutes.
SMALL = """# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # A small study

# %% tags=["parameters"]
profile = "demo"
data_root = None
weights_dir = None
runs_dir = "runs"
category = None
seeds = None

# %%
from ssn_lib.study.runner import Study
from ssn_lib.study.tables.swap import backbone_swap
study = Study.of_notebook(globals())

# %%
outcomes = study.run_all(["scenario_a"], ["screw"])
study.save("one", backbone_swap(outcomes))

# %%
study.finish("01_small")
"""


def git(folder, *words):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A repository with this package, one small notebook, and its kernel, built and committed."""
    root = tmp_path_factory.mktemp("repository")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "ssn_lib", root / "ssn_lib", ignore=ignored)
    profiles = root / "ssn_lib" / "study" / "profiles.py"
    whole = profiles.read_text(encoding="utf-8")
    small = whole.replace("image_size=PUBLISHED_SIZE", "image_size=(32, 32)")  # for what is run
    assert small != whole
    profiles.write_text(small, encoding="utf-8")
    for name in (kernel.METADATA, kernel.TEMPLATE, "LICENSE"):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    jupytext.write(jupytext.reads(SMALL, fmt="py:percent"), root / "notebooks/01_small.ipynb")
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "all")
    kernel.build({}, repository=root)
    return root


@pytest.fixture
def repository(original, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(original, tmp_path / "repository")


def built(repository):
    return json.loads((repository / NOTEBOOK).read_text())


RECORDS = sorted((REPOSITORY / "results").glob("*/record.json"))


def metadata(repository):
    """What is pushed."""
    return json.loads((repository / kernel.BUILT / kernel.METADATA).read_text())


def source(repository, containing):
    (cell,) = (c for c in built(repository)["cells"] if containing in c["source"])
    return cell["source"]


def archive(repository):
    whole = source(repository, "ARCHIVE = ")
    packed = base64.b85decode("".join(whole.split('"""')[1].split()))
    return tarfile.open(fileobj=io.BytesIO(lzma.decompress(packed)))


def packed(repository):
    """The names of the files that the kernel carries."""
    with archive(repository) as opened:
        return opened.getnames()


class TestBuild:
    def test_the_same_commit_gives_the_same_bytes(self, original, repository):
        for path in repository.rglob("*.py"):
            os.utime(path, (0, 0))
        (repository / NOTEBOOK).unlink()
        kernel.build({}, repository=repository)
        digests = {
            hashlib.sha256((root / NOTEBOOK).read_bytes()).digest()
            for root in (original, repository)
        }
        assert len(digests) == 1

    def test_this_repositorys_own_is_valid_and_small(self, repository):
        for name in ("notebooks", "results"):
            shutil.rmtree(repository / name, ignore_errors=True)
            shutil.copytree(REPOSITORY / name, repository / name)
        git(repository, "add", "--all")
        kernel.build({}, repository=repository)
        nbformat.validate(nbformat.read(repository / NOTEBOOK, as_version=4))
        assert "bytes as sent" in kernel.check(repository)
        carried = packed(repository)
        assert {f"results/{p.parent.name}/{p.name}" for p in RECORDS} <= {*carried}

    def test_curves_are_carried_to_six_digits(self, repository):
        path = repository / "results" / "some-run" / "history.csv"
        path.parent.mkdir(parents=True)
        path.write_text("epoch,loss,validation_loss,learning_rate\n12,1.23456789,,2.3456789e-05\n")
        git(repository, "add", "--all")
        kernel.build({}, repository=repository)
        with archive(repository) as opened:
            carried = opened.extractfile("results/some-run/history.csv").read().decode()
        assert carried == "epoch,loss,validation_loss,learning_rate\n12,1.23457,,2.34568e-05\n"

    def test_the_commit_goes_in_and_a_change_is_said(self, repository):
        head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True)
        commit = f'os.environ["SSN_GIT_COMMIT"] = "{head.strip()}'
        assert commit + '"' in source(repository, "SSN_GIT_COMMIT")
        (repository / "ssn_lib" / "losses.py").write_text("changed = True\n")
        with pytest.raises(InputError, match="built from other files than those that are here"):
            kernel.check(repository)
        kernel.build({}, repository=repository)
        assert commit + '-dirty"' in source(repository, "SSN_GIT_COMMIT")
        kernel.check(repository)

    def test_new_files_go_in_and_deleted_ones_do_not(self, repository):
        (repository / "ssn_lib" / "new.py").write_text("")
        (repository / "ssn_lib" / "losses.py").unlink()
        with pytest.raises(InputError, match="built from other files than those that are here"):
            kernel.check(repository)
        kernel.build({}, repository=repository)
        assert "ssn_lib/new.py" in packed(repository)
        assert "ssn_lib/losses.py" not in packed(repository)

    def test_names_in_any_script_go_in(self, repository, tmp_path):
        names = ["mängel.py", "表面.py", "two words.py", 'quo"te.py', "x" * 120 + ".py"]
        names.append(os.fsdecode(b"m\xe4ngel.py"))  # of a Windows of another code page
        for name in names:
            (repository / "ssn_lib" / name).write_text("here = True\n")
        git(repository, "add", f"ssn_lib/{names[0]}")
        kernel.build({}, repository=repository)
        kernel.check(repository)
        assert {f"ssn_lib/{name}" for name in names} <= {*packed(repository)}
        with archive(repository) as opened:
            opened.extractall(tmp_path / "there", filter="data")
        for name in names:
            assert (tmp_path / "there" / "ssn_lib" / name).read_text() == "here = True\n"

    def test_a_file_that_cannot_be_read_is_said(self, repository):
        (repository / "ssn_lib" / "gone.py").symlink_to("nowhere.py")
        with pytest.raises(InputError, match="gone.py: No such file or directory; remove it"):
            kernel.build({}, repository=repository)

    def test_parameters_are_set_or_refused(self, repository):
        kernel.build({"profile": "quick", "category": "screw"}, repository=repository)
        cell = source(repository, "time_budget_h = ")
        assert "profile = 'quick'" in cell
        assert "category = 'screw'" in cell
        for wrong, message in (
            ({"categry": "screw"}, "unknown parameter 'categry'; known: profile, modifications"),
            ({"category": "scew"}, "category='scew': known: bottle, carpet, screw, ksdd2"),
            ({"category": 3}, "category=3: expected one or several|category=3: known: bottle"),
            (
                {"modifications": "01,07"},
                "modifications='01,07': no notebook 07; there are 00, 01, 02",
            ),
            ({"seeds": "many"}, "seeds='many': expected whole numbers"),
            ({"time_budget_h": -1}, "time_budget_h=-1: expected hours"),
            ({"profile": "ful"}, "did you mean 'full'"),
        ):
            with pytest.raises(InputError, match=message):
                kernel.build(wrong, repository=repository)

    def test_the_owner_is_set_once_and_the_former_output_attached_on_demand(self, repository):
        with pytest.raises(InputError, match="make kernel OWNER=<name>"):
            kernel.build({}, resume=True, repository=repository)
        with pytest.raises(InputError, match="owner 'a b'"):
            kernel.build({}, owner="a b", repository=repository)
        assert not kernel.owner_is_set(repository)
        kernel.build({}, owner="somebody", repository=repository)
        kernel.build({}, resume=True, repository=repository)
        assert metadata(repository)["id"] == "somebody/supersimplenet-evolved"
        assert metadata(repository)["kernel_sources"] == ["somebody/supersimplenet-evolved"]
        kernel.check(repository)
        kernel.build({}, repository=repository)
        assert metadata(repository)["id"] == "somebody/supersimplenet-evolved"
        assert metadata(repository)["kernel_sources"] == []
        assert kernel.owner_is_set(repository)

    def test_nothing_that_git_tracks_is_written(self, repository):
        kernel.build({"seeds": 43}, owner="somebody", datasets=["me/ksdd2"], repository=repository)
        changed = subprocess.check_output(["git", "status", "--porcelain"], cwd=repository)
        assert changed.decode().split() == ["??", "build/"]
        assert metadata(repository)["dataset_sources"] == ["ipythonx/mvtec-ad", "me/ksdd2"]
        kernel.check(repository)

    def test_a_template_that_was_changed_afterwards_is_said(self, repository):
        path = repository / kernel.METADATA
        path.write_text(path.read_text().replace('"is_private": true', '"is_private": false'))
        with pytest.raises(InputError, match="made of another kernel-metadata.json; make kernel"):
            kernel.check(repository)

    def test_the_code_is_hidden_and_short_where_hiding_is_not_understood(self, repository):
        for cell in built(repository)["cells"]:
            if cell["cell_type"] == "code" and "tags" not in cell["metadata"]:
                assert cell["metadata"]["_kg_hide-input"] is True
                assert cell["metadata"]["jupyter"] == {"source_hidden": True}
                assert len(cell["source"].splitlines()) < 50
        assert "ARCHIVE = " in source(repository, "ARCHIVE = ")

    def test_the_page_begins_with_prose_and_names_the_notebooks_that_will_run(self, repository):
        first = built(repository)["cells"][0]
        assert first["cell_type"] == "markdown"
        assert first["source"].startswith("# SuperSimpleNet, evolved\n\n**What happens")
        assert "- [A small study](#01_small)" in first["source"]
        shutil.copy(repository / "notebooks/01_small.ipynb", repository / "notebooks/00_new.ipynb")
        kernel.build({}, repository=repository)
        assert "(#00_new)" in built(repository)["cells"][0]["source"]
        kernel.build({"modifications": "01"}, repository=repository)
        assert "(#00_new)" not in built(repository)["cells"][0]["source"]

    def test_a_damaged_archive_is_refused(self, repository):
        kernel.build({}, repository=repository)
        text = (repository / NOTEBOOK).read_text(encoding="utf-8")
        start = text.index("ARCHIVE = ") + 500
        changed = "a" if text[start] != "a" else "b"
        text = text[:start] + changed + text[start + 1 :]
        (repository / NOTEBOOK).write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="the embedded archive is damaged; make kernel"):
            kernel.check(repository)

    @pytest.mark.parametrize("name", ["foo", "https://x", ""])
    def test_a_data_set_that_has_no_address_is_refused(self, name, repository):
        with pytest.raises(InputError, match="expected owner/dataset"):
            kernel.build({}, repository=repository, datasets=[name])

    def test_outside_a_checkout_it_says_what_is_missing(self, repository):
        shutil.rmtree(repository / ".git")
        message = "built from a git checkout, and `git ls-files` failed: fatal: not a git"
        with pytest.raises(InputError, match=message):
            kernel.build({}, repository=repository)

    def test_gits_own_reason_is_said_in_one_line(self, repository, monkeypatch):
        monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        with pytest.raises(InputError, match="dubious ownership .*safe.directory") as caught:
            kernel.build({}, repository=repository)
        assert "\n" not in str(caught.value)
        monkeypatch.setenv("PATH", str(repository))
        with pytest.raises(InputError, match="failed: git: No such file or directory"):
            kernel.build({}, repository=repository)


def test_what_is_missing_or_wrong_in_the_metadata_is_said(repository):
    path = repository / kernel.BUILT / kernel.METADATA
    right = metadata(repository)
    for change, message in (
        ({"code_file": "none.ipynb"}, "none.ipynb: not built yet; make kernel"),
        ({"dataset_sources": ["datasets/ipythonx/mvtec-ad"]}, "expected owner/dataset"),
    ):
        path.write_text(json.dumps(right | change))
        with pytest.raises(InputError, match=message):
            kernel.check(repository)
    path.unlink()
    with pytest.raises(InputError, match="kernel-metadata.json: missing; make kernel"):
        kernel.check(repository)


def test_a_build_corrects_the_metadatas_encoding(repository):
    path = repository / kernel.BUILT / kernel.METADATA
    text = path.read_text()
    path.write_text(text, encoding="utf-16")
    with pytest.raises(InputError, match="utf-16, Kaggle's CLI reads utf-8; make kernel"):
        kernel.check(repository)
    kernel.build({}, repository=repository)
    kernel.check(repository)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda book: book["cells"][2].update(outputs=[{}]), "it has outputs"),
        (lambda book: book["metadata"].pop("kernelspec"), "not a notebook with a kernelspec"),
        (lambda book: book["cells"][0].pop("source"), "not a notebook with a kernelspec"),
        (lambda book: book.update(cells=None), "not a notebook with a kernelspec"),
        (lambda book: book["cells"].append(book["cells"][0] | {"source": "x" * 900_000}), "bytes"),
    ],
)
def test_a_notebook_that_kaggle_would_not_run_is_refused(damage, message, repository):
    book = built(repository)
    damage(book)
    (repository / NOTEBOOK).write_text(json.dumps(book))
    with pytest.raises(InputError, match=message):
        kernel.check(repository)


@pytest.fixture
def kaggle(tmp_path):
    """Plays Kaggle's API, as the proxy of a CLI that is told to talk to localhost.

    kaggle(folder, **environment) runs `kaggle kernels push` there; the requests are in `.asked`.
    """
    asked = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            method = self.path.rsplit("/", 1)[1]
            asked.append((method, content))
            answer = {
                "IntrospectToken": {"active": True, "username": "somebody"},
                "SaveKernel": {"ref": content.get("slug"), "url": "there", "versionNumber": 1},
            }[method]
            encoded = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, *_):
            pass

    def push(folder, **environment):
        proxy = f"http://127.0.0.1:{server.server_port}"
        clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "http_proxy": proxy}
        command = Path(sys.executable).with_name("kaggle")
        return subprocess.run(
            [str(command), "kernels", "push", "-p", str(kernel.BUILT)],
            cwd=folder,
            env=clean | {"KAGGLE_API_ENVIRONMENT": "LOCALHOST"} | environment,
            capture_output=True,
            text=True,
        )

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        push.asked = asked
        yield push
        server.shutdown()
        thread.join()


class TestPush:
    def test_the_real_cli_sends_what_was_built(self, repository, kaggle):
        kernel.build({}, owner="somebody", repository=repository)
        said = kaggle(repository, KAGGLE_API_TOKEN="a token")
        assert said.returncode == 0, said
        assert "warn" not in (said.stdout + said.stderr).lower()
        assert "does not resolve" not in said.stdout
        method, sent = kaggle.asked[-1]
        assert method == "SaveKernel"
        assert len(sent["text"].encode()) < kernel.MAX_BYTES
        assert sent["text"] == kernel.sent(built(repository))
        expected = {
            "slug": "somebody/supersimplenet-evolved",
            "newTitle": "SuperSimpleNet evolved",
            "language": "python",
            "kernelType": "notebook",
            "isPrivate": True,
            "enableGpu": True,
            "enableInternet": True,
            "datasetDataSources": ["ipythonx/mvtec-ad"],
            "machineShape": "NvidiaTeslaT4",
        }
        assert {name: sent.get(name) for name in expected} == expected
        assert not sent.get("enableTpu")
        book = json.loads(sent["text"])
        assert book["metadata"]["kernelspec"]["name"] == "python3"
        assert all(not cell.get("outputs") for cell in book["cells"])
        kernel.build({}, resume=True, repository=repository)
        kaggle(repository, KAGGLE_API_TOKEN="a token")
        assert kaggle.asked[-1][1]["kernelDataSources"] == ["somebody/supersimplenet-evolved"]

    def test_without_credentials_the_cli_says_so_and_sends_nothing(self, repository, kaggle):
        said = kaggle(repository)
        assert said.returncode != 0
        assert "authenticat" in (said.stdout + said.stderr).lower()  # of every version's words
        assert kaggle.asked == []


def write_weights(path):
    """Untrained weights in torchvision's names: what is tested is that they are found."""
    torch.manual_seed(0)
    state = Backbone("resnet18", (2, 3)).state_dict()
    torch.save({torchvision_name(name): value for name, value in state.items()}, path)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A Python that has the libraries but not this package: the .pth of an installation is not read
    from a path in PYTHONPATH."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python", {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }


@pytest.fixture
def kaggle_machine(bare, repository, tmp_path):
    """run(…): execute the kernel in an empty working folder beside a stand-in for its inputs."""
    work, inputs = tmp_path / "working", tmp_path / "input"
    work.mkdir()
    inputs.mkdir()
    python, environment = bare
    environment = environment | {"SSN_KAGGLE_INPUT": str(inputs)}

    def run(code, *words):
        return subprocess.run(
            [str(python), *code, *map(str, words)],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
        )

    run.work, run.inputs = work, inputs
    return run


def test_the_kernel_runs_where_only_kaggles_image_is(repository, kaggle_machine, mvtec_root):
    category = mvtec_root / "mvtec_ad" / "widget"
    shutil.copytree(category, kaggle_machine.inputs / "mvtec-ad" / "bottle")
    shutil.copytree(category, kaggle_machine.inputs / "datasets/ipythonx/mvtec-ad/screw")
    (kaggle_machine.inputs / "backbones").mkdir()
    write_weights(kaggle_machine.inputs / "backbones" / "resnet18_layers123.pth")
    kernel.build({"profile": "quick", "category": "bottle,screw"}, repository=repository)
    assert "No module named 'ssn_lib'" in kaggle_machine(["-c", "import ssn_lib"]).stderr

    papermill = ["-m", "papermill", "--log-output", "--no-progress-bar", "-k", "python3"]
    words = (repository / NOTEBOOK, "executed.ipynb", "-p", "modifications", "01")
    said = kaggle_machine(papermill, *words)
    log = said.stdout + said.stderr
    assert said.returncode == 0, log[-3000:]
    for expected in (
        f"bottle      {kaggle_machine.inputs}/mvtec-ad/bottle",
        f"screw       {kaggle_machine.inputs}/datasets/ipythonx/mvtec-ad/screw",
        f"weights     {kaggle_machine.inputs}/backbones/resnet18_layers123.pth",
        "[1/1] 01_small.ipynb, profile quick",
        "files in study.zip",
    ):
        assert expected in log
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True).strip()
    (record,) = (read_record(p.parent) for p in kaggle_machine.work.glob("runs/*/record.json"))
    assert (record.config.data.category, record.epochs_done) == ("screw", 10)
    assert record.environment["git_commit"] == head
    with zipfile.ZipFile(kaggle_machine.work / "study.zip") as archive:
        names = set(archive.namelist())
    wanted = {f"{record.run_id}/record.json", "quick/tables/one.csv"}
    assert wanted | {"quick/notebooks/01_small.ipynb"} <= names
    # Code is unpacked elsewhere, so that the version's output holds results alone.
    assert {path.name for path in kaggle_machine.work.iterdir()} == {
        *("executed.ipynb", "runs", "study.zip")
    }
    executed = json.loads((kaggle_machine.work / "executed.ipynb").read_text())
    *_, session, page, end = executed["cells"]
    assert "runs        1 of 1 are finished" in "".join(session["outputs"][0]["text"])
    assert "run 1 of 1" in log
    assert "run 1 of 1" not in json.dumps(session["outputs"])  # the page is about results
    shown = ["".join(o["data"].get("text/markdown", "")) for o in page["outputs"]]
    assert shown[:2] == ['<a id="01_small"></a>', "# A small study"]
    assert any(text.startswith("**") for text in shown)  # the table
    assert end["outputs"][0]["text"] == ["The session ended without a failure.\n"]


def test_a_damaged_archive_ends_the_session_in_one_line(repository, kaggle_machine):
    script = "\n".join(c["source"] for c in built(repository)["cells"][2:5])
    position = script.index('ARCHIVE = """') + 1000
    script = f"{script[:position]}??{script[position + 2 :]}"
    path = repository / "damaged.py"
    path.write_text(script)
    said = kaggle_machine([], path)
    assert said.returncode == 1
    message = "error: the embedded archive is damaged; build it again: make kernel\n"
    assert said.stderr == message
    assert list(kaggle_machine.work.iterdir()) == []
