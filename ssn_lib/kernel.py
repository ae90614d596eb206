"""The Kaggle kernel: one notebook that carries the study, and what describes it to Kaggle's CLI."""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import json
import lzma
import re
import subprocess
import tarfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssn_lib.errors import InputError
from ssn_lib.files import write_text
from ssn_lib.session import Session
from ssn_lib.study import REPOSITORY

METADATA = "kernel-metadata.json"
TEMPLATE = "notebooks/kaggle_session.py"
EMBEDDED = ("ssn_lib", "notebooks/[0-9][0-9]_*.ipynb", "results/*/record.json", "LICENSE")
MAX_BYTES = 900_000  # Kaggle takes a source of 1 MB
OWNER_UNSET = "INSERT_OWNER_HERE"
# As of Kaggle's CLI; a name beside them is a misspelling, which it would pass over.
_BOOLEANS = ("is_private", "enable_gpu", "enable_tpu", "enable_internet")
_SOURCES = ("dataset_sources", "competition_sources", "kernel_sources", "model_sources")
_OTHERS = ("id_no", "keywords", "docker_image", "docker_image_pinning_type")
_TEXTS = ("id", "title", "code_file", "language", "kernel_type", "machine_shape")


def build(
    parameters: Mapping[str, Any],
    *,
    owner: str | None = None,
    resume: bool = False,
    repository: Path = REPOSITORY,
) -> Path:
    """Build the kernel's notebook from the files that git tracks; its path.

    The same files give the same bytes.

    Args:
        parameters: values for the kernel's parameters cell, in the place of its own.
        owner: name on Kaggle; written into the metadata once, and kept there.
        resume: attach the output of the kernel's previous version, so that its runs go on.

    Raises:
        InputError: not a git checkout, an unknown parameter, the metadata cannot be read.
    """
    import jupytext

    metadata = _describe(_metadata(repository), owner, resume)
    packed, sha256 = _archive(repository)
    said = {"COMMIT": _commit(repository), "SHA256": sha256, "ARCHIVE": f"\n{packed}\n"}
    book = jupytext.read(repository / TEMPLATE)
    for position, cell in enumerate(book.cells):
        cell.id = f"cell-{position}"  # drawn by chance otherwise
        if cell.metadata.get("tags") == ["parameters"]:
            cell.source = _with_values(cell.source, parameters)
        for name, value in said.items():
            cell.source = cell.source.replace(f"@{name}@", value)
        if "ARCHIVE = " in cell.source:
            cell.metadata["jupyter"] = {"source_hidden": True}
    book.metadata.pop("jupytext", None)
    book.metadata["language_info"] = {"name": "python"}
    target = repository / metadata["code_file"]
    write_text(target, json.dumps(book, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    write_text(repository / METADATA, json.dumps(metadata, indent=2) + "\n")
    return target


def check(repository: Path = REPOSITORY) -> str:
    """Check what `kaggle kernels push` would send; one line that sums it up.

    Raises:
        InputError: naming the field or the cell that is wrong.
    """
    metadata = _metadata(repository)
    _check_metadata(metadata)
    path = repository / metadata["code_file"]
    try:
        book = json.loads(path.read_text(encoding="utf-8"))
        cells, kernelspec = book["cells"], book["metadata"]["kernelspec"]["name"]
    except FileNotFoundError:
        raise InputError(f"{path}: not built yet; make kernel") from None
    except (ValueError, KeyError):
        raise InputError(f"{path}: not a notebook with a kernelspec; make kernel") from None
    if kernelspec != "python3":
        raise InputError(f"{path}: kernelspec {kernelspec!r}, Kaggle's is 'python3'; make kernel")
    if any(cell.get("outputs") or cell.get("execution_count") for cell in cells):
        raise InputError(f"{path}: it has outputs; make kernel")
    size = len(sent(book).encode())
    if size > MAX_BYTES:
        raise InputError(f"{path}: {size:,} bytes as sent, Kaggle takes {MAX_BYTES:,}")
    sha256 = _archive(repository)[1]
    if not any(sha256 in "".join(cell["source"]) for cell in cells):
        raise InputError(f"{path}: built from other files than those that are here; make kernel")
    return f"{path.relative_to(repository)}: {size:,} bytes as sent, {metadata['id']}"


def sent(book: dict[str, Any]) -> str:
    """A notebook as Kaggle's CLI sends it: every source one text, no outputs."""
    cells = [
        cell | {"source": "".join(cell["source"])} | ({"outputs": []} if "outputs" in cell else {})
        for cell in book["cells"]
    ]
    return json.dumps(book | {"cells": cells})


def owner_is_set(repository: Path = REPOSITORY) -> bool:
    """Whether the metadata name the owner."""
    return not _metadata(repository)["id"].startswith(OWNER_UNSET)


def _metadata(repository: Path) -> dict[str, Any]:
    path = repository / METADATA
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        for name in (*_TEXTS, *_BOOLEANS, *_SOURCES):
            if name not in metadata:
                raise InputError(f"{path}: {name!r} is missing")
    except (FileNotFoundError, json.JSONDecodeError):
        raise InputError(f"{path}: missing, or not JSON; `git checkout {METADATA}`") from None
    return metadata


def _describe(metadata: dict[str, Any], owner: str | None, resume: bool) -> dict[str, Any]:
    """The metadata with that owner, and with or without the kernel's own output as a source."""
    former = metadata["id"]
    slug = former.rpartition("/")[2]
    if owner is not None and not re.fullmatch(r"[A-Za-z0-9-]+", owner):
        raise InputError(
            f"owner {owner!r}: letters, digits and hyphens, as in your profile's address"
        )
    own = f"{owner}/{slug}" if owner else former
    if resume and own.startswith(OWNER_UNSET):
        raise InputError("to resume, the kernel's owner must be known: make kernel OWNER=<name>")
    others = [source for source in metadata["kernel_sources"] if source not in (former, own)]
    return metadata | {"id": own, "kernel_sources": [*others, own] if resume else others}


def _check_metadata(metadata: dict[str, Any]) -> None:
    def refuse(name: str, wanted: str) -> None:
        raise InputError(f"{METADATA}: {name} = {metadata[name]!r}: {wanted}")

    for name in metadata:
        if name not in (*_TEXTS, *_BOOLEANS, *_SOURCES, *_OTHERS):
            raise InputError(f"{METADATA}: unknown field {name!r}")
    for name in _TEXTS:
        if not isinstance(metadata[name], str):
            refuse(name, "expected text")
    for name in _BOOLEANS:
        if not isinstance(metadata[name], bool):
            refuse(name, "expected true or false, without quotes")
    for name in _SOURCES:
        for source in metadata[name]:
            parts = str(source).split("/")
            if name != "competition_sources" and (len(parts) < 2 or not all(parts)):
                refuse(name, "expected owner/name in every item")
    if not 5 <= len(metadata["title"]) <= 50:
        refuse("title", "expected 5 to 50 characters")
    slug = metadata["id"].rpartition("/")[2]
    if _slug(metadata["title"]) != slug:
        refuse("title", f"it makes the slug {_slug(metadata['title'])!r}, the id has {slug!r}")
    if (metadata["language"], metadata["kernel_type"]) != ("python", "notebook"):
        refuse("language", "expected 'python', and kernel_type 'notebook'")
    if metadata["enable_gpu"] and metadata["machine_shape"] == "NvidiaTeslaP100":
        refuse("machine_shape", "Kaggle has retired the P100; NvidiaTeslaT4")


def _slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _archive(repository: Path) -> tuple[str, str]:
    """The embedded files, packed and in base 85, and the text's SHA-256."""
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        # New files too, which nobody has added yet, and none that were deleted.
        listed = _git(repository, "ls-files", "-co", "--exclude-standard", "--", *EMBEDDED)
        for name in sorted({*listed.splitlines()}):
            if not (repository / name).exists():
                continue
            content = (repository / name).read_bytes()
            member = tarfile.TarInfo(name)  # no time, no owner: nothing of this machine
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    packed = lzma.compress(tarred.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    text = base64.b85encode(packed).decode()
    lines = (text[start : start + 100] for start in range(0, len(text), 100))
    return "\n".join(lines), hashlib.sha256(text.encode()).hexdigest()


def _commit(repository: Path) -> str:
    """The embedded files' commit, "-dirty" when they differ from it."""
    changed = _git(repository, "status", "--porcelain", "--", *EMBEDDED)
    return _git(repository, "rev-parse", "HEAD") + ("-dirty" if changed else "")


def _git(repository: Path, *words: str) -> str:
    command = ["git", "-C", str(repository), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        raise InputError(
            f"{repository}: the kernel is built from a git checkout, and `git {words[0]}` failed"
        ) from None


def _with_values(source: str, parameters: Mapping[str, Any]) -> str:
    """The parameters cell with other values; comments stay where the value does."""
    known = [name for name in Session.__dataclass_fields__ if name != "started"]
    lines = source.splitlines()
    for name, value in parameters.items():
        if name not in known:
            raise InputError(f"unknown parameter {name!r}; known: {', '.join(known)}")
        (index,) = (i for i, line in enumerate(lines) if line.startswith(f"{name} = "))
        lines[index] = f"{name} = {value!r}"
    changed = "\n".join(lines)
    values = {n.targets[0].id: ast.literal_eval(n.value) for n in ast.parse(changed).body}
    Session(**values, started=0.0).check()
    return changed
