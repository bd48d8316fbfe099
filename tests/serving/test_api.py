"""The API in this process: what it answers, and what it says when it does not."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

import ttame
from tests.serving.tiny_server import content, explainers, photo, refusal, sent, serving
from ttame.images.saliency_maps import to_unit_range


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with serving(largest_upload=300_000, most_values=200_000, most_classes=6) as opened:
        yield opened


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def halves(found: Any) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(found["float16"]), "<f2")
    return values.reshape(found["height"], found["width"]).astype(np.float32)


def test_maps_are_those_of_the_library_as_picture_numbers_and_file(
    client: Any, tmp_path: Path
) -> None:
    for name, explainer in explainers().items():
        if name == "input_x_gradient":
            continue
        expected = explainer(photo(), classes="top3", progress=False)
        unit = to_unit_range(expected.maps)[0].numpy()
        asked = {"photo": content(), "methods": [name], "classes": ["top3"]}
        said = sent(client, **asked, maps="float16").json()
        assert [each["index"] for each in said["prediction"][:3]] == expected.classes[0].tolist()
        maps = said["explanations"][0]["classes"]
        assert [each["label"] for each in maps] == [
            expected.target_label(0, place) for place in range(3)
        ]
        if name != "rise":
            assert np.allclose([halves(each) for each in maps], unit, atol=1e-3)
            assert np.allclose([each["highest"] for each in maps], expected.maps.amax((2, 3))[0])
        pictures = sent(client, **asked, maps="png").json()["explanations"][0]["classes"]
        if name != "rise":
            drawn = np.stack([decoded(each["png"]) for each in pictures])
            assert np.abs(drawn - 255 * unit).max() <= 0.51
        file = sent(client, **asked, maps="safetensors").json()["explanations"][0]["safetensors"]
        (tmp_path / "maps.safetensors").write_bytes(base64.b64decode(file))
        loaded = ttame.Explanation.load(tmp_path / "maps.safetensors")
        assert torch.allclose(loaded.maps, expected.maps, atol=1e-6)
        assert loaded.method == name and loaded.class_names == expected.class_names


def test_sizes_of_maps(client: Any) -> None:
    explainer = explainers()["cam"]
    expected = explainer(photo(), classes="top1")
    asked = {"photo": content(), "methods": ["cam"], "maps": "float16"}
    for size, wanted in (
        ("input", expected.heatmaps()[0, 0]),
        ("9x13", expected.heatmaps((9, 13))[0, 0]),
        ("photo", expected.heatmaps_on(photo())[0]),
    ):
        found = sent(client, **asked, size=size).json()["explanations"][0]["classes"][0]
        assert np.allclose(halves(found), wanted.numpy(), atol=2e-3), size
    assert "allowed: 1x1 to" in refusal(sent(client, **asked, size="9x9999"))
    assert "million numbers" in refusal(sent(client, **asked, size="900x900"))
    assert "'size'" in refusal(sent(client, **asked, size="huge"))


def test_several_methods_explain_the_classes_that_the_first_one_chooses(client: Any) -> None:
    said = sent(
        client, photo=content(), methods=["grad_cam,cam", "rise"], classes=["top2"], maps="none"
    ).json()
    assert [each["method"] for each in said["explanations"]] == ["grad_cam", "cam", "rise"]
    chosen = [[one["index"] for one in each["classes"]] for each in said["explanations"]]
    assert chosen[0] == chosen[1] == chosen[2] and len(chosen[0]) == 2
    assert "png" not in said["explanations"][0]["classes"][0]


def test_one_class_rather_than_another_and_weights(client: Any) -> None:
    explainer = explainers()["grad_cam"]
    contrast = ttame.Target.contrast("kind 2", "kind 4")
    expected = to_unit_range(explainer(photo(), target=contrast).maps)[0, 0].numpy()
    asked = {"photo": content(), "methods": ["grad_cam"], "maps": "float16"}
    for fields in (
        {"classes": ["kind 2"], "rather_than": "kind 4"},
        {"classes": ["2"], "rather_than": "4"},
        {"weights": json.dumps({"kind 2": 1, "4": -1})},
    ):
        found = sent(client, **asked, **fields).json()["explanations"][0]["classes"][0]
        assert found["label"] == "kind 2 rather than kind 4"
        assert np.allclose(halves(found), expected, atol=1e-3)
    assert "rather than itself" in refusal(sent(client, **asked, classes=["2"], rather_than="2"))
    for weights in (
        "[1]",
        "{}",
        '{"2": 0}',
        '{"2": NaN}',
        '{"2": 1e999}',
        "[" * 5000,
        '{"2": "x"}',
    ):
        assert "weights" in refusal(sent(client, **asked, weights=weights))


def test_what_the_network_sees_can_be_sent_instead_of_the_photo(client: Any) -> None:
    whole = sent(client, photo=content(), methods=["cam"], maps="float16", input="true").json()
    seen = base64.b64decode(whole["input"])
    assert Image.open(io.BytesIO(seen)).size == (32, 32)
    again = sent(client, photo=seen, prepared="true", methods=["cam"], maps="float16").json()
    assert again["explanations"] == whole["explanations"]
    image = explainers()["cam"].classifier.prepare(photo())
    tensor = sent(client, tensor=save({"images": image}), methods=["cam"], maps="float16").json()
    assert tensor["explanations"] == whole["explanations"] and "photo" not in tensor
    assert "allowed: 32x32" in refusal(sent(client, photo=content(), prepared="true"))
    region = ttame.Preprocessing.imagenet(32).region((60, 40))
    assert whole["photo"]["width"] == 60
    assert whole["photo"]["seen"]["left"] == pytest.approx(region.left / 60)


def test_hidden_places_change_the_prediction_as_they_do_in_the_library(client: Any) -> None:
    classifier = explainers()["cam"].classifier
    image = classifier.prepare(photo())
    covered = image.clone()
    # The photo is 60 wide and 40 high, and the network sees its middle.
    region = classifier.preprocessing.region((60, 40))
    centres = region.left + (torch.arange(32) + 0.5) * (region.right - region.left) / 32
    covered[..., centres < 30] = 0
    hide = json.dumps([{"left": 0, "top": 0, "right": 0.5, "bottom": 1}])
    said = sent(client, "/v1/predictions", photo=content(), hide=hide).json()
    assert np.allclose(said["probabilities"], classifier.probabilities(covered)[0], atol=1e-5)
    assert said["hidden_share"] == pytest.approx(float((centres < 30).float().mean()))
    mask = Image.fromarray(np.where(centres.numpy() < 30, 0, 255).astype(np.uint8)[None])
    kept = content(mask.resize((32, 32), Image.Resampling.NEAREST))
    by_mask = sent(client, "/v1/predictions", photo=content(), kept=kept).json()
    assert np.allclose(by_mask["probabilities"], said["probabilities"], atol=1e-6)
    black = sent(client, "/v1/predictions", photo=content(), hide=hide, fill="black").json()
    covered[..., centres < 30] = classifier.preprocessing.black(covered)
    assert np.allclose(black["probabilities"], classifier.probabilities(covered)[0], atol=1e-5)
    # Of a tensor, fractions are of all of it.
    left = json.dumps([{"left": 0, "top": 0, "right": 0.25, "bottom": 1}])
    tensor = save({"images": image})
    found = sent(client, "/v1/predictions", tensor=tensor, hide=left, fill="mean").json()
    covered = image.clone()
    covered[..., :8] = 0
    assert np.allclose(found["probabilities"], classifier.probabilities(covered)[0], atol=1e-5)
    for wrong in ("[1]", "{}", '[{"left": 2, "top": 0, "right": 1, "bottom": 1}]', "["):
        assert "'hide'" in refusal(sent(client, "/v1/predictions", photo=content(), hide=wrong))


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({}, 422, "needs a 'photo'"),
        ({"photo": content(), "tensor": b"x"}, 422, "needs a 'photo'"),
        ({"photo": "a text"}, 422, "of another kind"),
        ({"photo": content(), "classes": b"x"}, 422, "of another kind"),
        ({"photo": content(), "colour": "red"}, 422, "unknown field 'colour'; allowed: photo,"),
        ({"photo": content(), "methods": ["gradcam"]}, 422, "try: grad_cam"),
        ({"photo": content(), "methods": ["cam", "grad_cam", "rise", "input_x_gradient", "lrp"]},
         422, "allowed: 4"),
        ({"photo": content(), "classes": ["kind 9"]}, 422, "unknown class"),
        ({"photo": content(), "classes": ["99"]}, 422, "allowed: 0 to 6"),
        ({"photo": content(), "classes": ["top7"]}, 422, "allowed: 1 to 6"),
        ({"photo": content(), "classes": ["all"]}, 422, "allowed: 1 to 6"),
        ({"photo": content(), "classes": [","]}, 422, "empty list"),
        ({"photo": content(), "classes": ["<script>alert(1)</script>"]}, 422, "unknown class"),
        ({"photo": content(), "classes": ["k" * 90_000]}, 422, "at most 500"),
        ({"photo": content(), "methods": ["grad_cam"], "weights": '{"%s": 1}' % ("k" * 9_000)},
         422, "endless name"),
        ({"photo": content(), "top": "many"}, 422, "'top'"),
        ({"photo": content(), "top": ["3", "4"]}, 422, "given twice"),
        ({"photo": b"not a photo"}, 415, "not a photo"),
        ({"photo": bytes(400_000)}, 413, "0.3 MB"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_in_one_line(
    client: Any, fields: dict[str, Any], status: int, said: str
) -> None:
    answer = sent(client, **fields)
    assert answer.status_code == status, answer.text
    assert said in refusal(answer)
    assert "\n" not in refusal(answer)


def test_other_bodies_and_addresses(client: Any) -> None:
    assert client.post("/v1/explanations", json={}).status_code == 415
    kind = {"Content-Type": "multipart/form-data"}
    assert client.post("/v1/explanations", content=b"x", headers=kind).status_code == 422
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert client.post("/v1/explanations", content=b"--y", headers=kind).status_code == 422
    assert refusal(client.get("/nothing/here")) == "no such page"
    assert client.get("/v1/explanations").status_code == 405
    assert client.get("/static/../../etc/passwd").status_code == 404
    assert client.get("/static/serve.py").status_code == 404


def test_names_of_files_are_not_looked_at(client: Any) -> None:
    for name in ("../../../etc/passwd", "C:\\x.png", "a\u0000b.svg", "<img onerror=x>", "x" * 3000):
        files = {"photo": (name, content(), "image/svg+xml")}
        answer = client.post("/v1/explanations", files=files, data={"maps": "none"})
        assert answer.status_code == 200 and name not in answer.text


def test_slow_methods_tell_how_far_they_are(client: Any) -> None:
    answer = sent(client, photo=content(), methods=["cam", "rise"], maps="none", progress="true")
    assert answer.headers["content-type"] == "application/x-ndjson"
    *news, last = [json.loads(line) for line in answer.text.splitlines()]
    assert {each["progress"]["method"] for each in news} == {"rise"}
    assert news[-1]["progress"]["total"] == 16
    assert [each["method"] for each in last["answer"]["explanations"]] == ["cam", "rise"]
    # What fails on the way is the last line.
    first = str(last["answer"]["prediction"][0]["index"])
    wrong = {"methods": ["grad_cam"], "classes": ["top1"], "rather_than": first}
    refused = json.loads(sent(client, photo=content(), progress="true", **wrong).text)
    assert "rather than itself" in refused["problem"]["detail"]


def test_what_is_served_is_described(client: Any) -> None:
    said = client.get("/v1/methods").json()["methods"]
    assert [each["name"] for each in said] == ["cam", "grad_cam", "input_x_gradient", "rise"]
    assert [each["slow"] for each in said] == [False, False, False, True]
    assert [each["all_classes_at_once"] for each in said] == [True, False, False, True]
    about = client.get("/v1/classifier").json()
    assert about["class_names"][2] == "kind 2" and about["input_size"] == [32, 32]
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    counted = client.get("/metrics").text
    assert 'ttame_requests_total{route="/v1/methods",status="200"} 1.0' in counted
    assert "ttame_batch_photos_bucket" in counted


def test_the_description_names_every_field_and_refusal(client: Any) -> None:
    described = client.get("/openapi.json").json()
    work = described["paths"]["/v1/explanations"]["post"]
    fields = work["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert {"photo", "tensor", "methods", "classes", "rather_than", "maps", "size"} <= set(fields)
    assert fields["photo"]["format"] == "binary"
    assert {"200", "413", "415", "422", "503"} <= set(work["responses"])
    referred = {text.split("/")[-1] for text in _references(described)}
    assert referred <= set(described["components"]["schemas"])


def _references(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        yield from ([content["$ref"]] if "$ref" in content else [])
        for value in content.values():
            yield from _references(value)
    elif isinstance(content, list):
        for value in content:
            yield from _references(value)
