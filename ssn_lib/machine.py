"""The machine under a run: device, seeds, versions."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ssn_lib.errors import InputError

# On processors with bfloat16 oneDNN, and PyTorch's layer above it, each keep what they prepare for
# every shape that they meet, some ten megabytes each, and how many pixels get noise differs from
# step to step: their own limits of 1024 of them are more than most machines hold. They read these
# once, at the first product.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")
os.environ.setdefault("LRU_CACHE_CAPACITY", "64")


_CPU_INFO = Path("/proc/cpuinfo")
_CONTROL_GROUP, _OF_FILES = Path("/sys/fs/cgroup"), "inactive_file "
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's mallopt


def device() -> torch.device:
    """The accelerator PyTorch offers, or the CPU."""
    if torch.cuda.is_available():
        exact_float32()
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def prepare(on: torch.device) -> None:
    """Set a device up for a training, whoever named it: exact products, freed memory kept."""
    if on.type == "cuda":
        exact_float32()
    elif on.type == "cpu":
        keep_freed_memory()


def move(tensor: torch.Tensor, to: torch.device) -> torch.Tensor:
    """The tensor on that device; to a GPU through pinned memory, so that nothing has to wait."""
    if to.type == "cuda" and tensor.is_cpu:
        return tensor.pin_memory().to(to, non_blocking=True)
    return tensor.to(to)


def low_precision(on: torch.device) -> torch.dtype:
    """The dtype of half the size that a device is fast in, if in any: float16 on older GPUs."""
    if on.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16
    return torch.bfloat16


def exact_float32() -> None:
    """Let float32 products on a GPU be float32: PyTorch otherwise rounds the factors of
    convolutions to 10 bits (TF32) on recent ones, and the published runs' GPU could not."""
    for part in (torch.backends.cudnn, torch.backends.cuda.matmul):
        part.allow_tf32 = False


def without_autocast(on: torch.device) -> contextlib.AbstractContextManager:
    """A block in which `torch.autocast`, wherever it was entered, changes nothing on that device:
    for algebra whose products must not be rounded, and what chooses its precision itself."""
    if torch.is_autocast_enabled(on.type):
        return torch.autocast(on.type, enabled=False)
    return contextlib.nullcontext()  # nothing that an exported network would hold


def gains_from_low_precision(on: torch.device) -> bool:
    """Whether a device multiplies faster in that dtype: any GPU; of processors those with units for
    bfloat16, where the system tells (Linux)."""
    if on.type != "cpu":
        return on.type == "cuda"
    with contextlib.suppress(OSError):
        words = _CPU_INFO.read_text(encoding="utf-8").split()
        return not {"avx512_bf16", "amx_bf16"}.isdisjoint(words)
    return False


def check_gpus() -> list[str]:
    """What every GPU is, after one real operation on each; empty without any.

    Raises:
        InputError: one that this build of PyTorch cannot use, and what to do.
    """
    described = []
    built_for = torch.cuda.get_arch_list()
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        capability = (properties.major, properties.minor)
        name = f"{properties.name}, capability {properties.major}.{properties.minor}"
        if not is_built_for(capability, built_for):
            raise InputError(
                f"{name}: PyTorch {torch.__version__} is built for {' '.join(built_for)}; choose "
                "another GPU (on Kaggle: GPU T4 x2) or a build for this one (for a P100: cu126)"
            )
        try:
            ones = torch.ones(64, 64, device=f"cuda:{index}")
            right = (ones @ ones).sum().item() == 64**3
        except RuntimeError as error:
            raise InputError(f"{name}: {str(error).splitlines()[0]}; restart the session") from None
        if not right:
            raise InputError(f"{name}: it multiplies wrongly; restart the session")
        described.append(f"{name}, {properties.total_memory / 2**30:.0f} GiB")
    return described


