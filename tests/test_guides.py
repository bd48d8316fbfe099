"""The guides work to the letter: all of them are followed in one copy of the repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guides import GuideError, Step, follow, inserted, steps_of

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "how-to").glob("add-*.md"))
FILES = ("src", "tests", "docs", "scripts", "benchmarks", "pyproject.toml", "mkdocs.yml", "README.md", "CHANGELOG.md", "Makefile")  # fmt: skip


def test_steps_are_read_from_a_page() -> None:
    page = """Write `a/b.py`:

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
```
"""
    assert list(steps_of(page)) == [
        Step("write", "a/b.py", "x = 1\n"),
        Step("insert", "a/list.py", ' NAMES = [\n+    "b",\n'),
        Step("run", "", "true\n"),
    ]


def test_lines_go_behind_those_before_them() -> None:
    old = "a = [\n    1,\n]\nb = [\n    2,\n]\n"
    assert inserted(old, " b = [\n+    3,\n", "f") == "a = [\n    1,\n]\nb = [\n    3,\n    2,\n]\n"
    with pytest.raises(GuideError, match="f has no line 'c = '"):
        inserted(old, " c = [\n+    3,\n".replace("[", ""), "f")


def test_a_step_that_cannot_be_done_stops(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    with pytest.raises(GuideError, match="exists already"):
        follow(iter([Step("write", "a.py", "")]), tmp_path, {})
    with pytest.raises(GuideError, match="false"):
        follow(iter([Step("run", "", "false")]), tmp_path, {"PATH": os.environ["PATH"]})


@pytest.mark.slow
def test_a_copy_in_which_every_guide_was_followed_passes_the_quick_tests(tmp_path: Path) -> None:
    for name in FILES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {
        **os.environ, "PATH": os.pathsep.join(paths), "PYTHONPATH": str(tmp_path / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    assert len(GUIDES) >= 5
    for guide in GUIDES:
        steps = steps_of(guide.read_text(encoding="utf-8"))
        touched = follow(steps, tmp_path, environment)
        assert any(path.startswith("src/") for path in touched), f"{guide.name} adds nothing"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-x"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:]
