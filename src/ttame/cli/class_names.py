"""Names of classes as people type them, or keep them in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ttame.errors import ClassifierError
from ttame.files.bounded_reading import UnreadableFileError, read_text
from ttame.files.json_files import parse_json

_LARGEST_NAMES = 16 * 2**20  # bytes

_LAYOUTS = (
    'a list, or an object such as {"0": "bird", "1": "dog"} or {"bird": 0, "dog": 1}, with one '
    "name per class"
)


def read_class_names(path: Path) -> list[str]:
    """Read one class name per line, or names between commas where there is no such file.

    Of a JSON file also a list of names, and names by number or numbers by name, as
    ``ImageFolder.class_to_idx`` and the ``id2label`` of transformers are.

    Raises:
        ClassifierError: the file cannot be read, or is JSON of another kind.

    Example:
        >>> read_class_names(Path("bird, dog"))
        ['bird', 'dog']
    """
    if "," in str(path) and not path.exists():
        return [name.strip() for name in str(path).split(",") if name.strip()]
    try:
        text = read_text(path, _LARGEST_NAMES)
        if path.suffix.lower() == ".json":
            return _names_in_json(path, parse_json(text))
    except UnreadableFileError as problem:
        raise ClassifierError(
            f"cannot read class names from {path} ({problem})",
            allowed="a UTF-8 text file with one name per line, or bird,dog",
        ) from problem
    return [line.strip() for line in text.splitlines() if line.strip()]


def _names_in_json(path: Path, content: Any) -> list[str]:
    """The names in a list; or in an object of numbers and names, either of them first."""
    if isinstance(content, dict) and isinstance(content.get("id2label"), dict):
        content = content["id2label"]
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return content
    by_number = _by_number(content) if isinstance(content, dict) else {}
    if by_number and sorted(by_number) == list(range(len(content))):
        return [by_number[number] for number in range(len(by_number))]
    raise ClassifierError(f"class names in {path}", allowed=_LAYOUTS)


def _by_number(content: dict[str, Any]) -> dict[int, str]:
    """Number to name; empty where an entry is not one of each."""
    if all(type(number) is int for number in content.values()):
        return {number: name for name, number in content.items()}
    if all(isinstance(name, str) and key.isdecimal() for key, name in content.items()):
        return {int(key): name for key, name in content.items()}
    return {}
