"""What describes the kernel to Kaggle's CLI: kernel-metadata.json, read, changed and checked.

The one at the repository's top is the template, which git tracks. The one that is pushed lies
beside the built notebook, and names its owner.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from ssn_lib.errors import InputError
from ssn_lib.storage import write_text

FILE = "kernel-metadata.json"
OWNER_UNSET = "INSERT_OWNER_HERE"
RESTORE = f"`git checkout {FILE}`"  # what brings the template back


# As of Kaggle's CLI; a name beside them is a misspelling, which it would pass over.
_TEXTS = ("id", "title", "code_file", "language", "kernel_type", "machine_shape")
_BOOLEANS = ("is_private", "enable_gpu", "enable_tpu", "enable_internet")


# How an item is written, as Kaggle documents it; what differs is dropped, and the push succeeds.
_SOURCES = {
    "dataset_sources": "owner/dataset",
    "competition_sources": "competition",
    "kernel_sources": "owner/kernel",
    "model_sources": "owner/model/framework/variation/version",
}
_OPTIONAL = ("id_no", "keywords", "docker_image", "docker_image_pinning_type")
_ADDRESS_WORDS = ("c", "code", "competitions", "dataset", "datasets", "kernels", "models")


# The CLI's own checks, by field.
_CHECKS = {
    "id": "validate_kernel_string",
    "dataset_sources": "validate_dataset_string",
    "kernel_sources": "validate_kernel_string",
    "model_sources": "validate_model_instance_version_string",
}


def read(folder: Path, remedy: str = RESTORE) -> dict[str, Any]:
    """The metadata, every field there and of its type; UTF-16 and byte order marks are read too.

    Args:
        remedy: what makes the file anew, for the message.

    Raises:
        InputError: not readable, not JSON, or naming the field.
    """
    path = folder / FILE
    again = f"or {remedy}"
    try:
        metadata = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {remedy}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; save it as UTF-8, {again}") from None
    except json.JSONDecodeError as error:
        reason = f"{error.msg} in line {error.lineno}"
        raise InputError(f"{path}: not JSON ({reason}); correct it, {again}") from None
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: not a JSON object; correct it, {again}")
    for name in (*_TEXTS, *_BOOLEANS, *_SOURCES):
        if name not in metadata:
            raise InputError(f"{path}: {name!r} is missing")
    _check_types(metadata)
    return metadata


def write(folder: Path, metadata: dict[str, Any]) -> None:
    """Write it as the CLI reads it: UTF-8, without a mark."""
    write_text(folder / FILE, json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")


def describe(
    template: dict[str, Any], owner: str | None, resume: bool, datasets: Sequence[str] = ()
) -> dict[str, Any]:
    """What is pushed: the template with that owner, the notebook in the same folder, more inputs.

    Args:
        owner: on Kaggle; None for the template's.
        resume: attach the kernel's own output.
        datasets: attached beside the template's, as "owner/dataset".

    Raises:
        InputError: a name that no owner has, or no owner where the own output is wanted.
    """
    slug = template["id"].rpartition("/")[2]
    # As the CLI has it of owners, but in capitals too: addresses are the same in both.
    if owner is not None and not re.fullmatch(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*", owner):
        raise InputError(
            f"owner {owner!r}: letters and digits, with single hyphens or underscores between "
            "them, as in your profile's address"
        )
    own = f"{owner}/{slug}" if owner else template["id"]
    for name in datasets:
        if not re.fullmatch(r"[\w-]+/[\w.-]+", name, re.A):
            raise InputError(f"data set {name!r}: expected owner/dataset, as in its address")
    if resume and own.startswith(OWNER_UNSET):
        raise InputError("to resume, the kernel's owner must be known: make kernel OWNER=<name>")
    return template | {
        "id": own,
        "code_file": Path(template["code_file"]).name,
        "kernel_sources": [*template["kernel_sources"], *([own] if resume else [])],
        "dataset_sources": list(dict.fromkeys([*template["dataset_sources"], *datasets])),
    }


def owner_of(metadata: dict[str, Any]) -> str | None:
    """The owner that it names; None while it names none."""
    owner = metadata["id"].rpartition("/")[0]
    return None if owner in ("", OWNER_UNSET) else owner


def check(folder: Path, remedy: str = RESTORE) -> dict[str, Any]:
    """The metadata, of which `kaggle kernels push` refuses nothing and Kaggle drops nothing.

    Raises:
        InputError: naming the field that is wrong.
    """
    metadata = read(folder, remedy)
    path = folder / FILE
    encoding = json.detect_encoding(path.read_bytes())
    if encoding != "utf-8":
        raise InputError(f"{path}: {encoding}, Kaggle's CLI reads utf-8; make kernel saves it so")
    cli = _cli()
    for name in metadata:
        if name not in (*_TEXTS, *_BOOLEANS, *_SOURCES, *_OPTIONAL):
            raise InputError(f"{FILE}: unknown field {name!r}")
    _check_name(cli, metadata, "id", metadata["id"], "owner/kernel")
    for field, form in _SOURCES.items():
        for source in metadata[field]:
            _check_name(cli, metadata, field, source, form)
    if not 5 <= len(metadata["title"]) <= 50:
        _refuse(metadata, "title", "expected 5 to 50 characters")
    slug, expected = metadata["id"].rpartition("/")[2], cli.slugify(metadata["title"])
    if slug.lower() != expected:
        _refuse(metadata, "title", f"it makes the slug {expected!r}, the id has {slug!r}")
    if (metadata["language"], metadata["kernel_type"]) != ("python", "notebook"):
        _refuse(metadata, "language", "expected 'python', and kernel_type 'notebook'")
    shape = metadata["machine_shape"].strip().lower()
    if metadata["enable_gpu"] and shape == "nvidiateslap100":
        _refuse(metadata, "machine_shape", "Kaggle has retired the P100; NvidiaTeslaT4")
    pinning, known = (
        metadata.get("docker_image_pinning_type"),
        cli.KaggleApi.valid_push_pinning_types,
    )
    if pinning is not None and pinning not in known:
        _refuse(metadata, "docker_image_pinning_type", f"expected {' or '.join(known)}")
    return metadata


def _check_types(metadata: dict[str, Any]) -> None:
    for name in _TEXTS:
        # Nothing printable has a line's end in it, or half a character.
        if not isinstance(metadata[name], str) or not metadata[name].isprintable():
            _refuse(metadata, name, "expected text, in one line")
    for name in _BOOLEANS:
        if not isinstance(metadata[name], bool):
            _refuse(metadata, name, "expected true or false, without quotes")
    for name in (*_SOURCES, "keywords"):
        items = metadata.get(name, [])
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            _refuse(metadata, name, "expected a list of texts")
    code = Path(metadata["code_file"])
    if code.suffix != ".ipynb" or code.is_absolute() or ".." in code.parts:
        _refuse(metadata, "code_file", f"expected a notebook (.ipynb) below the folder of {FILE}")


def _check_name(
    cli: ModuleType, metadata: dict[str, Any], field: str, name: str, form: str
) -> None:
    """Whether a field's name, or one of its names, has the form "owner/…"."""
    parts, wanted = name.split("/"), form.split("/")
    # Parts of an address, such as "datasets/owner/dataset", are what Kaggle drops most often.
    misled = len(parts) > 1 and parts[0] in _ADDRESS_WORDS
    if (
        misled
        or len(parts) != len(wanted)
        or not all(re.fullmatch(r"[\w.-]+", p, re.A) for p in parts)
    ):
        _refuse(metadata, field, f"expected {form}, and no more, for {name!r}")
    # Functions of a class that needs nothing of its own for them, no credentials either.
    own_check = getattr(cli.KaggleApi, _CHECKS.get(field, ""), None)
    try:
        if own_check is not None:
            own_check(None, name)
    except ValueError as error:
        _refuse(metadata, field, f"Kaggle's CLI refuses {name!r}: {error}")


