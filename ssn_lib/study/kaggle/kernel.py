"""The Kaggle kernel: one notebook that carries the study, and what describes it to Kaggle's CLI."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import lzma
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssn_lib.errors import InputError
from ssn_lib.storage import REPOSITORY, write_text
from ssn_lib.study.kaggle import kernel_metadata
from ssn_lib.study.kaggle.chapters import contents
from ssn_lib.study.kaggle.session import Session

METADATA = kernel_metadata.FILE
BUILT = Path("build/kernel")  # the folder that is pushed; ignored by git
TEMPLATE = "notebooks/kaggle_session.py"
EMBEDDED = (
    *("ssn_lib", "notebooks/[0-9][0-9]_*.ipynb", "LICENSE"),
    # What "What we see" is made of.
    *("results/*/record.json", "results/*/history.csv", "results/*/course.csv"),
    *("results/*.json", "results/efficiency", "results/comparisons"),
)
CURVES = ("history.csv", "course.csv")  # carried to six digits: what is read off them has three
_NUMBER = re.compile(rb"-?\d+\.\d+(?:e[-+]?\d+)?")
MAX_BYTES = 900_000  # Kaggle takes a source of 1 MB
# Few and long: where hiding a cell is not understood, what the kernel carries is a dozen lines.
LINE = 20_000
HIDDEN = {"_kg_hide-input": True, "jupyter": {"source_hidden": True}}  # on Kaggle; in JupyterLab


def build(
    parameters: Mapping[str, Any],
    *,
    owner: str | None = None,
    resume: bool = False,
    datasets: Sequence[str] = (),
    repository: Path = REPOSITORY,
) -> Path:
    """Build the kernel's notebook from the files that git tracks; its path.

    The same files give the same bytes. Its metadata are the template's, with the owner's name, and
    lie beside it: nothing that git tracks is written.

    Args:
        parameters: values for the kernel's parameters cell, in the place of its own.
        owner: name on Kaggle; None for the one of the last build.
        resume: attach the output of the kernel's previous version, so that its runs go on.
        datasets: attached beside those of the template.

    Raises:
        InputError: not a git checkout, an unknown parameter, the metadata cannot be read.
    """
    import jupytext

    built = repository / BUILT
    template = kernel_metadata.read(repository)
    if owner is None and (built / METADATA).exists():
        owner = kernel_metadata.owner_of(
            kernel_metadata.read(built, "make kernel OWNER=<your name on Kaggle>")
        )
    metadata = kernel_metadata.describe(template, owner, resume, datasets)
    book = jupytext.read(repository / TEMPLATE)
    (cell,) = (cell for cell in book.cells if cell.metadata.get("tags") == ["parameters"])
    cell.source, session = _with_values(cell.source, parameters)
    packed, sha256 = _archive(repository)
    said = {
        "COMMIT": _commit(repository),
        "CONTENTS": contents(session.notebooks(repository)),
        "SHA256": sha256,
        "ARCHIVE": f"\n{packed}\n",
    }
    for position, cell in enumerate(book.cells):
        cell.id = f"cell-{position}"  # drawn by chance otherwise
        for name, value in said.items():
            cell.source = cell.source.replace(f"@{name}@", value)
        if cell.cell_type == "code" and not cell.metadata.get("tags"):
            cell.metadata.update(HIDDEN)
    book.metadata.pop("jupytext", None)
    book.metadata["language_info"] = {"name": "python"}
    target = built / metadata["code_file"]
    write_text(target, json.dumps(book, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    kernel_metadata.write(built, metadata)
    return target


def check(repository: Path = REPOSITORY) -> str:
    """Check what `kaggle kernels push` would send; one line that sums it up.

    Raises:
        InputError: naming the field or the cell that is wrong.
    """
    built = repository / BUILT
    metadata = kernel_metadata.check(built, "make kernel")
    path = built / metadata["code_file"]
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        cells, kernelspec = book["cells"], book["metadata"]["kernelspec"]["name"]
        size = len(sent(book).encode())
    except FileNotFoundError:
        raise InputError(f"{path}: not built yet; make kernel") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: not a notebook with a kernelspec; make kernel") from None
    if kernelspec != "python3":
        raise InputError(f"{path}: kernelspec {kernelspec!r}, Kaggle's is 'python3'; make kernel")
    if any(cell.get("outputs") or cell.get("execution_count") for cell in cells):
        raise InputError(f"{path}: it has outputs; make kernel")
    if size > MAX_BYTES:
        raise InputError(f"{path}: {size:,} bytes as sent, Kaggle takes {MAX_BYTES:,}")
    template = kernel_metadata.read(repository)
    if metadata != kernel_metadata.describe(
        template,
        kernel_metadata.owner_of(metadata),
        metadata["id"] in metadata["kernel_sources"],
        metadata["dataset_sources"],
    ):
        raise InputError(f"{built / METADATA}: made of another {METADATA}; make kernel")
    packed, sha256 = _archive(repository)
    sources = ["".join(cell["source"]) for cell in cells]
    if not any(sha256 in source for source in sources):
        raise InputError(f"{path}: built from other files than those that are here; make kernel")
    if not any(packed in source for source in sources):
        raise InputError(f"{path}: the embedded archive is damaged; make kernel")
    return f"{path.relative_to(repository)}: {size:,} bytes as sent, {metadata['id']}"


def sent(book: dict[str, Any]) -> str:
    """A notebook as Kaggle's CLI sends it: every source one text, no outputs."""
    cells = [
        cell | {"source": "".join(cell["source"])} | ({"outputs": []} if "outputs" in cell else {})
        for cell in book["cells"]
    ]
    return json.dumps(book | {"cells": cells})


