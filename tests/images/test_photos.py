from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageFile

from ttame.errors import ImageError
from ttame.images import photos, rgb_conversion
from ttame.images.photos import check_photo, full_size, read_photo
from ttame.images.rgb_conversion import to_rgb

RED_BESIDE_BLUE = np.array([[[255, 0, 0]] * 8 + [[0, 0, 255]] * 8] * 12, dtype=np.uint8)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content.getvalue()


def colours(photo: Image.Image) -> np.ndarray:
    assert photo.mode == "RGB"
    return np.asarray(photo).astype(int)


def test_rgb_is_read_unchanged() -> None:
    photo = read_photo(encoded(Image.fromarray(RED_BESIDE_BLUE), "PNG"))
    np.testing.assert_array_equal(colours(photo), RED_BESIDE_BLUE)


@pytest.mark.parametrize(
    ("mode", "file_format", "tolerance"),
    [
        ("P", "PNG", 0),
        ("P", "GIF", 0),
        ("CMYK", "TIFF", 0),
        ("CMYK", "JPEG", 6),
    ],
)
def test_other_colour_modes_keep_their_colours(mode: str, file_format: str, tolerance: int) -> None:
    image = Image.fromarray(RED_BESIDE_BLUE).convert(mode)
    content = encoded(image, file_format)
    assert Image.open(io.BytesIO(content)).mode == mode
    assert np.abs(colours(read_photo(content)) - RED_BESIDE_BLUE).max() <= tolerance


@pytest.mark.parametrize(("mode", "colour"), [("1", 1), ("L", 200), ("I", 51400), ("F", 0.5)])
def test_grey_modes_become_grey_rgb(mode: str, colour: float) -> None:
    picture = np.array(to_rgb(Image.new(mode, (4, 4), colour)))
    assert (picture == picture[..., :1]).all()
    expected = {"1": 255, "L": 200, "I": 200, "F": 128}[mode]
    assert picture[0, 0, 0] == expected


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    values = np.array([[0, 1000], [32896, 65535]], dtype=np.uint16)
    photo = read_photo(encoded(Image.fromarray(values), file_format))
    assert colours(photo)[..., 0].tolist() == [[0, 4], [128, 255]]


def test_floats_are_scaled_by_their_own_range_and_nan_is_nothing() -> None:
    values = np.array([[-1.0, 0.0], [np.nan, 3.0]], dtype=np.float32)
    assert np.asarray(to_rgb(Image.fromarray(values)))[..., 0].tolist() == [[0, 64], [64, 255]]


def test_transparency_is_laid_on_white() -> None:
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[:2] = (255, 0, 0, 255)
    pixels[2:, :, 3] = 0
    photo = colours(read_photo(encoded(Image.fromarray(pixels), "PNG")))
    assert photo[0, 0].tolist() == [255, 0, 0]
    assert photo[3, 0].tolist() == [255, 255, 255]


