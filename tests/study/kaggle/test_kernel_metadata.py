"""The kernel's metadata: what Kaggle takes is accepted, what it refuses or drops is said."""

from __future__ import annotations

import codecs
import json
import socket
import sys

import pytest

from ssn_lib.errors import InputError
from ssn_lib.storage import REPOSITORY
from ssn_lib.study.kaggle import kernel_metadata
from ssn_lib.study.kaggle.kernel_metadata import FILE, check, describe, read

SLUG = "supersimplenet-evolved"


@pytest.fixture
def metadata():
    return json.loads((REPOSITORY / FILE).read_text(encoding="utf-8"))


@pytest.fixture
def changed(metadata, tmp_path):
    """changed(**fields): a folder with the project's metadata, but for these fields."""

    def write(**fields):
        (tmp_path / FILE).write_text(json.dumps(metadata | fields), encoding="utf-8")
        return tmp_path

    return write


def test_the_projects_own_are_right(metadata, changed):
    assert check(changed()) == metadata


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Straße und Gleis", "strasse-und-gleis"),
        ("1,000 images", "1000-images"),
        ("12,000 défauts & œuvres", "12000-defauts-oeuvres"),
        ("表面缺陷检测", "biao-mian-que-xian-jian-ce"),
        ("Łódź: C++ v2.5", "lodz-c-v2-5"),
        ("x_y - surface", "x-y-surface"),
        ("SuperSimpleNet evolved", "SuperSimpleNet-evolved"),
    ],
)
def test_a_title_makes_the_slug_that_kaggles_own_cli_makes(title, slug, changed):
    check(changed(title=title, id=f"somebody/{slug}"))
    with pytest.raises(InputError, match=f"it makes the slug '{slug.lower()}', the id has 'other'"):
        check(changed(title=title, id="somebody/other"))


@pytest.mark.parametrize(
    ("field", "source"),
    [
        ("dataset_sources", "ipythonx/mvtec-ad"),
        ("dataset_sources", "some_body/CORD-19-data"),
        ("competition_sources", "titanic"),
        ("kernel_sources", "some_body/a-kernel"),
        ("model_sources", "google/bert/tensorFlow2/8x7b-instruct-v0.1_hf/12"),
    ],
)
def test_sources_as_kaggle_documents_them_are_accepted(field, source, changed):
    assert check(changed(**{field: [source]}))[field] == [source]


@pytest.mark.parametrize(
    ("field", "source", "message"),
    [
        ("dataset_sources", "mvtec-ad", "expected owner/dataset, and no more, for 'mvtec-ad'"),
        ("dataset_sources", "datasets/owner/name", "expected owner/dataset"),
        ("dataset_sources", "datasets/name", "expected owner/dataset"),
        ("dataset_sources", "owner/name/3", "expected owner/dataset"),
        ("dataset_sources", "owner/name/", "expected owner/dataset"),
        ("dataset_sources", "owner/a name", "expected owner/dataset"),
        ("dataset_sources", "", "expected owner/dataset"),
        ("dataset_sources", "https://www.kaggle.com/datasets/o/name", "expected owner/dataset"),
        ("competition_sources", "c/titanic", "expected competition, and no more, for 'c/titanic'"),
        ("competition_sources", "competitions/titanic", "expected competition"),
        ("kernel_sources", "a-kernel", "expected owner/kernel"),
        ("kernel_sources", "code/owner/a-kernel", "expected owner/kernel"),
        ("kernel_sources", "code/o/k", "expected owner/kernel"),
        ("kernel_sources", "code/a-kernel", "expected owner/kernel"),
        ("kernel_sources", "owner/a-kernel/2", "expected owner/kernel"),
        ("kernel_sources", "owner/four", "Kaggle's CLI refuses 'owner/four': "),
        ("model_sources", "owner/model", "expected owner/model/framework/variation/version"),
        ("model_sources", "owner/model/keras/base", "expected owner/model/framework/variation"),
        ("model_sources", "models/owner/model/keras/base/1", "expected owner/model/framework"),
        (
            "model_sources",
            "owner/model/keras/base/v1",
            "Kaggle's CLI refuses 'owner/model/keras/base/v1'",
        ),
    ],
)
def test_sources_that_kaggle_drops_are_refused(field, source, message, changed):
    good = {"dataset_sources": "ipythonx/mvtec-ad", "competition_sources": "titanic"}.get(field)
    with pytest.raises(InputError, match=rf"{field} = \[.*\]: {message}"):
        check(changed(**{field: [*filter(None, [good]), source]}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": "Another title"}, "it makes the slug 'another-title', the id has"),
        ({"title": "four"}, "title = 'four': expected 5 to 50"),
        ({"title": "x" * 51}, "expected 5 to 50"),
        ({"title": 12345}, "title = 12345: expected text"),
        ({"title": "two\nlines"}, "expected text, in one line"),
        ({"id": SLUG}, f"id = '{SLUG}': expected owner/kernel"),
        ({"id": f"somebody/{SLUG}/2"}, "expected owner/kernel"),
        ({"id": None}, "id = None: expected text"),
        ({"enable_internet": "true"}, "enable_internet = 'true': expected true or false"),
        ({"is_private": 1}, "is_private = 1: expected true or false"),
        ({"dataset_sources": "ipythonx/mvtec-ad"}, "dataset_sources = .* expected a list of texts"),
        ({"kernel_sources": None}, "kernel_sources = None: expected a list of texts"),
        ({"model_sources": [3]}, r"model_sources = \[3\]: expected a list of texts"),
        ({"keywords": "defects"}, "keywords = 'defects': expected a list of texts"),
        ({"machine_shape": "NvidiaTeslaP100"}, "Kaggle has retired the P100"),
        ({"machine_shape": " nvidiateslap100"}, "Kaggle has retired the P100"),
        ({"docker_image_pinning_type": "newest"}, "expected original or latest"),
        ({"enable_interet": True}, "unknown field 'enable_interet'"),
        ({"language": "r"}, "language = 'r': expected 'python'"),
        ({"code_file": "ssn_lib/kernel.py"}, "code_file = .* expected a notebook"),
        ({"code_file": "../kernel.ipynb"}, "code_file = .* expected a notebook"),
        ({"code_file": "/tmp/kernel.ipynb"}, "code_file = .* expected a notebook"),
    ],
)
def test_what_kaggle_would_misread_is_refused(change, message, changed):
    with pytest.raises(InputError, match=message):
        check(changed(**change))


