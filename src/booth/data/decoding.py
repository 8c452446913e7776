"""Bytes to an upright sRGB picture, or one sentence that says why not."""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms

from booth.core.errors import BadDataError
from booth.core.reading import read_bytes as read_file

FORMATS = ("JPEG", "PNG", "WEBP")  # Pillow opens dozens more, each a parser that a stranger's file could reach
MIN_SIDE = 32  # half the side of the smallest base: enlarging more than twofold would teach blur
MAX_PIXELS = 40_000_000
MAX_BYTES = 400_000_000  # 40 megapixels, uncompressed, at 16 bits in four channels, and room to spare

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What people leave among their photos, by the first bytes; the advice follows from what it is.
STRANGERS = (  # how a file begins, what it is and what to do with it
    (b"GIF8", "is a GIF", "save the picture as PNG"),
    (b"BM", "is a BMP", "save it as PNG"),
    (b"II*\0", "is a TIFF or a camera's raw file", "save it as PNG or JPEG"),
    (b"MM\0*", "is a TIFF or a camera's raw file", "save it as PNG or JPEG"),
    (b"IIRO", "is a camera's raw file", "develop it and save it as JPEG"),
    (b"IIRS", "is a camera's raw file", "develop it and save it as JPEG"),
    (b"IIU\0", "is a camera's raw file", "develop it and save it as JPEG"),
    (b"FUJIFILM", "is a camera's raw file", "develop it and save it as JPEG"),
    (b"\xff\x0a", "is a JPEG XL", "save it as PNG or JPEG"),
    (b"\0\0\0\x0cJXL ", "is a JPEG XL", "save it as PNG or JPEG"),
    (b"\0\0\0\x0cjP  ", "is a JPEG 2000", "save it as PNG or JPEG"),
    (b"8BPS", "is a Photoshop file", "save it as PNG"),
    (b"%PDF", "is a PDF, not a photo", "remove it"),
    (b"PK\3\4", "is a ZIP archive", "unpack it and give the folder"),
    (b"7z\xbc\xaf", "is a 7z archive", "unpack it and give the folder"),
    (b"Rar!", "is a RAR archive", "unpack it and give the folder"),
    (b"\x1f\x8b", "is a compressed archive", "unpack it and give the folder"),
    (b"PAR1", "is a Parquet table, not a photo", "save its pictures as files"),
    (b"ARROW1", "is an Arrow table, not a photo", "save its pictures as files"),
    (b"v/1\x01", "is an OpenEXR", "save it as PNG"),
    (b"qoif", "is a QOI", "save it as PNG"),
    (b"DDS ", "is a DDS texture", "save it as PNG"),
    (b"gimp xcf", "is a GIMP file", "export it as PNG"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the photo", "run `git lfs pull`"),
    (b"<", "is a web page or SVG, not a photo", "download the picture itself"),
)


HEIC = (b"heic", b"heix", b"heif", b"mif1", b"mif2", b"msf1", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"miaf")
AVIF = (b"avif", b"avis")
# Beginnings that are long enough to prove a picture whatever a file is called; "BM" and "<" begin texts too.
PICTURES = tuple(
    magic for magic, what, _ in STRANGERS if len(magic) > 2 and "not" not in what and "archive" not in what
)


def is_other_picture(head: bytes) -> bool:
    """Whether the first 32 bytes of a file are those of a picture of a kind that we do not read."""
    return _brand(head) in ("HEIC", "AVIF", "raw") or head.startswith(PICTURES)


def _brand(head: bytes) -> str | None:
    """What an ISO media file holds, by its own brand or else by those that it is compatible with; None for others."""
    if head[4:8] != b"ftyp":
        return None
    brands = [head[8:12], *(head[i : i + 4] for i in range(16, min(len(head), int.from_bytes(head[:4])), 4))]
    for told, known in (("AVIF", AVIF), ("HEIC", HEIC), ("raw", (b"crx ",))):
        if any(brand in known for brand in brands):
            return told
    return "video"


def sniff(head: bytes) -> str | None:
    """The format that the first 12 bytes announce, or None if it is none of ours."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    return None


def read_bytes(path: Path) -> bytes:
    """The content of a picture's file; BadDataError with the reason if it cannot be read or is far too large."""
    return read_file(path, MAX_BYTES)


def decode(data: bytes) -> Image.Image:
    """The whole picture in `data` as RGB: upright, in sRGB, transparency on white; errors as in `decode_fully`."""
    return decode_with_alpha(data)[0]


@dataclass(frozen=True)
class Decoded:
    """A picture as it is to be seen."""

    image: Image.Image  # RGB, upright, in sRGB, transparency on white
    alpha: Image.Image | None  # L: its opacity, if it has any transparency
    stored: tuple[int, int]  # width and height before it was turned
    turn: Image.Transpose | None  # what the camera's orientation tag asked for


def decode_with_alpha(data: bytes) -> tuple[Image.Image, Image.Image | None]:
    """As `decode`, and the picture's opacity (L) if it has any transparency."""
    found = decode_fully(data)
    return found.image, found.alpha


def decode_fully(data: bytes) -> Decoded:
    """The whole picture in `data`, and how it lies in its file.

    Raises BadDataError with a sentence without a subject ("is empty ...") for anything that is not one still
    JPEG, PNG or WebP of at least 32 pixels a side and at most 40 megapixels. Nothing over that size is decoded.
    """
    with _opened(data) as image:
        turn = _turn_of(image)
        rgb, alpha = _flat(image if turn is None else image.transpose(turn), image.info.get("icc_profile"))
        return Decoded(rgb, alpha, image.size, turn)


def decode_mask(data: bytes) -> tuple[Image.Image, str]:
    """A mask (L, white is the subject, upright) from a picture, and what was done to read it, or "".

    A mask is no photo: opacity decides where there is any, else the brightest channel, so that red on black is a mask,
    and what is painted in a palette's first colours or in a part of 16 bits is stretched to white. Errors are those of
    `decode_fully`.
    """
    with _opened(data) as image:
        turn = _turn_of(image)
        upright = image if turn is None else image.transpose(turn)
        if upright.has_transparency_data:
            alpha = upright.convert("RGBA").getchannel("A")
            if alpha.getextrema() != (255, 255):
                return alpha, "by their transparency"
        if upright.mode.startswith("I") or upright.mode == "F":
            values = np.asarray(upright).astype(np.float64)
        else:
            values = np.asarray(upright.convert("RGB")).max(2).astype(np.float64)
        values = values.clip(0)
        top, full = float(values.max()), 65535.0 if upright.mode.startswith("I;16") else 255.0
        full = 65535.0 if top > 255 else full
        flat = top == float(values.min())  # nothing tells what its value means
        scale = 255.0 / (full if flat else top)
        told = "" if flat or top == full else f"with {top:g} of {full:g} as white, for nothing in them is brighter"
        return Image.fromarray((values * scale).round().astype(np.uint8)), told


@contextmanager
def _opened(data: bytes) -> Generator[Image.Image]:
    """A picture with its pixels loaded; whatever fails within the block is a BadDataError about the file."""
    if not data:
        raise BadDataError("is empty (0 bytes)", "copy it again", code="picture.empty", field="photos")
    kind = sniff(data[:12])
    if kind is None:
        known = stranger(data[:512]) or ("is no JPEG, PNG or WebP, whatever its name says", "convert it or remove it")
        raise BadDataError(*known, code="picture.of_no_kind", field="photos")
    if kind == "WEBP":
        _check_size(*_webp_canvas(data))  # Pillow's opening of a WebP already allocates the whole canvas
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large and odd files: each is an error here or none at all
            yield _load(data, kind)
    except (BadDataError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise BadDataError(
            f"has over {MAX_PIXELS / 1e6:.0f} megapixels", "make it smaller", code="picture.too_large", field="photos"
        ) from error
    except Exception as error:  # decoders of damaged data raise nearly every built-in exception
        raise BadDataError(
            f"is a broken or truncated {kind} ({error})",
            "copy it again or remove it",
            code="picture.broken",
            field="photos",
        ) from error


def _load(data: bytes, kind: str) -> Image.Image:
    if kind == "PNG":
        # Decoding passes over the checksums of the pixel data; verifying does not, and leaves the image unusable.
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(*image.size)
        image.verify()
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_size(*image.size)
    # A JPEG with several pictures is a phone's photo with its depth map or preview; the first one is the photo.
    if kind != "JPEG" and getattr(image, "is_animated", False):
        raise BadDataError("is animated", "save one frame of it as PNG", code="picture.animated", field="photos")
    image.load()
    return image


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadDataError(
            f"has {width * height / 1e6:,.0f} megapixels ({width}x{height}), the most is {MAX_PIXELS / 1e6:.0f}",
            "make it smaller",
            code="picture.too_large",
            field="photos",
        )
    if min(width, height) < MIN_SIDE:
        raise BadDataError(
            f"is tiny ({width}x{height}), the least is {MIN_SIDE}x{MIN_SIDE}",
            "use the original or remove it",
            code="picture.too_small",
            field="photos",
        )


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Width and height from a WebP's header (RFC 9649, sections 2.5 to 2.7)."""
    chunk, body = data[12:16], data[20:30]
    if len(body) < 10 or chunk not in (b"VP8X", b"VP8L", b"VP8 "):
        raise BadDataError(
            "is a broken or truncated WEBP (no picture header)",
            "copy it again or remove it",
            code="picture.broken",
            field="photos",
        )
    if chunk == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def stranger(head: bytes) -> tuple[str, str] | None:
    """What a file is by its first 512 bytes that cannot be read as a picture, and what to do; None if nothing tells."""
    brands = {
        "HEIC": ("is a HEIC photo, as phones and cameras save", "export it as JPEG"),
        "raw": ("is a camera's raw file", "develop it and save it as JPEG"),
        "AVIF": ("is an AVIF", "save it as PNG or JPEG"),
        "video": ("is a video", "remove it"),
    }
    if (brand := _brand(head)) is not None:
        return brands[brand]
    if head[257:262] == b"ustar":
        return "is a TAR archive", "unpack it and give the folder"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for magic, what, advice in STRANGERS:
        if head.startswith(magic) or text.startswith(magic):
            return what, advice
    return None


def _turn_of(image: Image.Image) -> Image.Transpose | None:
    """The turn that the camera's orientation tag asks for.

    ImageOps.exif_transpose would also write the EXIF block anew, which fails on the odd tags of some cameras.
    """
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return None


def _flat(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, Image.Image | None]:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    if image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("RGB")
    rgb = _to_srgb(image, profile) if profile else image.convert("RGB")
    if alpha is None:
        return rgb, None
    white = Image.new("RGB", rgb.size, "white")
    white.paste(rgb, mask=alpha)
    return white, alpha


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB")  # a damaged profile, or one of another colour model: browsers ignore it too
    return image.convert("RGB") if converted is None else converted
