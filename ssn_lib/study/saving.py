"""Writing what a notebook shows into files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from ssn_lib.storage import write_text, written_whole
from ssn_lib.study.readings.reading import Reading
from ssn_lib.study.tables.table import Table

DPI, IMAGES_DPI = 150, 120  # pixels to the inch: of a figure, and of one that shows images
PALETTE_SIZE = 256  # colours, as many as a byte can tell


def save(folder: Path, name: str, made: Figure | Table | Reading) -> list[Path]:
    """Save a matplotlib figure as PNG, a table as CSV and Markdown, or a reading as Markdown; the
    paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(made, Figure):
        path = folder / f"{name}.png"
        with written_whole(path) as file:
            file.write(_png(made))
        return [path]
    csv, markdown = (folder / f"{name}.{suffix}" for suffix in ("csv", "md"))
    write_text(markdown, made.to_markdown())
    if isinstance(made, Reading):
        return [markdown]
    write_text(csv, made.to_csv())
    return [csv, markdown]


def remove(out_dir: Path, name: str) -> None:
    """Remove what an earlier, wider call saved under that name."""
    for kind, suffixes in (("figures", ("png",)), ("tables", ("md", "csv"))):
        for suffix in suffixes:
            (out_dir / kind / f"{name}.{suffix}").unlink(missing_ok=True)


def _png(figure: Figure) -> bytes:
    """A figure as a PNG file. One that shows images has fewer pixels and a palette: a fifth of the
    bytes, and no difference that one sees."""
    shows_images = any(axes.images for axes in figure.axes)
    drawn, palette = BytesIO(), BytesIO()
    dpi = IMAGES_DPI if shows_images else DPI
    figure.savefig(drawn, format="png", dpi=dpi, bbox_inches="tight")
    if not shows_images:
        return drawn.getvalue()
    with Image.open(drawn) as whole:
        whole.convert("RGB").quantize(PALETTE_SIZE).save(palette, format="png", optimize=True)
    return palette.getvalue()
