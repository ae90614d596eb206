"""Which runs the study's notebooks ask for, known before they are executed.

The notebooks are read: what they give `study.run_all` and `study.sweep` is all there is to know.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from ssn_lib.errors import InputError
from ssn_lib.runs.record import Outcome
from ssn_lib.study import parallel
from ssn_lib.study.runner import Study

ASKING = ("study.run_all", "study.sweep")  # by which a notebook asks for runs


class Plan(Study):
    """A study that makes no run, and notes which ones its notebooks ask for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.asked: dict[tuple[str, str, tuple[str, ...]], None] = {}  # each once, in order

    def read(self, notebook: Path) -> None:
        """Note the runs that a notebook asks for, at the top level of its cells.

        Raises:
            InputError: what it asks for depends on more than imported names and constants.
        """
        names: dict[str, Any] = {"study": self}
        for cell in nbformat.read(notebook, as_version=4).cells:
            for statement in ast.parse(cell.source).body if cell.cell_type == "code" else ():
                try:
                    _follow(statement, names)
                except NameError as error:
                    raise InputError(
                        f"{notebook}: which runs `{ast.unparse(statement)}` asks for cannot be "
                        f"told before it is executed: {error}"
                    ) from None

    def planned(self) -> list[parallel.Task | Outcome]:
        """Every run, and in its place why it cannot be made, where it cannot."""
        return [self._plan(*item, seed) for item in self.asked for seed in self._seeds]

    def tasks(self) -> list[parallel.Task]:
        """All runs that can be made, each once, in the order of `planned`."""
        # A sweep's value may be the preset's own: the same run by two names.
        tasks = {
            item.config.run_id: item for item in self.planned() if isinstance(item, parallel.Task)
        }
        return list(tasks.values())

    def _make_all(self, asked: Iterable[tuple[str, str, tuple[str, ...]]]) -> list:
        """Note them; nothing is made, so nothing comes of it."""
        self.asked |= dict.fromkeys(asked)
        return []


def _follow(statement: ast.stmt, names: dict[str, Any]) -> None:
    """Do what a notebook's statement does, as far as the runs it asks for go."""
    calls = [node for node in ast.walk(statement) if isinstance(node, ast.Call)]
    constant = isinstance(statement, ast.Assign) and not calls
    if isinstance(statement, (ast.Import, ast.ImportFrom)) or constant:
        try:
            exec(compile(ast.Module([statement], []), "notebook", "exec"), names)
        except NameError:  # made of what is not executed here; whoever asks for runs by it is told
            for target in ast.walk(statement):
                if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store):
                    names.pop(target.id, None)
    elif isinstance(statement, (ast.Expr, ast.Assign)):
        for call in calls:
            if ast.unparse(call.func) in ASKING:
                eval(compile(ast.Expression(call), "notebook", "eval"), names)
