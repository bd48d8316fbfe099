"""Whole evaluations of a tiny network: numbers, resuming, and what bad input gets."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.colour_findings import colour_classifier, finding, red_and_green
from tests.evaluation.evaluated import FixedPicture, explainers, photo_folder, run, without_times
from tests.tiny_networks import CLASSES, TINY, tiny_cnn
from tests.training.training_material import event, in_two_processes, start_process
from ttame.classifiers.classifier import Classifier
from ttame.datasets.open_photos import open_photos
from ttame.errors import (
    DatasetError,
    EvaluationError,
    ExplainerError,
    ImageError,
    NonFiniteMapError,
    OutputError,
    TtameError,
    UnknownNameError,
)
from ttame.evaluation import evaluation_run, gallery, kept_maps
from ttame.evaluation.evaluate_methods import evaluate
from ttame.evaluation.listening import Silence
from ttame.evaluation.measuring import spread
from ttame.evaluation.row_store import RowStore
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.metrics.average_drop import average_drop, increase_in_confidence
from ttame.metrics.known_metrics import METRICS
from ttame.metrics.known_protocols import PROTOCOLS
from ttame.results.evaluation import Evaluation
from ttame.testing import tiny_classifier

QUICK = ["average_drop", "increase_in_confidence", "mean_map"]


def otherwise_prepared() -> Classifier:
    tiny = tiny_cnn()
    preprocessing = dataclasses.replace(tiny.preprocessing, resize=50)
    return Classifier(
        tiny.network, preprocessing=preprocessing, class_names=tiny.class_names, name=tiny.name
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return run(photos, tmp_path_factory.mktemp("undisturbed") / "out", metrics=QUICK)


def test_numbers_are_those_of_the_pure_functions(photos: Path, undisturbed: Evaluation) -> None:
    classifier = tiny_cnn()
    images = classifier.prepare(sorted(photos.iterdir()))  # type: ignore[arg-type]
    classes = classifier.logits(images).argmax(dim=1)
    maps = make_explainer("grad_cam", classifier)(images).maps[:, 0]
    scores = undisturbed.methods[0].scores
    for kept, key in ((1.0, "100"), (0.5, "50"), (0.15, "15")):
        arguments = (classifier.probabilities, images, maps, classes, classifier.preprocessing)
        drop = average_drop(*arguments, kept_share=kept).mean()
        rise = increase_in_confidence(*arguments, kept_share=kept).mean()
        assert scores[f"average_drop@{key}"].value == pytest.approx(float(drop), abs=1e-3)
        assert scores[f"increase_in_confidence@{key}"].value == pytest.approx(float(rise))


def test_a_list_of_photos_is_a_set_of_them(photos: Path, tmp_path: Path) -> None:
    paths = sorted(photos.iterdir())[:3]
    random = make_explainer("random", tiny_cnn())
    found = evaluate(random.classifier, paths, random, tmp_path / "out", metrics=["mean_map"])
    assert found.images == 3
    with pytest.raises(ImageError, match="does not exist"):
        evaluate(random.classifier, [*paths, "gone.jpg"], random, tmp_path / "other")


def test_everything_is_counted(undisturbed: Evaluation) -> None:
    grad_cam, random, _ = undisturbed.methods
    assert (grad_cam.cost.forward, grad_cam.cost.backward) == (1, 1)
    assert (random.cost.forward, random.cost.backward) == (1, 0)
    assert grad_cam.cost.milliseconds > 0
    assert grad_cam.cost.peak_megabytes > 0
    assert undisturbed.images == 10
    assert all(score.images == 10 for score in grad_cam.scores.values())
    assert undisturbed.protocol_hash == PROTOCOLS["t-tame"].hash
    assert "raw pixels" in dict(undisturbed.protocol_words)["Masks"]


def test_results_are_written_and_read(
    photos: Path, undisturbed: Evaluation, tmp_path: Path
) -> None:
    found = run(photos, tmp_path / "out", metrics=QUICK)
    assert Evaluation.load(tmp_path / "out" / "results.json") == found
    assert without_times(found) == without_times(undisturbed)
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(tmp_path / "out" / "rows.parquet").to_pylist()
    # 10 images x 3 methods x (3 drops, 3 increases, the mean map, and whether there is evidence).
    assert len(rows) == 10 * 3 * 8
    assert {row["method"] for row in rows} == {"grad_cam", "random", "centre_gaussian"}
    assert {row["photo"] for row in rows} == {f"{index:03d}.png" for index in range(10)}


def stop_after(photos: Path, out: Path, batches: int, reached: Any) -> None:
    """Evaluate in a process of its own, and wait there for death after some batches."""

    class WaitForDeath:
        left = batches

        def begin(self, method: str, images: int, finished: int) -> None:
            """Nothing."""

        def step(self, finished: int, total: int) -> None:
            """Nothing."""

        def measured(self, images: int) -> None:
            self.left -= 1
            if not self.left:
                reached.set()
                time.sleep(60)

    run(photos, out, metrics=QUICK, listener=WaitForDeath())


def test_a_killed_run_resumes_and_repeats_nothing(
    photos: Path, undisturbed: Evaluation, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    reached = event()
    process = start_process(stop_after, photos, out, 4, reached)
    try:
        assert reached.wait(60)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    assert len(written) == 4
    found = run(photos, out, metrics=QUICK, resume=True)
    assert without_times(found) == without_times(undisturbed)
    assert all(path.stat().st_mtime_ns == when for path, when in written.items())


def in_this_process(folder: Path) -> int:
    run(folder / "photos", folder / "out", metrics=QUICK)
    import torch.distributed as dist

    return dist.get_rank()


def test_two_processes_share_the_images(undisturbed: Evaluation, tmp_path: Path) -> None:
    photo_folder(tmp_path / "photos")
    assert in_two_processes(in_this_process, tmp_path) == [0, 1]
    found = Evaluation.load(tmp_path / "out" / "results.json")
    assert without_times(found) == without_times(undisturbed)


def test_a_second_evaluation_into_the_same_folder_is_refused(photos: Path, tmp_path: Path) -> None:
    refused = []

    class BeginAnother(Silence):
        def measured(self, images: int) -> None:
            for resume in (False, True):
                with pytest.raises(OutputError, match=r"another run is writing .*try: waiting"):
                    run(photos, tmp_path / "out", metrics=QUICK, resume=resume)
                refused.append(images)

    found = run(photos, tmp_path / "out", metrics=QUICK, listener=BeginAnother())
    assert len(refused) == 2 * 3 * 3
    again = run(photos, tmp_path / "out", metrics=QUICK, resume=True)
    assert without_times(again) == without_times(found)


def test_methods_can_be_added(photos: Path, tmp_path: Path) -> None:
    classifier = tiny_cnn()
    run(photos, tmp_path, classifier, methods=explainers(classifier, ("random",)), metrics=QUICK)
    # Nothing that was measured is lost when only the new method is named.
    more = explainers(classifier, ("cam",))
    found = run(photos, tmp_path, classifier, methods=more, metrics=QUICK, resume=True)
    assert [method.name for method in found.methods] == ["random", "cam"]
    assert [method.title for method in found.methods] == ["Random map", "CAM"]
    both = run(
        photos,
        tmp_path / "both",
        classifier,
        methods=explainers(classifier, ("random", "cam")),
        metrics=QUICK,
    )
    assert without_times(found) == without_times(both)


def test_a_method_that_was_left_unfinished_is_named(photos: Path, tmp_path: Path) -> None:
    classifier = tiny_cnn()
    methods = explainers(classifier, ("random", "cam"))
    run(photos, tmp_path, classifier, methods=methods, metrics=QUICK)
    next((tmp_path / "rows" / "cam").iterdir()).unlink()
    only = explainers(classifier, ("random",))
    found = run(photos, tmp_path, classifier, methods=only, metrics=QUICK, resume=True)
    assert [method.name for method in found.methods] == ["random"]
    assert found.notes == ("not finished, and not in the table: cam",)


def test_sanity_is_checked_once_and_kept(photos: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    class Noting(Silence):
        def randomising(self, method: str) -> None:
            asked.append(method)

    classifier = tiny_cnn()
    methods = explainers(classifier, ("input_x_gradient", "centre_gaussian"))
    options: dict[str, Any] = {"methods": methods, "metrics": QUICK, "listener": Noting()}
    run(photos, tmp_path, classifier, sanity_images=2, **options)
    found = run(photos, tmp_path, classifier, sanity_images=2, resume=True, **options)
    assert asked == ["input_x_gradient", "centre_gaussian"]
    assert run(photos, tmp_path, classifier, resume=True, **options) == found
    gradient, gaussian = (method.sanity for method in found.methods)
    assert gradient and gradient.passed
    assert gaussian and not gaussian.passed and gaussian.similarity == pytest.approx(1)


def test_memory_does_not_depend_on_the_number_of_photos(photos: Path, tmp_path: Path) -> None:
    sizes: list[int] = []

    class Counting(FixedPicture):
        def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
            sizes.append(len(images))
            return super()._raw_maps(images, request)

    classifier = tiny_cnn()
    run(photos, tmp_path / "out", classifier, methods={"x": Counting(classifier)}, metrics=QUICK)
    assert sizes == [4, 4, 2]


@pytest.mark.parametrize(
    "protocol",
    sorted(name for name, preset in PROTOCOLS.items() if preset.explained_class == "top-1"),
)
def test_every_protocol_runs(protocol: str, photos: Path, tmp_path: Path) -> None:
    found = run(photos, tmp_path / "out", protocol=protocol, limit=3)
    assert found.images == 3
    gated = {column.key for column in found.columns if METRICS[column.metric].gated}
    for method in found.methods:
        failed = method.sanity is not None and not method.sanity.passed
        expected = {column.key for column in found.columns} - (gated if failed else set())
        assert set(method.scores) == expected
        for score in method.scores.values():
            assert score.low <= score.value + 1e-9 and score.value <= score.high + 1e-9


def test_a_fixed_picture_is_last_in_class_sensitivity(photos: Path, tmp_path: Path) -> None:
    classifier = TINY["cnn"]()
    methods = {
        **explainers(classifier, ("grad_cam", "input_x_gradient", "cam")),
        "fixed": FixedPicture(classifier),
    }
    found = run(
        photos, tmp_path / "out", classifier, methods=methods, metrics=["class_sensitivity"]
    )
    ranks = {method.name: method.scores["class_sensitivity"].rank for method in found.methods}
    assert ranks["fixed"] == 4


def test_a_constant_map_is_counted_as_no_evidence(photos: Path, tmp_path: Path) -> None:
    classifier = tiny_cnn()
    blank = FixedPicture(classifier, torch.ones(8, 8))
    found = run(photos, tmp_path / "out", classifier, methods={"blank": blank}, metrics=QUICK)
    assert found.methods[0].no_evidence == 10


def test_unreadable_photos_are_named_and_left_out(photos: Path, tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos", 6)
    (folder / "002.png").write_bytes(b"no photo")
    found = run(folder, tmp_path / "out", metrics=QUICK)
    assert found.images == 5
    assert [name for name, _ in found.skipped] == [str(folder / "002.png")]
    for index in range(6):
        (folder / f"{index:03d}.png").write_bytes(b"no photo")
    with pytest.raises(EvaluationError, match="none of the 6 photos is readable"):
        run(folder, tmp_path / "nothing", metrics=QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "adcc"}, r"of another protocol: t-tame [0-9a-f]{12}, not adcc [0-9a-f]{12}"),
        ({"metrics": ["mean_map"]}, "of another list of metrics"),
        ({"limit": 3}, "of another number of images: 10, not 3"),
        ({"annotations": "boxes.json"}, "of another annotations"),
        ({"classifier": TINY["timm resnet"]()}, "of another classifier"),
        ({"classifier": otherwise_prepared()}, "of another preprocessing"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_other_results_are_not_continued(
    change: dict[str, Any], message: str, photos: Path, tmp_path: Path
) -> None:
    run(photos, tmp_path, metrics=QUICK)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(EvaluationError, match=f"{message}.*try: the same .* or another folder"):
        run(photos, tmp_path, **{"metrics": QUICK, **change}, resume=True)
    with pytest.raises(EvaluationError, match="holds results already.*resume=True"):
        run(photos, tmp_path, metrics=QUICK)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_other_data_are_not_continued(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out", metrics=QUICK)
    other = photo_folder(tmp_path / "photos", 10)
    (other / "003.png").rename(other / "x.png")
    with pytest.raises(EvaluationError, match="of another data set"):
        run(other, tmp_path / "out", metrics=QUICK, resume=True)


def test_a_method_with_other_options_is_not_continued(photos: Path, tmp_path: Path) -> None:
    classifier = tiny_cnn()
    for seed in (0, 1):
        methods = {"random": make_explainer("random", classifier, seed=seed)}
        if seed == 0:
            run(photos, tmp_path, classifier, methods=methods, metrics=QUICK)
            continue
        with pytest.raises(EvaluationError, match="random .* other options: seed"):
            run(photos, tmp_path, classifier, methods=methods, metrics=QUICK, resume=True)


def test_a_folder_of_something_else_is_left_alone(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(EvaluationError, match="is not empty and holds no evaluation"):
        run(photos, tmp_path, metrics=QUICK)


def test_a_place_that_is_no_folder(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    with pytest.raises(OutputError, match="cannot make the folder .*file.*another folder"):
        run(photos, tmp_path / "file", metrics=QUICK)
    with pytest.raises(OutputError, match="cannot make the folder"):
        run(photos, tmp_path / "file" / "below", metrics=QUICK)


def test_damaged_rows_are_named(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path, metrics=QUICK)
    part = next((tmp_path / "rows" / "random").iterdir())
    part.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(EvaluationError, match=f"{part.name} is damaged.*deleting it"):
        run(photos, tmp_path, metrics=QUICK, resume=True)
    part.unlink()
    run(photos, tmp_path, metrics=QUICK, resume=True)


def test_unknown_names(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'average_dorp'; try: average_drop"):
        run(photos, tmp_path / "out", metrics=["average_dorp"])
    with pytest.raises(UnknownNameError, match="unknown protocol 't-tam'; try: t-tame"):
        run(photos, tmp_path / "out", protocol="t-tam")
    with pytest.raises(EvaluationError, match="no method"):
        run(photos, tmp_path / "out", methods={})
    with pytest.raises(TtameError, match="no metric"):
        run(photos, tmp_path / "out", metrics=[])
    with pytest.raises(DatasetError, match="empty"):
        run([], tmp_path / "out")
    with pytest.raises(EvaluationError, match="pointing_game without annotations.*COCO"):
        run(photos, tmp_path / "out", metrics=["pointing_game"])
    assert not (tmp_path / "out").exists()


class BrokenLater(torch.nn.Module):
    """A network whose logits are not numbers for dark pictures."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        dark = images.mean(dim=(1, 2, 3)) < -1.5
        return torch.where(dark[:, None], torch.nan, logits)


