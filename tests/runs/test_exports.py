from __future__ import annotations

from ssn_lib.metrics import Thresholds
from ssn_lib.runs.exports import Export, PrecisionCost, read_export


def cost(**changes):
    return PrecisionCost(
        measured_on="test images",
        images=6,
        step=2.5,
        before=dict.fromkeys(changes, 90.0),
        changes=changes,
        flipped=0.5,
        largest_score_change=0.125,
        largest_map_change=0.1,
        thresholds=Thresholds(1.0, 2.0),
        good_scores=(0.0, 1.0),
    )


def test_only_losses_count_against_the_tolerance():
    judged = cost(**{"I-AUROC": 5.0, "AUPRO": -0.4, "AP-loc": None})
    assert judged.beyond(0.3) == {"AUPRO": 0.4}
    assert not judged.beyond(0.4)
    assert "AUPRO -0.40" in judged.summary() and "3 of 6 decisions" in judged.summary()
    assert "AP-loc" not in judged.summary()


def test_what_was_kept_is_read_again(tmp_path, refusal):
    facts = cost(**{"I-AUROC": -0.1}).facts()
    made = Export("a-run", "evolved", "folder", "mine", (64, 48), 3, "bf16", facts, "a processor")
    made.keep(tmp_path)
    (path,) = tmp_path.iterdir()
    read = read_export(path)
    assert (read.image_size, read.file) == ((64, 48), "a-run-bf16.json")
    assert read.cost["changes"] == {"I-AUROC": -0.1}
    path.write_text("{}")
    assert "export again" in refusal(lambda: read_export(path))
