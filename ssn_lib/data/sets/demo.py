"""The embedded demo data, which `rendered` draws: MVTec AD's layout, and KolektorSDD2's."""

from __future__ import annotations

from pathlib import Path

from ssn_lib.data.sets import ksdd2, mvtec
from ssn_lib.data.source import Found, Source

STRIPS = "ksdd2"


def _find(root: Path, category: str | None) -> Path:
    from ssn_lib.data.rendered import demo_root  # late: SciPy, which the other sets do not need

    home = demo_root(root)
    if category == STRIPS:
        return home / STRIPS
    return mvtec.find_mvtec_category(home / "mvtec_ad", category)


def _read(folder: Path, category: str | None) -> Found:
    if category == STRIPS:
        train, test, splits = ksdd2.read_ksdd2(folder)
        return Found(train, test, category, splits)
    return Found(*mvtec.read_mvtec(folder), category)


def _categories(root: Path) -> list[str]:
    from ssn_lib.data.rendered import demo_root

    return [*mvtec.list_mvtec_categories(demo_root(root) / "mvtec_ad"), STRIPS]


SOURCE = Source(
    name="demo",
    title="rendered images",
    origin="rendered",
    category="needed",
    find=_find,
    read=_read,
    categories=_categories,
    alike={STRIPS: ksdd2.SOURCE},
)