def test_probabilities_that_are_no_numbers(photos: Path, tmp_path: Path) -> None:
    tiny = tiny_cnn()
    classifier = Classifier(
        BrokenLater(tiny.network), preprocessing=tiny.preprocessing, taps=["network.6"]
    )
    with pytest.raises(EvaluationError, match=r"not numbers for .*000\.png or one of the 3"):
        run(photos, tmp_path, classifier, metrics=QUICK)


def test_a_broken_map_keeps_what_was_measured(photos: Path, tmp_path: Path) -> None:
    class Breaks(FixedPicture):
        calls = 0

        def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
            self.calls += 1
            raw = super()._raw_maps(images, request)
            return raw._replace(maps=raw.maps * (torch.nan if self.calls == 3 else 1))

    classifier = tiny_cnn()
    with pytest.raises(NonFiniteMapError):
        run(photos, tmp_path, classifier, methods={"breaks": Breaks(classifier)}, metrics=QUICK)
    assert RowStore(tmp_path).finished("breaks") == {0, 1}


def test_labels_are_explained_where_the_protocol_says_so(photos: Path, tmp_path: Path) -> None:
    labelled = dataclasses.replace(PROTOCOLS["t-tame"], explained_class="label")
    listed = tmp_path / "list.txt"
    names = sorted(photos.iterdir())
    listed.write_text("".join(f"{path} {index % CLASSES}\n" for index, path in enumerate(names)))
    run(listed, tmp_path / "out", protocol=labelled, metrics=QUICK)
    _, classes, _ = RowStore(tmp_path / "out").values("random")
    assert classes.tolist() == [index % CLASSES for index in range(10)]
    with pytest.raises(EvaluationError, match=r"000\.png has no label.*list file"):
        run(photos, tmp_path / "other", protocol=labelled, metrics=QUICK)
    listed.write_text(f"{names[0]} 99\n")
    with pytest.raises(EvaluationError, match="label 99.*allowed: 0 to 6"):
        run(listed, tmp_path / "another", protocol=labelled, metrics=QUICK)