@pytest.mark.parametrize("owner", ["somebody", "some_body", "some-body-2", "Some_Body", "42"])
def test_an_owner_may_have_hyphens_and_underscores(owner, metadata, changed):
    described = describe(metadata, owner, resume=True)
    assert described["id"] == f"{owner}/{SLUG}"
    assert check(changed(**described))["kernel_sources"] == [f"{owner}/{SLUG}"]


@pytest.mark.parametrize("owner", ["", "a b", "a/b", "_a", "a-", "a__b", "straße", "a\n"])
def test_other_owners_are_refused(owner, metadata):
    with pytest.raises(InputError, match="as in your profile's address"):
        describe(metadata, owner, resume=False)


@pytest.mark.parametrize(
    "encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"], ids=str
)
def test_another_encoding_is_said_and_building_corrects_it(encoding, metadata, tmp_path):
    theirs = metadata | {"title": "Straße 表面", "id": "somebody/strasse-biao-mian"}
    (tmp_path / FILE).write_text(json.dumps(theirs, ensure_ascii=False), encoding=encoding)
    with pytest.raises(InputError, match=r"Kaggle's CLI reads utf-8; make kernel saves it so"):
        check(tmp_path)
    kernel_metadata.write(tmp_path, read(tmp_path))
    assert check(tmp_path) == theirs
    assert "Straße 表面" in (tmp_path / FILE).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"title": "Straße"}'.encode("latin-1"), "not UTF-8 text; save it as UTF-8"),
        (codecs.BOM_UTF16_LE + b"{\0}", "not UTF-8 text; save it as UTF-8"),
        (b"", "not JSON .*Expecting value in line 1"),
        (b'{\n"id": 1,\n}', "not JSON .*in line [23]"),
        (b"[]", "not a JSON object"),
        (b"{}", "'id' is missing"),
        (None, "missing; `git checkout kernel-metadata.json`"),
    ],
    ids=["latin-1", "half a character", "empty", "comma", "list", "no field", "no file"],
)
def test_what_cannot_be_read_gets_one_line(content, message, tmp_path):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        check(tmp_path)
    assert FILE in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_its_place_gets_one_line(tmp_path):
    (tmp_path / FILE).mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        check(tmp_path)


def test_nothing_is_asked_of_kaggle_and_nothing_is_left(changed, tmp_path, monkeypatch, capfd):
    home = tmp_path / "home"
    home.mkdir()
    for name, value in (("HOME", home), ("KAGGLE_API_TOKEN", "a token"), ("XDG_CONFIG_HOME", home)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("KAGGLE_CONFIG_DIR", raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: pytest.fail("the network was asked"))
    kernel_metadata._cli.cache_clear()
    check(changed())
    assert "kaggle" not in sys.modules
    assert list(home.iterdir()) == []
    assert "".join(capfd.readouterr()) == ""


def test_without_the_cli_it_says_what_to_install(changed, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "kaggle", raising=False)
    kernel_metadata._cli.cache_clear()
    with pytest.raises(InputError, match="pip install kaggle"):
        check(changed())
    kernel_metadata._cli.cache_clear()
