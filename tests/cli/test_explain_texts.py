from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from ttame.cli.network_options import DEFAULT_TEXT_MODEL
from ttame.cli.text_networks import default_method, methods_of_texts
from ttame.reporting.texts.growing_text_report import GrowingTextReport
from ttame.testing import tiny_text_classifier

LOGO = next((Path(__file__).parents[2] / "docs").rglob("*.png"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options that name a saved classifier."""
    folder = tmp_path_factory.mktemp("tiny")
    classifier = tiny_text_classifier()
    classifier.network.model.save_pretrained(folder)  # type: ignore[operator, union-attr]
    classifier.tokenizer.save_pretrained(folder)
    names = ["--class-names", "negative,positive", "--methods", "input_x_gradient"]
    return ["--model", f"hf/{folder}", "--device", "cpu", *names]


def test_a_text_is_printed_with_its_strongest_words(
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--out", str(tmp_path / "why")]
    assert run(["explain", "--text", "not a bad film", *tiny, *out], monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "by input_x_gradient" and "not a bad film" in lines
    assert any(line.startswith(("positive ", "negative ")) for line in lines)
    assert lines[-1] == f"open {(tmp_path / 'why' / 'index.html').resolve()}"


def test_a_file_of_pairs_is_a_table_and_long_texts_can_be_cut(
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pairs.tsv").write_text("good\ta film\n" * 4 + "bad " * 60 + "\tdull\n")
    asked = ["explain", "--texts", str(tmp_path / "pairs.tsv"), *tiny, "--overwrite"]
    asked += ["--out", str(tmp_path / "why"), "--classes", "positive", "--strength", "shared"]
    assert run(asked, monkeypatch) == 0
    said = capsys.readouterr()
    assert "line 5 has 64 tokens" in said.err and "Traceback" not in said.err
    assert run([*asked, "--too-long", "truncate"], monkeypatch) == 0
    said = capsys.readouterr()
    assert "strongest words" in said.out and "line 5" in said.out
    content = json.loads((tmp_path / "why" / "explanations.json").read_text())
    assert [text["pair"] for text in content["texts"]] == ["a film"] * 4 + ["dull"]
    assert "words were not read" in (tmp_path / "why" / "index.html").read_text()


def test_an_interrupted_file_of_lines_is_gone_on_with(
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "lines.txt").write_text("good\nbad\nvery dull\n")
    out = tmp_path / "why"
    asked = ["explain", "--texts", str(tmp_path / "lines.txt"), *tiny, "--batch-size", "1"]
    asked += ["--out", str(out)]
    with monkeypatch.context() as interrupted:

        def interrupt(report: GrowingTextReport) -> None:
            raise KeyboardInterrupt

        interrupted.setattr(GrowingTextReport, "complete", interrupt)
        assert run(asked, interrupted) == 130
    assert "finished batches are kept, and --resume continues" in capsys.readouterr().err
    assert run(asked, monkeypatch) == 2
    assert "has not finished; try: --resume" in capsys.readouterr().err
    assert run([*asked, "--too-long", "truncate", "--resume"], monkeypatch) == 2
    assert "try: the same --too-long as before, or --overwrite" in capsys.readouterr().err
    assert run([*asked, "--resume"], monkeypatch) == 0
    assert "3 of 3 texts were finished before" in capsys.readouterr().err
    assert run([*asked, "--resume"], monkeypatch) == 0
    content = json.loads((out / "explanations.json").read_text())
    assert [text["name"] for text in content["texts"]] == ["line 1", "line 2", "line 3"]


def test_names_stand_on_one_line_and_half_characters_are_skipped(
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = tmp_path / "texts.jsonl"
    lines.write_text(
        '{"id": "a\\nb\\u001b[31m", "text": "good"}\n{"text": "bad \\ud83d"}\n{"text": "a"}'
    )
    asked = ["explain", "--texts", str(lines), *tiny, "--out", str(tmp_path / "why")]
    assert run(asked, monkeypatch) == 0
    said = capsys.readouterr()
    assert "a b\ufffd[31m, by input_x_gradient" in said.out.splitlines()
    assert "skipped: line 2 holds half of a character" in said.err
    assert "note: skipped texts: a file without such escapes" in said.err


def test_texts_come_through_a_pipe(
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(b"good\nbad\n" + b"bad " * 60))
    monkeypatch.setattr(sys, "stdin", pipe)
    assert run(["explain", "--texts", "-", *tiny, "--out", str(tmp_path / "why")], monkeypatch) == 0
    assert "skipped: line 3 has 62 tokens" in capsys.readouterr().err
    content = json.loads((tmp_path / "why" / "explanations.json").read_text())
    assert [text["text"] for text in content["texts"]] == ["good", "bad"]


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["photo.jpg", "--text", "a"], "photos along with texts; allowed: photos or texts"),
        (["--text", "a", "--format", "shards"], "--format along with texts"),
        (["--text", "a", "--texts", "b.txt"], "--text and --texts; allowed: one of them"),
        (["--text", "a", "--pair", "b", "--pair", "c"], "2 --pair for 1 --text"),
        (["--pair", "b"], "1 --pair for 0 --text"),
        (["--texts", "nowhere.txt"], "cannot read nowhere.txt"),
        (["--texts", "b.txt", "--pair", "b"], "--pair and --texts; allowed: one of them; try: a"),
        (["--text", str(LOGO)], "try: ttame explain PHOTO without --text"),
        (["--text", "a", "--model", "hf/"], "no text classifier 'hf/'; allowed: minilm_reviews"),
        (["--texts", "."], ". is a folder; allowed: a file with one text per line"),
        (["--text", "a", "--strength", "contrast"], "strength 'contrast'; allowed: own, shared"),
        (["--text", " "], "text 1 is empty"),
        (["--text", "bad " * 60], "text 1 has 62 tokens"),
        (["--text", "bad " * 60], "try: --too-long truncate"),
        (["--text", "bad " * 60, "--pair", "bad", "--too-long", "windows"], "text 1 has 64 tokens"),
        (["--text", "a", "--too-long", "cut"], "'cut'; allowed: refuse, truncate, windows"),
        (
            ["--text", "a", "--too-long", "window"],
            "unknown way to handle long texts 'window'; allowed",
        ),
        (["--text", "a", "--image-size", "64"], "--image-size for a classifier of texts"),
        (["--text", "a", "--refine", "3"], "--refine for texts"),
        (["--text", "a", "--methods", "grad_cam"], "a classifier of texts"),
        (["--too-long", "truncate"], "--too-long without texts; try: --text or --texts"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    tiny: list[str],
    typed: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--out", str(tmp_path / "why")]
    assert run(["explain", *tiny, *typed, *out], monkeypatch) == 2
    said = capsys.readouterr().err.splitlines()
    assert words in said[-1] and said[-1].startswith("ttame: error: ")
    assert not (tmp_path / "why").exists()


def test_all_stands_for_the_methods_of_texts() -> None:
    assert "input_x_gradient" in methods_of_texts() and "grad_cam" not in methods_of_texts()
    assert DEFAULT_TEXT_MODEL == "minilm_reviews"


@pytest.mark.parametrize(
    ("model", "outputs", "method"),
    [
        ("minilm_reviews", None, "few_shot"),
        ("minilm_reviews", "sigmoid", "transformer_attribution"),
        ("hf/somewhere", None, "transformer_attribution"),
    ],
)
def test_a_bundled_explainer_explains_where_no_method_is_named(
    model: str, outputs: str | None, method: str
) -> None:
    assert default_method(model, {"outputs": outputs}) == method