def test_the_sanity_check_is_of_the_classes_that_the_protocol_explains(
    photos: Path, tmp_path: Path
) -> None:
    labelled = dataclasses.replace(PROTOCOLS["t-tame"], explained_class="label")
    listed = tmp_path / "list.txt"
    names = sorted(photos.iterdir())
    listed.write_text("".join(f"{path} {index % CLASSES}\n" for index, path in enumerate(names)))
    found = {}
    for protocol in (labelled, PROTOCOLS["t-tame"]):
        evaluation = run(
            listed, tmp_path / protocol.explained_class, protocol=protocol, metrics=QUICK,
            sanity_images=4, methods=explainers(tiny_cnn(), ("input_x_gradient",)),
        )  # fmt: skip
        found[protocol.explained_class] = evaluation.methods[0].sanity
    assert found["label"] != found["top-1"]


def test_budget_and_progress_reach_every_call(photos: Path, tmp_path: Path) -> None:
    asked: list[tuple[int, bool]] = []

    class Asking(FixedPicture):
        def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
            asked.append((request.memory_budget, request.progress is not None))
            return super()._raw_maps(images, request)

    classifier = tiny_cnn()
    methods = {"asking": Asking(classifier)}
    run(photos, tmp_path, classifier, methods=methods, metrics=QUICK, memory_budget="1MiB")
    assert asked == [(2**20, True)] * 3


