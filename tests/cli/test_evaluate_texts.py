"""``ttame evaluate --text-data``: what is written, what is said, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.evaluation.texts.measured_texts import review_file, tiny
from ttame.results.evaluation import Evaluation


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of transformers with its tokenizer, and reviews next to it."""
    place = tmp_path_factory.mktemp("texts")
    classifier = tiny()
    classifier.network.model.save_pretrained(place / "network")  # type: ignore[operator]
    classifier.tokenizer.save_pretrained(place / "network")
    review_file(place)
    return place


def command(folder: Path, out: Path, *more: str) -> list[str]:
    data = ["--text-data", str(folder / "reviews.jsonl"), "--out", str(out)]
    model = ["--model", f"hf/{folder / 'network'}", "--class-names", "negative,positive"]
    return ["evaluate", *data, *model, "--methods", "raw_attention,random", *more]


def test_a_table_a_page_and_rows(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run(command(folder, out), monkeypatch) == 0
    said = capsys.readouterr().out
    assert "network on 6 texts of reviews.jsonl, protocol chefer-text" in said
    assert "Token F1" in said and "raw_attention" in said
    found = Evaluation.load(out / "results.json")
    assert (found.kind, found.images) == ("texts", 6)
    assert "--text-data" in (out / "report.html").read_text(encoding="utf-8")
    assert (out / "rows.parquet").is_file()
    # A second run adds a method and repeats nothing.
    written = {path: path.stat().st_mtime_ns for path in (out / "rows").rglob("*.parquet")}
    more = ["--resume", "--methods", "raw_attention,random,attention_rollout"]
    assert run(command(folder, out, *more), monkeypatch) == 0
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())
    assert len(Evaluation.load(out / "results.json").methods) == 3


def test_labels_metrics_and_protocols_are_chosen(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "odd.jsonl"
    odd.write_text(json.dumps({"label": "bad", "tokens": "a dull film", "rationales": [[1, 2]]}))
    chosen = ["--text-data", str(odd), "--label-class", "bad=negative", "--limit", "1"]
    chosen += ["--metrics", "auprc,deletion", "--protocol", "masked-tokens"]
    assert run(command(folder, tmp_path / "out", *chosen), monkeypatch) == 0
    found = Evaluation.load(tmp_path / "out" / "results.json")
    assert [column.key for column in found.columns] == ["auprc", "deletion"]
    assert found.protocol == "masked-tokens"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--text-data", "missing.jsonl"], "cannot read missing.jsonl"),
        (["--data", "photos"], "--data with --text-data"),
        (["--annotations", "boxes.json"], "--annotations with --text-data"),
        (["--judge", "timm/resnet18"], "--judge with --text-data"),
        (["--sanity", "4"], "--sanity with --text-data"),
        (["--image-size", "64"], "--image-size for a classifier of texts"),
        (["--label-class", "pos"], "--label-class 'pos'; allowed: LABEL=CLASS"),
        (["--protocol", "t-tame"], "unknown protocol of texts 't-tame'"),
        (["--metrics", "average_drop"], "unknown metric of texts 'average_drop'"),
        (["--methods", "grad_camm"], "grad_cam"),
        (["--model", "hf/missing/model"], "hf/missing/model"),
    ],
)
def test_bad_input_gets_one_line(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    said: str,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    assert run(command(folder, tmp_path / "out", *more), monkeypatch) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1] and lines[-1].startswith("ttame: error: ")
    assert not (tmp_path / "out").exists()


def test_the_list_of_metrics_has_those_of_texts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "--metrics", "list"], monkeypatch) == 0
    said = capsys.readouterr().out
    assert "metric of --text-data" in said and "comprehensiveness" in said
