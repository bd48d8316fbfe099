from __future__ import annotations

from pathlib import Path

import pytest

from ttame.cli.class_names import read_class_names
from ttame.errors import ClassifierError


@pytest.mark.parametrize(
    "text",
    [
        '["bird", "dog, brown", "cat"]',
        '{"0": "bird", "2": "cat", "1": "dog, brown"}',
        '{"dog, brown": 1, "bird": 0, "cat": 2}',
        '{"model_type": "vit", "id2label": {"0": "bird", "1": "dog, brown", "2": "cat"}}',
    ],
)
def test_names_in_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(text)
    assert read_class_names(tmp_path / "names.json") == ["bird", "dog, brown", "cat"]


@pytest.mark.parametrize(
    "text",
    [
        "3", '"bird"', "[1, 2]", "{}", '{"0": "bird", "2": "dog"}', '{"bird": 0, "dog": 0}',
        '{"bird": true, "dog": false}', '{"a": "bird"}', '{"1": "bird", "2": "dog"}',
    ],
)  # fmt: skip
def test_other_json_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(ClassifierError, match="class names in .*allowed: a list, or an object"):
        read_class_names(tmp_path / "names.json")


def test_lines_commas_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_bytes("\ufeffbird\r\n dog \r\n\r\n".encode())
    assert read_class_names(tmp_path / "names.txt") == ["bird", "dog"]
    assert read_class_names(Path("bird, dog")) == ["bird", "dog"]
    (tmp_path / "broken.json").write_text("[")
    for name in ("missing.txt", "broken.json"):
        with pytest.raises(ClassifierError, match="cannot read class names from"):
            read_class_names(tmp_path / name)