def test_heads_that_differ_in_details_are_two_explainers(photos: Path, tmp_path: Path) -> None:
    classifier = tiny_cnn()
    settings = head_settings("few-shot", maps="min-max", details=0.5)
    one = new_attention_explainer(classifier, settings, method="few_shot")
    other = new_attention_explainer(
        classifier, dataclasses.replace(settings, details=1.0), method="few_shot"
    )
    run(photos, tmp_path, classifier, methods={"mine": one}, metrics=QUICK)
    with pytest.raises(EvaluationError, match="details"):
        run(photos, tmp_path, classifier, methods={"mine": other}, metrics=QUICK, resume=True)


def test_explainers_of_another_network_are_refused(photos: Path, tmp_path: Path) -> None:
    classifier = tiny_classifier(size=32)
    other = make_explainer("grad_cam", tiny_classifier(size=32, classes=3))
    with pytest.raises(ExplainerError, match="mine explains tiny cnn, another network than tiny"):
        evaluate(classifier, photos, {"mine": other}, tmp_path / "out", progress=False)
    for name in ("limit", "batch_size"):
        with pytest.raises(EvaluationError, match=f"{name}=0; allowed: 1 or more"):
            same = make_explainer("grad_cam", classifier)
            evaluate(classifier, photos, same, tmp_path / "out", **{name: 0})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_images_are_spread_over_the_data() -> None:
    assert spread(1000, 4) == [0, 250, 500, 750]
    assert list(spread(5, None)) == [0, 1, 2, 3, 4]
    assert len(set(spread(997, 100))) == 100


