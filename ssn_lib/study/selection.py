"""Which records stand for what is shown: of the profile, of longer trainings, of one seed."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import pandas as pd

from ssn_lib.config import FOLDS
from ssn_lib.data.registry import images_title, of_strips, source_of
from ssn_lib.overrides import assignment
from ssn_lib.presets import PRESETS, preset
from ssn_lib.runs.record import COURSE, Outcome
from ssn_lib.study.claims.evidence import Evidence
from ssn_lib.study.costs.records import (
    GPU_BENCH_FILE,
    Efficiency,
    both_forms,
    half_forms,
    kept_comparison,
    kept_costs,
    read_bench,
)
from ssn_lib.study.profiles import CATEGORIES, PROFILES, STRIPS
from ssn_lib.study.records import alike, longest
from ssn_lib.study.runner import Study
from ssn_lib.study.supervision import MIXED_PRESETS, WEAK_PRESETS, of_masks
from ssn_lib.study.systems import (
    FOLD,
    LEARNED_PRESETS,
    SWAP_PRESETS,
    SWEEP_PRESETS,
    TRADE_OFF_PRESETS,
)
from ssn_lib.study.thresholds import YoudenThreshold, chosen_thresholds

# GAP + CAM with a fold of the training images left out, of which a threshold is made.
_FOLD_CHANGES = tuple((assignment(FOLD, fold),) for fold in range(FOLDS))


class Selection:
    """The records of a study, and which of them its tables and figures are made of.

    Args:
        study: where the records are, and of which profile they must be.
    """

    def __init__(self, study: Study):
        self.study = study
        self.records, self.refused = study.records()
        made = study.made()
        self._made = longest(made)
        self.refused += [
            f"{outcome.record.run_id}: another run of the same configuration and seed is shown"
            for outcome in made
            if outcome not in self._made
        ]
        if study.records_dir and self.records and not made:
            fits = [name for name, one in PROFILES.items() if any(map(one.made, self.records))]
            self.refused.append(
                f"{study.records_dir}: {len(self.records)} records, none of the profile "
                f"{study.profile_name!r} (profile: {' or '.join(fits) or 'none'})"
            )
        covered = self.covered(self._made)
        self.refused += self._not_shown(covered)
        for reason in self.refused:
            print(f"warning: {reason}", file=sys.stderr)
        self.outcomes = [*covered, *self._left_out(covered), *study.not_made]
        folder = study.records_folder
        # Cheap hardware is what the study asks about; a GPU has a table of its own.
        kinds = both_forms(TRADE_OFF_PRESETS)
        self.costs = kept_costs(kinds, folder, "cpu") or kept_costs(kinds, folder)
        self.comparison = kept_comparison("scenario_a", "learned_noise_v2", folder)
        self.bench = read_bench(folder)
        self.gpu_bench = read_bench(folder, GPU_BENCH_FILE)

    def of(self, *presets: str) -> list[Outcome]:
        """The outcomes of those presets on the categories, in their order, nothing changed."""
        chosen = [o for o in self.plates if o.preset in presets and not o.changes]
        return sorted(chosen, key=lambda o: (presets.index(o.preset), o.category, o.seed))

    def costs_of(self, presets: Sequence[str]) -> list[Efficiency]:
        """What the inference of those presets costs, where it was measured."""
        return [cost for cost in self.costs if cost.preset in presets]

    def _left_out(self, covered: Sequence[Outcome]) -> list[Outcome]:
        """For every system and category that the notebook was not asked for, the reason."""
        strips = category_of([outcome for outcome in covered if self.is_strip(outcome)])
        return [
            Outcome(name, strips if category == STRIPS else category, 0, None, reason)
            for name in PRESETS
            for category in (*CATEGORIES, STRIPS)
            if (reason := self.study.left_out(name, category))
        ]

    def _not_shown(self, covered: Sequence[Outcome]) -> list[str]:
        """Which strips have runs and no tables: one kind is shown."""
        on_strips = [outcome for outcome in covered if self.is_strip(outcome)]
        shown = category_of(on_strips)
        others = Counter(o.category for o in on_strips if o.category != shown)
        return [
            f"{images_title(category)} (runs: {number}): tables and figures of strips show "
            f"{images_title(shown)}; the ledger looks at both"
            for category, number in others.items()
        ]

    def covered(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Those of the categories, systems and seeds that the notebook was asked for."""
        return [o for o in outcomes if o.record is None or self.study.covers(o.record)]

    @cached_property
    def all(self) -> list[Outcome]:
        """This profile's runs and longer ones of its data: what the ledger chooses from, whatever
        part of them the notebook was asked to show."""
        longer = self.study.profile.made_longer
        return [*self._made, *(Outcome.of(r) for r in self.records if longer(r))]

    @cached_property
    def all_plates(self) -> list[Outcome]:
        """Those of `all` that are not on strips."""
        return [outcome for outcome in self.all if not self.is_strip(outcome)]

    @cached_property
    def all_strips(self) -> list[Outcome]:
        """Those of `all` on strips."""
        return [outcome for outcome in self.all if self.is_strip(outcome)]

    @cached_property
    def full(self) -> list[Outcome]:
        """Runs of the published protocol on the categories, one of each seed."""
        return self._full(self.all_plates)

    @cached_property
    def full_strips(self) -> list[Outcome]:
        """The same on strips."""
        return self._full(self.all_strips)

    def _full(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        full = PROFILES["full"]
        return longest(o for o in self.covered(outcomes) if full.made(o.record))

    def whole_of(self, *presets: str) -> list[Outcome]:
        """As `of`; where there are runs of a system's own whole protocol, they stand for it."""
        whole = [o for o in self.full if o.preset in presets and not o.changes]
        replaced = {(o.preset, o.category) for o in whole}
        rest = [o for o in self.of(*presets) if (o.preset, o.category) not in replaced]
        return sorted([*whole, *rest], key=lambda o: (presets.index(o.preset), o.category, o.seed))

    def is_strip(self, outcome: Outcome) -> bool:
        """Whether an outcome is on strips."""
        if outcome.record is None:
            return outcome.category not in CATEGORIES
        data = outcome.record.config.data
        return of_strips(data.dataset, data.category)

    @cached_property
    def rendered(self) -> list[Outcome]:
        """On the embedded demo data, with ImageNet weights, in the profile's or their own sizes."""
        sizes = (self.study.profile.image_size, self.study.profile.strip_size)
        order = list(PRESETS)
        found = [
            Outcome.of(record)
            for record in self.records
            if self.study.covers(record)
            and source_of(record.config.data.dataset).origin == "rendered"
            and record.config.data.image_size in (*sizes, preset(record.config.preset).image_size)
            and record.config.weights == "imagenet"
        ]
        return sorted(found, key=lambda o: (order.index(o.preset), o.seed))

    @cached_property
    def plates(self) -> list[Outcome]:
        """Everything but strips, those of other sets among them."""
        return [outcome for outcome in self.outcomes if not self.is_strip(outcome)]

    @cached_property
    def strips(self) -> str:
        """The category of this profile's strips."""
        known = [o for o in self.outcomes if o.record is not None and self.is_strip(o)]
        return category_of(known)

    @cached_property
    def noise_runs(self) -> list[Outcome]:
        """What the β sweep is shown with."""
        changed = [o for o in self.plates if o.preset in SWEEP_PRESETS and o.changes]
        return [*self.of(*LEARNED_PRESETS), *changed]

    @cached_property
    def on_strips(self) -> list[Outcome]:
        """This profile's runs on the strips that are shown."""
        order = list(PRESETS)
        strips = [o for o in self.outcomes if o.category == self.strips]
        return sorted(strips, key=lambda o: (order.index(o.preset), by_number(o.changes), o.seed))

    @cached_property
    def weak(self) -> list[Outcome]:
        """Those with labels alone, and what they are compared with."""
        return [o for o in self.on_strips if o.preset in WEAK_PRESETS and not o.changes]

    @cached_property
    def folds(self) -> list[Outcome]:
        """GAP + CAM with a fold left out."""
        return [o for o in self.on_strips if o.preset == "gap_cam" and o.changes in _FOLD_CHANGES]

    @cached_property
    def mixed(self) -> list[Outcome]:
        """Those with some masks, and with all and none."""
        known = [o for o in self.on_strips if o.preset in MIXED_PRESETS]
        return [o for o in known if not o.changes or of_masks(o)]

    @cached_property
    def numbers(self) -> list[float]:
        """Numbers of masks that were tried, beside the preset's own."""
        changed = [o for o in self.mixed if o.preset == "mixed_ssn" and o.changes]
        numbers = {o.record.config.training.supervision.masks for o in changed if o.record}
        return sorted(numbers - {None})

    @cached_property
    def points(self) -> list[YoudenThreshold]:
        """Thresholds of GAP + CAM."""
        return self.points_of([*self.first("gap_cam"), *self.folds], self.strips)

    @cached_property
    def longest_points(self) -> list[YoudenThreshold]:
        """Of the longest trainings of GAP + CAM that have all their folds, on whatever strips."""
        points = []
        for category in dict.fromkeys(outcome.category for outcome in self.all_strips):
            kinds = [("gap_cam", category, changes) for changes in ((), *_FOLD_CHANGES)]
            points += self.points_of(longest(alike(self.all_strips, kinds)), category)
        return points

    @cached_property
    def plates_evidence(self) -> Evidence:
        """What claims about Modifications 1 and 2 are judged by."""
        kinds = [*both_forms(SWAP_PRESETS), *half_forms(SWAP_PRESETS)]
        return Evidence(
            self.all_plates,
            self.files(self.all_plates, "history.csv"),
            self.comparison,
            kept_costs(kinds, self.study.records_folder),
            courses=self.files(self.all_plates, COURSE),
            scores=self.files(self.all_plates, "scores.csv"),
        )

    @cached_property
    def strips_evidence(self) -> Evidence:
        """What claims about Modifications 3 and 4 are judged by."""
        return Evidence(
            self.all_strips,
            category=category_of(self.all_strips),
            points=self.longest_points,
            courses=self.files(self.all_strips, COURSE),
            scores=self.files(self.all_strips, "scores.csv"),
            curves=self.files(self.all_strips, "pixel_pr.csv"),
        )

    def points_of(self, runs: list[Outcome], category: str) -> list[YoudenThreshold]:
        """Thresholds of GAP + CAM, by the first seed that has all its folds, or by the first: each
        seed divides the training images in another way."""
        found: list[YoudenThreshold] = []
        for seed in sorted({outcome.seed for outcome in runs}):
            own = self.study.first_seeds([o for o in runs if o.seed == seed], category)
            points = chosen_thresholds(
                self.files([o for o in own if not o.changes], "scores.csv"),
                self.files([o for o in own if o.changes], "held_out.csv"),
            )
            if len(points) > len(found):
                found = points
        return found

    def first(self, *presets: str) -> list[Outcome]:
        """Of those presets on the strips, the first seed's."""
        first = self.study.first_seeds(self.weak, self.strips)
        return [outcome for outcome in first if outcome.preset in presets]

    def files(self, runs: list[Outcome], name: str) -> list[tuple[Outcome, pd.DataFrame]]:
        """As `Study.files`."""
        return self.study.files(runs, name)


def category_of(strips: Sequence[Outcome]) -> str:
    """The category of strips that are shown: KSDD2's, unless more than twice as many presets were
    run on others."""
    presets: dict[str, set[str]] = {}
    for outcome in strips:
        presets.setdefault(outcome.category, set()).add(outcome.preset)
    known = {name: len(of) * (2 if name == STRIPS else 1) for name, of in presets.items()}
    return min(known, key=lambda name: (-known[name], name != STRIPS, name), default=STRIPS)


def by_number(changes: Sequence[str]) -> list[tuple[str, float, str]]:
    """What puts changes of one field in the order of their numbers: 4 before 10."""
    keys = []
    for change in changes:
        name, _, value = change.partition("=")
        try:
            keys.append((name, float(value), value))
        except ValueError:
            keys.append((name, math.inf, value))
    return keys
