from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ttame.errors import ImageError, MissingExtraError
from ttame.images import band_files
from ttame.images.band_photo import BandPhoto
from ttame.images.picture_files import (
    check_picture,
    listed_photos,
    open_picture,
    read_picture,
)

BANDS = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)


def bands_of(path: Path) -> np.ndarray:
    check_picture(path)
    found = read_picture(path)
    assert isinstance(found, BandPhoto)
    return found.bands


@pytest.mark.parametrize("bands_last", [False, True])
def test_arrays_have_their_bands_first_or_last(bands_last: bool, tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", BANDS.transpose(1, 2, 0) if bands_last else BANDS)
    np.testing.assert_array_equal(bands_of(tmp_path / "field.npy"), BANDS)


def test_an_array_of_two_dimensions_is_one_band(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", BANDS[0])
    np.testing.assert_array_equal(bands_of(tmp_path / "field.npy"), BANDS[:1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([{"a": 1}], dtype=object), "it holds Python objects"),
        (np.zeros((4, 4, 4)), r"array of shape \(4, 4, 4\)"),
        (np.zeros((2, 4, 4), dtype=bool), "array of bool"),
        (np.zeros((3, 1, 4)), "4x1 pixels"),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", array, allow_pickle=True)
    with pytest.raises(ImageError, match=message):
        read_picture(tmp_path / "field.npy")


def test_damaged_missing_and_large_arrays_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "field.npy").write_bytes(b"\x93NUMPY\x01")
    with pytest.raises(ImageError, match=r"not a readable \.npy array"):
        read_picture(tmp_path / "field.npy")
    with pytest.raises(ImageError, match="does not exist"):
        read_picture(tmp_path / "other.npy")
    np.save(tmp_path / "large.npy", BANDS)
    monkeypatch.setattr(band_files, "MOST_BYTES", BANDS.nbytes - 1)
    with pytest.raises(ImageError, match="GB"):
        read_picture(tmp_path / "large.npy")


def test_a_tiff_with_a_page_for_each_band(tmp_path: Path) -> None:
    first, *others = [Image.fromarray(band) for band in BANDS]
    first.save(tmp_path / "field.tif", save_all=True, append_images=others)
    np.testing.assert_array_equal(bands_of(tmp_path / "field.tif"), BANDS)


def test_a_tiff_with_many_samples(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "last.tif", BANDS.transpose(1, 2, 0), planarconfig="contig",
                     photometric="minisblack")  # fmt: skip
    tifffile.imwrite(tmp_path / "first.tif", BANDS, planarconfig="separate",
                     photometric="minisblack")  # fmt: skip
    for name in ("last.tif", "first.tif"):
        np.testing.assert_array_equal(bands_of(tmp_path / name), BANDS)


def test_a_tiff_with_many_samples_and_a_smaller_copy(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    options = {"planarconfig": "separate", "photometric": "minisblack", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "field.tif") as file:
        file.write(BANDS, subifds=0, **options)
        file.write(np.ascontiguousarray(BANDS[:, ::2, ::2]), **options)
    np.testing.assert_array_equal(bands_of(tmp_path / "field.tif"), BANDS)


def test_pages_of_numbers_that_are_not_for_photos(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    field = BANDS.astype(np.float64) / 3
    tifffile.imwrite(tmp_path / "field.tif", field, photometric="minisblack")
    np.testing.assert_array_equal(bands_of(tmp_path / "field.tif"), field)
    tifffile.imwrite(tmp_path / "many.tif", np.zeros((1025, 4, 4)), photometric="minisblack")
    with pytest.raises(ImageError, match="1025"):
        read_picture(tmp_path / "many.tif")


def test_damage_to_a_tiff_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's, which hide the fault
    path = tmp_path / "field.tif"
    tifffile.imwrite(path, BANDS, planarconfig="separate", photometric="minisblack")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x11\x01\x04\x00", b"\x11\x01\x63\x00"))  # StripOffsets
    with pytest.raises(ImageError, match="not a readable TIFF of bands|TIFF of shape"):
        read_picture(path)
    assert "tifffile" not in capsys.readouterr().err


def test_without_tifffile_the_line_to_type_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "f.tif", BANDS, planarconfig="separate", photometric="minisblack")
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    with pytest.raises(MissingExtraError, match=r'pip install "ttame\[bands\]"'):
        read_picture(tmp_path / "f.tif")


def test_an_ordinary_tiff_is_a_photo(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4), "red").save(tmp_path / "photo.tif")
    check_picture(tmp_path / "photo.tif")
    found = read_picture(tmp_path / "photo.tif")
    assert isinstance(found, Image.Image) and found.getpixel((0, 0)) == (255, 0, 0)


def test_opacity_is_kept(tmp_path: Path) -> None:
    Image.new("RGBA", (6, 4), (255, 0, 0, 51)).save(tmp_path / "glass.png")
    found = read_picture(tmp_path / "glass.png")
    assert isinstance(found, Image.Image) and found.getpixel((0, 0)) == (255, 0, 0, 51)


def test_wide_greys_are_scaled_with_a_warning(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16)).save(tmp_path / "x-ray.png")
    for photo in (tmp_path / "x-ray.png", Image.open(tmp_path / "x-ray.png")):
        with pytest.warns(UserWarning, match="0 became black and 65535 white"):
            opened = open_picture(photo)
        assert isinstance(opened, Image.Image) and opened.getpixel((0, 0)) == (128,) * 3


def test_bytes_and_open_files_are_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.new("RGB", (6, 4)).save(path)
    with path.open("rb") as file, pytest.raises(ImageError, match=r"try: PIL.Image.open\(file\)"):
        listed_photos(file)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=r"a bytes as photo.*open\(io.BytesIO\(data\)\)"):
        listed_photos(path.read_bytes())  # type: ignore[arg-type]
    assert Image.open(io.BytesIO(path.read_bytes())).size == (6, 4)
