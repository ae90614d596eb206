"""The embedded demo data: drawn here, in the real layouts of MVTec AD and KSDD2, no download.

Every image is seeded from (version, category, kind, index), so it never depends on the order of
drawing. An object is drawn on a grid SCALE times finer than the image and then averaged down,
which antialiases every edge. A defective image is drawn twice, with and without its defect, and
its mask is where the two differ: the mask cannot miss the defect, nor the defect leave the mask.
"""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from ssn_lib.errors import InputError

DEMO_VERSION = 1  # part of the folder name: a new renderer never reads an old one's files
MVTEC_DEFECTS = {
    "bottle": ("broken_large", "broken_small", "contamination"),
    "carpet": ("color", "cut", "hole"),
    "screw": ("scratch_head", "thread_side", "manipulated_front"),
}
DEMO_PLATE_COUNTS = {"train": 24, "good": 8, "defect": 5}  # images: `defect` is per kind of defect
# First number, images; every third is defective.
DEMO_STRIP_COUNTS = {"train": (10000, 30), "test": (20000, 20)}
SIZE = 256  # side of an MVTec image, pixels
SCALE = 2  # fine pixels per image pixel, each way
VISIBLE = 0.025  # a change of one channel (0..1) that counts as visible: above the noise
NOISE = 0.0025  # standard deviation of the camera noise, 0..1
Array = NDArray[np.float32]  # a field (height, width) or a picture (3, height, width), in 0..1
Points = NDArray[np.float64]  # (n, 2): x, y in image pixels


# ---------------------------------------------------------------------------- drawing tools


def _grid(height: int, width: int) -> tuple[Array, Array]:
    """Return x and y, in image pixels, of the centres of the fine grid's pixels."""
    y, x = np.mgrid[: height * SCALE, : width * SCALE].astype(np.float32)
    return (x + 0.5) / SCALE, (y + 0.5) / SCALE


def _noise(rng: Generator, like: Array, cell_x: float, cell_y: float | None = None) -> Array:
    """Draw a smooth random field in about -1..1 with bumps `cell` image pixels wide."""
    height, width = like.shape
    rows = int(height / SCALE / (cell_y or cell_x)) + 3
    columns = int(width / SCALE / cell_x) + 3
    coarse = Image.fromarray(rng.uniform(-1, 1, (rows, columns)).astype(np.float32))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def _cover(distance: Array, soft: float = 0.5) -> Array:
    """Opacity 0..1 of a shape, from the signed distance to its edge (inside is negative)."""
    return np.clip(0.5 - distance / (2 * soft), 0, 1)


def _bell(x: Array, centre: float, width: float) -> Array:
    """Bump of height 1 at `centre`."""
    return np.exp(-(((x - centre) / width) ** 2))


def _mix(picture: Array, colour: Array, opacity: Array) -> Array:
    """Paint `colour` over `picture`, as far as the field `opacity` says."""
    return picture + (colour - picture) * opacity


def _profile(x: Array, at: list[float], values: list[float]) -> Array:
    """Broken line through (at, values)."""
    return np.interp(x, at, values).astype(np.float32)


def _rgb(*values: float) -> Array:
    """Colour (3, 1, 1), as float32: one float64 would make the picture, and its cost, float64."""
    return np.array(values, np.float32)[:, None, None]


def _apart(angle: Array, centre: float) -> Array:
    """Return how far apart two angles of -pi..pi are, 0..pi."""
    gap = np.abs(angle - centre)
    return np.minimum(gap, 2 * np.pi - gap)


def _blob(rng: Generator, x: Array, y: Array, centre: Points, radius: float, rough: float) -> Array:
    """Signed distance (pixels, roughly) to a ragged round blob."""
    dx, dy = x - float(centre[0]), y - float(centre[1])
    angle = np.arctan2(dy, dx)
    edge = np.full_like(x, radius)
    for k in range(2, 7):
        edge += radius * rough / k * rng.normal() * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    return np.hypot(dx, dy) - edge


