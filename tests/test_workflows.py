"""The workflows of GitHub parse, and what they call is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_group

from ttame.cli.main import app

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ON_THE_MACHINE = {"python", "test"}


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return found


def commands(job: dict[str, Any]) -> Iterator[list[str]]:
    """The words of each line that a job runs."""
    for step in job["steps"]:
        for line in step.get("run", "").splitlines():
            yield shlex.split(line)


def installed(job: dict[str, Any]) -> set[str]:
    """The names of the packages that a job installs."""
    lines = [words for words in commands(job) if "install" in words]
    return {re.split(r"[\[=<>]", word)[0] for words in lines for word in words}


def test_one_publishes_the_documentation_and_one_checks_the_wheel() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "wheel"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_job_is_bounded_and_may_only_read_unless_it_says_so(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 30 for job in jobs(path).values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_command_is_there(path: Path) -> None:
    """It is of the machine, or a package that the same job installs, or ttame's own."""
    subcommands = get_group(app).commands
    for job in jobs(path).values():
        for words in commands(job):
            command, *rest = words
            if command.endswith("/ttame"):
                assert rest[0] in subcommands
            elif command == "fresh/bin/python":
                assert rest[:3] == ["-m", "pip", "install"]
            elif command == "python" and rest[1] not in ("pip", "venv"):
                assert rest[0] == "-m" and rest[1] in installed(job)
            else:
                assert command in ON_THE_MACHINE | installed(job)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    named = re.findall(r"--constraint (\S+)", path.read_text(encoding="utf-8"))
    assert named and all((ROOT / name).is_file() for name in named)


def test_the_wheel_is_built_checked_installed_and_run() -> None:
    lines = [" ".join(words) for job in jobs(WORKFLOWS[1]).values() for words in commands(job)]
    wanted = ("python -m build", "python -m twine check", "python -m venv fresh", "fresh/bin/ttame")
    places = [next(i for i, line in enumerate(lines) if line.startswith(want)) for want in wanted]
    assert places == sorted(places)
