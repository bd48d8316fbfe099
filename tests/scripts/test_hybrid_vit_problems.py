"""What the scripts say about bad input: one line that names it, and no traceback."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from scripts.hybrid_vit import cache_views, distil, measure, ship
from scripts.hybrid_vit.card import read_log
from scripts.hybrid_vit.command_line import problems_in_one_line
from tests.datasets.noise_photos import save_photo
from ttame.classifiers.sources.hybrid_vit import build_hybrid_vit
from ttame.errors import OutputError

RECORD = '{"step": 1, "divergence": 1.0, "agreement": 0.5, "steps_per_second": 2.0}'


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a script's main function says about arguments before it gives up."""

    def run(main: Callable[[], None], *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["script", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            main()
        printed = capsys.readouterr().err
        # The interpreter prints a text that a program exits with, and then exits with 1.
        text = printed if isinstance(raised.value.code, int) else str(raised.value.code)
        assert raised.value.code
        assert text.strip().count("\n") == 0
        return text.strip()

    return run


def folder_with(folder: Path, **contents: str) -> Path:
    """A folder with files; a double underline stands for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


def views_of(folder: Path) -> Path:
    """A cache with a view in each set."""
    views = {"features": torch.zeros(1, 112, 14, 14).half(), "logits": torch.zeros(1, 1000).half()}
    for name in ("photos", "tiny"):
        folder_with(folder / name)
        save_file(views, folder / name / "views-00000.safetensors")
    return folder


def run_with_checkpoint(folder: Path, **contents: str) -> Path:
    weights = build_hybrid_vit(embed_dim=8, depth=1).state_dict()
    tensors = {f"network.{name}": tensor for name, tensor in weights.items()}
    folder_with(folder, **contents)
    save_file(tensors, folder / "checkpoint.safetensors", {"step": "1"})
    return folder


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--views", "two", "a whole number from 1 on"),
        ("--views", "0", "a whole number from 1 on"),
        ("--at-most", "-3", "a whole number from 1 on"),
        ("--smallest-crop", "0", "a number above 0 to 1"),
        ("--smallest-crop", "1.5", "a number above 0 to 1"),
        ("--part", "1", "i/n with i from 0 to n - 1"),
        ("--part", "2/2", "i/n with i from 0 to n - 1"),
    ],
)
def test_options_of_views(
    said: Callable[..., str], option: str, value: str, allowed: str, tmp_path: Path
) -> None:
    text = said(cache_views.main, "--data", ".", "--out", tmp_path / "new", option, value)
    assert text.startswith(f"cache_views: error: argument {option}: {value!r}; allowed: {allowed}")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--steps", "0", "a whole number from 1 on"),
        ("--batch-size", "many", "a whole number from 1 on"),
        ("--learning-rate", "nan", "a number from 0"),
        ("--learning-rate", "inf", "a number from 0"),
        ("--mixed-share", "1.1", "a number from 0 to 1"),
        ("--temperature", "0", "a number above 0"),
        ("--kept-patches", "197", "1 to 196"),
        ("--width", "1004", "4 to 1000"),
        ("--seed", "-1", "0 to 4294967296"),
        ("--stop-after", "0.5", "a whole number from 1 on"),
    ],
)
def test_options_of_training(
    said: Callable[..., str], option: str, value: str, allowed: str
) -> None:
    text = said(distil.main, "--cache", ".", "--out", ".", option, value)
    assert text.startswith(f"distil: error: argument {option}: {value!r}; allowed: {allowed};")


def test_options_without_a_number(said: Callable[..., str]) -> None:
    start = ("--cache", ".", "--out", ".")
    assert "--width: 30; allowed: multiples of 4" in said(distil.main, *start, "--width", 30)
    assert "'sgd'" in said(distil.main, *start, "--optimiser", "sgd")
    assert "required: --out" in said(distil.main, "--cache", ".")
    assert "from 1 on" in said(measure.main, "--cache", ".", "--run", ".", "--at-most", "0")
    assert "required: --run" in said(ship.main)


def test_the_limits_themselves_are_allowed() -> None:
    words = "--cache . --out . --mixed-share 1 --kept-patches 196 --width 4 --learning-rate 0"
    options = distil.read_options(words.split())
    assert (options.mixed_share, options.kept_patches, options.width) == (1.0, 196, 4)
    assert options.learning_rate == 0
    words = "--data . --out . --smallest-crop 1 --part 1/2"
    views = cache_views.read_options(words.split())
    assert (views.smallest_crop, views.part) == (1.0, (1, 2))


def test_photos_that_are_not_there(said: Callable[..., str], tmp_path: Path) -> None:
    text = said(cache_views.main, "--data", tmp_path / "no-photos", "--out", tmp_path / "out")
    assert text.startswith("error: ")
    assert "no-photos" in text


def test_a_file_where_a_folder_should_be(said: Callable[..., str], tmp_path: Path) -> None:
    save_photo(tmp_path / "photo.png", 0, (300, 260))
    file = folder_with(tmp_path, file="") / "file"
    cache = views_of(tmp_path / "cache")
    for main, options in (
        (cache_views.main, ("--data", tmp_path)),
        (distil.main, ("--cache", cache)),
    ):
        assert said(main, *options, "--out", file) == f"error: File exists: {file}"


def test_caches_that_are_missing_or_broken(said: Callable[..., str], tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    assert "no views in" in said(distil.main, "--cache", tmp_path / "none", *out)
    cache = views_of(tmp_path / "cache")
    folder_with(cache / "tiny", **{"views-00001__safetensors": "no tensors"})
    text = said(distil.main, "--cache", cache, *out)
    assert f"{cache / 'tiny' / 'views-00001.safetensors'} cannot be read" in text


def test_runs_that_are_missing_or_broken(said: Callable[..., str], tmp_path: Path) -> None:
    for main in (measure.main, ship.main):
        options = ["--cache", tmp_path] if main is measure.main else ["--to", tmp_path / "to"]
        text = said(main, *options, "--run", tmp_path / "none")
        assert str(tmp_path / "none") in text
        assert "scripts.hybrid_vit.distil" in text
        broken = folder_with(tmp_path / "broken", checkpoint__safetensors="", options__json="{}")
        assert "broken" in said(main, *options, "--run", broken)
    save_file({"other": torch.ones(1)}, broken / "checkpoint.safetensors")
    text = said(measure.main, "--cache", tmp_path, "--run", broken)
    assert f"{broken / 'checkpoint.safetensors'} holds no transformer" in text


def test_another_shape_to_start_from(said: Callable[..., str], tmp_path: Path) -> None:
    before, cache = run_with_checkpoint(tmp_path / "before"), views_of(tmp_path / "cache")
    options = ["--cache", cache, "--out", tmp_path / "run", "--width", 16, "--depth", 1]
    text = said(distil.main, *options, "--start-from", before)
    assert "before has width 8 and depth 1; allowed: --width 16 and --depth 1" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        ({"options__json": "{"}, "options.json is not JSON"),
        ({"options__json": "[]"}, "options.json holds no JSON object"),
        ({"options__json": '{"options": {}}'}, "options.json does not say views"),
        ({"options__json": '{"options": {}, "views": {}}'}, "log.jsonl is missing"),
        ({}, "options.json is missing; pass --command"),
    ],
)
def test_runs_that_are_badly_described(
    said: Callable[..., str], contents: dict[str, str], problem: str, tmp_path: Path
) -> None:
    run = run_with_checkpoint(tmp_path / "run", **contents)
    assert problem in said(ship.main, "--run", run, "--to", tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_commands_that_cannot_be_read(said: Callable[..., str], tmp_path: Path) -> None:
    run = run_with_checkpoint(tmp_path / "run")
    for command, problem in (("distil 'x", "No closing quotation"), ("--steps no", "--steps")):
        assert problem in said(ship.main, "--run", run, "--command", command)


def test_lines_of_a_log_that_are_no_records(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, good__jsonl=f"{RECORD}\n{RECORD}\n", bad__jsonl=f"{RECORD}\n{{")
    assert [record["step"] for record in read_log(folder / "good.jsonl")] == [1, 1]
    with pytest.raises(SystemExit, match=r"^line 2 of .*bad.jsonl is not JSON"):
        read_log(folder / "bad.jsonl")
    folder_with(tmp_path, bad__jsonl='{"step": 1}')
    with pytest.raises(SystemExit, match="does not say divergence, agreement, steps_per_second$"):
        read_log(folder / "bad.jsonl")


def test_figures_that_are_broken(said: Callable[..., str], tmp_path: Path) -> None:
    noted = {"options__json": '{"options": {}, "views": {}}', "log__jsonl": RECORD}
    run = run_with_checkpoint(tmp_path / "run", **noted)
    to = folder_with(tmp_path / "to", figures__json="{}")
    text = said(ship.main, "--run", run, "--to", to)
    assert text.endswith("figures.json does not say weights_file, measured_on, sets")
    assert [file.name for file in to.iterdir()] == ["figures.json"]


def test_what_another_run_noted_may_be_anything(said: Callable[..., str], tmp_path: Path) -> None:
    cache, run = views_of(tmp_path / "cache"), folder_with(tmp_path / "run", options__json="{}")
    assert "options.json does not say options, views" in said(
        distil.main, "--cache", cache, "--out", run
    )


def test_own_errors_are_one_line() -> None:
    with (
        pytest.raises(SystemExit, match="^error: full disk; try: another$"),
        problems_in_one_line(),
    ):
        raise OutputError("full disk", remedy="another")
    with pytest.raises(ZeroDivisionError), problems_in_one_line():
        raise ZeroDivisionError


def test_the_program_itself_shows_no_traceback(tmp_path: Path, said: Callable[..., str]) -> None:
    """Run as ``python -m`` does it; a process of its own would import torch once more."""

    def program() -> None:
        runpy.run_path(cache_views.__file__, run_name="__main__")

    words = said(program, "--data", tmp_path / "nothing", "--out", tmp_path)
    assert words.startswith("error: ")
