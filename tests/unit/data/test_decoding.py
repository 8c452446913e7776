"""Every kind of still JPEG, PNG and WebP becomes an upright sRGB picture; anything else is a BadDataError."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import encoded, jpeg, picture, png, png_header, webp, webp_header
from PIL import Image, ImageCms, ImageOps

from booth.core.errors import BadDataError
from booth.data import decoding
from booth.data.decoding import FORMATS, decode, sniff

WHITE = (255, 255, 255)


def corner(image: Image.Image) -> tuple[int, int, int]:
    return image.getpixel((0, 0))


def test_lossless_pictures_come_out_as_they_went_in() -> None:
    for data in (png(), webp()):
        assert decode(data).mode == "RGB"
        assert decode(data).tobytes() == picture().tobytes()


def test_the_format_is_decided_by_content() -> None:
    assert [sniff(d[:12]) for d in (jpeg(), png(), webp(), b"GIF89a......", b"RIFF1234AVI ")] == [
        "JPEG",
        "PNG",
        "WEBP",
        None,
        None,
    ]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), kind, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert decode(data).size == expected.size
    assert decode(data).tobytes() == expected.tobytes()
    assert (decode(data).tobytes() == decode(encoded(picture(), kind)).tobytes()) == (orientation == 1)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_damaged_exif_block_does_not_condemn_the_pixels(exif: bytes) -> None:
    assert decode(jpeg(exif=exif)).tobytes() == decode(jpeg()).tobytes()


def test_an_embedded_profile_is_converted_to_srgb() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"____").replace(b"bXYZ", b"rXYZ").replace(b"____", b"bXYZ")
    plain = np.asarray(picture(), dtype=int)
    assert np.abs(np.asarray(decode(png(icc_profile=srgb)), dtype=int) - plain).max() <= 1
    # A profile whose red primary is blue: what the file calls red is shown as blue.
    assert np.abs(np.asarray(decode(png(icc_profile=swapped)), dtype=int) - plain[:, :, ::-1]).max() <= 2


def test_a_profile_of_another_colour_model_or_a_damaged_one_is_ignored() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"no profile at all", lab):
        assert decode(png(icc_profile=profile)).tobytes() == picture().tobytes()


def test_transparency_is_laid_on_white() -> None:
    rgba = picture().convert("RGBA")
    rgba.putpixel((0, 0), (200, 0, 0, 0))
    rgba.putpixel((1, 0), (0, 0, 0, 128))
    grey_alpha = Image.new("LA", (40, 40), (10, 0))
    palette = Image.new("P", (40, 40), 0)
    palette.putpalette([1, 2, 3, 4, 5, 6])
    for data in (
        encoded(rgba, "PNG"),
        encoded(rgba, "WEBP", lossless=True),
        encoded(grey_alpha, "PNG"),
        encoded(palette, "PNG", transparency=0),
        encoded(palette, "PNG", transparency=bytes([0, 255])),
        encoded(Image.new("RGB", (40, 40), (9, 9, 9)), "PNG", transparency=(9, 9, 9)),
        encoded(Image.new("L", (40, 40), 7), "PNG", transparency=7),
    ):
        assert decode(data).mode == "RGB"
        assert corner(decode(data)) == WHITE
    half = decode(encoded(rgba, "PNG")).getpixel((1, 0))
    assert all(abs(c - 127) <= 1 for c in half)


def test_grey_palette_bitmap_16_bit_and_cmyk_pictures_keep_their_colours() -> None:
    palette = Image.new("P", (40, 40), 1)
    palette.putpalette([1, 2, 3, 40, 50, 60])
    deep = Image.fromarray(np.full((40, 40), 0x8000, dtype=np.uint16))
    assert corner(decode(encoded(Image.new("L", (40, 40), 77), "PNG"))) == (77, 77, 77)
    assert corner(decode(encoded(palette, "PNG"))) == (40, 50, 60)
    assert corner(decode(encoded(Image.new("1", (40, 40), 1), "PNG"))) == WHITE
    assert corner(decode(encoded(deep, "PNG"))) == (128, 128, 128)
    red, green, blue = corner(decode(encoded(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=95)))
    assert red > 230
    assert max(green, blue) < 40


def test_a_phone_photo_with_a_preview_behind_it_is_not_animated() -> None:
    data = encoded(picture(), "MPO", save_all=True, append_images=[picture(1)], quality=90)
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert decode(data).tobytes() == decode(jpeg()).tobytes()


def test_an_enormous_picture_is_refused_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr(Image.Image, "load", never)
    for data in (png_header(8000, 5001), png_header(60000, 60000)):
        with pytest.raises(BadDataError, match="megapixels"):
            decode(data)
    monkeypatch.setattr(Image, "open", never)  # opening a WebP allocates its canvas
    with pytest.raises(BadDataError, match=r"268 megapixels \(16384x16384\)"):
        decode(webp_header(16384, 16384))


def test_forty_megapixels_are_allowed() -> None:
    decoding._check_size(8000, 5000)
    with pytest.raises(BadDataError):
        decoding._check_size(8000, 5001)


@pytest.mark.parametrize("options", [{"lossless": True}, {"quality": 80}, {"lossless": True, "exif": Image.Exif()}])
def test_the_canvas_of_every_kind_of_webp_is_read_from_its_header(options: dict[str, object]) -> None:
    if "exif" in options:
        options["exif"][0x0112] = 1  # type: ignore[index]
    data = encoded(picture(0, (61, 35)), "WEBP", **options)
    assert decoding._webp_canvas(data) == (61, 35)


def test_no_damage_to_a_png_goes_unnoticed() -> None:
    data = png()
    start, end = data.index(b"IDAT"), data.index(b"IEND") - 4
    for at in range(start, end, 3):  # about one in thirty of these would decode, to other pixels
        with pytest.raises(BadDataError, match="broken or truncated PNG"):
            decode(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_are_bad_data_and_nothing_else(data: bytes) -> None:
    for magic in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8X"):
        with pytest.raises(BadDataError):
            decode(magic + data)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([jpeg(), png(), webp(), webp(quality=80, lossless=False)]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=4),
    st.floats(0, 1),
)
def test_damaged_photos_decode_or_are_bad_data(data: bytes, edits: list[tuple[float, bytes]], kept: float) -> None:
    broken = bytearray(data)
    for place, new in edits:
        at = int(place * len(broken))
        broken[at : at + len(new)] = new
    with contextlib.suppress(BadDataError):
        assert decode(bytes(broken[: int(kept * len(broken))])).mode == "RGB"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([jpeg(), png(), webp()]), st.floats(0.01, 0.95))
def test_a_truncated_photo_is_never_taken(data: bytes, kept: float) -> None:
    with pytest.raises(BadDataError):
        decode(data[: int(kept * len(data))])
