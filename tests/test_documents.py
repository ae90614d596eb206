"""The documents: short enough, their links resolve, and the commands in them exist."""

from __future__ import annotations

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

import ssn_lib
from ssn_lib import arguments
from ssn_lib.data.registry import DATASETS
from ssn_lib.presets import PRESETS
from ssn_lib.storage import REPOSITORY
from ssn_lib.study.profiles import PROFILES

LONGEST_README = 12_000  # bytes
FOLDERS = ("ssn_lib", "notebooks", "tests")  # not results/ and figures/, which are generated
DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(p for name in FOLDERS for p in (REPOSITORY / name).rglob("*.md"))]
)
GENERATED = REPOSITORY / "results" / "README.md"  # by `make report`
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
EXTERNAL = ("https://", "http://", "mailto:")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def headings(path: Path) -> set[str]:
    """As GitHub names them in links."""
    text = re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def links(path: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", text_of(path))
    return [link for link in found if not link.startswith(EXTERNAL)]


def blocks(path: Path, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(path), re.DOTALL | re.MULTILINE)


def commands(path: Path) -> list[str]:
    """Lines of code blocks and code in the text, long lines joined."""
    lines = [line for block in blocks(path) for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    return lines + [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def called(path: Path) -> list[list[str]]:
    """The words behind `python -m ssn_lib` in each command."""
    found = [re.search(r"python -m ssn_lib(?= |$)(.*)", line) for line in commands(path)]
    return [shlex.split(match[1], comments=True) for match in found if match]


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_bytes()) <= LONGEST_README


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_resolve(path):
    for link in links(path):
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        if target == GENERATED:
            continue
        assert target.exists(), link
        assert target.is_relative_to(REPOSITORY), link
        assert not anchor or anchor in headings(target), link


def test_every_document_is_reached_from_the_readme():
    reached, new = set(), {REPOSITORY / "README.md"}
    while new:
        reached |= new
        targets = {(p.parent / link.partition("#")[0]).resolve() for p in new for link in links(p)}
        new = {target for target in targets if target in DOCUMENTS} - reached
    assert reached == {*DOCUMENTS}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_contents_name_every_section(path):
    """Where a document begins with a list of its sections."""
    listed = re.findall(r"^- \[.+\]\(#(.+)\)$", text_of(path), re.MULTILINE)
    sections = re.findall(r"^## (.+)$", text_of(path), re.MULTILINE)
    if listed:
        assert len(listed) == len(sections)
        assert {*listed} <= headings(path)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_commands_parse(path):
    for words in called(path):
        if not words or words == ["--help"] or words[1:] == ["--help"]:
            continue
        options = vars(arguments.parser().parse_args(words))  # SystemExit where it does not
        assert options.get("preset") in (None, "PRESET", arguments.AUTO, *PRESETS)
        assert options.get("dataset") in (None, *DATASETS)
        assert options.get("profile") in (None, *PROFILES)


def test_the_readmes_have_commands():
    assert sum(len(called(path)) for path in DOCUMENTS) > 20


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_targets_of_make_exist(path):
    lines = [re.match(r"make ([a-z-]+)", line) for line in commands(path)]
    assert {match[1] for match in lines if match} <= TARGETS


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_python_imports_what_is_public(path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("ssn_lib"):
                module = import_module(node.module)
                names = [alias.name for alias in node.names]
                assert all(hasattr(module, name) for name in names)
                assert module is not ssn_lib or {*names} <= {*ssn_lib.__all__}


def test_the_readme_counts_the_verdicts():
    ledger = (REPOSITORY / "figures" / "ledger.md").read_text(encoding="utf-8")
    (counted,) = re.findall(r"^- (\d+) claims: (.*)\. \d+ of the verdicts", ledger, re.MULTILINE)
    said = re.sub(r"\s+", " ", text_of(REPOSITORY / "README.md"))
    assert f"Of {counted[0]} claims of the slides, " in said
    words = (
        "are reproduced",
        "are not reproduced",
        "have another explanation",
        "cannot be measured",
    )
    for part, word in zip(counted[1].split(", "), words, strict=True):
        assert f"{part.split()[0]} {word}" in said


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_files_named_in_the_text_exist(path):
    """`folder/file.py` counts from the repository, the package, or the document's own folder."""
    prose = re.sub(r"^```.*?^```$", "", text_of(path), flags=re.DOTALL | re.MULTILINE)
    for name in re.findall(r"`([\w./]+\.py)`", prose):
        places = (REPOSITORY, REPOSITORY / "ssn_lib", path.parent)
        assert "NAME" in name or any((place / name).exists() for place in places), name


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_readers_names_are_used(path):
    assert "kolektor_sdd1" not in text_of(path)


def test_the_documents_are_not_installed():
    packages = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (data,) = re.findall(r"package-data\]\n(.*?)\n\n", packages, re.DOTALL)
    assert ".md" not in data
    assert not (REPOSITORY / "MANIFEST.in").exists()
