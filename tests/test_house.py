"""Which folder may import which, and that what only reads records waits for no PyTorch."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ssn_lib
from ssn_lib.runs.record import read_record
from ssn_lib.storage import REPOSITORY

PACKAGE = REPOSITORY / "ssn_lib"
# From the ground up: a part imports parts of earlier rows, and its own.
LAYERS = (
    {"errors"},
    {"config"},
    {"presets"},
    {"overrides", "checks"},
    {"storage"},
    {"machine", "metrics", "losses", "pictures"},
    {"data"},
    {"models"},
    {"noise"},
    {"fast"},
    {"inference"},
    {"training"},
    {"runs"},
    {"deploy"},
    {"study"},
    {"arguments"},
    {"cli"},
    {"__main__"},
)
FLOOR = {part: floor for floor, parts in enumerate(LAYERS) for part in parts}
LONGEST_MODULE = 500
LONGEST_FUNCTION = 60
LONG = {  # functions that may be longer, each with its reason
    "data/rendered.py: bottle": "one picture, drawn from the ground up",
    "study/notebooks.py: execute": "each way in which a notebook fails is a line of its own",
    "study/notebooks.py: study": "half of it names and explains its arguments",
}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [
        path
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent != PACKAGE or part_of(path) != "__init__"
    ]


def imports(path: Path) -> list[tuple[str, bool]]:
    """Parts of the package that a module imports, and whether inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: a relative import"
        if isinstance(node, ast.Import):
            parts = [
                one.name.split(".")[1] for one in node.names if one.name.startswith("ssn_lib.")
            ]
            found += [(part, id(node) in late) for part in parts if part in FLOOR]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ssn_lib":
            parts = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            found += [(part, id(node) in late) for part in parts if part in FLOOR]
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    own = part_of(path)
    upward = [part for part, _ in imports(path) if part != own and FLOOR[part] >= FLOOR[own]]
    assert not upward


def test_the_command_line_alone_knows_the_study_and_imports_it_late():
    for path in modules():
        for part, late in imports(path):
            if part == "study" and part_of(path) != "study":
                assert (path.name, late) == ("cli.py", True)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_can_be_read_in_one_go(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def functions(path: Path) -> list[ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_a_function_can_be_seen_at_once():
    long = {
        f"{path.relative_to(PACKAGE).as_posix()}: {function.name}"
        for path in modules()
        for function in functions(path)
        if function.end_lineno - function.lineno >= LONGEST_FUNCTION
    }
    assert long == LONG.keys()


def described(node: ast.Module | ast.ClassDef) -> list[ast.FunctionDef | ast.ClassDef]:
    """The public functions, classes and methods of a module or a class."""
    public = [
        child
        for child in node.body
        if isinstance(child, (ast.FunctionDef, ast.ClassDef)) and not child.name.startswith("_")
    ]
    within = [described(child) for child in public if isinstance(child, ast.ClassDef)]
    return [*public, *(method for methods in within for method in methods)]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_public_says_what_it_is(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node.name for node in described(tree) if not ast.get_docstring(node)]


@pytest.mark.parametrize("name", ssn_lib.__all__)
def test_the_public_door_explains_every_argument(name):
    function = getattr(ssn_lib, name)
    arguments = [] if isinstance(function, type) else list(inspect.signature(function).parameters)
    if len(arguments) >= 2:
        explained = inspect.getdoc(function).partition("Args:\n")[2].partition("\n\n")[0]
        unexplained = [a for a in arguments if not re.search(rf"\b{a}\b.*: ", explained)]
        assert not unexplained


@pytest.mark.parametrize(
    "module",
    [
        "ssn_lib",
        "ssn_lib.cli",
        "ssn_lib.runs.record",
        "ssn_lib.deploy.limits",
        "ssn_lib.deploy.page",
        "ssn_lib.study.claims.noise",
        "ssn_lib.study.claims.supervision",
        "ssn_lib.study.claims.swap",
    ]
    + [f"ssn_lib.study.tables.{name}" for name in ("costs", "evolved", "noise", "overview")]
    + [f"ssn_lib.study.figures.{name}" for name in ("courses", "networks", "supervision")],
)
def test_what_reads_records_loads_no_pytorch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_package_is_installed():
    packages = {path.parent for path in PACKAGE.rglob("__init__.py")}
    listed = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for package in packages:
        assert f'"{".".join(package.relative_to(REPOSITORY).parts)}"' in listed


RECORDS = sorted((REPOSITORY / "results").glob("*/record.json"))


def test_every_committed_record_is_read_with_its_id():
    assert RECORDS
    for path in RECORDS:
        record = read_record(path.parent)
        assert record.run_id == record.config.run_id == path.parent.name
