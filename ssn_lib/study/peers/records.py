"""What was measured of a peer, as types, and where it is kept. No PyTorch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssn_lib.errors import InputError
from ssn_lib.storage import shown, write_text
from ssn_lib.study.costs.records import Spread

FOLDER = "peers"  # in that of the runs, and in that of the records
TITLES = {  # what can be asked for, in the order of the tables
    "patchcore": "PatchCore, ResNet18, coreset of 1 %",
    "patchcore_random": "PatchCore, ResNet18, a tenth drawn at random",
    "padim": "PaDiM, ResNet18",
    "stfpm": "STFPM, ResNet18",
}


@dataclass(frozen=True)
class PeerConfig:
    """Everything that decides a peer's numbers, beside the versions it was made with.

    Attributes:
        name: in `TITLES`.
        dataset, category, image_size, fingerprint: as in `config.DataConfig`.
        seed: of what it draws at random.
        good_images: how many of the good training images it gets; None for all.
    """

    name: str
    dataset: str
    category: str
    image_size: tuple[int, int]
    fingerprint: str
    seed: int = 42
    good_images: int | None = None

    @property
    def file(self) -> str:
        """What its record is called."""
        text = json.dumps(asdict(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        few = "" if self.good_images is None else f"-{self.good_images}"
        name = f"{self.name}-{self.dataset}-{self.category}{few}-s{self.seed}-{digest}.json"
        return name.replace("/", "_")


@dataclass(frozen=True)
class PeerRecord:
    """A peer on a data set.

    Attributes:
        settings: how it was fitted, in words.
        metrics, undefined: as in `runs.record.Record`.
        scores: of the test images, by name.
        good: training images that it was fitted to.
        fit_s: seconds of the fit, features included.
        fit_cpu_s: likewise, of processor time, of all threads; None where it was not measured.
        latency_ms: of one image to map and score, on the host.
        of_scenario_a: that, over the latency of Scenario A at 256×256 by the published operations,
            measured in turns with it.
        stored_mb: all numbers that it keeps, in 10^6 bytes.
        versions: of anomalib and timm.
    """

    config: PeerConfig
    settings: str
    metrics: dict[str, float | None]
    undefined: dict[str, str]
    scores: dict[str, float]
    good: int
    fit_s: float
    latency_ms: Spread
    of_scenario_a: Spread
    stored_mb: float
    versions: dict[str, str]
    environment: dict[str, Any]
    finished: str
    fit_cpu_s: float | None = None

    @property
    def training_s(self) -> float:
        """Seconds of the fit. Of one that other work ran beside, so that it had less than a
        processor, those of its own alone."""
        return self.fit_s if self.fit_cpu_s is None else min(self.fit_s, self.fit_cpu_s)

    def keep(self, runs_dir: Path) -> Path:
        """Write it into the folder of the peers.

        Args:
            runs_dir: that this folder is in.

        Raises:
            InputError: it cannot be written.
        """
        path = runs_dir / FOLDER / self.config.file
        write_text(path, json.dumps(asdict(self), indent=1, allow_nan=False))
        return path


def read_peer(path: Path) -> PeerRecord:
    """What `PeerRecord.keep` wrote.

    Args:
        path: of the file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        config = content.pop("config")
        size = tuple(config.pop("image_size"))
        spreads = {name: Spread(**content.pop(name)) for name in ("latency_ms", "of_scenario_a")}
        return PeerRecord(PeerConfig(image_size=size, **config), **spreads, **content)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{shown(path)}: not what `peers` wrote; remove it and measure again"
        ) from None


def one_of_each_seed(peers: Iterable[PeerRecord]) -> list[PeerRecord]:
    """Of several measurements of one peer with one seed, as on other files of the same images, the
    last one that was made."""
    found: dict[tuple, PeerRecord] = {}
    for peer in peers:
        config = peer.config
        kind = config.name, config.dataset, config.category, config.good_images, config.seed
        if kind not in found or peer.finished > found[kind].finished:
            found[kind] = peer
    return list(found.values())


def read_peers(folder: Path) -> list[PeerRecord]:
    """All that were kept in a folder of runs or records.

    Args:
        folder: of the runs; its peers lie in a folder of their own.

    Raises:
        InputError: one cannot be read.
    """
    return [read_peer(path) for path in sorted((folder / FOLDER).glob("*.json"))]