def _strokes(like: Array, lines: list[tuple[Points, float]]) -> Array:
    """Opacity of polylines, each (points, width in image pixels)."""
    canvas = Image.new("L", like.shape[::-1])
    draw = ImageDraw.Draw(canvas)
    for points, width in lines:
        flat = [tuple(p) for p in points * SCALE]
        draw.line(flat, fill=255, width=max(1, round(width * SCALE)), joint="curve")
    return np.asarray(canvas, np.float32) / 255


def _polygon(like: Array, corners: Points) -> Array:
    """Opacity of a filled polygon with these corners."""
    canvas = Image.new("L", like.shape[::-1])
    ImageDraw.Draw(canvas).polygon([tuple(p) for p in corners * SCALE], fill=255)
    return np.asarray(canvas, np.float32) / 255


def _path(
    rng: Generator, start: Points, angle: float, length: float, wander: float, jitter: float = 0
) -> Points:
    """Polyline from `start` in steps of 3 pixels: its heading wanders, each step jitters (rad)."""
    count = max(2, int(length / 3))
    turns = angle + np.cumsum(rng.normal(0, wander, count)) + rng.normal(0, jitter, count)
    steps = 3 * np.column_stack([np.cos(turns), np.sin(turns)])
    return np.asarray(start) + np.vstack([[0, 0], np.cumsum(steps, axis=0)])


def _fibres(rng: Generator, like: Array, roots: Points, angles: NDArray[np.float64]) -> Array:
    """Opacity of loose fibres, one per root, 4 to 10 pixels long."""
    headings = angles + rng.normal(0, 0.5, len(angles))
    pairs = zip(roots, headings, strict=True)
    return _strokes(like, [(_path(rng, p, a, rng.uniform(4, 10), 0.25), 0.8) for p, a in pairs])


# ---------------------------------------------------------------------------- the objects
# Each takes the object's random numbers, its defect (None: flawless) and the defect's own random
# numbers: the object is the same with and without the defect. Each returns a picture, fine grid.


