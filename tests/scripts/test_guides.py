"""The guides work to the letter: they are followed in copies of the repository."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from scripts.guides import (
    GUIDES,
    GuideError,
    commands_of,
    copy_of_the_repository,
    edit,
    inserted,
    run,
    steps_in,
    steps_of,
)

PAGE = """Write `a/b.py`:

    <!-- file: a/b.py -->
    ```python
    x = 1
    ```

and one line:

```diff
# a/list.py
 NAMES = [
+    "b",
```

```python
an_explanation
```

```sh
true
false
```
"""

CONCERNED = "my or by_weight or mine or up_to_date or rooms or acyclic or where_its_module"
"""Which of the fast tests are about something that a guide adds, by their names."""


def test_steps_are_read_from_a_page() -> None:
    steps = [*steps_in(PAGE)]
    assert steps[:2] == [
        ("write", "a/b.py", "x = 1\n"),
        ("insert", "a/list.py", ' NAMES = [\n+    "b",\n'),
    ]
    assert commands_of(steps) == ["true", "false"]


def test_lines_go_behind_those_before_them() -> None:
    old = "a = [\n    1,\n    2,\n]\nb = [\n    2,\n]\n"
    after_2 = "a = [\n    1,\n    2,\n    3,\n]\nb = [\n    2,\n]\n"
    assert inserted(old, " a = [\n     1,\n     2,\n+    3,\n", "f") == after_2
    assert inserted(old, " a = [\n ...\n     2,\n+    3,\n", "f") == after_2
    assert inserted(old, " b = [\n+    3,\n", "f").endswith("b = [\n    3,\n    2,\n]\n")
    for stale in (" c = [\n+    3,\n", " a = [\n     2,\n+    3,\n"):
        with pytest.raises(GuideError, match="f has no line"):
            inserted(old, stale, "f")


def test_a_step_that_cannot_be_done_stops(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").touch()
    with pytest.raises(GuideError, match="exists already"):
        edit(steps_in(PAGE), tmp_path)
    with pytest.raises(GuideError, match="false"):
        run("false", tmp_path, {"PATH": os.environ["PATH"]})


def environment(copy: Path, shared: Path) -> dict[str, str]:
    """With the copy's package first; types that were checked once are checked once."""
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PATH": os.pathsep.join(paths),
        "PYTHONPATH": str(copy / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_ADDOPTS": "-p no:cacheprovider",
        "MYPY_CACHE_DIR": str(shared / "mypy"),
        "RUFF_NO_CACHE": "true",
    }


def test_guides_say_what_to_write_and_what_to_run() -> None:
    assert len(GUIDES) >= 6
    for guide in GUIDES:
        steps = steps_of(guide)
        files = [step.path for step in steps if step.kind == "write"]
        assert [path.partition("/")[0] for path in files][-2:] == ["src", "tests"], guide
        assert "python -m pytest @tests/quick.txt" in commands_of(steps), guide


def test_all_guides_at_once_pass_what_is_about_them(tmp_path: Path) -> None:
    """In one copy; with one process for all tests instead of one for each command."""
    copy_of_the_repository(tmp_path)
    commands, tests = ["python -m scripts.docs"], ["python -m pytest -q -x"]
    for guide in GUIDES:
        steps = steps_of(guide)
        edit(steps, tmp_path)
        for command in commands_of(steps):
            if page := re.fullmatch(r"python -m scripts\.docs (\w+)", command):
                commands[0] += f" {page[1]}"
            elif own := re.fullmatch(r"python -m pytest (tests/\S+)( -k my_\w+)?", command):
                tests[0] += f" {own[1]}"
    words = environment(tmp_path, tmp_path)
    for command in (*commands, "ruff check .", "ruff format --check ."):
        run(command, tmp_path, words)
    printed = run(f"{tests[0]} @tests/quick.txt -k '{CONCERNED}'", tmp_path, words)
    passed = re.search(r"^(\d+) passed", printed, re.MULTILINE)
    assert passed is not None and int(passed[1]) > 40, printed


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_works_to_the_letter(
    guide: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy_of_the_repository(tmp_path)
    steps = steps_of(guide)
    edit(steps, tmp_path)
    assert commands_of(steps), "nothing to follow"
    for command in commands_of(steps):
        run(command, tmp_path, environment(tmp_path, tmp_path_factory.getbasetemp()))
