"""The report: every table and figure of the study from records alone, and its publication."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssn_lib.errors import InputError
from ssn_lib.runs.exports import read_export
from ssn_lib.runs.record import COURSE, TEACHING, Outcome
from ssn_lib.study import run_pictures
from ssn_lib.study.claims import noise, rules, supervision
from ssn_lib.study.claims import swap as swap_claims
from ssn_lib.study.costs.records import (
    BENCH_PRESETS,
    both_forms,
    half_forms,
    kept_costs,
)
from ssn_lib.study.figures import courses as course_figures
from ssn_lib.study.figures import peers as peer_figures
from ssn_lib.study.figures import supervision as supervision_figures
from ssn_lib.study.figures.drawing import NotDrawn, Picture
from ssn_lib.study.figures.maps import scores_by_defect
from ssn_lib.study.figures.networks import architecture, bubble_chart, latency_by_arithmetic
from ssn_lib.study.lessons import Lessons
from ssn_lib.study.profiles import CATEGORIES, STRIPS
from ssn_lib.study.published import LEARNED_COURSES, SWAP_COURSES
from ssn_lib.study.records import has_usual_size, longest
from ssn_lib.study.saving import remove
from ssn_lib.study.scope import LeftOut, left_out, narrowed
from ssn_lib.study.supervision import TAUGHT_PRESETS
from ssn_lib.study.systems import (
    ABLATION_PRESETS,
    LEARNED_CATEGORIES,
    LEARNED_PRESETS,
    NOISE_PRESETS,
    SWAP_PRESETS,
    SWEEP_CATEGORY,
    TRADE_OFF_PRESETS,
    group,
)
from ssn_lib.study.tables import evolved as evolved_tables
from ssn_lib.study.tables import peers as peer_tables
from ssn_lib.study.tables import supervision as supervision_tables
from ssn_lib.study.tables.copies import without_copies
from ssn_lib.study.tables.costs import bench_costs, bench_timings, efficiency, exports
from ssn_lib.study.tables.noise import beta_sweep, inference_free, learned_noise
from ssn_lib.study.tables.overview import all_runs, synthesis
from ssn_lib.study.tables.swap import (
    ablation,
    backbone_swap,
    published_leaving,
    published_start,
    scenario_b_noise,
)
from ssn_lib.study.tables.table import EMPTY, Table, frame_of

EXPORTS = "exports"  # the folder of what exports cost, in that of the records


class Report(Lessons):
    """What the study's notebooks show, each table and figure by a method of its name.

    Args:
        study: where the records are, and of which profile they must be.
    """

    def save(self, name: str) -> Table | Picture | LeftOut | None:
        """Make the table or figure of that name, save it, and give back what is shown of it.

        What is about categories or systems that were not asked for is left out, in one line.
        """
        made = left_out(name, self.study) or getattr(self, name)()
        if isinstance(made, Table):
            made = narrowed(name, made, self.study, self.strips)
        if isinstance(made, LeftOut):
            remove(self.study.out_dir, name)
            return made
        return self.study.save(name, made)

    # --- the whole ----------------------------------------------------------------------------

    def ledger(self) -> Table:
        """Every claim of the slides, and what the records say of it."""
        return self._ledger

    def verdicts(self) -> Table:
        """The ledger without its evidence."""
        whole = self._ledger
        frame = whole.frame.drop(columns=["evidence", "id"])
        where = "What each rests on (data, epochs, seeds, device), and the rules: `ledger.md`."
        return Table("Verdicts on the published claims", frame, (*whole.notes[:4], where))

    def synthesis(self) -> Table:
        """The slides' closing table with figures beside its adjectives."""
        kinds, folder = both_forms(BENCH_PRESETS), self.study.records_folder
        costs = kept_costs(kinds, folder, "cpu") or kept_costs(kinds, folder)
        unchanged = [outcome for outcome in longest(self.covered(self.all)) if not outcome.changes]
        return synthesis(unchanged, costs, self.strips, self.files(unchanged, COURSE))

    def all_runs(self) -> Table:
        """Every run with its command."""
        return all_runs(self.records)

    def not_drawn(self) -> Table:
        """The figures of this report that could not be drawn, and why."""
        rows = [{"figure": name, "why": why} for name, why in self.study.not_drawn.items()]
        return Table("Figures not drawn", frame_of(rows or [{"figure": "none", "why": EMPTY}]), ())

    def left_out(self) -> Table:
        """Records that are there and were not read."""
        return Table("Records left out", pd.DataFrame({"why": self.refused or ["none"]}), ())

    def claims_backbone_swap(self) -> Table:
        """The ledger's part on Modification 1."""
        return rules.ledger(rules.judge(swap_claims.BACKBONE_SWAP, self.plates_evidence))

    def claims_learned_noise(self) -> Table:
        """Likewise, on Modification 2."""
        return rules.ledger(rules.judge(noise.LEARNED_NOISE, self.plates_evidence))

    def claims_weak(self) -> Table:
        """Likewise, on Modification 3."""
        return rules.ledger(rules.judge(supervision.WEAK, self.strips_evidence))

    def claims_mixed(self) -> Table:
        """Likewise, on Modification 4."""
        return rules.ledger(rules.judge(supervision.MIXED, self.strips_evidence))

    # --- Modification 1 -----------------------------------------------------------------------

    def architecture(self) -> Figure:
        """SuperSimpleNet as a diagram."""
        return architecture()

    def backbone_swap(self) -> Table:
        """The slides' table of accuracies."""
        return backbone_swap(self.outcomes)

    def backbone_swap_full(self) -> Table:
        """The same by the published protocol."""
        full = [outcome for outcome in self.full if not outcome.changes]
        return backbone_swap(full, "by the published protocol")

    def published_start(self) -> Table:
        """Runs at the published batch size beside the author's log of the same epochs."""
        return published_start([r for r in self.records if self.study.covers(r)])

    def published_leaving(self) -> Table:
        """When the published runs began to learn."""
        return published_leaving()

    def ablation(self) -> Table:
        """From SimpleNet to SuperSimpleNet."""
        return ablation(self.of(*ABLATION_PRESETS))

    def scenario_b_noise(self) -> Table:
        """The same relative noise for both adaptors."""
        return scenario_b_noise(self.whole_of(*NOISE_PRESETS))

    def efficiency(self) -> Table:
        """The slides' table of costs."""
        costs = self.costs_of(SWAP_PRESETS)
        return efficiency(costs) if costs else _unmeasured("make bench")

    def efficiency_gpu(self) -> Table:
        """The slides' table of costs, measured on a GPU as they were, and in float32."""
        names = SWAP_PRESETS
        kinds = [*half_forms(names), *both_forms(names)]
        costs = kept_costs(kinds, self.study.records_folder, "cuda")
        return efficiency(costs) if costs else _unmeasured("make gpu")

    def bench_costs(self) -> Table:
        """Every network that was measured together, and peers."""
        return bench_costs(self.bench) if self.bench else _unmeasured("make bench")

    def exports(self) -> Table:
        """What fewer bits cost in accuracy, and gain in time."""
        folder = self.study.records_folder / EXPORTS
        made = [read_export(path) for path in sorted(folder.glob("*.json"))]
        return exports(made, self.bench) if made else _unmeasured("export --engine openvino")

    def bench_timings(self) -> Table:
        """What training and metrics cost."""
        return bench_timings(self.bench) if self.bench else _unmeasured("make bench")

    def bench_timings_gpu(self) -> Table:
        """What training and inference cost on a GPU."""
        return bench_timings(self.gpu_bench) if self.gpu_bench else _unmeasured("make gpu")

    def roofline(self) -> Figure:
        """Latency against arithmetic."""
        return latency_by_arithmetic(self.bench.costs if self.bench else self.costs)

    def tradeoff(self) -> Figure | NotDrawn:
        """Speed against accuracy, the slides' bubble chart."""
        names = TRADE_OFF_PRESETS
        known = [o for o in longest(self.covered(self.all_plates)) if not o.changes]
        runs = [o for o in known if o.preset in names and o.category in CATEGORIES]
        if not self.costs:
            return NotDrawn("Costs not measured: `make bench`.")
        return bubble_chart(self.costs, runs, self.study.caption(runs))

    def training_curves(self) -> Figure:
        """How the trainings of Modification 1 went."""
        names = SWAP_PRESETS + ABLATION_PRESETS + NOISE_PRESETS
        return self._curves(self.of(*dict.fromkeys(names)), SWAP_PRESETS)

    def published_courses(self) -> Figure:
        """How the published runs of Modification 1 went."""
        return course_figures.published_courses(SWAP_COURSES)

    def full_courses(self) -> Figure | NotDrawn:
        """The published protocol run here, over the published runs."""
        shown = group("protocol")
        runs = [o for o in self.full if o.preset in shown and not o.changes]
        read = {
            name: {outcome.record.run_id: rows for outcome, rows in self.files(runs, name)}
            for name in ("history.csv", COURSE)
        }
        whole = [
            (outcome, *(of[outcome.record.run_id] for of in read.values()))
            for outcome in runs
            if all(outcome.record.run_id in of for of in read.values())
        ]
        if not whole:
            return NotDrawn("No run of the published protocol yet: `make gpu`.")
        caption = self.study.caption([outcome for outcome, *_ in whole])
        return course_figures.full_courses(whole, caption)

    def panels_bottle(self) -> Figure:
        """Maps on bottle."""
        return self._panels("bottle")

    def panels_screw(self) -> Figure:
        """Maps on screw."""
        return self._panels("screw")

    def panels_rendered(self) -> Figure:
        """Maps on the project's own rendered screw."""
        return self._rendered(lambda: run_pictures.panels(self.study, self.rendered, "screw"))

    # --- Modification 2 -----------------------------------------------------------------------

    def learned_noise(self) -> Table:
        """The slides' table of seven metrics."""
        return learned_noise(self.of(*LEARNED_PRESETS))

    def learned_noise_full(self) -> Table:
        """The same by the published protocol."""
        full = [o for o in self.full if o.preset in LEARNED_PRESETS and not o.changes]
        noisy = [outcome for outcome in full if outcome.category in LEARNED_CATEGORIES]
        courses = self.files(noisy, COURSE)
        return learned_noise(noisy, "by the published protocol", courses)

    def beta_sweep(self) -> Table:
        """The slides' sweep of β."""
        return beta_sweep(self.noise_runs)

    def beta_sweep_full(self) -> Table:
        """The same by the published protocol."""
        return beta_sweep(self.full, "by the published protocol")

    def convergence(self) -> Figure:
        """v1 against v2, published and as stated."""
        return self._curves(self.of(*LEARNED_PRESETS), LEARNED_PRESETS)

    def noise_courses(self) -> Figure:
        """What the generators learned."""
        runs = [o for o in self.of(*LEARNED_PRESETS) if o.category == SWEEP_CATEGORY]
        if not runs:
            return self._nothing(LEARNED_PRESETS[0])
        parts = [self.files(runs, name) for name in ("history.csv", "noise.csv")]
        return course_figures.noise_courses(*parts, f"{SWEEP_CATEGORY}, {self.study.caption(runs)}")

    def published_courses_noise(self) -> Figure:
        """How the published runs of Modification 2 went."""
        return course_figures.published_noise_courses(LEARNED_COURSES, SWEEP_CATEGORY)

    def inference_free(self) -> Table:
        """What a noise generator costs at inference."""
        if self.comparison is None:
            return _unmeasured("python -m ssn_lib study --only 02")
        return inference_free(self.comparison)

    def noise_maps(self) -> Figure:
        """Example noise of every source."""
        runs = self.of(*LEARNED_PRESETS)
        return self._drawn(lambda: run_pictures.noise_maps(self.study, runs, SWEEP_CATEGORY))

    # --- Modifications 3 and 4 ----------------------------------------------------------------

    def weak_supervision(self) -> Table:
        """What labels alone give."""
        return supervision_tables.weak_supervision(self.weak, self.strips)

    def by_epochs(self) -> Table:
        """Label-only maps of longer trainings beside those of the profile."""
        shown = self.covered([Outcome.of(r) for r in self.records if self.study.profile.shows(r)])
        return supervision_tables.by_epochs(shown, self.strips)

    def saturation(self) -> Table:
        """What the published sigmoid does."""
        whole = [o for o in self.full_strips if not o.changes and o not in self.weak]
        return supervision_tables.saturation([*self.weak, *whole], self.strips)

    def teaching(self) -> Table:
        """How good pseudo-masks are."""
        runs = self.first(*TAUGHT_PRESETS)
        return supervision_tables.teaching(self.files(runs, TEACHING), self.study.caption(runs))

    def methods(self) -> Table:
        """The slides' comparison of methods."""
        return supervision_tables.comparison(self.weak, self.strips)

    def operating_points(self) -> Table:
        """Youden's threshold."""
        return supervision_tables.operating_points(
            self.points, self.study.caption(self.first("gap_cam"))
        )

    def roc(self) -> Figure:
        """ROC curves of score and map maximum."""
        runs = self.first(*supervision_figures.ROC_PRESETS)
        return self._from_files(supervision_figures.roc, runs, "scores.csv")

    def score_distributions(self) -> Figure:
        """Scores by class, with the thresholds."""
        runs = self.first("gap_cam")
        if not runs:
            return self._nothing("gap_cam")
        return supervision_figures.score_distributions(
            self.files(runs, "scores.csv"), self.points, self.study.caption(runs)
        )

    def pixel_pr(self) -> Figure:
        """Precision against recall of the pixels."""
        runs = self.first(*supervision_figures.PIXEL_PRESETS)
        whole = [o for o in self.full_strips if o.preset == "gap_cam" and not o.changes]
        runs += [o for o in self.study.first_seeds(whole, self.strips) if o not in runs]
        return self._from_files(supervision_figures.pixel_curves, runs, "pixel_pr.csv")

    def published_decay(self) -> Figure:
        """How the published AP-loc fell, and that of the published protocol here."""
        own = [o for o in self.full_strips if o.category == self.strips and not o.changes]
        courses = self.files([o for o in own if o.preset == "gap_cam"], COURSE)[:1]
        caption = self.study.caption([outcome for outcome, _ in courses])
        return supervision_figures.published_decay(courses, caption)

    def cam_maps(self) -> Figure:
        """The blob beside other maps."""
        runs = self.first(*supervision_figures.MAP_PRESETS)
        return self._drawn(lambda: run_pictures.strip_maps(self.study, runs, self.strips))

    def cam_maps_rendered(self) -> Figure:
        """As `cam_maps`, on the project's own rendered strips."""
        return self._rendered(lambda: run_pictures.strip_maps(self.study, self.rendered, STRIPS))

    def masks(self) -> Table:
        """What masks buy."""
        return supervision_tables.masks_curve(self.mixed, self.strips, self.numbers)

    def masks_curve(self) -> Figure:
        """Quality against the share of masks."""
        return supervision_figures.masks_curve(
            self.mixed, self.strips, self.numbers, self.study.caption(self.mixed)
        )

    def masks_maps(self) -> Figure | NotDrawn:
        """The maps of what learned from some masks."""
        return self._drawn(lambda: run_pictures.strip_maps(self.study, self.mixed, self.strips))

    def masks_pixel_pr(self) -> Figure | NotDrawn:
        """Precision against recall of their pixels."""
        first = self.study.first_seeds(self.mixed, self.strips)
        curves = self.files(first, "pixel_pr.csv")
        return supervision_figures.pixel_curves(curves, self.study.caption(self.mixed))

    # --- evolved ------------------------------------------------------------------------------

    def evolved(self) -> Table:
        """Feature reconstruction against Scenario A."""
        return evolved_tables.against_scenario_a(self.whole_of(*evolved_tables.SYSTEMS))

    def evolved_defects(self) -> Table:
        """Which defects of screw are found."""
        scores = self.files(self.whole_of(*evolved_tables.SYSTEMS), "scores.csv")
        return evolved_tables.by_defect(scores, evolved_tables.SCREW)

    def evolved_scores(self) -> Figure:
        """The scores behind it."""
        runs = self.whole_of(*evolved_tables.SYSTEMS)
        first = self.study.first_seeds(runs, evolved_tables.SCREW)
        scores = self.files(first, "scores.csv")
        return scores_by_defect(scores, self.study.caption(first))

    def evolved_panels(self) -> Figure:
        """Maps on screw, beside Scenario A's."""
        runs = self.whole_of(*evolved_tables.SYSTEMS)
        return self._drawn(lambda: run_pictures.panels(self.study, runs, evolved_tables.SCREW))

    def evolved_efficiency(self) -> Table:
        """What it costs, beside Scenario A."""
        costs = self.costs_of(evolved_tables.SYSTEMS)
        return efficiency(costs) if costs else _unmeasured("make bench")

    def evolved_ingredients(self) -> Table:
        """The recipe without an ingredient, and the recipes before it."""
        return evolved_tables.ingredients(self.study.committed())

    def evolved_search(self) -> Table:
        """Everything that was tried."""
        return evolved_tables.log(self.study.committed())

    def beside_peers(self) -> Table:
        """What else could be used, on the same images."""
        return peer_tables.beside_peers(self.study.committed(), self._peers, self.bench)

    def without_copies(self) -> Table:
        """Strips that are in the data set twice, counted once."""
        usual = filter(has_usual_size, self.study.committed())
        committed = longest(map(Outcome.of, usual))
        return without_copies(self.files(committed, "scores.csv"), self._peers)

    def few_images(self) -> Table:
        """How few good images are enough, and whether a run says so."""
        return peer_tables.few_images(self.study.committed(), self._peers)

    def few_images_curves(self) -> Figure | NotDrawn:
        """The same as curves."""
        curves = peer_tables.few_curves(self.study.committed(), self._peers)
        return peer_figures.few_images(curves, peer_tables.described(curves))

    # --- what these are made of ---------------------------------------------------------------

    @cached_property
    def _ledger(self) -> Table:
        """Shown whole and without its evidence; judged once."""
        return rules.ledger(
            rules.judge(swap_claims.BACKBONE_SWAP, self.plates_evidence),
            rules.judge(noise.LEARNED_NOISE, self.plates_evidence),
            rules.judge(supervision.WEAK, self.strips_evidence),
            rules.judge(supervision.MIXED, self.strips_evidence),
        )

    def _curves(self, runs: list[Outcome], whole: tuple[str, ...]) -> Figure:
        """The losses of those runs, and of the published protocol's of the presets in `whole`."""
        full = [o for o in self.full if o.preset in whole and not o.changes and o not in runs]
        runs = [*runs, *full]
        histories = self.files(runs, "history.csv")
        if not histories:
            return self._nothing("scenario_a")
        return course_figures.training_curves(histories, self.study.caption(runs))

    def _from_files(
        self, draw: Callable[[Any, str], Figure], runs: list[Outcome], name: str
    ) -> Figure:
        known = self.files(runs, name)
        return draw(known, self.study.caption(runs)) if known else self._nothing("gap_cam")

    def _panels(self, category: str) -> Figure:
        runs = [o for o in self.of(*group("plate maps")) if o.category == category]
        return self._drawn(lambda: run_pictures.panels(self.study, runs, category))

    def _drawn(self, draw: Callable[[], Figure]) -> Figure | NotDrawn:
        """A figure that takes images and trained networks; where they are not there, why."""
        try:
            return draw()
        except InputError as error:
            return NotDrawn(str(error))

    def _rendered(self, draw: Callable[[], Figure | NotDrawn]) -> Figure | NotDrawn:
        """As `_drawn`, of the committed trainings on rendered images."""
        if not self.rendered:
            return NotDrawn(
                "It shows committed trainings; a demo's own maps are in another figure."
            )
        return self._drawn(draw)

    def _nothing(self, name: str) -> Figure | NotDrawn:
        return NotDrawn(f"No record of {name} and its like yet; the README says how to make one.")


def _unmeasured(command: str) -> Table:
    """What stands for a table of costs before they are measured."""
    frame = frame_of([{"measured here": EMPTY}])
    return Table("Cost of inference", frame, (f"Not measured yet: `{command}`.",))