def owner_is_set(repository: Path = REPOSITORY) -> bool:
    """Whether the built kernel's metadata name the owner."""
    return kernel_metadata.owner_of(kernel_metadata.read(repository / BUILT)) is not None


def _archive(repository: Path) -> tuple[str, str]:
    """The embedded files, packed and in base 85, and the text's SHA-256."""
    tarred = io.BytesIO()
    # New files too, which nobody has added yet, and none that were deleted; names as they are.
    listed = _git(repository, "ls-files", "-z", "-co", "--exclude-standard", "--", *EMBEDDED)
    # This format holds names of any length and in any script.
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted({*listed.split("\0")} - {""}):
            if not os.path.lexists(repository / name):
                continue
            try:
                content = (repository / name).read_bytes()
            except OSError as error:
                raise InputError(
                    f"{repository / name}: {error.strerror}; remove it, or let it be read"
                ) from None
            if name.endswith(CURVES):
                content = _NUMBER.sub(_rounded, content)
            member = tarfile.TarInfo(name)  # no time, no owner: nothing of this machine
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    packed = lzma.compress(tarred.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    text = base64.b85encode(packed).decode()
    lines = (text[start : start + LINE] for start in range(0, len(text), LINE))
    return "\n".join(lines), hashlib.sha256(text.encode()).hexdigest()


def _rounded(number: re.Match[bytes]) -> bytes:
    return f"{float(number[0]):.6g}".encode()


def _commit(repository: Path) -> str:
    """The embedded files' commit, "-dirty" when they differ from it."""
    changed = _git(repository, "status", "--porcelain", "--", *EMBEDDED)
    return _git(repository, "rev-parse", "HEAD") + ("-dirty" if changed else "")


def _git(repository: Path, *words: str) -> str:
    """What git prints; names that are not UTF-8 as Python has them.

    Raises:
        InputError: with git's own reason.
    """
    command = ["git", "-C", str(repository), *words]
    try:
        return os.fsdecode(subprocess.run(command, capture_output=True, check=True).stdout).strip()
    except OSError as error:
        reason = f"git: {error.strerror}"
    except subprocess.CalledProcessError as error:
        reason = " ".join(error.stderr.decode(errors="replace").split())
    raise InputError(
        f"{repository}: the kernel is built from a git checkout, and `git {words[0]}` failed: "
        f"{reason}"
    )


def _with_values(source: str, parameters: Mapping[str, Any]) -> tuple[str, Session]:
    """The parameters cell with other values, and the session that it makes; comments stay where
    the value does."""
    known = [name for name in Session.__dataclass_fields__ if name != "started"]
    lines = source.splitlines()
    for name, value in parameters.items():
        if name not in known:
            raise InputError(f"unknown parameter {name!r}; known: {', '.join(known)}")
        (index,) = (i for i, line in enumerate(lines) if line.startswith(f"{name} = "))
        lines[index] = f"{name} = {value!r}"
    changed = "\n".join(lines)
    values = {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse(changed).body}
    session = Session(**values, started=0.0)
    session.check()
    return changed, session
