"""Follows a guide of the documentation to the letter, in a copy of the repository.

What a reader does by hand is read from the page:

- a block that follows ``<!-- file: PATH -->`` is that file;
- a ``diff`` block names a file in its first line; the lines that begin with ``+`` go behind the
  lines before them, which must be there, in this order, with anything in between for ``...``;
- the lines of a block of ``sh`` are commands.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
GUIDES = sorted((ROOT / "docs" / "how-to").glob("add-*.md"))

SECONDS = 1200
"""After which a command of a guide is said to hang."""

_BLOCK = re.compile(
    r"(?:^ *<!-- file: (?P<file>\S+) -->\n\n?)?"
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


class Step(NamedTuple):
    """One thing that a guide asks for.

    Attributes:
        kind: ``"write"``, ``"insert"`` or ``"run"``.
        path: of the file, from the root of the repository; empty for commands.
        text: of the file, the block of differences, or the commands.
    """

    kind: str
    path: str
    text: str


class GuideError(Exception):
    """A guide that cannot be followed."""


def steps_of(guide: Path) -> list[Step]:
    """The steps of a page, in its order; other blocks are explanations."""
    return [*steps_in(guide.read_text(encoding="utf-8"))]


def steps_in(page: str) -> Iterator[Step]:
    """The steps in the text of a page."""
    for block in _BLOCK.finditer(page):
        text = textwrap.dedent(block["text"])
        if block["file"]:
            yield Step("write", block["file"], text)
        elif block["language"] == "diff":
            first, _, rest = text.partition("\n")
            yield Step("insert", first.lstrip(" #").strip(), rest)
        elif block["language"] == "sh":
            yield Step("run", "", text)


def edit(steps: Iterable[Step], copy: Path) -> None:
    """Write and change files in a copy of the repository, as the steps say.

    Raises:
        GuideError: a file that exists already, or context that is not there.
    """
    for step in steps:
        path = copy / step.path
        if step.kind == "write":
            if path.exists():
                raise GuideError(f"{step.path} exists already")
            path.write_text(step.text, encoding="utf-8")
        elif step.kind == "insert":
            old = path.read_text(encoding="utf-8")
            path.write_text(inserted(old, step.text, step.path), encoding="utf-8")


def commands_of(steps: Iterable[Step]) -> list[str]:
    """The commands, one per line."""
    return [line for step in steps if step.kind == "run" for line in step.text.splitlines()]


def inserted(old: str, differences: str, name: str) -> str:
    """A text with the ``+`` lines of a block of differences behind the lines before them.

    Raises:
        GuideError: a line that should be there is not.
    """
    lines, place, gap = old.split("\n"), 0, True
    for line in differences.rstrip("\n").split("\n"):
        wanted = line[1:]
        if line.startswith("+"):
            lines.insert(place, wanted)
            place += 1
        elif wanted.strip() == "...":
            gap = True
        elif wanted in (lines[place:] if gap else lines[place : place + 1]):
            place, gap = lines.index(wanted, place) + 1, False
        else:
            raise GuideError(f"{name} has no line {wanted!r} there")
    return "\n".join(lines)


def copy_of_the_repository(copy: Path) -> None:
    """Everything that belongs to it, new files too; weights are links."""
    for name in _names_of_files():
        source, target = ROOT / name, copy / name
        if not source.is_file():  # Deleted, but not yet for git.
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".safetensors":
            target.symlink_to(source)
        else:
            shutil.copy(source, target)


def _names_of_files() -> list[str]:
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        raise GuideError("only a checkout of git can be copied") from problem
    return listed.stdout.strip("\0").split("\0")


def run(command: str, copy: Path, environment: dict[str, str]) -> str:
    """Run one command of a guide in the root of a copy; what it prints.

    Raises:
        GuideError: it fails or hangs.
    """
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    try:
        ran = subprocess.run(
            words, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as problem:
        raise GuideError(f"{command}: not done after {SECONDS} s") from problem
    if ran.returncode:
        raise GuideError(f"{command}\n{ran.stdout[-4000:]}\n{ran.stderr[-2000:]}")
    return ran.stdout
