"""Lines and files of changes are counted from the guides."""

from __future__ import annotations

from benchmarks.size_of_a_change import CHANGES, Size, size_of
from scripts.guides import GUIDES, Step, steps_of


def test_new_files_and_added_lines_of_the_sources_are_counted() -> None:
    steps = [
        Step("write", "src/a.py", "x = 1\n"),
        Step("insert", "src/b.py", " NAMES = [\n ...\n+    'a',\n+    'b',\n"),
        Step("write", "tests/test_a.py", ""),
        Step("run", "", "true\n"),
    ]
    assert size_of(steps) == Size(1, {"src/b.py": 2})
    assert size_of(steps).in_words() == ("2 (1 new)", "2")


def test_each_change_is_a_file_and_a_line_but_heads_have_two() -> None:
    """A head's settings are read without loading PyTorch."""
    guides = {guide.stem: guide for guide in GUIDES}
    for change, (guide, before) in CHANGES.items():
        after = size_of(steps_of(guides[guide]))
        assert after.new_files == (2 if change == "a head" else 1)
        assert list(after.lines.values()) == [1]
        assert sum(before.lines.values()) > 1
