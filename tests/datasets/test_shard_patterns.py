from __future__ import annotations

from pathlib import Path

import pytest

from ttame.datasets.shard_patterns import files_of, is_pattern
from ttame.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("t-8.tar", "t-9.tar", "t-10.tar", "t-0009.tar", "t-0010.tar", "v-0000.tar"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("t-{8..10}.tar", ["t-8.tar", "t-9.tar", "t-10.tar"]),
        ("t-{10..9}.tar", ["t-10.tar", "t-9.tar"]),
        ("t-{9..0010}.tar", ["t-0009.tar", "t-0010.tar"]),
        ("t-{0009..0010}.tar", ["t-0009.tar", "t-0010.tar"]),
        ("{v-0000,t-8}.tar", ["v-0000.tar", "t-8.tar"]),
        ("{t-{8..9},v-*}.tar", ["t-8.tar", "v-0000.tar", "t-9.tar", "v-0000.tar"]),
        ("t-00*.tar", ["t-0009.tar", "t-0010.tar"]),
        ("t-[89].tar", ["t-8.tar", "t-9.tar"]),
        ("t-?.tar", ["t-8.tar", "t-9.tar"]),
    ],
)
def test_patterns(folder: Path, pattern: str, names: list[str]) -> None:
    expected = [folder / name for name in dict.fromkeys(names)]
    assert is_pattern(pattern)
    assert files_of(f"{folder}/{pattern}") == expected


def test_several_patterns_and_no_file_twice(folder: Path) -> None:
    files = files_of(f"{folder}/v-*.tar::{folder}/t-{{8..9}}.tar::{folder}/t-8.tar")
    assert files == [folder / "v-0000.tar", folder / "t-8.tar", folder / "t-9.tar"]


def test_a_missing_shard_is_named_and_a_huge_range_costs_nothing(folder: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"/t-11\.tar \(of .*t-\{9\.\.99999999999\}\.tar\) match"
    ):
        files_of(f"{folder}/t-{{9..99999999999}}.tar")
    with pytest.raises(DatasetError, match=r"x-\*\.tar matches no file"):
        files_of(f"{folder}/x-*.tar")