def test_transparent_palette_colour_is_laid_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 1)
    photo = colours(read_photo(encoded(image, "PNG", transparency=0)))
    assert photo[0, 0].tolist() == [255, 0, 0]
    assert photo[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    upright = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    # How a camera stores an upright picture under each orientation: row and column 0 of what is
    # stored are the named sides of the picture (EXIF 2.32, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    np.testing.assert_array_equal(colours(read_photo(content)), upright)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0MM\0", b"Exif\0\0garbage garbage", b"MM\0*\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_damaged_exif_is_no_reason_to_refuse_a_photo(file_format: str, exif: bytes) -> None:
    content = encoded(Image.fromarray(RED_BESIDE_BLUE), file_format, exif=exif)
    assert read_photo(content).size == (16, 12)


def test_exif_that_cannot_be_written_again_still_rotates() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.ImageDescription] = "words"
    damaged = exif.tobytes().replace(
        b"\x01\x0e\x00\x02", b"\x01\x0e\x00\x05"
    )  # words as a fraction
    assert damaged != exif.tobytes()
    content = encoded(Image.fromarray(RED_BESIDE_BLUE), "JPEG", exif=damaged)
    assert read_photo(content).size == (12, 16)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert colours(read_photo(content))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_truncated_files_are_refused_by_name(tmp_path: Path, file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), file_format)
    path = tmp_path / f"cut.{file_format.lower()}"
    for length in (0, 5, 30, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(
            ImageError, match=r"cut\.\w+ is not a readable image \(.+\); try: "
        ) as caught:
            read_photo(path)
        # The path stands there once.
        assert str(caught.value).count(str(tmp_path)) == 1
        with pytest.raises(ImageError, match=r"^shard/member is not a readable image \(") as caught:
            read_photo(content[:length], name="shard/member")
        assert "BytesIO" not in str(caught.value)


def test_what_is_no_photo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("words")
    with pytest.raises(
        ImageError, match=r"notes\.jpg is not a readable image \(its format is not rec"
    ):
        read_photo(tmp_path / "notes.jpg")
    with pytest.raises(ImageError, match="is a folder; allowed: an image file"):
        read_photo(tmp_path)
    with pytest.raises(ImageError, match=r"gone\.jpg does not exist"):
        read_photo(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="image is 1x5 pixels; allowed: at least 2 pixels a side"):
        read_photo(encoded(Image.new("RGB", (1, 5)), "PNG"))


def test_huge_picture_is_refused_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageError, match="image is too large"):
        read_photo(encoded(Image.new("RGB", (8, 8)), "PNG"))


def test_what_is_refused_by_its_header_says_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Any) -> None:
        pytest.fail("decoded")

    contents = {name: encoded(Image.new("RGB", (400, 300)), name) for name in ("PNG", "WEBP")}
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    monkeypatch.setattr(photos, "MOST_BYTES", 1_000_000)
    with pytest.raises(ImageError, match=r"image is 400x300 pixels as WEBP, .*; allowed: .*; try"):
        read_photo(contents["WEBP"])
    monkeypatch.setattr(photos, "MOST_PIXELS", 100_000)
    with pytest.raises(
        ImageError,
        match=r"too large \(0.12 megapixels\); allowed: 0.1 megapixels; try: a smaller copy",
    ):
        read_photo(contents["PNG"])


def in_every_mode() -> dict[str, Image.Image]:
    generator = np.random.default_rng(0)
    colours = Image.fromarray(generator.integers(0, 256, (25, 40, 4), dtype=np.uint8))
    deep = generator.integers(0, 65536, (25, 40))
    return {
        **{mode: colours.convert(mode) for mode in ("RGB", "RGBA", "P", "L", "LA", "1", "CMYK")},
        "I;16": Image.fromarray(deep.astype(np.uint16)),
        "I": Image.fromarray((deep - 9).astype(np.int32)),
        "F": Image.fromarray((deep / 7).astype(np.float32)),
    }