def is_built_for(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether a build for those (`torch.cuda.get_arch_list()`) runs on a GPU of that capability.

    Machine code (sm_75) runs on its own major version from its minor one on; compute_75 is
    translated for everything later.
    """
    for architecture in architectures:
        kind, _, number = architecture.partition("_")
        digits = number.rstrip("af")  # sm_90a
        version = (int(digits[:-1]), int(digits[-1]))
        if kind == "compute" and version <= capability:
            return True
        if kind == "sm" and version[0] == capability[0] and version[1] <= capability[1]:
            return True
    return False


# What `generator` is given beside a run's seed, so that two kinds of draws are independent. Epochs
# count from 1, these are below 0. None is given another meaning: finished runs depend on them, and
# therefore an epoch's order and the places of its noise draw from one stream.
SPLIT_STREAM, VALIDATION_STREAM, NOISE_TABLE_STREAM, MASKS_STREAM = -1, -2, -3, -4
TURNS_STREAM, FOLDS_STREAM, TRIAL_STREAM, GOOD_IMAGES_STREAM = -5, -6, -7, -8


def generator(on: torch.device | str, *seeds: int) -> torch.Generator:
    """A generator on that device, seeded by a hash of all `seeds`.

    Epoch `e` of a run draws from `generator(device, seed, e)`: nothing random is carried from one
    epoch to the next, so a run that resumes needs no generator state.
    """
    digest = hashlib.sha256(",".join(map(str, seeds)).encode()).digest()
    return torch.Generator(device=on).manual_seed(int.from_bytes(digest[:8], "big") >> 1)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initial weights within the block, which PyTorch draws on the CPU, follow from that seed; its
    own generators, a GPU's too, are then as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def describe(on: torch.device) -> dict[str, str | int | None]:
    """What a record says of the machine: processor, threads, GPU, versions, commit."""
    described: dict[str, str | int | None] = {
        "device": on.type,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": _version("torchvision"),
        "numpy": version("numpy"),
        "cuda": torch.version.cuda if on.type == "cuda" else None,
        "git_commit": _git_commit(),
    }
    if on.type == "cuda":
        properties = torch.cuda.get_device_properties(on)
        described["gpu"] = properties.name
        described["gpu_capability"] = f"{properties.major}.{properties.minor}"
        described["driver"] = _driver()
    return described


@functools.cache
def _driver() -> str | None:
    """The version of NVIDIA's driver; None where its own tool does not say."""
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return told.splitlines()[0].strip() if told.strip() else None


def _version(package: str) -> str | None:
    """None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in _CPU_INFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


@functools.cache
def _git_commit() -> str | None:
    """The code's commit, "-dirty" when the package differs from it; None outside a checkout. Asked
    for once: what this process has loaded stays, whatever is committed later.

    A kernel carries the commit that it was built from in `SSN_GIT_COMMIT`.
    """
    if "SSN_GIT_COMMIT" in os.environ:
        return os.environ["SSN_GIT_COMMIT"]
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words],
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", str(here / Path(__file__).name))  # another's repository
        dirty = git("status", "--porcelain", "--", str(here))
        return git("rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library can be told (glibc).

    It otherwise hands every large tensor back to the system, which clears the pages before it gives
    them out again: a quarter of a training step on a CPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; Windows
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)


def available_memory(on: torch.device | str = "cpu") -> int:
    """Bytes that this process may still take; where the system does not say, half of all there is.

    A container's own limit counts (Linux, control groups of version 2); what it holds of files
    that were read is given back when memory is asked for.
    """
    if torch.device(on).type == "cuda":
        return torch.cuda.mem_get_info(on)[0]
    limits = []
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        memory = next(line for line in lines if line.startswith("MemAvailable:"))
        limits.append(1024 * int(memory.split()[1]))
    with contextlib.suppress(OSError, ValueError):  # "max" where nothing limits it
        limit = int((_CONTROL_GROUP / "memory.max").read_text())
        taken = int((_CONTROL_GROUP / "memory.current").read_text())
        told = (_CONTROL_GROUP / "memory.stat").read_text().splitlines()
        files = next((int(line.split()[1]) for line in told if line.startswith(_OF_FILES)), 0)
        limits.append(limit - taken + files)
    if not limits:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
            limits.append(pages // 2)
    return max(0, min(limits)) if limits else 4 * 2**30
