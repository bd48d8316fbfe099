from __future__ import annotations

from pathlib import Path

import pytest

from tests.datasets.noise_photos import save_photo
from ttame.datasets.image_list import ImageList
from ttame.errors import DatasetError


def write_list(folder: Path, *lines: str) -> Path:
    path = folder / "list.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def entries(photos: ImageList) -> list[tuple[str, int | None]]:
    return [(photos.key(index), photos.label(index)) for index in range(len(photos))]


def test_paths_labels_spaces_comments_and_blank_lines(tmp_path: Path) -> None:
    for name in ("b.png", "my cats/tom 2.png", "größe.png", "far/away.png"):
        save_photo(tmp_path / name)
    absolute = str(tmp_path / "far" / "away.png")
    path = write_list(
        tmp_path, "# ours", "", "b.png 7", "my cats/tom 2.png", "my cats/tom 2.png\t0",
        "  größe.png   12 ", absolute,
    )  # fmt: skip
    assert entries(ImageList(path)) == [
        ("b.png", 7),
        ("my cats/tom 2.png", None),
        ("my cats/tom 2.png", 0),
        ("größe.png", 12),
        (absolute, None),
    ]


def test_number_at_the_end_belongs_to_the_name_only_if_such_a_file_exists(tmp_path: Path) -> None:
    save_photo(tmp_path / "photo 1")
    assert entries(ImageList(write_list(tmp_path, "photo 1"))) == [("photo 1", None)]
    # Both readings name a file: the documented one, path and label, is taken.
    save_photo(tmp_path / "photo")
    assert entries(ImageList(write_list(tmp_path, "photo 1"))) == [("photo", 1)]


def test_relative_paths_start_at_the_list_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_photo(tmp_path / "data" / "a.png", size=(9, 5))
    path = write_list(tmp_path / "data", "a.png")
    monkeypatch.chdir("/")
    photos = ImageList(path)
    assert photos.read(0).size == (9, 5)
    assert photos.name(0) == str(tmp_path / "data" / "a.png")


def test_windows_text_is_read(tmp_path: Path) -> None:
    save_photo(tmp_path / "a.png")
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.png 3\r\na.png\r\n")
    assert entries(ImageList(tmp_path / "list.txt")) == [("a.png", 3), ("a.png", None)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gone.png", r"line 3: '.*gone\.png' is not a file"),
        ("gone.png 4", r"line 3: '.*gone\.png' is not a file"),
        ("a.png cat", r"line 3: label 'cat'; allowed: a class number"),
        ("a.png -1", r"line 3: label '-1'"),
        ("a.png 99999999999999999999", "line 3: label '9"),
        ("a.png,3", r"line 3: '.*a\.png,3' is not a file"),
        ("x" * 5000, "line 3: .*… is not a file|line 3: .*…' is not a file"),
        ("a\0b", "line 3"),
        ("sub", "line 3: .*sub' is not a file"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    save_photo(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    path = write_list(tmp_path, "# two good lines", "a.png", line, "a.png")
    with pytest.raises(DatasetError, match=message) as caught:
        ImageList(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_list_without_photos_or_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="names no photos"):
        ImageList(write_list(tmp_path, "# nothing", ""))
    (tmp_path / "weights.bin").write_bytes(b"\x80\x81\xff")
    with pytest.raises(DatasetError, match=r"weights\.bin is not a list file"):
        ImageList(tmp_path / "weights.bin")
