"""What copies among the test images do to the figures: KolektorSDD holds one part twice.

Eight of its images, of the part kos26, are those of kos01 byte for byte (as `data.copies` finds);
in KolektorSDD2's layout they are test/20072.png to 20079.png and test/20000.png to 20007.png. A
test image that is there twice counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssn_lib.data.registry import images_title
from ssn_lib.metrics import image_metrics
from ssn_lib.runs.record import Outcome
from ssn_lib.study.captions import describe
from ssn_lib.study.peers.records import TITLES, PeerRecord
from ssn_lib.study.systems import group, title
from ssn_lib.study.tables.cells import of_seeds
from ssn_lib.study.tables.table import EMPTY, Table, frame_of

CATEGORY = "kolektor_sdd1_in_ksdd2_layout"
COPIES = tuple(f"test/{number}.png" for number in range(20072, 20080))
PRESETS = group("methods")
SHOWN = ("I-AUROC", "AP-det")  # of scores alone: whole maps are not kept
TITLE = "Each image once: percent"
Scored = tuple[Outcome, pd.DataFrame]


def without_copies(runs: Sequence[Scored], peers: Sequence[PeerRecord]) -> Table:
    """Detection on KolektorSDD, of all test images and of each image once.

    Args:
        runs: each with its `scores.csv`; what is of other images or of other presets, or changed,
            is passed over.
        peers: likewise.
    """
    runs = [
        (run, scores)
        for run, scores in runs
        if run.category == CATEGORY and run.preset in PRESETS and not run.changes
    ]
    labels = {}
    for _, scores in runs:
        labels |= zip(scores["image"], scores["label"], strict=True)
    tested: dict[str, list[pd.DataFrame]] = {}
    for name in PRESETS:
        tested[f"here, {title(name)}"] = [scores for run, scores in runs if run.preset == name]
    for peer in sorted(peers, key=lambda peer: list(TITLES).index(peer.config.name)):
        of_all = peer.config.category == CATEGORY and peer.config.good_images is None
        if of_all and labels.keys() >= peer.scores.keys():
            frame = pd.DataFrame(peer.scores.items(), columns=["image", "score"])
            frame["label"] = frame["image"].map(labels)
            tested.setdefault(TITLES[peer.config.name], []).append(frame)
    rows = [_row(system, found) for system, found in tested.items() if found]
    if not rows:
        nothing = frame_of([{"system": "no scores of these images at hand", "I-AUROC": EMPTY}])
        return Table(TITLE, nothing, ("The project's own: figures/without_copies.md.",))
    notes = (
        f"Measured here: {describe([run.record for run, _ in runs])}.",
        f"{images_title(CATEGORY)}: {len(COPIES)} of the {len(labels)} test images are the same "
        "files as others of them (the part kos26 is kos01). Once: without these copies.",
        "All other tables are of all images, as the data set is published.",
    )
    return Table(TITLE, frame_of(rows), notes)


def _row(system: str, found: Sequence[pd.DataFrame]) -> dict[str, str]:
    row = {"system": system}
    once = [scores[~scores["image"].isin(COPIES)] for scores in found]
    for metric in SHOWN:
        row[metric] = of_seeds(_values(found, metric))
        row[f"{metric}, once"] = of_seeds(_values(once, metric))
    return row


def _values(found: Sequence[pd.DataFrame], metric: str) -> list[float]:
    return [
        image_metrics(scores["score"].to_numpy(), scores["label"].to_numpy())[metric]
        for scores in found
    ]
