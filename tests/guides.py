"""Following a guide of the documentation to the letter, in a copy of the repository.

What a reader does by hand is read from the page:

- a block of Python that follows ``<!-- file: PATH -->`` is that file;
- a ``diff`` block names a file in its first line; the lines that begin with ``+`` go behind the
  lines before them, which must be there, in this order;
- a block of ``sh`` is run.
"""

from __future__ import annotations

import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

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


def steps_of(page: str) -> Iterator[Step]:
    """The steps of a page, in its order; other blocks are explanations."""
    for block in _BLOCK.finditer(page):
        text = textwrap.dedent(block["text"])
        if block["file"]:
            yield Step("write", block["file"], text)
        elif block["language"] == "diff":
            first, _, rest = text.partition("\n")
            yield Step("insert", first.lstrip(" #").strip(), rest)
        elif block["language"] == "sh":
            yield Step("run", "", text)


def follow(steps: Iterator[Step], copy: Path, environment: dict[str, str]) -> list[str]:
    """Do what the steps say in a copy of the repository; the paths that were touched.

    Raises:
        GuideError: a file that exists already, context that is not there, a command that fails.
    """
    touched = []
    for step in steps:
        path = copy / step.path
        if step.kind == "run":
            _run(step.text, copy, environment)
            continue
        touched.append(step.path)
        if step.kind == "write":
            if path.exists():
                raise GuideError(f"{step.path} exists already")
            path.write_text(step.text, encoding="utf-8")
        else:
            old = path.read_text(encoding="utf-8")
            path.write_text(inserted(old, step.text, step.path), encoding="utf-8")
    return touched


def inserted(old: str, differences: str, name: str) -> str:
    """A text with the ``+`` lines of a block of differences behind the lines before them.

    Raises:
        GuideError: a line that should be there is not.
    """
    lines, place = old.split("\n"), 0
    for line in differences.rstrip("\n").split("\n"):
        if line.startswith("+"):
            lines.insert(place, line[1:])
            place += 1
            continue
        wanted = line.removeprefix(" ")
        if wanted.strip() == "...":  # Something in between that the guide leaves out.
            continue
        try:
            place = lines.index(wanted, place) + 1
        except ValueError as problem:
            raise GuideError(f"{name} has no line {wanted!r} there") from problem
    return "\n".join(lines)


def _run(commands: str, copy: Path, environment: dict[str, str]) -> None:
    for command in commands.strip().splitlines():
        ran = subprocess.run(
            command, shell=True, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )  # fmt: skip
        if ran.returncode:
            raise GuideError(f"{command}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")
