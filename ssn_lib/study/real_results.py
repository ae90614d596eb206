"""What was measured on real images, for who runs the study on rendered ones."""

from __future__ import annotations

from ssn_lib.data.registry import source_of
from ssn_lib.overrides import changes
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.study.captions import describe
from ssn_lib.study.profiles import CATEGORIES
from ssn_lib.study.records import has_usual_size, longest
from ssn_lib.study.runner import Study
from ssn_lib.study.tables.cells import measured
from ssn_lib.study.tables.table import EMPTY, Table, frame_of

SYSTEMS = ("scenario_a", "scenario_b", "evolved")
METRICS = ("I-AUROC", "AUPRO")
REPORT = "results/README.md"


def real_results(study: Study) -> Table | None:
    """The committed records of the systems in short: of each the longest trainings; None without
    any."""
    records = [
        record
        for record in study.committed()
        if source_of(record.config.data.dataset).origin == "public"
        and record.config.preset in SYSTEMS
        and record.config.data.category in CATEGORIES
        and record.config.weights == "imagenet"
        and has_usual_size(record)
        and not changes(record.config)
    ]
    outcomes = longest(Outcome.of(record) for record in records)
    if not outcomes:
        return None
    rows = []
    for name in SYSTEMS:
        row = {"system": preset(name).title}
        for category in CATEGORIES:
            for metric in METRICS:
                row[f"{category}: {metric}"] = measured(outcomes, name, category, metric)
        rows.append(row)
    frame = frame_of(rows)
    frame = frame.loc[:, [not (frame[column] == EMPTY).all() for column in frame]]
    return Table(
        "Measured on real images, from the committed records: percent",
        frame,
        (
            f"{describe([outcome.record for outcome in outcomes])}.",
            f"The whole report on real images, with the verdicts by them: `{REPORT}`. The verdicts "
            "of this run go by this run alone.",
        ),
    )


def worth(study: Study) -> str:
    """What the numbers of a study on rendered images are worth; "" of one on real images."""
    if source_of(study.profile.dataset).origin != "rendered":
        return ""
    backbone = "" if study.weights("resnet18") else "an untrained backbone, "
    epochs = study.profile.protocol("scenario_a")[1]
    return (
        f"The numbers of this run itself ({backbone}rendered images, {epochs} epochs) show that "
        "everything runs, not how good it is."
    )


def opening(study: Study) -> str:
    """What stands before all that a study on rendered images measured itself, as Markdown; nothing
    before one on real images, or where there are no committed records."""
    said = worth(study)
    results = real_results(study) if said else None
    if results is None:
        return ""
    return f"## Measured on real images\n\n{results.to_markdown()}\n\n**{said}**\n"
