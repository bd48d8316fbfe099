"""Messages: one line, of bounded length, whatever they quote."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ttame.errors
from ttame.errors import TtameError, Wording, near_matches, on_command_line, setting


def test_what_strangers_named_stays_on_one_line() -> None:
    problem = TtameError("a\nb \x1b[31mred\u2028 \udcff é", allowed="c\nd", remedy="e\tf")
    assert str(problem) == ("a\\nb \\x1b[31mred\\u2028 \\udcff é; allowed: c\\nd; try: e\\tf")


def test_the_middle_of_a_long_problem_is_left_out() -> None:
    for letter in "x\n":
        message = str(TtameError("start " + letter * 100_000 + " end", remedy="this"))
        assert message.isprintable() and len(message) < 750
        assert message.startswith("start ") and " … " in message
        assert message.endswith(" end; try: this")
    assert str(TtameError("x" * 700)) == "x" * 700


@pytest.mark.parametrize("typed", ["gradcam", "GradCAM", "Grad-CAM", "GRAD CAM"])
def test_case_and_dashes_do_not_hide_a_name(typed: str) -> None:
    assert near_matches(typed, ["score_cam", "grad_cam", "xgrad_cam"])[0] == "grad_cam"


def test_a_plus_is_a_plus() -> None:
    known = ["grad_cam", "grad_cam_plus_plus"]
    assert near_matches("GradCAM++", known)[0] == "grad_cam_plus_plus"


def test_a_setting_reads_as_it_is_typed_in_each_place() -> None:
    for name, value, python, typed in (
        ("batch_size", 4, "batch_size=4", "--batch-size 4"),
        ("overwrite", True, "overwrite=True", "--overwrite"),
        ("folder", None, "folder", "--out"),
        ("taps", ["a", "b.1"], "taps=['a', 'b.1']", "--taps a,b.1"),
        (
            "network_options",
            {"trust_remote_code": True},
            "network_options={'trust_remote_code': True}",
            "--network-option trust_remote_code=true",
        ),
    ):
        error = TtameError("no", allowed=f"yes with {setting(name, value)}", remedy="more")
        assert str(error) == f"no; allowed: yes with {python}; try: more"
        assert on_command_line(error) == f"no; allowed: yes with {typed}; try: more"


def test_both_wordings_survive_pickling_passing_on_and_hostile_text() -> None:
    first = TtameError("\ue000 a\n", remedy=setting("outputs", "sigmoid probabilities"))
    assert str(first) == "\\ue000 a\\n; try: outputs='sigmoid probabilities'"
    again = TtameError(f"x: {first.problem}", remedy=first.remedy)
    assert on_command_line(again) == "x: \\ue000 a\\n; try: --outputs sigmoid-probabilities"
    copied = pickle.loads(pickle.dumps(first.remedy))
    assert on_command_line(copied) == "--outputs sigmoid-probabilities"
    assert on_command_line("plain") == "plain" == on_command_line(Wording("plain"))


def test_outside_the_command_line_no_message_is_written_with_options() -> None:
    """A remedy with ``--`` below cli/ must be one of two wordings."""
    root = Path(ttame.errors.__file__).parent
    offending = []
    for path in sorted(root.rglob("*.py")):
        if path.parent.name == "cli":
            continue
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.keyword) and call.arg in ("remedy", "allowed"):
                for text in _outside_of_either(call.value):
                    if re.search(r"(^|[\s`(])--[a-z]", text):
                        offending.append(f"{path.name}: {text}")
    assert [text for text in offending if "pip install" not in text] == []


def _outside_of_either(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "either":
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from _outside_of_either(child)
