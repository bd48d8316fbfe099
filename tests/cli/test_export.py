"""``ttame export``, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_commands import TINY_NETWORK, run

NETWORK = [*("64" if word == "32" else word for word in TINY_NETWORK), "--weights", "none"]


def test_a_file_is_written_and_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "why.pt2"
    arguments = ["export", *NETWORK, "--methods", "cam", "--out", str(out)]
    assert run(arguments, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "timm/resnet10t with cam" in said and "takes pixels (B, H, W, 3) uint8" in said
    assert "gives logits, probabilities, classes, maps" in said
    assert out.stat().st_size > 10_000
    assert run(arguments, monkeypatch) == 2  # it exists


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "why.tflite"], "allowed: onnx, pt2, openvino"),
        (["--out", "why.pt2", "--methods", "cam,class_evidence"], "2 methods in one file"),
        (["--out", "why.pt2", "--methods", "cam", "--top-k", "many"], "a number, or all"),
        (["--out", "why.pt2", "--methods", "grad_cam"], "grad_cam cannot be exported"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    typed = ["export", *NETWORK, *arguments]
    assert run(typed, monkeypatch) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
