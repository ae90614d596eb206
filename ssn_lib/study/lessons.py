"""What the notebooks show beside results: the data, the settings, diagrams, and what we see.

These methods of `Report` stand in a class of their own because they teach: they show what goes into
the runs, and say in words what came out of them. Tables and figures of results are in `report`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from matplotlib.figure import Figure

from ssn_lib.config import DataConfig
from ssn_lib.data.images import Dataset
from ssn_lib.data.registry import source_of
from ssn_lib.errors import InputError
from ssn_lib.presets import preset
from ssn_lib.runs.record import Outcome
from ssn_lib.storage import REPOSITORY
from ssn_lib.study import parallel
from ssn_lib.study.claims.evidence import Evidence
from ssn_lib.study.examples import examples
from ssn_lib.study.figures import data as data_figures
from ssn_lib.study.figures import diagrams
from ssn_lib.study.figures.drawing import NotDrawn
from ssn_lib.study.peers.records import PeerRecord, one_of_each_seed, read_peers
from ssn_lib.study.profiles import CATEGORIES, STRIPS
from ssn_lib.study.readings import evolved as evolved_readings
from ssn_lib.study.readings.noise import NOISE
from ssn_lib.study.readings.reading import Reading, read
from ssn_lib.study.readings.supervision import MIXED, WEAK, whose_images
from ssn_lib.study.readings.swap import SWAP
from ssn_lib.study.runner import COMMITTED, Study
from ssn_lib.study.selection import Selection
from ssn_lib.study.supervision import MIXED_PRESETS, WEAK_PRESETS
from ssn_lib.study.systems import ABLATION_PRESETS, LEARNED_PRESETS, NOISE_PRESETS, SWAP_PRESETS
from ssn_lib.study.tables import evolved as evolved_tables
from ssn_lib.study.tables.settings import settings
from ssn_lib.study.tables.table import Table

PLATES_SHOWN, RENDERED_SHOWN, STRIPS_SHOWN = (2, 4), (2, 3), (3, 5)  # good and defective images
PLATES_CAPTION = (
    "Test images: the first good ones, and the first of each kind of defect, its drawn mask "
    "outlined."
)
STRIPS_CAPTION = (
    "Test images: the first good and the first defective ones, the drawn mask outlined; below, the "
    "same defect enlarged."
)
SWAP_SETTINGS = (*SWAP_PRESETS, *NOISE_PRESETS, *ABLATION_PRESETS)


class Lessons(Selection):
    """Data, settings, diagrams and readings, each by a method of its name."""

    # --- the data -----------------------------------------------------------------------------

    def data_plates(self) -> Figure | NotDrawn:
        """Good and defective images of the profile's categories."""
        asked = [name for name in CATEGORIES if name in self.study.categories]
        found = {name: lambda name=name: self.study.dataset(name) for name in asked}
        return self._plates(found, PLATES_SHOWN)

    def data_strips(self) -> Figure | NotDrawn:
        """Good and defective strips of the profile."""
        if STRIPS not in self.study.categories:
            return NotDrawn(f"Strips are left out by category = {self.study.category!r}.")
        try:
            shown = examples(self.study.dataset(STRIPS), *STRIPS_SHOWN)
        except InputError as error:
            return NotDrawn(str(error))
        return data_figures.strips(shown, STRIPS_CAPTION)

    def data_rendered(self) -> Figure | NotDrawn:
        """The project's own rendered images, which the demo runs on."""
        size = DataConfig("demo", "").image_size
        return self._plates(
            {
                name: lambda name=name: parallel.dataset("demo", None, name, size)
                for name in CATEGORIES
            },
            RENDERED_SHOWN,
        )

    # --- diagrams -----------------------------------------------------------------------------

    def generator_v1(self) -> Figure:
        """v1 of the learned noise, and how it is trained."""
        return diagrams.generator_v1(preset("learned_noise_v1").training.noise.generator)

    def generator_v2(self) -> Figure:
        """v2 of the learned noise, and how it is trained."""
        return diagrams.generator_v2(preset("learned_noise_v2").training.noise.generator)

    def evolved_decoder(self) -> Figure:
        """The network of `evolved`."""
        return diagrams.evolved_decoder(preset("evolved").model)

    def full_against_weak(self) -> Figure:
        """Full supervision and GAP + CAM: what teaches them, and how good they are."""
        caption = f"Slides: KSDD2. Here: {self.study.caption(self.first('gap_cam', 'full_ssn'))}"
        return diagrams.full_against_weak(self.weak, self.strips, caption)

    # --- settings -----------------------------------------------------------------------------

    def settings_swap(self) -> Table:
        """The systems of Modification 1."""
        return settings("backbone swap", SWAP_SETTINGS, self.study.profile)

    def settings_noise(self) -> Table:
        """The systems of Modification 2."""
        return settings("learned noise", LEARNED_PRESETS, self.study.profile)

    def settings_weak(self) -> Table:
        """The systems of Modification 3."""
        return settings("image labels alone", WEAK_PRESETS, self.study.profile, strips=True)

    def settings_mixed(self) -> Table:
        """The systems of Modification 4."""
        return settings("a few masks", MIXED_PRESETS, self.study.profile, strips=True)

    def settings_evolved(self) -> Table:
        """`evolved` and what it is held against."""
        return settings("evolved", evolved_tables.SYSTEMS, self.study.profile)

    # --- what we see --------------------------------------------------------------------------

    def seen_swap(self) -> Reading:
        """What the committed records show of Modification 1."""
        of = self._committed
        evidence = replace(of.plates_evidence, costs=of.costs)  # of cheap hardware
        return read(
            "What we see: the backbone swap", SWAP, evidence, self._lead(self.of(*SWAP_SETTINGS))
        )

    def seen_noise(self) -> Reading:
        """Of Modification 2."""
        evidence = self._committed.plates_evidence
        return read(
            "What we see: learned noise", NOISE, evidence, self._lead(self.of(*LEARNED_PRESETS))
        )

    def seen_weak(self) -> Reading:
        """Of Modification 3."""
        evidence = self._committed.strips_evidence
        lead = [*self._lead(self.weak), *whose_images(evidence.category)]
        return read("What we see: image labels alone", WEAK, evidence, lead)

    def seen_mixed(self) -> Reading:
        """Of Modification 4."""
        evidence = self._committed.strips_evidence
        lead = [*self._lead(self.mixed), *whose_images(evidence.category)]
        return read("What we see: a few masks", MIXED, evidence, lead)

    def seen_evolved(self) -> Reading:
        """Of `evolved`."""
        of = self._committed
        evidence = Evidence(
            of.all,
            category=of.strips_evidence.category,
            costs=of.costs,
        )
        rules = evolved_readings.rules(of.records, self._peers)
        return read(
            "What we see: evolved", rules, evidence, self._lead(self.of(*evolved_tables.SYSTEMS))
        )

    # --- what these are made of ---------------------------------------------------------------

    def _plates(
        self, asked: Mapping[str, Callable[[], Dataset]], numbers: tuple[int, int]
    ) -> Figure | NotDrawn:
        """So many good and defective images of those categories, as far as these are at hand."""
        shown, missing = [], []
        for name, load in asked.items():
            try:
                shown.append(examples(load(), *numbers))
            except InputError as error:
                missing.append((name, str(error)))
        if not shown:
            return NotDrawn(missing[0][1] if missing else "No category of plates is asked for.")
        absent = f" Not at hand: {', '.join(name for name, _ in missing)}." if missing else ""
        return data_figures.plates(shown, PLATES_CAPTION + absent)

    @cached_property
    def _committed(self) -> Selection:
        """The project's own records on real images, whatever this notebook was asked for."""
        return Selection(Study("quick", runs_dir=self.study.runs_dir, records_dir=COMMITTED))

    @cached_property
    def _peers(self) -> list[PeerRecord]:
        """The project's own records of peers."""
        return one_of_each_seed(read_peers(REPOSITORY / "results"))

    @property
    def _shows_committed(self) -> bool:
        """Whether tables and figures are of the committed records too."""
        study = self.study
        return study.profile_name == "quick" and study.records_folder.resolve() == COMMITTED

    def _lead(self, shown: Sequence[Outcome]) -> list[str]:
        """What a notebook of other runs than the committed ones says first.

        Args:
            shown: in the notebook's tables and figures.
        """
        if self._shows_committed:
            return []
        said = "These are the results that the project keeps, of real images (`results/`)."
        if source_of(self.study.profile.dataset).origin != "rendered":
            return [f"{said} The tables of this notebook are of your own runs."]
        untrained = [o.record.config.weights == "untrained" for o in shown if o.record]
        backbone = ""
        if any(untrained):
            backbone = f" and{'' if all(untrained) else ', some,'} of an untrained backbone"
        return [
            f"{said} The tables and figures of this notebook are of rendered images{backbone}: "
            "they show that everything runs, not how good it is."
        ]
