"""``ttame explain --method``: which classifier, which methods, what is written and what is said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.cli.test_commands import run
from tests.conftest import assert_close
from tests.tiny_networks import tiny_cnn
from ttame.cli.network_options import load_named_classifier
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.results.explanation import Explanation
from ttame.results.explanation_shards import load_explanations

TINY = ["--model", "timm/resnet10t", "--weights", "none", "--image-size", "64", "--device", "cpu",
        "--network-option", "num_classes=5"]  # fmt: skip


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    pixels = torch.randint(0, 255, (40, 48, 3), generator=torch.manual_seed(0)).byte()
    Image.fromarray(pixels.numpy()).save(path)
    return path


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved explainer of a tiny classifier that the folder can be loaded with."""
    classifier = tiny_cnn()
    folder = tmp_path / "trained"
    new_attention_explainer(classifier).save(folder)
    monkeypatch.setattr(
        "ttame.explainers.trained.saved_networks.load_described_classifier",
        lambda *a, **o: classifier,
    )
    config = json.loads((folder / "config.json").read_text())
    config["classifier"]["recipe"] = {
        "name": "tiny", "weights": "default", "image_size": None, "network_options": {}
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def described(folder: Path) -> dict:  # type: ignore[type-arg]
    content: dict = json.loads((folder / "explanations.json").read_text())  # type: ignore[type-arg]
    return content


def test_several_methods_explain_the_same_classes_of_a_named_model(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "why"
    arguments = ["explain", str(photo), *TINY, "--methods", "cam,grad_cam", "-o", str(out)]
    assert run([*arguments, "-c", "top2"], monkeypatch) == 0
    content = described(out)
    assert [method["title"] for method in content["methods"]] == ["CAM", "Grad-CAM"]
    (image,) = content["images"]
    assert len(image["classes"]) == 2
    loaded = {name: Explanation.load(out / path) for name, path in image["files"]["maps"].items()}
    assert [one.method for one in loaded.values()] == ["cam", "grad_cam"]
    assert torch.equal(loaded["cam"].classes, loaded["grad_cam"].classes)
    assert len(image["files"]["pictures"]) == 2
    assert "photo.png" in capsys.readouterr().out

    # Of several methods one class is explained if nothing else is asked for; of one, three.
    assert run([*arguments, "--overwrite"], monkeypatch) == 0
    assert len(described(out)["images"][0]["classes"]) == 1
    arguments[arguments.index("cam,grad_cam")] = "cam"
    assert run([*arguments, "--overwrite"], monkeypatch) == 0
    assert len(described(out)["images"][0]["classes"]) == 3


def test_classes_are_contrasted_with_another_one(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "why"
    arguments = ["explain", str(photo), *TINY, "--method", "cam,grad_cam", "-o", str(out)]
    assert run([*arguments, "-c", "0,3", "--rather-than", "1"], monkeypatch) == 0
    (image,) = described(out)["images"]
    labels = ["class 0 rather than class 1", "class 3 rather than class 1"]
    assert [one["name"] for one in image["classes"]] == labels
    assert [one["class"] for one in image["classes"]] == ["class 0", "class 3"]
    loaded = {name: Explanation.load(out / path) for name, path in image["files"]["maps"].items()}
    assert [one.target_labels for one in loaded.values()] == [(tuple(labels),)] * 2
    page = (out / "index.html").read_text()
    assert "<bdi>class 0 rather than class 1</bdi></h3>" in page
    share = float(loaded["cam"].probabilities[0, 0])
    assert f'<span class="percent">class 0 {share:.1%}</span>' in page
    assert labels[0] in " ".join(capsys.readouterr().out.split())
    # The contrast of CAM is the difference of two class maps.
    assert run([*arguments, "-c", "0,3,1", "--overwrite"], monkeypatch) == 0
    (image,) = described(out)["images"]
    maps = Explanation.load(out / image["files"]["maps"]["cam"]).maps[0]
    assert_close(loaded["cam"].maps[0], maps[:2] - maps[2], 1e-5)

    assert run([*arguments, "--rather-than", "7", "--overwrite"], monkeypatch) == 2
    assert "class index 7; allowed: 0 to 4" in capsys.readouterr().err
    assert run([*arguments, "-c", "1", "--rather-than", "1", "--overwrite"], monkeypatch) == 2
    assert "class 1 rather than itself" in capsys.readouterr().err
    assert described(out)["images"] == [image]


def test_all_takes_what_is_defined_and_says_what_is_not(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {name: EXPLAINERS[name] for name in ("cam", "grad_cam", "tame")}
    monkeypatch.setattr("ttame.explainers.known_explainers.EXPLAINERS", few)
    out = tmp_path / "why"
    assert run(["explain", str(photo), *TINY, "--methods", "all", "-o", str(out)], monkeypatch) == 0
    content = described(out)
    assert [method["name"] for method in content["methods"]] == ["cam", "grad_cam"]
    assert content["methods_left_out"] == {"tame": "before it is trained"}
    printed = capsys.readouterr().out
    assert "left out" in printed
    assert "before it is trained" in printed
    assert 'id="left-out"' in (out / "index.html").read_text()


def test_trained_and_computed_methods_share_the_explainers_own_classifier(
    photo: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "why"
    start = ["explain", str(photo), "--explainer", str(trained), "-o", str(out), "--overwrite"]
    for methods in ("grad_cam,t_tame", "grad_cam"):
        assert run([*start, "--methods", methods], monkeypatch) == 0
        content = described(out)
        assert [method["name"] for method in content["methods"]] == methods.split(",")
        assert content["images"][0]["classes"][0]["name"].startswith("kind")
        assert "photo.png" in content["images"][0]["name"]
    assert run(start, monkeypatch) == 0
    assert [method["name"] for method in described(out)["methods"]] == ["t_tame"]


def test_an_explainer_of_another_method_is_named(
    photo: Path,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["explain", str(photo), "-e", str(trained), "-o", str(tmp_path / "why")]
    assert run([*arguments, "--methods", "tame"], monkeypatch) == 2
    assert "trained as t_tame, not tame" in capsys.readouterr().err
    assert run([*arguments, "--image-size", "96"], monkeypatch) == 2
    assert "--image-size without --model" in capsys.readouterr().err


def test_other_weights_are_allowed_to_a_named_trained_method_too(
    photo: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((trained / "config.json").read_text())
    config["classifier"]["fingerprint"] = "0" * 64
    (trained / "config.json").write_text(json.dumps(config))
    out = tmp_path / "why"
    start = ["explain", str(photo), "-e", str(trained), "-o", str(out), "--methods", "t_tame"]
    assert run(start, monkeypatch) == 2
    assert run([*start, "--allow-other-weights"], monkeypatch) == 0


def test_maps_of_pixels_are_marked_as_such(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "why"
    methods = ["--methods", "input_x_gradient,grad_cam", "-o", str(out)]
    assert run(["explain", str(photo), *TINY, *methods], monkeypatch) == 0
    assert [method["drawn_as"] for method in described(out)["methods"]] == ["pixels", "grid"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--methods", "grad_cm"], "try: grad_cam"),
        (["--methods", " , "], "empty --method"),
        (["--methods", "tame"], "tame is not defined for timm/resnet10t before it is trained"),
        (["--methods", "cam", "--option", "power=2"], "option power of cam, which has no options"),
        (["--methods", "t_tame", "--option", "t_tame.foldr=x"], "try: folder"),
        (["--methods", "cam", "--option", "t_tame.folder=x"], "t_tame, which is not asked for"),
        (["--methods", "cam,grad_cam", "--option", "layer=x"], "METHOD.NAME=VALUE"),
        (["--methods", "all", "--option", "layer=x"], "option layer of all methods"),
        (["--methods", "cam", "--memory-budget", "lots"], "512MiB"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(
    arguments: list[str],
    expected: str,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = ["explain", str(photo), *TINY, "-o", str(tmp_path / "why"), *arguments]
    assert run(command, monkeypatch) == 2
    error = capsys.readouterr().err.strip()
    assert expected in error
    assert "\n" not in error
    assert not (tmp_path / "why").exists()


def test_no_evidence_is_said_by_photo_and_method(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = load_named_classifier(
        "timm/resnet10t", "none", "64", None, None, None, ["num_classes=5"], "cpu"
    )
    # All classes have the logit 0, so that no place speaks for any class.
    linear = classifier.network.get_submodule("fc")
    torch.nn.init.zeros_(linear.weight)  # type: ignore[arg-type]
    torch.nn.init.zeros_(linear.bias)  # type: ignore[arg-type]
    monkeypatch.setattr(
        "ttame.cli.network_options.load_named_classifier", lambda *a, **o: classifier
    )
    out = tmp_path / "why"
    arguments = ["explain", str(photo), *TINY, "--methods", "cam,random", "-o", str(out)]
    assert run([*arguments, "-c", "2"], monkeypatch) == 0
    assert "no evidence: cam in photo.png for class 2" in capsys.readouterr().out
    (image,) = described(out)["images"]
    maps = image["classes"][0]["maps"]
    assert [maps[name]["has_evidence"] for name in ("cam", "random")] == [False, True]
    page = (out / "index.html").read_text()
    assert "CAM for class 2, 20.0%, no evidence, in photo.png" in page


def test_the_memory_budget_and_options_reach_the_method(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ttame.explainers.methods.activation.cam import Cam

    seen = []

    @dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
    class Watched(Cam):
        power: int = 1

        def __call__(self, *arguments, **asked):  # type: ignore[no-untyped-def]
            asked["progress"](1, 4)
            seen.append(asked["memory_budget"])
            # The first method has chosen, so that "top1" is one class for all of them.
            assert isinstance(asked["target"].classes, torch.Tensor)
            return super().__call__(*arguments, **asked)

    monkeypatch.setitem(EXPLAINERS, "cam", Watched)
    out = tmp_path / "why"
    arguments = ["explain", str(photo), *TINY, "--methods", "grad_cam,cam", "-o", str(out)]
    limits = ["--memory-budget", "1MiB", "--option", "cam.power=3"]
    assert run([*arguments, *limits], monkeypatch) == 0
    assert seen == [2**20]
    assert described(out)["methods"][1]["provenance"]["power"] == 3


def test_the_other_spelling_of_methods_keeps_working(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "why"
    arguments = ["explain", str(photo), *TINY, "--method", "cam", "--methods", "random"]
    assert run([*arguments, "-o", str(out)], monkeypatch) == 0
    assert [method["name"] for method in described(out)["methods"]] == ["random", "cam"]
    capsys.readouterr()
    assert run(["explain", "--help"], monkeypatch) == 0
    assert "--method " not in capsys.readouterr().out


def test_a_folder_is_named_among_the_methods(
    trained: Path, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "why"
    arguments = ["explain", str(photo), "-e", str(trained), "-o", str(out)]
    assert run([*arguments, "--methods", f"t_tame,{trained},cam"], monkeypatch) == 0
    content = described(out)
    assert [method["name"] for method in content["methods"]] == ["t_tame", str(trained), "cam"]
    loaded = [
        Explanation.load(out / path) for path in content["images"][0]["files"]["maps"].values()
    ]
    assert torch.equal(loaded[0].maps, loaded[1].maps)


def test_two_classes_are_explained_where_there_are_no_three(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "why"
    two = [word.replace("num_classes=5", "num_classes=2") for word in TINY]
    arguments = ["explain", str(photo), *two, "--methods", "cam", "-o", str(out)]
    assert run(arguments, monkeypatch) == 0
    assert len(described(out)["images"][0]["classes"]) == 2


def test_data_of_any_kind_are_explained_and_gone_on_with(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from ttame.reporting.growing_report import GrowingReport

    (tmp_path / "list.txt").write_text("photo.png 3\nphoto.png\nphoto.png")
    out = tmp_path / "why"
    arguments = ["explain", "--data", str(tmp_path / "list.txt"), *TINY, "--methods", "cam"]
    arguments += ["-o", str(out), "--batch-size", "1"]
    with monkeypatch.context() as interrupted:

        def interrupt(report: GrowingReport) -> None:
            raise KeyboardInterrupt

        interrupted.setattr(GrowingReport, "complete", interrupt)
        assert run(arguments, interrupted) == 130
    assert "--resume continues" in capsys.readouterr().err
    assert run(arguments, monkeypatch) == 2
    assert "has not finished; try: --resume" in capsys.readouterr().err
    assert run([*arguments, "--resume"], monkeypatch) == 0
    printed = capsys.readouterr()
    assert "3 of 3 photos were finished before" in printed.err
    assert printed.out.count("photo.png") == 3
    assert [image["name"] for image in described(out)["images"]] == [str(photo)] * 3


def test_a_network_without_a_trained_explainer_is_explained_by_grad_cam(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "why"
    names = ["--class-names", "a, b,c,d,e"]
    assert run(["explain", str(photo), *TINY, *names, "-o", str(out)], monkeypatch) == 0
    assert "no trained explainer for timm/resnet10t, so grad_cam" in capsys.readouterr().err
    content = json.loads((out / "explanations.json").read_text())
    assert [method["name"] for method in content["methods"]] == ["grad_cam"]
    assert content["images"][0]["prediction"]["name"] in {"a", "b", "c", "d", "e"}


def test_shards_are_written_and_said(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "ttame.cli.network_options.load_named_classifier", lambda *a, **o: tiny_cnn()
    )
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(photo.read_bytes())
    (folder / "torn.png").write_bytes(b"torn")
    words = ["explain", str(folder), "--model", "tiny", "--methods", "grad_cam", "-o"]
    shards = ["--format", "shards", "--batch-size", "1", "--shard-size", "2", "--workers", "0"]
    assert run([*words, str(tmp_path / "why"), *shards], monkeypatch) == 0
    said = capsys.readouterr().out
    assert "3 photos explained by grad_cam, 1 skipped (listed in explanations_index.json)" in said
    assert "ttame.load_explanations(" in said and "sample/index.html" in said
    found = load_explanations(tmp_path / "why")
    assert [row.number for row in found] == [0, 1, 2] and len(list(found.records())) == 2
    for options, refusal in (
        ([*shards, "--threshold", "0.3"], "--threshold with --format shards"),
        (["--format", "tables"], "format 'tables'; allowed: folder, shards"),
        (["--workers", "1"], "--workers with --format folder; try: --format shards"),
    ):
        assert run([*words, str(tmp_path / "no"), *options], monkeypatch) == 2
        assert refusal in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