def test_the_network_is_left_as_it_was(photos: Path, tmp_path: Path) -> None:
    classifier = tiny_cnn()
    classifier.network.train()
    before = {name: tensor.clone() for name, tensor in classifier.network.state_dict().items()}
    run(photos, tmp_path, classifier, protocol="t-tame", limit=4)
    assert classifier.network.training
    for name, tensor in classifier.network.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_every_metric_without_targets_runs_on_every_kind_of_network(
    photos: Path, tmp_path: Path
) -> None:
    names = [name for name, metric in METRICS.items() if not metric.needs]
    classifier = TINY["timm vit"]()
    methods = explainers(classifier, ("attention_rollout", "input_x_gradient"))
    found = run(photos, tmp_path / "out", classifier, methods=methods, metrics=names, limit=2)
    values: Mapping[str, np.ndarray] = RowStore(tmp_path / "out").values("input_x_gradient")[2]
    assert all(np.isfinite(column).all() for column in values.values())
    assert {column.metric for column in found.columns} == set(names)


def test_the_result_is_json_without_nan(photos: Path, tmp_path: Path) -> None:
    run(photos, tmp_path / "out", metrics=QUICK, limit=1)
    text = (tmp_path / "out" / "results.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert os.sep + "photos" not in json.loads(text)["data"]


def test_removing_another_finding_is_no_gained_confidence(tmp_path: Path) -> None:
    """40 of 64 columns are red, the rest is green; the map of red keeps 38 of its columns.

    Its cells of 4 columns are 1 up to the centre of the last red one, column 37; half of the
    pixels, and those that are equal to them, are kept.
    """
    found = {}
    for outputs in ("sigmoid", "softmax"):
        classifier = colour_classifier(outputs)
        methods = {"grad_cam": make_explainer("grad_cam", classifier, layer="pool")}
        found[outputs] = evaluate(classifier, [red_and_green()], methods, tmp_path / outputs)
    whole, kept = finding(40 / 64), finding(38 / 64)
    scores = found["sigmoid"].methods[0].scores
    drop = scores["average_drop@50"].value
    assert drop == pytest.approx(100 * (whole - kept) / whole, rel=1e-4)
    assert drop == pytest.approx(1.351, abs=1e-3)
    assert scores["increase_in_confidence@50"].value == 0
    assert found["softmax"].methods[0].scores["increase_in_confidence@50"].value == 100
    assert "independent findings" in found["sigmoid"].notes[0] and not found["softmax"].notes
    assert found["sigmoid"].methods[0].options["outputs"] == "sigmoid"


def test_results_of_other_outputs_are_not_continued(tmp_path: Path) -> None:
    for outputs in ("sigmoid", "softmax"):
        classifier = colour_classifier(outputs)
        methods = {"random": make_explainer("random", classifier)}
        arguments = (classifier, [red_and_green()], methods, tmp_path / "out")
        if outputs == "sigmoid":
            evaluate(*arguments)
        else:
            with pytest.raises(EvaluationError, match="another kind of outputs: sigmoid"):
                evaluate(*arguments, resume=True)


def test_of_very_many_images_some_maps_are_kept_and_shown(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten images in batches of four, where the maps of four at most are kept: of every third."""
    for module in (evaluation_run, gallery):
        monkeypatch.setattr(module, "MOST_PICTURED", 4)
    out = tmp_path / "out"
    found = run(photos, out, metrics=["average_drop"])
    assert found.images == 10
    for method in found.methods:
        assert kept_maps.pictured_images(out, method.name) == {0, 1, 2, 3}
    shown = gallery.gallery_of(found, out, tiny_cnn(), open_photos(photos))
    assert sorted(entry.name for entry in shown) == [f"{number:03d}.png" for number in range(4)]
    assert all(len(entry.heatmaps) == 3 for entry in shown)