def _refuse(metadata: dict[str, Any], field: str, wanted: str) -> NoReturn:
    raise InputError(f"{FILE}: {field} = {metadata[field]!r}: {wanted}")


@cache
def _cli() -> ModuleType:
    """The module in which Kaggle's CLI has its own checks.

    Only that module: `import kaggle` logs in, over the network where there is a token, and ends
    the process where there is none. It is forgotten again, so that a later import does all of it,
    and the CLI's folder of settings is not made.

    Raises:
        InputError: it is not installed.
    """
    if "kaggle" in sys.modules:
        from kaggle.api import kaggle_api_extended

        return kaggle_api_extended
    spec = importlib.util.find_spec("kaggle")
    if spec is None:
        raise InputError("the metadata are checked with Kaggle's CLI: pip install kaggle")
    settings = os.environ.get("KAGGLE_CONFIG_DIR")
    os.environ["KAGGLE_CONFIG_DIR"] = tempfile.gettempdir()
    sys.modules["kaggle"] = importlib.util.module_from_spec(spec)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from kaggle.api import kaggle_api_extended
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "kaggle"]:
            del sys.modules[name]
        del os.environ["KAGGLE_CONFIG_DIR"]
        if settings is not None:
            os.environ["KAGGLE_CONFIG_DIR"] = settings
    return kaggle_api_extended
