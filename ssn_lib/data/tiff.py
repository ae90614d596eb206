"""Which TIFFs cannot be read, by their header: the format holds nearly anything."""

from __future__ import annotations

from typing import IO

from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2

_BIG = 43  # BigTIFF's number, 42 of others
_RAW = 1  # no compression
_PLANES = 2  # of PlanarConfiguration: one channel after the other
_UNSIGNED, _SIGNED = 1, 2  # of SampleFormat
_FORMATS = {_SIGNED: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
_WHITE_IS_ZERO, _GREY = 0, 1  # of PhotometricInterpretation
_COLOURS = {
    _WHITE_IS_ZERO: "grey (0 is white)",
    _GREY: "grey",
    2: "RGB",
    3: "palette",
    5: "CMYK",
    6: "YCbCr",
    8: "CIE Lab",
}
_CHANNELS = {2: 3, 5: 4, 6: 3, 8: 3}  # by PhotometricInterpretation; 1 for others


def found_in(file: IO[bytes]) -> str | None:
    """What a TIFF that Pillow refuses holds, see `described`; None where the file is no TIFF, or
    its header is damaged."""
    file.seek(0)
    header = file.read(8)
    if header[:4] == b"MM\x00" + bytes([_BIG]):
        return "the large kind (BigTIFF), big-endian,"
    if header[:2] not in (b"II", b"MM"):
        return None
    if header[2:3] == bytes([_BIG]):  # its offsets have 8 bytes
        header += file.read(8)
    try:
        tags = ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        sides = tags[Tag.ImageWidth], tags[Tag.ImageLength]
        return described(tags) if all(sides) else None
    except Exception:  # of a damaged header, Pillow lets nearly every kind through
        return None


def is_misread(tags: ImageFileDirectory_v2) -> bool:
    """Whether Pillow opens it and leaves channels out, or gives other values than are stored."""
    colours, samples, bits, sample_format, planes, compression = _layout(tags)
    channels = _CHANNELS.get(colours, 1)
    signed = sample_format == _SIGNED
    spare = tags.get(Tag.ExtraSamples, ())
    return (
        samples > channels + 1  # one more may be alpha
        or (samples > channels == 1 and 0 in spare)  # grey and something else
        or (samples > 1 and bits > 8 and planes)  # bytes of different values mixed
        or (signed and bits <= 8)  # read as unsigned
        or (signed and tags.prefix == b"MM" and compression != _RAW)  # bytes in the wrong order
        or (colours == _WHITE_IS_ZERO and bits > 8)  # not inverted
    )


def described(tags: ImageFileDirectory_v2) -> str:
    """What a file holds, such as "5 channels (8 bits, grey)"."""
    colours, samples, bits, sample_format, planes, compression = _layout(tags)
    kind = _FORMATS.get(sample_format, "") + _COLOURS.get(colours, f"colours {colours}")
    parts = [f"{bits} bits", kind]
    if tags.prefix == b"MM" and bits > 8:
        parts.append("big-endian")
    if planes and samples > 1:
        parts.append("plane by plane")
    if compression not in COMPRESSION_INFO:
        parts.append(f"compression {compression}")
    return f"{samples} channel{'s' if samples > 1 else ''} ({', '.join(parts)})"


def _layout(tags: ImageFileDirectory_v2) -> tuple[int, int, int, int, bool, int]:
    """Kind of colours, channels, most bits of one, sample format, by planes, compression."""
    return (
        tags.get(Tag.PhotometricInterpretation, _WHITE_IS_ZERO),
        tags.get(Tag.SamplesPerPixel, 1),
        max(tags.get(Tag.BitsPerSample, (1,))),
        max(tags.get(Tag.SampleFormat, (_UNSIGNED,))),
        tags.get(Tag.PlanarConfiguration, 1) == _PLANES,
        tags.get(Tag.Compression, _RAW),
    )
