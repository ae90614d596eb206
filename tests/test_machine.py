import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import torch

from ssn_lib import machine
from ssn_lib.runs.record import device_name

REPOSITORY = Path(machine.__file__).resolve().parent.parent


def cpu(threads, processor="A"):
    return {"device": "cpu", "threads": threads, "processor": processor}


@pytest.mark.parametrize(
    ("environments", "name"),
    [
        ([cpu(1)], "CPU, 1 thread (A)"),
        ([cpu(2), cpu(2)], "CPU, 2 threads (A)"),
        ([cpu(2), cpu(1)], "CPU, 1 or 2 threads (A)"),
        ([cpu(2), cpu(4, "B")], "CPU, 2 threads (A), CPU, 4 threads (B)"),
        ([cpu(2), cpu(2, "B")], "CPU, 2 threads (A or B)"),
        ([cpu(2, "Intel(R) Xeon(R) Processor")], "CPU, 2 threads (Intel Xeon)"),
        ([cpu(2), {"device": "cuda", "gpu": "T4"}], "T4, CPU, 2 threads (A)"),
        ([{"device": "mps"}] * 2, "mps"),
    ],
)
def test_every_device_is_named_once(environments, name):
    assert device_name(*environments) == name


def test_mixed_precision_has_the_range_of_float32_where_the_device_allows():
    assert machine.low_precision(torch.device("cpu")) == torch.bfloat16


@pytest.mark.parametrize(
    ("flags", "gains"),
    [
        ("fma avx2 avx512f", False),
        ("avx2 avx512_bf16 avx512vl", True),
        ("avx2 amx_bf16 amx_tile", True),
        (None, False),  # another system
    ],
)
def test_processors_with_units_for_bfloat16_gain_from_it(flags, gains, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    if flags is not None:
        path.write_text(f"processor\t: 0\nmodel name\t: A B\nflags\t\t: {flags}\n")
    monkeypatch.setattr(machine, "_CPU_INFO", path)
    assert machine.gains_from_low_precision(torch.device("cpu")) is gains
    assert machine.gains_from_low_precision(torch.device("cuda"))
    assert not machine.gains_from_low_precision(torch.device("mps"))


def test_every_requirement_has_a_bound_that_can_be_tried():
    """`make test-oldest` installs them as they stand, on the oldest Python."""
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    asked = [line.split("#")[0].strip() for line in lines if not line.startswith("#")]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    for extra in project["project"]["optional-dependencies"].values():
        asked += extra
    for requirement in asked:
        assert re.fullmatch(r"[\w-]+(\[\w+\])?>=\d+\.\d+\.\d+", requirement)
    recipe = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    pipeline = re.search(r"grep -ohE .*?(?= > )", recipe.replace("\\\n", ""))[0].replace("$$", "$")
    pins = subprocess.run(
        pipeline, shell=True, cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {re.sub(r"\[\w+\]", "", one).replace(">=", "==") for one in asked} <= {*pins}
    python = re.fullmatch(r">=(3\.\d+)", project["project"]["requires-python"])[1]
    assert project["tool"]["ruff"]["target-version"] == f"py{python.replace('.', '')}"
    assert f"OLDEST_PYTHON ?= python{python}" in recipe.splitlines()


def test_initial_weights_follow_the_seed_and_leave_the_generator_as_it_was():
    def drawn():
        with machine.seeded(7):
            return torch.rand(3)

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second = drawn(), drawn()
    assert torch.equal(first, second)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(7)
    assert torch.equal(first, torch.rand(3))


def test_another_repository_around_the_package_is_not_its_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("SSN_GIT_COMMIT", raising=False)
    module = tmp_path / "site-packages" / "machine.py"
    module.parent.mkdir()
    module.touch()
    (tmp_path / "own.py").touch()
    who = ["-c", "user.name=A", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "own.py"], [*who, "commit", "-q", "-m", "own"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    monkeypatch.setattr(machine, "__file__", str(module))
    machine._git_commit.cache_clear()
    assert machine._git_commit() is None
    subprocess.run(["git", "-C", str(tmp_path), "add", str(module)], check=True)
    assert machine._git_commit() is None  # what is loaded stays, whatever happens to the files
    machine._git_commit.cache_clear()
    assert machine._git_commit().endswith("-dirty")  # added, and not committed
    machine._git_commit.cache_clear()


def test_products_of_float32_are_exact_after_it():
    parts = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [part.allow_tf32 for part in parts]
    try:
        for part in parts:
            part.allow_tf32 = True
        machine.exact_float32()
        assert [part.allow_tf32 for part in parts] == [False, False]
    finally:
        for part, allowed in zip(parts, before, strict=True):
            part.allow_tf32 = allowed