@pytest.mark.parametrize("mode", in_every_mode())
def test_strips_change_nothing(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = in_every_mode()[mode]
    whole = colours(to_rgb(image))
    monkeypatch.setattr(rgb_conversion, "_STRIP_PIXELS", 150)
    np.testing.assert_array_equal(colours(to_rgb(image)), whole)


def reduce_from(pixels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "MOST_PIXELS_AT_FULL_SIZE", pixels)
    monkeypatch.setattr(photos, "MOST_PIXELS_REDUCED", pixels // 4)
    monkeypatch.setattr(photos, "LEAST_REDUCED_SIDE", 4)
    monkeypatch.setattr(rgb_conversion, "_STRIP_PIXELS", 150)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I;16", "CMYK", "1"])
def test_a_large_photo_is_the_mean_of_its_squares(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = in_every_mode()[mode]
    content = encoded(image, "TIFF")
    reduce_from(500, monkeypatch)  # 1000 pixels: by 3, to 112
    photo = read_photo(content)
    assert photo.size == (14, 9) and full_size(photo) == (40, 25)
    whole = colours(to_rgb(image))[:24, :39]
    means = whole.reshape(8, 3, 13, 3, 3).mean(axis=(1, 3))
    assert np.abs(colours(photo)[:8, :13] - means).max() < 0.6  # Pillow rounds integers


def test_an_ordinary_photo_is_not_reduced_and_neither_is_a_narrow_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = encoded(Image.fromarray(RED_BESIDE_BLUE), "PNG")
    reduce_from(12 * 16, monkeypatch)
    assert read_photo(content).size == (16, 12)
    narrow = read_photo(encoded(Image.new("RGB", (1000, 7)), "PNG"))
    assert narrow.size == full_size(narrow) == (1000, 7)


def test_a_large_jpeg_keeps_its_rotation_and_tells_its_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored = np.zeros((96, 160, 3), dtype=np.uint8)
    stored[:, 80:] = 255  # turned to the right, the white half is below
    content = encoded(Image.fromarray(stored), "JPEG", exif=exif)
    reduce_from(4000, monkeypatch)
    photo = read_photo(content)
    assert photo.size == (24, 40) and full_size(photo) == (96, 160)
    assert colours(photo)[:19].max() < 20 and colours(photo)[21:].min() > 235


def test_a_large_photo_is_checked_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path.write_bytes(encoded(Image.fromarray(noise), "PNG")[:2000])
    with pytest.raises(ImageError, match="not a readable image"):
        check_photo(path)
    reduce_from(1000, monkeypatch)
    check_photo(path)
    with pytest.raises(ImageError, match="not a readable image"):
        read_photo(path)


def test_only_a_large_photo_is_to_blame_if_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_: Any) -> None:
        raise OSError("out of memory when reading image file")

    content = encoded(Image.new("RGB", (60, 40)), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(MemoryError, match="while reading image"):
        read_photo(content)
    reduce_from(1000, monkeypatch)
    with pytest.raises(ImageError, match="60x40 pixels, for which there is not enough memory"):
        read_photo(content)


def test_a_file_of_a_kind_that_programs_would_run_is_not_opened(tmp_path: Path) -> None:
    """Pillow hands EPS files to Ghostscript, whatever they are called."""
    hidden = tmp_path / "cat.png"
    hidden.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n")
    with Image.open(hidden) as opened:
        assert opened.format == "EPS"
    with pytest.raises(ImageError, match="format is not recognised"):
        read_photo(hidden)


@pytest.mark.skipif("AVIF" not in photos.photo_formats(), reason="this Pillow has no AVIF")
def test_avif_is_found_and_read(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (200, 10, 10)).save(tmp_path / "red.avif")
    assert ".avif" in photos.PHOTO_SUFFIXES
    red = np.asarray(read_photo(tmp_path / "red.avif"))
    assert red.shape == (30, 40, 3) and red[..., 0].min() > 180 and red[..., 1].max() < 40


@pytest.mark.skipif("HEIF" in photos.photo_formats(), reason="pillow-heif is installed")
def test_heic_without_the_plugin_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    with pytest.raises(ImageError, match="reads only with a plugin.*pip install pillow-heif"):
        read_photo(tmp_path / "IMG_1.HEIC")


def test_the_plugin_for_heic_is_registered_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registered = []

    class Plugin:
        @staticmethod
        def register_heif_opener() -> None:
            registered.append("HEIF")

    monkeypatch.setattr(photos.importlib.util, "find_spec", lambda name: name == "pillow_heif")
    monkeypatch.setattr(photos.importlib, "import_module", lambda name: Plugin)
    monkeypatch.setattr(Image, "OPEN", {"PNG": Image.OPEN["PNG"]})
    assert photos.photo_formats.__wrapped__() == ("PNG",)
    assert registered == ["HEIF"]