def bottle(rng: Generator, defect: str | None, flaw: Generator) -> Array:
    """Brown glass bottle seen from above, into its mouth, on a light table."""
    x, y = _grid(SIZE, SIZE)
    cx, cy = rng.normal(SIZE / 2, 2.0, 2).tolist()
    body = rng.uniform(105, 110)
    lip, half = body * rng.uniform(0.63, 0.65), body * 0.14  # the rim is a ring of glass
    light = -2.3 + rng.normal(0, 0.12)  # direction of the lamp: upper left
    amber = _rgb(*(np.array([1.0, 0.50, 0.16]) + rng.normal(0, 0.02, 3)))
    dx, dy = x - cx, y - cy
    r = np.hypot(dx, dy)
    angle = np.arctan2(dy, dx)
    lamp, window = _apart(angle, light), _apart(angle, light + 2.6)

    table = 0.93 - 0.05 * ((x - 128) ** 2 + (y - 128) ** 2) / 128**2 + 0.01 * _noise(rng, x, 90)
    shadow = 0.22 * _cover(np.hypot(dx - 4, dy - 5) - body, 9)
    picture = (table - shadow) * _rgb(1, 0.995, 0.98)

    # Shoulder: nearly black, amber where the glass is thin and, by refraction, away from the lamp.
    glow = 0.03 + 0.30 * _bell(r, body, 5) + 0.16 * _bell(r, body * 0.84, 6) * _bell(window, 0, 1.1)
    gloss = 0.80 * _cover(np.abs(r - body * 0.905) - 1.7, 0.8) * _cover(lamp - 0.40, 0.12)
    gloss += 0.30 * _cover(np.abs(r - body * 0.93) - 1.0, 0.8) * _cover(window - 0.30, 0.15)
    picture = _mix(picture, glow * amber + gloss, _cover(r - body))

    # Down the mouth: dark walls, and the bottom, which glows from the light table below.
    deep = np.hypot(dx + 0.02 * body, dy + 0.015 * body) / body
    floor = 0.72 * _cover((deep - 0.385) * body, 4) * (1 - 0.9 * deep**2)
    floor += 0.10 * _bell(deep, 0.30, 0.012) - 0.10 * _bell(deep, 0.325, 0.02)
    wall = 0.05 + 0.30 * _bell(deep, 0.43, 0.04) * (0.3 + _bell(window, 0, 1.2))
    inside = floor * _rgb(1.0, 0.92, 0.78) + wall * amber
    picture = _mix(picture, inside, _cover(r - lip))

    # The rim is a torus: crisp highlights of lamp and window, amber light through the far side.
    slope = np.clip((r - lip) / half, -1, 1)
    rim = 0.04 + 0.10 * _bell(slope, 1, 0.2) + 0.34 * _bell(slope, -0.75, 0.3) * _bell(window, 0, 1)
    spark = 0.92 * _cover(np.abs(slope - 0.30) - 0.17, 0.06) * _cover(lamp - 0.62, 0.10)
    spark += 0.16 * _bell(slope, 0.30, 0.13)
    spark += 0.60 * _cover(np.abs(slope + 0.25) - 0.08, 0.05) * _cover(window - 0.34, 0.10)
    picture = _mix(picture, rim * amber + spark, _cover(np.abs(r - lip) - half))

    if defect in ("broken_large", "broken_small"):
        large = defect == "broken_large"
        at = flaw.uniform(0, 2 * np.pi)
        wide = flaw.uniform(0.40, 0.60) if large else flaw.uniform(0.14, 0.20)
        near, far = (lip - half - 1, lip + half + 6) if large else (lip - 2, lip + half + 1)
        turn = np.linspace(-wide, wide, 8 if large else 5)
        radii = np.repeat([near, far], len(turn))
        radii += flaw.uniform(-0.35, 0.35, radii.size) * half * (1 if large else 0.5)
        bend = at + np.concatenate([turn, turn[::-1]]) + flaw.normal(0, wide / 16, radii.size)
        rays = np.column_stack([np.cos(bend), np.sin(bend)])
        middle = (near + far) / 2
        corners = [cx, cy] + rays * radii[:, None]
        chunk = _polygon(x, corners)
        # Facets of broken glass; in their middle a gap, through which the light table glows.
        inner = middle + (radii - middle) * flaw.uniform(0.1, 0.7, radii.size)
        gap = _polygon(x, [cx, cy] + rays * inner[:, None])
        seeds = np.vstack([rays * radii[:, None], rays * middle])
        seeds = (seeds + flaw.normal(0, 3, seeds.shape)).astype(np.float32)
        facet = np.argmin([(dx - a) ** 2 + (dy - b) ** 2 for a, b in seeds], axis=0)
        tone = (flaw.uniform(0.2, 1.05, len(seeds)) ** 2).astype(np.float32)[facet]
        picture = _mix(picture, tone * (0.55 * amber + 0.28), chunk)
        picture = _mix(picture, 0.6 * picture + _rgb(0.18, 0.13, 0.08), gap)
        glints = flaw.choice(len(corners) - 1, len(corners) // 3, replace=False)
        glint = _strokes(x, [(corners[k : k + 2], flaw.uniform(0.5, 1.6)) for k in glints])
        picture = _mix(picture, _rgb(1, 0.97, 0.92), 0.9 * glint)
    elif defect == "contamination":
        for _ in range(flaw.integers(1, 4)):
            at, out = flaw.uniform(0, 2 * np.pi), flaw.uniform(0.15, 0.42) * body
            centre = np.array([cx + out * np.cos(at), cy + out * np.sin(at)])
            blob = _blob(flaw, x, y, centre, flaw.uniform(6, 13), 0.22) + 2.5 * _noise(flaw, x, 4)
            dark = flaw.uniform(0.20, 0.34) + 0.10 * _noise(flaw, x, 2) + 0.012 * blob
            picture = _mix(picture, dark * _rgb(1.0, 0.93, 0.75), _cover(blob, 1.0))
    return picture


def carpet(rng: Generator, defect: str | None, flaw: Generator) -> Array:
    """Close-up of a woven carpet: rows of twisted loops, leaning left and right in turn."""
    x, y = _grid(SIZE, SIZE)
    turn = rng.normal(0, 0.06)
    across, along = 7.2, 9.6  # size of a loop, pixels
    cos, sin = math.cos(turn), math.sin(turn)
    u = x * cos + y * sin + 1.6 * _noise(rng, x, 45) + rng.uniform(0, 99)
    v = y * cos - x * sin + 1.6 * _noise(rng, x, 45) + rng.uniform(0, 99)
    column = np.floor(u / across)
    lean = np.array([-1, 1], np.float32)[column.astype(int) & 1]
    a = (u / across - column) * 2 - 1  # a, b: -1..1 across and along the loop
    rise = v / along + 0.275 * lean * a + 0.25 * lean
    row = np.floor(rise)
    b = (rise - row) * 2 - 1
    loop = column.astype(int) & 63, row.astype(int) & 63
    yarn = rng.normal(0, 1, (64, 64)).astype(np.float32)[loop]

    height = np.sqrt(np.clip(1 - 0.80 * a**2 - 0.85 * b**2, 0, 1))
    twist = np.cos(9 * (a * 0.9 - 0.5 * lean * b) + 6 * yarn)
    tone = 0.10 + 0.42 * height - 0.07 * a - 0.09 * b + 0.045 * twist * height + 0.045 * yarn
    tone *= 1 + 0.06 * _noise(rng, x, 1.2) + 0.05 * _noise(rng, x, 60)
    tone *= 1.12 + rng.normal(0, 0.03) + rng.normal(0, 0.04) * (x - 128) / 128
    colour = _rgb(*(np.array([1.0, 0.965, 0.90]) + rng.normal(0, 0.008, 3)))
    picture = tone * (colour + 0.022 * yarn * _rgb(1, 0, -1))

    centre = flaw.uniform(70, SIZE - 70, 2)
    if defect == "color":
        stain = _blob(flaw, x, y, centre, flaw.uniform(18, 30), 0.28) + 3 * _noise(flaw, x, 7)
        inks = [(0.75, 0.22, 0.28), (0.40, 0.32, 0.85), (0.30, 0.62, 0.42), (0.95, 0.70, 0.20)]
        ink = inks[flaw.integers(len(inks))]
        picture = _mix(picture, picture * _rgb(*ink) * 1.15, 0.85 * _cover(stain, 2.5))
    elif defect == "cut":
        path = _path(flaw, centre, flaw.uniform(0, np.pi), flaw.uniform(60, 95), 0.05)
        path += centre - path.mean(axis=0)
        slit = np.sin(np.linspace(0.15, np.pi - 0.15, len(path) - 1)) * flaw.uniform(4, 5.5)
        pieces = [(path[i : i + 2], w) for i, w in enumerate(slit)]
        gap = ndimage.gaussian_filter(_strokes(x, pieces), 0.4 * SCALE)
        lips = np.clip(_strokes(x, [(p, w + 5) for p, w in pieces]) - gap, 0, 1)
        lips = ndimage.gaussian_filter(lips, 1.0 * SCALE)
        picture = _mix(picture, picture * 1.35 + 0.05, 0.8 * lips)
        picture = _mix(picture, _rgb(0.07, 0.06, 0.055), gap)
        roots = path[flaw.integers(0, len(path), 16)] + flaw.normal(0, 1.5, (16, 2))
        hairs = _fibres(flaw, x, roots, flaw.uniform(0, 2 * np.pi, 16))
        picture = _mix(picture, _rgb(0.66, 0.63, 0.57), 0.8 * hairs)
    elif defect == "hole":
        hole = _blob(flaw, x, y, centre, flaw.uniform(14, 20), 0.12) + 1.5 * _noise(flaw, x, 4)
        backing = 0.15 + 0.07 * np.cos(u * 1.9) * np.cos(v * 1.9)
        backing = backing - 0.004 * np.clip(-hole, 0, 9)
        picture = _mix(picture, picture * 0.6, _cover(hole - 2, 3))
        picture = _mix(picture, backing * _rgb(1.0, 0.82, 0.60), _cover(hole, 1))
        angles = flaw.uniform(0, 2 * np.pi, 24)
        ring = 17 * np.column_stack([np.cos(angles), np.sin(angles)])
        hairs = _fibres(flaw, x, centre + ring, angles + np.pi + 0.9)
        picture = _mix(picture, _rgb(0.60, 0.57, 0.51), 0.8 * hairs)
    return picture


def screw(rng: Generator, defect: str | None, flaw: Generator) -> Array:
    """Steel wood screw lying at any angle on light-grey paper."""
    x, y = _grid(SIZE, SIZE)
    turn, length, pitch = rng.uniform(0, 2 * np.pi), rng.uniform(176, 184), 8.6
    cx, cy = rng.normal(SIZE / 2, 5, 2).tolist()
    cos, sin = math.cos(turn), math.sin(turn)
    u = (x - cx) * cos + (y - cy) * sin + length / 2  # 0 head .. length tip
    v = (y - cy) * cos - (x - cx) * sin
    phase, start = rng.uniform(0, 1), rng.uniform(0.36, 0.42) * length
    paper = 0.76 + 0.008 * _noise(rng, x, 1.5) + 0.02 * _noise(rng, x, 80)
    paper = paper + rng.normal(0, 0.015) - 0.03 * (x + y - 256) / 256
    grain = _noise(rng, x, 1.2)

    # The shadow is soft: the plain outline will do for it, and no defect changes it.
    outline = _profile(u, [0, 4, 18, length - 30, length - 15], [20, 20, 9, 9, 3])
    shade = _cover(np.abs(v) - outline) * _cover(-u) * _cover(u - length + 12)
    shade = ndimage.gaussian_filter(np.roll(shade, (4 * SCALE, 3 * SCALE), (0, 1)), 4 * SCALE)

    tip = length
    if defect == "manipulated_front":  # the point is bent, and blunted
        bend = float(flaw.choice([-1, 1])) * flaw.uniform(0.006, 0.011)
        v = v - bend * np.clip(u - 0.78 * length, 0, None) ** 2
        tip = length - flaw.uniform(4, 9)

    # Radius of the core along the screw, plus the thread's ridge, which winds round it.
    knots = [-1, 0, 1.5, 4, 17, 20, start, length - 20, length - 2, length]
    core = _profile(u, knots, [0, 19, 20.5, 20.5, 8.2, 7.6, 7.6, 7.2, 1.2, 0])
    ridge = _profile(u, [start, start + 8, length - 20, length - 3], [0, 4.4, 4.0, 0.4])
    wind = u / pitch + np.arcsin(np.clip(v / (core + ridge + 1e-3), -1, 1)) / (2 * np.pi) + phase
    if defect == "thread_side":  # some turns are crushed flat on one side
        side = float(flaw.choice([-1, 1]))
        at, reach = flaw.uniform(start + 25, length - 45), flaw.uniform(11, 17)
        crushed = _cover(np.abs(u - at) - reach, 1.5) * _cover(-side * v + 1, 2)
        wind = wind + 0.25 * crushed * _noise(flaw, x, 7)
        ridge = ridge * (1 - crushed * (0.80 + 0.25 * _noise(flaw, x, 4)))
    ridge = ridge * np.clip(1.25 - 2.6 * np.abs(wind - np.floor(wind) - 0.5), 0, 1)
    radius = core + ridge
    shape = _cover(np.abs(v) - radius, 0.35) * _cover(-u) * _cover(u - tip)

    # The height above the axis gives the surface normal, the normal the metal's reflections.
    height = ndimage.gaussian_filter(np.sqrt(np.clip(radius**2 - v**2, 0, None)), 0.5 * SCALE)
    slope_y, slope_x = np.gradient(height, 1 / SCALE)
    up = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    toward = (0.45 * slope_x + 0.60 * slope_y) * up + 0.66 * up  # lamp: upper left
    metal = 0.16 + 0.34 * np.clip(toward, 0, 1) + 0.55 * np.clip(toward, 0, 1) ** 14
    metal = metal + 0.16 * _bell(up, 0.35, 0.15) + 0.03 * grain
    if defect == "scratch_head":
        spin = np.array([[cos, sin], [-sin, cos]])
        heading = flaw.uniform(0.9, 2.2)
        for _ in range(flaw.integers(3, 6)):
            begin = np.array([flaw.uniform(2, 9), flaw.uniform(-13, -3)])
            line = _path(flaw, begin, heading + flaw.normal(0, 0.15), flaw.uniform(9, 20), 0.05)
            line = (line - [length / 2, 0]) @ spin + [cx, cy]
            metal = metal + (0.15 - metal) * 0.7 * _strokes(x, [(line + 0.5, 0.5)])
            metal = metal + (1.0 - metal) * _strokes(x, [(line, 0.8)])

    picture = (paper - 0.30 * shade) * _rgb(1, 1, 0.995)
    return _mix(picture, metal * _rgb(1, 0.985, 0.95), shape)


def strip(rng: Generator, defect: str | None, flaw: Generator) -> Array:
    """Long narrow strip of brushed grey metal (KSDD2): 630..640 high, 228..236 wide."""
    high, wide = int(rng.integers(630, 641)), int(rng.integers(228, 237))
    x, _ = _grid(high, wide)
    tone = rng.uniform(0.46, 0.60) + 0.05 * np.cos((x / wide - rng.uniform(0.3, 0.7)) * 2.6)
    tone = tone + 0.018 * _noise(rng, x, 60, 120) + 0.018 * _noise(rng, x, 9, 14)
    tone = tone + 0.020 * _noise(rng, x, 0.8, 60) + 0.010 * _noise(rng, x, 1.0, 3.0)
    tone = tone - 0.35 * np.clip(_noise(rng, x, 2.2) - 0.72, 0, 1)  # pits
    # Rounded long edges: a highlight, then the dark gap beside the strip.
    wobble = 0.3 * _noise(rng, x, 400, 40)
    side = np.minimum(x - rng.uniform(5, 9), wide - rng.uniform(5, 9) - x) + wobble
    tone = tone + 0.10 * _bell(side, 5, 2.5) - 0.12 * _cover(side - 2.5, 2)
    tone = tone + (0.10 - tone) * _cover(side, 0.9)

    if defect is not None:
        centre = np.array([flaw.uniform(0.35, 0.65) * wide, flaw.uniform(0.15, 0.85) * high])
        metal = 1 - _cover(side - 4, 2)  # where there is metal to damage
        if defect == "scratch":  # straight, bright, with a dark flank
            for _ in range(flaw.integers(1, 4)):
                line = _path(flaw, centre, flaw.uniform(0, np.pi), flaw.uniform(45, 120), 0.02)
                line += centre - line.mean(axis=0) + flaw.normal(0, 20, 2)
                tone = tone + (0.90 - tone) * 0.85 * metal * _strokes(x, [(line, 1.2)])
                tone = tone + (0.26 - tone) * 0.85 * metal * _strokes(x, [(line + 1.1, 0.9)])
        else:  # a crack: dark, jagged, branching
            heading = flaw.uniform(0.7, 2.4)
            trunk = _path(flaw, centre, heading, flaw.uniform(70, 130), 0.06, 0.6)
            trunk += centre - trunk.mean(axis=0)
            lines = [(trunk, 1.8)]
            for root in trunk[flaw.integers(3, len(trunk), 2)]:
                branch = heading + flaw.choice([-0.8, 0.8])
                lines.append((_path(flaw, root, branch, flaw.uniform(15, 35), 0.06, 0.5), 1.0))
            tone = tone + (0.14 - tone) * 0.9 * metal * _strokes(x, lines)
    return np.stack([tone] * 3)


DRAW: dict[str, Callable[[Generator, str | None, Generator], Array]] = {
    "bottle": bottle,
    "carpet": carpet,
    "screw": screw,
    "ksdd2": strip,
}


# ---------------------------------------------------------------------------- images and files


def render(
    category: str, kind: str, index: int, *, clean: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one image and its mask.

    Args:
        category: A key of `DRAW`.
        kind: "<split>/good" or "<split>/<defect>", such as "train/good" or "test/hole".
        index: Number of the image within its kind, from 0.
        clean: Leave the defect out, to see what it changed.

    Returns:
        Image (height, width, 3) and mask (height, width) of 0 (sound) and 255 (defect).
    """
    name = kind.split("/")[1]

    def stream(part: int) -> Generator:
        seed = [DEMO_VERSION, crc32(f"{category}/{kind}".encode()), index, part]
        return np.random.default_rng(seed)

    def draw(defect: str | None) -> Array:
        fine = DRAW[category](stream(0), defect, stream(1))
        offsets = [(i, j) for i in range(SCALE) for j in range(SCALE)]
        return np.clip(sum(fine[:, i::SCALE, j::SCALE] for i, j in offsets) / SCALE**2, 0, 1)

    picture = draw(None)
    mask = np.zeros(picture.shape[1:], bool)
    if name != "good" and not clean:
        flawed = draw(name)
        changed = np.abs(flawed - picture).max(axis=0) > VISIBLE
        # People outline a defect, they do not trace its pixels: close its gaps, fill its holes.
        near = ndimage.distance_transform_edt(~changed) <= 4
        mask = ndimage.binary_fill_holes(ndimage.distance_transform_edt(near) > 3)
        picture = np.where(mask, flawed, picture)
    grey = stream(2).normal(0, NOISE, mask.shape)
    pixels = np.rint((picture + grey).clip(0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0)), mask.astype(np.uint8) * 255


def _plan() -> Iterator[tuple[str, str, int, str, str | None]]:
    """List the images: category, kind, index, path of the image, path of the mask or None."""
    for category, defects in MVTEC_DEFECTS.items():
        kinds = {"train/good": DEMO_PLATE_COUNTS["train"], "test/good": DEMO_PLATE_COUNTS["good"]}
        kinds |= {f"test/{defect}": DEMO_PLATE_COUNTS["defect"] for defect in defects}
        for kind, count in kinds.items():
            for i in range(count):
                truth = None
                if not kind.endswith("/good"):
                    truth = f"mvtec_ad/{category}/ground_truth/{kind[5:]}/{i:03}_mask.png"
                yield category, kind, i, f"mvtec_ad/{category}/{kind}/{i:03}.png", truth
    for split, (first, count) in DEMO_STRIP_COUNTS.items():
        for i in range(count):
            name = ("scratch", "crack")[i // 3 % 2] if i % 3 == 1 else "good"
            stem = f"ksdd2/{split}/{first + i}"
            yield "ksdd2", f"{split}/{name}", i, f"{stem}.png", f"{stem}_GT.png"


def demo_root(base: Path | None = None) -> Path:
    """Make the demo data once and return its root.

    Args:
        base: Folder that holds the demo folder; default "./data".

    Returns:
        `base`/demo-v<DEMO_VERSION>, holding mvtec_ad/<category>/... (256x256 RGB) and
        ksdd2/{train,test}/... (about 232 wide, 640 high, grey stored as RGB).

    Raises:
        InputError: The folder cannot be written.
    """
    base = Path("data") if base is None else Path(base)
    root = base / f"demo-v{DEMO_VERSION}"
    # Drawn beside its place and renamed when whole: a demo folder that exists is complete.
    partial = base / f".{root.name}-{uuid.uuid4().hex}"
    try:
        if root.is_dir():
            return root
        for category, kind, index, path, truth in _plan():
            pixels, mask = render(category, kind, index)
            for name, array in ((path, pixels), (truth, mask)):
                if name is not None:
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(array).save(partial / name, compress_level=3)
        try:
            partial.replace(root)
        except OSError:
            if not root.is_dir():  # else another process was faster: its files are the same
                raise
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"cannot write the demo data to {root} ({reason}): choose another folder with "
            "--data-root, or free space"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root
