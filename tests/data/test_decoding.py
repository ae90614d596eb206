import re
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from ssn_lib.data.decoding import Remarks, as_rgb, decode, displayed_size, in_threads, is_deep
from ssn_lib.errors import InputError

TURNS = {  # EXIF 2.32, table 4: what is shown of what is stored
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
# Blocks of 8×8, which JPEG keeps, all different: no turn but the right one gives them back.
GREY = np.kron(np.arange(20, 260, 40, dtype=np.uint8).reshape(2, 3), np.ones((8, 8), np.uint8))
PIXELS = {
    "L": GREY,
    "RGB": np.stack((GREY, GREY // 2, 255 - GREY), axis=2),
    "16-bit": GREY.astype(np.uint16) * 257 - 19,
    "palette": GREY,
    "1": GREY > 100,
}
TAG = 0x0112


def refusal(path):
    """The one-line message of the InputError that decoding must raise."""
    with pytest.raises(InputError) as raised:
        decode(path)
    message = str(raised.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def save(path, pixels, orientation, *, palette=False, **options):
    image = Image.fromarray(pixels)
    if palette:
        image = image.convert("P")
    exif = Image.Exif()
    exif[TAG] = orientation
    image.save(path, exif=exif.tobytes(), **options)


def values(picture):
    return np.asarray(picture.image) if picture.deep is None else picture.deep


# --- orientation -----------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(
    ("suffix", "kinds", "options"),
    [
        ("jpg", ("L", "RGB"), {"quality": 100, "subsampling": 0}),
        ("png", PIXELS, {}),
        ("webp", ("RGB",), {"lossless": True}),
        ("tiff", PIXELS, {}),
        ("tiff", PIXELS, {"compression": "tiff_lzw"}),
    ],
    ids=["jpg", "png", "webp", "tiff", "tiff-lzw"],
)
def test_a_file_is_turned_once_as_its_tag_says(suffix, kinds, options, orientation, tmp_path):
    for kind in kinds:
        path, pixels = tmp_path / f"{kind}.{suffix}", PIXELS[kind]
        save(path, pixels, orientation, palette=kind == "palette", **options)
        picture, expected = decode(path), TURNS[orientation](pixels)
        palette = kind == "palette"
        shown = np.asarray(as_rgb(picture.image))[..., 0] if palette else values(picture)
        assert shown.shape == expected.shape
        error = np.abs(shown.astype(int) - expected.astype(int)).max()
        assert error <= (3 if suffix == "jpg" else 0), (kind, error)
        assert picture.image.size == displayed_size(path) == expected.shape[1::-1]


def test_it_is_what_pillow_calls_transposed(tmp_path):
    for orientation in TURNS:
        save(tmp_path / "a.png", GREY, orientation)
        with Image.open(tmp_path / "a.png") as image:
            expected = np.asarray(ImageOps.exif_transpose(image))
        assert (values(decode(tmp_path / "a.png")) == expected).all()


@pytest.mark.parametrize(
    "exif",
    [
        b"no exif at all",
        b"Exif\x00\x00",
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x05\x01\x12",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x63\x00\x00\x00"
        b"\x00\x00\x00\x00",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x02\x00\xff\xff\xff\x7f\xff\x00\x00\x00",
    ],
    ids=["none", "empty", "far away", "cut", "no such orientation", "not a number"],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_damaged_tag_leaves_the_image_as_it_is_stored(exif, suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {"quality": 100}
    Image.fromarray(PIXELS["RGB"]).save(path, exif=exif, **options)
    picture = decode(path)
    assert picture.image.size == displayed_size(path) == (24, 16)


def test_a_tag_behind_the_pixels_of_a_png_counts(tmp_path):
    save(tmp_path / "a.png", GREY, 6)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = len(content) - 12  # IEND
    moved = content[:start] + content[end:last] + content[start:end] + content[last:]
    (tmp_path / "a.png").write_bytes(moved)
    assert (values(decode(tmp_path / "a.png")) == TURNS[6](GREY)).all()
    assert displayed_size(tmp_path / "a.png") == (16, 24)


# --- more than 8 bits --------------------------------------------------------------------------


def write_png(path, pixels):
    """16-bit colour, (H, W, C), which Pillow cannot write."""
    import struct
    import zlib

    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    # Every row differently filtered, as writers do: as it is, or minus the pixel to the left.
    lines = []
    for index, row in enumerate(rows):
        left = np.concatenate((np.zeros(2 * channels, np.uint8), row[: -2 * channels]))
        lines.append(bytes([index % 2]) + (row - left if index % 2 else row).tobytes())

    def chunk(name, content):
        body = name + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    kind = {2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"".join(lines)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_keeps_all_of_its_bits(channels, tmp_path):
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    write_png(path, pixels)
    assert is_deep(path)
    assert (decode(path).deep == pixels[..., :3]).all()


def test_16_bit_grey_with_alpha_is_not_supported(tmp_path):
    write_png(tmp_path / "a.png", np.full((5, 7, 2), 4095, np.uint16))
    assert "16-bit values of the kind LA are not supported" in refusal(tmp_path / "a.png")


def test_depth_is_known_from_the_header(tmp_path):
    for kind, pixels in PIXELS.items():
        for suffix in ("png", "tiff"):
            path = tmp_path / f"a.{suffix}"
            Image.fromarray(pixels).save(path)
            assert is_deep(path) == (kind == "16-bit")
            assert (decode(path).deep is not None) == (kind == "16-bit")


# --- size, pages, modes --------------------------------------------------------------------------


def test_an_image_above_pillows_limit_is_the_users_own(tmp_path, monkeypatch):
    for suffix in ("png", "tiff", "webp", "gif", "jpg"):
        path = tmp_path / f"scan.{suffix}"
        Image.new("L", (40, 30)).save(path)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert decode(path).image.size == displayed_size(path) == (40, 30)
        assert in_threads(displayed_size, [path] * 8) == [(40, 30)] * 8
        assert Image.MAX_IMAGE_PIXELS == 100  # of the importing program


def test_long_texts_in_a_png_are_the_users_own(tmp_path):
    text = PngImagePlugin.PngInfo()
    text.add_text("made by", "a labelling tool " * 100_000, zip=True)
    Image.fromarray(GREY).save(tmp_path / "a.png", pnginfo=text)
    assert (values(decode(tmp_path / "a.png")) == GREY).all()
    assert PngImagePlugin.MAX_TEXT_CHUNK < 1e8


def test_readers_in_many_threads_leave_pillows_limit_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("L", (40, 30)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    sizes = []
    threads = [
        threading.Thread(target=lambda: sizes.extend(displayed_size(path) for _ in range(20)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [(40, 30)] * 120
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("suffix", ["tiff", "gif", "webp", "png"])
def test_of_several_pages_the_first_is_read(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    first, *others = (Image.new("RGB", (8, 6), (grey,) * 3) for grey in (50, 100, 150))
    first.save(path, save_all=True, append_images=others)
    picture = decode(path)
    assert picture.pages == 3
    assert np.abs(np.asarray(as_rgb(picture.image)).astype(int) - 50).max() <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "LAB"])
def test_every_mode_becomes_rgb_without_a_warning(mode, tmp_path):
    image = Image.new(mode, (6, 4)) if mode == "LAB" else Image.fromarray(GREY).convert(mode)
    image.save(tmp_path / "a.tiff")
    assert as_rgb(decode(tmp_path / "a.tiff").image).mode == "RGB"


@pytest.mark.parametrize("transparency", [0, b"\x00\x80\xff"])
def test_a_transparent_palette_keeps_its_colours(transparency, tmp_path):
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) % 3).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's own, which the settings let pass
        shown = np.asarray(as_rgb(decode(tmp_path / "a.png").image))
    assert (shown == 255 * np.eye(3)[[[0, 1, 2]] * 2]).all()


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp", "gif"])
def test_a_damaged_file_is_one_line(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (40, 40), dtype=np.uint8)).save(path)
    whole = path.read_bytes()
    for length in (0, 3, 20, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert re.search("not an image file|cannot be read|is empty", refusal(path))
    for _ in range(30):  # anything may be wrong; an InputError is the only one that may be raised
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(0, 60, 6)] = rng.integers(0, 256, 6)
        path.write_bytes(damaged.tobytes())
        try:
            decode(path)
        except InputError as error:
            assert "\n" not in str(error)


def test_a_header_that_a_file_cannot_hold_takes_no_memory(tmp_path):
    path = tmp_path / "a.bmp"
    Image.new("L", (8, 6)).save(path)
    content = bytearray(path.read_bytes())
    content[18:26] = (500_000).to_bytes(4, "little") * 2  # width and height
    path.write_bytes(content)
    assert "its header says 500000×500000 pixels, which a file of" in refusal(path)


def test_what_is_no_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    assert "cannot be read: Is a directory" in refusal(tmp_path / "b.png")


def test_pillows_own_warnings_are_not_shown(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path)
    opened = PngImagePlugin.PngImageFile._open

    def warns(self):
        warnings.warn_explicit("some tag", UserWarning, "png.py", 1, module="PIL.PngImagePlugin")
        opened(self)

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "_open", warns)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(path).image.size == (24, 16)


# --- remarks --------------------------------------------------------------------------------------


def test_one_line_for_each_kind_of_remark(tmp_path):
    remarks = Remarks()
    remarks.warn()
    for name in ("c", "a", "b"):
        remarks.add("odd", tmp_path / name, f" ({name})")
    remarks.add("even", tmp_path / "d")
    with pytest.warns(UserWarning) as warned:
        remarks.warn()
    assert [str(warning.message) for warning in warned] == [
        f"odd: 3, the first {tmp_path / 'a'} (a)",
        f"even: {tmp_path / 'd'}",
    ]


@pytest.mark.parametrize("kept", ["eXIf", "XMP", "a text", "nothing"])
def test_the_size_of_a_png_is_known_without_its_pixels_unless_it_may_be_turned(
    kept, tmp_path, monkeypatch
):
    image, path, info = Image.fromarray(GREY), tmp_path / "a.png", PngImagePlugin.PngInfo()
    exif = Image.Exif()
    exif[TAG] = 6
    xmp = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    if kept == "XMP":
        info.add_itxt("XML:com.adobe.xmp", xmp)
    elif kept == "a text":
        info.add_text("Software", "a camera")
    image.save(path, pnginfo=info, **({"exif": exif} if kept == "eXIf" else {}))
    turned = kept in ("eXIf", "XMP")
    assert displayed_size(path) == (image.size[::-1] if turned else image.size)
    assert displayed_size(path) == decode(path).image.size
    if not turned:
        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
        assert displayed_size(path) == image.size


def test_a_png_cut_off_within_a_chunk_has_its_size(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(GREY).save(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert displayed_size(path) == Image.fromarray(GREY).size


def test_colour_of_many_bits_in_a_ppm_is_refused(tmp_path):
    path = tmp_path / "a.ppm"
    pixels = np.arange(12, dtype=">u2").reshape(2, 2, 3)
    path.write_bytes(b"P6 2 2 65535 " + pixels.tobytes())
    with pytest.raises(InputError, match="colour of more than 8 bits in a PPM is not supported"):
        decode(path)
    path.write_bytes(b"P6 2 2 255 " + pixels.astype(np.uint8).tobytes())
    assert decode(path).deep is None


def test_a_bmp_of_16_bits_for_all_three_colours_is_read(tmp_path):
    rows = np.array([[0xF800, 0x07E0], [0x001F, 0xFFFF]], dtype="<u2")  # red, green; blue, white
    head = np.array([40, 2, 2], "<u4").tobytes() + np.array([1, 16], "<u2").tobytes()
    head += np.array([3, rows.nbytes, 2835, 2835, 0, 0], "<u4").tobytes()
    head += np.array([0xF800, 0x07E0, 0x001F], "<u4").tobytes()
    start = 14 + len(head)
    size = np.array([start + rows.nbytes, 0, start], "<u4").tobytes()
    (tmp_path / "a.bmp").write_bytes(b"BM" + size + head + rows[::-1].tobytes())
    picture = decode(tmp_path / "a.bmp")
    assert picture.deep is None
    assert not is_deep(tmp_path / "a.bmp")
    assert np.asarray(picture.image).tolist() == [
        [[255, 0, 0], [0, 255, 0]],
        [[0, 0, 255], [255, 255, 255]],
    ]
