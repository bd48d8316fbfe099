"""Messages: one line, of bounded length, whatever they quote."""

from __future__ import annotations

import pytest

from ttame.errors import TtameError, near_matches


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
