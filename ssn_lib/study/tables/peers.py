"""What a user would pick instead, beside this project's systems: on all good images, and on few."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from ssn_lib.data.registry import images_title, of_strips, source_of
from ssn_lib.presets import preset
from ssn_lib.runs.choice import warning
from ssn_lib.runs.record import Outcome, Record, device_name
from ssn_lib.study.costs.records import SCENARIO_A, Bench, in_turns
from ssn_lib.study.peers.records import TITLES, PeerRecord
from ssn_lib.study.records import has_usual_size, is_whole, longest
from ssn_lib.study.systems import short, title
from ssn_lib.study.tables.cells import of_records, quartiles
from ssn_lib.study.tables.table import EMPTY, Table, frame_of, number

OURS = ("evolved", "simplenet", "scenario_a_relative")
FEW = ("evolved", "simplenet")  # of ours, by the number of good images
FEW_PEERS = ("patchcore", "patchcore_random")
SHOWN = ("I-AUROC", "seg-I-AUROC", "AP-det", "AUPRO", "AP-loc")
CATEGORIES = ("screw", "bottle")  # the plates; strips come last
GOOD = "training.good_images="
SEED = 42  # of what was run on few images
Curves = dict[tuple[str, str], dict[int, Record | PeerRecord]]  # by category and system, by number


def beside_peers(
    records: Sequence[Record], peers: Sequence[PeerRecord], bench: Bench | None
) -> Table:
    """Ours and peers on the same images, with what they cost.

    Args:
        records: of this project's runs.
        peers: all that were measured; those on few images are left out.
        bench: costs of ours; None where they were not measured.
    """
    whole = [peer for peer in peers if peer.config.good_images is None]
    runs = _unchanged(records)
    rows = []
    for category in _categories(peer.config.category for peer in whole):
        for name in OURS:
            found = [run for run in runs if (run.preset, run.category) == (name, category)]
            if found:
                rows.append(_own_row(name, category, [run.record for run in found], bench))
        for name in TITLES:
            found = [p for p in whole if (p.config.name, p.config.category) == (name, category)]
            if found:
                rows.append(_peer_row(name, category, found))
    made_on = device_name(*(peer.environment for peer in whole)) if whole else "no machine yet"
    settings = dict.fromkeys(peer.settings for peer in whole)
    versions = dict.fromkeys(f"{k} {v}" for peer in whole for k, v in peer.versions.items())
    notes = (
        f"Peers: {', '.join(versions) or 'none yet'}, on {made_on}; "
        "`make peer DATASET=mvtec_ad CATEGORY=screw DATA=path/to/data` measures them on any "
        "images. Same files, same metrics, same ImageNet weights; nothing is cropped.",
        *(f"{one}." for one in settings),
        "Epochs: of how many that the system's own protocol has; of peers not told here, most have "
        "none.",
        "Training: the median of the seeds; minutes of different devices and precisions do not "
        "compare. A peer's fit is timed from decoded images, features included (of one that other "
        "work ran beside, its own processor time). Ours is the number of epochs times the median "
        "epoch, so that pauses count nothing, without the backbone's outputs (half a minute) and "
        "the tests on the way.",
        "Latency: of one image, over that of Scenario A at 256×256 by the published operations, "
        "both in PyTorch, float32, on one machine; ours folded. Stored: every number kept, in "
        f"10^6 bytes. {EMPTY}: `make bench` does not measure this system, or not at this size.",
        "seg-I-AUROC: the map's maximum as the score, which does without PatchCore's weights of "
        "neighbours.",
        "EfficientAD is missing: its teacher, and the images that it is held off from, are "
        "downloads.",
    )
    return Table("Beside what else could be used: percent", frame_of(rows or [_NOTHING]), notes)


_NOTHING = {"category": EMPTY, "system": "not measured yet: `make peer`"}


def _unchanged(records: Sequence[Record]) -> list[Outcome]:
    """The longest trainings of `OURS` at the size of their presets, with no change."""
    runs = map(Outcome.of, filter(_compares, records))
    return longest(run for run in runs if not run.changes)


def _compares(record: Record) -> bool:
    """Whether a record is of `OURS` with trained backbone weights, on public images at its preset's
    size, or at that of strips."""
    if record.config.preset not in OURS or record.weights_source is None:
        return False
    return has_usual_size(record) and source_of(record.config.data.dataset).origin == "public"


def _categories(found: Iterable[str]) -> list[str]:
    known = set(found)
    return [*(c for c in CATEGORIES if c in known), *sorted(known - set(CATEGORIES))]


def _own_row(
    name: str, category: str, records: Sequence[Record], bench: Bench | None
) -> dict[str, str]:
    config = records[0].config
    costs = {} if bench is None else {(cost.preset, cost.form): cost for cost in bench.costs}
    own, plain = costs.get((name, "folded")), costs.get((SCENARIO_A, "plain"))
    row = {
        "category": images_title(category),
        "system": f"here, {title(name)}",
        "image, px": "×".join(map(str, config.data.image_size)),
        "epochs": f"{config.training.epochs} of {preset(name).training.epochs}",
    }
    row |= {metric: of_records(records, metric) for metric in SHOWN}
    strips = of_strips(config.data.dataset, category)
    row |= _training(records)
    row["latency, × Scenario A"] = EMPTY
    if own and plain and not strips:  # it was measured at the size of plates
        share = in_turns(own, bench.costs).median / plain.latency_ms.median
        row["latency, × Scenario A"] = number(share, ".2f")
    row["stored, MB"] = number(4 * own.parameters / 1e6) if own else EMPTY
    return row


def _peer_row(name: str, category: str, peers: Sequence[PeerRecord]) -> dict[str, str]:
    first = peers[0]
    row = {
        "category": images_title(category),
        "system": TITLES[name],
        "image, px": "×".join(map(str, first.config.image_size)),
        "epochs": EMPTY,
    }
    row |= {metric: of_records(peers, metric) for metric in SHOWN}
    row |= _training(peers)
    row["latency, × Scenario A"] = quartiles(first.of_scenario_a, 2)
    row["stored, MB"] = number(first.stored_mb)
    return row


def _training(records: Sequence[Record | PeerRecord]) -> dict[str, str]:
    """How long the training of a seed took in the middle, and where they ran."""
    ended = [r for r in records if isinstance(r, PeerRecord) or r.status != "diverged"]
    minutes = statistics.median(record.training_s / 60 for record in ended or records)
    where = device_name(*(record.environment for record in records))
    return {"training, min": number(minutes), "trained on": where}


def few_images(records: Sequence[Record], peers: Sequence[PeerRecord]) -> Table:
    """I-AUROC by the number of good images, and what the run's own guard says.

    Args:
        records: of this project's runs.
        peers: all that were measured.
    """
    curves = few_curves(records, peers)
    rows = []
    for category in _categories(category for category, _ in curves):
        counts = sorted({n for (c, _), curve in curves.items() if c == category for n in curve})
        for count in counts:
            row = {"category": category, "good images": str(count)}
            of_count = {
                name: curves.get((category, name), {}).get(count) for name in (*FEW, *FEW_PEERS)
            }
            for name, found in of_count.items():
                head = f"{few_title(name)}: I-AUROC"
                row[head] = _i_auroc_cell(found)
            rows.append(row | _guard(of_count["evolved"], count))
    notes = (
        f"The good images are drawn by seed {SEED}; the smaller sets lie within the larger ones, "
        "and all systems get the same: `--set training.good_images=8` of `run`, `--good-images 8` "
        "of `peers`.",
        "Each of ours by its preset, trained to the end, one seed. `evolved` holds out a tenth of "
        "its images. Imitated: defects drawn into these.",
        "Warns: what `run evolved` says to the user, by the imitated I-AUROC and the number of "
        "images.",
        f"{EMPTY}: not run on so many, or not to the end.",
    )
    return Table("Few good images: percent", frame_of(rows or [_NOTHING]), notes)


def i_auroc(found: Record | PeerRecord) -> float | None:
    """In percent; None where the training diverged, or the test images are of one class."""
    return found.metrics.get("I-AUROC")


def _i_auroc_cell(found: Record | PeerRecord | None) -> str:
    if found is None:
        return EMPTY
    value = i_auroc(found)
    if value is not None:
        return number(value)
    return "diverged" if isinstance(found, Record) and not found.metrics else "undefined"


def _guard(found: Record | None, count: int) -> dict[str, str]:
    """What a run of `evolved` says of itself."""
    if found is None:
        return {"imitated I-AUROC": EMPTY, "warns": EMPTY}
    imitated = found.metrics.get("imitated-I-AUROC")
    warned = warning(found.config, found.metrics, count) is not None
    return {
        "imitated I-AUROC": EMPTY if imitated is None else number(imitated),
        "warns": "yes" if warned else "no",
    }


def few_title(name: str) -> str:
    """The short name of a system in `FEW` or `FEW_PEERS`."""
    return TITLES.get(name) or short(name)


def few_curves(records: Sequence[Record], peers: Sequence[PeerRecord]) -> Curves:
    """What was measured on few images, and on all, by category and system, then by number.

    Args:
        records, peers: as in `few_images`.
    """
    curves: Curves = {}
    for run in _few_runs(records):
        count = run.record.config.training.good_images
        curves.setdefault((run.category, run.preset), {})[count] = run.record
    for peer in peers:
        if peer.config.name in FEW_PEERS and peer.config.good_images and peer.config.seed == SEED:
            curves.setdefault((peer.config.category, peer.config.name), {})[peer.good] = peer
    good = {}
    for peer in peers:
        if peer.config.good_images is None and peer.config.seed == SEED:
            good[peer.config.category] = peer.good
            if (peer.config.category, peer.config.name) in curves:
                curves[peer.config.category, peer.config.name][peer.good] = peer
    for run in filter(_is_shown, _unchanged(records)):
        if (run.category, run.preset) in curves and run.category in good:
            curves[run.category, run.preset][good[run.category]] = run.record
    return curves


def _few_runs(records: Sequence[Record]) -> list[Outcome]:
    """Runs in which nothing but the number of images is changed."""
    runs = filter(_is_shown, map(Outcome.of, filter(_compares, records)))
    return longest(run for run in runs if [one.startswith(GOOD) for one in run.changes] == [True])


def _is_shown(run: Outcome) -> bool:
    """Whether a run is among the few images' own: of the one seed, to the end of its protocol, or
    to where it diverged."""
    whole = run.record.status == "diverged" or is_whole(run.record)
    return run.preset in FEW and run.seed == SEED and whole


def described(curves: Curves) -> str:
    """Where the numbers of curves come from, in a line.

    Args:
        curves: as `few_curves` gives them.
    """
    measured = [one for curve in curves.values() for one in curve.values()]
    if not measured:
        return ""
    devices = device_name(*(one.environment for one in measured))
    return (
        "MVTec AD, test images, each panel on a scale of its own; each system by its own protocol, "
        f"one seed; {devices}"
    )
