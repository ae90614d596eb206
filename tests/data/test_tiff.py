import numpy as np
import pytest
import tifffile
from PIL import Image

from ssn_lib.data.decoding import decode
from ssn_lib.errors import InputError

RNG = np.random.default_rng(0)


def made(shape, kind):
    if np.issubdtype(kind, np.integer):
        return RNG.integers(0, 120, shape, dtype=kind)
    return RNG.random(shape).astype(kind)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("shape", "kind", "photometric", "options", "said"),
    [
        ((8, 6, 5), "uint8", "minisblack", {"planarconfig": "contig"}, "5 channels (8 bits, grey)"),
        ((8, 6, 5), "uint16", "rgb", {}, "5 channels (16 bits, RGB)"),
        ((8, 6, 5), "uint8", "rgb", {}, "5 channels (8 bits, RGB)"),
        (
            (5, 8, 6),
            "uint8",
            "minisblack",
            {"planarconfig": "separate"},
            "5 channels (8 bits, grey, plane by plane)",
        ),
        ((8, 6, 12), "uint8", "minisblack", {"planarconfig": "contig"}, "12 channels (8 bits"),
        ((8, 6, 2), "uint8", "minisblack", {"planarconfig": "contig"}, "2 channels (8 bits, grey)"),
        ((8, 6, 5), "uint8", "separated", {"extrasamples": [2]}, "5 channels (8 bits, CMYK)"),
        (
            (3, 8, 6),
            "uint16",
            "rgb",
            {"planarconfig": "separate"},
            "3 channels (16 bits, RGB, plane by plane)",
        ),
        ((8, 6), "float64", "minisblack", {}, "1 channel (64 bits, floating-point grey)"),
        ((8, 6), "int64", "minisblack", {}, "1 channel (64 bits, signed grey)"),
        ((8, 6), "int8", "minisblack", {}, "1 channel (8 bits, signed grey)"),
        ((8, 6), "uint16", "miniswhite", {}, "1 channel (16 bits, grey (0 is white))"),
        ((8, 6, 3), "float32", "rgb", {}, "3 channels (32 bits, floating-point RGB)"),
    ],
)
def test_what_is_not_supported_is_named(
    shape, kind, photometric, options, said, compression, tmp_path, capfd
):
    path = tmp_path / "a.tif"
    pixels = made(shape, kind)
    tifffile.imwrite(path, pixels, photometric=photometric, compression=compression, **options)
    with pytest.raises(InputError) as raised:
        decode(path)
    assert str(raised.value).startswith(f"{path}: a TIFF of {said}")
    assert "is not supported; save it as grey or RGB" in str(raised.value)
    assert capfd.readouterr().err == ""  # Pillow logs an error of its own


def test_a_compression_that_is_not_known_is_named(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, made((8, 6), "uint8"))
    content = path.read_bytes()
    # Entry 259 (compression), SHORT, one value: 1.
    entry = b"\x03\x01\x03\x00\x01\x00\x00\x00\x01\x00"
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry, entry[:-2] + (34887).to_bytes(2, "little")))
    with pytest.raises(InputError, match=r"1 channel \(8 bits, grey, compression 34887\) is not"):
        decode(path)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("shape", "kind", "options"),
    [
        ((8, 6), "uint8", {}),
        ((8, 6), "uint16", {}),
        ((8, 6, 3), "uint8", {}),
        ((8, 6, 3), "uint16", {}),
        ((8, 6, 4), "uint16", {"extrasamples": [2]}),
        ((3, 8, 6), "uint8", {"planarconfig": "separate"}),
        ((32, 48, 3), "uint16", {"tile": (16, 16)}),
        ((32, 48), "uint16", {"tile": (16, 16)}),
    ],
)
def test_what_is_supported_keeps_its_values(shape, kind, options, order, compression, tmp_path):
    path = tmp_path / "a.tif"
    pixels = RNG.integers(0, np.iinfo(kind).max, shape, dtype=kind)
    photometric = "minisblack" if len(shape) == 2 else "rgb"
    with tifffile.TiffWriter(path, byteorder=order, bigtiff=order == "<") as file:
        file.write(pixels, photometric=photometric, compression=compression, **options)
    picture = decode(path)
    expected = np.moveaxis(pixels, 0, 2) if "planarconfig" in options else pixels
    if kind == "uint16":
        assert (picture.deep == (expected[..., :3] if len(shape) == 3 else expected)).all()
    else:
        assert picture.deep is None
        assert (np.asarray(picture.image) == expected).all()


def test_big_endian_signed_values_are_read_or_refused(tmp_path):
    """Compressed, Pillow gives their bytes in the wrong order."""
    pixels = made((8, 6), "int32")
    for compression, refused in ((None, False), ("zlib", True)):
        with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=">") as file:
            file.write(pixels, compression=compression)
        if refused:
            with pytest.raises(InputError, match="32 bits, signed grey, big-endian"):
                decode(tmp_path / "a.tif")
        else:
            assert (decode(tmp_path / "a.tif").deep == pixels).all()


def test_a_large_big_endian_file_is_named(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=">", bigtiff=True) as file:
        file.write(made((8, 6), "uint8"))
    with pytest.raises(InputError, match=r"\(BigTIFF\), big-endian, is not supported"):
        decode(tmp_path / "a.tif")


def test_a_damaged_header_is_not_called_unsupported(tmp_path):
    path = tmp_path / "a.tif"
    Image.new("L", (8, 6)).save(path)
    whole = path.read_bytes()
    for damaged in (whole[:9], whole[:20], b"II*\x00" + bytes(40), b"II+\x00" + bytes(4)):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="not an image file, or its header is damaged"):
            decode(path)
