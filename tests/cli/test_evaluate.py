"""``ttame evaluate``: what is written, what is said, and what bad input gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.cli.test_commands import run
from tests.cli.test_explain import TINY
from tests.datasets.noise_photos import save_photo
from tests.reporting.evaluation_material import realistic
from tests.tiny_networks import TINY as NETWORKS
from ttame.cli.chosen_explainers import choose_methods
from ttame.cli.evaluation_display import print_evaluation
from ttame.errors import ExplainerError, UnknownNameError
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.metrics.known_metrics import METRICS
from ttame.results.evaluation import Evaluation


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    for index in range(5):
        save_photo(tmp_path / "photos" / f"{index}.png", index, (64, 72))
    return tmp_path / "photos"


def test_a_table_a_page_and_rows(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", "--data", str(photos), *TINY, "--out", str(out)]
    torch.manual_seed(0)
    assert run([*arguments, "--methods", "cam,random"], monkeypatch) == 0
    said = capsys.readouterr().out
    assert "protocol t-tame" in said and "cam" in said and "Average" in said
    found = Evaluation.load(out / "results.json")
    assert [method.name for method in found.methods] == ["cam", "random"]
    assert found.images == 5
    page = (out / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and found.protocol_hash in page
    assert page.count("data:image/jpeg") >= 5
    assert (out / "rows.parquet").is_file()
    # A second run adds a method and repeats nothing.
    written = {path: path.stat().st_mtime_ns for path in (out / "rows").rglob("*.parquet")}
    more = [*arguments, "--methods", "cam,random,centre_gaussian", "--resume"]
    torch.manual_seed(0)
    assert run(more, monkeypatch) == 0
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())
    assert len(Evaluation.load(out / "results.json").methods) == 3


def test_localisation_with_masks(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for index in range(5):
        mask = Image.new("L", (64, 72), 0)
        mask.paste(255, (10, 10, 50, 50))
        mask.save(masks / f"{index}.png")
    out = tmp_path / "out"
    larger = ["128" if argument == "64" else argument for argument in TINY]
    arguments = ["evaluate", "--data", str(photos), *larger, "--out", str(out), "--methods"]
    options = ["--metrics", "pointing_game,energy_inside", "--annotations", str(masks)]
    assert run([*arguments, "centre_gaussian", *options], monkeypatch) == 0
    (method,) = Evaluation.load(out / "results.json").methods
    assert method.scores["pointing_game"].value == 100


def test_sanity_tells_who_ignores_the_network(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", "--data", str(photos), *TINY, "--out", str(out), "--sanity", "2"]
    chosen = ["--methods", "input_x_gradient,centre_gaussian", "--metrics", "mean_map"]
    assert run([*arguments, *chosen], monkeypatch) == 0
    found = {method.name: method.sanity for method in Evaluation.load(out / "results.json").methods}
    assert found["input_x_gradient"] and found["input_x_gradient"].passed
    assert found["centre_gaussian"] and not found["centre_gaussian"].passed
    assert "do not depend on the network's weights: centre_gaussian" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "grad_cma"], "unknown method or explainer folder 'grad_cma'; try: grad_cam"),
        (["--metrics", "inserton"], "unknown metric 'inserton'; try: insertion"),
        (["--protocol", "riese"], "unknown protocol 'riese'; try: rise"),
        (
            ["--reproduce", "t-tame-vgg16"],
            "unknown reproduction 't-tame-vgg16'; try: t-tame-vgg-16",
        ),
        (["--methods", "attention_rollout"], "attention_rollout is not defined for"),
        (["--metrics", "pointing_game"], "pointing_game without annotations"),
        (["--judge", "efficientnet_lite0"], "judge efficientnet_lite0 for "),
        (["--judge", "efficientnet_lit0"], "efficientnet_lit0"),
        (["--annotations", "nowhere.json"], "nowhere.json"),
        (["--option", "rise.mask=2", "--methods", "rise"], "unknown option of rise 'mask'"),
        (["--memory-budget", "much"], "memory budget 'much'"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    message: str,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    command = ["evaluate", "--data", str(photos), *TINY, "--out", str(out), *arguments]
    assert run(command, monkeypatch) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert "Traceback" not in said
    assert not out.exists()


def test_without_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(["evaluate"], monkeypatch) == 2
    assert "no --data" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["evaluate", "--data", str(tmp_path / "empty"), *TINY], monkeypatch) == 2
    assert "empty" in capsys.readouterr().err


def test_lists(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "--metrics", "list"], monkeypatch) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in METRICS)
    assert run(["evaluate", "--reproduce", "list"], monkeypatch) == 0
    assert "t-tame-vit-b-16" in capsys.readouterr().out


def test_methods_of_every_kind(tmp_path: Path) -> None:
    classifier = NETWORKS["cnn"]()
    folder = tmp_path / "mine"
    new_attention_explainer(classifier).save(folder)
    made, left_out = choose_methods([str(folder), "cam"], classifier, [], False)
    assert list(made) == [str(folder), "cam"]
    assert made[str(folder)].method == "t_tame"
    made, left_out = choose_methods(["all"], classifier, ["rise.masks=10"], False)
    assert "grad_cam" in made and "attention_rollout" in left_out
    assert made["rise"].options["masks"] == 10
    with pytest.raises(ExplainerError):
        choose_methods(["attention_rollout"], classifier, [], False)
    made, left_out = choose_methods(["attention_rollout", "cam"], classifier, [], True)
    assert list(made) == ["cam"] and list(left_out) == ["attention_rollout"]
    with pytest.raises(UnknownNameError, match="t_tame"):
        choose_methods(["t_tam"], classifier, [], False)


def test_the_table_fits_its_terminal(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = ["evaluate", "--data", str(photos), *TINY, "--out", str(out)]
    assert run([*arguments, "--methods", "cam,centre_gaussian"], monkeypatch) == 0
    assert json.loads((out / "results.json").read_text())["images"] == 5
    capsys.readouterr()
    for width, rows in ((80, 3), (200, 1)):
        monkeypatch.setenv("COLUMNS", str(width))
        print_evaluation(Evaluation.load(out / "results.json"), out)
        lines = capsys.readouterr().out.splitlines()
        assert all(len(line) <= max(width, len(str(out)) * 2 + 50) for line in lines), width
        assert sum(line.startswith("centre_gaussian") for line in lines) == rows, width


@pytest.mark.parametrize("width", [80, 100, 110, 150, 200])
def test_no_number_is_cut_off(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = realistic()
    monkeypatch.setenv("COLUMNS", str(width))
    print_evaluation(evaluation, Path("out"))
    said = capsys.readouterr().out
    for method in evaluation.methods:
        for column in evaluation.columns:
            score = method.scores.get(column.key)
            if score is not None and column.unit == "%":
                assert f"{score.low:.1f} to {score.high:.1f}" in said
        assert f"{method.cost.milliseconds:.0f}" in said
